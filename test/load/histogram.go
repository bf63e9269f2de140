package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A histogram counts durations in buckets of at most 1.6 % width, from a nanosecond to 18 minutes. It is for concurrent use.
type histogram struct {
	counts [buckets]atomic.Uint64
	n      atomic.Uint64
	max    atomic.Int64
}

const (
	subBits = 6 // 64 buckets for each power of two
	maxBits = 40
	buckets = (maxBits - subBits + 1) << subBits
)

// bucketOf is the bucket of a number of nanoseconds.
func bucketOf(v uint64) int {
	v = min(v, 1<<maxBits-1)
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)<<subBits + int(v>>shift) - 1<<subBits
}

// topOf is the largest number of a bucket.
func topOf(b int) uint64 {
	if b < 1<<subBits {
		return uint64(b)
	}
	shift := b>>subBits - 1
	return (uint64(b&(1<<subBits-1)+1<<subBits)+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))].Add(1)
	h.n.Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

func (h *histogram) count() uint64 { return h.n.Load() }

// percentile is the smallest duration, to the bucket's width, that at least p percent of all durations do not exceed; 0
// without durations. It errs to the slower side.
func (h *histogram) percentile(p float64) time.Duration {
	n := h.n.Load()
	if n == 0 {
		return 0
	}
	rank := uint64(p / 100 * float64(n))
	if float64(rank) < p/100*float64(n) {
		rank++
	}
	rank = max(rank, 1)
	var seen uint64
	for b := range h.counts {
		seen += h.counts[b].Load()
		if seen >= rank {
			return min(time.Duration(topOf(b)), time.Duration(h.max.Load()))
		}
	}
	return time.Duration(h.max.Load())
}
