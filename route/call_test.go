package route

import (
	"slices"
	"strings"
	"testing"

	"github.com/parley-im/parley/wire/sip"
)

// mid is a request inside a dialog: Route as the phone learned it.
func mid(method, from, target, fromTag, toTag, callID, branch string, routes []string, headers ...string) string {
	h := ""
	for _, s := range headers {
		h += s + "\n"
	}
	for _, v := range routes {
		h += "Route: " + v + "\n"
	}
	user := strings.TrimRight(from, "0123456789")
	return method + " " + target + " SIP/2.0\nVia: SIP/2.0/TCP 198.51.100.98;branch=z9hG4bK" + branch + "\nMax-Forwards: 70\n" +
		"From: <sip:" + user + "@example.com>;tag=" + fromTag + "\nTo: <sip:x@example.com>;tag=" + toTag + "\nCall-ID: " + callID +
		"\nCSeq: 2 " + method + "\n" + h + "\n"
}

// call sets up a call from alice to bob's one phone and returns the INVITE bob
// got and the 200 alice got.
func call(t *testing.T, r *rig) (invite, ok *sip.Message) {
	t.Helper()
	r.bind("bob@example.com", "bob")
	r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i1"))
	r.get("alice", 100)
	invite = r.get("bob", "INVITE")
	r.answer("bob", invite, 180)
	r.get("alice", 180)
	r.answer("bob", invite, 200)
	return invite, r.get("alice", 200)
}

// RFC 3665 §3.2 and RFC 3261 §16.12.1.1, with both sides' values of ours.
func TestCall(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		invite, ok := call(t, r)
		if invite.RequestURI() != "sip:bob@198.51.100.1:5060;transport=tcp" {
			t.Errorf("Request-URI %s", invite.RequestURI())
		}
		if mf := invite.Get(sip.HMaxForwards); mf != "69" {
			t.Errorf("Max-Forwards %s", mf)
		}
		if mb := invite.Get(sip.HMaxBreadth); mb != "60" {
			t.Errorf("Max-Breadth %s", mb)
		}
		if pai := invite.Get(sip.HPAssertedIdentity); pai != `"alice" <sip:alice@example.com>` {
			t.Errorf("P-Asserted-Identity %s", pai)
		}
		if se := invite.Get(sip.HSessionExpires); se != "1800" {
			t.Errorf("Session-Expires %s", se)
		}
		rr := values(invite, sip.HRecordRoute)
		if len(rr) != 2 || rr[0] == rr[1] || !strings.HasPrefix(rr[0], "<sip:~") || !strings.HasSuffix(rr[0], "@192.0.2.1:5060;transport=tcp;lr>") {
			t.Fatalf("Record-Route %q", rr)
		}
		if n := len(values(ok, sip.HVia)); n != 1 {
			t.Errorf("%d Vias in the 200", n)
		}
		reversed := slices.Clone(rr)
		slices.Reverse(reversed)

		// ACK and BYE of the caller: route set reversed, RFC 3261 §12.1.2.
		target := invite.RequestURI()
		r.from("alice", mid("ACK", "alice", target, "tag-alice", "tag-bob", "call-alice", "a1", reversed))
		ack := r.get("bob", "ACK")
		if ack.Has(sip.HRoute) || ack.Get(sip.HMaxForwards) != "69" || len(values(ack, sip.HVia)) != 2 {
			t.Errorf("ACK:\n%s", ack.Bytes())
		}
		r.from("alice", mid("UPDATE", "alice", target, "tag-alice", "tag-bob", "call-alice", "u1", reversed))
		r.answer("bob", r.get("bob", "UPDATE"), 200)
		r.get("alice", 200)

		// BYE of the callee.
		r.from("bob", mid("BYE", "bob", "sip:alice@198.51.100.99;transport=tcp", "tag-bob", "tag-alice", "call-alice", "b1", rr))
		bye := r.get("alice", "BYE")
		if bye.Has(sip.HRoute) || bye.Has(sip.HRecordRoute) {
			t.Errorf("BYE:\n%s", bye.Bytes())
		}
		r.answer("alice", bye, 200)
		r.get("bob", 200)
		r.quiet("alice", "bob")
		if len(r.outcomes) != 1 || r.outcomes[0].Status != 200 || r.outcomes[0].Target.Device != "bob" {
			t.Errorf("outcomes %+v", r.outcomes)
		}
		if strings.Join(r.seen, " ") != "180 200" {
			t.Errorf("OnResponse saw %v", r.seen)
		}
	})
}

// Both Route values in one row, and only the lower of the two.
func TestRouteOneRow(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		invite, _ := call(t, r)
		rr := values(invite, sip.HRecordRoute)
		r.from("bob", mid("BYE", "bob", "sip:alice@198.51.100.99", "tag-bob", "tag-alice", "call-alice", "b1", []string{rr[0] + " , " + rr[1]}))
		bye := r.get("alice", "BYE")
		if bye.Has(sip.HRoute) {
			t.Errorf("Route left: %s", bye.Get(sip.HRoute))
		}
		r.from("bob", mid("INFO", "bob", "sip:alice@198.51.100.99", "tag-bob", "tag-alice", "call-alice", "b2", rr[1:]))
		r.get("alice", "INFO")
	})
}

// RFC 3261 §16.4: a strict router put our Record-Route value into the
// Request-URI.
func TestStrictRouter(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		invite, _ := call(t, r)
		rr := values(invite, sip.HRecordRoute)
		ours := strings.Trim(rr[1], "<>")
		r.from("bob", mid("BYE", "bob", ours, "tag-bob", "tag-alice", "call-alice", "b1", []string{"<sip:alice@198.51.100.99>"}))
		bye := r.get("alice", "BYE")
		if bye.RequestURI() != "sip:alice@198.51.100.99" || bye.Has(sip.HRoute) {
			t.Errorf("BYE:\n%s", bye.Bytes())
		}
	})
}

// Hostile 20: a flow token that was changed, used in another call, or cut.
func TestTokenTampering(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		invite, _ := call(t, r)
		rr := values(invite, sip.HRecordRoute)
		bye := func(branch, callID string, routes []string) int {
			r.from("bob", mid("BYE", "bob", "sip:alice@198.51.100.99", "tag-bob", "tag-alice", callID, branch, routes))
			m := r.next("bob")
			if m == nil {
				t.Fatal("no answer")
			}
			return m.Status()
		}
		at := strings.Index(rr[1], "@")
		for i := len("<sip:~"); i < at; i++ {
			c := byte('A')
			if rr[1][i] == c {
				c = 'B'
			}
			forged := rr[1][:i] + string(c) + rr[1][i+1:]
			if got := bye("t"+string(rune('a'+i%26))+rr[1][i:i+1]+strings.Repeat("x", i), "call-alice", []string{rr[0], forged}); got != 403 {
				t.Fatalf("byte %d changed: %d", i, got)
			}
		}
		for name, routes := range map[string][]string{
			"cut":      {rr[0], rr[1][:at-4] + rr[1][at:]},
			"empty":    {rr[0], "<sip:~@192.0.2.1:5060;lr>"},
			"long":     {rr[0], "<sip:~" + strings.Repeat("A", 4000) + "@192.0.2.1:5060;lr>"},
			"no token": {"<sip:192.0.2.1:5060;lr>"},
			"unmarked": {rr[0], strings.Replace(rr[1], "~", "", 1)},
		} {
			if got := bye("n"+name[:2], "call-alice", routes); got < 400 || got > 499 {
				// "unmarked" still has bob's own side on top.
				if name != "unmarked" {
					t.Errorf("%s: %d", name, got)
				}
			}
		}
		if got := bye("other", "call-other", rr); got != 403 {
			t.Errorf("token of another call: %d", got)
		}
		r.quiet("alice")
	})
}

// A flow that is gone: another one through the binding, or 430.
func TestFlowGone(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		invite, _ := call(t, r)
		rr := values(invite, sip.HRecordRoute)
		r.phone("alice").flow.Close("test")
		r.from("bob", mid("BYE", "bob", "sip:alice@198.51.100.99", "tag-bob", "tag-alice", "call-alice", "b1", rr))
		r.get("bob", 430)

		r.contacts["sip:alice@198.51.100.99"] = []Target{{URI: "sip:alice@198.51.100.99", AOR: "alice@example.com", Hop: hop(r.phone("alice2"))}}
		r.from("bob", mid("BYE", "bob", "sip:alice@198.51.100.99", "tag-bob", "tag-alice", "call-alice", "b2", rr))
		r.answer("alice2", r.get("alice2", "BYE"), 200)
		r.get("bob", 200)

		// An ACK has no answer: it is dropped.
		delete(r.contacts, "sip:alice@198.51.100.99")
		r.from("bob", mid("ACK", "bob", "sip:alice@198.51.100.99", "tag-bob", "tag-alice", "call-alice", "b3", rr))
		r.quiet("bob", "alice", "alice2")
	})
}

// RFC 5627 §5.1: the Request-URI is a GRUU; the device may have moved.
func TestGRUUInDialog(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		invite, _ := call(t, r)
		rr := values(invite, sip.HRecordRoute)
		gruu := "sip:alice@example.com;gr=urn:uuid:1"
		key := "alice@example.com;gr=urn:uuid:1"
		contact := func(phone string) Target {
			return Target{URI: "sip:" + phone + "@abc.invalid;transport=ws", AOR: "alice@example.com", Instance: "urn:uuid:1", Hop: hop(r.phone(phone))}
		}
		// The dialog's own flow is preferred.
		r.bindings[key] = []Target{contact("alice2"), contact("alice")}
		r.from("bob", mid("INFO", "bob", gruu, "tag-bob", "tag-alice", "call-alice", "b1", rr))
		m := r.get("alice", "INFO")
		if m.RequestURI() != "sip:alice@abc.invalid;transport=ws" {
			t.Errorf("Request-URI %s", m.RequestURI())
		}
		// It came back over another connection.
		r.phone("alice").flow.Close("test")
		r.from("bob", mid("INFO", "bob", gruu, "tag-bob", "tag-alice", "call-alice", "b2", rr))
		r.get("alice2", "INFO")
		r.from("bob", mid("ACK", "bob", gruu, "tag-bob", "tag-alice", "call-alice", "b3", rr))
		r.get("alice2", "ACK")
		// Even without its Route set.
		r.from("bob", mid("BYE", "bob", gruu, "tag-bob", "tag-alice", "call-alice", "b4", nil))
		r.get("alice2", "BYE")
		r.bindings[key] = nil
		r.from("bob", mid("INFO", "bob", gruu, "tag-bob", "tag-alice", "call-alice", "b5", rr))
		r.get("bob", 430)
	})
}

// What was recorded for one person goes to nobody else, whoever the sender writes into the Request-URI.
func TestOnlyToThePeer(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		invite, _ := call(t, r)
		rr := values(invite, sip.HRecordRoute)
		r.mux.HandleInDialog(sip.MESSAGE, HandlerFunc(func(q *Request) { r.proxy.ForwardInDialog(q, Options{Only: "alice@example.com"}) }))
		of := func(aor, phone string) []Target {
			return []Target{{URI: "sip:" + phone + "@abc.invalid;transport=ws", AOR: aor, Instance: "urn:uuid:1", Hop: hop(r.phone(phone))}}
		}
		const gruu, contact = "sip:carol@example.com;gr=urn:uuid:1", "sip:carol@198.51.100.99"
		r.bindings["carol@example.com;gr=urn:uuid:1"] = of("carol@example.com", "carol")
		r.contacts[contact] = of("carol@example.com", "carol")
		r.from("bob", mid("MESSAGE", "bob", gruu, "tag-bob", "tag-alice", "call-alice", "b1", rr))
		r.get("alice", "MESSAGE") // over the dialog's own flow
		r.phone("alice").flow.Close("test")
		for n, uri := range []string{gruu, contact} {
			r.from("bob", mid("MESSAGE", "bob", uri, "tag-bob", "tag-alice", "call-alice", "c"+string(rune('0'+n)), rr))
			r.get("bob", 430)
		}
		far := append(slices.Clone(rr), "<sip:198.51.100.77;lr>")
		r.from("bob", mid("MESSAGE", "bob", "sip:alice@198.51.100.99", "tag-bob", "tag-alice", "call-alice", "d1", far))
		r.get("bob", 430)
		r.contacts["sip:alice@198.51.100.99"] = of("alice@example.com", "alice2")
		r.from("bob", mid("MESSAGE", "bob", "sip:alice@198.51.100.99", "tag-bob", "tag-alice", "call-alice", "d2", rr))
		r.get("alice2", "MESSAGE")
		r.quiet("carol")
	})
}

// A token in a request that begins a dialog says nothing; a To tag that was
// made up does not help a stranger, nor a signed-in user to another call.
func TestTokenOutsideDialog(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		invite, _ := call(t, r)
		rr := values(invite, sip.HRecordRoute)
		text := request("MESSAGE", "bob", "sip:alice@198.51.100.99", "m1", "Route: "+rr[0], "Route: "+rr[1])
		text = strings.Replace(text, "call-bob", "call-alice", 1)
		r.from("bob", text)
		r.get("bob", 403)
		r.from("stranger", mid("BYE", "bob", "sip:alice@198.51.100.99", "tag-bob", "tag-alice", "call-alice", "s1", rr))
		if m := r.get("stranger", 407); !m.Has(sip.HProxyAuthenticate) {
			t.Error("407 without a challenge")
		}
		// MESSAGE has no in-dialog handler here: it must not pass unrecorded.
		r.from("bob", mid("MESSAGE", "bob", "sip:alice@198.51.100.99", "tag-bob", "tag-alice", "call-alice", "m2", rr))
		if m := r.next("bob"); m == nil || m.Status() < 400 {
			t.Error("unrecorded MESSAGE")
		}
		r.quiet("alice")
	})
}
