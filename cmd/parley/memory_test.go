package main

import "testing"

func TestGrowth(t *testing.T) {
	const mb = 1 << 20
	for _, row := range []struct {
		live      uint64
		set, want int
	}{
		{0, 0, 400}, // at the start
		{2 * mb, 400, 400},
		{24 * mb, 400, 200}, // by 48 MB
		{25 * mb, 200, 200}, // nearly the same
		{500 * mb, 200, 100},
		{40 * mb, 100, 120},
	} {
		if got := growth(row.live, row.set); got != row.want {
			t.Errorf("%d MB live, %d set: %d, want %d", row.live/mb, row.set, got, row.want)
		}
	}
}
