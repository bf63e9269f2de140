package main

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/test/load/gauge"
)

// bench is a server that serves one unit after the other in a millisecond, but not at all for a while.
type bench struct {
	d       *driver
	began   time.Time
	stall   time.Duration // from the first second on
	latency *gauge.Histogram
}

func (b *bench) now() time.Duration { return time.Since(b.began) }

func (b *bench) serve(lane int, due time.Duration) {
	go func() {
		if at := b.now(); at >= time.Second && at < time.Second+b.stall {
			time.Sleep(time.Second + b.stall - at)
		}
		time.Sleep(time.Millisecond)
		b.latency.Add(b.now() - due)
		b.d.finished(lane, true)
	}()
}

// In an open loop a server that stands still for a second is seen by everyone who came in that second, although only as
// many as there are lanes were under way: latency counts from the due time (no coordinated omission). The closed loop, which
// waits politely, hardly notices.
func TestOpenLoopCountsFromDueTime(t *testing.T) {
	for _, open := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := &bench{began: time.Now(), stall: time.Second, latency: &gauge.Histogram{}}
			b.d = newDriver(4, b.serve)
			b.d.now = b.now
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			if open {
				b.d.runOpen(ctx, 1000, func(until time.Duration) { time.Sleep(until - b.now()) })
			} else {
				b.d.runClosed(4)
				<-ctx.Done()
			}
			b.d.stop()
			<-b.d.idle
			p80, longest := b.latency.Percentile(80), b.latency.Percentile(100)
			if longest < time.Second {
				t.Errorf("open loop %v: the longest wait was %v, want a second", open, longest)
			}
			if open {
				if n := b.latency.Count(); n < 3990 || n > 4010 { // the end races with what falls due then
					t.Errorf("%d units fell due in 4 s at 1000/s", n)
				}
				// 4 lanes serve 4,000/s: of 4,000 units the 1,333 that came during the stall and its end waited, evenly from 1 s to 0.
				if p80 < 380*time.Millisecond || p80 > 420*time.Millisecond {
					t.Errorf("open loop: 20 %% waited longer than %v, want 400 ms", p80)
				}
			} else if p80 > 2*time.Millisecond {
				t.Errorf("closed loop: p80 is %v, want 1 ms", p80)
			}
		})
	}
}

// A driver keeps the number under way, retires lanes whose connection is gone, and stops at its limit.
func TestDriver(t *testing.T) {
	var under []int
	d := newDriver(5, func(lane int, _ time.Duration) { under = append(under, lane) })
	d.runClosed(3)
	if !slices.Equal(under, []int{0, 1, 2}) {
		t.Fatalf("under way: %v", under)
	}
	d.finished(0, true)
	d.finished(1, false)
	if !slices.Equal(under, []int{0, 1, 2, 3, 4}) {
		t.Fatalf("started so far: %v", under)
	}
	d.mu.Lock()
	d.limit = 6
	d.mu.Unlock()
	d.finished(2, true) // the longest idle lane is 0
	d.finished(3, true)
	d.finished(4, true)
	if !slices.Equal(under, []int{0, 1, 2, 3, 4, 0}) {
		t.Fatalf("started so far: %v", under)
	}
	if d.exhausted() {
		t.Error("a unit is under way, and the driver says that all have ended")
	}
	d.finished(0, true)
	if !d.exhausted() {
		t.Error("all units have ended, and the driver does not say so")
	}
	d.stop()
	<-d.idle
}

func TestMark(t *testing.T) {
	for _, sep := range []byte{' ', '.'} {
		b := appendMark(nil, 12, 345, 6789*time.Millisecond, sep)
		lane, n, due, ok := parseMark(string(b)+"rest", sep)
		if lane != 12 || n != 345 || due != 6789*time.Millisecond || !ok {
			t.Errorf("%q: %d %d %v %v", b, lane, n, due, ok)
		}
	}
	if len(appendMark(nil, maxUsers, 1e9, maxTime, ' ')) > minBody {
		t.Error("a message's mark does not fit into the smallest body")
	}
	for _, s := range []string{"", "1 2", "1 2 3", "1 x 3 ", "hello world"} {
		if _, _, _, ok := parseMark(s, ' '); ok {
			t.Errorf("%q is no mark", s)
		}
	}
}
