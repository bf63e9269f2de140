// Package ledger knows of messages and calls whether they were sent, acknowledged to their sender and received, and tells
// of those that were acknowledged and did not arrive what there is to know.
package ledger

import "sync"

// A Ledger knows of each unit of each pair what became of it, and counts what must not happen. Units of a pair are numbered
// from 0 in the order of sending. It is safe for concurrent use.
type Ledger struct {
	pairs []pair
}

type pair struct {
	mu     sync.Mutex // guards what follows
	marks  []Mark
	newest int // highest number received; -1 before
	late   int // received after a younger one
}

// Mark is what is known of a unit.
type Mark uint8

// What a Mark is made of.
const (
	Acked    Mark = 1 << iota // a 2xx came
	Refused                   // another final response, or none
	Received                  // once
	Doubled                   // more than once
)

// Tally is what a ledger says at the end.
type Tally struct {
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

// New makes a ledger of so many pairs, numbered from 0.
func New(pairs int) *Ledger {
	l := &Ledger{pairs: make([]pair, pairs)}
	for i := range l.pairs {
		l.pairs[i].newest = -1
	}
	return l
}

// Send numbers the next unit of a pair.
func (l *Ledger) Send(pair int) int {
	p := &l.pairs[pair]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks = append(p.marks, 0)
	return len(p.marks) - 1
}

// Resolve notes the answer to unit n: ok is a 2xx.
func (l *Ledger) Resolve(pair, n int, ok bool) {
	p := &l.pairs[pair]
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok {
		p.marks[n] |= Acked
	} else {
		p.marks[n] |= Refused
	}
}

// Receive tells whether the unit is one that was sent.
func (l *Ledger) Receive(pair, n int) bool {
	known, _ := l.ReceiveOnce(pair, n)
	return known
}

// ReceiveOnce tells too whether it is the first time.
func (l *Ledger) ReceiveOnce(pair, n int) (known, first bool) {
	if pair < 0 || pair >= len(l.pairs) {
		return false, false
	}
	p := &l.pairs[pair]
	p.mu.Lock()
	defer p.mu.Unlock()
	if n < 0 || n >= len(p.marks) {
		return false, false
	}
	if p.marks[n]&Received != 0 {
		p.marks[n] |= Doubled
		return true, false
	}
	p.marks[n] |= Received
	if n < p.newest {
		p.late++
	}
	p.newest = max(p.newest, n)
	return true, true
}

// Tally counts.
func (l *Ledger) Tally() Tally {
	var t Tally
	for i := range l.pairs {
		p := &l.pairs[i]
		p.mu.Lock()
		t.Sent += len(p.marks)
		t.OutOfOrder += p.late
		for _, m := range p.marks {
			t.Acked += one(m&Acked != 0)
			t.Refused += one(m&Refused != 0)
			t.Received += one(m&Received != 0)
			t.Doubled += one(m&Doubled != 0)
			t.Lost += one(m.Missing())
			t.Voided += one(m.Voided())
			t.Open += one(m&(Acked|Refused) == 0)
		}
		p.mu.Unlock()
	}
	return t
}

// Missing tells whether a unit was acknowledged and has not been received.
func (m Mark) Missing() bool { return m&(Acked|Received) == Acked }

// Voided tells whether a unit was refused and received all the same.
func (m Mark) Voided() bool { return m&Refused != 0 && m&Received != 0 }

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
