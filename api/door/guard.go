package door

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// ownOrigin tells whether an Origin (RFC 6454) is that of the pages that this door serves. A proxy in front may do TLS.
func (d *door) ownOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Host, host) {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && !d.Secure
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
	t, _, err := mime.ParseMediaType(contentType)
	return err != nil || t == "text/plain" || t == "multipart/form-data" || t == "application/x-www-form-urlencoded"
}

// unhurried cuts off who takes too long to send a body: all of it, or each part of an upload.
func (d *door) unhurried(next http.Handler, parts bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			b := &body{ReadCloser: r.Body, c: http.NewResponseController(w), within: d.slow, parts: parts}
			b.extend()
			defer b.free()
			r.Body = b
		}
		next.ServeHTTP(w, r)
	})
}

// body is a request's body that must come in time. When it has ended there is no deadline any more: the answer may be a stream.
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

// Limits of what is counted by address.
const (
	maxAddresses = 100_000
	forgetAfter  = 10 * time.Minute
)

// bucketOf is how a bucket fills up again: in a second, and at most.
type bucketOf struct{ rate, most float64 }

// guesses are tokens that nobody has.
var guesses = bucketOf{5, 50}

// addresses counts what comes from where; a /64 of IPv6 is one.
type addresses struct {
	now func() time.Time
	mu  sync.Mutex // guards m
	m   map[key]*level
}

type key struct {
	from netip.Addr
	of   bucketOf
}

type level struct {
	left float64
	at   time.Time
}

func newAddresses() *addresses { return &addresses{now: time.Now, m: map[key]*level{}} }

// level is what is left for an address now. mu is held.
func (a *addresses) level(from netip.Addr, of bucketOf) *level {
	if from.Is6() {
		if p, err := from.WithZone("").Prefix(64); err == nil {
			from = p.Addr()
		}
	}
	now := a.now()
	k := key{from, of}
	l := a.m[k]
	if l == nil {
		if len(a.m) >= maxAddresses {
			a.makeRoom(now)
		}
		l = &level{of.most, now}
		a.m[k] = l
	}
	l.left = min(of.most, l.left+of.rate*now.Sub(l.at).Seconds())
	l.at = now
	return l
}

// makeRoom forgets one at least, and who has not come for long, among some that the map gives: to look at all for each that
// comes would help whoever has many addresses. mu is held.
func (a *addresses) makeRoom(now time.Time) {
	const some = 100
	n := 0
	for k, old := range a.m {
		if now.Sub(old.at) > forgetAfter || len(a.m) >= maxAddresses {
			delete(a.m, k)
		}
		if n++; n == some {
			return
		}
	}
}

// may tells whether there is something left.
func (a *addresses) may(from netip.Addr, of bucketOf) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.level(from, of).left >= 1
}

// count takes one.
func (a *addresses) count(from netip.Addr, of bucketOf) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.level(from, of).left--
}

// take takes one if there is one.
func (a *addresses) take(from netip.Addr, of bucketOf) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.level(from, of)
	if l.left < 1 {
		return false
	}
	l.left--
	return true
}
