package call

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// The start is a record before anything rings.
func TestRecordedBeforeItRings(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		r.store.hold()
		r.invite("alice", "sip:"+bob)
		r.get("alice", 100) // the caller does not repeat itself meanwhile
		r.quiet("bob")
		r.store.release()
		invite := r.get("bob", "INVITE")
		r.answer("bob", invite, 486)
		r.get("bob", "ACK")
		r.get("alice", 486)
		start, _ := r.ended(outcomeBusy)
		if start.From != alice || start.To != bob || start.Device != "alice" || start.Meta[metaMedia] != "audio,video" || start.Meta[store.MetaCallID] != "call-alice" {
			t.Errorf("start: %+v", start)
		}
	})
}

func TestUnrecordedCallDoesNotRing(t *testing.T) {
	for _, err := range []error{store.ErrUnavailable, store.ErrBusy, store.ErrClosed} {
		run(t, func(r *rig) {
			r.signIn("bob")
			r.store.fail(err)
			r.invite("alice", "sip:"+bob)
			r.get("alice", 100)
			no := r.get("alice", 500)
			if no.Get(sip.HRetryAfter) == "" || no.Get(sip.HWarning) == "" {
				t.Errorf("%v: no Retry-After or Warning:\n%s", err, no.Bytes())
			}
			r.quiet("bob")
			r.empty()
			if list := r.records(); len(list) != 0 {
				t.Errorf("%v: records %+v", err, list)
			}
		})
	}
}

func TestAnsweredCall(t *testing.T) {
	for _, by := range []string{"alice", "bob"} {
		run(t, func(r *rig) {
			ok := r.talking()
			other := map[string]string{"alice": "bob", "bob": "alice"}[by]
			if n := r.service.Open(); n != 1 {
				t.Errorf("%d open calls", n)
			}
			r.sleep(90 * time.Second)
			r.hangUp(by, other, ok)
			_, end := r.ended(outcomeHungUp)
			if end.Meta[store.MetaDuration] != "90000" || end.Meta[store.MetaReason] != "hung up by "+by+"@example.com" || end.Device != "bob" {
				t.Errorf("end: %+v", end)
			}
			r.quiet("alice", "bob")
		})
	}
}

// How a call that nobody answered ends.
func TestRefusals(t *testing.T) {
	for _, row := range []struct {
		status  int
		outcome string
	}{
		{486, outcomeBusy}, {600, outcomeBusy}, {603, outcomeDeclined}, {403, outcomeDeclined}, {408, outcomeNoAnswer},
		{480, outcomeNoAnswer}, {488, outcomeFailed}, {500, outcomeFailed}, {302, outcomeFailed},
	} {
		t.Run(strconv.Itoa(row.status), func(t *testing.T) {
			run(t, func(r *rig) {
				r.signIn("bob")
				invite, at := r.ringing("alice", "sip:"+bob, "bob")
				r.answer("bob", at["bob"], row.status)
				r.get("bob", "ACK")
				no := r.get("alice", row.status)
				r.ack("alice", invite, no)
				_, end := r.ended(row.outcome)
				if end.Meta[store.MetaStatus] != strconv.Itoa(row.status) || end.Meta[store.MetaDuration] != "" || end.Device != "" {
					t.Errorf("end: %+v", end)
				}
			})
		})
	}
}

func TestNoAnswer(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob", "bob2")
		_, at := r.ringing("alice", "sip:"+bob, "bob", "bob2")
		r.sleep(61 * time.Second)
		for _, p := range []string{"bob", "bob2"} {
			r.answer(p, r.get(p, "CANCEL"), 200)
			r.answer(p, at[p], 487)
			r.get(p, "ACK")
		}
		r.get("alice", 480)
		r.ended(outcomeNoAnswer)
	}, func(o *Options) { o.Ring = time.Minute })
}

// A phone that is dead does not keep the record open: no ring time, Timer C (RFC 3261 §16.6 step 11).
func TestSilentPhone(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		r.ringing("alice", "sip:"+bob, "bob")
		r.sleep(10 * time.Minute)
		r.get("bob", "CANCEL")
		r.get("alice", 408)
		r.ended(outcomeNoAnswer)
	})
}

func TestCancelled(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		invite, at := r.ringing("alice", "sip:"+bob, "bob")
		r.cancel("alice", invite)
		r.get("alice", 200)
		r.answer("bob", r.get("bob", "CANCEL"), 200)
		r.answer("bob", at["bob"], 487)
		r.get("bob", "ACK")
		r.get("alice", 487)
		r.ended(outcomeCancelled)
	})
}

// The caller gives up while the log is slow: nothing rings.
func TestCancelledBeforeItRings(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		r.store.hold()
		invite := r.invite("alice", "sip:"+bob)
		r.get("alice", 100)
		r.cancel("alice", invite)
		r.get("alice", 200)
		r.store.release()
		r.get("alice", 487)
		r.quiet("bob")
		r.ended(outcomeCancelled)
	})
}

// RFC 3261 §9.1: the CANCEL crosses the 200. The call is answered, and the caller ends it.
func TestCancelRacesAnswer(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		invite, at := r.ringing("alice", "sip:"+bob, "bob")
		r.cancel("alice", invite)
		r.get("alice", 200)
		r.answer("bob", at["bob"], 200)
		r.answer("bob", r.get("bob", "CANCEL"), 481)
		ok := r.get("alice", 200)
		if ok.Method() != sip.INVITE {
			t.Fatalf("a 200 of %s", ok.Method())
		}
		r.within(sip.ACK, "alice", ok, 1)
		r.get("bob", "ACK")
		r.hangUp("alice", "bob", ok)
		r.ended(outcomeHungUp)
	})
	run(t, func(r *rig) {
		r.signIn("bob")
		invite, at := r.ringing("alice", "sip:"+bob, "bob")
		r.answer("bob", at["bob"], 200)
		ok := r.get("alice", 200)
		r.cancel("alice", invite)
		r.get("alice", 200)
		r.quiet("bob")
		r.hangUp("alice", "bob", ok)
		r.ended(outcomeHungUp)
	})
}

func TestAbsent(t *testing.T) {
	run(t, func(r *rig) {
		r.invite("alice", "sip:"+bob)
		r.get("alice", 100)
		r.get("alice", 480)
		r.ended(outcomeAbsent)
	})
}

// Whom nobody can call leaves no record: there is no call.
func TestNobody(t *testing.T) {
	for _, row := range []struct {
		to     string
		status int
	}{
		{"sip:nobody@example.com", 404}, {"sip:closed@example.com", 480}, {"sip:broken@example.com", 500}, {"sip:example.com", 404},
	} {
		run(t, func(r *rig) {
			r.invite("alice", row.to)
			no := r.get("alice", row.status)
			if no.Get(sip.HWarning) == "" {
				t.Errorf("%s: no Warning", row.to)
			}
			r.empty()
			if len(r.records()) != 0 {
				t.Errorf("%s: recorded", row.to)
			}
		})
	}
}

func TestForked(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob", "bob2", "bob3")
		_, at := r.ringing("alice", "sip:"+bob, "bob", "bob2", "bob3")
		r.answer("bob2", at["bob2"], 486)
		r.get("bob2", "ACK")
		r.answer("bob3", at["bob3"], 200)
		ok := r.get("alice", 200)
		r.answer("bob", r.get("bob", "CANCEL"), 200)
		r.answer("bob", at["bob"], 487)
		r.get("bob", "ACK")
		r.sleep(time.Second)
		r.hangUp("bob3", "alice", ok)
		if _, end := r.ended(outcomeHungUp); end.Device != "bob3" || end.Meta[store.MetaDuration] != "1000" {
			t.Errorf("end: %+v", end)
		}
	})
}

// RFC 3261 §13.2.2.4: two phones answer at once; the caller takes one and hangs up the other. That is no end of the call.
func TestTwoAnswers(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob", "bob2")
		_, at := r.ringing("alice", "sip:"+bob, "bob", "bob2")
		r.answer("bob", at["bob"], 200)
		first := r.get("alice", 200)
		r.get("bob2", "CANCEL")
		r.answer("bob2", at["bob2"], 200)
		second := r.get("alice", 200)
		r.hangUp("alice", "bob2", second)
		if n := r.service.Open(); n != 1 {
			t.Fatalf("%d open calls after the second answer was hung up", n)
		}
		r.sleep(time.Minute)
		r.hangUp("alice", "bob", first)
		if _, end := r.ended(outcomeHungUp); end.Meta[store.MetaDuration] != "60000" {
			t.Errorf("end: %+v", end)
		}
	})
}

// The ACK and the BYE never come: the session timer ends the record (RFC 4028 §10).
func TestLost(t *testing.T) {
	timer := func(d *sip.Draft) { d.Set(sip.HSessionExpires, "600;refresher=uac") }
	run(t, func(r *rig) {
		r.talking(timer)
		r.sleep(9 * time.Minute)
		if r.service.Open() != 1 {
			t.Fatal("ended too early")
		}
		r.sleep(2 * time.Minute)
		if _, end := r.ended(outcomeLost); end.Meta[store.MetaDuration] != "610000" {
			t.Errorf("end: %+v", end)
		}
	})
	run(t, func(r *rig) { // no ACK
		r.signIn("bob")
		_, at := r.ringing("alice", "sip:"+bob, "bob")
		r.answer("bob", at["bob"], 200, timer)
		r.get("alice", 200)
		r.sleep(11 * time.Minute)
		r.ended(outcomeLost)
	})
	run(t, func(r *rig) { // no session timer
		r.talking(func(d *sip.Draft) { d.Remove(sip.HSessionExpires) })
		r.sleep(time.Hour - time.Second)
		if r.service.Open() != 1 {
			t.Fatal("ended too early")
		}
		r.sleep(time.Hour)
		r.ended(outcomeLost)
	}, func(o *Options) { o.MaxSilence = time.Hour })
}

// Both UPDATE and re-INVITE from either side refresh; a refused one does not.
func TestRefreshed(t *testing.T) {
	timer := func(d *sip.Draft) { d.Set(sip.HSessionExpires, "600;refresher=uac") }
	run(t, func(r *rig) {
		ok := r.talking(timer)
		for i, row := range []struct{ method, by, other string }{
			{sip.UPDATE, "alice", "bob"}, {sip.INVITE, "alice", "bob"}, {sip.UPDATE, "bob", "alice"}, {sip.INVITE, "bob", "alice"},
		} {
			r.sleep(9 * time.Minute)
			r.within(row.method, row.by, ok, 10+i)
			if row.method == sip.INVITE {
				r.get(row.by, 100)
			}
			r.answer(row.other, r.get(row.other, row.method), 200, timer)
			r.get(row.by, 200)
			if row.method == sip.INVITE {
				r.within(sip.ACK, row.by, ok, 10+i)
				r.get(row.other, "ACK")
			}
		}
		r.sleep(9 * time.Minute)
		if r.service.Open() != 1 {
			t.Fatal("the refreshes were not seen")
		}
		r.within(sip.UPDATE, "alice", ok, 20)
		r.answer("bob", r.get("bob", "UPDATE"), 491)
		r.get("alice", 491)
		r.sleep(2 * time.Minute)
		r.ended(outcomeLost)
	})
}

// Whatever the far end answers to BYE, the call is over; a second BYE finds nothing and is still carried.
func TestByeRefused(t *testing.T) {
	run(t, func(r *rig) {
		ok := r.talking()
		r.within(sip.BYE, "bob", ok, 1)
		r.answer("alice", r.get("alice", "BYE"), 481)
		r.get("bob", 481)
		r.ended(outcomeHungUp)
		r.within(sip.BYE, "alice", ok, 2)
		r.answer("bob", r.get("bob", "BYE"), 200)
		r.get("alice", 200)
		r.ended(outcomeHungUp)
	})
	run(t, func(r *rig) { // no answer at all
		ok := r.talking()
		r.within(sip.BYE, "alice", ok, 2)
		r.get("bob", "BYE")
		r.sleep(time.Minute)
		r.ended(outcomeHungUp)
	})
}

// RFC 3261 §15: a caller may send BYE on an early dialog; the INVITE's end is the call's.
func TestByeWhileRinging(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		r.invite("alice", "sip:"+bob)
		r.get("alice", 100)
		invite := r.get("bob", "INVITE")
		r.answer("bob", invite, 180)
		early := r.get("alice", 180)
		r.within(sip.BYE, "alice", early, 2)
		bye := r.get("bob", "BYE")
		r.answer("bob", bye, 200)
		r.get("alice", 200)
		if r.service.Open() != 1 {
			t.Fatal("ended before its INVITE")
		}
		r.answer("bob", invite, 487)
		r.get("bob", "ACK")
		r.get("alice", 487)
		r.ended(outcomeCancelled)
	})
}

func TestInterruptedAtStop(t *testing.T) {
	run(t, func(r *rig) {
		r.talking()
		r.sleep(5 * time.Second)
		r.service.Interrupt()
		if _, end := r.ended(outcomeInterrupted); end.Meta[store.MetaDuration] != "5000" {
			t.Errorf("end: %+v", end)
		}
		r.service.Interrupt()
		r.ended(outcomeInterrupted) // once
	})
}

func TestPeer(t *testing.T) {
	run(t, func(r *rig) {
		r.talking()
		for _, row := range []struct{ from, to, peer string }{
			{"t-alice", "t-bob", bob}, {"t-bob", "t-alice", alice}, {"t-alice", "other", ""}, {"other", "t-alice", ""}, {"t-bob", "t-bob", ""}, {"", "", ""},
		} {
			if peer, ok := r.service.Peer("call-alice", row.from, row.to); peer != row.peer || ok != (row.peer != "") {
				t.Errorf("%s to %s: %q %v, want %q", row.from, row.to, peer, ok, row.peer)
			}
		}
		if _, ok := r.service.Peer("other", "t-alice", "t-bob"); ok {
			t.Error("a peer in a call that is not there")
		}
	})
}

// Bob's contact is carol: what is said in the session goes to carol, and the offer is in the record.
func TestPeerWhoWasForwardedTo(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("carol")
		r.mu.Lock()
		r.table = append(r.table, route.Target{URI: "sip:" + carol, Q: 1000, AOR: bob})
		r.mu.Unlock()
		_, at := r.ringing("alice", "sip:"+bob, "carol")
		r.answer("carol", at["carol"], 200)
		r.get("alice", 200)
		if peer, ok := r.service.Peer("call-alice", "t-alice", "t-carol"); peer != carol || !ok {
			t.Errorf("the peer of alice is %q, %v", peer, ok)
		}
		if peer, ok := r.service.Peer("call-alice", "t-carol", "t-alice"); peer != alice || !ok {
			t.Errorf("the peer of carol is %q, %v", peer, ok)
		}
		if start := r.records()[0]; start.ContentType != "application/sdp" || string(start.Body) != offer {
			t.Errorf("start: %+v", start)
		}
	})
}

// RFC 5627 §5.1: a GRUU rings that device only.
func TestGRUU(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob", "bob2")
		_, at := r.ringing("alice", "sip:"+bob+";gr=bob2", "bob2")
		r.quiet("bob")
		r.answer("bob2", at["bob2"], 200)
		r.hangUp("alice", "bob2", r.get("alice", 200))
		if start, end := r.ended(outcomeHungUp); start.To != bob || end.Device != "bob2" {
			t.Errorf("start %+v, end %+v", start, end)
		}
	})
	run(t, func(r *rig) {
		r.signIn("bob")
		r.invite("alice", "sip:"+bob+";gr=gone")
		r.get("alice", 100)
		r.get("alice", 480)
		r.ended(outcomeAbsent)
	})
}

// From one's desk phone to one's mobile.
func TestCallToOneself(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("alice2")
		_, at := r.ringing("alice", "sip:"+alice, "alice2")
		r.answer("alice2", at["alice2"], 200)
		ok := r.get("alice", 200)
		if peer, _ := r.service.Peer("call-alice", "t-alice2", "t-alice"); peer != alice {
			t.Errorf("peer %q", peer)
		}
		r.hangUp("alice2", "alice", ok)
		if start, end := r.ended(outcomeHungUp); start.From != alice || start.To != alice || start.Device != "alice" || end.Device != "alice2" {
			t.Errorf("start %+v, end %+v", start, end)
		}
	})
}

// RFC 3261 §8.2.2.2: the same Call-ID and From tag again, on another branch, is not a second call.
func TestSameCallTwice(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		_, at := r.ringing("alice", "sip:"+bob, "bob")
		r.invite("alice", "sip:"+bob, func(d *sip.Draft) { d.Set(sip.HVia, "SIP/2.0/TCP 198.51.100.99;branch=z9hG4bKother") })
		r.get("alice", 482)
		r.answer("bob", at["bob"], 200)
		r.hangUp("alice", "bob", r.get("alice", 200))
		r.ended(outcomeHungUp)
	})
}

// After a refusal the caller tries again with the same Call-ID (RFC 3261 §8.1.3.5).
func TestAgainAfterRefusal(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		invite, at := r.ringing("alice", "sip:"+bob, "bob")
		r.answer("bob", at["bob"], 488)
		r.get("bob", "ACK")
		r.ack("alice", invite, r.get("alice", 488))
		r.invite("alice", "sip:"+bob, func(d *sip.Draft) {
			d.Set(sip.HVia, "SIP/2.0/TCP 198.51.100.99;branch=z9hG4bKagain").Set(sip.HCSeq, "2 INVITE")
		})
		r.get("alice", 100)
		again := r.get("bob", "INVITE")
		r.answer("bob", again, 200)
		r.hangUp("alice", "bob", r.get("alice", 200))
		r.empty()
		if list := r.records(); len(list) != 4 {
			t.Errorf("%d records, want two calls", len(list))
		}
	})
}

// A phone that makes up tags does not fill the memory.
func TestManyEarlyDialogs(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		r.invite("alice", "sip:"+bob)
		r.get("alice", 100)
		invite := r.get("bob", "INVITE")
		for i := range 3 * maxLegs {
			d := sip.NewResponse(invite, 183, "").SetToTag("x" + strconv.Itoa(i))
			r.send("bob", d.Add(sip.HContact, "<sip:bob@198.51.100.1>").Bytes())
		}
		r.service.mu.Lock()
		for _, c := range r.service.calls {
			if len(c.legs) != maxLegs {
				t.Errorf("%d legs are remembered", len(c.legs))
			}
		}
		r.service.mu.Unlock()
		r.answer("bob", invite, 200)
		var ok *sip.Message
		for range 3 * maxLegs {
			r.get("alice", 183)
		}
		ok = r.get("alice", 200)
		r.hangUp("bob", "alice", ok)
		r.ended(outcomeHungUp)
	})
}

// A log that fails for a while loses no end.
func TestEndIsRecordedLater(t *testing.T) {
	run(t, func(r *rig) {
		ok := r.talking()
		r.store.fail(store.ErrUnavailable)
		r.hangUp("alice", "bob", ok)
		r.sleep(3 * time.Second)
		if n := len(r.records()); n != 1 {
			t.Fatalf("%d records", n)
		}
		r.store.fail(nil)
		r.sleep(2 * time.Second)
		r.ended(outcomeHungUp)
	})
}

// A call that begins while the old ones are being closed goes on.
func TestLoadBesideNewCalls(t *testing.T) {
	run(t, func(r *rig) {
		r.talking()
		if err := r.service.Load(context.Background()); err != nil {
			t.Fatal(err)
		}
		r.sleep(time.Second)
		if n := len(r.records()); n != 1 || r.service.Open() != 1 {
			t.Errorf("%d records, %d open calls", n, r.service.Open())
		}
	})
}

// The process dies in the middle of a call: the next start closes the record, and the call can still be hung up.
func TestInterruptedAtRestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, phones: map[string]*phone{}}
		stop := r.open(dir)
		ok := r.talking()
		stop() // without Interrupt, as kill -9
		defer r.open(dir)()
		r.settle()
		r.ended(outcomeInterrupted)
		r.within(sip.BYE, "alice", ok, 5)
		r.answer("bob", r.get("bob", "BYE"), 200)
		r.get("alice", 200)
		r.ended(outcomeInterrupted)
	})
}

func TestMedia(t *testing.T) {
	for _, row := range []struct{ contentType, body, want string }{
		{"application/sdp", offer, "audio,video"},
		{"application/sdp", strings.Replace(offer, "video 4002", "video 0", 1), "audio"},
		{"multipart/mixed;boundary=x", "--x\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x\r\nContent-Type: application/sdp\r\n\r\n" + offer + "\r\n--x--\r\n", "audio,video"},
		{"application/sdp", "garbage", ""},
		{"", "", ""},
	} {
		m, err := sip.NewRequest(sip.INVITE, "sip:"+bob).Add(sip.HVia, "SIP/2.0/TCP 198.51.100.99;branch=z9hG4bKm").
			Add(sip.HFrom, "<sip:"+alice+">;tag=t").Add(sip.HTo, "<sip:"+bob+">").Add(sip.HCallID, "m").Add(sip.HCSeq, "1 INVITE").
			Body(row.contentType, []byte(row.body)).Message()
		if err != nil {
			t.Fatal(err)
		}
		if got := media(m); got != row.want {
			t.Errorf("%s: %q, want %q", row.contentType, got, row.want)
		}
	}
}
