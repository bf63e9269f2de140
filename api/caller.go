package api

import (
	"context"

	"connectrpc.com/connect"

	"github.com/parley-im/parley/base/errs"
)

// callerKey is the key under which a context holds who calls.
type callerKey struct{}

// identity is who calls.
type identity struct {
	name  string
	admin bool
}

// WithCaller notes that an administrator of this machine calls, with a name for the records of what is done: it is for the
// Unix socket in the data folder, which only the account of the server may open.
func WithCaller(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, callerKey{}, identity{name, true})
}

// WithUser notes that somebody who has signed in calls, by address-of-record.
func WithUser(ctx context.Context, aor string, admin bool) context.Context {
	return context.WithValue(ctx, callerKey{}, identity{aor, admin})
}

// whois is nobody when nobody has said who calls.
func whois(ctx context.Context) identity {
	id, _ := ctx.Value(callerKey{}).(identity)
	return id
}

func caller(ctx context.Context) string { return whois(ctx).name }

// administrators lets nobody else in.
type administrators struct{}

func (administrators) check(ctx context.Context) error {
	if whois(ctx).admin {
		return nil
	}
	return errs.Say(errs.New(errs.Forbidden, "api: %q is no administrator", caller(ctx)), "only administrators may do this")
}

func (a administrators) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := a.check(ctx); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

func (administrators) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (a administrators) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := a.check(ctx); err != nil {
			return err
		}
		return next(ctx, conn)
	}
}
