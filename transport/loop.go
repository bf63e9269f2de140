package transport

import (
	"runtime"
	"sync"
)

// loop reads for many connections on one goroutine, and writes what is queued
// for them: at the end of a round of reading itself, else on its second
// goroutine. Neither ever waits for a peer. An idle connection costs nothing
// but its state.
type loop struct {
	poll *poller
	wake chan struct{} // 1: the writer is to flush

	mu       sync.Mutex
	dirty    []*stream // something is queued for them
	spare    []*stream
	corks    int
	flushing bool // one of the goroutines is at it
}

func newLoop() (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &loop{poll: p, wake: make(chan struct{}, 1)}, nil
}

// push has a stream written. It is in the list once, as its writing flag says.
func (lp *loop) push(s *stream) {
	lp.mu.Lock()
	lp.dirty = append(lp.dirty, s)
	start := lp.corks == 0 && !lp.flushing
	lp.flushing = lp.flushing || start
	lp.mu.Unlock()
	if start {
		lp.wake <- struct{}{} // flushing was off, so there is room
	}
}

// cork holds writing back while a round of reading lasts, so that all answers
// for a connection leave together.
func (lp *loop) cork() {
	lp.mu.Lock()
	lp.corks++
	lp.mu.Unlock()
}

// uncork writes what was queued meanwhile.
func (lp *loop) uncork() {
	lp.mu.Lock()
	lp.corks--
	start := lp.corks == 0 && !lp.flushing && len(lp.dirty) > 0
	lp.flushing = lp.flushing || start
	lp.mu.Unlock()
	if start {
		lp.flush()
	}
	runtime.Gosched() // a busy loop is not alone on its processor
}

// write is the second goroutine; it ends when wake is closed.
func (lp *loop) write() {
	for range lp.wake {
		lp.flush()
	}
}

// flush writes for all that are dirty. The caller has set flushing.
func (lp *loop) flush() {
	for {
		lp.mu.Lock()
		list := lp.dirty
		if len(list) == 0 {
			lp.flushing = false
			lp.mu.Unlock()
			return
		}
		lp.dirty, lp.spare = lp.spare[:0], nil
		lp.mu.Unlock()
		for i, s := range list {
			list[i] = nil
			if !s.write(false) {
				go s.write(true) // the stream's end waits for it
			}
		}
		lp.mu.Lock()
		if cap(list) <= 1024 {
			lp.spare = list
		}
		lp.mu.Unlock()
	}
}
