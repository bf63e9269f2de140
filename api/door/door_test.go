package door

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// patience is how long a test that fails waits.
const patience = 30 * time.Second

// start serves a door in front of a handler of the API and of files, with little patience for bodies.
func start(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(New(Options{Files: handler, API: handler, Log: slog.New(slog.DiscardHandler), slow: 200 * time.Millisecond}))
	t.Cleanup(s.Close)
	return s
}

// Who never ends sending a body is cut off, whoever it is.
func TestSlowBody(t *testing.T) {
	got := make(chan error, 1)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		got <- err
	})
	for _, head := range []string{"POST " + signIn, "PUT /files/uploads/1"} {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, head+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\nabc"); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-got:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", head, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s is still read", head)
		}
		// Nor does anybody wait for the rest when the answer is there.
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is still open", head)
		}
	}
}

// An answer may take as long as it likes, also when the connection was used before.
func TestLongAnswer(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		long := time.NewTimer(time.Second) // five times what a body may take
		defer long.Stop()
		select {
		case <-long.C:
			_, _ = io.WriteString(w, "done")
		case <-r.Context().Done():
			t.Error("the answer was cut off")
		}
	})
	for range 2 {
		resp, err := s.Client().Post(s.URL+signIn, "application/json", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != "done" {
			t.Errorf("%q, %v", body, err)
		}
		_ = resp.Body.Close()
	}
}

func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		origin, host string
		secure, want bool
	}{
		{"https://chat.example.com", "chat.example.com", true, true},
		{"https://CHAT.example.com:8443", "chat.example.com:8443", true, true},
		{"http://chat.example.com", "chat.example.com", true, false},  // TLS is here
		{"https://chat.example.com", "chat.example.com", false, true}, // a proxy does it
		{"http://localhost:8443", "localhost:8443", false, true},
		{"http://localhost:8443", "localhost", false, false},
		{"http://localhost", "localhost:8443", false, false},
		{"null", "null", false, false},
		{"", "", false, false},
		{"file://", "", false, false},
		{"ftp://localhost", "localhost", false, false},
		{"http://localhost@evil.example", "localhost", false, false},
		{"http://evil.example/localhost", "localhost", false, false},
		{"chrome-extension://localhost", "localhost", false, false},
	} {
		if got := ownOrigin(c.origin, c.host, c.secure); got != c.want {
			t.Errorf("%s at %s, TLS %v: %v", c.origin, c.host, c.secure, got)
		}
	}
	list := []string{"https://*.friend.example", "http://one.example:8080"}
	for origin, want := range map[string]bool{"https://a.friend.example": true, "https://A.Friend.example": true, "https://friend.example": false, "http://a.friend.example": false,
		"https://a.friend.example.evil": false, "http://one.example:8080": true, "http://one.example": false, "https://evil/.friend.example": false} {
		if matches(origin, list) != want {
			t.Errorf("%s: %v", origin, !want)
		}
	}
}
