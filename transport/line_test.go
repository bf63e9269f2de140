package transport

import (
	"crypto/tls"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// told says whether this system tells about connections.
const told = runtime.GOOS == "linux"

// plausible checks what is known of the line of f, which was opened after since.
func plausible(t *testing.T, what string, f Flow, since time.Time) {
	t.Helper()
	line, ok := f.Line()
	if ok != told {
		t.Errorf("%s: line %+v, known %v", what, line, ok)
	}
	// No sample can be longer than the connection has lived.
	if ok && (line.RTT <= 0 || line.RTT > time.Since(since)) {
		t.Errorf("%s: round trip %v on a connection %v old", what, line.RTT, time.Since(since))
	}
}

func TestLine(t *testing.T) {
	cert, pool := certificate(t, "sip.example.com", "127.0.0.1")
	e := newEar()
	l := serve(t, Options{
		UDP: []string{"127.0.0.1:0"}, TCP: []string{"127.0.0.1:0"}, TLS: []string{"127.0.0.1:0"},
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, Roots: pool,
	}, e)
	since := time.Now()

	dialTCP(t, l.tcp[0].bound).say(request("tcp", 100))
	plausible(t, "TCP", wait(t, "message", e.messages).f, since)
	dialTLS(t, l.tcp[1].bound, pool).say(request("tls", 100))
	plausible(t, "TLS", wait(t, "message", e.messages).f, since)
	for _, secure := range []bool{false, true} {
		c := dialWS(t, webServer(t, l, secure, &cert), pool, websocket.DialOptions{})
		c.say(websocket.MessageText, request("ws", 100))
		f := wait(t, "message", e.messages).f
		plausible(t, f.Kind().String(), f, since)
	}

	// A connection that we opened.
	other := newEar()
	far := serve(t, Options{TCP: []string{"127.0.0.1:0"}}, other)
	f, err := l.Flow(Target{Kind: TCP, Addr: far.tcp[0].bound})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Send(request("out", 100)); err != nil {
		t.Fatal(err)
	}
	heard := wait(t, "message", other.messages).f
	plausible(t, "dialled", f, since)
	plausible(t, "its other end", heard, since)

	// Of what is over nothing is known.
	heard.Close("the test is over")
	wait(t, "closed", e.closed)
	if line, ok := f.Line(); ok {
		t.Errorf("a closed connection has the line %+v", line)
	}
	if line, ok := heard.Line(); ok {
		t.Errorf("a connection that we closed has the line %+v", line)
	}
}

func TestLineUnknown(t *testing.T) {
	e := newEar()
	l := serve(t, Options{UDP: []string{"127.0.0.1:0"}}, e)
	udp, err := l.Flow(Target{Kind: UDP, Addr: l.udp[0].bound})
	if err != nil {
		t.Fatal(err)
	}
	// TLS that a proxy in front has taken off.
	s := httptest.NewUnstartedServer(l.WebSocketHandler(true, nil))
	s.Listener = Listener(s.Listener)
	s.Start()
	t.Cleanup(s.Close)
	c := dialWS(t, "ws"+strings.TrimPrefix(s.URL, "http"), nil, websocket.DialOptions{})
	c.say(websocket.MessageText, request("proxied", 100))
	proxied := wait(t, "message", e.messages).f
	if proxied.Kind() != WSS {
		t.Fatalf("kind %v", proxied.Kind())
	}
	for what, f := range map[string]Flow{
		"no flow": {}, "UDP": udp, "a proxy's connection": proxied, "a pipe": Pipe(PipeOptions{Kind: TCP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}),
	} {
		if line, ok := f.Line(); ok || line != (Line{}) {
			t.Errorf("%s: line %+v, %v", what, line, ok)
		}
	}
}

func TestPipeLine(t *testing.T) {
	want := Line{RTT: 80 * time.Millisecond, Rate: 16_000, AtLeast: true}
	f := Pipe(PipeOptions{Kind: TCP, Line: func() (Line, bool) { return want, true }})
	if got, ok := f.Line(); !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	f.Close("")
	if got, ok := f.Line(); ok {
		t.Errorf("closed: %+v", got)
	}
}
