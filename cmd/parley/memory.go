package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How the server uses memory for speed, unless the environment sets GOGC. A server that holds 10 MB and carries 10,000
// messages a second makes 10 MB of garbage many times a second. So a small heap may grow by heapRoom between two collections,
// which costs that much memory and takes off most of their work; a large one is collected when it has doubled, as ever. When
// nothing happens any more, memory goes back to the system.
const (
	heapRoom   = 48 << 20 // bytes
	mostGrowth = 400      // percent, so that a heap that grows suddenly is collected in time
	leastGrow  = 100
	tendEvery  = 2 * time.Second
	quietBytes = 2 << 20 // allocated between two looks, at most, when nothing happens
	quietLooks = 5       // in a row, before memory is given back
)

// tendHeap keeps to that until ctx ends.
func tendHeap(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	var t tender
	for {
		metrics.Read(samples)
		percent, trim := t.look(samples[0].Value.Uint64(), samples[1].Value.Uint64())
		if percent != 0 {
			debug.SetGCPercent(percent)
		}
		if trim {
			debug.FreeOSMemory()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// tender decides what tendHeap does.
type tender struct {
	percent   int
	allocated uint64 // at the last look
	trimmed   uint64 // allocated when memory was last given back
	quiet     int    // looks in a row
}

// look takes the bytes that were in use after the last collection and those that were ever allocated. It returns the growth
// to set, 0 for as it is, and whether to give memory back.
func (t *tender) look(live, allocated uint64) (percent int, trim bool) {
	want := max(leastGrow, min(mostGrowth, int(heapRoom*100/max(live, 1<<20))))
	if diff := want - t.percent; diff > t.percent/10 || -diff > t.percent/10 {
		t.percent, percent = want, want
	}
	if allocated-t.allocated > quietBytes {
		t.quiet = 0
	} else {
		t.quiet++
	}
	t.allocated = allocated
	if t.quiet >= quietLooks && allocated-t.trimmed > 4*quietBytes {
		t.trimmed, trim = allocated, true
	}
	return percent, trim
}
