package dialog

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// arm sets the expiry timer.
func (s *Subscription) arm(left time.Duration) {
	t := s.n.o.Transactions.After(left, func() { s.expired() })
	s.mu.Lock()
	old := s.timer
	s.timer = t
	s.mu.Unlock()
	old.Stop()
}

// expired ends a subscription that was not refreshed. RFC 6665 §4.2.2.
func (s *Subscription) expired() {
	s.mu.Lock()
	late := time.Until(s.n.time(s.expires)) > time.Second // refreshed meanwhile
	s.mu.Unlock()
	if !late {
		s.end("timeout", 0)
	}
}

// Allow moves a pending subscription to active, and tells the watcher.
func (s *Subscription) Allow() {
	s.mu.Lock()
	change := s.state == Pending
	if change {
		s.state = Active
		s.touch()
	}
	s.mu.Unlock()
	if change {
		s.notify(true)
	}
}

// End terminates the subscription for a reason of RFC 6665 §4.1.3;
// retryAfter is in seconds, 0 for none.
func (s *Subscription) End(reason string, retryAfter uint32) { s.end(reason, retryAfter) }

func (s *Subscription) end(reason string, retry uint32) {
	s.mu.Lock()
	if s.state == Terminated || s.is.gone {
		s.mu.Unlock()
		return
	}
	s.state, s.reason, s.retry = Terminated, reason, retry
	s.failures = 0
	t := s.timer
	s.timer = nil
	s.mu.Unlock()
	t.Stop()
	s.Notify()
}

// Notify sends the present state, at once or as soon as the NOTIFY that is out
// has been answered, Options.Interval has passed and Options.Rate allows it.
// Only the latest state is sent.
func (s *Subscription) Notify() { s.notify(false) }

// notify is Notify; asked is for a NOTIFY that is owed to a SUBSCRIBE or to a
// change of the subscription's own state, and does not wait for the interval.
func (s *Subscription) notify(asked bool) {
	s.mu.Lock()
	f, over := &s.is, s.state == Terminated
	f.asked = f.asked || asked
	if f.gone || f.closing || f.asleep || f.undecided || f.held && !over {
		s.mu.Unlock()
		return
	}
	if f.inFlight {
		f.dirty = true
		now := s.n.queue != nil && s.n.queue.hurry(s, s.class())
		s.mu.Unlock()
		if now {
			s.begin()
		}
		return
	}
	if s.n.o.Interval > 0 && s.last != 0 && !f.asked && !f.more && !over {
		if wait := s.n.o.Interval - time.Since(s.n.time(s.last)); wait > 0 {
			s.waitLocked(wait, false)
			s.mu.Unlock()
			return
		}
	}
	f.inFlight = true
	t := s.pause
	s.pause = nil
	now := s.n.queue == nil || s.n.queue.enter(s, s.class())
	contact, routes, flow := s.d.Target, s.d.Routes, s.flow
	s.mu.Unlock()
	t.Stop()
	if now {
		s.find(contact, routes, flow)
	}
}

// class is the part of the queue that the next NOTIFY belongs to; s.mu is held.
func (s *Subscription) class() int {
	switch {
	case s.state == Terminated:
		return lastWords
	case s.is.asked || s.is.more:
		return replies
	}
	return changes
}

// waitLocked lets what is to be told wait: for the rest of the interval, or
// after a failure, which a change does not have to wait for. s.mu is held.
func (s *Subscription) waitLocked(wait time.Duration, retrying bool) {
	if s.pause != nil && !s.is.retrying {
		return
	}
	s.pause.Stop()
	var t *transaction.Timer
	s.is.retrying = retrying
	t = s.n.o.Transactions.After(wait, func() {
		s.mu.Lock()
		mine := s.pause == t
		if mine {
			s.pause = nil
		}
		s.mu.Unlock()
		if mine {
			s.Notify()
		}
	})
	s.pause = t
}

// begin finds the way for the NOTIFY whose turn has come.
func (s *Subscription) begin() {
	s.mu.Lock()
	if s.is.gone {
		s.mu.Unlock()
		return
	}
	contact, routes, flow := s.d.Target, s.d.Routes, s.flow
	s.mu.Unlock()
	s.find(contact, routes, flow)
}

// find asks for the way, and sends.
func (s *Subscription) find(contact string, routes []string, flow transport.Flow) {
	if len(routes) == 0 {
		routes = nil
	}
	s.n.o.NextHop(contact, routes, flow, func(h transaction.Hop, err error) {
		if err != nil {
			if s.n.queue != nil {
				s.n.queue.refund()
			}
			s.unreachable()
			return
		}
		s.send(h)
	})
}

// send drafts and sends one NOTIFY. RFC 6665 §4.2.2.
func (s *Subscription) send(h transaction.Hop) {
	s.mu.Lock()
	f, flow := &s.is, h.Flow
	if flow.IsZero() {
		flow = s.flow
	}
	if f.gone {
		s.mu.Unlock()
		return
	}
	// What is told is the state now; it may have ended since Notify.
	show := s.state == Active || s.state == Terminated && (s.reason == "timeout" || s.reason == "deactivated")
	owed, full := f.asked, f.full
	if show {
		f.full = false // a SUBSCRIBE that comes from now on sets it anew
	}
	f.waiting = false
	f.asked, f.dirty, f.stepping = false, false, true
	s.mu.Unlock()

	whole := false
	defer func() {
		if !whole { // the Source has panicked
			s.mu.Lock()
			f.stepping = false
			s.mu.Unlock()
			s.remove()
		}
	}()
	typ, body, more, ok := s.content(show, full)
	contact := s.ours
	if !flow.IsZero() {
		contact = s.n.o.Contact(flow)
	}
	whole = true

	s.mu.Lock()
	f.stepping = false
	if f.gone {
		s.mu.Unlock()
		s.ended()
		return
	}
	over := s.state == Terminated
	if !ok && !owed && !over {
		f.inFlight = false
		f.full = f.full || full && show
		again := f.dirty || f.asked
		s.mu.Unlock()
		if s.n.queue != nil {
			s.n.queue.refund()
		}
		if again {
			s.Notify()
		}
		return
	}
	if show {
		f.more = more
	}
	// A large state is told to its end before the subscription is over.
	f.closing = over && !(show && more && s.failures == 0)
	v := notice{contact: contact, now: time.Now(), typ: typ, body: body}
	var d *sip.Draft
	text, line := s.write(&v)
	if text == nil {
		d = s.draft(&v)
	}
	if f.restored || s.d.LocalSeq%(seqJump/2) == 0 {
		f.restored = false
		s.touch() // CSeq must not be used again after a restart
	}
	s.last = s.n.instant(v.now)
	s.mu.Unlock()
	s.n.metrics.notifies.Inc()
	if text == nil {
		s.n.o.Transactions.Send(h, d, s)
		return
	}
	s.n.o.Transactions.SendBytes(h, sip.NOTIFY, text, line, s)
}

// content asks the Source what there is to tell.
func (s *Subscription) content(show, full bool) (typ string, body []byte, more, ok bool) {
	n := s.n
	switch {
	case !show:
		return "", nil, false, n.stepper == nil
	case n.stepper != nil:
		return n.stepper.Next(s, full)
	}
	typ, body = n.o.Source.State(s)
	return typ, body, false, true
}

// appendState writes the Subscription-State. RFC 6665 §4.1.3, §8.2.3.
func (s *Subscription) appendState(b []byte, now time.Time) []byte {
	if s.is.closing {
		b = append(append(b, "terminated;reason="...), s.reason...)
		if s.retry > 0 {
			b = strconv.AppendUint(append(b, ";retry-after="...), uint64(s.retry), 10)
		}
		return b
	}
	state, left := s.state, max(0, s.n.time(s.expires).Sub(now))
	if state == Terminated {
		state, left = Active, 0 // there is more to come before the end
	}
	b = append(append(b, state.String()...), ";expires="...)
	return strconv.AppendInt(b, int64((left+time.Second/2)/time.Second), 10)
}

// Response takes the answer to a NOTIFY; for the transaction layer.
func (s *Subscription) Response(c *transaction.Client, m *sip.Message) {
	if m.Status() < 200 {
		return
	}
	after, _ := m.Int(sip.HRetryAfter)
	s.answered(m.Status(), time.Duration(after)*time.Second)
}

// Failed takes the failure of a NOTIFY; for the transaction layer. That we are
// busy ourselves is no reason to forget a watcher.
func (s *Subscription) Failed(c *transaction.Client, err error) {
	if errors.Is(err, transaction.ErrTooMany) {
		s.answered(503, busyRetry)
		return
	}
	if lostWay(err) && s.n.saver != nil {
		s.mu.Lock()
		over := s.is.closing
		if !over && !s.is.gone && s.state != Terminated {
			// It may be here again by another way; nobody has told what was lost.
			s.failures = min(s.failures, 100) + 1
			s.waitLocked(min(busyRetry<<min(s.failures-1, 10), lastRetry), true)
		}
		s.mu.Unlock()
		if !over {
			s.unreachable()
			return
		}
	}
	s.answered(408, 0)
}

// fatal are the answers after which the subscription is gone: RFC 6665 §4.2.2
// for 481 and timeouts, RFC 5057 §5.1 for the others.
var fatal = []int{404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604}

// What a Stepper's watcher refused is told again, at first after 30 s, then
// after twice the time, up to half an hour, or after what its Retry-After says.
const (
	firstRetry = 30 * time.Second
	lastRetry  = 30 * time.Minute
	busyRetry  = 2 * time.Second
)

func (s *Subscription) answered(status int, after time.Duration) {
	s.mu.Lock()
	f := &s.is
	f.inFlight = false
	over := f.closing || slices.Contains(fatal, status)
	if status >= 300 {
		// What it was told is not known: everything again, from the start.
		f.full, f.more = true, false
		if after <= 0 {
			after = firstRetry << min(s.failures, 6)
		}
		s.failures = min(s.failures, 100) + 1
		if s.n.stepper != nil && !over && !f.dirty && s.state == Active {
			s.waitLocked(min(after, lastRetry), true)
		}
	} else {
		s.failures = 0
	}
	again := f.dirty || f.more || f.asked || s.state == Terminated
	f.dirty = false
	s.mu.Unlock()
	switch {
	case over:
		if status >= 300 {
			s.n.metrics.lost.Inc()
		}
		s.remove()
	case again:
		s.Notify()
	}
}

// remove takes the subscription off the tables, without a word to the watcher.
func (s *Subscription) remove() {
	s.mu.Lock()
	if s.is.gone {
		s.mu.Unlock()
		return
	}
	s.is.gone = true
	s.state = Terminated
	stepping := s.is.stepping
	if s.is.saved {
		s.touch()
	}
	timer, pause := s.timer, s.pause
	s.timer, s.pause = nil, nil
	if s.n.queue != nil {
		s.n.queue.leave(s)
	}
	s.mu.Unlock()
	timer.Stop()
	pause.Stop()
	n := s.n
	n.mu.Lock()
	n.drop(s)
	n.mu.Unlock()
	if !stepping { // else send says it, when Next has returned
		s.ended()
	}
}

// ended tells the Source.
func (s *Subscription) ended() {
	if s.n.ender != nil {
		s.n.ender.Ended(s)
	}
}
