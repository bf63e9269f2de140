package call

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/wire/sip"
)

// watcher takes what Options.Watch is told.
type watcher struct {
	r  *rig
	mu sync.Mutex

	now   map[string]string // by person, "ringing talking"; nobody with zeros
	times int
}

func watched(t *testing.T, f func(r *rig, w *watcher), change ...func(*Options)) {
	t.Helper()
	w := &watcher{now: map[string]string{}}
	run(t, func(r *rig) {
		w.mu.Lock()
		w.r = r
		w.mu.Unlock()
		f(r, w)
	}, append(change, func(o *Options) { o.Watch = w.told })...)
}

func (w *watcher) told(aor string, ringing, talking int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.r.service.Open() // takes the service's lock, which nobody may hold now
	name, _, _ := strings.Cut(aor, "@")
	w.now[name], w.times = fmt.Sprint(ringing, " ", talking), w.times+1
	if ringing == 0 && talking == 0 {
		delete(w.now, name)
	}
}

// is checks the last that was told of each person: "alice 1 0, bob 1 0", in the order of names.
func (w *watcher) is(want string) {
	w.r.t.Helper()
	w.r.settle()
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, name := range slices.Sorted(maps.Keys(w.now)) {
		list = append(list, name+" "+w.now[name])
	}
	if got := strings.Join(list, ", "); got != want {
		w.r.t.Errorf("told %q, want %q", got, want)
	}
}

// clear checks that nothing is left, in the service either.
func (w *watcher) clear() {
	w.r.t.Helper()
	w.is("")
	w.r.service.mu.Lock()
	defer w.r.service.mu.Unlock()
	if len(w.r.service.tallies) > 0 || len(w.r.service.changed) > 0 {
		w.r.t.Errorf("left: %v %v", w.r.service.tallies, w.r.service.changed)
	}
}

func TestWatch(t *testing.T) {
	for _, by := range []string{"alice", "bob"} {
		watched(t, func(r *rig, w *watcher) {
			r.signIn("bob", "bob2")
			_, at := r.ringing("alice", "sip:"+bob, "bob", "bob2")
			w.is("alice 1 0, bob 1 0")
			r.answer("bob2", at["bob2"], 486)
			r.get("bob2", "ACK")
			w.is("alice 1 0, bob 1 0")
			r.answer("bob", at["bob"], 200)
			ok := r.get("alice", 200)
			w.is("alice 0 1, bob 0 1")
			r.within(sip.ACK, "alice", ok, 1)
			r.get("bob", "ACK")
			r.hangUp(by, map[string]string{"alice": "bob", "bob": "alice"}[by], ok)
			w.clear()
			if w.times != 6 {
				t.Errorf("told %d times of 3 changes for 2 people", w.times)
			}
		})
	}
}

// How a call ends that nobody answered makes no difference.
func TestWatchUnanswered(t *testing.T) {
	for name, end := range map[string]func(r *rig, invite *sip.Message, at map[string]*sip.Message){
		"refused": func(r *rig, _ *sip.Message, at map[string]*sip.Message) { r.answer("bob", at["bob"], 486) },
		"given up": func(r *rig, invite *sip.Message, at map[string]*sip.Message) {
			r.cancel("alice", invite)
			r.answer("bob", at["bob"], 487)
		},
		"rang too long":  func(r *rig, _ *sip.Message, _ map[string]*sip.Message) { r.sleep(11 * time.Minute) },
		"account closed": func(r *rig, _ *sip.Message, _ map[string]*sip.Message) { r.service.Close(bob) },
		"server stopped": func(r *rig, _ *sip.Message, _ map[string]*sip.Message) { r.service.Interrupt() },
	} {
		t.Run(name, func(t *testing.T) {
			watched(t, func(r *rig, w *watcher) {
				r.signIn("bob")
				invite, at := r.ringing("alice", "sip:"+bob, "bob")
				w.is("alice 1 0, bob 1 0")
				end(r, invite, at)
				w.clear()
			})
		})
	}
}

// Nor does it how one ends that was answered.
func TestWatchAnswered(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"nobody is heard of": func(r *rig) { r.sleep(24 * time.Hour) },
		"account closed":     func(r *rig) { r.service.Close(alice) },
		"server stopped":     func(r *rig) { r.service.Interrupt() },
	} {
		t.Run(name, func(t *testing.T) {
			watched(t, func(r *rig, w *watcher) {
				r.talking()
				w.is("alice 0 1, bob 0 1")
				end(r)
				w.clear()
			})
		})
	}
}

// What rings nowhere does not count.
func TestWatchNothingRings(t *testing.T) {
	watched(t, func(r *rig, w *watcher) {
		r.invite("alice", "sip:"+carol) // who is not there
		r.get("alice", 100)
		r.get("alice", 480)
		r.signIn("bob")
		r.invite("alice2", "sip:"+bob)
		r.get("alice2", 100)
		r.get("alice2", 480)
		w.clear()
		if w.times != 0 {
			t.Errorf("told %d times", w.times)
		}
	}, bobIsQuiet)
}

func TestWatchSeveralCalls(t *testing.T) {
	watched(t, func(r *rig, w *watcher) {
		ok := r.talking()
		r.signIn("alice2")
		_, at := r.ringing("carol", "sip:"+alice, "alice2")
		w.is("alice 1 1, bob 0 1, carol 1 0")
		r.answer("alice2", at["alice2"], 200)
		second := r.get("carol", 200)
		w.is("alice 0 2, bob 0 1, carol 0 1")
		r.hangUp("bob", "alice", ok)
		w.is("alice 0 1, carol 0 1")
		r.hangUp("carol", "alice2", second)
		w.clear()
	})
}

// From one's desk phone to one's mobile is one call.
func TestWatchCallToOneself(t *testing.T) {
	watched(t, func(r *rig, w *watcher) {
		r.signIn("alice2")
		_, at := r.ringing("alice", "sip:"+alice, "alice2")
		w.is("alice 1 0")
		r.answer("alice2", at["alice2"], 200)
		ok := r.get("alice", 200)
		w.is("alice 0 1")
		r.hangUp("alice2", "alice", ok)
		w.clear()
	})
}

// Who talks is who answered, not who was called.
func TestWatchForwarded(t *testing.T) {
	watched(t, func(r *rig, w *watcher) {
		r.signIn("carol")
		r.mu.Lock()
		r.table = append(r.table, route.Target{URI: "sip:" + carol, Q: 1000, AOR: bob})
		r.mu.Unlock()
		_, at := r.ringing("alice", "sip:"+bob, "carol")
		w.is("alice 1 0, bob 1 0")
		r.answer("carol", at["carol"], 200)
		ok := r.get("alice", 200)
		w.is("alice 0 1, carol 0 1")
		r.hangUp("alice", "carol", ok)
		w.clear()
	})
}

// Two phones answer at once; with the first one hung up, bob still talks.
func TestWatchTwoAnswers(t *testing.T) {
	watched(t, func(r *rig, w *watcher) {
		r.signIn("bob", "bob2")
		_, at := r.ringing("alice", "sip:"+bob, "bob", "bob2")
		r.answer("bob", at["bob"], 200)
		first := r.get("alice", 200)
		r.get("bob2", "CANCEL")
		r.answer("bob2", at["bob2"], 200)
		second := r.get("alice", 200)
		w.is("alice 0 1, bob 0 1")
		r.hangUp("alice", "bob", first)
		w.is("alice 0 1, bob 0 1")
		r.hangUp("alice", "bob2", second)
		w.clear()
	})
}

// Both who was called and who it was forwarded to answer; each talks as long as that one's dialog lasts.
func TestWatchForwardedAndAnsweredTwice(t *testing.T) {
	watched(t, func(r *rig, w *watcher) {
		r.signIn("bob", "carol")
		r.mu.Lock()
		r.table = append(r.table, route.Target{URI: "sip:" + carol, Q: 1000, AOR: bob})
		r.mu.Unlock()
		_, at := r.ringing("alice", "sip:"+bob, "bob", "carol")
		r.answer("bob", at["bob"], 200)
		first := r.get("alice", 200)
		w.is("alice 0 1, bob 0 1")
		r.get("carol", "CANCEL")
		r.answer("carol", at["carol"], 200)
		second := r.get("alice", 200)
		w.is("alice 0 1, bob 0 1, carol 0 1")
		r.hangUp("alice", "bob", first)
		w.is("alice 0 1, carol 0 1")
		r.hangUp("alice", "carol", second)
		w.clear()
	})
}

// Many change at once: one is told at a time, and the last of each person is what is so.
func TestWatchIsInOrder(t *testing.T) {
	var (
		busy   atomic.Bool
		mu     sync.Mutex
		people = []string{alice, bob, carol}
		last   = map[string]int{}
	)
	s := &Service{tallies: map[string]*tally{}}
	s.o.Watch = func(aor string, ringing, talking int) {
		if busy.Swap(true) {
			t.Error("two at a time")
		}
		if ringing != 0 || talking < 0 {
			t.Errorf("told %d %d", ringing, talking)
		}
		mu.Lock()
		last[aor] = talking
		mu.Unlock()
		busy.Store(false)
	}
	change := func(aor string, n int) {
		s.mu.Lock()
		s.count(part{aor, true}, n)
		s.mu.Unlock()
		s.tell()
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 500 {
				change(people[i%3], 1)
				change(people[i%3], -1)
			}
			change(people[i%3], 1)
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if want := map[string]int{alice: 3, bob: 3, carol: 2}; !maps.Equal(last, want) {
		t.Errorf("told last %v, want %v", last, want)
	}
}
