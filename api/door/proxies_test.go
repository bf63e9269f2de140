package door

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var trusted = Proxies{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("2001:db8:f::/48"), netip.MustParsePrefix("127.0.0.1/32")}

func TestForwardedFor(t *testing.T) {
	for _, c := range []struct {
		rows []string
		want string
	}{
		{nil, "10.0.0.1"},
		{[]string{"192.0.2.1"}, "192.0.2.1"},
		{[]string{" 192.0.2.1\t"}, "192.0.2.1"},
		{[]string{"192.0.2.1:4711"}, "192.0.2.1"},
		{[]string{"2001:db8::1"}, "2001:db8::1"},
		{[]string{"[2001:db8::1]"}, "2001:db8::1"},
		{[]string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{[]string{"[fe80::1%eth0]:4711"}, "fe80::1"},
		{[]string{"fe80::1%eth0"}, "fe80::1"},
		{[]string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		// What stands before the last one that is no proxy, anybody may have written.
		{[]string{"198.51.100.7, 192.0.2.1"}, "192.0.2.1"},
		{[]string{"198.51.100.7", "192.0.2.1"}, "192.0.2.1"},
		{[]string{"198.51.100.7, 192.0.2.1, 10.0.0.9, 2001:db8:f::2"}, "192.0.2.1"},
		{[]string{"198.51.100.7,192.0.2.1,", " ,,10.0.0.9 , "}, "192.0.2.1"},
		{[]string{"10.0.0.8, 10.0.0.9"}, "10.0.0.8"},
		// A proxy that names nobody is who asks.
		{[]string{""}, "10.0.0.1"},
		{[]string{"unknown"}, "10.0.0.1"},
		{[]string{"192.0.2.1, unknown"}, "10.0.0.1"},
		{[]string{"192.0.2.1, _hidden, 10.0.0.9"}, "10.0.0.9"},
		{[]string{"192.0.2.1, [2001:db8::1]x"}, "10.0.0.1"},
		{[]string{"192.0.2.1, 0.0.0.0"}, "10.0.0.1"},
		{[]string{"192.0.2.1, ff02::1"}, "10.0.0.1"},
		{[]string{"192.0.2.1, 192.0.2"}, "10.0.0.1"},
		{[]string{"192.0.2.1, 192.0.2.1:99999"}, "10.0.0.1"},
		{[]string{"192.0.2.1, \xff\x00\r\n"}, "10.0.0.1"},
		{[]string{strings.Repeat("198.51.100.7, ", 10_000) + "192.0.2.1"}, "192.0.2.1"},
		{[]string{"192.0.2.1" + strings.Repeat(",10.0.0.9", 10_000)}, "192.0.2.1"},
		{[]string{strings.Repeat(",", 30_000)}, "10.0.0.1"},
		{[]string{strings.Repeat("[", 30_000)}, "10.0.0.1"},
	} {
		if got := trusted.client(netip.MustParseAddr("10.0.0.1"), http.Header{"X-Forwarded-For": c.rows}); got != netip.MustParseAddr(c.want) {
			t.Errorf("%.100q: %v, want %s", c.rows, got, c.want)
		}
	}
}

func TestForwardedProto(t *testing.T) {
	for _, c := range []struct {
		rows       []string
		here, want bool
	}{
		{nil, false, false}, {nil, true, true},
		{[]string{"https"}, false, true}, {[]string{"HTTPS"}, false, true}, {[]string{"wss"}, false, true},
		{[]string{"http"}, true, false}, {[]string{"ws"}, true, false},
		{[]string{"https, http"}, false, false}, {[]string{"https", "http"}, false, false}, {[]string{"http,https"}, false, true},
		{[]string{"gopher"}, false, false}, {[]string{""}, true, true}, {[]string{strings.Repeat("https,", 10_000)}, false, false},
	} {
		if got := overTLS(http.Header{"X-Forwarded-Proto": c.rows}, c.here); got != c.want {
			t.Errorf("%.60q, TLS here %v: %v", c.rows, c.here, got)
		}
	}
}

// A proxy that is trusted is believed, and nobody else.
func TestBehindProxy(t *testing.T) {
	s := sessions(t)
	token := signInTo(t, s)
	var remote string
	h := New(Options{Sessions: s, Proxies: trusted, Log: slog.New(slog.DiscardHandler),
		Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { remote = r.RemoteAddr }),
		API:   http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		SIP: func(secure bool) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, secure, " ", r.RemoteAddr) })
		}})
	do := func(method, path, peer string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://chat.example.com"+path, nil)
		r.RemoteAddr = peer
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	over := []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "https"}
	for _, c := range []struct {
		peer, from string
		secure     bool
	}{
		{"10.0.0.1:5000", "192.0.2.1:5000", true}, {"[::ffff:10.0.0.1]:5000", "192.0.2.1:5000", true}, {"[2001:db8:f::1]:5000", "192.0.2.1:5000", true},
		{"10.0.1.1:5000", "10.0.1.1:5000", false}, {"198.51.100.1:5000", "198.51.100.1:5000", false}, {"[2001:db8::1]:5000", "[2001:db8::1]:5000", false}, {"nonsense", "nonsense", false},
	} {
		if w := do("GET", "/files/x", c.peer, over...); remote != c.from {
			t.Errorf("%s: files know %s, %d", c.peer, remote, w.Code)
		} else if got := w.Header().Get("Strict-Transport-Security"); (got != "") != c.secure {
			t.Errorf("%s: HSTS %q", c.peer, got)
		}
		if w := do("GET", "/sip", c.peer, over...); w.Body.String() != fmt.Sprint(c.secure, " ", c.from) {
			t.Errorf("%s: SIP knows %s", c.peer, w.Body)
		}
		// The cookie's name, and which origin is this server's own, go with the scheme.
		for name, secure := range map[string]bool{"__Host-parley": true, "parley": false} {
			for origin, right := range map[string]bool{"https://chat.example.com": true, "http://chat.example.com": !secure} {
				want := http.StatusOK
				switch {
				case !right && c.secure:
					want = http.StatusForbidden
				case secure != c.secure:
					want = http.StatusUnauthorized
				}
				w := do("POST", "/parley.v1.SessionService/GetSession", c.peer, append([]string{"Cookie", name + "=" + token, "Origin", origin, "Content-Type", "application/json"}, over...)...)
				if secure == c.secure && w.Code != want || secure != c.secure && w.Code == http.StatusOK {
					t.Errorf("%s, cookie %s, origin %s: %d, want %d", c.peer, name, origin, w.Code, want)
				}
			}
		}
	}
}

// Who signs in too often, or guesses tokens, behind a proxy, does not keep others there from it, and cannot be somebody else by
// saying so.
func TestLimitsBehindProxy(t *testing.T) {
	s := sessions(t)
	h := New(Options{Sessions: s, Proxies: trusted, SignIns: 1, Log: slog.New(slog.DiscardHandler), API: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	do := func(path, peer, forwarded, token string) int {
		r := httptest.NewRequest("POST", "http://chat.example.com"+path, nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-For", forwarded)
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	const proxy, other = "10.0.0.1:1", "198.51.100.1:1"
	spend := func(peer, forwarded string, try func(peer, forwarded string) int) int {
		for i := range 1000 {
			if code := try(peer, fmt.Sprintf(forwarded, i%250)); code == http.StatusTooManyRequests {
				return code
			}
		}
		return http.StatusOK
	}
	for what, try := range map[string]func(peer, forwarded string) int{
		"sign-ins": func(peer, forwarded string) int { return do(signIn, peer, forwarded, "") },
		"guesses": func(peer, forwarded string) int {
			return do("/parley.v1.SessionService/GetSession", peer, forwarded, strings.Repeat("A", 43))
		},
	} {
		if code := spend(proxy, "203.0.113.%d, 192.0.2.1", try); code != http.StatusTooManyRequests {
			t.Errorf("%s of one behind the proxy are not limited: %d", what, code)
		}
		if code := try(proxy, "192.0.2.2"); code == http.StatusTooManyRequests {
			t.Errorf("%s: another one behind the proxy is refused", what)
		}
		if code := spend(other, "203.0.113.%d", try); code != http.StatusTooManyRequests {
			t.Errorf("%s: who is no proxy can say to be anybody: %d", what, code)
		}
	}
}

// One address has so many requests at once behind a proxy; others, the proxy itself, and event streams go on.
func TestAtOnce(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	h := New(Options{Proxies: trusted, AtOnce: 2, Log: slog.New(slog.DiscardHandler),
		Web: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				begun <- struct{}{}
				<-end
			}
		}),
		API: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	do := func(peer, forwarded, path string) int {
		r := httptest.NewRequest("GET", path, nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-For", forwarded)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	const proxy = "10.0.0.1:1"
	var done [6]chan int
	for i, who := range [][2]string{{proxy, "2001:db8::1"}, {proxy, "2001:db8::2"}, {proxy, "unknown"}, {proxy, "unknown"}, {proxy, "unknown"}, {"198.51.100.1:1", "2001:db8::1"}} {
		done[i] = make(chan int, 1)
		go func() { done[i] <- do(who[0], who[1], "/slow") }()
	}
	for range done {
		select {
		case <-begun:
		case <-time.After(patience):
			t.Fatal("not all are served")
		}
	}
	if code := do(proxy, "2001:db8::3", "/"); code != http.StatusTooManyRequests {
		t.Errorf("the third of a network: %d", code)
	}
	if code := do(proxy, "2001:db8::3", "/parley.v1.EventService/Stream"); code != http.StatusUnauthorized {
		t.Errorf("an event stream: %d", code)
	}
	if code := do(proxy, "2001:db8:1::1", "/"); code != http.StatusOK {
		t.Errorf("another network: %d", code)
	}
	close(end)
	for i := range done {
		if code := <-done[i]; code != http.StatusOK {
			t.Errorf("%d: %d", i, code)
		}
	}
	if code := do(proxy, "2001:db8::3", "/"); code != http.StatusOK {
		t.Errorf("after the others have ended: %d", code)
	}
}

// Answers of the API say what matters of what is no page.
func TestHeaders(t *testing.T) {
	h := New(Options{Secure: true, Strict: true, Origins: []string{"https://friend.example"}, Log: slog.New(slog.DiscardHandler),
		API: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Add("Cache-Control", "no-transform") }),
		Web: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Referrer-Policy", "origin") })})
	for range 2 { // what one answer adds is not in the next
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", signIn, nil)
		r.Header.Set("Origin", "https://friend.example")
		h.ServeHTTP(w, r)
		got := w.Header()
		if got.Get("X-Content-Type-Options") != "nosniff" || got.Get("Cross-Origin-Resource-Policy") != "cross-origin" || got.Get("Strict-Transport-Security") == "" ||
			got.Get("Content-Security-Policy") != "" || fmt.Sprint(got["Cache-Control"]) != "[no-store no-transform]" {
			t.Errorf("%v", got)
		}
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		got = w.Header()
		if got.Get("Referrer-Policy") != "origin" || got.Get("Cross-Origin-Resource-Policy") != "same-origin" || got.Get("Content-Security-Policy") != policy ||
			got.Get("Permissions-Policy") == "" || got.Get("Cross-Origin-Opener-Policy") == "" || got.Get("Cache-Control") != "" {
			t.Errorf("%v", got)
		}
	}
}
