package call

import (
	"slices"
	"strings"

	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// end is where one party of a call is, seen from here: the way to it does not lead through us.
type end struct {
	contact string
	routes  []string
	flow    transport.Flow
}

// leg is one dialog of a call, with what is needed to say something in it in the name of either side.
type leg struct {
	confirmed          bool // by a 2xx
	toCallee, toCaller dialog.Dialog
	flow               transport.Flow // the callee's
}

// setup is what a call needs while it rings.
type setup struct {
	r       *route.Request
	clients []*transaction.Client // the branches of its INVITE
}

// callerOf is the end that an INVITE came from. RFC 3261 §12.1.1.
func callerOf(r *route.Request) end {
	e := end{flow: r.Flow}
	for _, v := range dialog.ServerRoutes(r.Msg) {
		e.routes = append(e.routes, strings.Clone(v))
	}
	if list, _, err := r.Msg.Contacts(); err == nil && len(list) == 1 {
		list[0].URI.Headers = ""
		e.contact = list[0].URI.String()
	}
	return e
}

// started notes a branch of the INVITE. One that comes after the call was closed is cancelled at once.
func (s *Service) started(c *call, tx *transaction.Client) {
	s.mu.Lock()
	ended := c.ended
	if !ended && c.setup != nil {
		c.setup.clients = append(c.setup.clients, tx)
	}
	s.mu.Unlock()
	if ended {
		tx.Cancel()
	}
}

// heard notes a dialog that a response to the INVITE makes (RFC 3261 §12.1), of a device of aor, when that is known, on a
// flow, when that is.
func (s *Service) heard(c *call, m *sip.Message, aor string, flow transport.Flow) {
	status := m.Status()
	if status <= 100 || status >= 300 || m.ToTag() == "" {
		return
	}
	defer s.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.ended {
		return
	}
	defer s.recount(c)
	confirmed := status >= 200
	l := c.legs[m.ToTag()]
	if l == nil {
		if len(c.legs) >= maxLegs && !(confirmed && c.dropEarly()) {
			return
		}
		l = &leg{}
		c.legs[strings.Clone(m.ToTag())] = l
	}
	l.confirmed = l.confirmed || confirmed
	if !flow.IsZero() {
		l.flow = flow
		c.connect(l, m)
	}
	if aor != "" && aor != c.to {
		if c.others == nil {
			c.others = map[string]string{}
		}
		c.others[strings.Clone(m.ToTag())] = aor
	}
}

// connect fills the two halves of a leg. RFC 3261 §12.1.2. The caller holds Service.mu.
func (c *call) connect(l *leg, m *sip.Message) {
	if l.toCallee.CallID != "" {
		_ = l.toCallee.Refresh(m) // without a good Contact the old one stays
		return
	}
	d, err := dialog.FromResponse(m)
	if err != nil {
		return // a provisional response needs no Contact
	}
	d.CallID, d.Local, d.Remote = strings.Clone(d.CallID), c.fromTag, strings.Clone(d.Remote)
	l.toCaller = dialog.Dialog{
		ID:       dialog.ID{CallID: d.CallID, Local: d.Remote, Remote: d.Local},
		LocalURI: d.RemoteURI, RemoteURI: d.LocalURI, Target: c.caller.contact, Routes: c.caller.routes,
	}
	// Of the route set, what lies behind the two values that are ours.
	d.Routes = nil
	if all := dialog.ServerRoutes(m); len(all) > len(c.caller.routes)+2 {
		for _, v := range slices.Backward(all[:len(all)-len(c.caller.routes)-2]) {
			d.Routes = append(d.Routes, strings.Clone(v))
		}
	}
	l.toCallee = d
}

// dropEarly forgets one dialog that is not confirmed. The caller holds Service.mu.
func (c *call) dropEarly() bool {
	for tag, l := range c.legs {
		if !l.confirmed {
			delete(c.legs, tag)
			delete(c.others, tag)
			return true
		}
	}
	return false
}

// notice keeps up with a request inside a dialog: CSeq, the sender's Contact (RFC 3261 §12.2) and the flow it is on. It
// returns the call that the request belongs to, nil for none that its sender takes part in, and who sent it.
func (s *Service) notice(r *route.Request) (*call, string) {
	m, by := r.Msg, r.Identity.AOR
	if m.ToTag() == "" {
		return nil, by
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(m.CallID(), m.FromTag(), m.ToTag())
	if c == nil {
		return nil, by
	}
	side := c.side(m.FromTag())
	if by != "" && by != side {
		return nil, by
	}
	l := c.legs[legOf(c, m)]
	to, from := &l.toCallee, &l.toCaller
	if m.FromTag() != c.fromTag {
		to, from = from, to
	}
	if seq, err := m.CSeq(); err == nil {
		to.LocalSeq = max(to.LocalSeq, seq.Seq)
	}
	if method := m.Method(); by != "" && (method == sip.INVITE || method == sip.UPDATE) {
		_ = from.Refresh(m) // without a good Contact the old one stays
		if m.FromTag() == c.fromTag {
			c.caller.flow = r.Flow
		} else {
			l.flow = r.Flow
		}
	}
	return c, side
}

// refreshed takes the Contact of a response inside a dialog. RFC 3261 §12.2.1.2.
func (s *Service) refreshed(c *call, m *sip.Message) {
	if method, status := m.Method(), m.Status(); status < 200 || status >= 300 || method != sip.INVITE && method != sip.UPDATE {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := c.legs[legOf(c, m)]; l != nil && m.FromTag() == c.fromTag {
		_ = l.toCallee.Refresh(m) // without a good Contact the old one stays
	} else if l != nil {
		_ = l.toCaller.Refresh(m)
	}
}
