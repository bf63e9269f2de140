package message

import (
	"strconv"
	"testing"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// movesNothing tells whether an outcome moves no cursor.
func movesNothing(r *store.Record) bool {
	x := replayOf(0)
	return x.add(r) == nil && len(x.cursors()) == 0
}

// replayOf begins where the store has the cursor of each device at saved.
func replayOf(saved int64) replayed {
	return replayed{map[store.CursorKey]*replayedDevice{}, func(store.CursorKey) (int64, error) { return saved, nil }}
}

// busyLog refuses the outcomes of one message, as a locked database does for a while.
type busyLog struct {
	store.Log
	text string // of the message
}

func (l busyLog) Append(r *store.Record, done func(error)) {
	if r.Kind == store.KindDelivery && r.MetaValue(store.MetaReason) == l.text {
		go done(errs.New(errs.Unavailable, "locked"))
		return
	}
	l.Log.Append(r, done)
}

// Invariant 3: an outcome that is tried again, when the server is killed meanwhile and outcomes of later messages are in the log,
// is not lost: the message is delivered again.
func TestOutcomeOvertaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := prepare(t)
		r.faultLog = func(l store.Log) store.Log { return busyLog{l, "one"} }
		r.run()
		r.signIn(bob, "urn:uuid:phone", nil)
		s, at := r.service, time.Now()
		first := &store.Record{Seq: 1 << 40, To: bob, At: at}
		second := &store.Record{Seq: 1<<40 + 1, To: bob, At: at}
		s.recordOutcome(first, "urn:uuid:phone", fate{outcome: store.OutcomeRefused, status: 488, reason: "one"}, 0, func() {})
		s.recordOutcome(second, "urn:uuid:phone", fate{outcome: store.OutcomeRefused, status: 488, reason: "two"}, first.Seq, func() {})
		r.eventually("the second outcome", func() bool { return len(r.records(store.KindDelivery)) == 1 })
		x := replayOf(0)
		for _, o := range r.records(store.KindDelivery) {
			if err := x.add(&o); err != nil {
				t.Fatal(err)
			}
		}
		if list := x.cursors(); len(list) != 1 || list[0].Seq != first.Seq-1 {
			t.Errorf("the cursor would be %+v, want %d", list, first.Seq-1)
		}
		// When it comes, in whatever order, the cursor goes on.
		o := outcomeOf(first, "urn:uuid:phone", fate{outcome: store.OutcomeRefused, status: 488, reason: "one"})
		o.Meta[metaMessageSeq] = "1099511627776"
		if err := x.add(o); err != nil {
			t.Fatal(err)
		}
		if list := x.cursors(); len(list) != 1 || list[0].Seq != second.Seq {
			t.Errorf("then the cursor would be %+v, want %d", list, second.Seq)
		}
	})
}

// A device names the last message whose outcome is on its way.
func TestUnrecorded(t *testing.T) {
	d := &outbox{}
	for i := range 4 {
		d.owed = append(d.owed, &owed{seq: int64(i + 1)})
	}
	for i, want := range []int64{4, 4, 2, 0} {
		if got := d.unrecorded(); got != want {
			t.Errorf("after %d: %d, want %d", i, got, want)
		}
		landed := [][]int{{0}, {2, 3}, {1}, {}}[i]
		for _, n := range landed {
			d.owed[n].landed.Store(true)
		}
	}
}

// However many outcomes were on their way at once, and wherever the last save was among them, those in the log count.
func TestManyOutcomes(t *testing.T) {
	const many = 1000
	for name, c := range map[string]struct {
		saved, from int64 // of the replay
		lost        int64
		want        int64
	}{
		"all of them":             {want: many, from: 1},
		"from the middle":         {saved: 500, from: 501, want: many},
		"one was lost":            {from: 1, lost: 300, want: 299},
		"one was lost, then save": {saved: 299, from: 301, lost: 300, want: 299},
	} {
		x := replayOf(c.saved)
		for seq := c.from; seq <= many; seq++ {
			o := outcomeOf(&store.Record{Seq: seq, To: bob}, "phone", fate{outcome: store.OutcomeRefused, status: 488, reason: ""})
			o.Meta[metaMessageSeq] = strconv.FormatInt(seq, 10)
			if seq > 1 {
				o.Meta[metaUnrecorded] = strconv.FormatInt(seq-1, 10)
			}
			if seq == c.lost {
				continue
			}
			if err := x.add(o); err != nil {
				t.Fatal(err)
			}
		}
		if list := x.cursors(); len(list) != 1 || list[0].Seq != c.want {
			t.Errorf("%s: %+v, want %d", name, list, c.want)
		}
	}
}

// An account gets what was said since it was made, also when the clock was set back meanwhile, and nothing from before, also
// when it was set forward.
func TestClockSetBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		r.send(say("for the old bob"))
		made := r.records(store.KindMessage)[0].Seq
		for _, offset := range []time.Duration{time.Hour, -time.Hour} {
			r.mu.Lock()
			r.users[bob] = &store.User{AOR: bob, Created: time.Now().Add(offset), Since: made}
			r.mu.Unlock()
			r.service.Forget(bob)
			text := "for the new bob " + offset.String()
			r.send(say(text))
			phone := r.signIn(bob, "urn:uuid:phone"+offset.String(), nil)
			for got := phone.text(); got != text; got = phone.text() {
				if got == "for the old bob" {
					t.Fatalf("clock %v: got %q", offset, got)
				}
			}
			phone.signOut()
		}
	})
}

// deafLog records outcomes and does not say so, as a log whose callbacks are late when the server is killed.
type deafLog struct{ store.Log }

func (l deafLog) Append(r *store.Record, done func(error)) {
	if r.Kind == store.KindDelivery {
		done = func(error) {}
	}
	l.Log.Append(r, done)
}

// What is on record as delivered is not delivered again, also when the cursors were saved between the record and its callback.
func TestSavedBeforeHeard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := prepare(t)
		r.faultLog = func(l store.Log) store.Log { return deafLog{l} }
		r.run()
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		for _, text := range []string{"one", "two"} {
			r.send(say(text))
			phone.next()
		}
		r.eventually("the outcomes", func() bool { return len(r.records(store.KindDelivery)) == 2 })
		r.stop() // saves the cursors
		r.faultLog = nil
		r.run()
		r.send(say("three"))
		if m := phone.next(); string(m.Body()) != "three" {
			t.Errorf("%q was delivered again", m.Body())
		}
	})
}
