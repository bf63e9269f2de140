// Package gauge measures for load tools: durations, and what processes use.
package gauge

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A Histogram counts durations in buckets of at most 1.6 % width, from a nanosecond to 18 minutes. It is for concurrent use.
type Histogram struct {
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

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))].Add(1)
	h.n.Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// Count is how many durations there are.
func (h *Histogram) Count() uint64 { return h.n.Load() }

// Percentile is the smallest duration, to the bucket's width, that at least p percent of all durations do not exceed; 0
// without durations. It errs to the slower side.
func (h *Histogram) Percentile(p float64) time.Duration {
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

// Latency is a histogram in figures, in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	Max   float64 `json:"max"`
}

// LatencyOf reads a histogram.
func LatencyOf(h *Histogram) Latency {
	return Latency{
		Count: h.Count(), P50: Milliseconds(h.Percentile(50)), P90: Milliseconds(h.Percentile(90)),
		P99: Milliseconds(h.Percentile(99)), P999: Milliseconds(h.Percentile(99.9)), Max: Milliseconds(time.Duration(h.max.Load())),
	}
}

// Milliseconds is a duration as figures have it.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
