package main

import (
	"testing"
	"time"
)

func TestMark(t *testing.T) {
	for _, sep := range []byte{' ', '.'} {
		b := appendMark(nil, 12, 345, 6789*time.Millisecond, sep)
		lane, n, due, ok := parseMark(string(b)+"rest", sep)
		if lane != 12 || n != 345 || due != 6789*time.Millisecond || !ok {
			t.Errorf("%q: %d %d %v %v", b, lane, n, due, ok)
		}
	}
	if len(appendMark(nil, maxUsers, 1e9, maxTime, ' ')) > minBody {
		t.Error("a message's mark does not fit into the smallest body")
	}
	for _, s := range []string{"", "1 2", "1 2 3", "1 x 3 ", "hello world"} {
		if _, _, _, ok := parseMark(s, ' '); ok {
			t.Errorf("%q is no mark", s)
		}
	}
}
