package feed

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// silence is a log in which nothing is: these tests are about time alone.
type silence struct{}

func (silence) Head() int64                                                     { return 7 }
func (silence) Read(context.Context, int64, int) ([]store.Record, error)        { return nil, nil }
func (silence) Newest(int64) ([]*store.Record, bool)                            { return nil, false }
func (silence) Subscribe(func(int64)) func()                                    { return func() {} }
func (silence) WaitFor(_ int64, done func()) func()                             { done(); return func() {} }
func (silence) About(context.Context, ...id.ID) ([]store.Record, error)         { return nil, nil }
func (silence) Talks(context.Context, string, int64, int) ([]store.Talk, error) { return nil, nil }
func (silence) PersonAfter(context.Context, string, int64, int) ([]store.Record, error) {
	return nil, nil
}

// quiet runs a test with a hub in which nothing is recorded, on a clock of its own.
func quiet(t *testing.T, test func(t *testing.T, h *Hub, w *watches)) {
	synctest.Test(t, func(t *testing.T) {
		zero := func(context.Context, string) (int64, error) { return 0, nil }
		w := &watches{contacts: map[string][]string{}}
		h := New(Options{Records: silence{}, Index: silence{}, Talks: silence{}, Since: zero, Taken: zero,
			Took: func(string, string, []*store.Record) {}, Contacts: w.list, Follow: w.follow})
		ctx, cancel := context.WithCancel(t.Context())
		var served sync.WaitGroup
		served.Go(func() { _ = h.Serve(ctx) })
		test(t, h, w)
		cancel()
		served.Wait()
	})
}

// watches are those of presence.
type watches struct {
	mu       sync.Mutex // guards what follows
	contacts map[string][]string
	open     []*watch
}

type watch struct {
	w       *watches
	watcher string
	owners  []string
	f       func(string, any)
	closed  bool
}

func (w *watches) list(_ context.Context, owner string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.contacts[owner]), nil
}

func (w *watches) follow(ctx context.Context, watcher string, owners []string, f func(string, any)) (Follower, error) {
	x := &watch{w: w, watcher: watcher, f: f}
	w.mu.Lock()
	w.open = append(w.open, x)
	w.mu.Unlock()
	return x, x.Add(ctx, owners...)
}

func (x *watch) Add(_ context.Context, owners ...string) error {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if slices.Contains(owners, "too many") {
		return errs.New(errs.TooMany, "too many")
	}
	x.owners = append(x.owners, owners...)
	return nil
}

func (x *watch) Remove(owners ...string) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.owners = slices.DeleteFunc(x.owners, func(o string) bool { return slices.Contains(owners, o) })
}

func (x *watch) Close() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.closed = true
}

// say tells the watches of somebody.
func (w *watches) say(owner string, value any) {
	w.mu.Lock()
	var to []*watch
	for _, x := range w.open {
		if !x.closed && slices.Contains(x.owners, owner) {
			to = append(to, x)
		}
	}
	w.mu.Unlock()
	for _, x := range to {
		x.f(owner, value)
	}
}

func begin(t *testing.T, h *Hub, c Caller, o Start) *Stream {
	t.Helper()
	s, err := h.Open(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	if e := after(t, s); e.Kind != Ready || e.Position != 7 {
		t.Fatalf("the first event is %+v", e)
	}
	return s
}

func after(t *testing.T, s *Stream) Event {
	t.Helper()
	e, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A stream on which nothing happens has a sign of life every 20 s, with the position up to which it is.
func TestHeartbeat(t *testing.T) {
	quiet(t, func(t *testing.T, h *Hub, _ *watches) {
		s := begin(t, h, caller(alice, 1), Start{})
		defer s.Close()
		for range 3 {
			began := time.Now()
			if e := after(t, s); e.Kind != Ping || e.Position != 7 || time.Since(began) != 20*time.Second {
				t.Errorf("after %v: %+v", time.Since(began), e)
			}
		}
	})
}

// Who writes is told of, and forgotten 15 s after it was last said; a stream that begins hears of it.
func TestTyping(t *testing.T) {
	quiet(t, func(t *testing.T, h *Hub, _ *watches) {
		s := begin(t, h, caller(alice, 1), Start{})
		defer s.Close()
		typing := func(s *Stream, active bool) {
			t.Helper()
			e := after(t, s)
			for e.Kind == Ping {
				e = after(t, s)
			}
			if e.Kind != Typing || e.Name != bob || e.Active != active || e.Position != 0 {
				t.Errorf("got %+v, want %v", e, active)
			}
		}
		h.Typing(carol, bob, true)
		h.Typing(bob, alice, true)
		typing(s, true)
		time.Sleep(10 * time.Second)
		h.Typing(bob, alice, true)
		typing(s, true)
		late := begin(t, h, caller(alice, 2), Start{})
		defer late.Close()
		typing(late, true)
		began := time.Now()
		typing(s, false)
		if d := time.Since(began); d < 14*time.Second || d > 17*time.Second {
			t.Errorf("forgotten after %v", d)
		}
		typing(late, false)
		h.Typing(bob, alice, true)
		h.Typing(bob, alice, false) // only the last counts for who reads slowly
		typing(s, false)
		h.Typing(bob, alice, false)
		if e := after(t, s); e.Kind != Ping {
			t.Errorf("got %+v", e)
		}
	})
}

// A session is there while it has a stream, and for a moment longer, so that a page may be loaded anew.
func TestOnline(t *testing.T) {
	quiet(t, func(t *testing.T, h *Hub, _ *watches) {
		var mu sync.Mutex
		changes := 0
		h.OnChange(func(aor string) {
			if aor != alice {
				t.Errorf("%s has changed", aor)
			}
			mu.Lock()
			defer mu.Unlock()
			changes++
		})
		check := func(want int, devices ...string) []Session {
			t.Helper()
			synctest.Wait()
			list := h.Online(alice)
			var got []string
			for _, s := range list {
				got = append(got, s.Device)
			}
			mu.Lock()
			defer mu.Unlock()
			if changes != want || !slices.Equal(got, devices) {
				t.Errorf("%v after %d changes, want %v after %d", got, changes, devices, want)
			}
			return list
		}
		one, two := caller(alice, 1), caller(alice, 2)
		s := begin(t, h, one, Start{})
		check(1, one.Device)
		s.Close()
		check(1, one.Device)
		time.Sleep(20 * time.Second)
		s = begin(t, h, one, Start{})
		again := begin(t, h, one, Start{})
		time.Sleep(40 * time.Second)
		again.Close()
		check(1, one.Device)
		other := begin(t, h, two, Start{})
		defer other.Close()
		check(2, one.Device, two.Device)
		idle := time.Now()
		h.SetIdle(two.Session, idle)
		h.SetIdle(two.Session, idle)
		h.SetIdle("unknown", idle)
		if list := check(3, one.Device, two.Device); !list[1].Idle.Equal(idle) || !list[0].Idle.IsZero() || list[0].Kind != "desktop" {
			t.Errorf("%+v", list)
		}
		s.Close()
		time.Sleep(29 * time.Second)
		check(3, one.Device, two.Device)
		time.Sleep(3 * time.Second)
		check(4, two.Device)
		h.SetIdle(two.Session, time.Time{})
		check(5, two.Device)
	})
}

// A session that is over says so on all its streams, and is gone at once.
func TestEnd(t *testing.T) {
	quiet(t, func(t *testing.T, h *Hub, _ *watches) {
		var all []*Stream
		for _, c := range []Caller{caller(alice, 1), caller(alice, 1), caller(alice, 2), caller(bob, 1)} {
			s := begin(t, h, c, Start{})
			defer s.Close()
			all = append(all, s)
		}
		ended := func(s *Stream, why string) {
			t.Helper()
			if e := after(t, s); e.Kind != Ended || e.Name != why {
				t.Errorf("got %+v", e)
			}
			if _, err := s.Next(t.Context()); err != ErrEnded {
				t.Errorf("after the end: %v", err)
			}
		}
		h.End("unknown", "x")
		h.End(caller(alice, 1).Session, "signed out")
		ended(all[0], "signed out")
		ended(all[1], "signed out")
		if list := h.Online(alice); len(list) != 1 || list[0].ID != caller(alice, 2).Session {
			t.Errorf("there are %v", list)
		}
		h.EndAll(alice, caller(alice, 2).Session, "x")
		h.EndAll(alice, "", "the password was changed")
		ended(all[2], "the password was changed")
		if list := h.Online(alice); len(list) != 0 {
			t.Errorf("there are %v", list)
		}
		if e := after(t, all[3]); e.Kind != Ping {
			t.Errorf("bob got %+v", e)
		}
	})
}

// Presence comes as it is: who reads slowly hears the last of it only. Who comes into the list of contacts is followed, who
// leaves it no more.
func TestPresence(t *testing.T) {
	quiet(t, func(t *testing.T, h *Hub, w *watches) {
		w.contacts[alice] = []string{bob}
		s := begin(t, h, caller(alice, 1), Start{Presence: true, Follow: []string{"dave@example.com"}})
		if got := w.open[0].owners; !slices.Equal(got, []string{bob, "dave@example.com", alice}) || w.open[0].watcher != alice {
			t.Errorf("follows %v", got)
		}
		w.say(bob, 1)
		w.say(carol, 1)
		w.say(bob, 2)
		w.say(alice, 3)
		if e := after(t, s); e.Kind != Seen || e.Name != bob || e.Value != 2 {
			t.Errorf("got %+v", e)
		}
		if e := after(t, s); e.Kind != Own {
			t.Errorf("got %+v", e)
		}
		if err := h.Follow(t.Context(), caller(alice, 1).Session, s.Name(), []string{carol}); err != nil {
			t.Fatal(err)
		}
		w.say(carol, 4)
		if e := after(t, s); e.Kind != Seen || e.Name != carol || e.Value != 4 {
			t.Errorf("got %+v", e)
		}
		for session, stream := range map[string]string{caller(bob, 1).Session: s.Name(), caller(alice, 1).Session: "x"} {
			if err := h.Follow(t.Context(), session, stream, []string{carol}); errs.KindOf(err) != errs.NotFound {
				t.Errorf("%s of %s: %v", stream, session, err)
			}
		}
		if err := h.Follow(t.Context(), caller(alice, 1).Session, s.Name(), make([]string, 1001)); errs.KindOf(err) != errs.Invalid {
			t.Errorf("too many at once: %v", err)
		}
		w.mu.Lock()
		w.contacts[alice] = []string{"eve@example.com"}
		w.mu.Unlock()
		h.ContactsChanged(alice, 42)
		if e := after(t, s); e.Kind != Contacts || e.Version != 42 {
			t.Errorf("got %+v", e)
		}
		if got := w.open[0].owners; !slices.Equal(got, []string{"dave@example.com", alice, carol, "eve@example.com"}) {
			t.Errorf("follows %v", got)
		}
		s.Close()
		if !w.open[0].closed {
			t.Error("the watch is open")
		}
		if _, err := h.Open(t.Context(), caller(alice, 1), Start{Follow: []string{"too many"}}); errs.KindOf(err) != errs.TooMany {
			t.Errorf("got %v", err)
		}
		if h.open.Load() != 0 {
			t.Error("a stream that could not begin is open")
		}
		later := begin(t, h, caller(alice, 1), Start{})
		defer later.Close()
		if err := h.Follow(t.Context(), caller(alice, 1).Session, later.Name(), []string{bob}); err != nil {
			t.Fatal(err)
		}
		w.say(bob, 5)
		if e := after(t, later); e.Kind != Seen || e.Value != 5 {
			t.Errorf("got %+v", e)
		}
	})
}

// Drafts and settings are told to the other devices.
func TestNotes(t *testing.T) {
	quiet(t, func(t *testing.T, h *Hub, _ *watches) {
		one, two := begin(t, h, caller(alice, 1), Start{}), begin(t, h, caller(alice, 2), Start{})
		defer one.Close()
		defer two.Close()
		h.DraftChanged(alice, caller(alice, 1).Device, bob)
		h.SettingsChanged(alice)
		h.SettingsChanged(bob)
		if e := after(t, one); e.Kind != Settings {
			t.Errorf("got %+v", e)
		}
		if e := after(t, two); e.Kind != Drafted || e.Name != bob {
			t.Errorf("got %+v", e)
		}
		if e := after(t, two); e.Kind != Settings {
			t.Errorf("got %+v", e)
		}
	})
}

// never is an index that is being made again.
type never struct{ waiting atomic.Int64 }

func (x *never) WaitFor(int64, func()) (cancel func()) {
	x.waiting.Add(1)
	return func() { x.waiting.Add(-1) }
}

// A stream that waits for the index has signs of life, and does not go on waiting when its reader has gone.
func TestGivesUpWaiting(t *testing.T) {
	quiet(t, func(t *testing.T, h *Hub, _ *watches) {
		x := &never{}
		h.o.Index = x
		s, err := h.Open(t.Context(), caller(alice, 1), Start{Position: 3})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for range 2 {
			if e := after(t, s); e.Kind != Ping {
				t.Errorf("got %+v", e)
			}
			if n := x.waiting.Load(); n != 0 {
				t.Errorf("%d wait while nobody reads", n)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := s.Next(ctx)
			left <- err
		}()
		synctest.Wait()
		if n := x.waiting.Load(); n != 1 {
			t.Errorf("%d wait, and should one", n)
		}
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := h.indexed(ctx, 7); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if n := x.waiting.Load(); n != 0 {
			t.Errorf("%d go on waiting", n)
		}
	})
}
