package route

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/sip"
)

// TestSteps has a row for each check of RFC 3261 §16.3, §8.2 and our own
// rules. Strangers see the answers of the checks before authentication too.
func TestSteps(t *testing.T) {
	for _, row := range []struct {
		name     string
		text     string
		signedIn int
		stranger int
		header   sip.HeaderID // must be in the signed-in answer
		value    string       // and contain this
	}{
		{"CSeq of another method", request("OPTIONS", "alice", "sip:example.com", "1", "CSeq: 1 INVITE"), 400, 400, sip.HVia, ""},
		{"unknown method", request("NEWMETHOD", "alice", "sip:bob@example.com", "1"), 501, 501, sip.HAllow, "INVITE"},
		{"lower case method", request("invite", "alice", "sip:bob@example.com", "1"), 501, 501, sip.HAllow, "INVITE"},
		{"known method nobody takes", request("PUBLISH", "alice", "sip:bob@example.com", "1"), 405, 405, sip.HAllow, "REGISTER"},
		{"unknown scheme", request("OPTIONS", "alice", "nobodyKnowsThisScheme:totallyopaquecontent", "1"), 416, 416, sip.HVia, ""},
		{"tel", request("INVITE", "alice", "tel:+15551234", "1"), 416, 416, sip.HVia, ""},
		{"zero hops (RFC 4475 zeromf)", request("OPTIONS", "alice", "sip:bob@example.com", "1", "Max-Forwards: 0"), 483, 483, sip.HVia, ""},
		{"zero hops, to the server", request("OPTIONS", "alice", "sip:example.com", "1", "Max-Forwards: 0"), 200, 407, sip.HAllow, "REFER"},
		{"zero hops, REGISTER", request("REGISTER", "alice", "sip:example.com", "1", "Max-Forwards: 0"), 200, 401, sip.HVia, ""},
		{"zero hops, REGISTER elsewhere", request("REGISTER", "alice", "sip:example.org", "1", "Max-Forwards: 0"), 483, 483, sip.HVia, ""},
		{"zero hops, MESSAGE", request("MESSAGE", "alice", "sip:bob@example.com", "1", "Max-Forwards: 0"), 483, 483, sip.HVia, ""},
		{"one hop", request("MESSAGE", "alice", "sip:bob@example.com", "1", "Max-Forwards: 1"), 200, 407, sip.HVia, ""},
		{"Proxy-Require (RFC 4475 bext01)", request("OPTIONS", "alice", "sip:bob@example.com", "1",
			"Require: nothingSupportsThis, nothingSupportsThisEither", "Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis"),
			420, 420, sip.HUnsupported, "noProxiesSupportThis, norDoAnyProxiesSupportThis"},
		{"Require at an endpoint", request("MESSAGE", "alice", "sip:bob@example.com", "1", "Require: path, foo"), 420, 407, sip.HUnsupported, "foo"},
		{"known Require at an endpoint", request("MESSAGE", "alice", "sip:bob@example.com", "1", "Require: path"), 200, 407, sip.HVia, ""},
		{"another's From", strings.Replace(request("MESSAGE", "alice", "sip:bob@example.com", "1"), "From: <sip:alice", "From: <sip:carol", 1), 403, 407, sip.HWarning, "signed in"},
		{"From of another domain", strings.Replace(request("MESSAGE", "alice", "sip:bob@example.com", "1"), "From: <sip:alice@example.com", "From: <sip:alice@example.org", 1), 403, 407, sip.HWarning, ""},
		{"From with port and escapes", strings.Replace(request("MESSAGE", "alice", "sip:bob@example.com", "1"), "From: <sip:alice@example.com", "From: <sip:%61lice@EXAMPLE.com:5060;x=y", 1), 200, 407, sip.HVia, ""},
		{"leaving", request("MESSAGE", "alice", "sip:bob@example.org", "1"), 403, 407, sip.HWarning, "federation is not configured"},
		{"leaving by Route", request("MESSAGE", "alice", "sip:bob@example.com", "1", "Route: <sip:relay.example.org;lr>"), 403, 407, sip.HWarning, "federation"},
		{"leaving by a second Route", request("MESSAGE", "alice", "sip:bob@example.com", "1", "Route: <sip:example.com;lr>, <sip:relay.example.org;lr>"), 403, 407, sip.HWarning, "federation"},
		{"preloaded Route to us", request("MESSAGE", "alice", "sip:bob@example.com", "1", "Route: <sip:192.0.2.1:5060;transport=tcp;lr>"), 200, 407, sip.HVia, ""},
		{"bad Route", request("MESSAGE", "alice", "sip:bob@example.com", "1", "Route: <<>>"), 400, 400, sip.HVia, ""},
		{"maddr of ours", request("MESSAGE", "alice", "sip:bob@example.com;maddr=192.0.2.1;transport=tcp", "1"), 200, 407, sip.HVia, ""},
		{"unknown event", request("SUBSCRIBE", "alice", "sip:bob@example.com", "1", "Event: foo"), 489, 407, sip.HAllowEvents, "reg"},
		{"known event", request("SUBSCRIBE", "alice", "sip:bob@example.com", "1", "Event: REG;id=1"), 200, 407, sip.HVia, ""},
		{"Require of an event", request("SUBSCRIBE", "alice", "sip:bob@example.com", "1", "Event: reg", "Require: foo"), 420, 407, sip.HUnsupported, "foo"},
		{"BYE of no dialog", request("BYE", "alice", "sip:bob@example.com|x", "1"), 481, 407, sip.HVia, ""},
		{"INFO of no dialog", request("INFO", "alice", "sip:bob@example.com", "1"), 481, 407, sip.HVia, ""},
		{"NOTIFY of no dialog", request("NOTIFY", "alice", "sip:bob@example.com", "1", "Event: reg", "Subscription-State: active"), 481, 407, sip.HVia, ""},
		{"REFER in no dialog", request("REFER", "alice", "sip:bob@example.com|x", "1", "Refer-To: <sip:c@example.com>"), 481, 407, sip.HVia, ""},
		{"OPTIONS to nobody", request("OPTIONS", "alice", "sip:nobody@example.com", "1"), 404, 407, sip.HVia, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.from("alice", row.text)
				m := r.get("alice", row.signedIn)
				if !strings.Contains(m.Get(row.header), row.value) || !m.Has(row.header) {
					t.Errorf("%v: %q, want %q", row.header, m.Get(row.header), row.value)
				}
				r.from("stranger", strings.Replace(row.text, "branch=z9hG4bK", "branch=z9hG4bKs", 1))
				r.get("stranger", row.stranger)
				if row.signedIn != 200 && len(r.mine) > 0 {
					t.Errorf("handled: %v", r.mine)
				}
			})
		})
	}
}

// Hostile 4: an identity its sender made up, in every spelling.
func TestTrustedHeaders(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		forged := []string{
			"P-Asserted-Identity: <sip:boss@example.com>",
			"P-Asserted-Identity : <sip:boss@example.com>",
			"p-asserted-identity:<sip:boss@example.com>",
			"P-ASSERTED-IDENTITY\t:\n <sip:boss@example.com>",
			"P-Asserted-Identity: <sip:x@example.com>,\n <sip:boss@example.com>",
			"P-Preferred-Identity: <sip:boss@example.com>",
			"Remote-Party-ID: <sip:boss@example.com>;party=calling",
			"remote-party-id  : <sip:boss@example.com>",
			"P-Served-User: <sip:boss@example.com>",
		}
		for i, h := range forged {
			r.from("alice", request("MESSAGE", "alice", "sip:bob@example.com", fmt.Sprint("m", i), h))
			r.get("alice", 200)
		}
		for _, s := range r.mine {
			if s != "MESSAGE alice@example.com " {
				t.Errorf("the handler saw %q", s)
			}
		}
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i", forged...))
		r.get("alice", 100)
		i := r.get("bob", "INVITE")
		if strings.Contains(string(i.Bytes()), "boss") {
			t.Errorf("forwarded:\n%s", i.Bytes())
		}
		if v := i.Get(sip.HPAssertedIdentity); v != `"alice" <sip:alice@example.com>` || i.Count(sip.HPAssertedIdentity) != 1 {
			t.Errorf("ours: %q", v)
		}
		r.answer("bob", i, 180, func(d *sip.Draft) {
			d.AddName("P-Asserted-Identity", "<sip:boss@example.com>")
			d.AddName("Remote-Party-ID", "<sip:boss@example.com>")
		})
		if m := r.get("alice", 180); strings.Contains(string(m.Bytes()), "boss") {
			t.Errorf("in a response:\n%s", m.Bytes())
		}
	})
}

// RFC 3323 §4.2, RFC 3325 §7.
func TestPrivacy(t *testing.T) {
	for _, row := range []struct {
		privacy string
		says    bool
	}{{"none", true}, {"id", false}, {"header;ID", false}, {"user;critical", false}, {"session", true}} {
		run(t, func(t *testing.T, r *rig) {
			r.bind("bob@example.com", "bob")
			r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i", "Privacy: "+row.privacy))
			r.get("alice", 100)
			if got := r.get("bob", "INVITE").Has(sip.HPAssertedIdentity); got != row.says {
				t.Errorf("Privacy %s: P-Asserted-Identity %v", row.privacy, got)
			}
		})
	}
}

// Answers to our own challenges stay here; those for others pass.
func TestCredentialsDropped(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		ours := `Digest username="alice", realm="example.com", nonce="n", uri="sip:bob@example.com", response="0123456789abcdef0123456789abcdef"`
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i", "Proxy-Authorization: "+ours, "Authorization: "+ours, "Authorization: Basic YWxpY2U6c2VjcmV0",
			"Proxy-Authorization: "+strings.Replace(ours, `realm="example.com"`, `realm="elsewhere"`, 1)))
		r.get("alice", 100)
		i := r.get("bob", "INVITE")
		if i.Has(sip.HAuthorization) || i.Count(sip.HProxyAuthorization) != 1 || !strings.Contains(i.Get(sip.HProxyAuthorization), "elsewhere") {
			t.Errorf("forwarded:\n%s", i.Bytes())
		}
	})
}

// RFC 3261 §8.2.2.2, with a table of four.
func TestMerged(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		var held []*Request
		r.mux.Handle(sip.REGISTER, HandlerFunc(func(q *Request) { held = append(held, q) }))
		r.from("alice", request("REGISTER", "alice", "sip:example.com", "1"))
		r.from("alice", request("REGISTER", "alice", "sip:example.com", "2"))
		r.get("alice", 482)
		// Another CSeq, or answered already, is no merge.
		r.from("alice", request("REGISTER", "alice", "sip:example.com", "3", "CSeq: 2 REGISTER"))
		held[0].Reply(200, "")
		r.get("alice", 200)
		r.from("alice", request("REGISTER", "alice", "sip:example.com", "4"))
		if len(held) != 3 {
			t.Fatalf("%d requests passed, want 3", len(held))
		}
		// Bounded: four more push the oldest out.
		for i := range 4 {
			r.from("alice", request("REGISTER", "alice", "sip:example.com", fmt.Sprint("x", i), fmt.Sprintf("CSeq: %d REGISTER", 10+i)))
		}
		r.from("alice", request("REGISTER", "alice", "sip:example.com", "5"))
		if len(held) != 8 {
			t.Errorf("%d requests passed, want 8", len(held))
		}
		for _, q := range held {
			q.Reply(200, "")
		}
	})
}

// Requests that were answered are not kept: 10,000 of them would hold 45 MB.
func TestMergedForgets(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		var held []*Request
		r.mux.Handle(sip.REGISTER, HandlerFunc(func(q *Request) { held = append(held, q) }))
		for i := range 3 {
			r.from("alice", request("REGISTER", "alice", "sip:example.com", fmt.Sprint(i), fmt.Sprintf("CSeq: %d REGISTER", i+1)))
		}
		table := newMergeTable(10)
		table.merged(held[0])
		table.merged(held[1])
		held[0].Reply(200, "")
		held[1].Reply(200, "")
		table.merged(held[2])
		if n, m := table.next-table.first, len(table.seen); n != 1 || m != 1 {
			t.Errorf("%d and %d requests are remembered, want 1: only one is still being answered", n, m)
		}
		held[2].Reply(200, "")
	})
}

// Each of many requests that are still being answered is remembered, however often the table has grown.
func TestMergedMany(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		var held []*Request
		r.mux.Handle(sip.REGISTER, HandlerFunc(func(q *Request) { held = append(held, q) }))
		const n = 40 // more than the chain's own table holds
		for i := range 2 * n {
			r.from("alice", request("REGISTER", "alice", "sip:example.com", fmt.Sprint(i), fmt.Sprintf("CSeq: %d REGISTER", i%n+1)))
		}
		table := newMergeTable(n + 10)
		for i, q := range held {
			if table.merged(q) != (i >= n) {
				t.Errorf("request %d of %d: merged is %v", i, len(held), i < n)
			}
		}
		for _, q := range held {
			q.Reply(200, "")
		}
	})
}

// A panic in a handler costs one request.
func TestPanic(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.mux.Handle(sip.MESSAGE, HandlerFunc(func(*Request) { panic("test") }))
		r.from("alice", request("MESSAGE", "alice", "sip:bob@example.com", "1"))
		r.get("alice", 500)
		r.from("alice", request("OPTIONS", "alice", "sip:example.com", "2"))
		r.get("alice", 200)
	})
}

// The text of a Warning cannot leave its quotes or its line.
func TestWarn(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.mux.Handle(sip.MESSAGE, HandlerFunc(func(q *Request) {
			q.Reply(403, "", Warn("a \"quoted\"\r\nX: y\\"), RetryAfter(7))
		}))
		r.from("alice", request("MESSAGE", "alice", "sip:bob@example.com", "1"))
		m := r.get("alice", 403)
		if got := m.Get(sip.HWarning); got != `399 parley "a 'quoted'  X: y'"` || m.Get(sip.HRetryAfter) != "7" {
			t.Errorf("Warning %q, Retry-After %q", got, m.Get(sip.HRetryAfter))
		}
	})
}

// TestSessionTimer has a row for each case of RFC 4028 §8.1 and §8.2.
func TestSessionTimer(t *testing.T) {
	type h = []string
	for _, row := range []struct {
		name     string
		headers  h
		status   int // 422, or 0
		se, min  string
		answer   string // Session-Expires of the callee
		upstream string // Session-Expires the caller sees
		require  bool
	}{
		{"inserted; nobody supports it", nil, 0, "1800", "", "", "", false},
		{"inserted; the caller supports it", h{"Supported: timer"}, 0, "1800", "", "", "1800;refresher=uac", true},
		{"inserted; the callee answers", h{"Supported: timer"}, 0, "1800", "", "1800;refresher=uas", "1800;refresher=uas", false},
		{"inserted above Min-SE", h{"Supported: timer", "Min-SE: 3000"}, 0, "3000", "3000", "", "3000;refresher=uac", true},
		{"kept", h{"k: timer", "x: 900;refresher=uac"}, 0, "900;refresher=uac", "", "", "900;refresher=uac", true},
		{"reduced, refresher kept", h{"Supported: timer", "Session-Expires: 7200;refresher=uas"}, 0, "1800;refresher=uas", "", "", "1800;refresher=uac", true},
		{"not below Min-SE", h{"Supported: timer", "Session-Expires: 7200", "Min-SE: 3600"}, 0, "7200", "3600", "", "7200;refresher=uac", true},
		{"too small, supported", h{"Supported: timer", "Session-Expires: 60"}, 422, "", "", "", "", false},
		{"too small, not supported", h{"Session-Expires: 60"}, 0, "90", "90", "", "", false},
		{"too small, not supported, Min-SE lower", h{"Session-Expires: 50", "Min-SE: 40"}, 0, "90", "90", "", "", false},
		{"below Min-SE", h{"Supported: timer", "Session-Expires: 100", "Min-SE: 200"}, 0, "200", "200", "", "200;refresher=uac", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.bind("bob@example.com", "bob")
				r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i", row.headers...))
				if row.status != 0 {
					if m := r.get("alice", row.status); m.Get(sip.HMinSE) != "90" {
						t.Errorf("Min-SE %q", m.Get(sip.HMinSE))
					}
					r.quiet("bob")
					return
				}
				r.get("alice", 100)
				i := r.get("bob", "INVITE")
				if i.Get(sip.HSessionExpires) != row.se || i.Get(sip.HMinSE) != row.min || i.Count(sip.HSessionExpires) != 1 {
					t.Errorf("forwarded Session-Expires %q, Min-SE %q", i.Get(sip.HSessionExpires), i.Get(sip.HMinSE))
				}
				r.answer("bob", i, 180)
				if m := r.get("alice", 180); m.Has(sip.HSessionExpires) {
					t.Error("Session-Expires in a 180")
				}
				r.answer("bob", i, 200, func(d *sip.Draft) {
					if row.answer != "" {
						d.Add(sip.HSessionExpires, row.answer)
					}
				})
				m := r.get("alice", 200)
				if m.Get(sip.HSessionExpires) != row.upstream || m.HasToken(sip.HRequire, "timer") != row.require {
					t.Errorf("upstream Session-Expires %q, Require %q", m.Get(sip.HSessionExpires), m.Get(sip.HRequire))
				}
			})
		})
	}
}

// What must not be carried is refused in requests, and left out of responses
// and ACKs, which cannot be refused.
func TestBodies(t *testing.T) {
	bad := func(m *sip.Message) *Refusal {
		if strings.Contains(string(m.Body()), "msrp") {
			return &Refusal{Status: 488, Warning: "no", Accept: "application/sdp"}
		}
		return nil
	}
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i0", "Content-Type: application/sdp")+"msrp")
		if m := r.get("alice", 488); m.Get(sip.HAccept) == "" || m.Get(sip.HWarning) == "" {
			t.Errorf("488 without a reason:\n%s", m.Bytes())
		}
		r.quiet("bob")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i1", "CSeq: 2 INVITE"))
		r.get("alice", 100)
		i := r.get("bob", "INVITE")
		r.answer("bob", i, 183, func(d *sip.Draft) { d.Body("application/sdp", []byte("audio")) })
		if m := r.get("alice", 183); string(m.Body()) != "audio" {
			t.Errorf("body %q", m.Body())
		}
		r.answer("bob", i, 200, func(d *sip.Draft) { d.Body("application/sdp", []byte("msrp")) })
		if m := r.get("alice", 200); len(m.Body()) != 0 || m.Has(sip.HContentType) {
			t.Errorf("a 200 carried %q", m.Body())
		}
		rr := values(i, sip.HRecordRoute)
		r.from("alice", mid("ACK", "alice", i.RequestURI(), "tag-alice", "tag-bob", "call-alice", "a1", []string{rr[1], rr[0]}, "Content-Type: application/sdp")+"msrp")
		if m := r.get("bob", "ACK"); len(m.Body()) != 0 {
			t.Errorf("an ACK carried %q", m.Body())
		}
		r.from("alice", mid("UPDATE", "alice", i.RequestURI(), "tag-alice", "tag-bob", "call-alice", "u1", []string{rr[1], rr[0]}, "Content-Type: application/sdp")+"msrp")
		r.get("alice", 488)
		r.quiet("bob")
	}, func(o *ProxyOptions) { o.Body = bad })
}

// 100rel passes: RSeq, Require and RAck untouched, PRACK end to end. RFC 3262.
func TestReliableProvisional(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i", "Supported: 100rel"))
		r.get("alice", 100)
		i := r.get("bob", "INVITE")
		r.answer("bob", i, 183, func(d *sip.Draft) { d.Add(sip.HRequire, "100rel").Add(sip.HRSeq, "813520") })
		m := r.get("alice", 183)
		if m.Get(sip.HRSeq) != "813520" || !m.HasToken(sip.HRequire, "100rel") {
			t.Errorf("183:\n%s", m.Bytes())
		}
		rr := values(m, sip.HRecordRoute)
		r.from("alice", mid("PRACK", "alice", i.RequestURI(), "tag-alice", "tag-bob", "call-alice", "p", []string{rr[1], rr[0]}, "RAck: 813520 1 INVITE"))
		p := r.get("bob", "PRACK")
		if p.Get(sip.HRAck) != "813520 1 INVITE" {
			t.Errorf("PRACK:\n%s", p.Bytes())
		}
		r.answer("bob", p, 200)
		r.get("alice", 200)
	})
}

// The next hop of our own dialogs.
func TestNextHop(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		ask := func(contact string, routes ...string) (h transaction.Hop, err error) {
			called := 0
			r.proxy.NextHop(contact, routes, r.phone("old").flow, func(a transaction.Hop, b error) { h, err, called = a, b, called+1 })
			if called != 1 {
				t.Fatalf("done called %d times", called)
			}
			return
		}
		if h, err := ask("sip:x@y.invalid"); err != nil || h.Flow != r.phone("old").flow {
			t.Errorf("live flow: %v %v", h, err)
		}
		r.phone("old").flow.Close("test")
		if _, err := ask("sip:x@y.invalid"); err == nil {
			t.Error("a dead flow and no binding")
		}
		r.contacts["sip:x@y.invalid"] = []Target{{Hop: hop(r.phone("old"))}, {Hop: hop(r.phone("new"))}}
		if h, err := ask("sip:x@y.invalid"); err != nil || h.Flow != r.phone("new").flow {
			t.Errorf("by contact: %v %v", h, err)
		}
		r.bindings["bob@example.com;gr=1"] = []Target{{Hop: hop(r.phone("gruu"))}}
		if h, err := ask("sip:bob@example.com;gr=1"); err != nil || h.Flow != r.phone("gruu").flow {
			t.Errorf("by GRUU: %v %v", h, err)
		}
		proxy := r.phone("old").addr.Addr().String() + ":5090"
		if h, err := ask("sip:x@host.example.org", "<sip:"+proxy+";transport=tcp;lr>", "<sip:198.51.100.77;lr>"); err != nil || h.Target.Addr.String() != proxy {
			t.Errorf("by route: %v %v", h, err)
		}
		// The request came from elsewhere: nobody has asked that address.
		for _, route := range []string{"<sip:198.51.100.77:5090;transport=tcp;lr>", "<sip:127.0.0.1;lr>", "<sip:198.51.100.77>"} {
			if h, err := ask("sip:x@host.example.org", route); err == nil {
				t.Errorf("by a route that is not where the request came from: %v", h)
			}
		}
		if _, err := ask("sip:x@host.example.org", "<sip:relay.example.org;lr>"); err == nil {
			t.Error("a name was looked up without a resolver")
		}
		if _, err := ask("%"); err == nil {
			t.Error("no URI")
		}
	})
}

// Everything is over a while after the last message.
func TestNothingLeft(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		for i := range 3 {
			r.bind("bob@example.com", fmt.Sprint("bob", i))
		}
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		for i := range 3 {
			r.answer(fmt.Sprint("bob", i), r.get(fmt.Sprint("bob", i), "INVITE"), 180)
		}
		r.wait(10 * time.Minute)
		if s, c := r.l.InFlight(); s != 0 || c != 0 {
			t.Errorf("left over: %d server and %d client transactions", s, c)
		}
		var m dto.Metric
		if err := r.proxy.metrics.active.Write(&m); err != nil || m.GetGauge().GetValue() != 0 {
			t.Errorf("contexts: %v %v", m.GetGauge().GetValue(), err)
		}
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	c := NewCore(CoreOptions{Registerer: reg})
	c.metrics.requests.WithLabelValues(methodLabel("NOSUCH")).Inc()
	p := NewProxy(ProxyOptions{Registerer: reg})
	p.metrics.finals.WithLabelValues(classLabel(0)).Inc()
	p.metrics.flows.WithLabelValues("lost").Inc()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
