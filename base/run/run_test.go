package run

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// order collects what happened, in order.
type order struct {
	mu sync.Mutex
	it []string
}

func (o *order) add(s string) { o.mu.Lock(); o.it = append(o.it, s); o.mu.Unlock() }

// until returns a part that waits for its end and takes d to stop.
func (o *order) until(name string, d time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(d)
		o.add(name)
		return err
	}
}

func TestStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o order
		g := New(quiet, time.Minute)
		g.Add("store", o.until("store", 0, nil))
		g.Add("route", o.until("route", time.Second, context.Canceled))
		g.Add("socket", o.until("socket", time.Second, nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := g.Serve(ctx); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(o.it, []string{"socket", "route", "store"}) {
			t.Errorf("stopped in order %v", o.it)
		}
	})
}

func TestFirstErrorWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o order
		g := New(quiet, time.Minute)
		g.Add("store", o.until("store", 0, errors.New("follows from the first")))
		g.Add("disk", func(context.Context) error { time.Sleep(time.Second); return io.ErrShortWrite })
		g.Add("socket", o.until("socket", 0, nil))
		err := g.Serve(t.Context())
		if !errors.Is(err, io.ErrShortWrite) || err.Error() != "disk: short write" {
			t.Errorf("error %v", err)
		}
		if !slices.Equal(o.it, []string{"socket", "store"}) {
			t.Errorf("stopped in order %v", o.it)
		}
	})
}

func TestEndedByItself(t *testing.T) {
	g := New(quiet, time.Minute)
	g.Add("short", func(context.Context) error { return nil })
	if err := g.Serve(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("error %v", err)
	}
}

func TestErrorWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o order
		g := New(quiet, 0)
		g.Add("store", o.until("store", 0, io.ErrUnexpectedEOF))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Serve(ctx); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("error %v", err)
		}
	})
}

func TestLateIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o order
		g := New(quiet, 5*time.Second)
		g.Add("store", o.until("store", 0, nil))
		g.Add("slow", o.until("slow", time.Minute, nil))
		g.Add("socket", o.until("socket", time.Second, nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := g.Serve(ctx)
		if err == nil || !strings.Contains(err.Error(), "slow has not stopped, gave up after 5s") {
			t.Errorf("error %v", err)
		}
		if d := time.Since(start); d != 6*time.Second {
			t.Errorf("took %v", d)
		}
		time.Sleep(time.Hour) // let the slow part end before the bubble does
	})
}

func TestEmptyAndNames(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(quiet, 0).Serve(ctx); err != nil {
		t.Error(err)
	}
	g := New(quiet, 0)
	g.Add("named", func(ctx context.Context) error {
		if name, _ := pprof.Label(ctx, "part"); name != "named" {
			t.Errorf("label %q", name)
		}
		return nil
	})
	if err := g.Serve(t.Context()); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
}
