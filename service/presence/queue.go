package presence

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// queue holds entities that are to be composed anew, each at most once.
type queue struct {
	mu   sync.Mutex // guards what follows
	list []*entity
	wake chan struct{}
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list)
}

func (q *queue) take() []*entity {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}

// enqueue has an entity composed; e.mu is held, and the entity is pinned.
func (s *Service) enqueue(e *entity) {
	if e.queued {
		return
	}
	e.queued = true
	q := s.queues[s.table.hash(e.aor)/shards%uint64(len(s.queues))]
	q.mu.Lock()
	q.list = append(q.list, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// work composes what is queued until ctx ends.
func (s *Service) work(ctx context.Context, q *queue) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		}
		for _, e := range q.take() {
			// Pinned before queued is taken back: until then the entity stays because it is queued.
			s.table.pin(e)
			e.mu.Lock()
			e.queued = false
			e.mu.Unlock()
			s.refresh(e)
			s.unpin(e)
			if ctx.Err() != nil {
				return
			}
		}
	}
}

const (
	jobWorkers = 4      // goroutines that may wait for the store
	maxJobs    = 20_000 // that wait for people who ask; those of our own are bounded by what they are about
	askedFirst = 4      // so many jobs for people who ask go before one of our own
)

// jobs are what has to wait for the store. Who asks does not wait behind all that a restart, or a look at everything, causes.
type jobs struct {
	mu    sync.Mutex // guards what follows
	asked backlog
	own   backlog
	turn  int // jobs for people who asked since one of our own
	wake  chan struct{}
}

// backlog is jobs in the order they came.
type backlog []func(context.Context)

func (b *backlog) next() func(context.Context) {
	f := (*b)[0]
	(*b)[0] = nil
	if *b = (*b)[1:]; len(*b) == 0 {
		*b = nil
	}
	return f
}

// try adds a job for somebody who asks; false when too many wait.
func (j *jobs) try(f func(context.Context)) bool {
	j.mu.Lock()
	if len(j.asked) >= maxJobs {
		j.mu.Unlock()
		return false
	}
	j.asked = append(j.asked, f)
	j.mu.Unlock()
	j.signal()
	return true
}

// must adds a job of our own, of which there is at most one for each person or subscription.
func (j *jobs) must(f func(context.Context)) {
	j.mu.Lock()
	j.own = append(j.own, f)
	j.mu.Unlock()
	j.signal()
}

func (j *jobs) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

func (j *jobs) next() func(context.Context) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case len(j.asked) > 0 && (j.turn < askedFirst || len(j.own) == 0):
		j.turn++
		return j.asked.next()
	case len(j.own) > 0:
		j.turn = 0
		return j.own.next()
	}
	return nil
}

func (j *jobs) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.asked) + len(j.own)
}

func (j *jobs) serve(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.wake:
		}
		for f := j.next(); f != nil && ctx.Err() == nil; f = j.next() {
			f(ctx)
		}
	}
}

// alarm calls for entities at a time: when a publication expires, or a state ends.
type alarm struct {
	mu   sync.Mutex // guards what follows, and the alarmEntry of each entity
	due  dueHeap
	wake chan struct{}
}

// alarmEntry is an entity's place in the heap; guarded by alarm.mu.
type alarmEntry struct {
	at    time.Time // zero: it is not there
	index int
}

func newAlarm() *alarm { return &alarm{wake: make(chan struct{}, 1)} }

// set has an entity looked at no later than at; zero changes nothing. One that is due earlier stays so: it is set
// again then.
func (a *alarm) set(e *entity, at time.Time) {
	if at.IsZero() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case e.alarm.at.IsZero():
		e.alarm.at = at
		heap.Push(&a.due, e)
	case at.Before(e.alarm.at):
		e.alarm.at = at
		heap.Fix(&a.due, e.alarm.index)
	default:
		return
	}
	if e.alarm.index == 0 {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

func (a *alarm) cancel(e *entity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !e.alarm.at.IsZero() {
		heap.Remove(&a.due, e.alarm.index)
		e.alarm.at = time.Time{}
	}
}

// serve calls f for what is due, until ctx ends.
func (a *alarm) serve(ctx context.Context, f func(*entity)) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		}
		for {
			e, wait := a.next(time.Now())
			if e == nil {
				timer.Reset(wait)
				break
			}
			f(e)
		}
	}
}

// next takes off what is due, or says how long to wait.
func (a *alarm) next(now time.Time) (*entity, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.due) == 0 {
		return nil, time.Hour
	}
	e := a.due[0]
	if wait := e.alarm.at.Sub(now); wait > 0 {
		return nil, min(wait, time.Hour)
	}
	heap.Pop(&a.due)
	e.alarm.at = time.Time{}
	return e, 0
}

// dueHeap orders entities by the time of their alarm.
type dueHeap []*entity

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].alarm.at.Before(h[j].alarm.at) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].alarm.index, h[j].alarm.index = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	e := x.(*entity)
	e.alarm.index = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
