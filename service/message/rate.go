package message

import (
	"sync"
	"time"
)

// rate bounds what one sender can make the log keep: a bucket of tokens for each, that holds four seconds' worth.
type rate struct {
	per   float64 // tokens a second; 0: no limit
	burst float64

	mu      sync.Mutex // guards what follows
	buckets map[string]bucket
	swept   time.Time
}

// bucket is what a sender had left at a time.
type bucket struct {
	left float64
	at   time.Time
}

func newRate(per int) *rate {
	return &rate{per: float64(per), burst: 4 * float64(per), buckets: map[string]bucket{}}
}

// take tells whether who may send at now, and counts it when so.
func (l *rate) take(who string, now time.Time) bool {
	if l.per <= 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	left := l.burst
	if b, ok := l.buckets[who]; ok {
		left = min(l.burst, b.left+l.per*now.Sub(b.at).Seconds())
	}
	ok := left >= 1
	if ok {
		left--
	}
	l.buckets[who] = bucket{left, now}
	return ok
}

// sweep forgets, once a minute, those whose bucket is full again. The caller holds mu.
func (l *rate) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for who, b := range l.buckets {
		if b.left+l.per*now.Sub(b.at).Seconds() >= l.burst {
			delete(l.buckets, who)
		}
	}
}
