package api

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"github.com/parley-im/parley/base/errs"
)

// Caller is who has signed in.
type Caller struct {
	AOR     string // "alice@example.com"
	Name    string // display name, "" for none
	Session string // id of the session
	Device  string // what the session is called in records, "web:…"
	Kind    string // of the device: desktop, phone or tablet
	Label   string // of the device, for people
	Admin   bool
}

// request is what a context knows of the request that it is for. A context holds it under requestKey, and it never changes.
type request struct {
	visit Visit
	who   identity
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return new(request) // of which nobody has said anything
}

// with is a context that knows something more.
func with(ctx context.Context, change func(*request)) context.Context {
	r := *requestOf(ctx)
	change(&r)
	return context.WithValue(ctx, requestKey{}, &r)
}

// identity is who calls: somebody who has signed in, or an administrator of this machine.
type identity struct {
	Caller
	name string // for records
}

// WithCaller notes that an administrator of this machine calls, with a name for the records of what is done: it is for the
// Unix socket in the data folder, which only the account of the server may open.
func WithCaller(ctx context.Context, name string) context.Context {
	return with(ctx, func(r *request) { r.who = identity{Caller{Admin: true}, name} })
}

// WithUser notes that somebody who has signed in calls, by address-of-record, without a session.
func WithUser(ctx context.Context, aor string, admin bool) context.Context {
	return WithSession(ctx, Caller{AOR: aor, Admin: admin})
}

// WithSession notes who calls, by which session.
func WithSession(ctx context.Context, c Caller) context.Context {
	return with(ctx, func(r *request) { r.who = identity{c, c.AOR} })
}

// CallerOf is who has signed in; the zero value for an administrator of this machine and for nobody.
func CallerOf(ctx context.Context) Caller {
	c := whois(ctx).Caller
	if c.AOR == "" {
		return Caller{}
	}
	return c
}

// whois is nobody when nobody has said who calls.
func whois(ctx context.Context) identity { return requestOf(ctx).who }

func caller(ctx context.Context) string { return whois(ctx).name }

// NameOf is who calls, as records have it: an address-of-record, "root@localhost" for an administrator of this machine, "" for nobody.
func NameOf(ctx context.Context) string { return caller(ctx) }

// ErrNobody (Unauthorized) is for calls that somebody must have signed in for.
var ErrNobody = errs.Say(errs.New(errs.Unauthorized, "api: nobody has signed in"), "sign in first")

// callerOf is the person who calls. Errors: Unauthorized when nobody has signed in, also for an administrator of this
// machine, who is no person here.
func callerOf(ctx context.Context) (Caller, error) {
	if c := CallerOf(ctx); c.AOR != "" {
		return c, nil
	}
	return Caller{}, ErrNobody
}

// sessionOf is callerOf for what only a session can do.
func sessionOf(ctx context.Context) (Caller, error) {
	c, err := callerOf(ctx)
	if err == nil && c.Session == "" {
		err = ErrNobody
	}
	return c, err
}

// door lets in whom its function lets in.
type door func(ctx context.Context) error

// administrators lets nobody else in.
func administrators(ctx context.Context) error {
	switch id := whois(ctx); {
	case id.name == "":
		return ErrNobody
	case !id.Admin:
		return errs.Say(errs.New(errs.Forbidden, "api: %q is no administrator", id.name), "only administrators may do this")
	}
	return nil
}

// members lets in who has signed in.
func members(ctx context.Context) error {
	_, err := callerOf(ctx)
	return err
}

// somebody lets in who has signed in, and administrators of this machine.
func somebody(ctx context.Context) error {
	if caller(ctx) == "" {
		return ErrNobody
	}
	return nil
}

// first asks before anything of a request is read, so that nobody makes the server hold what it then refuses.
func first(d door, next http.Handler) http.Handler {
	refusals := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := d(r.Context()); err != nil {
			_ = refusals.Write(w, r, Public(err)) // the client is gone
			return
		}
		next.ServeHTTP(w, r)
	})
}

// few lets only so many requests at a time be read that are large, or may be.
func few(n int, next http.Handler) http.Handler {
	room := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 || r.ContentLength > maxSetting || r.Header.Get("Content-Encoding") != "" {
			select {
			case room <- struct{}{}:
				defer func() { <-room }()
			case <-r.Context().Done():
				return // the client is gone
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (d door) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := d(ctx); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

func (door) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (d door) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := d(ctx); err != nil {
			return err
		}
		return next(ctx, conn)
	}
}
