package message

import (
	"strings"
	"time"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// inDialog records text that travels inside a session, then passes it to the peer, never to anyone else and
// never later.
func (s *Service) inDialog(r *route.Request) {
	m := r.Msg
	peer, ok := s.o.Dialogs.Peer(m.CallID(), m.FromTag(), m.ToTag())
	if !ok {
		reply(r, Result{Status: 481, Warning: "there is no such session here"})
		return
	}
	if self, _ := s.o.Dialogs.Peer(m.CallID(), m.ToTag(), m.FromTag()); self != r.Identity.AOR {
		reply(r, Result{Status: 403, Warning: "you are not part of this session"})
		return
	}
	o := outgoing(r)
	o.To, o.Expires = peer, -1
	c, refused := s.admit(&o)
	if refused != nil {
		s.metrics.refused.Inc()
		reply(r, *refused)
		return
	}
	if c.typing {
		o.Headers, o.Display = Headers{}, ""
		if strip(r, &o, c) {
			s.metrics.typing.Inc()
			s.o.Forward.ForwardInDialog(r, route.Options{Only: peer})
		}
		return
	}
	s.whenReady(func() { s.recordInDialog(r, &o, c) })
}

// recordInDialog records what o says, and then passes r on.
func (s *Service) recordInDialog(r *route.Request, o *Outgoing, c opened) {
	p := &pending{service: s, rec: s.newRecord(o, c), done: func(res Result) { reply(r, res) }}
	set(p.rec, metaInDialog, "1")
	set(p.rec, store.MetaToTag, r.Msg.ToTag())
	s.append(p, func() {
		if !strip(r, o, c) {
			return
		}
		p.done = func(Result) {} // the peer answers
		s.o.Forward.ForwardInDialog(r, route.Options{Only: o.To, Done: func(out route.Outcome) { s.inDialogDone(p, out) }})
	})
}

// inDialogDone records what the peer made of a message inside a session. It moves no cursor: that device has its
// place among the other messages.
func (s *Service) inDialogDone(p *pending, out route.Outcome) {
	outcome, reason := store.OutcomeRefused, out.Reason
	switch {
	case out.Status >= 200 && out.Status < 300:
		outcome, reason = store.OutcomeDelivered, ""
		s.metrics.delivered.Inc()
	case out.Status == 0:
		reason = "no answer"
		out.Status = 480 // for repeats; the sender itself gets no answer (RFC 4320 §4.2)
		s.metrics.deviceRefused.Inc()
	default:
		s.metrics.deviceRefused.Inc()
	}
	s.appendOutcome(outcomeOf(p.rec, out.Target.Device, fate{outcome: outcome, status: out.Status, reason: reason}), func() {})
	p.settle(Result{Status: out.Status})
}

// carried are the headers that a message keeps on its way through a dialog, beside those of the record: what the
// dialog and the transport need. Anything else could be text that nobody recorded.
var carried = map[sip.HeaderID]bool{
	sip.HVia: true, sip.HRoute: true, sip.HMaxForwards: true, sip.HMaxBreadth: true, sip.HFrom: true, sip.HTo: true,
	sip.HCallID: true, sip.HCSeq: true, sip.HRequire: true, sip.HSupported: true, sip.HPrivacy: true,
	sip.HContentLength: true, sip.HContentType: true, sip.HContentEncoding: true,
	sip.HAuthorization: true, sip.HProxyAuthorization: true, // taken out by the proxy
}

// strip leaves of a request inside a session what its record says. A typing notice has no record: of it, what was
// rebuilt remains. False means that r is answered.
func strip(r *route.Request, o *Outgoing, c opened) bool {
	from, err := r.Msg.From()
	to, err2 := r.Msg.To()
	if err != nil || err2 != nil {
		reply(r, Result{Status: 400})
		return false
	}
	d := r.Msg.Edit()
	for name, h := range r.Msg.Headers() {
		switch {
		case h.ID == sip.HOther:
			d.RemoveName(name)
		case !carried[h.ID]:
			d.Remove(h.ID)
		}
	}
	from.Display, to.Display = o.Display, ""
	d.Set(sip.HFrom, tagged(from)).Set(sip.HTo, tagged(to))
	d.Set(sip.HDate, time.Now().UTC().Format(dateFormat))
	for _, h := range [...]struct {
		id    sip.HeaderID
		value string
	}{
		{sip.HSubject, o.Headers.Subject}, {sip.HPriority, o.Headers.Priority}, {sip.HContentLanguage, o.Headers.Language},
		{sip.HContentDisposition, o.Headers.Disposition}, {sip.HInReplyTo, o.Headers.InReplyTo},
	} {
		if h.value != "" {
			d.Add(h.id, h.value)
		}
	}
	if len(r.Msg.Body()) > 0 {
		d.Body(c.contentType, c.body) // as recorded: there may be more behind the end of what was compressed
	}
	m, err := d.Message()
	if err != nil {
		reply(r, Result{Status: 400})
		return false
	}
	r.Msg = m
	return true
}

// tagged is an address with its tag alone: what else is in its parameters is for nobody.
func tagged(n sip.NameAddr) string {
	n.Display = strings.ToValidUTF8(n.Display, "\uFFFD")
	tag := n.Tag()
	n.Params = ""
	return n.String() + ";tag=" + tag
}
