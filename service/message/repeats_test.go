package message

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/parley-im/parley/store"
)

// What is said while the window of repeats is still being read waits for that, in order: it may be a repeat (invariant 4).
func TestSentWhileLoading(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		if res := r.send(say("old")); res.Status != 202 {
			t.Fatalf("got %+v", res)
		}
		r.stop()
		answers := make(chan Result, 3)
		r.faultLog = func(l store.Log) store.Log {
			return tailed{l, func() {
				for _, text := range []string{"old", "new", "newer"} {
					r.service.Send(say(text), func(res Result) { answers <- res })
				}
				if len(answers) > 0 {
					t.Error("answered before it can be known whether it is a repeat")
				}
			}}
		}
		r.run()
		for range 3 {
			if res := <-answers; res.Status != 202 {
				t.Errorf("got %+v", res)
			}
		}
		var texts []string
		for _, rec := range r.records(store.KindMessage) {
			texts = append(texts, string(rec.Body))
		}
		if want := []string{"old", "new", "newer"}; !slices.Equal(texts, want) {
			t.Errorf("recorded %q, want %q", texts, want)
		}
	})
}

// tailed calls a function before the tail of the log is read.
type tailed struct {
	store.Log
	before func()
}

func (l tailed) Tail(ctx context.Context, since time.Time, fn func(*store.Record) error) error {
	l.before()
	return l.Log.Tail(ctx, since, fn)
}
