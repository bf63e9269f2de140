package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Garbage is collected when the heap has doubled, and what is free below that size is never given back to the system. So
// after a storm of sign-ins the process would hold twice what it uses for as long as little happens. When a busy time is
// over, we collect once and give back.
const (
	quietEvery = time.Second
	busyAbove  = 16 << 20 // bytes allocated in quietEvery
	quietBelow = 4 << 20
	quietFor   = 2 // times quietEvery in a row
)

// quiet decides when to give memory back, from the bytes allocated since the start.
type quiet struct {
	last uint64
	busy bool // since memory was last given back
	calm int  // times quietEvery since then
}

func (q *quiet) due(allocated uint64) bool {
	more := allocated - q.last
	q.last = allocated
	switch {
	case more > busyAbove:
		q.busy = true
		fallthrough
	case more > quietBelow:
		q.calm = 0
		return false
	}
	if q.calm++; !q.busy || q.calm < quietFor {
		return false
	}
	q.busy = false
	return true
}

// giveBack runs until ctx ends.
func giveBack(ctx context.Context) error {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var q quiet
	t := time.NewTicker(quietEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if metrics.Read(sample); q.due(sample[0].Value.Uint64()) {
			debug.FreeOSMemory()
		}
	}
}
