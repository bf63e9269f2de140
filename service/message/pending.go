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

	mu     sync.Mutex     // guards what follows
	answer *Result        // nil until there is one
	others []func(Result) // senders of repeats
	timer  *transaction.Timer
}

// settle answers the sender and everyone who repeated, once.
func (p *pending) settle(r Result) {
	if !r.lost {
		r.ID = p.rec.ID
	}
	p.mu.Lock()
	if p.answer != nil {
		p.mu.Unlock()
		return
	}
	p.answer = &r
	others, timer := p.others, p.timer
	p.others, p.timer = nil, nil
	p.mu.Unlock()
	p.service.repeats.landed(p, r.Status)
	if timer != nil {
		timer.Stop()
	}
	p.done(r)
	for _, done := range others {
		done(r)
	}
}

// alsoTell gives the answer to a repeat too, whatever it is: a message that was not recorded is not
// accepted because it came twice.
func (p *pending) alsoTell(done func(Result)) {
	p.mu.Lock()
	answer := p.answer
	if answer == nil {
		p.others = append(p.others, done)
	}
	p.mu.Unlock()
	if answer != nil {
		done(*answer)
	}
}

// answerLater starts the clock after which the sender hears that the message is stored.
func (p *pending) answerLater() {
	t := p.service.o.Transactions.After(answerWithin, func() { p.settle(Result{Status: 202}) })
	p.mu.Lock()
	late := p.answer != nil
	if !late {
		p.timer = t
	}
	p.mu.Unlock()
	if late {
		t.Stop()
	}
}

// took: a device has it.
func (p *pending) took() {
	p.open--
	p.settle(Result{Status: 200})
}

// refused: a device does not want it. Its words are in the record of the outcome; the sender gets ours, for
// a reason phrase could say anything.
func (p *pending) refused(status int) {
	p.open--
	status = refusalFor(status)
	if p.refusal == nil || refusalRank(status) < refusalRank(p.refusal.Status) {
		p.refusal = &Result{Status: status, Warning: "the receiver's device refused the message; it is recorded but was not delivered"}
	}
	p.conclude()
}

// refusalFor is what a sender hears of a device's refusal: codes that mean something between us and the device
// only, or that need headers we do not pass, become ones that stand alone.
func refusalFor(status int) int {
	switch status {
	case 401, 407, 494: // a challenge (RFC 3261 §22): the sender cannot answer it
		return 403
	case 413, 415, 416, 420, 421, 484, 488:
		return status
	}
	switch {
	case status < 400, temporary(status): // a redirection, silence, or what it may be again in a minute
		return 480
	}
	return status
}

// refusalRank orders refusals as RFC 3261 §16.7 step 6 does: first what tells how to say it again, then the lowest
// code. A 6xx of one device is not the word of all.
func refusalRank(status int) int {
	switch status {
	case 413, 415, 420, 484, 488:
		return 0
	}
	return status
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
