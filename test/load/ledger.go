package main

import "sync"

// A ledger knows of each unit of each pair whether it was sent, acknowledged to its sender and received, and counts what
// must not happen. Units of a pair are numbered from 0 in the order of sending.
type ledger struct {
	pairs []pairLedger
}

type pairLedger struct {
	mu     sync.Mutex // guards what follows
	marks  []mark
	newest int // highest number received; -1 before
	late   int // received after a younger one
}

type mark uint8

const (
	acked    mark = 1 << iota // a 2xx came
	refused                   // another final response, or none
	received                  // once
	doubled                   // more than once
)

// tally is what a ledger says at the end.
type tally struct {
	Sent       int `json:"sent"`
	Acked      int `json:"acknowledged"`
	Refused    int `json:"refused"`  // by a final response, or unanswered until the timeout
	Received   int `json:"received"` // each counted once
	Lost       int `json:"lost"`     // acknowledged, not received
	Doubled    int `json:"doubled"`  // received more than once, in different transactions
	OutOfOrder int `json:"out_of_order"`
	Voided     int `json:"refused_but_received"`
	Open       int `json:"unresolved"` // neither acknowledged nor refused when the wait ended
}

func newLedger(pairs int) *ledger {
	l := &ledger{pairs: make([]pairLedger, pairs)}
	for i := range l.pairs {
		l.pairs[i].newest = -1
	}
	return l
}

// send numbers the next unit of a pair.
func (l *ledger) send(pair int) int {
	p := &l.pairs[pair]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks = append(p.marks, 0)
	return len(p.marks) - 1
}

func (l *ledger) resolve(pair, n int, ok bool) {
	p := &l.pairs[pair]
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok {
		p.marks[n] |= acked
	} else {
		p.marks[n] |= refused
	}
}

// receive tells whether the unit is one that was sent.
func (l *ledger) receive(pair, n int) bool {
	known, _ := l.receiveOnce(pair, n)
	return known
}

// receiveOnce tells too whether it is the first time.
func (l *ledger) receiveOnce(pair, n int) (known, first bool) {
	if pair < 0 || pair >= len(l.pairs) {
		return false, false
	}
	p := &l.pairs[pair]
	p.mu.Lock()
	defer p.mu.Unlock()
	if n < 0 || n >= len(p.marks) {
		return false, false
	}
	if p.marks[n]&received != 0 {
		p.marks[n] |= doubled
		return true, false
	}
	p.marks[n] |= received
	if n < p.newest {
		p.late++
	}
	p.newest = max(p.newest, n)
	return true, true
}

func (l *ledger) tally() tally {
	var t tally
	for i := range l.pairs {
		p := &l.pairs[i]
		p.mu.Lock()
		t.Sent += len(p.marks)
		t.OutOfOrder += p.late
		for _, m := range p.marks {
			t.Acked += one(m&acked != 0)
			t.Refused += one(m&refused != 0)
			t.Received += one(m&received != 0)
			t.Doubled += one(m&doubled != 0)
			t.Lost += one(m&(acked|received) == acked)
			t.Voided += one(m&refused != 0 && m&received != 0)
			t.Open += one(m&(acked|refused) == 0)
		}
		p.mu.Unlock()
	}
	return t
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
