package transaction

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// The wheel is hierarchical: four levels of 64 slots. With a tick of 10 ms the levels span 0.64 s, 41 s, 44 min and 46 h;
// what lies further away waits in the last level and is put back when its turn comes.
const (
	tick        = 10 * time.Millisecond
	wheelBits   = 6
	wheelSlots  = 1 << wheelBits
	wheelMask   = wheelSlots - 1
	wheelLevels = 4
	wheelSpan   = 1 << (wheelBits * wheelLevels) // ticks

	never = int64(1) << 62 // a tick that does not come
)

// alarm is what a wheelTimer wakes. now is the tick that has come.
type alarm interface {
	alarm(now int64)
}

// wheelTimer is an entry of the wheel, embedded in what it wakes. Its fields belong to the wheel's mutex.
type wheelTimer struct {
	prev, next *wheelTimer
	owner      alarm
	when       int64
	level      uint8 // wheelLevels: in the due list
	armed      bool
	spent      atomic.Bool // a Timer's own, fired or stopped: whoever sets it decides. Here there is room for it
}

// wheel wakes alarms at a tick. Starting, moving and stopping a timer are O(1); run is its one goroutine, which sleeps
// until the next timer and for good when there is none.
type wheel struct {
	base time.Time // tick 0

	mu       sync.Mutex
	now      int64 // the last tick that was processed
	sleeping int64 // the tick at which run wakes by itself
	count    int
	used     [wheelLevels]uint64 // one bit for each slot that is not empty
	slots    [wheelLevels][wheelSlots]*wheelTimer
	due      *wheelTimer // not ordered; what fires at once
	closed   bool

	wake chan struct{}
}

func newWheel() *wheel {
	return &wheel{base: time.Now(), sleeping: never, wake: make(chan struct{}, 1)}
}

// ticks is d in ticks, rounded up: a timer is never early.
func ticks(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + tick - 1) / tick)
}

// after is the first tick that begins at or after now+d.
func (w *wheel) after(d time.Duration) int64 {
	return ticks(time.Since(w.base) + max(d, 0))
}

// start sets t to wake owner at tick when, moving it when it was set already. A tick in the past fires at once, but never
// inside start.
func (w *wheel) start(t *wheelTimer, owner alarm, when int64) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	if t.armed {
		w.unlink(t)
	}
	if w.count == 0 {
		w.now = max(w.now, int64(time.Since(w.base)/tick)) // it stood still while there was nothing to do
	}
	t.owner, t.when, t.armed = owner, when, true
	w.count++
	w.place(t)
	wake := when < w.sleeping
	w.mu.Unlock()
	if wake {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// stop forgets t. An alarm that has been taken from the wheel but not called yet still comes: owners check their own
// state and time under their own mutex.
func (w *wheel) stop(t *wheelTimer) {
	w.mu.Lock()
	if t.armed && !w.closed {
		w.unlink(t)
	}
	w.mu.Unlock()
}

// len is the number of timers that are set.
func (w *wheel) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// place puts t into the slot for t.when. w.mu is held.
func (w *wheel) place(t *wheelTimer) {
	ahead := t.when - w.now
	if ahead <= 0 {
		t.level = wheelLevels
		t.push(&w.due)
		return
	}
	at := t.when
	if ahead >= wheelSpan {
		at = w.now + wheelSpan - 1
		ahead = wheelSpan - 1
	}
	level := (bits.Len64(uint64(ahead)) - 1) / wheelBits
	slot := (at >> (level * wheelBits)) & wheelMask
	t.level = uint8(level)
	t.push(&w.slots[level][slot])
	w.used[level] |= 1 << slot
}

func (t *wheelTimer) push(head **wheelTimer) {
	t.prev, t.next = nil, *head
	if t.next != nil {
		t.next.prev = t
	}
	*head = t
}

// unlink takes t out of its list. w.mu is held.
func (w *wheel) unlink(t *wheelTimer) {
	switch {
	case t.prev != nil:
		t.prev.next = t.next
	case t.level == wheelLevels:
		w.due = t.next
	default:
		// The first of its slot. The slot follows from the time, except for what lay beyond the span.
		level := int(t.level)
		slot := (t.when >> (level * wheelBits)) & wheelMask
		if w.slots[level][slot] != t {
			for slot = 0; w.slots[level][slot] != t; slot++ {
			}
		}
		w.slots[level][slot] = t.next
		if t.next == nil {
			w.used[level] &^= 1 << slot
		}
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next, t.armed = nil, nil, false
	w.count--
}

// nextEvent is the tick at which the next slot of any level is reached: something fires or moves down. w.mu is held.
func (w *wheel) nextEvent() int64 {
	if w.due != nil {
		return w.now
	}
	first := never
	for level := range wheelLevels {
		if w.used[level] == 0 {
			continue
		}
		shift := level * wheelBits
		here := w.now >> shift
		// Slots are looked at from the one after the current one round to the current one itself, a turn later.
		turned := bits.RotateLeft64(w.used[level], -int((here+1)&wheelMask))
		first = min(first, (here+1+int64(bits.TrailingZeros64(turned)))<<shift)
	}
	return first
}

// advance moves the wheel to tick to and collects what is due. w.mu is held.
func (w *wheel) advance(to int64) {
	for {
		at := w.nextEvent()
		if at > to || w.due != nil {
			break
		}
		w.now = at
		for level := wheelLevels - 1; level >= 0; level-- {
			shift := level * wheelBits
			if at&(1<<shift-1) != 0 {
				continue
			}
			slot := (at >> shift) & wheelMask
			list := w.slots[level][slot]
			w.slots[level][slot] = nil
			w.used[level] &^= 1 << slot
			for list != nil {
				t := list
				list = t.next
				w.place(t)
			}
		}
	}
	if w.due == nil {
		w.now = max(w.now, to)
	}
}

// run fires timers until ctx ends. call runs one alarm (and guards against its panic).
func (w *wheel) run(ctx context.Context, call func(a alarm, now int64)) {
	sleep := time.NewTimer(time.Hour)
	defer sleep.Stop()
	var batch [64]alarm
	for ctx.Err() == nil {
		w.mu.Lock()
		w.advance(int64(time.Since(w.base) / tick))
		now, n := w.now, 0
		for n < len(batch) && w.due != nil {
			t := w.due
			w.unlink(t)
			batch[n] = t.owner
			n++
		}
		next := w.nextEvent()
		w.sleeping = next
		if n > 0 {
			w.sleeping = -never // awake: nobody needs to wake us
		}
		w.mu.Unlock()

		for i := range n {
			call(batch[i], now)
			batch[i] = nil
		}
		if n > 0 {
			continue
		}
		var due <-chan time.Time
		if next < never {
			sleep.Reset(time.Until(w.base.Add(time.Duration(next) * tick)))
			due = sleep.C
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-due:
		}
	}
}

// close refuses timers from now on and drops those that are set.
func (w *wheel) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.due, w.count = nil, 0
	w.slots = [wheelLevels][wheelSlots]*wheelTimer{}
	w.used = [wheelLevels]uint64{}
}

// Timer is a call in the future, made with Layer.After.
type Timer struct {
	entry wheelTimer
	w     *wheel
	f     func()
}

// After calls f once, d from now, on the goroutine that serves the layer's timers. f must not block. The resolution is
// 10 ms: f is never early and up to 10 ms late. There is no limit on the number of timers; an idle one costs about
// 100 bytes and no goroutine. Before Serve runs and after it has ended nothing fires.
func (l *Layer) After(d time.Duration, f func()) *Timer {
	t := &Timer{w: l.wheel, f: f}
	l.wheel.start(&t.entry, t, l.wheel.after(d))
	return t
}

// Stop prevents the call and says whether it did: after true the function never runs, after false it has run, is running
// or was stopped before. A nil Timer may be stopped.
func (t *Timer) Stop() bool {
	if t == nil || !t.entry.spent.CompareAndSwap(false, true) {
		return false
	}
	t.w.stop(&t.entry)
	return true
}

func (t *Timer) alarm(int64) {
	if t.entry.spent.CompareAndSwap(false, true) {
		t.f()
	}
}
