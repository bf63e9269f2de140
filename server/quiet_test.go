package server

import "testing"

// Memory is given back once when a busy time is over, and not while it goes on or when little happened.
func TestQuiet(t *testing.T) {
	var q quiet
	allocated := uint64(0)
	for i, row := range []struct {
		more uint64 // bytes allocated since the row before
		want bool
	}{
		{200 << 10, false}, {200 << 10, false}, {8 << 20, false}, {0, false}, {0, false}, // little
		{100 << 20, false}, {50 << 20, false}, // a storm
		{3 << 20, false}, {5 << 20, false}, {0, false}, {3 << 20, true}, {0, false}, {0, false}, // over
		{20 << 20, false}, {0, false}, {0, true}, {0, false}, // another
	} {
		allocated += row.more
		if got := q.due(allocated); got != row.want {
			t.Errorf("step %d: %v, want %v", i, got, row.want)
		}
	}
}
