package message

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// The table of what was said does what a map does.
func TestSaidIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table said64
		model := map[uint64]said{}
		// Few keys in few parts, those among them that wrap around the end of a table.
		keys := []uint64{0, 1, 2, 1 << 56, 1<<56 - 1, 1<<56 - 2, 1<<64 - 1}
		for i := range 60 {
			keys = append(keys, uint64(i)<<50, 1<<56-1-uint64(i))
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			k := rapid.SampledFrom(keys).Draw(t, "key")
			same := k
			if k == 0 {
				same = 1 // the two are one hash
			}
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				table.remove(k)
				delete(model, same)
			default:
				v := said{id.New(), uint16(rapid.IntRange(0, 699).Draw(t, "status"))}
				table.set(k, v)
				model[same] = v
			}
		}
		if table.len() != len(model) {
			t.Fatalf("%d keys, want %d", table.len(), len(model))
		}
		for _, k := range keys {
			same := max(k, 1)
			got, ok := table.get(k)
			want, known := model[same]
			if got != want || ok != known {
				t.Fatalf("key %x is %v %v, want %v %v", k, got, ok, want, known)
			}
		}
	})
}

// A day of messages fits into the memory that the comment promises.
func TestSaidIsSmall(t *testing.T) {
	var table said64
	const n = 300_000
	rnd := rand.New(rand.NewPCG(1, 2))
	for range n {
		table.set(rnd.Uint64(), said{})
	}
	places := 0
	for i := range table.parts {
		places += len(table.parts[i].keys)
	}
	if perKey := float64(places) * 26 / n; perKey > 33 {
		t.Errorf("%.1f bytes a key", perKey)
	}
}

// BenchmarkSaid shows the bytes of a key; one operation is a million keys.
func BenchmarkSaid(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		table := &said64{}
		rnd := rand.New(rand.NewPCG(1, 2))
		for range n {
			table.set(rnd.Uint64(), said{status: 200})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/key")
		runtime.KeepAlive(table)
	}
}

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
