package message

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// A client that is gone without a word does not hold up the one that came after it on the same plain device, nor its
// senders.
func TestDeadContactOfPlainDevice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		dead := r.signIn(bob, Plain, func(*sip.Message) int { return 0 })
		live := r.signIn(bob, Plain, nil)
		began := time.Now()
		for i := range 4 {
			if res := r.send(say(fmt.Sprint(i))); i != 1 && res.Status != 200 { // 1 waits until the dead contact is given up
				t.Errorf("message %d: %+v", i, res)
			}
			if got := live.text(); got != fmt.Sprint(i) {
				t.Fatalf("message %d is %q", i, got)
			}
		}
		if took := time.Since(began); took > 3*answerWithin {
			t.Errorf("four messages took %v", took)
		}
		if n := len(dead.got); n != 1 {
			t.Errorf("the dead contact was sent %d messages, want the first alone", n)
		}
	})
}

// A refusal of one contact counts although another one is silent.
func TestRefusalBesideDeadContact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		r.signIn(bob, Plain, func(*sip.Message) int { return 0 })
		live := r.signIn(bob, Plain, func(m *sip.Message) int {
			if string(m.Body()) == "poison" {
				return 415
			}
			return 200
		})
		r.send(say("poison"))
		r.send(say("next"))
		for live.text() != "next" {
		}
	})
}

// A device that returns on another way does not wait for the old one to be given up.
func TestDeviceReturnsOnAnotherWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		old := r.signIn(bob, "urn:uuid:phone", func(*sip.Message) int { return 0 })
		answer := make(chan Result, 1)
		r.service.Send(say("x"), func(res Result) { answer <- res })
		first := old.next()
		old.signOut()
		again := r.signIn(bob, "urn:uuid:phone", nil)
		m := again.next()
		if m.CallID() != first.CallID() {
			t.Errorf("the redelivery has Call-ID %s, the first had %s", m.CallID(), first.CallID())
		}
		if res := <-answer; res.Status != 200 {
			t.Errorf("got %+v", res)
		}
		r.send(say("y"))
		if got := again.text(); got != "y" {
			t.Errorf("then got %q", got)
		}
	})
}

// Nor does one whose old registration has not run out, as that of a phone that fell off a network.
func TestDeviceReturnsBesideItsOldContact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		old := r.signIn(bob, "urn:uuid:phone", func(*sip.Message) int { return 0 })
		answer := make(chan Result, 1)
		r.service.Send(say("x"), func(res Result) { answer <- res })
		first := old.next()
		again := r.signIn(bob, "urn:uuid:phone", nil)
		if m := again.next(); m.CallID() != first.CallID() {
			t.Errorf("the redelivery has Call-ID %s, the first had %s", m.CallID(), first.CallID())
		}
		if res := <-answer; res.Status != 200 {
			t.Errorf("got %+v", res)
		}
		r.service.Arrived(bob, "urn:uuid:phone") // a refresh changes nothing
		r.send(say("y"))
		if got := again.text(); got != "y" {
			t.Errorf("then got %q", got)
		}
	})
}

// Nor does a plain device, which may have several contacts at once: the new one gets what is on its way to an older one.
// This is bob's laptop that fell off its network, over UDP: nothing ends its registration.
func TestPlainDeviceReturnsBesideItsOldContact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		dead := r.signIn(bob, Plain, func(*sip.Message) int { return 0 })
		answer := make(chan Result, 1)
		r.service.Send(say("x"), func(res Result) { answer <- res })
		first := dead.next()
		began := time.Now()
		live := r.signIn(bob, Plain, nil)
		if m := live.next(); m.CallID() != first.CallID() {
			t.Errorf("the redelivery has Call-ID %s, the first had %s", m.CallID(), first.CallID())
		}
		if res := <-answer; res.Status != 200 {
			t.Errorf("got %+v", res)
		}
		for _, text := range []string{"y", "z"} {
			r.service.Send(say(text), func(Result) {})
			if got := live.text(); got != text {
				t.Errorf("then got %q", got)
			}
		}
		if took := time.Since(began); took > answerWithin {
			t.Errorf("the old contact held up the new one for %v", took)
		}
		if n := len(dead.got); n != 0 {
			t.Errorf("the old contact was sent %d messages more", n)
		}
	})
}

// So does one that was silent before and was left out since.
func TestSilentContactReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		var asleep, gone atomic.Bool
		asleep.Store(true)
		phone := r.signIn(bob, Plain, func(*sip.Message) int {
			if asleep.Load() {
				return 0
			}
			return 200
		})
		laptop := r.signIn(bob, Plain, func(*sip.Message) int {
			if gone.Load() {
				return 0
			}
			return 200
		})
		for _, text := range []string{"a", "b"} {
			r.service.Send(say(text), func(Result) {})
			if got := laptop.text(); got != text {
				t.Fatalf("the laptop got %q", got)
			}
		}
		if n := len(phone.got); n != 1 {
			t.Fatalf("the phone was sent %d messages, want the first alone", n)
		}
		gone.Store(true)
		phone.next()
		r.send(say("x"))
		laptop.next()
		asleep.Store(false)
		r.service.Arrived(bob, Plain) // the phone refreshes its registration
		if got := phone.text(); got != "x" {
			t.Errorf("the phone got %q", got)
		}
	})
}

// A device that registers while an attempt to reach it fails is tried again at once, once for each registration, and gives
// up a message that it never takes.
func TestRegistersWhileAnAttemptFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		var wakes atomic.Bool
		phone := r.signIn(bob, "urn:uuid:phone", func(m *sip.Message) int {
			if wakes.Load() && string(m.Body()) != "poison" {
				return 200
			}
			return 0
		})
		r.send(say("x"))
		phone.next()
		wakes.Store(true)
		r.service.Arrived(bob, "urn:uuid:phone")
		began := time.Now()
		for m := (*sip.Message)(nil); m == nil; { // 64 * T1 (RFC 3261 §17.1.2.2)
			select {
			case m = <-phone.got:
			case <-time.After(time.Minute):
				t.Fatalf("nothing came within %v", time.Since(began))
			}
		}
		if took := time.Since(began); took > 32*time.Second+time.Second {
			t.Errorf("it came after %v", took)
		}
		r.send(say("poison"))
		r.send(say("next"))
		for range 2 * maxSilences {
			r.service.Arrived(bob, "urn:uuid:phone")
			time.Sleep(20 * time.Second)
		}
		r.eventually("the message after the one that is never taken", func() bool {
			for len(phone.got) > 0 {
				if phone.text() == "next" {
					return true
				}
			}
			return false
		})
	})
}

// A device with several ways is tried on the one that it has just refreshed, and not on a newer one that is dead, until
// that is given up.
func TestInstanceRefreshesAnotherWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		live := r.signIn(bob, "urn:uuid:phone", nil)
		dead := r.signIn(bob, "urn:uuid:phone", func(*sip.Message) int { return 0 })
		r.send(say("x")) // 202 after answerWithin
		dead.next()
		r.mu.Lock()
		slices.Reverse(r.table) // the most recently refreshed first
		r.mu.Unlock()
		r.service.Arrived(bob, "urn:uuid:phone")
		if got := live.text(); got != "x" {
			t.Errorf("got %q", got)
		}
	})
}

// A message that ends the client there each time, which comes back from another port over UDP before we know, does not
// keep the next one from it for ever.
func TestPoisonEndsTheClient(t *testing.T) {
	for _, name := range []string{Plain, "urn:uuid:phone"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := start(t)
				var last *device
				restart := func() {
					crashed := false
					last = r.signIn(bob, name, func(m *sip.Message) int {
						crashed = crashed || string(m.Body()) == "poison"
						if crashed {
							return 0
						}
						return 200
					})
				}
				restart()
				r.send(say("poison"))
				r.send(say("next"))
				began := time.Now()
				for texts := []string{}; !slices.Contains(texts, "next"); {
					if time.Since(began) > 2*maxSilences*silence {
						t.Fatal("the next message never comes")
					}
					time.Sleep(10 * time.Second)
					for len(last.got) > 0 {
						texts = append(texts, last.text())
					}
					if slices.Contains(texts, "poison") {
						restart()
					}
				}
				if took := time.Since(began); took < (maxSilences-1)*silence {
					t.Errorf("the message was given up after %v", took)
				}
			})
		})
	}
}

// What one contact has taken is not sent to it again because another one goes.
func TestOldContactGoesAfterDelivery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		dead := r.signIn(bob, Plain, func(*sip.Message) int { return 0 })
		live := r.signIn(bob, Plain, nil)
		r.send(say("x"))
		live.next()
		dead.signOut()
		r.service.Arrived(bob, Plain)
		r.send(say("y"))
		if got := live.text(); got != "y" {
			t.Errorf("the second message is %q", got)
		}
	})
}

// Devices that a message is not for have no part in its answer.
func TestRefusalOfTheOnlyDeviceMeant(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		r.signIn(bob, "urn:uuid:phone", nil).signOut()
		tablet := r.signIn(bob, "urn:uuid:tablet", nil)
		r.signIn(bob, "urn:uuid:desk", func(*sip.Message) int { return 415 })
		o := say("for the desk")
		o.ToDevice = "urn:uuid:desk"
		if res := r.send(o); res.Status != 415 {
			t.Errorf("got %+v", res)
		}
		r.send(say("for all"))
		if got := tablet.text(); got != "for all" {
			t.Errorf("the tablet got %q", got)
		}
	})
}

func TestRefusalForTheSender(t *testing.T) {
	for name, c := range map[string]struct {
		devices []int
		want    int
	}{
		"what to change comes first":      {[]int{404, 415, 603}, 415},
		"else the lowest":                 {[]int{603, 405}, 405},
		"a challenge is not for a sender": {[]int{401}, 403},
		"nor a redirection":               {[]int{302}, 480},
		"silence in the end":              {[]int{0}, 480},
	} {
		var got Result
		p := &pending{service: &Service{repeats: newRepeats(time.Hour)}, rec: &store.Record{}, done: func(r Result) { got = r }, open: len(c.devices)}
		for _, status := range c.devices {
			p.refused(status)
		}
		if got.Status != c.want || got.Reason != "" || got.Warning == "" {
			t.Errorf("%s: %+v, want %d", name, got, c.want)
		}
	}
}

// Invariant 1: a repeat of what could not be recorded is not accepted, at whatever moment it comes.
func TestRepeatOfUnrecorded(t *testing.T) {
	w := newRepeats(time.Hour)
	p := &pending{service: &Service{repeats: w}, rec: &store.Record{ID: id.New()}, done: func(Result) {}}
	p.settle(unrecorded())
	var got Result
	p.alsoTell(func(r Result) { got = r })
	if got.Status != 500 || got.RetryAfter == 0 || !got.ID.IsZero() {
		t.Errorf("a repeat just after the answer got %+v", got)
	}
}

func TestRepeatAfterRefusal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		r.signIn(bob, "urn:uuid:phone", func(*sip.Message) int { return 415 })
		for i := range 2 {
			if res := r.send(say("x")); res.Status != 415 || res.Warning == "" {
				t.Errorf("try %d: %+v", i, res)
			}
		}
		if n := len(r.records(store.KindMessage)); n != 1 {
			t.Errorf("%d records", n)
		}
	})
}

// A message that a reader of the log meets before its sender's turn comes is delivered once.
func TestReadBeforePushed(t *testing.T) {
	box := &mailbox{outboxes: map[string]*outbox{}}
	rec := &store.Record{Seq: 10}
	d := &outbox{box: box, device: "phone", read: 10, latest: 9, queue: []item{{rec: rec}}}
	p := &pending{rec: rec}
	if tried, later := d.push(p); !tried || later || len(d.queue) != 1 || d.queue[0].p != p || d.read != 10 {
		t.Errorf("in queue: tried %v, later %v, queue %v", tried, later, d.queue)
	}
	d = &outbox{box: box, device: "phone", read: 10, latest: 9, cursor: 10}
	if tried, later := d.push(p); tried || !later || len(d.queue) != 0 {
		t.Errorf("settled: tried %v, later %v, queue %v", tried, later, d.queue)
	}
}

// What a slow device may keep in memory is bounded; senders beyond hear at once that their message is stored.
func TestSlowDeviceIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		phone := r.signIn(bob, "urn:uuid:phone", func(*sip.Message) int { return 0 })
		r.service.Send(say("first"), func(Result) {})
		phone.next()
		const n = 4 * maxQueued
		var at atomic.Int32
		for i := range n {
			r.service.Send(say(fmt.Sprint(i)), func(res Result) {
				if res.Status == 202 {
					at.Add(1)
				}
			})
		}
		began := time.Now()
		r.eventually("senders beyond the bounds to be answered", func() bool { return at.Load() >= n-2*maxQueued })
		if took := time.Since(began); took > answerWithin {
			t.Errorf("after %v", took)
		}
		held := make(chan int)
		w := r.service.shardOf(bob)
		w.post(func() { d := w.boxes[bob].outboxes[phone.name]; held <- len(d.queue) + len(d.waiting) })
		if got := <-held; got > 2*maxQueued {
			t.Errorf("%d messages held", got)
		}
	})
}

// deafCursors cannot be read.
type deafCursors struct{ store.Cursors }

func (deafCursors) LoadCursors(context.Context, string) ([]store.Cursor, error) {
	return nil, store.ErrUnavailable
}

// The sender hears 202 within two seconds also when the cursors cannot be read, and nothing piles up.
func TestAnswerWithoutCursors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := prepare(t)
		r.fault = func(c store.Cursors) store.Cursors { return deafCursors{c} }
		r.run()
		r.signIn(bob, "urn:uuid:phone", nil)
		began := time.Now()
		if res := r.send(say("x")); res.Status != 202 || time.Since(began) > answerWithin+time.Second {
			t.Errorf("after %v: %+v", time.Since(began), res)
		}
		for i := range maxUnread + 10 {
			r.service.Send(say(fmt.Sprint(i)), func(Result) {})
		}
		r.eventually("all to be recorded", func() bool { return len(r.records(store.KindMessage)) == maxUnread+11 })
		held := make(chan int)
		w := r.service.shardOf(bob)
		w.post(func() { held <- len(w.boxes[bob].waiting) })
		if got := <-held; got > maxUnread+2 { // two are for the device that arrived
			t.Errorf("%d events wait", got)
		}
	})
}

// After a start, devices that are registered still get what they are owed without registering again.
func TestResumeAfterRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		var up atomic.Bool
		phone := r.signIn(bob, "urn:uuid:phone", func(*sip.Message) int {
			if up.Load() {
				return 200
			}
			return 0
		})
		if res := r.send(say("x")); res.Status != 202 {
			t.Fatalf("got %+v", res)
		}
		first := phone.next()
		r.stop()
		up.Store(true)
		r.run()
		if again := phone.next(); again.CallID() != first.CallID() {
			t.Errorf("got\n%s", again.Bytes())
		}
		r.eventually("the outcome", func() bool { return len(r.records(store.KindDelivery)) == 1 })
	})
}

// noOutcomes is a log that takes no outcomes, as when the disk becomes full just after a message was delivered.
type noOutcomes struct{ store.Log }

func (l noOutcomes) Append(r *store.Record, done func(error)) {
	if r.Kind == store.KindDelivery {
		go done(store.ErrUnavailable)
		return
	}
	l.Log.Append(r, done)
}

// Invariant 3: a message whose outcome could not be recorded before the server ended is delivered again, and then it is.
func TestOutcomeLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := prepare(t)
		r.faultLog = func(l store.Log) store.Log { return noOutcomes{l} }
		r.run()
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		if res := r.send(say("x")); res.Status != 200 {
			t.Fatalf("got %+v", res)
		}
		first := phone.next()
		r.stop()
		r.faultLog = nil
		r.run()
		if again := phone.next(); again.CallID() != first.CallID() {
			t.Errorf("got\n%s", again.Bytes())
		}
		r.eventually("the outcome", func() bool { return len(r.records(store.KindDelivery)) == 1 })
	})
}

// An account that is made again under the same name is another one: it gets nothing that was said to the first.
func TestAccountMadeAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		r.signIn(bob, "urn:uuid:phone", func(*sip.Message) int { return 0 }).next0(r, "for the old bob")
		time.Sleep(time.Millisecond) // the clock stands still otherwise
		r.mu.Lock()
		r.table = nil
		r.users[bob] = &store.User{AOR: bob, Created: time.Now()}
		r.mu.Unlock()
		r.service.Forget(bob)
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		r.send(say("for the new bob"))
		if got := phone.text(); got != "for the new bob" {
			t.Errorf("got %q", got)
		}
	})
}

// next0 sends text and waits until the device has it.
func (d *device) next0(r *rig, text string) {
	r.t.Helper()
	r.service.Send(say(text), func(Result) {})
	d.next()
}

// A device that returns after its lapse begins as a new one does: with what no device took.
func TestReturnAfterLapse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		desk := r.signIn(bob, "urn:uuid:desk", nil) // keeps the mailbox in memory
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		r.send(say("known"))
		phone.next()
		desk.next()
		phone.signOut()
		r.send(say("taken by the desk"))
		desk.next()
		desk.signOut()
		r.send(say("taken by nobody"))
		r.eventually("cursors saved", func() bool {
			list, err := r.store.LoadCursors(t.Context(), bob)
			return err == nil && len(list) == 3 && list[0].Seq > 0 && list[1].Seq >= list[0].Seq
		})
		for range 2 { // the second time there is nothing to do
			if err := r.service.lapse(t.Context(), time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		expired := 0
		for _, o := range r.records(store.KindDelivery) {
			if o.MetaValue(store.MetaOutcome) == store.OutcomeExpired {
				expired++
			}
		}
		if expired != 3 { // two for the phone, one for the desk
			t.Errorf("%d outcomes are expired, want 3", expired)
		}
		phone = r.signIn(bob, "urn:uuid:phone", nil)
		if got := phone.text(); got != "taken by nobody" {
			t.Errorf("got %q", got)
		}
	})
}

// An account cannot be owed messages on more and more devices.
func TestDevicesAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		const n = maxDevices + 6
		for i := range n {
			d := r.signIn(bob, fmt.Sprintf("urn:uuid:%03d", i), nil)
			r.eventually("arrival", func() bool {
				there := make(chan bool)
				w := r.service.shardOf(bob)
				w.post(func() { b := w.boxes[bob]; there <- b != nil && b.outboxes[d.name] != nil })
				return <-there
			})
			d.signOut()
			if i == 0 {
				r.send(say("x"))
			}
		}
		r.eventually("the oldest to be lapsed", func() bool {
			list, err := r.store.LoadCursors(t.Context(), bob)
			live := 0
			for _, c := range list {
				if c.Device != "" && !c.Lapsed {
					live++
				}
			}
			return err == nil && len(list) >= n && live == maxDevices
		})
	})
}

func TestRate(t *testing.T) {
	l := newRate(10)
	now := time.Now()
	sent := 0
	for range 100 {
		if l.Take(alice, now) {
			sent++
		}
	}
	if sent != 40 {
		t.Errorf("%d at once, want 40", sent)
	}
	if !l.Take(bob, now) {
		t.Error("one sender uses up another's share")
	}
	for range 100 {
		if l.Take(alice, now.Add(time.Second)) {
			sent++
		}
	}
	if sent != 50 {
		t.Errorf("%d after a second, want 50", sent)
	}
	off := newRate(0)
	for range 1000 {
		if !off.Take(alice, now) {
			t.Fatal("0 is a limit")
		}
	}
}

func TestTooFast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := prepare(t)
		r.rate = 1
		r.run()
		for i := range 6 {
			res := r.send(say(fmt.Sprint(i)))
			if i < 4 && res.Status != 202 || i == 5 && (res.Status != 503 || res.RetryAfter != 1 || res.Warning == "") {
				t.Errorf("message %d: %+v", i, res)
			}
		}
	})
}
