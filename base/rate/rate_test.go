package rate

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// after is so many milliseconds after start.
func after(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// how many there are at now.
func drain(b *Bucket, now time.Time, l Limit) (n int) {
	for b.Take(now, l) {
		n++
	}
	return n
}

func TestBucket(t *testing.T) {
	l := Limit{Per: 2, Most: 8}
	var b Bucket
	for _, step := range []struct{ ms, want int }{
		{0, 8},          // the zero value is full
		{0, 0},          //
		{499, 0},        // not yet
		{500, 1},        // one in half a second
		{2_000, 3},      //
		{1_000, 0},      // the clock went back
		{2_500, 1},      // and what was before counts once
		{2_600, 0},      // parts of a token are kept
		{3_000, 1},      //
		{1_000_000, 8},  // never more than it holds
		{-1_000_000, 0}, //
	} {
		if n := drain(&b, after(step.ms), l); n != step.want {
			t.Fatalf("at %d ms: %d tokens, want %d", step.ms, n, step.want)
		}
	}
}

func TestBucketCountsWhatWas(t *testing.T) {
	l := Limit{Per: 1, Most: 2}
	var b Bucket
	for range 5 { // three more than there are
		b.Count(after(0), l)
	}
	for _, step := range []struct {
		ms   int
		want bool
	}{{0, false}, {3_999, false}, {4_000, true}} {
		if got := b.May(after(step.ms), l); got != step.want {
			t.Errorf("at %d ms: %v", step.ms, got)
		}
	}
	if !b.May(after(4_000), l) {
		t.Error("to ask took a token")
	}
}

func TestNoLimit(t *testing.T) {
	var b Bucket
	s := NewBuckets[string](Limit{}, 10)
	for range 1000 {
		b.Count(after(0), Limit{})
		s.Count("a", after(0))
		if !b.Take(after(0), Limit{}) || !s.Take("a", after(0)) || !s.May("a", after(0)) {
			t.Fatal("limited without a limit")
		}
	}
	if s.Len() != 0 {
		t.Error("something is kept of who is not limited")
	}
}

func TestBucketsAreApart(t *testing.T) {
	s := NewBuckets[string](Limit{Per: 1, Most: 2}, 10)
	for _, step := range []struct {
		who  string
		ms   int
		want bool
	}{
		{"a", 0, true}, {"a", 0, true}, {"a", 0, false}, {"b", 0, true}, {"a", 999, false}, {"a", 1_000, true}, {"a", 1_000, false}, {"b", 1_000, true},
	} {
		if may := s.May(step.who, after(step.ms)); may != step.want {
			t.Errorf("%s at %d ms: may %v", step.who, step.ms, may)
		}
		if took := s.Take(step.who, after(step.ms)); took != step.want {
			t.Errorf("%s at %d ms: took %v", step.who, step.ms, took)
		}
	}
	if s.May("nobody", after(1_000)); s.Len() != 2 {
		t.Errorf("%d buckets after asking for somebody who never came", s.Len())
	}
}

// Who used all is not forgotten while others come and go, and those who went are.
func TestBucketsForgetThoseWhoAreFull(t *testing.T) {
	s := NewBuckets[int](Limit{Per: 1, Most: 1000}, 1_000_000)
	for range 1000 {
		s.Take(-1, after(0))
	}
	for i := range 100_000 { // each is full again after a second, while 100 others came
		s.Take(i, after(10*i))
		if i == 10_000 && s.Take(-1, after(0)) {
			t.Fatal("who used all was forgotten")
		}
	}
	if n := s.Len(); n > 5_000 {
		t.Errorf("%d buckets, of which 100 are not full", n)
	}
}

func TestBucketsAreBounded(t *testing.T) {
	s := NewBuckets[int](Limit{Per: 0.001, Most: 50}, 100)
	for range 50 {
		s.Take(-1, after(0))
	}
	for i := range 10_000 { // each used once: none is full for a long time
		s.Take(i, after(0))
		if n := s.Len(); n > 100 {
			t.Fatalf("%d buckets, bound 100", n)
		}
	}
	if s.Take(-1, after(0)) {
		t.Error("who used all made room for those who used one")
	}
	one := NewBuckets[int](Limit{Per: 1, Most: 1}, 0)
	if !one.Take(1, after(0)) || !one.Take(2, after(0)) || one.Len() != 1 {
		t.Error("a bound of none is not one")
	}
}

func TestBucketsTogether(t *testing.T) {
	s := NewBuckets[string](Limit{Per: 1, Most: 100}, 10)
	var took atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if s.Take("a", after(0)) {
					took.Add(1)
				}
			}
		})
	}
	if wg.Wait(); took.Load() != 100 {
		t.Errorf("%d of 100 tokens were taken", took.Load())
	}
}

func BenchmarkBuckets(b *testing.B) {
	for name, keys := range map[string]int{"known": 1000, "new": 1 << 62} {
		b.Run(name, func(b *testing.B) {
			s := NewBuckets[int](Limit{Per: 1, Most: 50}, 100_000)
			b.ReportAllocs()
			for i := range b.N {
				s.Take(i%keys, after(i/100))
			}
		})
	}
}
