package transaction

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/transport"
)

// kept runs f with a core that does not ask for the end of its transactions, so that only their answers are held.
func kept(t *testing.T, o Options, f func(r *rig)) {
	t.Helper()
	run(t, o, func(r *rig) {
		r.noDone = true
		f(r)
	})
}

// answers is how many answers are held.
func (r *rig) answers() (n uint64) {
	for i := range r.l.servers.shards {
		shard := &r.l.servers.shards[i]
		shard.mu.Lock()
		n += shard.kept.next - shard.kept.first
		shard.mu.Unlock()
	}
	return n
}

func TestAnswer(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name string
		f    func(r *rig)
	}{
		{"Request, send response; Timer J, Terminated", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(200, "")
			first := string(r.packets[0].data)
			r.wait(31990 * ms)
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "0s udp 200", "31.99s udp 200")
			if again := string(r.packets[1].data); again != first {
				r.t.Errorf("repeated %q\nsent %q", again, first)
			}
			if server, _ := r.l.InFlight(); server != 1 || r.answers() != 1 || len(r.l.servers.all()) != 0 {
				r.t.Errorf("%d in flight, %d answers, %d transactions", server, r.answers(), len(r.l.servers.all()))
			}
			r.wait(10 * ms)
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("32s up MESSAGE")
			r.server().Reply(404, "")
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("32s udp 404", "32s udp 404")
		}},
		{"a key is used again before the old answer is swept", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(200, "")
			r.wait(31990 * ms)
			r.want("0s up MESSAGE", "0s udp 200")
			// Timer J has come, its alarm has not.
			shard := r.l.servers.shard(r.server().tx.key)
			shard.mu.Lock()
			shard.kept.ring[shard.kept.first%uint64(len(shard.kept.ring))].end--
			shard.mu.Unlock()
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(404, "")
			r.wait(time.Second)
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("31.99s up MESSAGE", "31.99s udp 404", "32.99s udp 404")
		}},
		{"other final responses, nothing", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			s := r.server()
			s.Reply(200, "")
			s.Reply(404, "")
			s.Reply(100, "")
			r.want("0s up MESSAGE", "0s udp 200")
			if !s.Answered() {
				r.t.Error("not answered")
			}
		}},
		{"Trnsprt Err, stay", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.breaks("udp", transport.ErrUnreachable)
			r.server().Reply(200, "")
			r.receive(r.udp, request("MESSAGE", branch))
			r.breaks("udp", nil)
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "0s broken udp 200", "0s broken udp 200", "0s udp 200")
		}},
		{"RFC 4320, no 408, and nothing to repeat", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(408, "")
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE")
		}},
		{"a retransmission from elsewhere is answered where the first came from", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(200, "")
			other := r.pipe("other", transport.UDP, netip.MustParseAddrPort("203.0.113.9:5070"))
			r.receive(other, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "0s udp 200", "0s to:udp:"+peerAddr.String()+" 200")
		}},
		{"RFC 3261 §9.2: CANCEL finds it", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(200, "")
			tag := parse(r.t, r.packets[0].data).ToTag()
			r.receive(r.udp, strings.Replace(request("MESSAGE", branch), "MESSAGE", "CANCEL", 2))
			r.want("0s up MESSAGE", "0s udp 200", "0s udp 200")
			if got := parse(r.t, r.packets[1].data).ToTag(); got != tag {
				r.t.Errorf("To tags %q and %q", tag, got)
			}
			other := r.pipe("other", transport.UDP, netip.MustParseAddrPort("203.0.113.9:5070"))
			r.receive(other, strings.Replace(request("MESSAGE", branch), "MESSAGE", "CANCEL", 2))
			r.want("0s other 481")
		}},
		{"OnDone behind the final response", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			s := r.server()
			s.Reply(200, "")
			s.OnDone(func() { r.line("done") })
			r.want("0s up MESSAGE", "0s udp 200", "0s done")
		}},
		{"an address with a zone keeps its transaction", func(r *rig) {
			local := r.pipe("zone", transport.UDP, netip.MustParseAddrPort("[fe80::1%eth0]:5070"))
			r.receive(local, request("MESSAGE", branch))
			r.server().Reply(200, "")
			r.receive(local, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "0s zone 200", "0s zone 200")
			if r.answers() != 0 || len(r.l.servers.all()) != 1 {
				r.t.Errorf("%d answers, %d transactions", r.answers(), len(r.l.servers.all()))
			}
		}},
		{"an unproven source gets a datagram for each of its own", func(r *rig) {
			r.proveAll = false
			r.receive(r.udp, request("MESSAGE", branch))
			r.server().Reply(200, "")
			r.receive(r.udp, request("MESSAGE", branch))
			r.receive(r.udp, request("MESSAGE", branch))
			r.want("0s up MESSAGE", "0s udp 200", "0s udp 200", "0s udp 200")
		}},
	} {
		t.Run(test.name, func(t *testing.T) { kept(t, Options{}, test.f) })
	}
}

// TestAnswersMany: each of many answers is the right one until its time is over, whatever their sizes.
func TestAnswersMany(t *testing.T) {
	kept(t, Options{}, func(r *rig) {
		rng := rand.New(rand.NewPCG(1, 2))
		r.onRequest = func(s *Server) {
			s.Reply(200, strings.Repeat("x", rng.IntN(100)*rng.IntN(200)))
		}
		const n = 3000
		for i := range n {
			r.receive(r.udp, request("MESSAGE", fmt.Sprint(branch, i)))
			r.wait(20 * time.Millisecond) // 60 s: half of them end meanwhile
		}
		first := r.packets
		r.packets, r.log = nil, nil
		for i := range n {
			r.receive(r.udp, request("MESSAGE", fmt.Sprint(branch, i)))
			data := r.packets[len(r.packets)-1].data
			if again := len(r.servers) == n; again != (i > n-1600) {
				t.Errorf("request %d of %d is taken as a repeat: %v", i, n, again)
			} else if again && string(data) != string(first[i].data) {
				t.Errorf("request %d is answered with %d bytes instead of %d", i, len(data), len(first[i].data))
			}
			if len(r.servers) > n {
				r.servers = r.servers[:n]
			}
		}
		r.log = nil
		r.wait(33 * time.Second)
		if server, _ := r.l.InFlight(); server != 0 || r.answers() != 0 || r.l.wheel.len() != 0 {
			t.Errorf("left over: %d in flight, %d answers, %d timers", server, r.answers(), r.l.wheel.len())
		}
	})
}

// TestAnswersMakeRoom: answers make room, and what is unanswered stays.
func TestAnswersMakeRoom(t *testing.T) {
	kept(t, Options{Limits: Limits{Server: 4}}, func(r *rig) {
		r.onRequest = func(s *Server) {
			if s.Request().Method() != "OPTIONS" {
				s.Reply(401, "")
			}
		}
		r.receive(r.udp, request("OPTIONS", branch))
		for i := range 1000 {
			r.receive(r.udp, request("MESSAGE", fmt.Sprint(branch, i)))
			if server, _ := r.l.InFlight(); server > 4 {
				t.Errorf("%d transactions", server)
			}
		}
		if len(r.servers) != 1001 || r.answers() != 3 || len(r.l.servers.all()) != 1 {
			t.Errorf("%d requests, %d answers, %d transactions", len(r.servers), r.answers(), len(r.l.servers.all()))
		}
		r.log = nil
	})
}

// TestAnswersClose: the end of the layer leaves none.
func TestAnswersClose(t *testing.T) {
	kept(t, Options{}, func(r *rig) {
		for i := range 100 {
			r.receive(r.udp, request("MESSAGE", fmt.Sprint(branch, i)))
			r.server().Reply(200, "")
		}
		r.l.servers.dropAnswers()
		if server, _ := r.l.InFlight(); server != 0 || r.answers() != 0 {
			t.Errorf("left over: %d in flight, %d answers", server, r.answers())
		}
		r.log = nil
	})
}
