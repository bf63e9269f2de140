package transport

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/parley-im/parley/transport/stun"
	"github.com/parley-im/parley/wire/sip"
)

// dialUDP is a client socket that takes datagrams from addr only.
func dialUDP(t testing.TB, addr netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func readUDP(t testing.TB, c net.Conn) []byte {
	t.Helper()
	b := make([]byte, maxDatagram)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func sendUDP(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// exchange sends a request and reads the 200.
func exchange(t testing.TB, c net.Conn, call string) {
	t.Helper()
	sendUDP(t, c, request(call, 10))
	m, err := sip.Parse(readUDP(t, c))
	if err != nil || m.Status() != 200 || m.CallID() != call {
		t.Fatalf("got %v, %v", m, err)
	}
}

func TestUDPBothFamilies(t *testing.T) {
	for _, addr := range loopbacks(t) {
		l := serve(t, Options{UDP: []string{addr}}, responder())
		exchange(t, dialUDP(t, l.Addrs(UDP)[0]), "a")
	}
}

// RFC 3581 §4: the answer comes from the address that the request was sent to,
// also when the socket is bound to all of them.
func TestUDPAnswersFromTheAddressThatWasAsked(t *testing.T) {
	for _, wildcard := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		l := serve(t, Options{UDP: []string{wildcard}}, responder())
		port := l.Addrs(UDP)[0].Port()
		asked := []string{"127.0.0.1", "127.0.0.2"}
		if wildcard != "0.0.0.0:0" && len(loopbacks(t)) > 1 {
			asked = append(asked, "::1")
		}
		for _, a := range asked {
			exchange(t, dialUDP(t, netip.AddrPortFrom(netip.MustParseAddr(a), port)), "a")
		}
	}
}

// Link-local IPv6 addresses need their zone on the way back.
func TestUDPLinkLocal(t *testing.T) {
	l := serve(t, Options{UDP: []string{"[::]:0"}, TCP: []string{"[::]:0"}}, responder())
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, i := range list {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || !p.Addr().Is6() || !p.Addr().IsLinkLocalUnicast() {
				continue
			}
			found = true
			host := p.Addr().WithZone(i.Name)
			exchange(t, dialUDP(t, netip.AddrPortFrom(host, l.Addrs(UDP)[0].Port())), "a")
			dialTCP(t, netip.AddrPortFrom(host, l.Addrs(TCP)[0].Port())).expect200("b")
		}
	}
	if !found {
		t.Log("this machine has no link-local IPv6 address: nothing is tested")
	}
}

func TestUDPFlow(t *testing.T) {
	e := newEar()
	l := serve(t, Options{UDP: []string{"0.0.0.0:0"}}, e)
	port := l.Addrs(UDP)[0].Port()
	c := dialUDP(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
	sendUDP(t, c, request("a", 0))
	f := wait(t, "message", e.messages).f
	want := addrPort(c.LocalAddr())
	if f.Remote() != want || f.Local() != addrPort(c.RemoteAddr()) || f.Kind() != UDP || !f.Alive() || !f.Established() {
		t.Errorf("flow: %v %v %v", f.Local(), f.Remote(), f.Kind())
	}
	again, ok := l.UDPFlow(f.Local(), f.Remote())
	if !ok || again != f || again.ID() != f.ID() || f.ID() == 0 {
		t.Errorf("re-made flow differs: %+v %+v", again, f)
	}
	if _, ok := l.UDPFlow(netip.AddrPortFrom(f.Local().Addr(), port+1), f.Remote()); ok {
		t.Error("a flow on a port we do not have")
	}
	if _, ok := l.UDPFlow(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.77"), port), f.Remote()); ok {
		t.Error("a flow from an address we do not have")
	}
	f.Close("nothing happens")
	f.SetIdle(time.Second)
	if err := f.Send(request("b", 0)); err != nil {
		t.Fatal(err)
	}
	if b := readUDP(t, c); !bytes.Contains(b, []byte("Call-ID: b\r\n")) {
		t.Errorf("got %q", b)
	}
	to, err := l.Flow(Target{Kind: UDP, Addr: want})
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Send(request("c", 0)); err != nil {
		t.Fatal(err)
	}
	if b := readUDP(t, c); !bytes.Contains(b, []byte("Call-ID: c\r\n")) {
		t.Errorf("got %q", b)
	}
	if err := to.Send(make([]byte, maxDatagram)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := l.Flow(Target{Kind: UDP, Addr: netip.MustParseAddrPort("[2001:db8::1]:5060")}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("IPv6 from an IPv4 socket: %v", err)
	}
}

func TestUDPKeepsOrder(t *testing.T) {
	const n, window = 500, 50 // as many fit into any receive buffer
	e := newEar()
	l := serve(t, Options{UDP: []string{"127.0.0.1:0"}, Limits: Limits{Sockets: 4}}, e)
	c := dialUDP(t, l.Addrs(UDP)[0])
	for i := range n + window {
		if i < n {
			sendUDP(t, c, request(id(i), 100))
		}
		if i < window {
			continue
		}
		if m := wait(t, "message", e.messages); m.m.CallID() != id(i-window) {
			t.Fatalf("message %d is %q", i-window, m.m.CallID())
		}
	}
}

// RFC 5626 §8: STUN Binding requests are answered on the SIP port; what is
// malformed, or a lonely CRLF, is not, and SIP goes on (drachtio#243).
func TestUDPKeepalives(t *testing.T) {
	for _, addr := range loopbacks(t) {
		l := serve(t, Options{UDP: []string{addr}}, responder())
		c := dialUDP(t, l.Addrs(UDP)[0])
		for _, b := range [][]byte{
			{0}, {1}, {0, 1, 0, 0}, {0, 0, 0, 0}, []byte("\r\n\r\n"), []byte("\r\n"),
			append([]byte{0, 1, 0xff, 0xff, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...),
			{0xff, 0xff, 0xff}, []byte("jaK"),
		} {
			sendUDP(t, c, b)
		}
		sendUDP(t, c, stun.Request(stun.TxID{1, 2, 3}))
		m, err := stun.Parse(readUDP(t, c))
		if err != nil || m.Mapped != addrPort(c.LocalAddr()) || m.TxID != (stun.TxID{1, 2, 3}) {
			t.Errorf("got %+v, %v", m, err)
		}
		exchange(t, c, "a")
	}
}

func TestUDPMalformed(t *testing.T) {
	e := newEar()
	l := serve(t, Options{UDP: []string{"127.0.0.1:0"}, Limits: Limits{Datagram: 1000}}, e)
	c := dialUDP(t, l.Addrs(UDP)[0])
	base := len(request("a", 100))
	for over, status := range map[int]int{-1: 0, 0: 0, 1: 413} {
		sendUDP(t, c, request("a", 100+1000-base+over-0))
		if status == 0 {
			wait(t, "message within the limit", e.messages)
			continue
		}
		if g := wait(t, "refusal", e.malformed); g.bad.Status != status {
			t.Errorf("%d bytes over: %v", over, g.bad)
		}
		if m, err := sip.Parse(readUDP(t, c)); err != nil || m.Status() != status {
			t.Errorf("answer: %v %v", m, err)
		}
	}
	// RFC 3261 §18.3: a datagram shorter than its Content-Length gets 400.
	b := request("b", 100)
	sendUDP(t, c, b[:len(b)-1])
	if g := wait(t, "refusal", e.malformed); g.bad.Status != 400 || !g.m.Answerable() {
		t.Errorf("got %v", g.bad)
	}
	if m, err := sip.Parse(readUDP(t, c)); err != nil || m.Status() != 400 {
		t.Errorf("answer: %v %v", m, err)
	}
	sendUDP(t, c, []byte("complete nonsense"))
	if g := wait(t, "nonsense", e.malformed); g.m.Answerable() {
		t.Error("nonsense is answerable")
	}
}

// hostile.md #17: small spoofed requests from one address are taken at a rate,
// until the source is proven; other addresses do not notice.
func TestUDPRate(t *testing.T) {
	e := newEar()
	l := serve(t, Options{UDP: []string{"0.0.0.0:0"}, Limits: Limits{Rate: 1, Burst: 5, Sockets: 1}}, e)
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), l.Addrs(UDP)[0].Port())
	c := dialUDP(t, to)
	start := time.Now()
	for i := range 50 {
		sendUDP(t, c, request(id(i), 0))
	}
	other, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)}, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	sendUDP(t, other, request("other", 0))
	var f Flow
	taken := 0
	for {
		g := wait(t, "message", e.messages)
		if g.m.CallID() == "other" && len(e.messages) == 0 {
			break
		}
		if g.m.CallID() != "other" {
			f = g.f
			taken++
		}
	}
	if most := 6 + int(time.Since(start)/time.Second); taken < 5 || taken > most && most < 50 {
		t.Errorf("%d of 50 taken, want the burst of 5, and one for each second", taken)
	}
	if l.Proven(f) {
		t.Error("proven by nothing")
	}
	l.Prove(f)
	if !l.Proven(f) {
		t.Error("not proven")
	}
	for i := range 50 {
		sendUDP(t, c, request(id(i), 0))
		if g := wait(t, "message of a proven source", e.messages); g.m.CallID() != id(i) {
			t.Fatalf("message %d is %q", i, g.m.CallID())
		}
	}
}

func TestSourcesAreBounded(t *testing.T) {
	s := newSources(Limits{Sources: 3200}.withDefaults())
	count := func() (n int) {
		for i := range s.shards {
			sh := &s.shards[i]
			n += len(sh.proven.young) + len(sh.proven.old) + len(sh.rated.young) + len(sh.rated.old)
		}
		return n
	}
	for i := range 100_000 {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5060)
		s.prove(a, int64(i))
		if !s.isProven(a, int64(i)) {
			t.Fatal("just proven, and forgotten")
		}
		b := netip.AddrFrom16([16]byte{0x20, 1, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)})
		if !s.allow(netip.AddrPortFrom(b, 5060), int64(i)) {
			t.Fatal("a first request is refused")
		}
	}
	if n := count(); n > 2*3200 {
		t.Errorf("%d entries", n)
	}
	a := netip.MustParseAddrPort("192.0.2.1:5060")
	s.prove(a, 200_000)
	if !s.isProven(a, 200_000+provenFor-1) || s.isProven(a, 200_000+3*provenFor) {
		t.Error("a proof does not last between one and two hours")
	}
	// An IPv6 user has a /64 to itself.
	now := int64(time.Hour)
	allowed := 0
	for i := range 2000 {
		b := netip.AddrFrom16([16]byte{0x20, 2, 15: byte(i), 14: byte(i >> 8)})
		if s.allow(netip.AddrPortFrom(b, 5060), now) {
			allowed++
		}
	}
	if allowed != 1000 {
		t.Errorf("%d requests of one /64 allowed, want the burst of 1000", allowed)
	}
}

func TestUDPQueueIsBounded(t *testing.T) {
	var q udpQueue
	q.init(100)
	q.cork()
	for i := range 100 {
		if err := q.push(datagram{b: []byte{byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.push(datagram{}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("101st: %v", err)
	}
	if !q.uncork() {
		t.Fatal("nobody is to flush")
	}
	var to [batch]datagram
	for next := byte(0); ; {
		n := q.take(to[:])
		if n == 0 {
			break
		}
		for _, d := range to[:n] {
			if d.b[0] != next {
				t.Fatalf("got %d, want %d", d.b[0], next)
			}
			next++
		}
	}
	if q.bytes != 0 || q.flushing {
		t.Errorf("left: %d bytes, flushing %v", q.bytes, q.flushing)
	}
	big := datagram{b: make([]byte, maxDatagram)}
	q.init(1 << 20)
	n := 0
	for q.push(big) == nil {
		n++
	}
	if n*maxDatagram > udpQueueBytes || (n+1)*maxDatagram <= udpQueueBytes {
		t.Errorf("%d datagrams of 64 kB", n)
	}
	q.end()
	if err := q.push(datagram{}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestUDPHandlerPanics(t *testing.T) {
	e := responder()
	e.hook = func(m *sip.Message, _ Flow) {
		if m.CallID() == "boom" {
			panic("boom")
		}
	}
	l := serve(t, Options{UDP: []string{"127.0.0.1:0"}}, e)
	c := dialUDP(t, l.Addrs(UDP)[0])
	sendUDP(t, c, request("boom", 0))
	exchange(t, c, "a")
	if n := metric(t, l.metrics.panics); n != 1 {
		t.Errorf("%v panics counted", n)
	}
}
