package transaction

import (
	"fmt"
	"testing"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

const ms = time.Millisecond

// row is one row of a state table: an event in a state, with what has to come of it.
type row struct {
	name string
	run  func(r *rig)
}

func runRows(t *testing.T, rows []row) {
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { run(t, Options{}, row.run) })
	}
}

// invite is an INVITE that is in Proceeding, with its 100 sent at 200 ms and the log empty.
func (r *rig) invite(f transport.Flow) *Server {
	r.t.Helper()
	r.receive(f, request("INVITE", branch))
	r.wait(200 * ms)
	r.want("0s up INVITE", fmt.Sprintf("200ms %s 100", f.Listener()))
	return r.server()
}

// TestInviteServer has one test for each arrow of figure 7 in RFC 6026 §8.6.
func TestInviteServer(t *testing.T) {
	runRows(t, []row{
		{"Proceeding: 100 if TU won't in 200 ms", func(r *rig) {
			r.receive(r.udp, request("INVITE", branch))
			r.want("0s up INVITE")
			r.wait(time.Second)
			r.want("200ms udp 100")
			if m := r.last(); m.ToTag() != "" {
				r.t.Errorf("100 has To tag %q", m.ToTag())
			}
		}},
		{"Proceeding: no 100 if TU will", func(r *rig) {
			r.receive(r.udp, request("INVITE", branch))
			r.wait(100 * ms)
			r.server().Reply(180, "")
			r.wait(time.Second)
			r.want("0s up INVITE", "100ms udp 180")
		}},
		{"Proceeding: INVITE, send response", func(r *rig) {
			s := r.invite(r.udp)
			r.receive(r.udp, request("INVITE", branch))
			r.want("200ms udp 100")
			s.Reply(180, "")
			r.receive(r.udp, request("INVITE", branch))
			r.want("200ms udp 180", "200ms udp 180")
		}},
		{"Proceeding: 101-199 from TU, send response", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(180, "")
			s.Reply(183, "")
			r.want("200ms udp 180", "200ms udp 183")
		}},
		{"Proceeding: 2xx from TU, send response, Accepted", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(200, "")
			r.wait(31 * time.Second)
			r.want("200ms udp 200") // not repeated
			if s.tx.current() != accepted {
				r.t.Errorf("state %s", s.tx.current())
			}
		}},
		{"Proceeding: 300-699 from TU, send response, Completed", func(r *rig) {
			s := r.invite(r.tcp)
			s.Reply(486, "")
			r.want("200ms tcp 486")
			if s.tx.current() != completed {
				r.t.Errorf("state %s", s.tx.current())
			}
		}},
		{"Proceeding: Transport Err., stay", func(r *rig) {
			s := r.invite(r.udp)
			r.breaks("udp", transport.ErrUnreachable)
			s.Reply(180, "")
			r.breaks("udp", nil)
			r.receive(r.udp, request("INVITE", branch))
			r.want("200ms broken udp 180", "200ms udp 180")
		}},
		{"Proceeding: ACK, nothing", func(r *rig) {
			r.invite(r.udp)
			r.receive(r.udp, request("ACK", branch))
			r.want()
		}},
		{"Completed: INVITE, send response", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(486, "")
			r.wait(100 * ms)
			r.receive(r.udp, request("INVITE", branch))
			r.want("200ms udp 486", "300ms udp 486")
		}},
		{"Completed: Timer G, send response", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(486, "")
			r.wait(31 * time.Second)
			r.want("200ms udp 486", "700ms udp 486", "1.7s udp 486", "3.7s udp 486", "7.7s udp 486", "11.7s udp 486",
				"15.7s udp 486", "19.7s udp 486", "23.7s udp 486", "27.7s udp 486")
		}},
		{"Completed: no Timer G over TCP", func(r *rig) {
			s := r.invite(r.tcp)
			s.Reply(486, "")
			r.wait(31 * time.Second)
			r.want("200ms tcp 486")
		}},
		{"Completed: Timer H, Terminated", func(r *rig) {
			s := r.invite(r.tcp)
			s.Reply(486, "")
			r.wait(31990 * ms)
			r.want("200ms tcp 486")
			r.wait(10 * ms)
			r.want("32.2s done")
		}},
		{"Completed: ACK, Confirmed", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(486, "")
			r.receive(r.udp, toTag(request("ACK", branch), r.last().ToTag()))
			r.wait(4990 * ms)
			r.want("200ms udp 486") // no timer G, nothing to the TU
			if s.tx.current() != confirmed {
				r.t.Errorf("state %s", s.tx.current())
			}
		}},
		{"Completed: Transport Err., stay", func(r *rig) {
			s := r.invite(r.udp)
			r.breaks("udp", transport.ErrUnreachable)
			s.Reply(486, "")
			r.breaks("udp", nil)
			r.wait(500 * ms)
			r.want("200ms broken udp 486", "700ms udp 486")
		}},
		{"Completed: another final response from TU, nothing", func(r *rig) {
			s := r.invite(r.tcp)
			s.Reply(486, "")
			s.Reply(200, "")
			s.Reply(180, "")
			r.want("200ms tcp 486")
		}},
		{"Confirmed: ACK, nothing", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(486, "")
			r.receive(r.udp, request("ACK", branch))
			r.receive(r.udp, request("ACK", branch))
			r.want("200ms udp 486")
		}},
		{"Confirmed: INVITE, nothing", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(486, "")
			r.receive(r.udp, request("ACK", branch))
			r.receive(r.udp, request("INVITE", branch))
			r.want("200ms udp 486")
		}},
		{"Confirmed: Timer I, Terminated", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(486, "")
			r.receive(r.udp, request("ACK", branch))
			r.wait(10 * time.Second)
			r.want("200ms udp 486", "5.2s done")
		}},
		{"Confirmed: Timer I is zero over TCP", func(r *rig) {
			s := r.invite(r.tcp)
			s.Reply(486, "")
			r.receive(r.tcp, request("ACK", branch))
			r.want("200ms tcp 486", "200ms done")
		}},
		{"Accepted: INVITE, nothing", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(200, "")
			r.receive(r.udp, request("INVITE", branch))
			r.want("200ms udp 200")
		}},
		{"Accepted: ACK, ACK to TU", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(200, "")
			r.receive(r.udp, request("ACK", branch))
			r.receive(r.udp, request("ACK", "z9hG4bKitsown"))
			r.want("200ms udp 200", "200ms up ACK", "200ms up ACK")
		}},
		{"Accepted: 2xx from TU, send response", func(r *rig) {
			s := r.invite(r.udp)
			s.Reply(200, "")
			s.Reply(200, "")
			s.Reply(486, "")
			s.Reply(180, "")
			r.want("200ms udp 200", "200ms udp 200")
		}},
		{"Accepted: Transport Err., stay", func(r *rig) {
			s := r.invite(r.udp)
			r.breaks("udp", transport.ErrUnreachable)
			s.Reply(200, "")
			r.breaks("udp", nil)
			r.receive(r.udp, request("INVITE", branch))
			s.Reply(200, "")
			r.want("200ms broken udp 200", "200ms udp 200")
		}},
		{"Accepted: Timer L, Terminated", func(r *rig) {
			s := r.invite(r.tcp)
			s.Reply(200, "")
			r.wait(31990 * ms)
			r.want("200ms tcp 200")
			r.wait(10 * ms)
			r.want("32.2s done")
		}},
	})
}

// TestServer has one test for each arrow of figure 8 in RFC 3261 §17.2.2, and for RFC 4320.
func TestServer(t *testing.T) {
	runRows(t, []row{
		{"Trying: Request, nothing", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE")
		}},
		{"Trying: 1xx from TU, send response, Proceeding", func(r *rig) {
			r.receive(r.tcp, request("MESSAGE", branch))
			r.server().Reply(100, "")
			r.want("0s up MESSAGE", "0s tcp 100")
			if s := r.server(); s.tx.current() != proceeding {
				r.t.Errorf("state %s", s.tx.current())
			}
		}},
		{"Trying: 200-699 from TU, send response, Completed", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(404, "")
			r.want("0s up MESSAGE", "0s udp 404")
			if s := r.server(); s.tx.current() != completed {
				r.t.Errorf("state %s", s.tx.current())
			}
		}},
		{"Trying: RFC 4320, 100 over UDP when timer E is T2", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.wait(5 * time.Second)
			r.want("0s up MESSAGE", "3.5s udp 100")
		}},
		{"Trying: RFC 4320, 100 over TCP after the same time", func(r *rig) {
			r.receive(r.tcp, request("MESSAGE", branch))
			r.wait(5 * time.Second)
			r.want("0s up MESSAGE", "3.5s tcp 100")
		}},
		{"Trying: RFC 4320, no earlier 100 over UDP", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.wait(3490 * ms)
			r.server().Reply(100, "")
			r.wait(time.Second)
			r.want("0s up MESSAGE", "3.5s udp 100")
		}},
		{"Trying: RFC 4320, no 1xx but 100", func(r *rig) {
			r.receive(r.tcp, request("MESSAGE", branch))
			r.server().Reply(180, "")
			r.want("0s up MESSAGE")
		}},
		{"Trying: RFC 4320, no 408", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(408, "")
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(200, "")
			r.wait(32 * time.Second)
			r.want("0s up MESSAGE", "32s done")
		}},
		{"Trying: TU does not answer, end at 64*T1", func(r *rig) {
			r.receive(r.tcp, request("MESSAGE", branch))
			r.wait(33 * time.Second)
			r.server().Reply(200, "")
			r.want("0s up MESSAGE", "3.5s tcp 100", "32s done")
		}},
		{"Proceeding: Request, send response", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.wait(4 * time.Second)
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "3.5s udp 100", "4s udp 100")
		}},
		{"Proceeding: 1xx from TU, send response", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.wait(4 * time.Second)
			r.server().Reply(100, "")
			r.want("0s up MESSAGE", "3.5s udp 100", "4s udp 100")
		}},
		{"Proceeding: 200-699 from TU, send response, Completed", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.wait(4 * time.Second)
			r.server().Reply(200, "")
			r.want("0s up MESSAGE", "3.5s udp 100", "4s udp 200")
		}},
		{"Proceeding: Trnsprt Err, stay", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.breaks("udp", transport.ErrUnreachable)
			r.wait(4 * time.Second)
			r.breaks("udp", nil)
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "3.5s broken udp 100", "4s udp 100")
		}},
		{"Completed: Request, send response", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(200, "")
			r.wait(500 * ms)
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "0s udp 200", "500ms udp 200")
		}},
		{"Completed: other final responses, nothing", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(200, "")
			r.server().Reply(404, "")
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "0s udp 200", "0s udp 200")
		}},
		{"Completed: Timer J, Terminated", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(200, "")
			r.wait(31990 * ms)
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "0s udp 200", "31.99s udp 200")
			r.wait(10 * ms)
			r.want("32s done")
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("32s up MESSAGE")
		}},
		{"Completed: Timer J is zero over TCP", func(r *rig) {
			r.receive(r.tcp, request("MESSAGE", branch))
			r.server().Reply(200, "")
			r.want("0s up MESSAGE", "0s tcp 200", "0s done")
		}},
		{"Completed: Trnsprt Err, stay", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.breaks("udp", transport.ErrUnreachable)
			r.server().Reply(200, "")
			r.breaks("udp", nil)
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "0s broken udp 200", "0s udp 200")
		}},
	})
}

// TestChallenge: a challenged request is forgotten, so that what comes next under the same branch is a new request, and the
// ACK of an INVITE goes to the core, which drops it.
func TestChallenge(t *testing.T) {
	for _, method := range []string{"MESSAGE", "INVITE"} {
		run(t, Options{}, func(r *rig) {
			for range 2 {
				r.receive(r.udp, request(method, branch))
				s := r.server()
				s.Challenge(sip.NewResponse(s.Request(), 407, ""))
				s.Reply(200, "")
				r.want("0s up "+method, "0s udp 407", "0s done")
			}
			if server, _ := r.l.InFlight(); server != 0 {
				r.t.Errorf("%d transactions are held", server)
			}
		})
	}
}
