package server

import "testing"

// Memory is given back when a busy time is over and there is enough of it, and not while it goes on or again and again.
func TestQuiet(t *testing.T) {
	const mb = 1 << 20
	var q quiet
	u := usage{live: 20 * mb}
	u.objects = u.live
	step := func(name string, times int, more, free uint64, want bool) {
		t.Helper()
		for i := range times {
			u.allocated += more
			u.objects += more
			u.free = free
			got := q.due(u)
			if got {
				u.objects, u.free = u.live, 0
			}
			if got != (want && i == times-1) {
				t.Fatalf("%s, second %d: %t", name, i, got)
			}
		}
	}
	step("little to give back", 20, mb/4, 0, false)
	step("a storm", 5, 30*mb, 40*mb, false)
	step("two quiet seconds later", 2, mb, 40*mb, true)
	step("all is given back", 20, 0, 0, false)
	step("another storm", 1, 30*mb, 0, false)
	step("two quiet seconds later", 2, 0, 0, true)
	step("what little leaves adds up", 16, mb, 0, true)
	u.live = 100 * mb
	u.objects = u.live
	step("a large heap has more to give", 24, mb, 0, false)
	step("a quarter of it", 1, mb, 0, true)
}
