package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/api/parley/v1/parleyv1connect"
	"github.com/parley-im/parley/service/feed"
	"github.com/parley-im/parley/service/session"
	"github.com/parley-im/parley/store"
)

// ended is a store in which no session is any more, and a log in which nothing is.
type ended struct{ store.Sessions }

func (ended) SessionByToken(context.Context, [32]byte) (*store.Session, error) {
	return nil, store.ErrNotFound
}
func (ended) Head() int64                                              { return 0 }
func (ended) Read(context.Context, int64, int) ([]store.Record, error) { return nil, nil }
func (ended) Newest(int64) ([]*store.Record, bool)                     { return nil, false }
func (ended) Subscribe(func(int64)) func()                             { return func() {} }

// A session that ends after the door has let it in, and before its stream is there, gets no stream.
func TestStreamOfEndedSession(t *testing.T) {
	zero := func(context.Context, string) (int64, error) { return 0, nil }
	hub := feed.New(feed.Options{Records: ended{}, Since: zero, Taken: zero})
	sessions := session.New(session.Options{Store: ended{}, Ended: func(string, string, string, string) {}})
	_, h := parleyv1connect.NewEventServiceHandler(&events{hub: hub, sessions: sessions}, connect.WithInterceptors(kinds{slog.New(slog.DiscardHandler)}))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := WithSession(r.Context(), Caller{AOR: "alice@example.com", Session: "s", Device: "web:s"})
		h.ServeHTTP(w, r.WithContext(WithVisit(ctx, Visit{Token: strings.Repeat("A", 43)})))
	}))
	defer server.Close()
	s, err := parleyv1connect.NewEventServiceClient(server.Client(), server.URL).Stream(t.Context(), connect.NewRequest(&v1.StreamRequest{}))
	if err == nil {
		defer s.Close()
		if s.Receive() {
			t.Errorf("it hears %v", s.Msg())
		}
		err = s.Err()
	}
	if connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("got %v", err)
	}
}
