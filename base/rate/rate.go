// Package rate bounds how often something may happen: buckets of tokens that fill up again as time passes.
package rate

import (
	"sync"
	"time"
)

// Limit is how a bucket fills up again.
type Limit struct {
	Per  float64 // tokens a second; 0 or less: there is no limit
	Most float64 // that a bucket holds, so what may happen at once; less than 1 with a limit: nothing ever may
}

// Bucket is the tokens of one who is limited. The zero value is full. It is not for concurrent use.
type Bucket struct {
	gone float64   // tokens that were missing
	at   time.Time // then
}

// fill brings b to what it has at now. A clock that went back brings nothing, and takes nothing.
func (b *Bucket) fill(now time.Time, l Limit) {
	if d := now.Sub(b.at); d > 0 {
		b.gone = max(0, b.gone-l.Per*d.Seconds())
		b.at = now
	}
}

// May tells whether there is a token at now.
func (b *Bucket) May(now time.Time, l Limit) bool {
	b.fill(now, l)
	return l.Per <= 0 || l.Most-b.gone >= 1
}

// Count takes a token, whether there is one or not: for what is known only afterwards to count. What is below nothing has
// to come back first.
func (b *Bucket) Count(now time.Time, l Limit) {
	b.fill(now, l)
	if l.Per > 0 {
		b.gone++
	}
}

// Take takes a token if there is one, and tells so.
func (b *Bucket) Take(now time.Time, l Limit) bool {
	ok := b.May(now, l)
	if ok {
		b.Count(now, l)
	}
	return ok
}

// full tells whether b is as if it had never been used.
func (b *Bucket) full(now time.Time, l Limit) bool {
	b.fill(now, l)
	return b.gone == 0
}

// Buckets are those of many, each with its key: an address, a person. Their number is bounded, and those that are full again
// are forgotten by and by. They are for concurrent use.
type Buckets[K comparable] struct {
	limit Limit
	most  int

	mu sync.Mutex // guards m
	m  map[K]Bucket
}

// NewBuckets makes buckets for as many keys as most at a time, at least 1. Beyond that a new key takes the place of one that
// has hardly been used, among some that are looked at: whoever has more keys than that is not limited by them.
func NewBuckets[K comparable](limit Limit, most int) *Buckets[K] {
	return &Buckets[K]{limit: limit, most: max(1, most), m: map[K]Bucket{}}
}

// May tells whether there is a token for k at now.
func (s *Buckets[K]) May(k K, now time.Time) bool {
	if s.limit.Per <= 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.m[k] // of who is not there it is full
	return b.May(now, s.limit)
}

// Count takes a token of k, whether there is one or not.
func (s *Buckets[K]) Count(k K, now time.Time) { s.use(k, now, true) }

// Take takes a token of k if there is one, and tells so.
func (s *Buckets[K]) Take(k K, now time.Time) bool { return s.use(k, now, false) }

func (s *Buckets[K]) use(k K, now time.Time, always bool) bool {
	if s.limit.Per <= 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, old := s.m[k]
	if !old {
		s.sweep(now)
	}
	ok := b.May(now, s.limit)
	if ok || always {
		b.Count(now, s.limit)
		s.m[k] = b
	}
	return ok
}

// Len is how many buckets are not known to be full.
func (s *Buckets[K]) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.m)
}

// sweep makes room for one more. It looks at a few that the map gives, in any order, and forgets those that are full: with each
// new key two, so that there are about twice as many as are in use, and nobody ever waits while all are looked at. mu is held.
func (s *Buckets[K]) sweep(now time.Time) {
	look := 2
	if len(s.m) >= s.most {
		look = 32
	}
	var spare K // the one that was used least
	least, found := 0.0, false
	for k, b := range s.m {
		if b.full(now, s.limit) {
			delete(s.m, k)
		} else if !found || b.gone < least {
			spare, least, found = k, b.gone, true
		}
		if look--; look <= 0 {
			break
		}
	}
	if len(s.m) >= s.most {
		delete(s.m, spare)
	}
}
