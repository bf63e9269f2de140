package call

import (
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/wire/sip"
)

// InDialog is the handler of INVITE, UPDATE and BYE inside a dialog that runs through us.
func (s *Service) InDialog(r *route.Request) {
	m := r.Msg
	s.mu.Lock()
	c := s.find(m.CallID(), m.FromTag(), m.ToTag())
	s.mu.Unlock()
	if c == nil {
		// A call from before a restart, whose record is closed already: it may still be hung up.
		s.o.Forward.ForwardInDialog(r, route.Options{})
		return
	}
	if m.Method() == sip.BYE {
		by := c.to
		if m.FromTag() == c.fromTag {
			by = c.from
		}
		// Whatever the far end answers, who hangs up has left (RFC 3261 §15.1.1). What it answers belongs to the call.
		leg := legOf(c, m)
		s.o.Forward.ForwardInDialog(r, route.Options{})
		s.hangUp(c, leg, by)
		return
	}
	s.o.Forward.ForwardInDialog(r, route.Options{OnResponse: func(resp *sip.Message, _ route.Target) {
		if status := resp.Status(); status >= 200 && status < 300 {
			s.alive(c)
		}
	}})
}

// legOf is the callee's tag of the dialog that m belongs to.
func legOf(c *call, m *sip.Message) string {
	if m.FromTag() == c.fromTag {
		return m.ToTag()
	}
	return m.FromTag()
}

// hangUp ends one dialog, and an answered call with its last confirmed one. While it rings, the INVITE
// transaction ends the call.
func (s *Service) hangUp(c *call, leg, by string) {
	s.mu.Lock()
	delete(c.legs, leg)
	c.left = by
	last := !c.answered.IsZero() && !c.talking()
	s.recount(c)
	s.mu.Unlock()
	s.tell()
	if last {
		s.hungUp(c)
	}
}

func (s *Service) hungUp(c *call) {
	s.mu.Lock()
	by := c.left
	s.mu.Unlock()
	s.end(c, outcomeHungUp, 0, "hung up by "+by)
}

// alive starts the clock of a call again: it ends when no refresh comes in time (RFC 4028 §10).
func (s *Service) alive(c *call) {
	s.mu.Lock()
	limit := c.limit
	s.mu.Unlock()
	timer := s.o.Transactions.After(limit, func() { s.end(c, outcomeLost, 0, "neither side refreshed the session") })
	s.mu.Lock()
	old := c.expiry
	if c.ended {
		old = timer
	} else {
		c.expiry = timer
	}
	s.mu.Unlock()
	if old != nil {
		old.Stop()
	}
}

// agreed takes the session interval that a 2xx makes: what it says, or what the proxy tells a caller who knows session timers
// when the callee does not (RFC 4028 §8.2), which is what the request asked for.
func (s *Service) agreed(c *call, m *sip.Message, asked time.Duration) {
	if method, status := m.Method(), m.Status(); status < 200 || status >= 300 || method != sip.INVITE && method != sip.UPDATE {
		return
	}
	limit := s.o.MaxSilence
	if m.Has(sip.HSessionExpires) {
		asked = interval(m.Get(sip.HSessionExpires))
	}
	if asked > 0 {
		limit = asked + grace
	}
	s.mu.Lock()
	c.limit = limit
	s.mu.Unlock()
}

// interval reads a Session-Expires; 0 for none.
func interval(v string) time.Duration {
	v, _, _ = strings.Cut(v, ";")
	seconds, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// grace is added to a session's expiry: the side that sees it first sends BYE up to a third early or 32 s
// early, never late (RFC 4028 §10).
const grace = 10 * time.Second
