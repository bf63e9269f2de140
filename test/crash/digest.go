package main

import (
	"crypto/md5" //nolint:gosec // SIP digest
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"github.com/parley-im/parley/wire/sip"
)

// credentials answer challenges of the server's realm (RFC 2617 with qop=auth).
type credentials struct {
	user, password string

	mu           sync.Mutex // guards what follows
	realm, nonce string
	nc           int
}

// challenged takes the challenge of a 401 or 407; it is false when there is none in MD5.
func (c *credentials) challenged(m *sip.Message) bool {
	for _, h := range []sip.HeaderID{sip.HWWWAuthenticate, sip.HProxyAuthenticate} {
		for row := range m.Each(h) {
			if a := parameter(row, "algorithm"); a != "" && a != "MD5" {
				continue
			}
			c.mu.Lock()
			c.realm, c.nonce, c.nc = strings.Clone(parameter(row, "realm")), strings.Clone(parameter(row, "nonce")), 0
			c.mu.Unlock()
			return true
		}
	}
	return false
}

// parameter is one of a challenge's, without its quotes.
func parameter(challenge, name string) string {
	_, rest, ok := strings.Cut(challenge, name+"=")
	if !ok {
		return ""
	}
	if strings.HasPrefix(rest, `"`) {
		value, _, _ := strings.Cut(rest[1:], `"`)
		return value
	}
	value, _, _ := strings.Cut(rest, ",")
	return strings.TrimSpace(value)
}

// authorize adds an answer to the last challenge, if there was one.
func (c *credentials) authorize(d *sip.Draft) {
	c.mu.Lock()
	c.nc++
	realm, nonce, nc := c.realm, c.nonce, fmt.Sprintf("%08x", c.nc)
	c.mu.Unlock()
	if nonce == "" {
		return
	}
	ha1 := md5Hex(c.user + ":" + realm + ":" + c.password)
	ha2 := md5Hex(d.Method() + ":" + d.URI())
	response := md5Hex(strings.Join([]string{ha1, nonce, nc, "c0", "auth", ha2}, ":"))
	d.Set(sip.HAuthorization, fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=MD5, response="%s", qop=auth, nc=%s, cnonce="c0"`,
		c.user, realm, nonce, d.URI(), response, nc))
}

func md5Hex(s string) string {
	h := md5.Sum([]byte(s)) //nolint:gosec // SIP digest
	return hex.EncodeToString(h[:])
}
