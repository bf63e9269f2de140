package door

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// ownOrigin tells whether an Origin (RFC 6454 §6.2) is that of the pages that this door serves. Without TLS, a proxy of which
// nothing is known may do it.
func ownOrigin(origin, host string, secure bool) bool {
	scheme, at, ok := strings.Cut(origin, "://")
	return ok && at != "" && strings.EqualFold(at, host) && (scheme == "https" || scheme == "http" && !secure)
}

// matches tells whether an Origin is one of a list, which may have patterns.
func matches(origin string, list []string) bool {
	return slices.ContainsFunc(list, func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(origin))
		return err == nil && ok
	})
}

// allow lets a page of another origin, which the configuration names, read the answer. It shows a token: cookies are for pages
// of this server.
func allow(h http.Header, origin string) {
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, Connect-Accept-Encoding, "+
		"Connect-Content-Encoding, X-Grpc-Web, X-User-Agent, Grpc-Timeout, Upload-Offset, Range")
	h.Set("Access-Control-Expose-Headers", "Retry-After, Parley-Reason, Upload-Offset, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin")
	h.Set("Access-Control-Max-Age", "600")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
}

// simple tells whether a form of any page can send a body of this type without asking first.
func simple(contentType string) bool {
	if contentType == "application/json" {
		return false // nearly always
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err != nil || t == "text/plain" || t == "multipart/form-data" || t == "application/x-www-form-urlencoded"
}

// unhurried serves a request, and cuts off who takes too long to send its body: all of it, or each part of an upload. r is the
// door's own copy.
func (d *door) unhurried(w http.ResponseWriter, r *http.Request, next http.Handler, parts bool) {
	if r.Body != nil && r.Body != http.NoBody {
		b := &body{ReadCloser: r.Body, c: http.NewResponseController(w), within: d.slow, parts: parts}
		b.extend()
		r.Body = b
	}
	next.ServeHTTP(w, r)
}

// body is a request's body that must come in time. When it has ended there is no deadline any more: the answer may be a stream.
// A deadline that stands when the answer is there bounds how long net/http waits for what was not read.
type body struct {
	io.ReadCloser
	c      *http.ResponseController
	within time.Duration
	parts  bool
	over   bool
}

func (b *body) extend() { _ = b.c.SetReadDeadline(time.Now().Add(b.within)) } // a connection that cannot has its own limits

func (b *body) free() {
	if !b.over {
		b.over = true
		_ = b.c.SetReadDeadline(time.Time{})
	}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.free()
	case b.parts && n > 0:
		b.extend()
	}
	return n, err
}
