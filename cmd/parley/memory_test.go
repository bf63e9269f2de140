package main

import "testing"

func TestTender(t *testing.T) {
	const mb = 1 << 20
	var d tender
	allocated := uint64(0)
	look := func(live, more uint64, percent int, trim bool) {
		t.Helper()
		allocated += more
		if p, tr := d.look(live, allocated); p != percent || tr != trim {
			t.Errorf("live %d MB, %d MB more: %d, %v; want %d, %v", live/mb, more/mb, p, tr, percent, trim)
		}
	}
	look(0, 10*mb, 400, false)      // at the start
	look(24*mb, 500*mb, 200, false) // grows by 48 MB
	look(25*mb, 500*mb, 0, false)   // nearly the same
	look(500*mb, 500*mb, 100, false)
	for range quietLooks - 1 {
		look(500*mb, mb, 0, false)
	}
	look(500*mb, mb, 0, true) // quiet: once
	for range 3 {
		look(500*mb, mb, 0, false)
	}
	look(500*mb, 100*mb, 0, false)
	for range quietLooks - 1 {
		look(500*mb, 0, 0, false)
	}
	look(500*mb, 0, 0, true)
}
