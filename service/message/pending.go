package message

import (
	"sync"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transaction"
)

// pending is a message whose sender has not been answered yet.
type pending struct {
	service *Service
	rec     *store.Record
	keys    []uint64
	done    func(Result)

	// These belong to the shard of the receiver.
	open    int     // devices that are being tried
	later   bool    // a device gets it when it returns
	refusal *Result // the best of the devices' refusals

	mu      sync.Mutex // guards what follows
	settled bool
	others  []func(Result) // senders of repeats
	timer   *transaction.Timer
}

// settle answers the sender and everyone who repeated, once.
func (p *pending) settle(r Result) {
	r.ID = p.rec.ID
	p.mu.Lock()
	if p.settled {
		p.mu.Unlock()
		return
	}
	p.settled = true
	others, timer := p.others, p.timer
	p.others, p.timer = nil, nil
	p.mu.Unlock()
	p.service.repeats.landed(p)
	if timer != nil {
		timer.Stop()
	}
	p.done(r)
	for _, done := range others {
		done(r)
	}
}

// alsoTell gives the answer to a repeat too. A repeat that comes just after the answer is stored as well.
func (p *pending) alsoTell(done func(Result)) {
	p.mu.Lock()
	if !p.settled {
		p.others = append(p.others, done)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	done(Result{Status: 202, ID: p.rec.ID})
}

// answerLater starts the clock after which the sender hears that the message is stored.
func (p *pending) answerLater() {
	t := p.service.o.Transactions.After(answerWithin, func() { p.settle(Result{Status: 202}) })
	p.mu.Lock()
	if p.settled {
		p.mu.Unlock()
		t.Stop()
		return
	}
	p.timer = t
	p.mu.Unlock()
}

// took: a device has it.
func (p *pending) took() {
	p.open--
	p.settle(Result{Status: 200})
}

// refused: a device does not want it.
func (p *pending) refused(status int, reason string) {
	p.open--
	// The lowest code is the best choice of RFC 3261 §16.7; a 6xx of one device is not the word of all.
	if p.refusal == nil || status < p.refusal.Status {
		p.refusal = &Result{Status: status, Reason: reason, Warning: "the receiver's device refused the message; it is recorded but was not delivered"}
	}
	p.conclude()
}

// postponed: a device gets it when it returns.
func (p *pending) postponed() {
	p.open--
	p.later = true
	p.conclude()
}

// conclude answers when no device is left that could still take it.
func (p *pending) conclude() {
	switch {
	case p.open > 0:
	case !p.later && p.refusal != nil:
		p.settle(*p.refusal)
	default:
		p.settle(Result{Status: 202})
	}
}
