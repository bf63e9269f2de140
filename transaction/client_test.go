package transaction

import (
	"testing"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// TestInviteClient has one test for each arrow of figure 5 in RFC 6026 §8.4.
func TestInviteClient(t *testing.T) {
	runRows(t, []row{
		{"Calling: Timer A, INVITE sent", func(r *rig) {
			r.send(r.udp, "INVITE")
			r.wait(31990 * ms)
			r.want("0s udp INVITE", "500ms udp INVITE", "1.5s udp INVITE", "3.5s udp INVITE", "7.5s udp INVITE",
				"15.5s udp INVITE", "31.5s udp INVITE")
		}},
		{"Calling: no Timer A over TCP", func(r *rig) {
			r.send(r.tcp, "INVITE")
			r.wait(31990 * ms)
			r.want("0s tcp INVITE")
		}},
		{"Calling: Timer B, inform TU", func(r *rig) {
			r.send(r.tcp, "INVITE")
			r.wait(33 * time.Second)
			r.want("0s tcp INVITE", "32s failed timeout")
		}},
		{"Calling: Transport Err., inform TU", func(r *rig) {
			r.breaks("udp", transport.ErrUnreachable)
			r.send(r.udp, "INVITE")
			r.want("0s broken udp INVITE", "0s failed transport")
		}},
		{"Calling: Transport Err. later, inform TU", func(r *rig) {
			r.send(r.tcp, "INVITE")
			r.wait(time.Second)
			r.l.Closed(r.tcp, transport.ErrClosed)
			r.want("0s tcp INVITE", "1s failed transport", "1s up closed tcp")
		}},
		{"Calling: 1xx, 1xx to TU, Proceeding", func(r *rig) {
			r.send(r.udp, "INVITE")
			r.wait(600 * ms)
			r.respond(r.udp, "INVITE", 180)
			r.wait(100 * time.Second) // no timer A, no timer B
			r.want("0s udp INVITE", "500ms udp INVITE", "600ms up 180")
			r.respond(r.udp, "INVITE", 486)
		}},
		{"Calling: 2xx, 2xx to TU, Accepted", func(r *rig) {
			c := r.send(r.udp, "INVITE")
			r.respond(r.udp, "INVITE", 200)
			r.wait(time.Second)
			r.want("0s udp INVITE", "0s up 200") // no ACK, no timer A
			if c.current() != accepted {
				r.t.Errorf("state %s", c.current())
			}
		}},
		{"Calling: 300-699, ACK sent, resp. to TU, Completed", func(r *rig) {
			c := r.send(r.udp, "INVITE")
			r.respond(r.udp, "INVITE", 486)
			r.wait(time.Second)
			r.want("0s udp INVITE", "0s udp ACK", "0s up 486")
			if c.current() != completed {
				r.t.Errorf("state %s", c.current())
			}
		}},
		{"Proceeding: 1xx, 1xx to TU", func(r *rig) {
			r.send(r.udp, "INVITE")
			r.respond(r.udp, "INVITE", 100)
			r.respond(r.udp, "INVITE", 180)
			r.respond(r.udp, "INVITE", 180)
			r.want("0s udp INVITE", "0s up 100", "0s up 180", "0s up 180")
			r.respond(r.udp, "INVITE", 486)
		}},
		{"Proceeding: 2xx, 2xx to TU, Accepted", func(r *rig) {
			c := r.send(r.udp, "INVITE")
			r.respond(r.udp, "INVITE", 180)
			r.respond(r.udp, "INVITE", 202)
			r.want("0s udp INVITE", "0s up 180", "0s up 202")
			if c.current() != accepted {
				r.t.Errorf("state %s", c.current())
			}
		}},
		{"Proceeding: 300-699, ACK sent, resp. to TU, Completed", func(r *rig) {
			c := r.send(r.udp, "INVITE")
			r.respond(r.udp, "INVITE", 180)
			r.respond(r.udp, "INVITE", 302)
			r.want("0s udp INVITE", "0s up 180", "0s udp ACK", "0s up 302")
			if c.current() != completed {
				r.t.Errorf("state %s", c.current())
			}
		}},
		{"Proceeding: the connection ends, inform TU", func(r *rig) {
			r.send(r.tcp, "INVITE")
			r.respond(r.tcp, "INVITE", 180)
			r.l.Closed(r.tcp, transport.ErrClosed)
			r.want("0s tcp INVITE", "0s up 180", "0s failed transport", "0s up closed tcp")
		}},
		{"Completed: 300-699, ACK sent", func(r *rig) {
			r.send(r.udp, "INVITE")
			r.respond(r.udp, "INVITE", 486)
			r.respond(r.udp, "INVITE", 486)
			r.want("0s udp INVITE", "0s udp ACK", "0s up 486", "0s udp ACK")
		}},
		{"Completed: 1xx and 2xx, nothing", func(r *rig) {
			r.send(r.udp, "INVITE")
			r.respond(r.udp, "INVITE", 486)
			r.respond(r.udp, "INVITE", 180)
			r.respond(r.udp, "INVITE", 200)
			r.want("0s udp INVITE", "0s udp ACK", "0s up 486")
		}},
		{"Completed: Transport Err., Terminated", func(r *rig) {
			c := r.send(r.udp, "INVITE")
			r.breaks("udp", transport.ErrUnreachable)
			r.respond(r.udp, "INVITE", 486)
			r.want("0s udp INVITE", "0s broken udp ACK", "0s up 486")
			if c.current() != terminated {
				r.t.Errorf("state %s", c.current())
			}
		}},
		{"Completed: Timer D, Terminated", func(r *rig) {
			c := r.send(r.udp, "INVITE")
			r.respond(r.udp, "INVITE", 486)
			late := r.response("INVITE", 486)
			r.wait(31990 * ms)
			if c.current() != completed {
				r.t.Errorf("state %s before timer D", c.current())
			}
			r.wait(10 * ms)
			if c.current() != terminated {
				r.t.Errorf("state %s after timer D", c.current())
			}
			r.l.Message(late, r.udp)
			r.want("0s udp INVITE", "0s udp ACK", "0s up 486", "32s up stray 486")
		}},
		{"Completed: Timer D is zero over TCP", func(r *rig) {
			c := r.send(r.tcp, "INVITE")
			r.respond(r.tcp, "INVITE", 486)
			r.want("0s tcp INVITE", "0s tcp ACK", "0s up 486")
			if c.current() != terminated {
				r.t.Errorf("state %s", c.current())
			}
		}},
		{"Accepted: 2xx, 2xx to TU", func(r *rig) {
			r.send(r.tcp, "INVITE")
			r.respond(r.tcp, "INVITE", 200)
			r.wait(10 * time.Second)
			r.respond(r.tcp, "INVITE", 200)
			r.want("0s tcp INVITE", "0s up 200", "10s up 200")
		}},
		{"Accepted: 1xx and 300-699, nothing", func(r *rig) {
			r.send(r.tcp, "INVITE")
			r.respond(r.tcp, "INVITE", 200)
			r.respond(r.tcp, "INVITE", 180)
			r.respond(r.tcp, "INVITE", 486)
			r.want("0s tcp INVITE", "0s up 200")
		}},
		{"Accepted: the connection ends, nothing", func(r *rig) {
			r.send(r.tcp, "INVITE")
			r.respond(r.tcp, "INVITE", 200)
			r.l.Closed(r.tcp, transport.ErrClosed)
			r.want("0s tcp INVITE", "0s up 200", "0s up closed tcp")
		}},
		{"Accepted: Timer M, Terminated", func(r *rig) {
			r.send(r.tcp, "INVITE")
			r.respond(r.tcp, "INVITE", 200)
			late := r.response("INVITE", 200)
			r.wait(31990 * ms)
			r.respond(r.tcp, "INVITE", 200)
			r.wait(10 * ms)
			r.l.Message(late, r.tcp)
			r.want("0s tcp INVITE", "0s up 200", "31.99s up 200", "32s up stray 200")
		}},
	})
}

// TestClient has one test for each arrow of figure 6 in RFC 3261 §17.1.2.
func TestClient(t *testing.T) {
	runRows(t, []row{
		{"Trying: Timer E, send request", func(r *rig) {
			r.send(r.udp, "MESSAGE")
			r.wait(31990 * ms)
			r.want("0s udp MESSAGE", "500ms udp MESSAGE", "1.5s udp MESSAGE", "3.5s udp MESSAGE", "7.5s udp MESSAGE",
				"11.5s udp MESSAGE", "15.5s udp MESSAGE", "19.5s udp MESSAGE", "23.5s udp MESSAGE", "27.5s udp MESSAGE",
				"31.5s udp MESSAGE")
		}},
		{"Trying: no Timer E over TCP", func(r *rig) {
			r.send(r.tcp, "MESSAGE")
			r.wait(31990 * ms)
			r.want("0s tcp MESSAGE")
		}},
		{"Trying: Timer F, inform TU", func(r *rig) {
			r.send(r.tcp, "MESSAGE")
			r.wait(33 * time.Second)
			r.want("0s tcp MESSAGE", "32s failed timeout")
		}},
		{"Trying: Transport Err., inform TU", func(r *rig) {
			r.breaks("udp", transport.ErrTooLarge)
			r.send(r.udp, "MESSAGE")
			r.want("0s broken udp MESSAGE", "0s failed transport")
		}},
		{"Trying: Transport Err. of a retransmission, inform TU", func(r *rig) {
			r.send(r.udp, "MESSAGE")
			r.breaks("udp", transport.ErrClosed)
			r.wait(time.Second)
			r.want("0s udp MESSAGE", "500ms broken udp MESSAGE", "500ms failed transport")
		}},
		{"Trying: the connection ends, inform TU", func(r *rig) {
			r.send(r.tcp, "MESSAGE")
			r.send(r.tcp, "OPTIONS")
			r.l.Closed(r.tcp, transport.ErrIdle)
			r.want("0s tcp MESSAGE", "0s tcp OPTIONS", "0s failed transport", "0s failed transport", "0s up closed tcp")
		}},
		{"Trying: 1xx, resp. to TU, Proceeding", func(r *rig) {
			c := r.send(r.udp, "MESSAGE")
			r.respond(r.udp, "MESSAGE", 100)
			r.want("0s udp MESSAGE", "0s up 100")
			if c.current() != proceeding {
				r.t.Errorf("state %s", c.current())
			}
		}},
		{"Trying: 200-699, resp. to TU, Completed", func(r *rig) {
			c := r.send(r.udp, "MESSAGE")
			r.respond(r.udp, "MESSAGE", 404)
			r.wait(time.Second)
			r.want("0s udp MESSAGE", "0s up 404") // no ACK
			if c.current() != completed {
				r.t.Errorf("state %s", c.current())
			}
		}},
		{"Proceeding: Timer E, send request each T2", func(r *rig) {
			r.send(r.udp, "MESSAGE")
			r.wait(600 * ms)
			r.respond(r.udp, "MESSAGE", 100)
			r.wait(9 * time.Second)
			// What was set before the 1xx runs out first.
			r.want("0s udp MESSAGE", "500ms udp MESSAGE", "600ms up 100", "1.5s udp MESSAGE", "5.5s udp MESSAGE", "9.5s udp MESSAGE")
		}},
		{"Proceeding: Timer F, inform TU", func(r *rig) {
			r.send(r.tcp, "MESSAGE")
			r.wait(time.Second)
			r.respond(r.tcp, "MESSAGE", 100)
			r.wait(32 * time.Second)
			r.want("0s tcp MESSAGE", "1s up 100", "32s failed timeout")
		}},
		{"Proceeding: Transport Err., inform TU", func(r *rig) {
			r.send(r.tcp, "MESSAGE")
			r.respond(r.tcp, "MESSAGE", 100)
			r.l.Closed(r.tcp, transport.ErrClosed)
			r.want("0s tcp MESSAGE", "0s up 100", "0s failed transport", "0s up closed tcp")
		}},
		{"Proceeding: 1xx, resp to TU", func(r *rig) {
			r.send(r.tcp, "MESSAGE")
			r.respond(r.tcp, "MESSAGE", 100)
			r.respond(r.tcp, "MESSAGE", 100)
			r.want("0s tcp MESSAGE", "0s up 100", "0s up 100")
		}},
		{"Proceeding: 200-699, resp. to TU, Completed", func(r *rig) {
			c := r.send(r.udp, "MESSAGE")
			r.respond(r.udp, "MESSAGE", 100)
			r.respond(r.udp, "MESSAGE", 200)
			r.wait(4 * time.Second)
			r.want("0s udp MESSAGE", "0s up 100", "0s up 200")
			if c.current() != completed {
				r.t.Errorf("state %s", c.current())
			}
		}},
		{"Completed: responses, nothing", func(r *rig) {
			r.send(r.udp, "MESSAGE")
			r.respond(r.udp, "MESSAGE", 200)
			r.respond(r.udp, "MESSAGE", 200)
			r.respond(r.udp, "MESSAGE", 404)
			r.respond(r.udp, "MESSAGE", 100)
			r.want("0s udp MESSAGE", "0s up 200")
		}},
		{"Completed: Timer K, Terminated", func(r *rig) {
			c := r.send(r.udp, "MESSAGE")
			r.respond(r.udp, "MESSAGE", 200)
			late := r.response("MESSAGE", 200)
			r.wait(4990 * ms)
			if c.current() != completed {
				r.t.Errorf("state %s before timer K", c.current())
			}
			r.wait(10 * ms)
			r.l.Message(late, r.udp)
			r.want("0s udp MESSAGE", "0s up 200", "5s up stray 200")
		}},
		{"Completed: Timer K is zero over TCP", func(r *rig) {
			c := r.send(r.tcp, "MESSAGE")
			r.respond(r.tcp, "MESSAGE", 200)
			r.want("0s tcp MESSAGE", "0s up 200")
			if c.current() != terminated {
				r.t.Errorf("state %s", c.current())
			}
		}},
	})
}

// TestCancelClient is RFC 3261 §9.1.
func TestCancelClient(t *testing.T) {
	runRows(t, []row{
		{"waits for a provisional response", func(r *rig) {
			c := r.send(r.udp, "INVITE")
			c.Cancel()
			r.wait(600 * ms)
			r.want("0s udp INVITE", "500ms udp INVITE")
			r.respond(r.udp, "INVITE", 100)
			r.want("600ms up 100", "600ms udp CANCEL")
			r.respond(r.udp, "CANCEL", 200)
			r.respond(r.udp, "INVITE", 487)
			r.want("600ms udp ACK", "600ms up 487")
		}},
		{"goes at once after one, and only once", func(r *rig) {
			c := r.send(r.tcp, "INVITE")
			r.respond(r.tcp, "INVITE", 180)
			c.Cancel(func(d *sip.Draft) { d.Add(sip.HReason, "SIP;cause=200") })
			c.Cancel()
			r.want("0s tcp INVITE", "0s up 180", "0s tcp CANCEL")
			if got := r.last().Get(sip.HReason); got != "SIP;cause=200" {
				r.t.Errorf("Reason: %q", got)
			}
			r.respond(r.tcp, "INVITE", 487)
			r.respond(r.tcp, "CANCEL", 200)
			r.want("0s tcp ACK", "0s up 487")
		}},
		{"never after the final response", func(r *rig) {
			c := r.send(r.udp, "INVITE")
			r.respond(r.udp, "INVITE", 200)
			c.Cancel()
			r.want("0s udp INVITE", "0s up 200")
		}},
		{"never if the final response comes first", func(r *rig) {
			c := r.send(r.udp, "INVITE")
			c.Cancel()
			r.respond(r.udp, "INVITE", 486)
			r.want("0s udp INVITE", "0s udp ACK", "0s up 486")
		}},
		{"never for another method", func(r *rig) {
			c := r.send(r.tcp, "MESSAGE")
			r.respond(r.tcp, "MESSAGE", 100)
			c.Cancel()
			r.want("0s tcp MESSAGE", "0s up 100")
		}},
		{"is repeated over UDP", func(r *rig) {
			c := r.send(r.udp, "INVITE")
			r.respond(r.udp, "INVITE", 180)
			c.Cancel()
			r.wait(2 * time.Second)
			r.want("0s udp INVITE", "0s up 180", "0s udp CANCEL", "500ms udp CANCEL", "1.5s udp CANCEL")
			r.respond(r.udp, "CANCEL", 200)
			r.respond(r.udp, "INVITE", 487)
			r.want("2s udp ACK", "2s up 487")
		}},
		{"gives up 64*T1 later", func(r *rig) {
			c := r.send(r.tcp, "INVITE")
			r.respond(r.tcp, "INVITE", 180)
			c.Cancel()
			r.respond(r.tcp, "CANCEL", 200)
			r.wait(20 * time.Second)
			r.respond(r.tcp, "INVITE", 180)
			r.wait(20 * time.Second)
			r.want("0s tcp INVITE", "0s up 180", "0s tcp CANCEL", "20s up 180", "32s failed timeout")
		}},
		{"does not stop a 2xx", func(r *rig) {
			c := r.send(r.tcp, "INVITE")
			r.respond(r.tcp, "INVITE", 180)
			c.Cancel()
			r.respond(r.tcp, "INVITE", 200)
			r.respond(r.tcp, "CANCEL", 481)
			r.want("0s tcp INVITE", "0s up 180", "0s tcp CANCEL", "0s up 200")
		}},
		{"from inside a callback", func(r *rig) {
			var c *Client
			h := handlerFunc(func(_ *Client, m *sip.Message) {
				r.line("up %d", m.Status())
				c.Cancel()
			})
			c = r.l.Send(Hop{Flow: r.tcp}, draft("INVITE"), h)
			r.respond(r.tcp, "INVITE", 180)
			r.want("0s tcp INVITE", "0s up 180", "0s tcp CANCEL")
			r.respond(r.tcp, "CANCEL", 200)
			r.respond(r.tcp, "INVITE", 487)
		}},
	})
}

type handlerFunc func(c *Client, m *sip.Message)

func (f handlerFunc) Response(c *Client, m *sip.Message) { f(c, m) }
func (f handlerFunc) Failed(*Client, error)              {}

// TestFollowUps compares the ACK and the CANCEL with their INVITE: RFC 3261 §17.1.1.3 and §9.1.
func TestFollowUps(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		d := draft("INVITE").Add(sip.HRoute, "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>").
			Add(sip.HRoute, "<sip:p3.example.com;lr>").Add(sip.HVia, "SIP/2.0/TCP 203.0.113.9;branch=z9hG4bKup").
			Add(sip.HRequire, "100rel").Add(sip.HProxyRequire, "x").Body("text/plain", []byte("hi"))
		c := r.l.Send(Hop{Flow: r.tcp, Loop: "abc.1"}, d, r)
		invite := r.last()
		r.respond(r.tcp, "INVITE", 180)
		c.Cancel()
		cancel := r.last()
		r.respond(r.tcp, "INVITE", 487)
		ack := r.last()

		via := "SIP/2.0/TCP 192.0.2.1:5060;branch=" + r.l.sealer.makeBranch(c.id) + ".abc.1"
		if got := invite.Get(sip.HVia); got != via {
			t.Errorf("INVITE has Via %q, want %q", got, via)
		}
		if invite.Count(sip.HVia) != 2 {
			t.Errorf("INVITE has %d Vias", invite.Count(sip.HVia))
		}
		for method, m := range map[string]*sip.Message{"CANCEL": cancel, "ACK": ack} {
			if m.Method() != method || m.RequestURI() != invite.RequestURI() {
				t.Errorf("%s: request line %s %s", method, m.Method(), m.RequestURI())
			}
			for _, id := range []sip.HeaderID{sip.HFrom, sip.HCallID} {
				if m.Get(id) != invite.Get(id) {
					t.Errorf("%s: %s is %q", method, id, m.Get(id))
				}
			}
			if m.Count(sip.HVia) != 1 || m.Get(sip.HVia) != via {
				t.Errorf("%s: %d Vias, first %q", method, m.Count(sip.HVia), m.Get(sip.HVia))
			}
			if cseq, err := m.CSeq(); err != nil || cseq.Seq != 7 || cseq.Method != method {
				t.Errorf("%s: CSeq %v %v", method, cseq, err)
			}
			routes := 0
			for range m.Values(sip.HRoute) {
				routes++
			}
			if routes != 3 {
				t.Errorf("%s: %d Routes", method, routes)
			}
			if m.Has(sip.HRequire) || m.Has(sip.HProxyRequire) || len(m.Body()) != 0 {
				t.Errorf("%s: has Require or a body", method)
			}
		}
		if cancel.ToTag() != "" {
			t.Errorf("CANCEL has To tag %q", cancel.ToTag())
		}
		if ack.ToTag() != "b1" {
			t.Errorf("ACK has To tag %q", ack.ToTag())
		}
		r.respond(r.tcp, "CANCEL", 200)
	})
}
