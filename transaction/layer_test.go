package transaction

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestMatchServer is RFC 3261 §17.2.3 for branches with the magic cookie.
func TestMatchServer(t *testing.T) {
	base := request("MESSAGE", branch)
	for _, test := range []struct {
		name, second string
		same         bool
	}{
		{"the same", base, true},
		{"another branch", request("MESSAGE", branch+"x"), false},
		{"another sent-by host", strings.Replace(base, "198.51.100.7:5070", "198.51.100.8:5070", 1), false},
		{"another sent-by port", strings.Replace(base, "198.51.100.7:5070", "198.51.100.7:5071", 1), false},
		{"another method", request("OPTIONS", branch), false},
		{"another Call-ID, as of clients without good random numbers", strings.Replace(base, "Call-ID: 9", "Call-ID: 8", 1), false},
		{"another transport, likewise", strings.Replace(base, "SIP/2.0/UDP", "SIP/2.0/TCP", 1), false},
		{"nothing else counts", strings.NewReplacer("tag=a1", "tag=a2", "sip:bob@example.com SIP", "sip:eve@example.com SIP").Replace(base), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, Options{}, func(r *rig) {
				r.receive(r.udp, base)
				r.receive(r.udp, test.second)
				if same := len(r.servers) == 1; same != test.same {
					t.Errorf("taken as the same: %v", same)
				}
			})
		})
	}
	t.Run("the case of the host does not count", func(t *testing.T) {
		run(t, Options{}, func(r *rig) {
			r.receive(r.udp, strings.Replace(base, "198.51.100.7", "host.EXAMPLE.com", 1))
			r.receive(r.udp, strings.Replace(base, "198.51.100.7", "HOST.example.com", 1))
			if len(r.servers) != 1 {
				t.Errorf("%d transactions", len(r.servers))
			}
		})
	})
}

// TestMatchLegacy is RFC 3261 §17.2.3 for clients of RFC 2543: no branch, or one without the magic cookie.
func TestMatchLegacy(t *testing.T) {
	for _, branch := range []string{"1", "z9hG4b", ""} {
		request := func(method string) string {
			text := request(method, branch)
			if branch == "" {
				text = strings.Replace(text, ";branch=", "", 1)
			}
			return text
		}
		for _, method := range []string{"MESSAGE", "INVITE"} {
			base := request(method)
			for _, test := range []struct {
				name, old, new string
				same           bool
			}{
				{"the same", "", "", true},
				{"another Request-URI", "sip:bob@example.com SIP", "sip:bob@example.net SIP", false},
				{"a To tag", "To: Bob <sip:bob@example.com>", "To: Bob <sip:bob@example.com>;tag=x", false},
				{"another From tag", "tag=a1", "tag=a2", false},
				{"another Call-ID", "Call-ID: 9", "Call-ID: 8", false},
				{"another CSeq", "CSeq: 986759", "CSeq: 986760", false},
				{"another Via", "198.51.100.7:5070", "198.51.100.7:5071", false},
				{"another header", "Max-Forwards: 70", "Max-Forwards: 69", true},
			} {
				t.Run(fmt.Sprintf("branch %q/%s/%s", branch, method, test.name), func(t *testing.T) {
					run(t, Options{}, func(r *rig) {
						r.receive(r.udp, base)
						r.receive(r.udp, strings.Replace(base, test.old, test.new, 1))
						if same := len(r.servers) == 1; same != test.same {
							t.Errorf("taken as the same: %v", same)
						}
					})
				})
			}
		}
		t.Run(fmt.Sprintf("branch %q/ACK", branch), func(t *testing.T) {
			run(t, Options{}, func(r *rig) {
				r.receive(r.udp, request("INVITE"))
				s := r.server()
				s.Reply(486, "")
				tag := r.last().ToTag()
				// Another To tag: the ACK to some other response, for the core.
				r.receive(r.udp, toTag(request("ACK"), tag+"x"))
				r.want("0s up INVITE", "0s udp 486", "0s up ACK")
				r.receive(r.udp, toTag(request("ACK"), tag))
				r.receive(r.udp, toTag(request("ACK"), tag))
				r.wait(4 * time.Second)
				r.want() // absorbed, and no timer G
				if s.tx.current() != confirmed {
					t.Errorf("state %s", s.tx.current())
				}
			})
		})
		t.Run(fmt.Sprintf("branch %q/ACK of a 2xx", branch), func(t *testing.T) {
			run(t, Options{}, func(r *rig) {
				r.receive(r.udp, request("INVITE"))
				r.server().Reply(200, "")
				r.receive(r.udp, toTag(request("ACK"), r.last().ToTag()))
				r.want("0s up INVITE", "0s udp 200", "0s up ACK")
			})
		})
		t.Run(fmt.Sprintf("branch %q/CANCEL", branch), func(t *testing.T) {
			run(t, Options{}, func(r *rig) {
				r.receive(r.udp, request("INVITE"))
				r.receive(r.udp, request("CANCEL"))
				r.want("0s up INVITE", "0s udp 200", "0s up cancel")
			})
		})
	}
}

// TestCancelServer is RFC 3261 §9.2.
func TestCancelServer(t *testing.T) {
	runRows(t, []row{
		{"200, and the TU is told once", func(r *rig) {
			s := r.invite(r.udp)
			r.receive(r.udp, request("CANCEL", branch))
			tag := r.last().ToTag()
			r.receive(r.udp, request("CANCEL", branch))
			r.want("200ms udp 200", "200ms up cancel", "200ms udp 200")
			if m := r.last(); m.Method() != "CANCEL" || m.ToTag() != tag || tag == "" {
				r.t.Errorf("answer to CANCEL: CSeq method %s, To tag %q after %q", m.Method(), m.ToTag(), tag)
			}
			if !s.Cancelled() || s.Answered() {
				r.t.Errorf("cancelled %v, answered %v", s.Cancelled(), s.Answered())
			}
			s.Reply(487, "")
			r.want("200ms udp 487")
			if got := r.last().ToTag(); got != tag {
				r.t.Errorf("To tag of the 487 is %q, of the 200 %q", got, tag)
			}
		}},
		{"481 if there is none", func(r *rig) {
			r.receive(r.tcp, request("CANCEL", branch))
			r.want("0s tcp 481")
		}},
		{"481 from another address", func(r *rig) {
			r.invite(r.udp)
			other := r.pipe("other", transport.UDP, netip.MustParseAddrPort("198.51.100.8:5070"))
			r.receive(other, request("CANCEL", branch))
			r.want("200ms other 481")
		}},
		{"200 without effect after a final response", func(r *rig) {
			s := r.invite(r.tcp)
			s.Reply(486, "")
			r.receive(r.tcp, request("CANCEL", branch))
			r.want("200ms tcp 486", "200ms tcp 200")
		}},
		{"200 without effect for another method", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", branch))
			r.receive(r.udp, request("CANCEL", branch))
			r.want("0s up MESSAGE", "0s udp 200")
		}},
		{"faster than OnCancel", func(r *rig) {
			s := r.invite(r.udp)
			s.OnCancel(nil)
			r.receive(r.udp, request("CANCEL", branch))
			r.want("200ms udp 200")
			s.OnCancel(func(m *sip.Message) { r.line("late %s", m.Method()) })
			r.want("200ms late CANCEL")
		}},
		{"is not repeated by us over UDP", func(r *rig) {
			r.receive(r.udp, request("CANCEL", branch))
			r.wait(10 * time.Second)
			r.want("0s udp 481")
		}},
	})
}

// TestTopVia is RFC 3261 §18.2.1 and RFC 3581 §4: what the core sees, and what responses have.
func TestTopVia(t *testing.T) {
	for _, test := range []struct{ via, want string }{
		{"SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bK1", "SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bK1"},
		{"SIP/2.0/UDP biloxi.example.com;branch=z9hG4bK1", "SIP/2.0/UDP biloxi.example.com;branch=z9hG4bK1;received=198.51.100.7"},
		{"SIP/2.0/UDP 10.1.1.1:4540;branch=z9hG4bK1", "SIP/2.0/UDP 10.1.1.1:4540;branch=z9hG4bK1;received=198.51.100.7"},
		{"SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bK1", "SIP/2.0/UDP 10.1.1.1:4540;rport=5070;branch=z9hG4bK1;received=198.51.100.7"},
		{"SIP/2.0/UDP 198.51.100.7:5070;rport;branch=z9hG4bK1", "SIP/2.0/UDP 198.51.100.7:5070;rport=5070;branch=z9hG4bK1;received=198.51.100.7"},
		{"SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK1", "SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK1;received=198.51.100.7"},
		// What the sender says about itself does not count.
		{"SIP/2.0/UDP 198.51.100.7;received=203.0.113.1;branch=z9hG4bK1", "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1"},
		{"SIP/2.0/UDP a.b;received=203.0.113.1;rport=9;branch=z9hG4bK1", "SIP/2.0/UDP a.b;rport=5070;branch=z9hG4bK1;received=198.51.100.7"},
		// The values behind it stay, on the same line or not.
		{"SIP/2.0/UDP a.b;branch=z9hG4bK1, SIP/2.0/TCP c.d;branch=z9hG4bK2", "SIP/2.0/UDP a.b;branch=z9hG4bK1;received=198.51.100.7, SIP/2.0/TCP c.d;branch=z9hG4bK2"},
	} {
		run(t, Options{}, func(r *rig) {
			text := strings.Replace(request("MESSAGE", branch), "SIP/2.0/UDP 198.51.100.7:5070;branch="+branch, test.via, 1)
			r.receive(r.udp, text)
			s := r.server()
			if got := s.Request().Get(sip.HVia); got != test.want {
				t.Errorf("%s\nbecame %s\nwant   %s", test.via, got, test.want)
			}
			s.Reply(200, "")
			if got := r.last().Get(sip.HVia); got != test.want {
				t.Errorf("response to %s\nhas  %s\nwant %s", test.via, got, test.want)
			}
		})
	}
	t.Run("IPv6", func(t *testing.T) {
		run(t, Options{}, func(r *rig) {
			f := r.pipe("six", transport.UDP, netip.MustParseAddrPort("[2001:db8::9:1]:5070"))
			text := strings.Replace(request("MESSAGE", branch), "198.51.100.7:5070;", "[2001:db8::9:01]:5070;rport;", 1)
			r.receive(f, text)
			m := r.server().Request()
			if via, err := m.TopVia(); err != nil || via.Received() != f.Remote().Addr() {
				t.Errorf("received in %s: %v %v", m.Get(sip.HVia), via.Received(), err)
			}
			r.receive(f, strings.Replace(text, ";rport", ";x", 1))
		})
	})
	t.Run("ACK", func(t *testing.T) {
		run(t, Options{}, func(r *rig) {
			r.receive(r.udp, strings.Replace(request("ACK", branch), "198.51.100.7", "biloxi.example.com", 1))
			if got := r.acks[0].Get(sip.HVia); !strings.HasSuffix(got, ";received=198.51.100.7") {
				t.Errorf("Via of the ACK: %s", got)
			}
		})
	})
}

// TestWayBack is RFC 3261 §18.2.2.
func TestWayBack(t *testing.T) {
	via := func(v string) string {
		return strings.Replace(request("MESSAGE", branch), "SIP/2.0/UDP 198.51.100.7:5070", v, 1)
	}
	udp := "0s up MESSAGE"
	runRows(t, []row{
		{"UDP: the port of sent-by", func(r *rig) {
			r.receive(r.udp, via("SIP/2.0/UDP 10.1.1.1:4540"))
			r.server().Reply(200, "")
			r.want(udp, "0s to:udp:198.51.100.7:4540 200")
		}},
		{"UDP: 5060 without a port", func(r *rig) {
			r.receive(r.udp, via("SIP/2.0/UDP pc33.example.com"))
			r.server().Reply(200, "")
			r.want(udp, "0s to:udp:198.51.100.7:5060 200")
		}},
		{"UDP: rport", func(r *rig) {
			r.receive(r.udp, via("SIP/2.0/UDP 10.1.1.1:4540;rport"))
			r.server().Reply(200, "")
			r.want(udp, "0s udp 200")
		}},
		{"UDP: maddr is ignored", func(r *rig) {
			r.receive(r.udp, via("SIP/2.0/UDP 198.51.100.7:5070;maddr=203.0.113.66"))
			r.server().Reply(200, "")
			r.want(udp, "0s udp 200")
		}},
		{"TCP: the same connection", func(r *rig) {
			r.receive(r.tcp, via("SIP/2.0/TCP 10.1.1.1:4540"))
			r.server().Reply(200, "")
			r.want(udp, "0s tcp 200", "0s done")
		}},
		{"TCP: a new one if it is gone", func(r *rig) {
			r.receive(r.tcp, via("SIP/2.0/TCP 10.1.1.1:4540"))
			r.tcp.Close("test")
			r.l.Closed(r.tcp, transport.ErrClosed)
			r.server().Reply(200, "")
			r.want(udp, "0s close tcp", "0s up closed tcp", "0s to:tcp:198.51.100.7:4540 200", "0s done")
		}},
		{"TLS: a new one to the default port, with the name", func(r *rig) {
			tls := r.pipe("tls", transport.TLS, peerAddr)
			r.receive(tls, via("SIP/2.0/TLS pc33.example.com"))
			tls.Close("test")
			r.server().Reply(200, "")
			r.want(udp, "0s close tls", "0s to:tls:198.51.100.7:5061 200", "0s done")
			want := transport.Target{Kind: transport.TLS, Addr: netip.MustParseAddrPort("198.51.100.7:5061"), ServerName: "pc33.example.com"}
			if _, ok := r.dials[want]; !ok {
				r.t.Errorf("dialled %v", r.dials)
			}
		}},
		{"WSS: nobody can be connected to", func(r *rig) {
			wss := r.pipe("wss", transport.WSS, peerAddr)
			r.receive(wss, via("SIP/2.0/WSS df7jal23ls0d.invalid"))
			wss.Close("test")
			r.server().Reply(200, "")
			r.want(udp, "0s close wss", "0s done")
		}},
		{"TCP: a full queue is no reason to connect", func(r *rig) {
			r.receive(r.tcp, via("SIP/2.0/TCP 10.1.1.1:4540"))
			r.breaks("tcp", transport.ErrQueueFull)
			r.server().Reply(200, "")
			r.want(udp, "0s broken tcp 200", "0s done")
		}},
	})
}

// TestToTag is RFC 3261 §8.2.6.2: one tag for all responses above 100, none over an existing one, none of ours when a proxy
// forwards.
func TestToTag(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		s := r.invite(r.udp)
		s.Reply(180, "")
		first := r.last().ToTag()
		s.Respond(sip.NewResponse(s.Request(), 183, "").SetToTag("mine"))
		second := r.last().ToTag()
		s.Forward(sip.NewResponse(s.Request(), 183, ""))
		third := r.last().ToTag()
		s.Reply(486, "")
		last := r.last().ToTag()
		if first == "" || second != "mine" || third != "" || last != first {
			t.Errorf("tags %q, %q, %q, %q", first, second, third, last)
		}
	})
}

// TestMalformed: what can be answered gets its status, statelessly; the ACK to it goes nowhere.
func TestMalformed(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		text := strings.Replace(request("INVITE", branch), "CSeq: 986759 INVITE", "CSeq: 1 INVITE\r\nCSeq: 2 INVITE", 1)
		text = strings.Replace(text, ";branch", ";rport;branch", 1)
		m, err := sip.Parse([]byte(text))
		bad, ok := err.(*sip.Error)
		if !ok {
			t.Fatalf("parsed: %v", err)
		}
		r.l.Malformed(m, bad, r.udp)
		r.l.Malformed(m, bad, r.udp)
		r.wait(10 * time.Second)
		r.want("0s udp 400", "0s udp 400")
		answer := r.last()
		if answer.Reason() != bad.Reason || answer.ToTag() == "" || !strings.Contains(answer.Get(sip.HVia), ";rport=5070") {
			t.Errorf("answer:\n%s", answer.Bytes())
		}
		r.receive(r.udp, toTag(request("ACK", branch), answer.ToTag()))
		r.want()

		for _, text := range []string{
			"ACK sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 1.2.3.4\r\n\r\n", // an ACK is never answered
			"INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n",         // nobody to answer
			"SIP/2.0 200 OK\r\nTo: <sip:a@b>\r\n\r\n",
		} {
			m, err := sip.Parse([]byte(text))
			if bad, ok := err.(*sip.Error); ok {
				r.l.Malformed(m, bad, r.udp)
			} else {
				t.Errorf("%q was parsed: %v", text, err)
			}
		}
		r.l.Malformed(nil, bad, r.udp)
		r.want()
	})
}

// TestServerLimit: at n-1, n and n+1.
func TestServerLimit(t *testing.T) {
	run(t, Options{Limits: Limits{Server: 3}}, func(r *rig) {
		for i := range 3 {
			r.receive(r.udp, request("MESSAGE", fmt.Sprint(branch, i)))
		}
		r.want("0s up MESSAGE", "0s up MESSAGE", "0s up MESSAGE")
		r.receive(r.udp, request("INVITE", branch+"x"))
		r.receive(r.udp, request("INVITE", branch+"x"))
		r.want("0s udp 503", "0s udp 503")
		answer := r.last()
		if n, ok := answer.Int(sip.HRetryAfter); !ok || n < retryAfter || n >= retryAfter+retryAfterSpread {
			t.Errorf("Retry-After: %s", answer.Get(sip.HRetryAfter))
		}
		// Its ACK and an ACK for a 2xx need no place, nor do CANCELs and retransmissions of what is known.
		r.receive(r.udp, toTag(request("ACK", branch+"x"), answer.ToTag()))
		r.want()
		r.receive(r.udp, request("ACK", branch+"y"))
		r.receive(r.udp, request("CANCEL", branch+"0"))
		r.want("0s up ACK", "0s udp 200")
		r.server().Reply(200, "")
		r.receive(r.udp, request("MESSAGE", branch+"2"))
		r.want("0s udp 200", "0s udp 200")
		r.wait(33 * time.Second)
		r.receive(r.tcp, request("MESSAGE", branch+"z"))
		r.server().Reply(200, "")
		r.want("3.5s udp 100", "3.5s udp 100", "32s done", "32s done", "32s done", "33s up MESSAGE", "33s tcp 200", "33s done")
	})
}

// TestMakeRoom: what is answered makes room, the oldest first; what is not stays.
func TestMakeRoom(t *testing.T) {
	run(t, Options{Limits: Limits{Server: 4}}, func(r *rig) {
		r.onRequest = func(s *Server) {
			if s.Request().RequestURI() == "sip:bob@example.com" && s.Request().Method() != "OPTIONS" {
				s.Reply(401, "")
			}
		}
		r.receive(r.udp, request("OPTIONS", branch)) // stays unanswered
		r.receive(r.udp, request("INVITE", branch+"0"))
		r.receive(r.udp, request("MESSAGE", branch+"1"))
		r.receive(r.udp, request("MESSAGE", branch+"2"))
		r.want("0s up OPTIONS", "0s up INVITE", "0s udp 401", "0s up MESSAGE", "0s udp 401", "0s up MESSAGE", "0s udp 401")
		for i := range 1000 {
			r.receive(r.udp, request("MESSAGE", fmt.Sprint(branch, "x", i)))
			if server, _ := r.l.InFlight(); server != 4 {
				t.Fatalf("%d transactions", server)
			}
		}
		if len(r.servers) != 1004 {
			t.Errorf("the core got %d requests of 1004", len(r.servers))
		}
		r.mu.Lock()
		r.log = nil
		r.mu.Unlock()
		r.receive(r.udp, request("OPTIONS", branch))
		r.want() // a retransmission still
		r.wait(time.Second)
		r.want() // the INVITE is not repeated any more
	})
}

// TestRefuse: a Via that cannot be read comes back as it is; the magic cookie alone is no transaction (RFC 4475).
func TestRefuse(t *testing.T) {
	runRows(t, []row{
		{"Via that cannot be read", func(r *rig) {
			const via = "SIP/2.0/UDP 192.0.2.15;;,;,,"
			m, err := sip.Parse([]byte(strings.Replace(request("INVITE", branch), "SIP/2.0/UDP 198.51.100.7:5070;branch="+branch, via, 1)))
			if err == nil {
				r.l.Message(m, r.udp)
			} else {
				r.l.Malformed(m, err.(*sip.Error), r.udp)
			}
			r.want("0s udp 400")
			if got := string(r.packets[0].data); !strings.Contains(got, "\r\nVia: "+via+"\r\n") {
				r.t.Errorf("answer:\n%s", got)
			}
		}},
		{"cookie alone", func(r *rig) {
			r.receive(r.udp, request("MESSAGE", cookie))
			r.receive(r.udp, request("MESSAGE", cookie))
			r.receive(r.udp, strings.Replace(request("MESSAGE", cookie), "Call-ID: 9", "Call-ID: 8", 1))
			r.want("0s up MESSAGE", "0s up MESSAGE")
		}},
	})
}

// TestQueueFull: a datagram that the transport has no room for is a lost datagram.
func TestQueueFull(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		r.breaks("udp", transport.ErrQueueFull)
		r.send(r.udp, "MESSAGE")
		r.wait(100 * ms)
		r.breaks("udp", nil)
		r.wait(500 * ms)
		r.respond(r.udp, "MESSAGE", 200)
		r.want("0s broken udp MESSAGE", "500ms udp MESSAGE", "600ms up 200")
		if got := testutil.ToFloat64(r.l.metrics.dropped.queue); got != 1 {
			t.Errorf("%v counted", got)
		}
	})
}

// TestClientLimit: at n-1, n and n+1.
func TestClientLimit(t *testing.T) {
	run(t, Options{Limits: Limits{Client: 2}}, func(r *rig) {
		r.send(r.tcp, "MESSAGE")
		r.send(r.tcp, "MESSAGE")
		r.send(r.tcp, "MESSAGE")
		r.want("0s tcp MESSAGE", "0s tcp MESSAGE", "0s failed too many")
		r.respond(r.tcp, "MESSAGE", 200)
		r.send(r.tcp, "MESSAGE")
		r.want("0s up 200", "0s tcp MESSAGE")
	})
}

// TestUnproven is hostile row 17: what a forged source address may make us send.
func TestUnproven(t *testing.T) {
	unproven := func(run func(r *rig)) func(r *rig) {
		return func(r *rig) {
			r.proveAll = false
			run(r)
		}
	}
	runRows(t, []row{
		{"one answer, not repeated", unproven(func(r *rig) {
			r.receive(r.udp, request("INVITE", branch))
			r.server().Reply(401, "")
			r.wait(40 * time.Second)
			r.want("0s up INVITE", "0s udp 401", "32s done")
		})},
		{"one for each request", unproven(func(r *rig) {
			r.receive(r.udp, request("INVITE", branch))
			r.server().Reply(401, "")
			r.receive(r.udp, request("INVITE", branch))
			r.wait(10 * time.Second)
			r.want("0s up INVITE", "0s udp 401", "0s udp 401")
		})},
		{"no provisional one that would use up the final", unproven(func(r *rig) {
			r.receive(r.udp, request("INVITE", branch))
			r.wait(time.Second)
			r.receive(r.udp, request("INVITE", branch))
			r.server().Reply(401, "")
			r.want("0s up INVITE", "1s udp 100", "1s udp 401")
		})},
		{"three times the size and no more", unproven(func(r *rig) {
			text := request("OPTIONS", branch)
			for i, size := range []int{3*len(text) - 1, 3 * len(text), 3*len(text) + 1} {
				r.receive(r.udp, strings.Replace(text, branch, "z9hG4bK77asj"+fmt.Sprint(i), 1))
				s := r.server()
				d := sip.NewResponse(s.Request(), 200, "").SetToTag("t")
				pad := size - len(d.Bytes()) - len("Subject: \r\n")
				s.Respond(d.Add(sip.HSubject, strings.Repeat("x", pad)))
			}
			r.want("0s up OPTIONS", "0s udp 200", "0s up OPTIONS", "0s udp 200", "0s up OPTIONS")
		})},
		{"stateless answers too", unproven(func(r *rig) {
			r.receive(r.udp, request("CANCEL", branch))
			r.want("0s udp 481")
		})},
		{"proven by an ACK with our tag", unproven(func(r *rig) {
			r.receive(r.udp, request("INVITE", branch))
			r.server().Reply(401, "")
			r.receive(r.udp, toTag(request("ACK", branch), r.last().ToTag()))
			if !r.Proven(r.udp) {
				r.t.Error("not proven")
			}
			r.want("0s up INVITE", "0s udp 401")
		})},
		{"not proven by an ACK with another tag", unproven(func(r *rig) {
			r.receive(r.udp, request("INVITE", branch))
			r.server().Reply(401, "")
			r.receive(r.udp, toTag(request("ACK", branch), "guess"))
			if r.Proven(r.udp) {
				r.t.Error("proven")
			}
		})},
		{"proven by a response to us", unproven(func(r *rig) {
			r.send(r.udp, "OPTIONS")
			other := r.pipe("other", transport.UDP, netip.MustParseAddrPort("198.51.100.8:5070"))
			r.l.Message(r.response("OPTIONS", 100), other)
			if r.Proven(other) {
				r.t.Error("an address that we did not send to is proven")
			}
			r.respond(r.udp, "OPTIONS", 200)
			if !r.Proven(r.udp) {
				r.t.Error("not proven")
			}
		})},
		{"connections need no proof", unproven(func(r *rig) {
			r.receive(r.tcp, request("INVITE", branch))
			s := r.server()
			s.Reply(180, "")
			s.Reply(180, "")
			s.Reply(486, "")
			r.want("0s up INVITE", "0s tcp 180", "0s tcp 180", "0s tcp 486")
		})},
	})
}

// TestMatchClient is RFC 3261 §17.1.3 and §18.1.2: a response that is not exactly ours is dropped.
func TestMatchClient(t *testing.T) {
	edit := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	for _, test := range []struct {
		name string
		edit func(string) string
		log  []string
	}{
		{"as it is", edit("", ""), []string{"0s up 200"}},
		{"upper case", func(s string) string {
			at := strings.Index(s, "z9hG4bK") + len(cookie)
			return s[:at] + strings.ToUpper(s[at:at+32]) + s[at+32:]
		}, []string{"0s up 200"}},
		{"received and rport", edit(";rport", ";rport=5060;received=192.0.2.1"), []string{"0s up 200"}},
		{"another method in CSeq", edit("CSeq: 7 MESSAGE", "CSeq: 7 OPTIONS"), nil},
		{"CANCEL in CSeq", edit("CSeq: 7 MESSAGE", "CSeq: 7 CANCEL"), []string{"0s up stray 200"}},
		{"another sent-by host", edit("192.0.2.1:", "192.0.2.2:"), nil},
		{"another sent-by port", edit(":5060;", ":5061;"), nil},
		{"no sent-by port", edit(":5060;", ";"), nil},
		{"no branch", edit(";branch=", ";ranch="), nil},
		{"a foreign branch", edit("branch=z9hG4bK", "branch=z9hG4bKx"), nil},
		{"without the loop part", edit(".loop", ""), nil},
		{"with another loop part", edit(".loop", ".pool"), nil},
		{"with two loop parts", edit(".loop", ".loop.loop"), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, Options{}, func(r *rig) {
				r.l.Send(Hop{Flow: r.udp, Loop: "loop"}, draft("MESSAGE"), r)
				answer := string(r.response("MESSAGE", 200).Bytes())
				edited := test.edit(answer)
				if edited == answer && test.name != "as it is" {
					t.Fatal("the edit does nothing")
				}
				r.receive(r.udp, edited)
				r.want(append([]string{"0s udp MESSAGE"}, test.log...)...)
			})
		})
	}
}

// TestTamperedBranch flips every bit and digit of a branch: hostile row 20.
func TestTamperedBranch(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		c := r.send(r.tcp, "MESSAGE")
		good := r.l.sealer.makeBranch(c.id)
		if id, ok := r.l.sealer.openBranch(good); !ok || id != c.id {
			t.Fatalf("own branch %s: %v %v", good, id, ok)
		}
		for i := range good {
			for bit := range 8 {
				b := []byte(good)
				b[i] ^= 1 << bit
				if strings.EqualFold(string(b), good) {
					continue // tokens are case-insensitive
				}
				if id, ok := r.l.sealer.openBranch(string(b)); ok {
					t.Errorf("%s was taken for %v", b, id)
				}
			}
		}
		for n := range good {
			if _, ok := r.l.sealer.openBranch(good[:n]); ok {
				t.Errorf("%s was taken", good[:n])
			}
		}
		if _, ok := newSealer().openBranch(good); ok {
			t.Error("a branch of another process was taken")
		}
		answer := string(r.response("MESSAGE", 200).Bytes())
		for _, digit := range "0123456789abcdef" {
			forged := strings.Replace(answer, good, good[:len(good)-1]+string(digit), 1)
			if forged != answer {
				r.receive(r.tcp, forged)
			}
		}
		r.want("0s tcp MESSAGE")
		r.receive(r.tcp, answer)
		r.want("0s up 200")
	})
}

// TestGeneration: a late response does not meet the next transaction in the same place of the table.
func TestGeneration(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		seen := map[string]bool{}
		for range 100 {
			r.send(r.tcp, "MESSAGE")
			b := r.last().Get(sip.HVia)
			if seen[b] {
				t.Fatalf("%s came twice", b)
			}
			seen[b] = true
			late := r.response("MESSAGE", 200)
			r.respond(r.tcp, "MESSAGE", 200)
			r.send(r.tcp, "OPTIONS")
			r.l.Message(late, r.tcp)
			r.want("0s tcp MESSAGE", "0s up 200", "0s tcp OPTIONS", "0s up stray 200")
			r.respond(r.tcp, "OPTIONS", 200)
			r.want("0s up 200")
		}
	})
}

// TestPanics: a handler that panics is answered for, counted, and harms nobody.
func TestPanics(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		r.onRequest = func(*Server) { panic("request") }
		r.receive(r.tcp, request("MESSAGE", branch))
		r.want("0s up MESSAGE", "0s tcp 500", "0s done")
		r.onRequest = nil

		s := r.invite2(branch + "2")
		s.OnCancel(func(*sip.Message) { panic("cancel") })
		s.OnDone(func() { panic("done") })
		r.receive(r.tcp, request("CANCEL", branch+"2"))
		s.Reply(487, "")
		r.receive(r.tcp, request("ACK", branch+"2"))
		r.want("0s up INVITE", "0s tcp 200", "0s tcp 487")

		c := r.l.Send(Hop{Flow: r.tcp}, draft("MESSAGE"), handlerFunc(func(*Client, *sip.Message) { panic("response") }))
		r.respond(r.tcp, "MESSAGE", 100)
		r.respond(r.tcp, "MESSAGE", 200)
		if c.current() != terminated {
			t.Errorf("state %s", c.current())
		}
		r.l.After(time.Second, func() { panic("timer") })
		r.l.After(2*time.Second, func() { r.line("timer") })
		r.wait(3 * time.Second)
		r.want("0s tcp MESSAGE", "2s timer")
		if got := testutil.ToFloat64(r.l.metrics.panics); got != 6 {
			t.Errorf("%v panics counted", got)
		}
	})
}

// invite2 is an INVITE over TCP whose 100 is not waited for.
func (r *rig) invite2(branch string) *Server {
	r.receive(r.tcp, request("INVITE", branch))
	return r.server()
}

// TestOrder: what is passed inside a callback leaves after it, in order; callbacks do not nest.
func TestOrder(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		r.onRequest = func(s *Server) {
			s.Reply(180, "")
			s.Reply(200, "")
			r.line("handler returns")
		}
		r.receive(r.tcp, request("INVITE", branch))
		r.want("0s up INVITE", "0s handler returns", "0s tcp 180", "0s tcp 200")
	})
}

// TestClosing: when the layer stops, what waits is told, and nothing is left.
func TestClosing(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		// run checks that the tables are empty before it stops the layer, so this stops another one.
		l := New(Options{Transport: r})
		l.SetHandler(r)
		l.Send(Hop{Flow: r.tcp}, draft("MESSAGE"), r)
		c := l.Send(Hop{Flow: r.tcp}, draft("INVITE"), r)
		l.Message(r.response("INVITE", 180), r.tcp)
		c.Cancel()
		l.Message(parse(t, []byte(request("INVITE", branch))), r.udp)
		l.After(time.Hour, func() { t.Error("a timer of a stopped layer") })
		ctx, cancel := contextEnded()
		defer cancel()
		if err := l.Serve(ctx); err != nil {
			t.Error(err)
		}
		r.want("0s tcp MESSAGE", "0s tcp INVITE", "0s up 180", "0s tcp CANCEL", "0s up INVITE", "0s failed closed", "0s failed closed", "0s done")
		l.Send(Hop{Flow: r.tcp}, draft("MESSAGE"), r)
		l.Message(parse(t, []byte(request("OPTIONS", branch))), r.udp)
		r.want()
		if server, client := l.InFlight(); server != 0 || client != 0 || len(l.clients.all()) != 0 || l.flows.len() != 0 {
			t.Errorf("left over: %d server, %d client", server, client)
		}
		r.servers = nil
	})
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	New(Options{Registerer: registry})
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
