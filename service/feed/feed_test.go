package feed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is recorded reaches all streams of both sides, in order, once, and nobody else's.
func TestLive(t *testing.T) {
	r := newRig(t, Limits{})
	a1, a2, b, c := r.openFrom(caller(alice, 1), 0), r.openFrom(caller(alice, 2), 0), r.openFrom(caller(bob, 1), 0), r.openFrom(caller(carol, 1), 0)
	for _, s := range []*Stream{a1, a2, b, c} {
		if e := r.next(s); e.Kind != Ready || e.Name != s.Name() {
			t.Fatalf("the first event is %+v", e)
		}
	}
	seq, rid := r.say(alice, bob, "hello")
	f := r.fate(alice, bob, rid, seq)
	own, _ := r.say(alice, alice, "to myself")
	r.put(store.Record{Kind: store.KindAdmin, From: "root", To: alice})
	start, call := r.put(store.Record{Kind: store.KindCallStart, From: bob, To: alice})
	r.put(store.Record{Kind: store.KindCallText, From: bob, Ref: call})
	end, _ := r.put(store.Record{Kind: store.KindCallEnd, From: bob, To: alice, Ref: call})
	for _, s := range []*Stream{a1, a2} {
		got := r.want(s, Event{Kind: Recorded, Position: seq}, Event{Kind: Fated, Position: f}, Event{Kind: Recorded, Position: own},
			Event{Kind: Recorded, Position: start}, Event{Kind: Recorded, Position: end})
		if string(got[0].Record.Body) != "hello" || got[1].Fate.MessageSeq != seq || got[1].Fate.Message != rid || got[1].Fate.To != bob {
			t.Errorf("got %+v, %+v", got[0].Record, got[1].Fate)
		}
	}
	r.want(b, Event{Kind: Recorded, Position: seq}, Event{Kind: Recorded, Position: start}, Event{Kind: Recorded, Position: end})
	last, _ := r.say(bob, carol, "only this")
	r.want(c, Event{Kind: Recorded, Position: last})
}

// A stream that begins with a position gets what came after it, with what was done to it meanwhile, then what comes.
func TestMissed(t *testing.T) {
	r := newRig(t, Limits{})
	first, _ := r.say(alice, bob, "before")
	one, oneID := r.say(bob, alice, "one")
	two, twoID := r.say(bob, alice, "two")
	edit, _ := r.put(store.Record{Kind: store.KindEdit, From: bob, To: alice, Ref: oneID, ContentType: "text/plain", Body: []byte("ONE")})
	r.put(store.Record{Kind: store.KindEdit, From: bob, To: alice, Ref: twoID, ContentType: "text/plain", Body: []byte("secret")})
	gone, _ := r.put(store.Record{Kind: store.KindRetract, From: bob, To: alice, Ref: twoID})
	three, threeID := r.say(alice, bob, "three")
	f := r.fate(alice, bob, threeID, three)
	s := r.openFrom(caller(alice, 1), first)
	got := r.want(s, Event{Kind: Recorded, Position: one}, Event{Kind: Recorded, Position: two}, Event{Kind: Recorded, Position: edit},
		Event{Kind: Recorded, Position: gone}, Event{Kind: Recorded, Position: three}, Event{Kind: Fated, Position: f}, Event{Kind: Ready, Position: f})
	if len(got[0].About) != 1 || len(got[1].About) != 2 {
		t.Errorf("what was done to them: %v, %v", got[0].About, got[1].About)
	}
	four, _ := r.say(bob, alice, "four")
	r.want(s, Event{Kind: Recorded, Position: four})
	// From the head on there is nothing.
	s2 := r.openFrom(caller(alice, 1), four)
	r.want(s2, Event{Kind: Ready, Position: four})
	// An account sees nothing from before it was made.
	r.mu.Lock()
	r.since = two
	r.mu.Unlock()
	r.want(r.openFrom(caller(alice, 2), first), Event{Kind: Recorded, Position: edit}, Event{Kind: Recorded, Position: gone})
}

// After a long absence what became of messages is told together: nobody keeps the outcomes of days.
func TestLongAbsence(t *testing.T) {
	r := newRig(t, Limits{})
	one, _ := r.say(alice, bob, "one")
	seq, rid := r.say(alice, bob, "two")
	r.fate(alice, bob, rid, seq)
	r.mu.Lock()
	r.taken[bob] = seq
	r.mu.Unlock()
	s := r.openFrom(caller(alice, 1), one)
	r.want(s, Event{Kind: Recorded, Position: seq}, Event{Kind: Fated})
	r.Hub.mu.Lock() // as if there had been many others
	r.fates.begin(r.pos)
	for range keptFates {
		r.fates.add(&Fate{Seq: r.pos})
	}
	r.Hub.mu.Unlock()
	s = r.openFrom(caller(alice, 2), one)
	got := r.want(s, Event{Kind: Fated}, Event{Kind: Recorded, Position: seq}, Event{Kind: Ready})
	if f := got[0].Fate; f.MessageSeq != seq || !f.Message.IsZero() || f.To != bob || got[0].Position != 0 {
		t.Errorf("got %+v", f)
	}
}

// More tells of what was missed, and of what waits.
func TestMore(t *testing.T) {
	r := newRig(t, Limits{})
	first, _ := r.say(alice, bob, "before")
	r.say(bob, alice, "one")
	r.say(bob, alice, "two")
	s := r.openFrom(caller(alice, 1), first)
	for i, more := range []bool{true, false, false} {
		if r.next(s); s.More() != more {
			t.Errorf("after %d more is %v", i+1, !more)
		}
	}
	s.put(Event{Kind: Fated, Position: first + 100, Fate: &Fate{}})
	if !s.More() {
		t.Error("nothing waits")
	}
	if r.next(s); s.More() {
		t.Error("something waits")
	}
}

// A position that the log has not reached, and too much that was missed, begin anew.
func TestReset(t *testing.T) {
	r := newRig(t, Limits{Missed: 3})
	one, _ := r.say(bob, alice, "1")
	s := r.openFrom(caller(alice, 1), one+1000)
	r.want(s, Event{Kind: Reset, Position: one}, Event{Kind: Ready, Position: one})
	two, _ := r.say(bob, alice, "2")
	r.want(s, Event{Kind: Recorded, Position: two})
	var last int64
	for i := range 5 {
		last, _ = r.say(bob, alice, fmt.Sprint(i))
	}
	for r.next(s).Position != last {
	}
	s = r.openFrom(caller(alice, 2), two)
	r.want(s, Event{Kind: Recorded}, Event{Kind: Recorded}, Event{Kind: Recorded}, Event{Kind: Reset, Position: last}, Event{Kind: Ready, Position: last})
	more, _ := r.say(bob, alice, "more")
	r.want(s, Event{Kind: Recorded, Position: more})
	if _, err := r.Open(t.Context(), caller(alice, 3), Start{Position: -1}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a negative position: %v", err)
	}
}

// A stream that nobody reads holds a bounded part of ten thousand messages, others do not wait for it, and when it is read at
// last it has all of them.
func TestNobodyReads(t *testing.T) {
	r := newRig(t, Limits{})
	slow, quick := r.openFrom(caller(alice, 1), 0), r.openFrom(caller(alice, 2), 0)
	r.want(slow, Event{Kind: Ready})
	r.want(quick, Event{Kind: Ready})
	const count, wave = 10_000, 100
	body := make([]byte, 500)
	for range count / wave {
		acks := make(chan error, wave)
		for range wave {
			r.store.Log().Append(&store.Record{Kind: store.KindMessage, From: bob, To: alice, ContentType: "text/plain", Body: body}, func(err error) { acks <- err })
		}
		for range wave { // a busy machine may refuse some
			if err := <-acks; err != nil && !errs.KindOf(err).Temporary() {
				t.Fatal(err)
			}
		}
	}
	want := int64(0)
	end, _ := r.say(bob, alice, "the end")
	for {
		e := r.next(quick)
		want++
		if e.Position == end {
			break
		}
	}
	slow.mu.Lock()
	held, bytes, lost := len(slow.queue), slow.bytes, slow.lost
	slow.mu.Unlock()
	if !lost || held > r.Hub.o.Limits.Queue || bytes > mostBytes {
		t.Errorf("the stream that nobody reads holds %d events of %d bytes, lost %v", held, bytes, lost)
	}
	at := int64(0)
	for got := int64(1); ; got++ {
		e := r.next(slow)
		if e.Kind != Recorded || e.Position <= at {
			t.Fatalf("event %d: kind %d at %d after %d", got, e.Kind, e.Position, at)
		}
		if at = e.Position; at == end {
			if got != want {
				t.Errorf("it got %d, the other %d", got, want)
			}
			return
		}
	}
}

// Streams and sessions are bounded.
func TestBounds(t *testing.T) {
	r := newRig(t, Limits{Streams: 3, PerSession: 2})
	a1 := r.openFrom(caller(alice, 1), 0)
	r.openFrom(caller(alice, 1), 0)
	if _, err := r.Open(t.Context(), caller(alice, 1), Start{}); errs.KindOf(err) != errs.TooMany {
		t.Errorf("a third stream of a session: %v", err)
	}
	r.openFrom(caller(bob, 1), 0)
	if _, err := r.Open(t.Context(), caller(carol, 1), Start{}); errs.KindOf(err) != errs.TooMany {
		t.Errorf("a fourth stream: %v", err)
	}
	a1.Close()
	a1.Close()
	c := r.openFrom(caller(carol, 1), 0)
	r.want(c, Event{Kind: Ready})
	if _, err := r.Open(t.Context(), Caller{AOR: bob, Session: caller(alice, 1).Session}, Start{}); err == nil {
		t.Error("bob has opened a stream in alice's session")
	}
	r.stop()
	if _, err := c.Next(t.Context()); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("the server stops: %v", err)
	}
	if _, err := r.Open(t.Context(), caller(bob, 1), Start{}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}

// What a session acknowledges is passed on once: what it was sent, what it had listed before, and nothing that it was not sent.
func TestAcknowledge(t *testing.T) {
	r := newRig(t, Limits{})
	ctx := t.Context()
	x := caller(alice, 1)
	ack := func(position int64) {
		t.Helper()
		if err := r.Acknowledge(ctx, x.Session, position); err != nil {
			t.Fatal(err)
		}
	}
	r.say(bob, alice, "taken by another device")
	taken, _ := r.say(bob, alice, "this too")
	r.taken[alice] = taken
	listed, _ := r.say(bob, alice, "listed")
	r.say(alice, bob, "own")
	mine, _ := r.say(alice, alice, "to myself")
	ack(mine) // there is no such session yet
	s := r.openFrom(x, mine)
	other := r.openFrom(x, mine)
	r.want(s, Event{Kind: Ready})
	one, _ := r.say(bob, alice, "one")
	r.want(s, Event{Kind: Recorded, Position: one}) // and what was listed has been passed on by now
	r.tookBy(x.Device, listed, mine)
	ack(one + 1000)
	r.tookBy(x.Device, listed, mine, one)
	ack(one)
	two, _ := r.say(bob, alice, "two")
	ack(two) // it was not sent
	r.tookBy(x.Device, listed, mine, one)
	r.want(other, Event{Kind: Ready}, Event{Kind: Recorded, Position: one}, Event{Kind: Recorded, Position: two})
	r.want(s, Event{Kind: Recorded, Position: two})
	ack(two)
	r.tookBy(x.Device, listed, mine, one, two)
	want := []int64{listed, mine, one, two}
	for i := range mostPending + 10 { // more than are remembered
		seq, _ := r.say(bob, alice, fmt.Sprint(i))
		want = append(want, seq)
		r.want(s, Event{Kind: Recorded, Position: seq})
	}
	ack(want[len(want)-5])
	r.tookBy(x.Device, want[:len(want)-4]...)
	ack(want[len(want)-1])
	r.tookBy(x.Device, want...)
	seq, _ := r.say(bob, alice, "and on")
	r.want(s, Event{Kind: Recorded, Position: seq})
	ack(seq)
	r.tookBy(x.Device, append(want, seq)...)
	if err := r.Acknowledge(ctx, x.Session, -1); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a negative position: %v", err)
	}
}

// What one stream of a session has yet to tell is acknowledged although another one began after it.
func TestAcknowledgeBesideAnother(t *testing.T) {
	r := newRig(t, Limits{})
	x := caller(alice, 1)
	s, b := r.openFrom(x, 0), r.openFrom(caller(bob, 1), 0)
	r.want(s, Event{Kind: Ready})
	r.want(b, Event{Kind: Ready})
	one, _ := r.say(bob, alice, "one")
	r.want(b, Event{Kind: Recorded, Position: one}) // so that it waits in s as well
	r.want(r.openFrom(x, 0), Event{Kind: Ready, Position: one})
	r.want(s, Event{Kind: Recorded, Position: one})
	if err := r.Acknowledge(t.Context(), x.Session, one); err != nil {
		t.Fatal(err)
	}
	r.tookBy(x.Device, one)
}

// What waits to be acknowledged is bounded in bytes, and acknowledged all the same.
func TestAcknowledgeLarge(t *testing.T) {
	r := newRig(t, Limits{})
	x := caller(alice, 1)
	s := r.openFrom(x, 0)
	r.want(s, Event{Kind: Ready})
	var want []int64
	for range 10 {
		seq, _ := r.say(bob, alice, strings.Repeat("x", mostBytes/4))
		want = append(want, seq)
		r.want(s, Event{Kind: Recorded, Position: seq})
		s.session.mu.Lock()
		held := 0
		for _, rec := range s.session.pending {
			held += recordSize(rec)
		}
		if held > mostBytes || held != s.session.bytes {
			t.Errorf("%d bytes wait, %d are counted", held, s.session.bytes)
		}
		s.session.mu.Unlock()
	}
	for _, position := range []int64{want[4], want[9]} {
		if err := r.Acknowledge(t.Context(), x.Session, position); err != nil {
			t.Fatal(err)
		}
	}
	r.tookBy(x.Device, want...)
}

// A reader that gives up leaves nothing behind.
func TestGiveUp(t *testing.T) {
	r := newRig(t, Limits{})
	s := r.openFrom(caller(alice, 1), 0)
	r.want(s, Event{Kind: Ready})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.Close()
	r.Hub.mu.Lock()
	defer r.Hub.mu.Unlock()
	if len(r.people) != 0 || r.open.Load() != 0 || len(r.fates.list) != 0 {
		t.Errorf("%d people, %d streams, %d outcomes are left", len(r.people), r.open.Load(), len(r.fates.list))
	}
}

func TestFates(t *testing.T) {
	var f fates
	f.begin(100)
	for i := range int64(keptFates + 10) {
		f.add(&Fate{Seq: 101 + i, From: alice, Message: id.New()})
	}
	f.read(101 + keptFates + 10)
	list, ok := f.between(alice, f.since, f.to)
	if !ok || int64(len(list)) != 101+keptFates+9-f.since || list[0].Seq != f.since+1 {
		t.Errorf("%d outcomes after %d: %v", len(list), f.since, ok)
	}
	if _, ok := f.between(alice, f.since-1, f.to); ok {
		t.Error("what is forgotten is said to be there")
	}
	f.begin(100)
	f.add(&Fate{Seq: 150, From: bob})
	f.before(50, []*Fate{{Seq: 60, From: bob}, {Seq: 70, From: alice}})
	if list, ok := f.between(bob, 50, 200); !ok || len(list) != 2 || list[0].Seq != 60 || list[1].Seq != 150 {
		t.Errorf("%v, %v", list, ok)
	}
	if list, _ := f.between(bob, 60, 149); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	h := New(Options{Registerer: reg})
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	h.Stop()
}
