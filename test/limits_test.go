package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// around are the sizes at which a limit is tested, and whether each is within it.
func around(n int) map[int]bool { return map[int]bool{n - 1: true, n: true, n + 1: false} }

// padded makes a request whose bytes up to the body are exactly size.
func padded(r *Raw, size int) *Raw {
	const line = 4000
	r.Add("X-Pad: ")
	for missing := size - len(r.Bytes()); missing > 0; missing = size - len(r.Bytes()) {
		// A full line, but leave room for the next one to have a name.
		n := missing
		if n > line {
			n = min(line, missing-20)
		}
		last := len(r.lines) - 2 // the pad before Content-Length
		r.lines[last] += strings.Repeat("x", n)
		if len(r.Bytes()) < size {
			r.Add("X-Pad: ")
		}
	}
	return r
}

// TestLimits tries the limits of the manual at n-1, n and n+1.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := Start(t, func(c *config.Config) {
		c.Limits.Datagram = 20_000
		c.Limits.Subscriptions = 3
	})
	l := s.Config.Limits
	options := func(p *Peer) *Raw { return p.Raw(sip.OPTIONS, "alice", "sip:example.com") }
	// try sends a request from a stranger: 407 within the limit, else 400, or the end, or nothing over UDP.
	try := func(t *testing.T, kind transport.Kind, name string, within bool, build func(*Peer) []byte, beyond ...int) {
		t.Helper()
		p := s.Dial(kind).For(t)
		defer p.Close()
		data := build(p)
		if within {
			p.Answers(t, data, 407)
		} else if len(beyond) > 0 {
			p.Answers(t, data, beyond...)
		} else {
			p.Refuses(t, data)
		}
		if t.Failed() {
			t.Fatalf("%v: %s (%d bytes)", kind, name, len(data))
		}
	}
	t.Run("datagram", func(t *testing.T) {
		for n, within := range around(l.Datagram) {
			try(t, transport.UDP, fmt.Sprint(n), within, func(p *Peer) []byte {
				r := options(p).Body("application/sdp", "")
				r.Set("Content-Length", fmt.Sprint(10_000+n-l.Datagram))
				return append(padded(r, l.Datagram-10_000).Bytes(), strings.Repeat("x", 10_000+n-l.Datagram)...)
			}, 413)
		}
	})
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			for n, within := range around(l.HeaderBytes) {
				try(t, kind, "header block", within, func(p *Peer) []byte { return padded(options(p), n).Bytes() }, 400)
			}
			for n, within := range around(l.Headers) {
				try(t, kind, "headers", within, func(p *Peer) []byte {
					r := options(p)
					for len(r.lines)-1 < n {
						r.Add("X-Y: z")
					}
					return r.Bytes()
				}, 400)
			}
			for n, within := range around(l.Vias) {
				for _, sep := range []string{"\r\nVia: ", ", "} {
					try(t, kind, "Vias", within, func(p *Peer) []byte {
						return options(p).Set("Via", p.Via()+strings.Repeat(sep+"SIP/2.0/UDP h;branch=z9hG4bKa", n-1)).Bytes()
					}, 400)
				}
			}
			for n, within := range around(l.Line) {
				try(t, kind, "line", within, func(p *Peer) []byte { return options(p).Set("X-Y", strings.Repeat("x", n-len("X-Y: "))).Bytes() }, 400)
				try(t, kind, "folded line", within, func(p *Peer) []byte {
					fold := "a\r\n b" // the line end inside does not count
					return options(p).Set("X-Y", fold+strings.Repeat("x", n-len("X-Y: ")-len(fold)+2)).Bytes()
				}, 400)
			}
			for n, within := range map[int]bool{0: true, 1: true, 70: true, 254: true, 255: true, 256: false} {
				// A request to the server itself ends here, so 0 is as good as any.
				try(t, kind, "Max-Forwards", within, func(p *Peer) []byte { return options(p).Set("Max-Forwards", fmt.Sprint(n)).Bytes() }, 400)
			}
		})
	}
	t.Run("body", func(t *testing.T) {
		bob := s.SignedIn("bob", transport.TCP).tester(t)
		for _, kind := range []transport.Kind{transport.TCP, transport.TLS, transport.WS, transport.WSS} {
			if kind == transport.WSS {
				continue // the HTTP door of this server is without TLS
			}
			alice := s.SignedIn("alice", kind).tester(t)
			for n, within := range around(l.Body) {
				began := time.Now()
				d := alice.MessageRequest("bob", strings.Repeat("b", n))
				alice.Write(d.Bytes())
				if within {
					if m := bob.Expect(sip.MESSAGE); len(m.Body()) != n {
						t.Errorf("%v: bob got %d bytes of %d", kind, len(m.Body()), n)
					} else {
						bob.Reply(m, 200)
					}
				}
				m := alice.Final(d)
				if within && !Taken(m, began) || !within && (m.Status() != 413 || !strings.Contains(m.Get(sip.HWarning), "64 kB")) {
					t.Errorf("%v: a body of %d bytes: %s", kind, n, Line(m))
				}
			}
			// Far beyond: nobody waits for the bytes.
			p := s.Dial(kind).For(t)
			huge := p.Raw(sip.MESSAGE, "alice", "bob").Set("Content-Length", "100000000").Bytes()
			if kind == transport.WS {
				p.Refuses(t, huge, 400, 413)
			} else {
				p.Answers(t, huge, 413)
				p.waitClosed(t)
			}
		}
		bob.Silent(sip.MESSAGE)
	})
	t.Run("Max-Forwards on the way", func(t *testing.T) {
		bob, alice := s.SignedIn("bob", transport.TCP).tester(t), s.SignedIn("alice", transport.TCP).tester(t)
		for n, want := range map[string]string{"1": "0", "2": "1", "70": "69", "255": "254"} {
			d := alice.Request(sip.OPTIONS, "bob").Set(sip.HMaxForwards, n)
			alice.Write(d.Bytes())
			m := bob.Expect(sip.OPTIONS)
			if got := m.Get(sip.HMaxForwards); got != want {
				t.Errorf("%s became %s, want %s", n, got, want)
			}
			bob.Reply(m, 200)
			alice.Final(d)
		}
		d := alice.Request(sip.OPTIONS, "bob").Remove(sip.HMaxForwards)
		alice.Write(d.Bytes())
		m := bob.Expect(sip.OPTIONS)
		if got := m.Get(sip.HMaxForwards); got != "70" { // RFC 3261 §16.6 step 3
			t.Errorf("none became %q", got)
		}
		bob.Reply(m, 200)
		if m := alice.Do(alice.Request(sip.OPTIONS, "bob").Set(sip.HMaxForwards, "0")); m.Status() != 483 {
			t.Errorf("0: %s", Line(m))
		}
	})
	t.Run("XML depth", func(t *testing.T) {
		alice := s.SignedIn("alice", transport.TCP).tester(t)
		const most = 4 // levels of a typing notice
		for n, within := range around(most) {
			inside := strings.Repeat("<x>", n-1) + strings.Repeat("</x>", n-1)
			doc := `<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state>` + inside + `</isComposing>`
			m := alice.Do(alice.Request(sip.MESSAGE, "carol").Body("application/im-iscomposing+xml", []byte(doc)))
			if within != (m.Status() == 200) || !within && m.Status() != 400 {
				t.Errorf("%d levels: %s", n, Line(m))
			}
		}
	})
	t.Run("subscriptions", func(t *testing.T) {
		alice := s.SignedIn("alice", transport.TCP).tester(t)
		for n := range l.Subscriptions + 1 {
			m := alice.Do(alice.Request(sip.SUBSCRIBE, "alice").Add(sip.HEvent, "reg").Add(sip.HExpires, "600").Add(sip.HContact, alice.Contact))
			if within := n < l.Subscriptions; within != (m.Status() == 200) || !within && m.Status() != 403 {
				t.Errorf("subscription %d: %s", n+1, Line(m))
			}
		}
	})
	t.Run("contacts", func(t *testing.T) {
		for n, within := range around(s.Config.Register.Contacts) {
			u := s.UA("carol", transport.TCP).tester(t)
			d := u.RegisterRequest(600).Remove(sip.HContact)
			for i := range n {
				d.Add(sip.HContact, fmt.Sprintf("<sip:carol@192.0.2.1:%d>", 1000+i))
			}
			if m := u.Do(d); within != (m.Status() == 200) || !within && m.Status() != 400 {
				t.Errorf("%d contacts: %s", n, Line(m))
			}
		}
	})
}

// tester makes errors of a user agent those of a subtest, and closes it at its end.
func (u *UA) tester(t *testing.T) *UA {
	u.For(t)
	t.Cleanup(u.Close)
	return u
}

// TestLimitTransactions fills the table of server transactions with calls that ring.
func TestLimitTransactions(t *testing.T) {
	t.Parallel()
	const most = 16
	s := Start(t, func(c *config.Config) { c.Limits.Transactions = most })
	alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
	var calls []*sip.Draft
	var ringing []*sip.Message
	for range most {
		d := alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact)
		alice.Write(d.Bytes())
		calls = append(calls, d)
		m := bob.Expect(sip.INVITE)
		ringing = append(ringing, m)
		bob.Reply(m, 180)
	}
	m := alice.Ask(alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact))
	if m.Status() != 503 || !m.Has(sip.HRetryAfter) {
		t.Errorf("one too many: %s with Retry-After %q", Line(m), m.Get(sip.HRetryAfter))
	}
	if m := alice.Ask(alice.MessageRequest("bob", "one too many")); m.Status() != 503 {
		t.Errorf("one too many: %s", Line(m))
	}
	// When one has ended there is room again.
	for i, m := range ringing {
		bob.Reply(m, 486)
		if got := alice.Final(calls[i]); got.Status() != 486 {
			t.Errorf("call %d: %s", i+1, Line(got))
		}
		bob.Expect(sip.ACK)
	}
	exchange(t, alice, bob, "there is room")
}

// TestLimitBreadth forks to more devices than Max-Breadth allows (RFC 5393 §5).
func TestLimitBreadth(t *testing.T) {
	t.Parallel()
	s := Start(t, func(c *config.Config) { c.Limits.MaxBreadth = 2 })
	alice := s.SignedIn("alice", transport.TCP)
	one, two := s.SignedIn("bob1", transport.TCP), s.SignedIn("bob2", transport.TCP)
	d := alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact)
	alice.Write(d.Bytes())
	breadth := 0
	for _, u := range []*UA{one, two} {
		m := u.Expect(sip.INVITE)
		n, _ := m.Int(sip.HMaxBreadth)
		breadth += int(n)
		u.Reply(m, 486)
	}
	if breadth != 2 {
		t.Errorf("the branches have %d in all", breadth)
	}
	if m := alice.Final(d); m.Status() != 486 {
		t.Errorf("two devices: %s", Line(m))
	}
	s.SignedIn("bob3", transport.TCP)
	if m := alice.Do(alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact)); m.Status() != 440 {
		t.Errorf("three devices: %s", Line(m))
	}
	if m := alice.Do(alice.Request(sip.INVITE, "bob1").Set(sip.HMaxBreadth, "0").SetURI("sip:bob@example.com").Add(sip.HContact, alice.Contact)); m.Status() != 440 {
		t.Errorf("Max-Breadth 0: %s", Line(m))
	}
}

// TestMethods has a shorter list of methods: 405 with Allow for what is left out, 501 for what nobody knows.
func TestMethods(t *testing.T) {
	t.Parallel()
	s := Start(t, func(c *config.Config) { c.SIP.Methods = []string{"REGISTER", "MESSAGE", "OPTIONS"} })
	alice := s.SignedIn("alice", transport.TCP)
	for method, want := range map[string]int{sip.INVITE: 405, sip.INFO: 405, sip.SUBSCRIBE: 405, "PING": 501, "message": 501, sip.MESSAGE: 202, sip.OPTIONS: 480} {
		m := alice.Do(alice.Request(method, "bob").Add(sip.HContact, alice.Contact))
		if m.Status() != want {
			t.Errorf("%s: %s, want %d", method, Line(m), want)
		}
		if want == 405 && (m.HasToken(sip.HAllow, method) || !m.HasToken(sip.HAllow, sip.MESSAGE)) {
			t.Errorf("%s: Allow %q", method, m.Get(sip.HAllow))
		}
	}
}

// TestNoAnswer is RFC 3665 §3.10: the device is silent, and the caller hears 408 when Timer B has run.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.UDP)
	d := alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact)
	alice.Write(d.Bytes())
	bob.Expect(sip.INVITE)
	m, err := alice.Find(32*time.Second+Patience, final)
	if err != nil || m.Status() != 408 {
		t.Fatalf("%v %v", m, err)
	}
	// RFC 3261 §17.1.1.2: 7 in 32 s, the last of them half a second before the end, which a busy machine may miss. The
	// tests of package transaction have the times.
	if n := bob.Repeats(); n != 6 && n != 5 {
		t.Errorf("the INVITE was sent %d times, want 7", n+1)
	}
	s.Eventually("the call's end in the log", func() bool {
		ends := s.Records("call.end")
		return len(ends) == 1 && ends[0].Meta["outcome"] == "no answer" && ends[0].Meta["status"] == "408"
	})
}

// TestLimitRate sends faster than one user may: 503 with Retry-After, nothing lost of what was taken, others unhindered.
func TestLimitRate(t *testing.T) {
	t.Parallel()
	const rate = 5
	s := Start(t, func(c *config.Config) { c.Message.Rate = rate })
	alice, bob, carol := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP), s.SignedIn("carol", transport.TCP)
	const most = 100
	began := time.Now()
	for i := range most {
		alice.Write(alice.MessageRequest("bob", fmt.Sprint(i)).Bytes())
	}
	taken, refused := 0, 0
	for answered := 0; answered < most; {
		arrived, m := Either(alice, bob, sip.MESSAGE)
		if arrived != nil {
			taken++
			bob.Reply(arrived, 200)
			continue
		}
		answered++
		switch m.Status() {
		case 200, 202:
		case 503:
			refused++
			if !m.Has(sip.HRetryAfter) || !strings.Contains(m.Get(sip.HWarning), "faster") {
				t.Errorf("%s with Retry-After %q", Line(m), m.Get(sip.HRetryAfter))
			}
		default:
			t.Errorf("%s", Line(m))
		}
	}
	if took := int(time.Since(began) / time.Second); taken+refused != most || taken < rate || taken > rate*(8+took) {
		t.Errorf("%d taken and %d refused of %d at %d a second", taken, refused, most, rate)
	}
	if n := len(s.Texts("alice", "bob")); n != taken {
		t.Errorf("%d in the log, %d delivered", n, taken)
	}
	exchange(t, carol, bob, "from somebody else")
}
