package said

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"github.com/parley-im/parley/base/id"
)

// The table of what was said does what a map does.
func TestSaidIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table Table
		model := map[uint64]Said{}
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
				table.Remove(k)
				delete(model, same)
			default:
				v := Said{id.New(), uint16(rapid.IntRange(0, 699).Draw(t, "status"))}
				table.Set(k, v)
				model[same] = v
			}
		}
		if table.Len() != len(model) {
			t.Fatalf("%d keys, want %d", table.Len(), len(model))
		}
		for _, k := range keys {
			same := max(k, 1)
			got, ok := table.Get(k)
			want, known := model[same]
			if got != want || ok != known {
				t.Fatalf("key %x is %v %v, want %v %v", k, got, ok, want, known)
			}
		}
	})
}

// A day of messages fits into the memory that the comment promises.
func TestSaidIsSmall(t *testing.T) {
	var table Table
	const n = 300_000
	rnd := rand.New(rand.NewPCG(1, 2))
	for range n {
		table.Set(rnd.Uint64(), Said{})
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
		table := &Table{}
		rnd := rand.New(rand.NewPCG(1, 2))
		for range n {
			table.Set(rnd.Uint64(), Said{Status: 200})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/key")
		runtime.KeepAlive(table)
	}
}
