package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/sip"
)

func hop(p *phone) transaction.Hop { return transaction.Hop{Flow: p.flow, Sticky: true} }

func q(n uint16) func(*Target) { return func(t *Target) { t.Q = n } }

func instance(s string) func(*Target) { return func(t *Target) { t.Instance = s } }

// TestBest has one row for each rule of RFC 3261 §16.7 step 6.
func TestBest(t *testing.T) {
	for _, row := range []struct {
		answers string
		want    int
	}{
		{"486", 486},
		{"486 603 404", 603},     // 6xx first
		{"486 302 404", 302},     // then the lowest class
		{"500 486", 486},         //
		{"503 407 501 404", 407}, // the RFC's own example
		{"404 480 486", 486},     // what says most
		{"486 415", 415},         // what helps to send again
		{"486 420", 420},         //
		{"404 484", 484},         //
		{"408 404", 404},         //
		{"487 404", 404},         //
		{"503", 500},             // never 503 for one target
		{"503 500", 500},         //
		{"503 504", 504},         // another 5xx rather than it
		{"430", 480},             // RFC 5626 §7
		{"430 486", 486},         //
		{"430 408", 408},         //
		{"401 407 486", 401},     //
		{"600 604", 600},         // the first 6xx
		{"486 200", 200},         //
		{"404 404 404 404", 404}, //
		{"486 488", 488},         //
		{"482 403", 403},         //
		{"422 486", 422},         // RFC 4028 §8.1
		{"301 302", 301},         //
		{"503 480", 480},         //
		{"503 503 603", 603},     //
		{"408 408", 408},         //
		{"505 503", 505},         //
		{"482 482", 482},         //
		{"440 440", 440},         //
		{"403 404 405 410", 403}, //
		{"487 487", 487},         //
		{"504 408 600 200", 200}, // a 2xx wins while it is not too late
		{"500 501 502 504", 500}, //
		{"407 407 401 403", 407}, //
		{"484 407 486 404", 407}, //
		{"415 420 484 488", 415}, //
		{"404 480 410 408", 480}, //
		{"480 480 486 600", 600}, //
		{"404 302 600 500", 600}, //
		{"503 503", 500},         //
		{"404 430 482 487", 404}, //
	} {
		t.Run(row.answers, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				codes := strings.Fields(row.answers)
				for i := range codes {
					r.bind("bob@example.com", fmt.Sprint("bob", i))
				}
				r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
				r.get("alice", 100)
				var got []*sip.Message
				for i := range codes {
					got = append(got, r.get(fmt.Sprint("bob", i), "INVITE"))
				}
				// A 6xx cancels the others; the ones before it have answered.
				for i, c := range codes {
					var status int
					fmt.Sscan(c, &status)
					r.answer(fmt.Sprint("bob", i), got[i], status)
				}
				if m := r.get("alice", row.want); m.Status() >= 300 && m.ToTag() == "" {
					t.Error("no To tag")
				}
				r.quiet("alice")
				if len(r.outcomes) != 1 || r.outcomes[0].Status != row.want {
					t.Errorf("outcomes %+v", r.outcomes)
				}
			})
		})
	}
}

// RFC 3261 §16.7 step 7: the challenges of all 401 and 407.
func TestAggregateChallenges(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		for i := range 4 {
			r.bind("bob@example.com", fmt.Sprint("bob", i))
		}
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		for i, c := range []struct {
			status int
			id     sip.HeaderID
			value  string
		}{{401, sip.HWWWAuthenticate, `Digest realm="a", nonce="1"`}, {407, sip.HProxyAuthenticate, `Digest realm="b", nonce="2"`},
			{404, sip.HWWWAuthenticate, `Digest realm="no", nonce="3"`}, {401, sip.HWWWAuthenticate, `Digest realm="c", nonce="4"`}} {
			n := fmt.Sprint("bob", i)
			r.answer(n, r.get(n, "INVITE"), c.status, func(d *sip.Draft) { d.Add(c.id, c.value) })
		}
		m := r.get("alice", 401)
		if www, prox := slices.Collect(m.Each(sip.HWWWAuthenticate)), slices.Collect(m.Each(sip.HProxyAuthenticate)); len(www) != 2 || len(prox) != 1 {
			t.Errorf("challenges: %q %q", www, prox)
		}
	})
}

// A device that asks for the password of this server's realm gets nothing.
func TestPhishing(t *testing.T) {
	const ours = `Digest realm="EXAMPLE.com", nonce="1"`
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.answer("bob", r.get("bob", "INVITE"), 407, func(d *sip.Draft) { d.Add(sip.HProxyAuthenticate, ours).Add(sip.HWWWAuthenticate, ours) })
		if m := r.get("alice", 403); m.Has(sip.HProxyAuthenticate) || m.Has(sip.HWWWAuthenticate) {
			t.Errorf("403:\n%s", m.Bytes())
		}
	})
	// Beside a challenge of another realm it is left out.
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob0")
		r.bind("bob@example.com", "bob1")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		for _, n := range []string{"bob0", "bob1"} {
			r.answer(n, r.get(n, "INVITE"), 407, func(d *sip.Draft) {
				d.Add(sip.HProxyAuthenticate, ours).Add(sip.HProxyAuthenticate, `Digest realm="`+n+`", nonce="2"`)
			})
		}
		m := r.get("alice", 407)
		if got := slices.Collect(m.Each(sip.HProxyAuthenticate)); len(got) != 2 || strings.Contains(strings.Join(got, " "), "EXAMPLE") {
			t.Errorf("challenges %q", got)
		}
	})
}

// Hostile 22: a Subject passes where it is recorded, and nowhere else.
// A Refer-To is an address, with what an attended transfer needs, and no text.
func TestReferTo(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		for i, row := range [][2]string{
			{`"hello bob" <sip:carol@example.com?Subject=hello&Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&body=hello>`,
				"<sip:carol@example.com?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>"},
			{"<sip:carol@example.com?Subject=hello>", "<sip:carol@example.com>"},
			{"sip:carol@example.com", "sip:carol@example.com"},
		} {
			r.from("alice", request("REFER", "alice", "sip:bob@example.com", fmt.Sprint("r", i), "Refer-To: "+row[0], fmt.Sprintf("CSeq: %d REFER", i+10)))
			if got := r.get("bob", "REFER").Get(sip.HReferTo); got != row[1] {
				t.Errorf("%s became %s, want %s", row[0], got, row[1])
			}
		}
	})
}

// A reason phrase, a Warning and the like hold text for people that nobody records.
func TestWordsOfResponses(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i", "Organization: hello bob"))
		r.get("alice", 100)
		i := r.get("bob", "INVITE")
		if i.Has(sip.HOrganization) {
			t.Error("Organization in an INVITE")
		}
		words := func(d *sip.Draft) {
			d.SetReason("hello alice").Add(sip.HWarning, `399 bob "hello alice"`).Add(sip.HErrorInfo, "<http://hello/>").Add(sip.HOrganization, "hello alice")
		}
		for _, status := range []int{180, 486} {
			r.answer("bob", i, status, words)
			m := r.get("alice", status)
			if m.Reason() != sip.StatusText(status) || strings.Contains(string(m.Bytes()), "hello") {
				t.Errorf("words in a response:\n%s", m.Bytes())
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.outcomes) != 1 || r.outcomes[0].Reason != "hello alice" { // for the record
			t.Errorf("outcomes %+v", r.outcomes)
		}
	})
}

func TestSubject(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i", "s: lunch?"))
		r.get("alice", 100)
		i := r.get("bob", "INVITE")
		if i.Get(sip.HSubject) != "lunch?" {
			t.Errorf("Subject of the INVITE: %q", i.Get(sip.HSubject))
		}
		r.answer("bob", i, 180, func(d *sip.Draft) { d.Add(sip.HSubject, "yes") })
		if m := r.get("alice", 180); m.Has(sip.HSubject) {
			t.Error("Subject in a response")
		}
		r.answer("bob", i, 200)
		rr := values(r.get("alice", 200), sip.HRecordRoute)
		r.from("alice", mid("UPDATE", "alice", i.RequestURI(), "tag-alice", "tag-bob", "call-alice", "u", []string{rr[1], rr[0]}, "Subject: at noon"))
		if m := r.get("bob", "UPDATE"); m.Has(sip.HSubject) {
			t.Error("Subject in an UPDATE")
		}
		r.from("alice", request("OPTIONS", "alice", "sip:bob@example.com", "o", "Subject: hello", "CSeq: 9 OPTIONS"))
		if m := r.get("bob", "OPTIONS"); m.Has(sip.HSubject) {
			t.Error("Subject in an OPTIONS")
		}
	})
}

// A 2xx cancels the other branches, and says why; a second 2xx still passes.
func TestForkSuccess(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		for i := range 3 {
			r.bind("bob@example.com", fmt.Sprint("bob", i))
		}
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		i0, i1, i2 := r.get("bob0", "INVITE"), r.get("bob1", "INVITE"), r.get("bob2", "INVITE")
		if b := i0.Get(sip.HMaxBreadth) + i1.Get(sip.HMaxBreadth) + i2.Get(sip.HMaxBreadth); b != "202020" {
			t.Errorf("Max-Breadth shares %s", b)
		}
		r.answer("bob0", i0, 180)
		r.answer("bob1", i1, 180)
		r.get("alice", 180)
		r.get("alice", 180)
		r.answer("bob0", i0, 200)
		r.get("alice", 200)
		c := r.get("bob1", "CANCEL")
		if why := c.Get(sip.HReason); !strings.Contains(why, "cause=200") {
			t.Errorf("Reason %q", why)
		}
		r.answer("bob1", c, 200)
		// bob2 has not answered at all: no CANCEL before a provisional.
		r.quiet("bob2")
		// bob1 had already accepted.
		r.answer("bob1", i1, 200)
		second := r.get("alice", 200)
		if second.ToTag() != "tag-bob1" {
			t.Errorf("second 200 has To tag %s", second.ToTag())
		}
		r.answer("bob2", i2, 180)
		r.answer("bob2", r.get("bob2", "CANCEL"), 200)
		r.answer("bob2", i2, 487)
		r.get("bob2", "ACK")
		r.quiet("alice", "bob0", "bob1")
		if len(r.outcomes) != 1 {
			t.Errorf("%d outcomes", len(r.outcomes))
		}
	})
}

// RFC 3261 §16.7 step 5: a 6xx is held back until the others have ended.
func TestForkGlobalFailure(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob0")
		r.bind("bob@example.com", "bob1")
		r.bind("bob@example.com", "bob2", q(500))
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		i0, i1 := r.get("bob0", "INVITE"), r.get("bob1", "INVITE")
		r.answer("bob1", i1, 180)
		r.get("alice", 180)
		r.answer("bob0", i0, 603)
		r.quiet("alice")
		r.answer("bob1", r.get("bob1", "CANCEL"), 200)
		r.answer("bob1", i1, 487)
		r.get("alice", 603)
		// No new branch for the lower q.
		r.quiet("bob2")
	})
}

// Groups by q, one after the other; one device at a time over its flows.
func TestForkSequence(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob0", q(200))
		r.bind("bob@example.com", "bob1", q(1000))
		r.bind("bob@example.com", "bob2", q(500))
		r.bind("bob@example.com", "bob3", q(500))
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.quiet("bob0", "bob2", "bob3")
		i := r.get("bob1", "INVITE")
		if i.Get(sip.HMaxBreadth) != "60" {
			t.Errorf("Max-Breadth %s", i.Get(sip.HMaxBreadth))
		}
		r.answer("bob1", i, 486)
		i2, i3 := r.get("bob2", "INVITE"), r.get("bob3", "INVITE")
		r.quiet("bob0")
		r.answer("bob2", i2, 480)
		r.quiet("bob0", "alice")
		r.answer("bob3", i3, 480)
		r.answer("bob0", r.get("bob0", "INVITE"), 200)
		r.get("alice", 200)
	})
}

// RFC 5626 §7: never two flows of an instance at a time; the next one after
// 430, 408 and failure, none after another answer.
func TestForkInstance(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		for i := range 3 {
			r.bind("bob@example.com", fmt.Sprint("bob", i), instance("urn:uuid:1"))
		}
		r.bind("bob@example.com", "bob3", instance("urn:uuid:2"))
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.get("bob3", "INVITE")
		i0 := r.get("bob0", "INVITE")
		r.quiet("bob1", "bob2")
		r.answer("bob0", i0, 430)
		i1 := r.get("bob1", "INVITE")
		// The connection breaks: RFC 5626 §5.3.1.
		r.phone("bob1").broken = true
		r.l.Closed(r.phone("bob1").flow, nil)
		_ = i1
		i2 := r.get("bob2", "INVITE")
		r.answer("bob2", i2, 200)
		r.get("alice", 200)
	})
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob0", instance("urn:uuid:1"))
		r.bind("bob@example.com", "bob1", instance("urn:uuid:1"), q(100))
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.answer("bob0", r.get("bob0", "INVITE"), 486)
		r.get("alice", 486)
		r.quiet("bob1")
	})
	// A dead connection is skipped at once.
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob0", instance("urn:uuid:1"))
		r.bind("bob@example.com", "bob1", instance("urn:uuid:1"))
		r.phone("bob0").flow.Close("test")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.get("bob1", "INVITE")
	})
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob0")
		r.phone("bob0").flow.Close("test")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.get("alice", 480)
	})
}

// CANCEL of the caller reaches every branch, with its Reason; 487 comes back.
func TestCancel(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob0")
		r.bind("bob@example.com", "bob1")
		r.bind("bob@example.com", "bob2", q(1))
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		i0, i1 := r.get("bob0", "INVITE"), r.get("bob1", "INVITE")
		r.answer("bob0", i0, 180)
		r.get("alice", 180)
		r.from("alice", request("CANCEL", "alice", "sip:bob@example.com", "i", `Reason: SIP;cause=600`))
		r.get("alice", 200)
		c := r.get("bob0", "CANCEL")
		if c.Get(sip.HReason) != "SIP;cause=600" {
			t.Errorf("Reason %q", c.Get(sip.HReason))
		}
		if tv, _ := c.TopVia(); func() bool { v, _ := i0.TopVia(); return v.Branch() != tv.Branch() }() {
			t.Error("CANCEL with another branch than its INVITE")
		}
		r.answer("bob0", c, 200)
		r.answer("bob0", i0, 487)
		r.get("bob0", "ACK")
		// bob1 rings only now.
		r.answer("bob1", i1, 180)
		r.answer("bob1", r.get("bob1", "CANCEL"), 200)
		r.get("alice", 180)
		r.answer("bob1", i1, 487)
		r.get("alice", 487)
		r.quiet("bob2", "alice")
		if len(r.outcomes) != 1 || !r.outcomes[0].Cancelled {
			t.Errorf("outcomes %+v", r.outcomes)
		}
	})
}

// CANCEL and 200 cross: the 200 wins, whichever we see first.
func TestCancelRace(t *testing.T) {
	for _, cancelFirst := range []bool{true, false} {
		run(t, func(t *testing.T, r *rig) {
			r.bind("bob@example.com", "bob")
			r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
			r.get("alice", 100)
			i := r.get("bob", "INVITE")
			r.answer("bob", i, 180)
			r.get("alice", 180)
			cancel := request("CANCEL", "alice", "sip:bob@example.com", "i")
			if cancelFirst {
				r.from("alice", cancel)
				r.get("bob", "CANCEL")
				r.get("alice", 200) // of the CANCEL
				r.answer("bob", i, 200)
			} else {
				r.answer("bob", i, 200)
				r.from("alice", cancel)
				r.quiet("bob")
			}
			ok := r.get("alice", 200)
			if ok.ToTag() != "tag-bob" || ok.Method() != sip.INVITE {
				t.Errorf("the 200 of the INVITE is missing (cancel first: %v)", cancelFirst)
			}
			if !cancelFirst {
				r.get("alice", 200) // of the CANCEL
			}
			r.quiet("alice")
		})
	}
}

// A branch that never answers its CANCEL ends after 64*T1. RFC 3261 §9.1.
func TestCancelUnanswered(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.answer("bob", r.get("bob", "INVITE"), 180)
		r.get("alice", 180)
		r.from("alice", request("CANCEL", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 200)
		r.wait(31 * time.Second)
		r.quiet("alice")
		r.wait(2 * time.Second)
		r.get("alice", 487)
	})
}

// RFC 3261 §16.6 step 11, §16.7 step 2, §16.8.
func TestTimerC(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		i := r.get("bob", "INVITE")
		r.answer("bob", i, 180)
		r.get("alice", 180)
		r.wait(150 * time.Second)
		r.answer("bob", i, 183)
		r.get("alice", 183)
		r.wait(150 * time.Second) // 300 s: would have fired but for the 183
		r.quiet("bob")
		r.wait(60 * time.Second)
		r.answer("bob", r.get("bob", "CANCEL"), 200)
		r.answer("bob", i, 487)
		r.get("alice", 487)
	})
}

// Options.Ring: the phones ring, nobody takes the call.
func TestRing(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.opts.Ring = 30 * time.Second
		r.bind("bob@example.com", "bob0")
		r.bind("bob@example.com", "bob1", q(1))
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		i := r.get("bob0", "INVITE")
		r.answer("bob0", i, 180)
		r.get("alice", 180)
		r.wait(31 * time.Second)
		r.answer("bob0", r.get("bob0", "CANCEL"), 200)
		r.answer("bob0", i, 487)
		if m := r.get("alice", 480); m.Reason() != "No Answer" {
			t.Errorf("reason %q", m.Reason())
		}
		if len(r.outcomes) != 1 || !r.outcomes[0].NoAnswer || r.outcomes[0].Status != 480 {
			t.Errorf("outcomes %+v", r.outcomes)
		}
		r.quiet("bob1")
	})
	// Answered in time: the timer is forgotten.
	run(t, func(t *testing.T, r *rig) {
		r.opts.Ring = 30 * time.Second
		r.bind("bob@example.com", "bob0")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.answer("bob0", r.get("bob0", "INVITE"), 200)
		r.get("alice", 200)
		r.wait(60 * time.Second)
		r.next("alice") // retransmitted 200s, for there was no ACK
		r.quiet("bob0")
	})
}

// No answer at all: 408 for INVITE, silence for anything else (RFC 4320 §4.2).
func TestNoAnswer(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.get("bob", "INVITE")
		r.wait(33 * time.Second)
		r.get("alice", 408)
		r.from("alice", request("OPTIONS", "alice", "sip:bob@example.com", "o"))
		r.get("bob", "OPTIONS")
		r.wait(33 * time.Second)
		r.get("alice", 100) // RFC 4320 §4.1
		r.quiet("alice")
	})
}

// Nobody there: 404 and 480.
func TestNobody(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bindings["carol@example.com"] = nil
		r.from("alice", request("INVITE", "alice", "sip:carol@example.com", "i1"))
		r.get("alice", 100)
		r.get("alice", 480)
		r.from("alice", request("OPTIONS", "alice", "sip:dave@example.com", "i2"))
		r.get("alice", 404)
		r.from("alice", request("OPTIONS", "alice", "sip:carol@example.com", "i3"))
		r.get("alice", 480)
	})
}

// Path: the binding was made through a proxy. RFC 3327 §5.3.
func TestPath(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		edge := r.phone("edge")
		r.bind("bob@example.com", "bob", func(t *Target) {
			t.Hop = transaction.Hop{}
			t.Route = []string{"<sip:tok@" + edge.addr.String() + ";transport=tcp;lr;ob>", "<sip:inner.example.net;lr>"}
		})
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		i := r.get("edge", "INVITE")
		if got := values(i, sip.HRoute); len(got) != 2 || !strings.Contains(got[0], "tok@") {
			t.Errorf("Route %q", got)
		}
		if i.RequestURI() != "sip:bob@198.51.100.2:5060;transport=tcp" {
			t.Errorf("Request-URI %s", i.RequestURI())
		}
		r.answer("edge", i, 200)
		r.get("alice", 200)
	})
	// A strict router as the first hop. RFC 3261 §16.6 step 6.
	run(t, func(t *testing.T, r *rig) {
		edge := r.phone("edge")
		r.bind("bob@example.com", "bob", func(t *Target) {
			t.Hop = transaction.Hop{}
			t.Route = []string{"<sip:" + edge.addr.String() + ";transport=tcp>"}
		})
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		i := r.get("edge", "INVITE")
		if i.RequestURI() != "sip:198.51.100.1:5060;transport=tcp" || !strings.Contains(i.Get(sip.HRoute), "sip:bob@") {
			t.Errorf("strict:\n%s", i.Bytes())
		}
	})
}

// Hostile 18: a forks to b, b to a, two contacts each. No storm, and an answer.
func TestForwardingLoop(t *testing.T) {
	own := func(user string) Target { return Target{URI: "sip:" + user + "@example.com", Q: 1000} }
	run(t, func(t *testing.T, r *rig) {
		r.bindings["bob@example.com"] = []Target{own("carol"), {URI: "sip:carol@EXAMPLE.com:5060;x=1", Q: 1000}}
		r.bindings["carol@example.com"] = []Target{own("bob"), {URI: "sip:bob@192.0.2.1", Q: 1000}}
		r.bindings["bob@192.0.2.1"] = []Target{own("bob")}
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.get("alice", 482)
		r.quiet("alice")
	})
	// A spiral is no loop: bob's calls go to carol.
	run(t, func(t *testing.T, r *rig) {
		r.bindings["bob@example.com"] = []Target{own("carol"), own("bob")}
		r.bind("carol@example.com", "carol")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		r.answer("carol", r.get("carol", "INVITE"), 200)
		r.get("alice", 200)
	})
}

// RFC 5393 §4.2: the request left this server and came back the same way, or
// another way.
func TestNetworkLoop(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "carol")
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
		r.get("alice", 100)
		i := r.get("carol", "INVITE")
		back := func(uri, branch string) string {
			d := i.Edit().SetURI(uri).Prepend(sip.HVia, "SIP/2.0/TCP 198.51.100.77;branch=z9hG4bK"+branch)
			return string(d.Bytes())
		}
		r.from("carol", back("sip:bob@example.com", "l1"))
		r.get("carol", 482)
		// Another Request-URI: a spiral. (403: it carries alice's From.)
		r.from("carol", back("sip:dave@example.com", "l2"))
		r.get("carol", 403)
	})
}

// RFC 5393 §5.3.3.
func TestMaxBreadth(t *testing.T) {
	for _, row := range []struct {
		header string
		phones int
		want   any
	}{
		{"Max-Breadth: 1", 2, 440},
		{"Max-Breadth: 2", 2, "1"},
		{"Max-Breadth: 7", 2, "4"},
		{"Max-Breadth: 60", 1, "60"},
		{"Max-Breadth: 4000000000", 1, "60"},
		{"Max-Breadth: 0", 1, 440},
	} {
		run(t, func(t *testing.T, r *rig) {
			for i := range row.phones {
				r.bind("bob@example.com", fmt.Sprint("bob", i))
			}
			r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i", row.header))
			r.get("alice", 100)
			if status, ok := row.want.(int); ok {
				r.get("alice", status)
				return
			}
			if got := r.get("bob0", "INVITE").Get(sip.HMaxBreadth); got != row.want {
				t.Errorf("%s: first share %s, want %s", row.header, got, row.want)
			}
		})
	}
	// Serial forking takes the breadth again.
	run(t, func(t *testing.T, r *rig) {
		r.bind("bob@example.com", "bob0")
		r.bind("bob@example.com", "bob1", q(1))
		r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i", "Max-Breadth: 1"))
		r.get("alice", 100)
		r.answer("bob0", r.get("bob0", "INVITE"), 486)
		r.get("bob1", "INVITE")
	})
}
