package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parley-im/parley/wire/sip"
)

func TestTCPBothFamilies(t *testing.T) {
	for _, addr := range loopbacks(t) {
		e := responder()
		l := serve(t, Options{TCP: []string{addr}}, e)
		c := dialTCP(t, l.Addrs(TCP)[0])
		for i := range 3 {
			c.expect200(id(i))
		}
		_ = c.Close()
		g := wait(t, "closed", e.closed)
		if !errors.Is(g.err, io.EOF) || g.f.Alive() || g.f.Remote() != addrPort(c.LocalAddr()) {
			t.Errorf("closed: %v %v", g.err, g.f.Remote())
		}
		if err := g.f.Send([]byte("x")); !errors.Is(err, ErrClosed) {
			t.Errorf("send on a closed flow: %v", err)
		}
	}
}

func TestTCPDualStack(t *testing.T) {
	l := serve(t, Options{TCP: []string{"[::]:0"}}, responder())
	port := l.Addrs(TCP)[0].Port()
	hosts := []string{"127.0.0.1"}
	if len(loopbacks(t)) > 1 {
		hosts = append(hosts, "::1")
	}
	for _, host := range hosts {
		dialTCP(t, netip.AddrPortFrom(netip.MustParseAddr(host), port)).expect200("a")
	}
}

func TestTCPPipelinedAndSliced(t *testing.T) {
	e := newEar()
	l := serve(t, Options{TCP: []string{"127.0.0.1:0"}}, e)
	c := dialTCP(t, l.Addrs(TCP)[0])
	var all []byte
	for i := range 200 {
		all = append(all, request(id(i), i*300)...)
	}
	for len(all) > 0 {
		n := min(len(all), 7777)
		c.say(all[:n])
		all = all[n:]
	}
	for i := range 200 {
		if g := wait(t, "message", e.messages); g.m.CallID() != id(i) || len(g.m.Body()) != i*300 {
			t.Fatalf("message %d is %q with %d bytes", i, g.m.CallID(), len(g.m.Body()))
		}
	}
}

// RFC 5626 §3.5.1.
func TestCRLFPong(t *testing.T) {
	l := serve(t, Options{TCP: []string{"127.0.0.1:0"}}, responder())
	c := dialTCP(t, l.Addrs(TCP)[0])
	for _, ping := range []string{"\r\n\r\n", "\r\n\r", "\n"} {
		c.say([]byte(ping))
		if ping == "\r\n\r" {
			continue
		}
		var b [2]byte
		if _, err := io.ReadFull(c.r, b[:]); err != nil || string(b[:]) != "\r\n" {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	c.expect200("a")
	if c.r.Buffered() > 0 {
		t.Error("more than one pong")
	}
}

// A peer that reads nothing fills its own queue and loses its connection;
// others, of which some share its loop, are served meanwhile.
func TestSlowReader(t *testing.T) {
	for _, k := range []Kind{TCP, TLS} {
		t.Run(k.String(), func(t *testing.T) {
			e := newEar()
			o, pool := tlsOptions(t)
			o.TCP, o.Limits = []string{"127.0.0.1:0"}, Limits{QueueBytes: 256 << 10}
			l := serve(t, o, e)
			dial := func() *peerConn {
				if k == TLS {
					return dialTLS(t, l.Addrs(TLS)[0], pool)
				}
				return dialTCP(t, l.Addrs(TCP)[0])
			}
			slow := dial()
			var others []*peerConn
			for range 2 * runtime.GOMAXPROCS(0) {
				others = append(others, dial())
			}
			slow.say(request("slow", 0))
			f := wait(t, "message", e.messages).f
			var err error
			for range 10_000 {
				if err = f.Send(request("x", 10_000)); err != nil {
					break
				}
			}
			if !errors.Is(err, ErrQueueFull) {
				t.Fatalf("100 MB for a peer that reads nothing: %v", err)
			}
			if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrQueueFull) || g.f != f {
				t.Errorf("closed: %v", g.err)
			}
			for i, c := range others {
				c.say(request(id(i), 0))
				if g := wait(t, "message", e.messages); g.m.CallID() != id(i) {
					t.Errorf("got %q", g.m.CallID())
				}
			}
			if n := metric(t, l.metrics.queueFull[k]); n != 1 {
				t.Errorf("%v full queues counted", n)
			}
		})
	}
}

// A peer that reads nothing for a while, and then all, misses nothing.
func TestPausedReader(t *testing.T) {
	for _, k := range []Kind{TCP, TLS} {
		t.Run(k.String(), func(t *testing.T) {
			e := newEar()
			o, pool := tlsOptions(t)
			o.TCP, o.Limits = []string{"127.0.0.1:0"}, Limits{QueueBytes: 64 << 20, QueueMessages: 1 << 20}
			l := serve(t, o, e)
			c := dialTCP(t, l.Addrs(k)[0])
			if k == TLS {
				c = over(t, tls.Client(c.Conn, &tls.Config{RootCAs: pool, ServerName: "sip.example.com"}))
			}
			c.say(request("a", 0))
			f := wait(t, "message", e.messages).f
			const many = 250 // 15 MB, more than the socket buffers hold
			for i := range many {
				if err := f.Send(request(id(i), 60_000)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range many {
				if m := c.hear(); m.CallID() != id(i) || len(m.Body()) != 60_000 {
					t.Fatalf("message %d is %q with %d bytes", i, m.CallID(), len(m.Body()))
				}
			}
		})
	}
}

func TestQueueCount(t *testing.T) {
	e := newEar()
	l := serve(t, Options{TCP: []string{"127.0.0.1:0"}, Limits: Limits{QueueMessages: 10}}, e)
	// Nothing is written while we dial a port that does not answer, so the
	// queue alone is seen.
	f, err := l.Flow(Target{Kind: TCP, Addr: silent(t)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := f.Send([]byte("x")); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if err := f.Send([]byte("x")); !errors.Is(err, ErrQueueFull) {
		t.Errorf("11th: %v", err)
	}
	wait(t, "closed", e.closed)
}

// socket is a TCP socket on loopback that has a port and does not listen.
type socket struct {
	fd   int
	addr netip.AddrPort
}

func bound(t testing.TB) socket {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return socket{fd, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*syscall.SockaddrInet4).Port))}
}

// silent is an address that neither accepts nor refuses: a listener whose
// backlog is full.
func silent(t testing.TB) netip.AddrPort {
	t.Helper()
	s := bound(t)
	addr := s.addr
	if err := syscall.Listen(s.fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		d := net.Dialer{Timeout: time.Second} // much longer than a busy machine needs to connect to itself
		c, err := d.Dial("tcp", addr.String())
		if err != nil {
			return addr // full
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the backlog does not fill")
	return addr
}

// hostile.md #9: connections that send nothing, or only keep-alives, end.
func TestSilentPeer(t *testing.T) {
	for name, said := range map[string]string{"nothing": "", "pings": "\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := responder()
			l := serve(t, Options{TCP: []string{"127.0.0.1:0"}, Limits: Limits{Greeting: 2 * time.Second}}, e)
			other := dialTCP(t, l.Addrs(TCP)[0])
			other.expect200("a")
			silent := dialTCP(t, l.Addrs(TCP)[0])
			silent.say([]byte(said))
			silent.gone()
			if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrIdle) {
				t.Errorf("closed: %v", g.err)
			}
			other.expect200("b")
		})
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	e := newEar()
	idle := 2 * time.Second
	l := serve(t, Options{TCP: []string{"127.0.0.1:0"}, Limits: Limits{Idle: idle}}, e)
	registered, plain := dialTCP(t, l.Addrs(TCP)[0]), dialTCP(t, l.Addrs(TCP)[0])
	registered.say(request("r", 0))
	f := wait(t, "message", e.messages).f
	f.SetIdle(time.Hour)
	start := time.Now()
	plain.say(request("p", 0))
	p := wait(t, "message", e.messages).f
	plain.gone()
	if d := time.Since(start); d < idle {
		t.Errorf("closed after %v", d)
	}
	if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrIdle) || g.f != p {
		t.Errorf("closed: %v", g.err)
	}
	registered.say(request("again", 0))
	wait(t, "message of the registered peer", e.messages)
	f.SetIdle(100 * time.Millisecond)
	registered.gone()
	if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrIdle) || g.f != f {
		t.Errorf("closed: %v", g.err)
	}
}

// A message has to be complete in time, however it trickles (hostile.md #9).
func TestOneByteAtATime(t *testing.T) {
	e := responder()
	l := serve(t, Options{TCP: []string{"127.0.0.1:0"}, Limits: Limits{Partial: 300 * time.Millisecond}}, e)
	slow, other := dialTCP(t, l.Addrs(TCP)[0]), dialTCP(t, l.Addrs(TCP)[0])
	slow.expect200("first")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	msg := request("slow", 5000)
	for i, b := range msg {
		if len(e.closed) > 0 {
			break
		}
		if _, err := slow.Write([]byte{b}); err != nil {
			break
		}
		if i == len(msg)-1 {
			t.Error("the whole message was taken")
		}
		<-tick.C
	}
	if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrSlow) {
		t.Errorf("closed: %v", g.err)
	}
	other.expect200("b")
}

// A peer whose packets always end inside a message, each of which is complete
// in time, is not slow.
func TestAlwaysPartialIsNotSlow(t *testing.T) {
	t.Parallel()
	e := newEar()
	partial := 2 * time.Second
	l := serve(t, Options{TCP: []string{"127.0.0.1:0"}, Limits: Limits{Partial: partial}}, e)
	c := dialTCP(t, l.Addrs(TCP)[0])
	msg := request("a", 100)
	half := len(msg) / 2
	c.say(msg[:half])
	tick := time.NewTicker(partial / 4)
	defer tick.Stop()
	for range 6 { // one and a half times the limit
		<-tick.C
		c.say(append(msg[half:len(msg):len(msg)], msg[:half]...))
		wait(t, "message", e.messages)
	}
	if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrSlow) {
		t.Errorf("the half message at the end: %v", g.err)
	}
}

// hostile.md #19: what cannot be framed is answered if possible, and closed.
func TestGarbage(t *testing.T) {
	bad := func(length string) string {
		return strings.Replace(string(request("bad", 5)), "Content-Length: 5", length, 1)
	}
	for name, row := range map[string]struct{ in, out string }{
		"TLS hello":       {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ""},
		"HTTP":            {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		"binary":          {strings.Repeat("\xff\x00", 5000), ""},
		"endless line":    {"OPTIONS " + strings.Repeat("y", 100_000), ""},
		"negative length": {bad("Content-Length: -5"), "SIP/2.0 400 "},
		"no length":       {bad("Subject: none"), "SIP/2.0 400 "},
		"huge body":       {bad("Content-Length: 1000000"), "SIP/2.0 413 "},
		"header flood":    {bad(strings.Repeat("A: b\r\n", 50_000) + "l: 5"), "SIP/2.0 400 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := responder()
			l := serve(t, Options{TCP: []string{"127.0.0.1:0"}}, e)
			c, other := dialTCP(t, l.Addrs(TCP)[0]), dialTCP(t, l.Addrs(TCP)[0])
			go func() { _, _ = c.Write([]byte(row.in)) }()
			got := c.gone()
			if !strings.HasPrefix(got, row.out) || row.out == "" && got != "" {
				t.Errorf("answered %q, want %q", got, row.out)
			}
			if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrGarbage) {
				t.Errorf("closed: %v", g.err)
			}
			other.expect200("b")
		})
	}
}

// A message that is framed but malformed does not end the connection.
func TestMalformedIsAnswered(t *testing.T) {
	e := responder()
	l := serve(t, Options{TCP: []string{"127.0.0.1:0"}}, e)
	c := dialTCP(t, l.Addrs(TCP)[0])
	c.say(bytes.Replace(request("bad", 3), []byte("Max-Forwards: 70"), []byte(": 70"), 1))
	if m := c.hear(); m.Status() != 400 {
		t.Errorf("got %d", m.Status())
	}
	c.expect200("good")
}

// hostile.md #9: a flood of connections is capped per address, and others get in.
func TestCaps(t *testing.T) {
	e := responder()
	l := serve(t, Options{TCP: []string{"0.0.0.0:0"}, Limits: Limits{PerAddress: 5, Connections: 8}}, e)
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), l.Addrs(TCP)[0].Port())
	dial := func(host string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
		return d.Dial("tcp", to.String())
	}
	from := func(host string) *peerConn {
		c, err := dial(host)
		if err != nil {
			t.Fatal(err)
		}
		return over(t, c)
	}
	refused := func(host string) bool {
		raw, err := dial(host)
		if err != nil {
			return true // reset before connect returned
		}
		c := over(t, raw)
		_, _ = c.Write(request("x", 0))
		_, err = c.next()
		return err != nil
	}
	var first []*peerConn
	for i := range 5 {
		c := from("127.0.0.1")
		c.expect200(id(i))
		first = append(first, c)
	}
	if !refused("127.0.0.1") {
		t.Error("the sixth of an address got in")
	}
	for i := range 3 {
		from("127.0.0.2").expect200(id(i))
	}
	if !refused("127.0.0.3") {
		t.Error("the ninth of all got in")
	}
	_ = first[0].Close()
	wait(t, "closed", e.closed)
	from("127.0.0.1").expect200("again")
	l.mu.RLock()
	defer l.mu.RUnlock()
	if n := l.perSource[netip.MustParseAddr("127.0.0.1")]; n != 5 {
		t.Errorf("%d counted for the address", n)
	}
}

// A peer that has closed its sending half still gets the answer, also one that
// takes a moment.
func TestHalfClose(t *testing.T) {
	e := newEar()
	l := serve(t, Options{TCP: []string{"127.0.0.1:0"}}, e)
	c := dialTCP(t, l.Addrs(TCP)[0])
	c.say(request("a", 0))
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	g := wait(t, "message", e.messages)
	for g.f.Alive() { // until the layer has seen the end
		if _, ok := l.Lookup(g.f.ID()); !ok {
			break
		}
	}
	if err := g.f.Send(sip.NewResponse(g.m, 200, "").Bytes()); err != nil {
		t.Fatal(err)
	}
	if m := c.hear(); m.Status() != 200 {
		t.Errorf("got %d", m.Status())
	}
	c.gone()
	if g := wait(t, "closed", e.closed); !errors.Is(g.err, io.EOF) {
		t.Errorf("closed: %v", g.err)
	}
}

func TestHandlerPanics(t *testing.T) {
	e := responder()
	e.hook = func(m *sip.Message, _ Flow) {
		if m.CallID() == "boom" {
			panic("boom")
		}
	}
	l := serve(t, Options{TCP: []string{"127.0.0.1:0"}}, e)
	c, other := dialTCP(t, l.Addrs(TCP)[0]), dialTCP(t, l.Addrs(TCP)[0])
	c.say(request("boom", 0))
	c.gone()
	if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrPanic) {
		t.Errorf("closed: %v", g.err)
	}
	other.expect200("b")
	if n := metric(t, l.metrics.panics); n != 1 {
		t.Errorf("%v panics counted", n)
	}
}

func TestFlowClose(t *testing.T) {
	e := newEar()
	l := serve(t, Options{TCP: []string{"127.0.0.1:0"}}, e)
	c := dialTCP(t, l.Addrs(TCP)[0])
	c.say(request("a", 0))
	f := wait(t, "message", e.messages).f
	if got, ok := l.Lookup(f.ID()); !ok || got != f {
		t.Error("not found by its ID")
	}
	if f.Listener() != "tcp:127.0.0.1:0" || f.Kind() != TCP || f.Local() != l.Addrs(TCP)[0] {
		t.Errorf("flow of %s at %v", f.Listener(), f.Local())
	}
	big := request("last", 60_000)
	if err := f.Send(big); err != nil {
		t.Fatal(err)
	}
	f.Close("disabled")
	if err := f.Send(big); !errors.Is(err, ErrClosed) {
		t.Errorf("send after close: %v", err)
	}
	if got := c.gone(); got != string(big) {
		t.Errorf("%d bytes came before the end, want %d", len(got), len(big))
	}
	_ = c.Close()
	if g := wait(t, "closed", e.closed); !errors.Is(g.err, ErrClosed) || g.f != f {
		t.Errorf("closed: %v", g.err)
	}
	if _, ok := l.Lookup(f.ID()); ok {
		t.Error("still found by its ID")
	}
}

func TestTLSBothWays(t *testing.T) {
	o, pool := tlsOptions(t)
	e := responder()
	l := serve(t, o, e)
	c := dialTLS(t, l.Addrs(TLS)[0], pool)
	for i := range 3 {
		c.expect200(id(i))
	}
	c.say([]byte("\r\n\r\n"))
	var pong [2]byte
	if _, err := io.ReadFull(c.r, pong[:]); err != nil || string(pong[:]) != "\r\n" {
		t.Fatalf("got %q, %v", pong, err)
	}
	for _, b := range request("bytewise", 3) { // a record each
		c.say([]byte{b})
	}
	if m := c.hear(); m.CallID() != "bytewise" {
		t.Errorf("got %q", m.CallID())
	}
	big := request("big", 60_000)
	c.say(big)
	if m := c.hear(); m.CallID() != "big" {
		t.Errorf("got %q", m.CallID())
	}
	_ = c.Close()
	if g := wait(t, "closed", e.closed); !errors.Is(g.err, io.EOF) || g.f.Kind() != TLS {
		t.Errorf("closed: %v", g.err)
	}
}

func TestTLSManyMessagesInOneRecord(t *testing.T) {
	o, pool := tlsOptions(t)
	e := newEar()
	l := serve(t, o, e)
	c := dialTLS(t, l.Addrs(TLS)[0], pool)
	c.say(request("hello", 0))
	f := wait(t, "message", e.messages).f
	for i := range 300 {
		if err := f.Send(request(id(i), i*7)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		if m := c.hear(); m.CallID() != id(i) || len(m.Body()) != i*7 {
			t.Fatalf("message %d is %q with %d bytes", i, m.CallID(), len(m.Body()))
		}
	}
}

// A peer that stalls in its handshake delays nobody, and is closed in time.
func TestTLSHandshakeStall(t *testing.T) {
	t.Parallel()
	o, pool := tlsOptions(t)
	o.Limits.Handshake = 3 * time.Second
	e := responder()
	l := serve(t, o, e)
	var stalled []*peerConn
	for range 20 {
		stalled = append(stalled, dialTCP(t, l.Addrs(TLS)[0]))
	}
	stalled[0].say([]byte{0x16, 3, 1}) // half a record header
	dialTLS(t, l.Addrs(TLS)[0], pool).expect200("a")
	for _, c := range stalled {
		c.gone()
	}
	garbage := dialTCP(t, l.Addrs(TLS)[0])
	garbage.say(request("plain SIP on the TLS port", 0))
	garbage.gone()
	if len(e.closed) > 0 {
		t.Error("the handler heard of a connection that never was")
	}
	left := func() int {
		l.mu.RLock()
		defer l.mu.RUnlock()
		return len(l.all)
	}
	for end := time.Now().Add(patience); left() > 1; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d connections are left", left())
		}
	}
}

func TestDial(t *testing.T) {
	server, client := responder(), newEar()
	a := serve(t, Options{TCP: []string{"127.0.0.1:0"}}, server)
	b := serve(t, Options{}, client)
	to := Target{Kind: TCP, Addr: a.Addrs(TCP)[0]}
	f, err := b.Flow(to)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := f.Send(request(id(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		if g := wait(t, "answer", client.messages); g.m.CallID() != id(i) || g.f != f {
			t.Errorf("answer %d is %q", i, g.m.CallID())
		}
	}
	if again, err := b.Flow(to); err != nil || again != f {
		t.Errorf("the connection is not used again: %v", err)
	}
	if !f.Established() || f.Listener() != "tcp:out" {
		t.Errorf("established %v, listener %q", f.Established(), f.Listener())
	}
	// And back over the accepted one.
	back, err := a.Flow(Target{Kind: TCP, Addr: f.Local()})
	if err != nil || back.Remote() != f.Local() {
		t.Fatalf("way back: %v", err)
	}
	if err := back.Send(request("back", 0)); err != nil {
		t.Fatal(err)
	}
	if g := wait(t, "request", client.messages); g.m.CallID() != "back" || g.f != f {
		t.Errorf("got %q", g.m.CallID())
	}
}

func TestDialFails(t *testing.T) {
	e := newEar()
	l := serve(t, Options{Limits: Limits{Dial: 200 * time.Millisecond}}, e)
	refusing := bound(t) // nobody listens there, and nobody else can
	for name, addr := range map[string]netip.AddrPort{"refused": refusing.addr, "no answer": silent(t)} {
		f, err := l.Flow(Target{Kind: TCP, Addr: addr})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Send(request("a", 0)); err != nil && !errors.Is(err, ErrClosed) { // it may have failed already
			t.Fatal(err)
		}
		if g := wait(t, "closed", e.closed); g.f != f || g.err == nil || f.Alive() {
			t.Errorf("%s: %v", name, g.err)
		}
		if f2, err := l.Flow(Target{Kind: TCP, Addr: addr}); err != nil || f2 == f {
			t.Errorf("%s: no new attempt (%v)", name, err)
		}
		wait(t, "second failure", e.closed)
	}
	for _, bad := range []Target{{}, {Kind: TCP}, {Kind: WS, Addr: refusing.addr}, {Kind: UDP, Addr: refusing.addr}} {
		if _, err := l.Flow(bad); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestDialTLSVerifies(t *testing.T) {
	o, pool := tlsOptions(t)
	server := responder()
	a := serve(t, o, server)
	for name, row := range map[string]struct {
		server string
		roots  *x509.CertPool
		ok     bool
	}{
		"right name":   {"sip.example.com", pool, true},
		"address":      {"", pool, true},
		"wrong name":   {"sip.example.org", pool, false},
		"unknown root": {"sip.example.com", x509.NewCertPool(), false},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEar()
			b := serve(t, Options{Roots: row.roots}, e)
			f, err := b.Flow(Target{Kind: TLS, Addr: a.Addrs(TLS)[0], ServerName: row.server})
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Send(request("a", 0)); err != nil {
				t.Fatal(err)
			}
			if row.ok {
				wait(t, "answer", e.messages)
				return
			}
			var unknown x509.UnknownAuthorityError
			var host x509.HostnameError
			if g := wait(t, "closed", e.closed); !errors.As(g.err, &unknown) && !errors.As(g.err, &host) {
				t.Errorf("closed: %v", g.err)
			}
		})
	}
}

// A TLS server that is dialled and stalls is given up.
func TestDialTLSStall(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	e := newEar()
	l := serve(t, Options{Limits: Limits{Handshake: 200 * time.Millisecond}}, e)
	f, err := l.Flow(Target{Kind: TLS, Addr: addrPort(ln.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	if f.Established() {
		t.Error("established before the handshake")
	}
	if g := wait(t, "closed", e.closed); g.f != f || !errors.Is(g.err, ErrSlow) {
		t.Errorf("closed: %v", g.err)
	}
}

// Serve ends though connections are open, dialling, shaking hands or stuck,
// and what was queued is written first.
func TestDrain(t *testing.T) {
	o, _ := tlsOptions(t)
	o.TCP = []string{"127.0.0.1:0"}
	o.UDP = []string{"127.0.0.1:0"}
	o.Limits.Dial, o.Limits.Handshake, o.Limits.Write = time.Hour, time.Hour, time.Hour // none of them ends it
	e := newEar()
	l, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, l, e)
	idle, busy, stuck := dialTCP(t, l.Addrs(TCP)[0]), dialTCP(t, l.Addrs(TCP)[0]), dialTCP(t, l.Addrs(TCP)[0])
	dialTCP(t, l.Addrs(TLS)[0])
	stuck.say(request("stuck", 0))
	sf := wait(t, "message", e.messages).f
	for range 100 {
		if err := sf.Send(request("x", 9_000)); err != nil {
			t.Fatal(err)
		}
	}
	busy.say(request("busy", 0))
	f := wait(t, "message", e.messages).f
	if _, err := l.Flow(Target{Kind: TCP, Addr: silent(t)}); err != nil {
		t.Fatal(err)
	}
	if err := f.Send([]byte("last words\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	stop()
	if got := busy.gone(); got != "last words\r\n\r\n" {
		t.Errorf("got %q", got)
	}
	idle.gone()
	if len(e.closed) != 4 {
		t.Errorf("%d connections closed, want the 3 accepted and the dialled", len(e.closed))
	}
	if _, err := l.Flow(Target{Kind: TCP, Addr: netip.MustParseAddrPort("127.0.0.1:5060")}); !errors.Is(err, ErrClosed) {
		t.Errorf("dial after the end: %v", err)
	}
	if err := l.Serve(context.Background(), e); !errors.Is(err, ErrClosed) {
		t.Errorf("second Serve: %v", err)
	}
}

// flaky is a listener that runs out of file descriptors for a while.
type flaky struct {
	net.Listener
	left atomic.Int32
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAcceptSurvivesEMFILE(t *testing.T) {
	l, err := Listen(Options{TCP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	f := &flaky{Listener: l.tcp[0].Listener}
	f.left.Store(5)
	l.tcp[0].Listener = f
	t.Cleanup(run(t, l, responder()))
	dialTCP(t, l.Addrs(TCP)[0]).expect200("a")
	if n := metric(t, l.metrics.acceptError); n != 5 {
		t.Errorf("%v errors counted", n)
	}
}

func TestListenErrors(t *testing.T) {
	first, err := Listen(Options{UDP: []string{"127.0.0.1:0"}, TCP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for name, row := range map[string]struct {
		o    Options
		want string
	}{
		"UDP in use": {Options{UDP: []string{first.Addrs(UDP)[0].String()}}, "in use"},
		"TCP in use": {Options{UDP: []string{"127.0.0.1:0"}, TCP: []string{first.Addrs(TCP)[0].String()}}, "in use"},
		"not ours":   {Options{UDP: []string{"192.0.2.1:0"}}, "does not have that address"},
		"a name":     {Options{TCP: []string{"localhost:5060"}}, "not an address and port"},
		"no key":     {Options{TLS: []string{"127.0.0.1:0"}}, "certificate"},
	} {
		l, err := Listen(row.o)
		if err == nil {
			l.Close()
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBothWildcards(t *testing.T) {
	var l *Layer
	var port uint16
	for tries := 100; l == nil; tries-- { // the port that one socket got may be in use by another kind of socket
		probe, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port = addrPort(probe.Addr()).Port()
		_ = probe.Close()
		v4, v6 := netip.AddrPortFrom(netip.IPv4Unspecified(), port).String(), netip.AddrPortFrom(netip.IPv6Unspecified(), port).String()
		l, err = Listen(Options{UDP: []string{v4, v6}, TCP: []string{v6, v4}})
		if err != nil && (tries == 0 || !strings.Contains(err.Error(), "in use")) {
			t.Fatal(err)
		}
	}
	t.Cleanup(run(t, l, responder()))
	hosts := []string{"127.0.0.1"}
	if len(loopbacks(t)) > 1 {
		hosts = append(hosts, "::1")
	}
	for _, h := range hosts {
		a := netip.AddrPortFrom(netip.MustParseAddr(h), port)
		exchange(t, dialUDP(t, a), "a")
		dialTCP(t, a).expect200("b")
	}
	if _, err := l.Flow(Target{Kind: UDP, Addr: netip.MustParseAddrPort("[::1]:5060")}); err != nil {
		t.Errorf("IPv6: %v", err)
	}
}

func TestViaAndIsLocal(t *testing.T) {
	o, pool := tlsOptions(t)
	o.UDP, o.TCP = []string{"0.0.0.0:0"}, []string{"127.0.0.1:0"}
	o.Names = []string{"Example.COM"}
	e := newEar()
	l := serve(t, o, e)
	udp, tcp, tlsPort := l.Addrs(UDP)[0].Port(), l.Addrs(TCP)[0], l.Addrs(TLS)[0]
	c := dialTCP(t, tcp)
	c.say(request("a", 0))
	if name, by := l.Via(wait(t, "message", e.messages).f); name != "TCP" || by != tcp.String() {
		t.Errorf("TCP: %s %s", name, by)
	}
	s := dialTLS(t, tlsPort, pool)
	s.say(request("a", 0))
	if name, by := l.Via(wait(t, "message", e.messages).f); name != "TLS" || by != tlsPort.String() {
		t.Errorf("TLS: %s %s", name, by)
	}
	u, err := l.Flow(Target{Kind: UDP, Addr: netip.MustParseAddrPort("127.0.0.1:9")})
	if err != nil {
		t.Fatal(err)
	}
	if name, by := l.Via(u); name != "UDP" || by != netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), udp).String() {
		t.Errorf("UDP: %s %s", name, by)
	}
	for _, row := range []struct {
		host string
		port uint16
		want bool
	}{
		{"127.0.0.1", udp, true},
		{"127.0.0.1", tcp.Port(), true},
		{"127.0.0.1", 1, false},
		{"192.0.2.1", udp, false},
		{"example.com", 0, true},
		{"EXAMPLE.com.", udp, true},
		{"example.com", 1, false},
		{"example.org", udp, false},
		{"[::1]", tcp.Port(), false},
		{"", 0, false},
		{"%", udp, false},
	} {
		if got := l.IsLocal(row.host, row.port); got != row.want {
			t.Errorf("IsLocal(%q, %d) = %v", row.host, row.port, got)
		}
	}
	adv := serve(t, Options{UDP: []string{"127.0.0.1:0"}, Advertise: "2001:db8::5"}, newEar())
	f, _ := adv.Flow(Target{Kind: UDP, Addr: netip.MustParseAddrPort("127.0.0.1:9")})
	if _, by := adv.Via(f); !strings.HasPrefix(by, "[2001:db8::5]:") {
		t.Errorf("advertised: %s", by)
	}
}

func TestKinds(t *testing.T) {
	for _, row := range []struct {
		k                Kind
		name, via        string
		reliable, secure bool
	}{
		{UDP, "udp", "UDP", false, false}, {TCP, "tcp", "TCP", true, false}, {TLS, "tls", "TLS", true, true},
		{WS, "ws", "WS", true, false}, {WSS, "wss", "WSS", true, true},
	} {
		k, ok := ParseKind(strings.ToUpper(row.name))
		if !ok || k != row.k || k.String() != row.name || k.ViaName() != row.via || k.Reliable() != row.reliable || k.Secure() != row.secure {
			t.Errorf("%v", row)
		}
	}
	if _, ok := ParseKind("sctp"); ok || Kind(99).String() != "none" || Kind(0).Reliable() {
		t.Error("unknown kinds")
	}
}

func TestPipeAndZeroFlow(t *testing.T) {
	var sent [][]byte
	closed := ""
	o := PipeOptions{Kind: TCP, Remote: netip.MustParseAddrPort("192.0.2.1:5060"), Listener: "pipe",
		Send:  func(b []byte) error { sent = append(sent, b); return nil },
		Close: func(reason string) { closed = reason }}
	p, q := Pipe(o), Pipe(o)
	if p == q || p.ID() == q.ID() || p.Kind() != TCP || p.Remote() != o.Remote || p.Listener() != "pipe" || !p.Alive() || !p.Established() {
		t.Error("pipe is not as it was made")
	}
	if err := p.Send([]byte("x")); err != nil || len(sent) != 1 {
		t.Errorf("send: %v", err)
	}
	p.Close("enough")
	p.Close("again")
	if err := p.Send(nil); !errors.Is(err, ErrClosed) || closed != "enough" || p.Alive() {
		t.Errorf("closed: %v %q", err, closed)
	}
	var none Flow
	none.Close("")
	none.SetIdle(1)
	if !none.IsZero() || none.Alive() || none.Established() || none.ID() != 0 || none.Kind() != 0 || none.Listener() != "" ||
		none.Local().IsValid() || none.Remote().IsValid() || !errors.Is(none.Send(nil), ErrClosed) {
		t.Error("the zero flow is something")
	}
}
