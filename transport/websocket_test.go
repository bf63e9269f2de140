package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/parley-im/parley/wire/sip"
)

// webServer mounts the layer's handler at /sip.
func webServer(t testing.TB, l *Layer, secure bool, cert *tls.Certificate, origins ...string) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/sip", l.WebSocketHandler(secure, origins))
	s := httptest.NewUnstartedServer(mux)
	s.Listener = Listener(s.Listener)
	if secure {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http") + "/sip"
}

type wsPeer struct {
	*websocket.Conn
	t   testing.TB
	ctx context.Context
}

func dialWS(t testing.TB, url string, roots *x509.CertPool, o websocket.DialOptions) *wsPeer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "sip.example.com"}}
	t.Cleanup(tr.CloseIdleConnections)
	o.HTTPClient = &http.Client{Transport: tr}
	if o.Subprotocols == nil {
		o.Subprotocols = []string{"sip"}
	}
	c, _, err := websocket.Dial(ctx, url, &o)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = c.CloseNow() })
	return &wsPeer{c, t, ctx}
}

func (p *wsPeer) say(kind websocket.MessageType, b []byte) {
	p.t.Helper()
	if err := p.Write(p.ctx, kind, b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *wsPeer) hear() (websocket.MessageType, *sip.Message) {
	p.t.Helper()
	kind, b, err := p.Read(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	m, err := sip.Parse(b)
	if err != nil {
		p.t.Fatalf("%v: %q", err, b)
	}
	return kind, m
}

func (p *wsPeer) expect200(call string) {
	p.t.Helper()
	p.say(websocket.MessageText, request(call, 5))
	if kind, m := p.hear(); kind != websocket.MessageText || m.Status() != 200 || m.CallID() != call {
		p.t.Fatalf("got %d for %q", m.Status(), m.CallID())
	}
}

func TestWebSocket(t *testing.T) {
	for _, secure := range []bool{false, true} {
		cert, pool := certificate(t, "sip.example.com")
		e := responder()
		l := serve(t, Options{}, e)
		kind := WS
		if secure {
			kind = WSS
		}
		url := webServer(t, l, secure, &cert)
		c := dialWS(t, url, pool, websocket.DialOptions{})
		if c.Subprotocol() != "sip" {
			t.Errorf("subprotocol %q", c.Subprotocol())
		}
		c.expect200("text")
		// RFC 7118 §4.2: binary messages are taken too.
		c.say(websocket.MessageBinary, request("binary", 3))
		if _, m := c.hear(); m.CallID() != "binary" {
			t.Errorf("got %q", m.CallID())
		}
		// RFC 7118 §5: Content-Length is not needed.
		c.say(websocket.MessageText, bytes.Replace(request("short", 5), []byte("Content-Length: 5\r\n"), nil, 1))
		if _, m := c.hear(); m.Status() != 200 || m.CallID() != "short" {
			t.Errorf("got %q", m.CallID())
		}
		// Keep-alive, RFC 7118 §6.
		c.say(websocket.MessageText, []byte("\r\n\r\n"))
		if _, b, err := c.Read(c.ctx); err != nil || string(b) != "\r\n" {
			t.Errorf("pong %q, %v", b, err)
		}
		if name, by := l.Via(soleFlow(t, l)); name != kind.ViaName() || by == "" {
			t.Errorf("via %s %s", name, by)
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("close: %v", err)
		}
		if g := wait(t, "closed", e.closed); !errors.Is(g.err, io.EOF) || g.f.Kind() != kind {
			t.Errorf("closed: %v", g.err)
		}
	}
}

func soleFlow(t testing.TB, l *Layer) Flow {
	t.Helper()
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.byID {
		return s.flow()
	}
	t.Fatal("no connection")
	return Flow{}
}

func TestWebSocketWritesBinaryWhenNeeded(t *testing.T) {
	e := newEar()
	l := serve(t, Options{}, e)
	c := dialWS(t, webServer(t, l, false, nil), nil, websocket.DialOptions{})
	c.say(websocket.MessageText, request("a", 0))
	f := wait(t, "message", e.messages).f
	latin := bytes.Replace(request("b", 4), []byte("xxxx"), []byte("caf\xe9"), 1)
	for _, row := range []struct {
		b    []byte
		want websocket.MessageType
	}{{latin, websocket.MessageBinary}, {request("c", 60_000), websocket.MessageText}} {
		if err := f.Send(row.b); err != nil {
			t.Fatal(err)
		}
		kind, b, err := c.Read(c.ctx)
		if err != nil || kind != row.want || !bytes.Equal(b, row.b) {
			t.Errorf("got %v, %d bytes, %v", kind, len(b), err)
		}
	}
}

// Origins (hostile.md #16) and the subprotocol (RFC 7118 §4.1).
func TestWebSocketHandshake(t *testing.T) {
	l := serve(t, Options{}, responder())
	url := webServer(t, l, false, nil, "chat.example.com", "https://app.example.com")
	host := strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/sip")
	for _, row := range []struct {
		origin, protocol string
		status           int
	}{
		{"", "sip", 101},
		{"", "SIP", 101},
		{"", "msrp, sip", 101},
		{"", "", 400},
		{"", "msrp", 400},
		{"http://" + host, "sip", 101},
		{"https://chat.example.com", "sip", 101},
		{"https://app.example.com", "sip", 101},
		{"http://app.example.com", "sip", 403},
		{"https://evil.example.org", "sip", 403},
		{"https://chat.example.com.evil.org", "sip", 403},
		{"null", "sip", 403},
		{"http://" + host + ".evil.org", "sip", 403},
	} {
		req, _ := http.NewRequest(http.MethodGet, "http"+strings.TrimPrefix(url, "ws"), nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		req.Header.Set("Sec-WebSocket-Version", "13")
		req.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		req.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate")
		req.Header.Set("Cookie", "session=valid")
		if row.origin != "" {
			req.Header.Set("Origin", row.origin)
		}
		if row.protocol != "" {
			req.Header.Set("Sec-WebSocket-Protocol", row.protocol)
		}
		tr := &http.Transport{DisableKeepAlives: true}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != row.status {
			t.Errorf("origin %q, protocol %q: %d, want %d", row.origin, row.protocol, resp.StatusCode, row.status)
		}
		if resp.StatusCode == 101 && (!strings.EqualFold(resp.Header.Get("Sec-WebSocket-Protocol"), "sip") || resp.Header.Get("Sec-WebSocket-Extensions") != "") {
			t.Errorf("answer %v", resp.Header)
		}
	}
}

// frames is a client that writes its own frames.
type frames struct{ *peerConn }

func dialFrames(t testing.TB, url string) frames {
	t.Helper()
	addr := netip.MustParseAddrPort(strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/sip"))
	c := dialTCP(t, addr)
	c.say([]byte("GET /sip HTTP/1.1\r\nHost: " + addr.String() + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"))
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("handshake: %v %v", resp, err)
	}
	_ = resp.Body.Close()
	return frames{c}
}

// frame makes one masked frame with a mask of zeros.
func frame(fin bool, opcode byte, b []byte) []byte {
	if fin {
		opcode |= 0x80
	}
	f := []byte{opcode}
	switch {
	case len(b) < 126:
		f = append(f, 0x80|byte(len(b)))
	case len(b) < 1<<16:
		f = append(f, 0x80|126, byte(len(b)>>8), byte(len(b)))
	default:
		f = append(f, 0x80|127, 0, 0, 0, 0, byte(len(b)>>24), byte(len(b)>>16), byte(len(b)>>8), byte(len(b)))
	}
	f = append(f, 0, 0, 0, 0)
	return append(f, b...)
}

// read gives the next unmasked frame.
func (c frames) read() (opcode byte, b []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return 0, nil, err
	}
	size := int(h[1])
	if size == 126 {
		var n [2]byte
		if _, err := io.ReadFull(c.r, n[:]); err != nil {
			return 0, nil, err
		}
		size = int(n[0])<<8 | int(n[1])
	}
	b = make([]byte, size)
	_, err = io.ReadFull(c.r, b)
	return h[0] & 0xf, b, err
}

func TestWebSocketFragments(t *testing.T) {
	e := newEar()
	l := serve(t, Options{}, e)
	c := dialFrames(t, webServer(t, l, false, nil))
	for _, piece := range []int{1, 7, 1000, 20_000} {
		msg := request("frag", 30_000)
		if piece == 1 {
			msg = request("frag", 0)
		}
		list := slices(msg, piece)
		for i, p := range list {
			opcode := byte(0)
			if i == 0 {
				opcode = 1
			}
			c.say(frame(i == len(list)-1, opcode, p))
			if i == 1 { // RFC 6455 §5.4: control frames come in between
				c.say(frame(true, 9, []byte("are you there")))
			}
		}
		if g := wait(t, "message", e.messages); !bytes.Equal(g.m.Bytes(), msg) {
			t.Errorf("pieces of %d: %d bytes", piece, len(g.m.Bytes()))
		}
		if len(list) > 1 {
			if op, b, err := c.read(); op != 10 || string(b) != "are you there" || err != nil {
				t.Errorf("pong: %d %q %v", op, b, err)
			}
		}
	}
}

func TestWebSocketLimits(t *testing.T) {
	t.Parallel()
	lim := Limits{SIP: sip.Limits{Body: 1000, HeaderBytes: 1000}, Partial: 300 * time.Millisecond, Greeting: 5 * time.Second}
	e := newEar()
	l := serve(t, Options{Limits: lim}, e)
	url := webServer(t, l, false, nil)
	pad := func(total int) []byte {
		b := request("pad", 1000)
		return bytes.Replace(b, []byte("Call-ID"), []byte("Subject: "+strings.Repeat("s", total-len(b)-11)+"\r\nCall-ID"), 1)
	}
	for over := -1; over <= 1; over++ {
		c := dialFrames(t, url)
		b := pad(2000 + over)
		if over > 0 {
			b = append(pad(2000), 'x')
		}
		c.say(frame(true, 1, b))
		if over <= 0 {
			wait(t, "message within the limit", e.messages)
			_ = c.Close()
			wait(t, "closed", e.closed)
			continue
		}
		if op, b, err := c.read(); err != nil || op != 8 || !bytes.HasPrefix(b, []byte{1009 >> 8, 1009 & 0xff}) {
			t.Errorf("over the limit: %d %q %v", op, b, err)
		}
		_ = c.Close()
		if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrGarbage) {
			t.Errorf("closed: %v", g.err)
		}
	}
	for name, row := range map[string]struct {
		in   []byte
		want error
	}{
		"claims 2^62 bytes":   {[]byte{0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, ErrGarbage},
		"stops in a message":  {frame(true, 1, request("a", 900))[:500], ErrSlow},
		"never ends":          {frame(false, 1, []byte("OPTIONS")), ErrSlow},
		"unmasked":            {[]byte{0x81, 1, 'x'}, nil},
		"compressed":          {frame(true, 0x41, []byte("x")), nil},
		"bare continuation":   {frame(true, 0, []byte("x")), nil},
		"unknown opcode":      {frame(true, 5, []byte("x")), nil},
		"fragmented ping":     {frame(false, 9, []byte("x")), nil},
		"not SIP":             {frame(true, 1, []byte("{\"type\":\"hello\"}")), ErrGarbage},
		"zeros":               {frame(true, 2, make([]byte, 100)), ErrGarbage},
		"empty, then silence": {frame(true, 1, nil), ErrIdle},
	} {
		t.Run(name, func(t *testing.T) {
			other := dialWS(t, url, nil, websocket.DialOptions{})
			other.say(websocket.MessageText, request("before", 0))
			wait(t, "message of another", e.messages)
			c := dialFrames(t, url)
			c.say(row.in)
			go func() { _, _ = io.Copy(io.Discard, c.r) }()
			g := wait(t, "closed", e.closed)
			if g.err == nil || row.want != nil && !errors.Is(g.err, row.want) {
				t.Errorf("closed: %v, want %v", g.err, row.want)
			}
			other.say(websocket.MessageText, request("other", 0))
			if g := wait(t, "message of another", e.messages); g.m.CallID() != "other" {
				t.Errorf("got %q", g.m.CallID())
			}
			_ = other.CloseNow()
			wait(t, "closed", e.closed)
		})
	}
}

// A silent peer is pinged; one that answers stays, one that does not is closed.
func TestWebSocketPing(t *testing.T) {
	t.Parallel()
	e := newEar()
	l := serve(t, Options{Limits: Limits{Ping: 2 * time.Second}}, e)
	url := webServer(t, l, false, nil)
	dead, alive := dialFrames(t, url), dialWS(t, url, nil, websocket.DialOptions{})
	dead.say(frame(true, 1, request("dead", 0)))
	f := wait(t, "message", e.messages).f
	alive.say(websocket.MessageText, request("alive", 0))
	wait(t, "message", e.messages)
	readErr := make(chan error, 1)
	go func() {
		_, _, err := alive.Read(alive.ctx) // answers pings
		readErr <- err
	}()
	op, _, err := dead.read()
	if err != nil || op != 9 {
		t.Fatalf("opcode %d, %v: want a ping", op, err)
	}
	if g := wait(t, "closed", e.closed); g.f != f || !errors.Is(g.err, ErrIdle) {
		t.Errorf("closed: %v", g.err)
	}
	alive.say(websocket.MessageText, request("still", 0))
	if g := wait(t, "message", e.messages); g.m.CallID() != "still" {
		t.Errorf("got %q", g.m.CallID())
	}
	g := soleFlow(t, l)
	g.Close("bye")
	err = wait(t, "end", readErr)
	var ce websocket.CloseError
	if !errors.As(err, &ce) || ce.Code != websocket.StatusNormalClosure || !strings.Contains(ce.Reason, "bye") {
		t.Errorf("close frame: %v", err)
	}
	wait(t, "closed", e.closed)
}

func TestWebSocketSlowReaderAndCaps(t *testing.T) {
	e := newEar()
	l := serve(t, Options{Limits: Limits{QueueBytes: 100_000, PerAddress: 2}}, e)
	url := webServer(t, l, false, nil)
	slow := dialFrames(t, url)
	slow.say(frame(true, 1, request("slow", 0)))
	f := wait(t, "message", e.messages).f
	second := dialFrames(t, url)
	resp, err := http.Get("http" + strings.TrimPrefix(url, "ws"))
	if err != nil || resp.StatusCode != 400 {
		t.Errorf("plain GET: %v %v", resp, err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	_, resp, err = websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err == nil || resp == nil || resp.StatusCode != 503 {
		t.Errorf("third connection: %v %v", resp, err)
	}
	for range 10_000 {
		if err = f.Send(request("x", 10_000)); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrQueueFull) {
		t.Fatalf("got %v", err)
	}
	if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrQueueFull) {
		t.Errorf("closed: %v", g.err)
	}
	second.say(frame(true, 1, request("second", 0)))
	wait(t, "message", e.messages)
}

func TestWebSocketBeforeServe(t *testing.T) {
	l, err := Listen(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	url := webServer(t, l, false, nil)
	_, resp, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"sip"}})
	if err == nil || resp == nil || resp.StatusCode != 503 {
		t.Errorf("got %v %v", resp, err)
	}
	http.DefaultClient.CloseIdleConnections()
}
