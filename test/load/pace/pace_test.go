package pace

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
	d       *Driver
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
		b.d.Finished(lane, true)
	}()
}

// In an open loop a server that stands still for a second is seen by everyone who came in that second, although only as
// many as there are lanes were under way: latency counts from the due time (no coordinated omission). The closed loop, which
// waits politely, hardly notices.
func TestOpenLoopCountsFromDueTime(t *testing.T) {
	for _, open := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := &bench{began: time.Now(), stall: time.Second, latency: &gauge.Histogram{}}
			b.d = New(4, b.serve)
			b.d.now = b.now
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			if open {
				b.d.RunOpen(ctx, 1000, func(until time.Duration) { time.Sleep(until - b.now()) })
			} else {
				b.d.RunClosed(4)
				<-ctx.Done()
			}
			b.d.Stop()
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
	d := New(5, func(lane int, _ time.Duration) { under = append(under, lane) })
	d.RunClosed(3)
	if !slices.Equal(under, []int{0, 1, 2}) {
		t.Fatalf("under way: %v", under)
	}
	d.Finished(0, true)
	d.Finished(1, false)
	if !slices.Equal(under, []int{0, 1, 2, 3, 4}) {
		t.Fatalf("started so far: %v", under)
	}
	d.Limit(6)
	d.Finished(2, true) // the longest idle lane is 0
	d.Finished(3, true)
	d.Finished(4, true)
	if !slices.Equal(under, []int{0, 1, 2, 3, 4, 0}) {
		t.Fatalf("started so far: %v", under)
	}
	if d.Exhausted() {
		t.Error("a unit is under way, and the driver says that all have ended")
	}
	d.Finished(0, true)
	if !d.Exhausted() {
		t.Error("all units have ended, and the driver does not say so")
	}
	d.Stop()
	<-d.idle
}
