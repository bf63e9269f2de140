package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Garbage is collected when the heap has doubled, and what is free below that size is never given back to the system. So
// after a storm of sign-ins, or a day in which little happens, the process would hold twice what it uses. When it is
// quiet and there is enough to give back, we collect once and do so.
const (
	quietEvery = time.Second
	quietBelow = 2 << 20  // bytes allocated in quietEvery
	quietFor   = 2        // times quietEvery in a row
	worthwhile = 16 << 20 // bytes to give back, and a quarter of what is in use; the runtime itself collects at all of it
)

// usage is the heap at a moment, in bytes.
type usage struct {
	allocated uint64 // since the start
	live      uint64 // in use when garbage was last collected
	objects   uint64 // in use now, or garbage
	free      uint64 // in use before, and not given back
}

// quiet decides when to give memory back.
type quiet struct {
	last uint64 // usage.allocated
	calm int    // times quietEvery
}

func (q *quiet) due(u usage) bool {
	more := u.allocated - q.last
	q.last = u.allocated
	if more > quietBelow {
		q.calm = 0
		return false
	}
	q.calm++
	back := u.free + max(u.objects, u.live) - u.live
	return q.calm >= quietFor && back >= max(worthwhile, u.live/4)
}

// giveBack runs until ctx ends.
func giveBack(ctx context.Context) error {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	var q quiet
	t := time.NewTicker(quietEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		metrics.Read(samples)
		value := func(i int) uint64 { return samples[i].Value.Uint64() }
		if q.due(usage{value(0), value(1), value(2), value(3)}) {
			debug.FreeOSMemory()
		}
	}
}
