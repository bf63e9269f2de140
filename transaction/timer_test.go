package transaction

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestTimer starts timers at every distance that matters to a wheel of 64 slots a level, and looks when they fire.
func TestTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Serve(ctx) }()
		var distances []int64
		for _, edge := range []int64{0, 1, 64, 128, 4096, 4096 + 64, 8192, 262144, 262144 + 4096, 1 << 24, 1<<24 + 64, 1 << 25, 1 << 26} {
			for d := max(edge-2, 0); d <= edge+2; d++ {
				distances = append(distances, d)
			}
		}
		random := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			distances = append(distances, random.Int64N(1<<random.IntN(27)))
		}
		// The wheel is at a different place of its turn each time.
		for round := range 5 {
			fired := 0
			for _, d := range distances {
				d := time.Duration(d) * tick
				began := time.Now()
				l.After(d, func() {
					fired++
					if got := time.Since(began); got != d {
						t.Errorf("round %d: after %v instead of %v", round, got, d)
					}
				})
			}
			time.Sleep((1<<26 + 100) * tick)
			synctest.Wait()
			if fired != len(distances) || l.wheel.len() != 0 {
				t.Errorf("round %d: %d of %d fired, %d are left", round, fired, len(distances), l.wheel.len())
			}
			time.Sleep(time.Duration(random.Int64N(1<<14)) * tick)
		}
		cancel()
		<-done
	})
}

// TestTimerRoundsUp: never early, at most a tick late.
func TestTimerRoundsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Serve(ctx) }()
		fired := 0
		for i := range 1000 {
			time.Sleep(7 * time.Millisecond)
			d := time.Duration(i) * 13 * time.Millisecond / 10
			began := time.Now()
			l.After(d, func() {
				fired++
				if got := time.Since(began); got < d || got >= d+tick {
					t.Errorf("after %v instead of %v", got, d)
				}
			})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if fired != 1000 {
			t.Errorf("%d fired", fired)
		}
		cancel()
		<-done
	})
}

// TestTimerStop stops timers before, inside and after, and many at random.
func TestTimerStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Serve(ctx) }()

		early := l.After(time.Second, func() { t.Error("a stopped timer fired") })
		if !early.Stop() || early.Stop() {
			t.Error("Stop before it fires: not true, then false")
		}
		// Two that are due at the same tick and stop each other: only one of them runs, whichever comes first.
		var first, second *Timer
		ran := 0
		first = l.After(time.Second, func() { ran++; second.Stop() })
		second = l.After(time.Second, func() { ran++; first.Stop() })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if ran != 1 {
			t.Errorf("%d of two timers that stop each other ran", ran)
		}
		if first.Stop() || second.Stop() {
			t.Error("Stop after it fired: true")
		}
		var none *Timer
		if none.Stop() {
			t.Error("Stop of nothing: true")
		}

		random := rand.New(rand.NewPCG(3, 4))
		fired, stopped := 0, 0
		const n = 20000
		for range n {
			timer := l.After(time.Duration(random.Int64N(1<<random.IntN(22)))*time.Millisecond, func() { fired++ })
			if random.IntN(2) == 0 {
				l.After(time.Duration(random.Int64N(1<<random.IntN(22)))*time.Millisecond, func() {
					if timer.Stop() {
						stopped++
					}
				})
			}
			if random.IntN(100) == 0 {
				time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
			}
		}
		time.Sleep(2 << 22 * time.Millisecond)
		synctest.Wait()
		if fired+stopped != n || l.wheel.len() != 0 {
			t.Errorf("%d fired and %d stopped of %d, %d are left", fired, stopped, n, l.wheel.len())
		}
		cancel()
		<-done
		l.After(0, func() { t.Error("a timer fired after Serve") })
		early.Stop()
		synctest.Wait()
	})
}

func BenchmarkTimer(b *testing.B) {
	l := New(Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx) }()
	defer func() { cancel(); <-done }()
	for range 100000 {
		l.After(time.Hour, func() {})
	}
	b.ReportAllocs()
	b.Run("start and stop", func(b *testing.B) {
		var t wheelTimer
		for i := 0; b.Loop(); i++ {
			l.wheel.start(&t, nil, l.wheel.after(time.Duration(100+i&1023)*time.Second))
			l.wheel.stop(&t)
		}
	})
}
