package waiting

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// TestModel compares a room with a plain list, over any order of coming, giving up and getting on.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		position, closed := int64(0), false
		r := New(func() int64 { return position })
		type guest struct {
			seq    int64
			cancel func()
			calls  int
		}
		var waiting, ready []*guest
		release := func(g *guest) bool {
			if closed || g.seq <= position {
				ready = append(ready, g)
				return true
			}
			return false
		}
		rt.Repeat(map[string]func(*rapid.T){
			"come": func(rt *rapid.T) {
				g := &guest{seq: position + rapid.Int64Range(-2, 8).Draw(rt, "seq")}
				var waits bool
				g.cancel, waits = r.Wait(g.seq, func() { g.calls++ })
				if waits == release(g) {
					rt.Fatalf("waits for %d at %d: %t", g.seq, position, waits)
				}
				if waits {
					waiting = append(waiting, g)
				}
			},
			"give up": func(rt *rapid.T) {
				if len(waiting) == 0 {
					return
				}
				i := rapid.IntRange(0, len(waiting)-1).Draw(rt, "who")
				waiting[i].cancel()
				waiting[i].cancel() // twice does no harm
				if waiting[i].calls != 0 {
					rt.Fatal("called")
				}
				waiting = slices.Delete(waiting, i, i+1)
			},
			"get on": func(rt *rapid.T) {
				position += rapid.Int64Range(0, 4).Draw(rt, "by")
				r.Release(position)
				waiting = slices.DeleteFunc(waiting, release)
			},
			"close": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "really") > 0 {
					return
				}
				closed = true
				r.Close()
				waiting = slices.DeleteFunc(waiting, release)
			},
			"": func(rt *rapid.T) {
				for _, g := range ready {
					g.cancel() // too late: nothing happens
					if g.calls != 1 {
						rt.Fatalf("who waited for %d was called %d times at %d", g.seq, g.calls, position)
					}
				}
				for _, g := range waiting {
					if g.calls != 0 {
						rt.Fatalf("who waits for %d was called at %d", g.seq, position)
					}
				}
				if r.Len() != len(waiting) {
					rt.Fatalf("%d wait, and should %d", r.Len(), len(waiting))
				}
			},
		})
	})
}

// TestRace: everybody is called or has given up, whoever comes first.
func TestRace(t *testing.T) {
	t.Parallel()
	const guests = 2000
	var position atomic.Int64
	r := New(position.Load)
	var calls [guests]atomic.Int64
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part; i < guests; i += 4 {
				cancel, _ := r.Wait(int64(i), func() { calls[i].Add(1) })
				if i%3 == 0 {
					cancel()
				}
			}
		})
	}
	wg.Go(func() {
		for p := range int64(guests / 2) {
			position.Store(p)
			r.Release(p)
		}
	})
	wg.Wait()
	r.Close()
	if n := r.Len(); n != 0 {
		t.Errorf("%d wait in a closed room", n)
	}
	for i := range calls {
		if n := calls[i].Load(); n != 1 && (n > 1 || i%3 != 0) {
			t.Errorf("guest %d was called %d times", i, n)
		}
	}
}
