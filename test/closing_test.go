package test

import (
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// disable closes an account; remove removes it.
func disable(t *testing.T, s *Server, user string) {
	t.Helper()
	if _, err := s.API.Users.SetDisabled(t.Context(), connect.NewRequest(&v1.SetDisabledRequest{Address: AOR(user), Disabled: true})); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, s *Server, user string) {
	t.Helper()
	if _, err := s.API.Users.RemoveUser(t.Context(), connect.NewRequest(&v1.RemoveUserRequest{Address: AOR(user)})); err != nil {
		t.Fatal(err)
	}
}

// hearsBye wants a BYE in a dialog, as the other side would have sent it.
func hearsBye(t *testing.T, u *UA, dlg *Dialog, least uint32) *sip.Message {
	t.Helper()
	m := u.Expect(sip.BYE)
	seq, err := m.CSeq()
	if err != nil || seq.Seq < least {
		t.Errorf("%s: CSeq %q, want %d or more", u.Name, m.Get(sip.HCSeq), least)
	}
	if m.Get(sip.HFrom) != dlg.Remote || m.Get(sip.HTo) != dlg.Local || m.CallID() != dlg.CallID {
		t.Errorf("%s: BYE from %q to %q in %q, the dialog is %q to %q in %q", u.Name, m.Get(sip.HFrom), m.Get(sip.HTo), m.CallID(), dlg.Remote, dlg.Local, dlg.CallID)
	}
	if "<"+m.RequestURI()+">" != u.Contact {
		t.Errorf("%s: BYE to %q, the contact is %q", u.Name, m.RequestURI(), u.Contact)
	}
	if want := `SIP;cause=403;text="Disabled by the administrator"`; m.Get(sip.HReason) != want {
		t.Errorf("%s: Reason %q", u.Name, m.Get(sip.HReason))
	}
	return m
}

// closed wants the one record of how a call ended.
func closed(t *testing.T, s *Server, caller string) {
	t.Helper()
	s.Eventually("the end of the call", func() bool { return len(s.RecordsOf(AOR(caller), "call.end")) > 0 })
	ends := s.RecordsOf(AOR(caller), "call.end")
	if len(ends) != 1 || ends[0].Meta["outcome"] != "closed" || ends[0].Meta["status"] != "403" {
		t.Errorf("the end of the call: %v", ends)
	}
}

// The calls of an account that is disabled or removed end at once, for both sides; those of others go on.
func TestDisabledWhileTalking(t *testing.T) {
	for _, row := range []struct {
		name string
		kind transport.Kind
		user string
		act  func(*testing.T, *Server, string)
	}{
		{"the caller is disabled, TCP", transport.TCP, "alice", disable},
		{"the callee is disabled, UDP", transport.UDP, "bob", disable},
		{"the callee is removed, TLS", transport.TLS, "bob", remove},
		{"the caller is removed, WebSocket", transport.WS, "alice", remove},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := Start(t)
			s.AddUsers("dave")
			from := row.kind
			if from == transport.UDP {
				from = transport.TCP
			}
			alice, bob := s.SignedIn("alice", from), s.SignedIn("bob", row.kind)
			carol, dave := s.SignedIn("carol", transport.TCP), s.SignedIn("dave", transport.TCP)
			theirs, _ := newCall(t, carol, dave)
			caller, callee := newCall(t, alice, bob)
			// CSeq moves on, also by what is challenged.
			d := bob.InDialog(callee, sip.INFO).Body("application/dtmf-relay", []byte("Signal=5\r\nDuration=160\r\n"))
			bob.Write(d.Bytes())
			if row.kind == transport.UDP {
				again, ok := bob.Answered(d, bob.Wait("a challenge", final))
				if !ok {
					t.Fatal("no challenge")
				}
				bob.Write(again.Bytes())
			}
			alice.Reply(alice.Expect(sip.INFO), 200)
			bob.Wait("200 of INFO", final)
			row.act(t, s, row.user)
			toAlice := hearsBye(t, alice, caller, uint32(bob.cseq)+1)
			toBob := hearsBye(t, bob, callee, uint32(caller.Seq)+1)
			if row.user != "alice" {
				alice.Reply(toAlice, 200)
			}
			if row.user != "bob" {
				bob.Reply(toBob, 200)
			}
			closed(t, s, "alice")
			carol.Write(carol.InDialog(theirs, sip.BYE).Bytes())
			dave.Reply(dave.Expect(sip.BYE), 200)
			if m := carol.Wait("200 of BYE", final); m.Status() != 200 {
				t.Errorf("the call of others: %s", Line(m))
			}
		})
	}
}

// While it rings, the caller is refused and the callee's devices stop ringing.
func TestDisabledWhileRinging(t *testing.T) {
	for _, row := range []struct {
		name, user string
		status     int
	}{{"the caller", "alice", 403}, {"the callee", "bob", 480}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := Start(t)
			alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
			bob2 := s.SignedIn("bob2", transport.UDP)
			d := alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0")))
			alice.Write(d.Bytes())
			invites := map[*UA]*sip.Message{bob: bob.Expect(sip.INVITE), bob2: bob2.Expect(sip.INVITE)}
			for u, m := range invites {
				u.Reply(m, 180)
				alice.Wait("180", func(m *sip.Message) bool { return m.Status() == 180 })
			}
			disable(t, s, row.user)
			no := alice.Wait("the refusal", final)
			if no.Status() != row.status {
				t.Errorf("the caller got %s, want %d", Line(no), row.status)
			}
			for u, m := range invites {
				cancel := u.Expect(sip.CANCEL)
				if row.user == "alice" {
					u.Reply(cancel, 200)
					u.Reply(m, 487)
					u.Expect(sip.ACK)
				}
			}
			closed(t, s, "alice")
		})
	}
}

// A device that answers while it is told to stop is told that the call is over, and so does not wait for an ACK.
func TestDisabledWhileAnswering(t *testing.T) {
	s := Start(t)
	alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
	d := alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0")))
	alice.Write(d.Bytes())
	invite := bob.Expect(sip.INVITE)
	bob.Reply(invite, 180)
	alice.Wait("180", func(m *sip.Message) bool { return m.Status() == 180 })
	disable(t, s, "alice")
	bob.Reply(bob.Expect(sip.CANCEL), 200)
	resp := bob.Response(invite, 200, func(d *sip.Draft) { d.Body("application/sdp", []byte(SDP("audio 4001 RTP/AVP 0"))) })
	bob.Write(resp.Bytes())
	answer, _ := resp.Message() // our own
	seq, _ := invite.CSeq()     // it came from our own user agent
	if ack, err := bob.Expect(sip.ACK).CSeq(); err != nil || ack.Seq != seq.Seq {
		t.Errorf("ACK with CSeq %v", ack)
	}
	hearsBye(t, bob, DialogUAS(invite, answer), seq.Seq+1)
	closed(t, s, "alice")
}
