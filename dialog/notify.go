package dialog

import (
	"slices"
	"strconv"
	"time"

	"github.com/parley-im/parley/transaction"
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
	late := time.Until(s.expires) > time.Second // refreshed meanwhile
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
	}
	s.mu.Unlock()
	if change {
		s.Notify()
	}
}

// End terminates the subscription for a reason of RFC 6665 §4.1.3;
// retryAfter is in seconds, 0 for none.
func (s *Subscription) End(reason string, retryAfter uint32) { s.end(reason, retryAfter) }

func (s *Subscription) end(reason string, retry uint32) {
	s.mu.Lock()
	if s.state == Terminated || s.gone {
		s.mu.Unlock()
		return
	}
	s.state, s.reason, s.retry = Terminated, reason, retry
	t := s.timer
	s.timer = nil
	s.mu.Unlock()
	t.Stop()
	s.Notify()
}

// Notify sends the present state, at once or as soon as the NOTIFY that is out
// has been answered and Options.Interval has passed. Only the latest state is
// sent.
func (s *Subscription) Notify() { s.notify(false) }

// notify is Notify; asked is for the NOTIFY that a SUBSCRIBE causes, which does
// not wait for the interval.
func (s *Subscription) notify(asked bool) {
	s.mu.Lock()
	if s.gone || s.closing || s.held && s.state != Terminated {
		s.mu.Unlock()
		return
	}
	if s.inFlight {
		s.dirty = true
		s.mu.Unlock()
		return
	}
	if wait := s.n.o.Interval - time.Since(s.last); s.n.o.Interval > 0 && s.sent > 0 && wait > 0 && !asked && s.state != Terminated {
		s.waitLocked(wait)
		return
	}
	s.inFlight, s.dirty = true, false
	s.closing = s.state == Terminated
	contact, routes, flow := s.d.Target, s.d.Routes, s.flow
	s.mu.Unlock()
	if len(routes) == 0 {
		routes = nil
	}
	s.n.o.NextHop(contact, routes, flow, func(h transaction.Hop, err error) {
		if err != nil {
			// RFC 6665 §4.2.2: a watcher that cannot be reached is gone.
			s.remove()
			return
		}
		s.send(h)
	})
}

// waitLocked arms the pause timer; it releases s.mu.
func (s *Subscription) waitLocked(wait time.Duration) {
	if s.dirty {
		s.mu.Unlock()
		return
	}
	s.dirty = true
	s.mu.Unlock()
	t := s.n.o.Transactions.After(wait, func() {
		s.mu.Lock()
		s.pause, s.dirty = nil, false
		s.mu.Unlock()
		s.Notify()
	})
	s.mu.Lock()
	s.pause = t
	s.mu.Unlock()
}

// send drafts and sends one NOTIFY. RFC 6665 §4.2.2.
func (s *Subscription) send(h transaction.Hop) {
	var typ string
	var body []byte
	s.mu.Lock()
	// What is told is the state now; it may have ended since Notify.
	s.closing = s.state == Terminated
	show := s.state == Active || s.state == Terminated && (s.reason == "timeout" || s.reason == "deactivated")
	s.mu.Unlock()
	if show {
		typ, body = s.n.o.Source.State(s)
	}
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return
	}
	d := s.d.Request(sip.NOTIFY)
	event := s.n.o.Event
	if s.eventID != "" {
		event += ";id=" + s.eventID
	}
	d.Add(sip.HContact, "<"+s.n.o.Contact(s.flow)+">")
	d.Add(sip.HEvent, event)
	d.Add(sip.HSubscriptionState, s.stateRow(time.Now()))
	s.sent++
	s.last = time.Now()
	s.mu.Unlock()
	if len(body) > 0 {
		d.Body(typ, body)
	}
	s.n.metrics.notifies.Inc()
	s.n.o.Transactions.Send(h, d, s)
}

// stateRow is the Subscription-State. RFC 6665 §4.1.3, §8.2.3.
func (s *Subscription) stateRow(now time.Time) string {
	if s.closing {
		row := "terminated;reason=" + s.reason
		if s.retry > 0 {
			row += ";retry-after=" + strconv.FormatUint(uint64(s.retry), 10)
		}
		return row
	}
	left := max(0, s.expires.Sub(now))
	return s.state.String() + ";expires=" + strconv.Itoa(int((left+time.Second/2)/time.Second))
}

// Response takes the answer to a NOTIFY; for the transaction layer.
func (s *Subscription) Response(c *transaction.Client, m *sip.Message) {
	if m.Status() < 200 {
		return
	}
	s.answered(m.Status())
}

// Failed takes the failure of a NOTIFY; for the transaction layer.
func (s *Subscription) Failed(c *transaction.Client, err error) { s.answered(408) }

// fatal are the answers after which the subscription is gone: RFC 6665 §4.2.2
// for 481 and timeouts, RFC 5057 §5.1 for the others.
var fatal = []int{404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604}

func (s *Subscription) answered(status int) {
	s.mu.Lock()
	s.inFlight = false
	over := s.closing || slices.Contains(fatal, status)
	again := s.dirty || s.state == Terminated
	s.dirty = false
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
	if s.gone {
		s.mu.Unlock()
		return
	}
	s.gone = true
	s.state = Terminated
	timer, pause := s.timer, s.pause
	s.timer, s.pause = nil, nil
	s.mu.Unlock()
	timer.Stop()
	pause.Stop()
	n := s.n
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.byTag, s.d.Local)
	list := n.byRes[s.resource]
	if i := slices.Index(list, s); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(n.byRes, s.resource)
	} else {
		n.byRes[s.resource] = list
	}
	n.release(s.watcher.AOR)
}
