package call

import (
	"strings"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/wire/sip"
)

// A call to somebody who does not want to be disturbed is recorded like any other, begins to ring nowhere, and is answered
// 480: the record of its end says "do not disturb", so it is found among the missed calls. A Priority of "emergency"
// (RFC 3261 §20.26) opens no way, for anybody can write it: who gets through is who may interrupt.

// disturbs tells whether a call that is about to ring would disturb.
func (s *Service) disturbs(m *sip.Message, c *call) bool {
	return s.o.Quiet != nil && s.o.Quiet(c.to, c.from) && !s.replaces(m, c.to)
}

// decline ends a call that nobody is to hear of now. RFC 3261 §21.4.18: 480 is also for this, and the reason phrase should
// tell.
func (s *Service) decline(r *route.Request, c *call) {
	s.metrics.quiet.Inc()
	if s.o.Hidden != nil && s.o.Hidden(c.to, c.from) {
		absent(r, c)
	} else {
		r.Reply(480, "Do Not Disturb", route.Warn(c.to+" does not want to be disturbed now"))
	}
	s.end(c, outcomeQuiet, 480, "")
}

// absent answers a call to somebody who is on no device, or looks so to the caller.
func absent(r *route.Request, c *call) {
	r.Reply(480, "", route.Warn(c.to+" is not signed in on any device"))
}

// replaces tells whether an INVITE takes the place of a call that owner is in: a call that moves to another device of the other
// side, or is transferred, does not ring. RFC 3891 §3: the dialog is named as owner sees it, to-tag first, and has been answered
// or is one that owner is making; for any other a phone answers 481, or rings when it does not know Replaces. Whether the sender
// may take that place is for the phone to judge; it knows the tags, which are told to nobody but the two.
func (s *Service) replaces(m *sip.Message, owner string) bool {
	if !m.Has(sip.HReplaces) {
		return false
	}
	callID, rest, _ := strings.Cut(m.Get(sip.HReplaces), ";")
	params := sip.Params(";" + rest)
	local, _ := params.Get("to-tag")
	remote, _ := params.Get("from-tag")
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.find(strings.TrimSpace(callID), local, remote)
	switch {
	case old == nil || old.side(local) != owner:
		return false
	case local == old.fromTag: // owner is making it, or has made it
		return true
	}
	return old.legs[local].confirmed
}
