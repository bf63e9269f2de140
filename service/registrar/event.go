package registrar

import (
	"context"
	"sync"
	"time"
)

// Event is one change of a binding.
type Event struct {
	Kind EventKind
	// Binding is the new one for Registered and Refreshed, else the last one.
	Binding *Binding
}

// EventKind says what happened.
type EventKind uint8

// The kinds of events. The words of RFC 3680 §4.7.1 are in EventKind.String.
const (
	Registered   EventKind = iota + 1 // new
	Refreshed                         // registered again, perhaps on another flow
	Unregistered                      // the client took it back
	Expired                           // it was not refreshed in time
	Disconnected                      // its connection is gone
	Removed                           // the account was disabled or removed
	Replaced                          // the same device registered another one in its place
)

// String is the event's word in RFC 3680 §4.7.1.
func (k EventKind) String() string {
	switch k {
	case Registered:
		return "registered"
	case Refreshed:
		return "refreshed"
	case Unregistered:
		return "unregistered"
	case Expired:
		return "expired"
	case Removed:
		return "rejected"
	}
	return "deactivated"
}

// label is the event as a label value.
func (k EventKind) label() string {
	switch k {
	case Disconnected:
		return "disconnected"
	case Removed:
		return "removed"
	case Replaced:
		return "replaced"
	}
	return k.String()
}

// maxEvents bounds the events that wait for watchers. They are hints, so what is beyond
// is dropped and counted.
const maxEvents = 200_000

// queue holds events until the goroutine that tells watchers takes them. Watchers are not
// told where a change is made: inside the handler of a REGISTER its 200 has not left yet,
// and what a watcher sends should come after it.
type queue struct {
	mu     sync.Mutex
	events []Event
	wake   chan struct{}
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events)
}

func (q *queue) take() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.events
	q.events = nil
	return list
}

// emit queues events for the watchers.
func (s *Registrar) emit(events []Event) {
	if len(events) == 0 || len(s.watchers) == 0 {
		return
	}
	q := &s.queue
	q.mu.Lock()
	if len(q.events)+len(events) > maxEvents {
		q.mu.Unlock()
		s.metrics.dropped.Add(float64(len(events)))
		return
	}
	q.events = append(q.events, events...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// afterAnswer is how long an event waits, so that the 200 has left: it does when the
// transaction's callback has returned.
const afterAnswer = 10 * time.Millisecond

// tell tells the watchers until ctx ends.
func (s *Registrar) tell(ctx context.Context) {
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.queue.wake:
		}
		pause.Reset(afterAnswer)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		for _, e := range s.queue.take() {
			for _, f := range s.watchers {
				f(e)
			}
		}
	}
}
