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
// which costs that much memory and takes off most of their work; a large one is collected when it has doubled, as ever. What
// is left over when nothing happens any more, package server gives back to the system.
const (
	heapRoom    = 48 << 20 // bytes
	mostGrowth  = 400      // percent, so that a heap that grows suddenly is collected in time
	leastGrowth = 100
	tendEvery   = 2 * time.Second
)

// tendHeap keeps to that until ctx ends.
func tendHeap(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for set := 0; ; {
		metrics.Read(live)
		if want := growth(live[0].Value.Uint64(), set); want != set {
			set = want
			debug.SetGCPercent(set)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// growth is by how many percent a heap may grow of which so many bytes were in use after the last collection; set, the value
// that holds now, when that is about right.
func growth(live uint64, set int) int {
	want := max(leastGrowth, min(mostGrowth, int(heapRoom*100/max(live, 1<<20))))
	if diff := want - set; diff <= set/10 && -diff <= set/10 {
		return set
	}
	return want
}
