package call

import (
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// disabledReason tells both sides why: RFC 3326.
const disabledReason = `SIP;cause=403;text="Disabled by the administrator"`

// Close ends the calls of an account that may have none any more: BYE goes to both sides of each of its dialogs (RFC 3261
// §15), a call that rings is cancelled and refused. It does not wait for answers.
func (s *Service) Close(aor string) {
	s.mu.Lock()
	var list []*call
	for _, c := range s.calls {
		if c.from == aor || c.to == aor {
			list = append(list, c)
			continue
		}
		for _, other := range c.others {
			if other == aor {
				list = append(list, c)
				break
			}
		}
	}
	s.mu.Unlock()
	for _, c := range list {
		s.close(c, aor)
	}
}

// close ends one call of aor.
func (s *Service) close(c *call, aor string) {
	s.mu.Lock()
	byes := c.byes()
	setup := c.setup
	c.setup, c.closed = nil, true
	s.mu.Unlock()
	s.end(c, outcomeClosed, 403, "the account of "+aor+" was disabled or removed by an administrator")
	if setup != nil {
		if c.from == aor {
			setup.r.Reply(403, "", route.Warn("your account was disabled by an administrator"))
		} else {
			setup.r.Reply(480, "", route.Warn("the account of "+aor+" is disabled"))
		}
		for _, tx := range setup.clients {
			tx.Cancel(func(d *sip.Draft) { d.Set(sip.HReason, disabledReason) })
		}
	}
	for _, b := range byes {
		s.bye(b)
	}
}

// bye is one BYE and the way to where it goes.
type bye struct {
	dialog dialog.Dialog
	flow   transport.Flow
}

// byes are those that end the confirmed dialogs. The caller holds Service.mu.
func (c *call) byes() []bye {
	var list []bye
	for _, l := range c.legs {
		if l.confirmed && l.toCallee.CallID != "" {
			list = append(list, bye{l.toCallee, l.flow}, bye{l.toCaller, c.caller.flow})
		}
	}
	return list
}

// bye sends a BYE. RFC 3261 §15.1.1: whatever comes of it, the dialog is over.
func (s *Service) bye(b bye) {
	d := b.dialog.Request(sip.BYE)
	d.Set(sip.HReason, disabledReason)
	s.o.NextHop(b.dialog.Target, b.dialog.Routes, b.flow, func(h transaction.Hop, err error) {
		if err != nil {
			s.o.Log.Debug("call: no way for a BYE", "call_id", cut(b.dialog.CallID), "err", err)
			return
		}
		s.o.Transactions.Send(h, d, unheard{})
	})
}

// dismiss ends a dialog that was confirmed after the call had been closed: ACK, so that the answer is not repeated, then
// BYE (RFC 3261 §9.1, §13.2.2.4).
func (s *Service) dismiss(tx *transaction.Client, m *sip.Message) {
	d, err := dialog.FromResponse(m)
	if err != nil {
		return
	}
	d.Routes = nil
	hop := transaction.Hop{Flow: tx.Hop().Flow, Sticky: true}
	ack := d
	ack.LocalSeq-- // that of the INVITE
	if err := s.o.Transactions.SendStateless(hop, ack.Request(sip.ACK)); err != nil {
		return // it has gone
	}
	s.bye(bye{d, hop.Flow})
}

// tooLate tells whether m answers a call that was closed while it rang.
func (s *Service) tooLate(c *call, m *sip.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.closed && c.answered.IsZero() && m.Status() >= 200 && m.Status() < 300
}

// over tells whether a call has ended.
func (s *Service) over(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.ended
}

// unheard takes what comes of a request of ours that needs no answer.
type unheard struct{}

func (unheard) Response(*transaction.Client, *sip.Message) {}
func (unheard) Failed(*transaction.Client, error)          {}

// cut bounds what a peer can make us log.
func cut(s string) string {
	if len(s) > 128 {
		return s[:128]
	}
	return s
}
