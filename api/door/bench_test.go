package door

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/api"
	"github.com/parley-im/parley/service/session"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

const alice = "alice@example.com"

// anyPassword lets everybody in.
type anyPassword struct{ users store.Users }

func (p anyPassword) Password(ctx context.Context, aor string, _ netip.Addr, _ string) (*store.User, error) {
	return p.users.User(ctx, aor)
}

// sessions are those of alice, over a real store.
func sessions(tb testing.TB) *session.Service {
	tb.Helper()
	st, err := sqlstore.Open(tb.Context(), sqlstore.Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() { _ = st.Serve(ctx) })
	tb.Cleanup(func() { cancel(); served.Wait(); st.Close() })
	if err := st.Users().AddUsers(tb.Context(), []store.User{{AOR: alice, Name: "Alice", Password: "secret"}}); err != nil {
		tb.Fatal(err)
	}
	return session.New(session.Options{Store: st.Sessions(), Users: st.Users(), Passwords: anyPassword{st.Users()}, Domains: []string{"example.com"},
		Canonical: func(a string) (string, error) { return a, nil }, Ended: func(string, string, string, string) {}, Lifetime: time.Hour})
}

// signIn begins a session of alice and returns its token.
func signInTo(tb testing.TB, s *session.Service) string {
	tb.Helper()
	token, _, err := s.SignIn(tb.Context(), session.SignIn{Address: alice, Password: "secret"})
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// nowhere is where answers go.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header         { return n.h }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

func (n nowhere) SetReadDeadline(time.Time) error { return nil }

// What the door costs for each call of the API, without what is behind it.
func BenchmarkCall(b *testing.B) {
	s := sessions(b)
	token := signInTo(b, s)
	h := New(Options{Sessions: s, Log: slog.New(slog.DiscardHandler), SignIns: 10, Secure: true, Strict: true,
		API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if api.CallerOf(r.Context()).AOR != alice {
				b.Error("nobody calls")
			}
			_, _ = io.Copy(io.Discard, r.Body)
		})})
	for name, headers := range map[string][]string{"token": {"Authorization", "Bearer " + token},
		"cookie": {"Cookie", api.CookieName(true) + "=" + token, "Sec-Fetch-Site", "same-origin", "Origin", "https://example.com"}} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodPost, "https://example.com/parley.v1.MessageService/Send", nil)
			r.Header.Set("Content-Type", "application/json")
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			w := nowhere{http.Header{}}
			body := strings.NewReader("")
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				body.Reset(`{"conversation":"bob@example.com"}`)
				r.Body = io.NopCloser(body)
				h.ServeHTTP(w, r)
			}
		})
	}
}
