// Package pace decides when a load begins what: in a closed loop, or in an open one that waits for nobody.
package pace

import (
	"context"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-im/parley/test/load/ua"
)

// A Driver decides when which lane starts its next unit. A lane is a sender, or a sender with its receiver: it has one
// unit under way at a time. In a closed loop a fixed number of units is under way; in an open loop units fall due at a
// fixed rate, whatever happened to those before, and one that finds no free lane waits with its due time.
type Driver struct {
	start func(lane int, due time.Duration) // must not call Finished before it returns, except through give
	now   func() time.Duration

	mu      sync.Mutex      // guards what follows
	free    []int           // lanes, the longest idle one first
	waiting []time.Duration // due times that found no lane
	closed  bool            // a closed loop runs: who finishes starts the next
	under   int             // units under way
	count   int             // started
	limit   int             // of count; 0: none
	idle    chan struct{}   // closed when stopped and nothing is under way or waiting
	stopped bool
}

func New(lanes int, start func(lane int, due time.Duration)) *Driver {
	d := &Driver{start: start, now: ua.Now, idle: make(chan struct{})}
	for i := range lanes {
		d.free = append(d.free, i)
	}
	return d
}

// RunClosed starts n units; each that ends starts the next.
func (d *Driver) RunClosed(n int) {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	for range n {
		d.next()
	}
}

// next starts a unit on the longest idle lane, if the loop still runs.
func (d *Driver) next() {
	d.mu.Lock()
	if d.stopped || len(d.free) == 0 || d.limit > 0 && d.count >= d.limit {
		d.mu.Unlock()
		return
	}
	lane := d.take()
	d.mu.Unlock()
	d.start(lane, d.now())
}

// take is called with mu held and a free lane.
func (d *Driver) take() int {
	lane := d.free[0]
	d.free = d.free[1:]
	d.under++
	d.count++
	return lane
}

// RunOpen lets units fall due until ctx ends: the i-th at i/rate.
func (d *Driver) RunOpen(ctx context.Context, rate int, sleepUntil func(time.Duration)) {
	began := d.now()
	for i := 0; ctx.Err() == nil; i++ {
		due := began + time.Duration(float64(i)*float64(time.Second)/float64(rate))
		if due > d.now() {
			sleepUntil(due)
		}
		d.offer(due)
	}
}

func (d *Driver) offer(due time.Duration) {
	d.mu.Lock()
	if d.stopped || d.limit > 0 && d.count+len(d.waiting) >= d.limit {
		d.mu.Unlock()
		return
	}
	if len(d.free) == 0 {
		d.waiting = append(d.waiting, due)
		d.mu.Unlock()
		return
	}
	lane := d.take()
	d.mu.Unlock()
	d.start(lane, due)
}

// Finished frees a lane, or retires it (ok false: its connection is gone), and starts what waits.
func (d *Driver) Finished(lane int, ok bool) {
	d.mu.Lock()
	d.under--
	if ok {
		d.free = append(d.free, lane)
	}
	if len(d.waiting) > 0 && len(d.free) > 0 {
		due := d.waiting[0]
		d.waiting = d.waiting[1:]
		lane = d.take()
		d.mu.Unlock()
		d.start(lane, due)
		return
	}
	if d.stopped && d.under == 0 {
		d.endLocked()
	}
	closed := d.closed
	d.mu.Unlock()
	if closed {
		d.next()
	}
}

// Limit ends the loop after n units in all.
func (d *Driver) Limit(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = n
}

// More ends the loop after n units from now on.
func (d *Driver) More(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = d.count + n
}

// Idle is closed when the driver was stopped and all units have ended.
func (d *Driver) Idle() <-chan struct{} { return d.idle }

// Stop lets nothing new fall due. What waits still starts.
func (d *Driver) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	if d.under == 0 {
		d.endLocked()
	}
}

func (d *Driver) endLocked() {
	select {
	case <-d.idle:
	default:
		close(d.idle)
	}
}

// State is how many units are under way and how many wait for a lane.
func (d *Driver) State() (under, waiting int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.under, len(d.waiting)
}

// Exhausted tells that the limit of units is reached and all have ended.
func (d *Driver) Exhausted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.limit > 0 && d.count >= d.limit && d.under == 0
}

// PreciseSleep returns a sleep for a goroutine of its own. The runtime's timers are up to a millisecond late on an idle
// machine, which would stand in every latency; this one is some microseconds late.
func PreciseSleep() func(time.Duration) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // the default of 50 µs is good enough too
	return func(until time.Duration) {
		for {
			left := until - ua.Now()
			if left <= 0 {
				return
			}
			ts := unix.NsecToTimespec(int64(left))
			_ = unix.Nanosleep(&ts, nil) // interrupted: the loop sleeps on
		}
	}
}
