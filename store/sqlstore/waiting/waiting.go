// Package waiting holds those who wait until something has got to a place: the index to a record of the log.
package waiting

import (
	"container/heap"
	"sync"
)

// Room holds those who wait, until their place is reached or they give up. What reaches no place, as an index that is being
// made again, may have many waiting for minutes: to look for those who are ready costs what they are, not what all are.
type Room struct {
	position func() int64 // up to where it is now

	mu     sync.Mutex
	line   line
	closed bool
}

// New makes an empty room. position is safe for concurrent use; it is looked up under the lock of the room.
func New(position func() int64) *Room { return &Room{position: position} }

// Wait calls done once: at once when seq is reached or the room is closed, and waits is false then; else from Release or
// Close. Cancel gives up: done is not called after it, but may be running, or about to, if seq has just been reached.
func (r *Room) Wait(seq int64, done func()) (cancel func(), waits bool) {
	r.mu.Lock()
	if r.closed || r.position() >= seq {
		r.mu.Unlock()
		done()
		return func() {}, false
	}
	w := &waiter{seq: seq, done: done}
	heap.Push(&r.line, w)
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if w.at >= 0 {
			heap.Remove(&r.line, w.at)
		}
	}, true
}

// Release calls those who wait for a position or one before it, in the order of these.
func (r *Room) Release(position int64) {
	for {
		r.mu.Lock()
		if len(r.line) == 0 || r.line[0].seq > position {
			r.mu.Unlock()
			return
		}
		w := heap.Pop(&r.line).(*waiter)
		r.mu.Unlock()
		w.done()
	}
}

// Close calls everybody: nothing is to come.
func (r *Room) Close() {
	r.mu.Lock()
	ready := r.line
	r.line, r.closed = nil, true
	for _, w := range ready {
		w.at = -1
	}
	r.mu.Unlock()
	for _, w := range ready {
		w.done()
	}
}

// Len is how many wait.
func (r *Room) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.line)
}

type waiter struct {
	seq  int64
	done func()
	at   int // in the line; -1 when it has left
}

// line is a heap by seq.
type line []*waiter

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return l[i].seq < l[j].seq }
func (l line) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].at, l[j].at = i, j
}

func (l *line) Push(w any) {
	w.(*waiter).at = len(*l)
	*l = append(*l, w.(*waiter))
}

func (l *line) Pop() any {
	last := len(*l) - 1
	w := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	w.at = -1
	return w
}
