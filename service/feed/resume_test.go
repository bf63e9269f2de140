package feed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// people of the test: each has readers whose streams break off, while all of them write to each other.
var people = []string{alice, bob, carol}

// TestResume: whoever always comes back with the position of the last event that arrived gets everything once and in order,
// however often streams break, queues overflow and the hub is started anew.
func TestResume(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			breaks, kinds := make([]int, 8), make([]int, 16)
			for i := range breaks {
				breaks[i] = random.IntN(13)
			}
			for i := range kinds {
				kinds[i] = random.IntN(6)
			}
			resume(t, []int{1, 2, 64}[seed%3], breaks, int(seed%4), 1+random.IntN(60), kinds)
		})
	}
}

// resume lets streams break after so many events each, and starts the hub anew meanwhile.
func resume(t *testing.T, queue int, breaks []int, restarts, writes int, kinds []int) {
	t.Helper()
	r := newRig(t, Limits{Queue: queue})
	begin, _ := r.say("nobody@example.com", "nobody@example.com", "begin")
	hub := &shared{hub: r.Hub}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience) // for all of it
	defer cancel()

	var readers, writers sync.WaitGroup
	ends := make(chan struct{}) // closed when last holds the last position of each
	last := map[string]int64{}
	for i, aor := range people {
		for n := range 2 {
			got := &reader{rig: r, hub: hub, caller: caller(aor, n), position: begin, breaks: breaks[i*2+n:]}
			readers.Go(func() { got.run(ctx, ends, last) })
		}
	}
	for i, from := range people {
		to := people[(i+1)%len(people)]
		writers.Go(func() { r.write(from, to, writes, kinds[i:]) })
	}
	for range restarts {
		r.stop()
		r.start()
		hub.set(r.Hub)
	}
	writers.Wait()
	for _, aor := range people {
		last[aor], _ = r.say(aor, aor, "the end")
	}
	close(ends)
	readers.Wait()
}

// shared is the hub of the moment.
type shared struct {
	mu  sync.Mutex
	hub *Hub
}

func (s *shared) get() *Hub {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hub
}

func (s *shared) set(h *Hub) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hub = h
}

// write records things of several kinds.
func (r *rig) write(from, to string, count int, kinds []int) {
	var about id.ID
	var seq int64
	for i := range count {
		kind := kinds[i%len(kinds)]
		if about.IsZero() {
			kind = 0
		}
		switch kind {
		case 1:
			r.fate(from, to, about, seq)
		case 2:
			r.put(store.Record{Kind: store.KindReaction, From: to, To: from, Ref: about, Body: []byte("👍")})
		case 3:
			r.put(store.Record{Kind: store.KindReceipt, From: to, To: from, Ref: about, Meta: map[string]string{store.MetaOutcome: store.OutcomeDisplayed, store.MetaSeq: fmt.Sprint(seq)}})
		case 4:
			r.put(store.Record{Kind: store.KindAdmin, From: from, To: to})
		default:
			seq, about = r.say(from, to, fmt.Sprint(i))
		}
	}
}

// reader reads one person's stream, again and again from where it broke off.
type reader struct {
	*rig
	hub      *shared
	caller   Caller
	position int64
	breaks   []int
	got      []int64
}

func (x *reader) run(ctx context.Context, ends <-chan struct{}, last map[string]int64) {
	done := func() bool {
		select {
		case <-ends:
			return x.position >= last[x.caller.AOR]
		default:
			return false
		}
	}
	for n := 0; !done(); n++ {
		if ctx.Err() != nil {
			x.t.Errorf("%s has waited at %d", x.caller.Session, x.position)
			return
		}
		x.stream(ctx, x.breaks[n%len(x.breaks)], done)
	}
	want := x.all(ctx)
	if !slices.Equal(x.got, want) {
		x.t.Errorf("%s\ngot  %v\nwant %v", x.caller.Session, x.got, want)
	}
}

// stream reads a stream until it breaks.
func (x *reader) stream(ctx context.Context, events int, done func() bool) {
	s, err := x.hub.get().Open(ctx, x.caller, Start{Position: x.position})
	if err != nil {
		if errs.KindOf(err) != errs.Unavailable && ctx.Err() == nil {
			x.t.Errorf("opening at %d: %v", x.position, err)
		}
		return
	}
	defer s.Close()
	for range events {
		e, err := s.Next(ctx)
		if err != nil {
			if errs.KindOf(err) != errs.Unavailable && !errors.Is(err, context.DeadlineExceeded) {
				x.t.Errorf("reading at %d: %v", x.position, err)
			}
			return
		}
		switch e.Kind {
		case Recorded, Fated:
			x.got = append(x.got, e.Position)
			x.position = e.Position
		case Ready:
			if e.Position < x.position {
				x.t.Errorf("ready at %d after %d", e.Position, x.position)
			}
			x.position = max(x.position, e.Position)
		case Ping:
			x.position = max(x.position, e.Position)
		default:
			x.t.Errorf("an event of kind %d", e.Kind)
		}
		if done() {
			return
		}
	}
}

// all is what the log has for the reader.
func (x *reader) all(ctx context.Context) (list []int64) {
	list = []int64{}
	records, err := x.store.Log().Read(ctx, 1, 1000)
	if err != nil {
		x.t.Error(err)
	}
	aor := x.caller.AOR
	for i := range records {
		r := &records[i]
		_, _, ok := about(r)
		if r.Kind == store.KindDelivery && r.From == aor || ok && (r.From == aor || r.To == aor) {
			list = append(list, r.Seq)
		}
	}
	if x.got == nil {
		x.got = []int64{}
	}
	return list
}
