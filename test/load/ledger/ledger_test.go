package ledger

import "testing"

// The ledger counts each thing that must not happen.
func TestLedger(t *testing.T) {
	l := New(2)
	for range 6 {
		l.Send(0)
	}
	l.Send(1)
	for _, n := range []int{0, 1, 2, 3} {
		l.Resolve(0, n, true)
	}
	l.Resolve(0, 4, false)
	for _, n := range []int{0, 2, 1, 1, 4} { // 1 late and twice, 3 never, 4 although refused
		if !l.Receive(0, n) {
			t.Errorf("unit %d was sent", n)
		}
	}
	if l.Receive(0, 6) || l.Receive(2, 0) || l.Receive(-1, 0) || l.Receive(0, -1) {
		t.Error("what was never sent is taken as received")
	}
	want := Tally{Sent: 7, Acked: 4, Refused: 1, Received: 4, Lost: 1, Doubled: 1, OutOfOrder: 1, Voided: 1, Open: 2}
	if got := l.Tally(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
