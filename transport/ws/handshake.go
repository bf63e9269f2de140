package ws

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 §4.2.2 asks for it; it protects nothing
	"encoding/base64"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// Refuse says why a request cannot become a WebSocket, as an HTTP status and a
// text; 0 if it can. A request with an Origin is from a browser: the Origin
// must be of the same host or match one of origins (a host, or
// "scheme://host", path.Match patterns).
func Refuse(r *http.Request, origins []string) (status int, text string) {
	h := r.Header
	key, err := base64.StdEncoding.DecodeString(h.Get("Sec-WebSocket-Key"))
	switch {
	// RFC 6455 §4.2.1.
	case r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || r.ProtoMajor != 1:
		return http.StatusMethodNotAllowed, "a WebSocket begins with GET over HTTP/1.1"
	case !Lists(h, "Connection", "upgrade") || !Lists(h, "Upgrade", "websocket"):
		return http.StatusUpgradeRequired, "this is a WebSocket: Connection: Upgrade and Upgrade: websocket are needed"
	case strings.TrimSpace(h.Get("Sec-WebSocket-Version")) != "13":
		return http.StatusUpgradeRequired, "the WebSocket version must be 13"
	case err != nil || len(key) != 16 || len(h.Values("Sec-WebSocket-Key")) != 1:
		return http.StatusBadRequest, "Sec-WebSocket-Key must be 16 bytes in base64"
	case !sameOrigin(r, origins):
		return http.StatusForbidden, "this origin is not allowed"
	}
	return 0, ""
}

// Lists tells whether a comma-separated header field has a word, in any case.
func Lists(h http.Header, name, word string) bool {
	for _, row := range h.Values(name) {
		for v := range strings.SplitSeq(row, ",") {
			if strings.EqualFold(strings.TrimSpace(v), word) {
				return true
			}
		}
	}
	return false
}

// sameOrigin keeps pages of other sites from using a browser's access to us
// (RFC 6455 §10.2).
func sameOrigin(r *http.Request, origins []string) bool {
	text := r.Header.Get("Origin")
	if text == "" {
		return true // no browser
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return false
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, pattern := range origins {
		of := u.Host
		if strings.Contains(pattern, "://") {
			of = u.Scheme + "://" + u.Host
		}
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(of)); ok && err == nil {
			return true
		}
	}
	return false
}

// Accept is the answer to a Sec-WebSocket-Key, RFC 6455 §4.2.2.
func Accept(key string) string {
	sum := sha1.Sum([]byte(strings.TrimSpace(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see the import
	return base64.StdEncoding.EncodeToString(sum[:])
}
