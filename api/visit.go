package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"
)

// Visit is what the door knows of a request, whoever makes it.
type Visit struct {
	From   netip.Addr // the caller's address
	Secure bool       // it came over TLS
	Token  string     // what the caller showed, "" for nothing
}

// WithVisit notes how a request came.
func WithVisit(ctx context.Context, v Visit) context.Context {
	return with(ctx, func(r *request) { r.visit = v })
}

// WithVisitor is WithVisit and WithSession in one.
func WithVisitor(ctx context.Context, v Visit, c Caller) context.Context {
	return with(ctx, func(r *request) { r.visit, r.who = v, identity{c, c.AOR} })
}

func visitOf(ctx context.Context) Visit { return requestOf(ctx).visit }

// CookieName is that of the cookie with the token. Browsers take one with the prefix only over TLS, for this host alone and
// for all of its paths (RFC 6265bis §4.1.3.2).
func CookieName(secure bool) string {
	if secure {
		return "__Host-parley"
	}
	return "parley"
}

// cookie carries a token, or takes it back when it is "".
func cookie(secure bool, token string, lifetime time.Duration) *http.Cookie {
	c := &http.Cookie{Name: CookieName(secure), Value: token, Path: "/", Secure: secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		MaxAge: int(lifetime / time.Second)}
	if token == "" {
		c.MaxAge = -1
	}
	return c
}
