package registrar

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// expiry knows when to look at which binding. An entry is made when a binding is new or
// ends earlier than it would be looked at; a refresh leaves the old entry, and when its
// time comes it moves to where the binding then ends. So there is about one entry for
// each binding.
type expiry struct {
	mu   sync.Mutex
	heap dueHeap
	wake chan struct{} // something earlier than before was added
}

type due struct {
	at  time.Time
	ref ref
}

type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// schedule makes sure that b is looked at when it ends. The caller holds its shard's mutex.
func (x *expiry) schedule(b *Binding) {
	if b.due.IsZero() || b.Expires.Before(b.due) {
		b.due = b.Expires
		x.push(due{b.Expires, ref{b.AOR, b.Key}})
	}
}

func (x *expiry) push(d due) {
	x.mu.Lock()
	heap.Push(&x.heap, d)
	first := x.heap[0].at.Equal(d.at)
	x.mu.Unlock()
	if first {
		select {
		case x.wake <- struct{}{}:
		default:
		}
	}
}

// fill takes many at once, at start.
func (x *expiry) fill(list []due) {
	x.mu.Lock()
	x.heap = append(x.heap, list...)
	heap.Init(&x.heap)
	x.mu.Unlock()
}

// take returns up to a few entries that are due, and when to come again.
func (x *expiry) take(now time.Time) (list []due, next time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.heap) > 0 && !x.heap[0].at.After(now) && len(list) < 256 {
		list = append(list, heap.Pop(&x.heap).(due))
	}
	if len(x.heap) == 0 {
		return list, time.Hour
	}
	return list, max(x.heap[0].at.Sub(now), time.Millisecond)
}

// expire removes bindings when their time has come (RFC 3261 §10.2.2), until ctx ends.
func (s *Registrar) expire(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		list, next := s.expiry.take(s.now())
		for _, d := range list {
			s.expireOne(d)
		}
		if len(list) > 0 {
			continue
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-s.expiry.wake:
		case <-timer.C:
		}
	}
}

func (s *Registrar) expireOne(d due) {
	r := d.ref
	sh := s.shard(r.aor)
	now := s.now()
	var c change
	sh.mu.Lock()
	if e := sh.entries[r.aor]; e != nil {
		for _, b := range e.bindings {
			if b.Key != r.key || !b.due.Equal(d.at) {
				continue // another one, or an entry that was overtaken
			}
			if b.Expires.After(now) {
				b.due = time.Time{}
				s.expiry.schedule(b)
				continue
			}
			c.del = append(c.del, b)
			c.events = append(c.events, Event{Expired, b})
		}
		s.commit(sh, r.aor, c, nil)
	}
	sh.mu.Unlock()
	s.emit(c.events)
}
