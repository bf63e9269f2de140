package transaction

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// sized is a request that is n bytes long once our Via for UDP is on it.
func (r *rig) sized(n int, h Hop) *Client {
	r.t.Helper()
	const via = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0123456789abcdef0123456789abcdef;rport\r\n"
	d := draft("MESSAGE")
	fill := n - len(via) - len(d.Bytes()) - len("Subject: \r\n")
	return r.l.Send(h, d.Add(sip.HSubject, strings.Repeat("x", fill)), r)
}

// TestLargeRequest is RFC 3261 §18.1.1.
func TestLargeRequest(t *testing.T) {
	const tcp = "to:tcp:198.51.100.7:5070"
	runRows(t, []row{
		{"1,299 and 1,300 bytes stay on UDP, 1,301 do not", func(r *rig) {
			for n := 1299; n <= 1301; n++ {
				r.sized(n, Hop{Flow: r.udp})
				f := r.udp
				if n > datagramMax {
					f, _ = r.Flow(transport.Target{Kind: transport.TCP, Addr: peerAddr})
				}
				if m := r.last(); f == r.udp && len(m.Bytes()) != n {
					r.t.Errorf("%d bytes instead of %d", len(m.Bytes()), n)
				}
				r.respond(f, "MESSAGE", 200)
			}
			r.want("0s udp MESSAGE", "0s up 200", "0s udp MESSAGE", "0s up 200", "0s "+tcp+" MESSAGE", "0s up 200")
			if via, err := r.last().TopVia(); err != nil || via.Transport != "TCP" || via.Params.Has("rport") {
				r.t.Errorf("Via %v %v", via, err)
			}
		}},
		{"but not away from an outbound flow", func(r *rig) {
			r.sized(5000, Hop{Flow: r.udp, Sticky: true})
			r.respond(r.udp, "MESSAGE", 200)
			r.want("0s udp MESSAGE", "0s up 200")
		}},
		{"refused: UDP at once, and from then on", func(r *rig) {
			r.hangs(tcp, true)
			c := r.sized(5000, Hop{Target: transport.Target{Kind: transport.UDP, Addr: peerAddr}})
			r.wait(100 * ms)
			r.l.Closed(c.Hop().Flow, errors.New("connection refused"))
			r.wait(600 * ms)
			const udp = "to:udp:198.51.100.7:5070"
			r.want("0s "+tcp+" MESSAGE", "100ms "+udp+" MESSAGE", "100ms up closed "+tcp, "600ms "+udp+" MESSAGE")
			if via, err := r.last().TopVia(); err != nil || via.Transport != "UDP" || !via.Params.Has("rport") {
				r.t.Errorf("Via %v %v", via, err)
			}
			r.respond(c.Hop().Flow, "MESSAGE", 200)
			r.sized(5000, Hop{Flow: r.udp})
			r.respond(r.udp, "MESSAGE", 200)
			r.want("700ms up 200", "700ms udp MESSAGE", "700ms up 200")
			// Ten minutes later it may have learned TCP.
			r.wait(refusedFor)
			r.hangs(tcp, false)
			r.sized(5000, Hop{Flow: r.udp})
			r.respond(r.udp, "MESSAGE", 200)
			r.want("10m0.7s "+tcp+" MESSAGE", "10m0.7s up 200")
		}},
		{"no answer to the connection for a second: UDP", func(r *rig) {
			r.hangs(tcp, true)
			r.sized(5000, Hop{Flow: r.udp})
			r.wait(2 * time.Second)
			r.want("0s "+tcp+" MESSAGE", "1s udp MESSAGE", "1s close "+tcp, "1.5s udp MESSAGE")
			r.respond(r.udp, "MESSAGE", 200)
			r.want("2s up 200")
		}},
		{"INVITE falls back, and is acknowledged there", func(r *rig) {
			r.hangs(tcp, true)
			d := draft("INVITE").Body("application/sdp", make([]byte, 7000))
			r.l.Send(Hop{Flow: r.udp}, d, r)
			r.wait(1100 * ms)
			r.respond(r.udp, "INVITE", 486)
			r.want("0s "+tcp+" INVITE", "1s udp INVITE", "1s close "+tcp, "1.1s udp ACK", "1.1s up 486")
		}},
		{"timer F counts from the start", func(r *rig) {
			r.hangs(tcp, true)
			r.sized(5000, Hop{Flow: r.udp})
			r.wait(31999 * ms)
			r.mu.Lock()
			r.log = nil
			r.mu.Unlock()
			r.wait(time.Second)
			r.want("32s failed timeout")
		}},
		{"connected in time: no retransmission", func(r *rig) {
			r.hangs(tcp, true)
			r.sized(5000, Hop{Flow: r.udp})
			r.wait(900 * ms)
			r.hangs(tcp, false)
			r.wait(33 * time.Second)
			r.want("0s "+tcp+" MESSAGE", "32s failed timeout")
		}},
		{"connected, and lost later: failed", func(r *rig) {
			c := r.sized(5000, Hop{Flow: r.udp})
			r.wait(2 * time.Second)
			r.l.Closed(c.Hop().Flow, transport.ErrClosed)
			r.want("0s "+tcp+" MESSAGE", "2s failed transport", "2s up closed "+tcp)
		}},
		{"no connection to be had: UDP", func(r *rig) {
			r.breaks("dial", transport.ErrLimit)
			r.sized(5000, Hop{Flow: r.udp})
			r.breaks("dial", nil)
			r.respond(r.udp, "MESSAGE", 200)
			r.want("0s udp MESSAGE", "0s up 200")
		}},
		{"nothing to be had: failed", func(r *rig) {
			r.breaks("dial", transport.ErrUnreachable)
			r.sized(1000, Hop{Target: transport.Target{Kind: transport.TLS, Addr: peerAddr}})
			r.want("0s failed transport")
		}},
		{"a dead flow with a target: the target", func(r *rig) {
			r.tcp.Close("test")
			r.sized(1000, Hop{Flow: r.tcp})
			r.want("0s close tcp", "0s failed transport")
			r.sized(1000, Hop{Flow: r.tcp, Target: transport.Target{Kind: transport.TCP, Addr: peerAddr}})
			r.want("0s " + tcp + " MESSAGE")
		}},
	})
}

// TestNoTransaction: what Send refuses is told, later.
func TestNoTransaction(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		for _, method := range []string{"ACK", "CANCEL"} {
			r.send(r.udp, method)
		}
		r.l.Send(Hop{Flow: r.udp}, sip.NewResponse(parse(t, []byte(request("INVITE", branch))), 200, ""), r)
		r.want("0s failed message", "0s failed message", "0s failed message")
	})
}

// TestStateless: the branch of RFC 3261 §16.11, responses as they are, large requests over TCP.
func TestStateless(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		received := parse(t, []byte(request("ACK", branch)))
		if err := r.l.SendStateless(Hop{Flow: r.udp}, received.Edit()); err != nil {
			t.Fatal(err)
		}
		first := r.last()
		if err := r.l.SendStateless(Hop{Flow: r.udp}, received.Edit()); err != nil {
			t.Fatal(err)
		}
		second := r.last()
		other := parse(t, []byte(request("ACK", branch+"x")))
		if err := r.l.SendStateless(Hop{Flow: r.udp}, other.Edit()); err != nil {
			t.Fatal(err)
		}
		third := r.last()
		branchOf := func(m *sip.Message) string {
			via, err := m.TopVia()
			if err != nil {
				t.Fatal(err)
			}
			return via.Branch()
		}
		if branchOf(first) != branchOf(second) || branchOf(first) == branchOf(third) || !hasCookie(branchOf(first)) {
			t.Errorf("branches %s, %s, %s", branchOf(first), branchOf(second), branchOf(third))
		}
		if first.Count(sip.HVia) != 2 {
			t.Errorf("%d Vias", first.Count(sip.HVia))
		}
		// Nobody can answer it: the branch names no transaction.
		r.l.Message(parse(t, sip.NewResponse(first, 200, "").Bytes()), r.udp)

		response := sip.NewResponse(parse(t, []byte(request("OPTIONS", branch))), 200, "")
		if err := r.l.SendStateless(Hop{Flow: r.tcp}, response); err != nil {
			t.Fatal(err)
		}
		if m := r.last(); m.Count(sip.HVia) != 1 {
			t.Errorf("response has %d Vias", m.Count(sip.HVia))
		}
		if err := r.l.SendStateless(Hop{Flow: r.udp}, draft("ACK").Body("text/plain", make([]byte, 2000))); err != nil {
			t.Fatal(err)
		}
		r.tcp.Close("test")
		if err := r.l.SendStateless(Hop{Flow: r.tcp}, draft("ACK")); !errors.Is(err, transport.ErrClosed) {
			t.Errorf("over a dead connection: %v", err)
		}
		r.want("0s udp ACK", "0s udp ACK", "0s udp ACK", "0s tcp 200", "0s to:tcp:198.51.100.7:5070 ACK", "0s close tcp")
	})
}

// TestDatagramOnly: the memory of addresses without TCP is bounded.
func TestDatagramOnly(t *testing.T) {
	memory := newDatagramOnly()
	for i := range 2 * refusedMost {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5060)
		memory.add(a)
		if !memory.has(a) {
			t.Fatalf("%s is forgotten at once", a)
		}
		if len(memory.m) > refusedMost {
			t.Fatalf("%d addresses", len(memory.m))
		}
	}
}

// TestLoopPart: only what can stand in a branch gets into it.
func TestLoopPart(t *testing.T) {
	for loop, good := range map[string]bool{
		"": false, "a": true, "aZ9-_.x": true, "a;b": false, "a b": false, "a\r\nb": false, strings.Repeat("a", 32): true, strings.Repeat("a", 33): false,
	} {
		run(t, Options{}, func(r *rig) {
			c := r.l.Send(Hop{Flow: r.tcp, Loop: loop}, draft("MESSAGE"), r)
			want := fmt.Sprintf("SIP/2.0/TCP 192.0.2.1:5060;branch=%s", r.l.sealer.makeBranch(c.id))
			if good {
				want += "." + loop
			}
			if got := r.last().Get(sip.HVia); got != want {
				t.Errorf("loop %q: Via %s", loop, got)
			}
		})
	}
}
