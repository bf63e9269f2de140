package call

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/sip"
)

// metaPart is the message that said what is in a record: "BYE", "200 INVITE". Texts of dialogs from before a restart, whose
// call is over in the log, have no Ref.
const metaPart = "part"

// Bounds of one call.
const (
	maxWaiting = 64   // messages that wait while an earlier one is being recorded
	maxTexts   = 1024 // records; session timers of 90 s over 12 hours need half of them
)

// errTooMuch refuses what is over the bounds.
var errTooMuch = errors.New("call: too much was said")

// passage is a message on its way through a call.
type passage struct {
	m    *sip.Message // nil: nothing is said, only the order counts
	by   string       // who says it, "" when that is not known
	pass func(m *sip.Message, err error)
}

// hear puts what a message of a call says on record and then lets it pass, with what is spare taken out; after an error
// nothing that it says is on record. The messages of a call pass in the order in which they came.
func (s *Service) hear(c *call, p passage) {
	s.mu.Lock()
	if !c.busy { // nothing waits
		c.busy = true
		s.mu.Unlock()
		if s.turn(c, p) {
			s.proceed(c)
		}
		return
	}
	if len(c.waiting) >= maxWaiting {
		s.mu.Unlock()
		if p.m != nil {
			p.m = mute(p.m, s.ear.listen(p.m, nil, false))
		}
		p.pass(p.m, errTooMuch)
		return
	}
	c.waiting = append(c.waiting, p)
	s.mu.Unlock()
}

// proceed lets one message after the other pass, until one has to wait for the log or none is left.
func (s *Service) proceed(c *call) {
	for {
		s.mu.Lock()
		if len(c.waiting) == 0 {
			c.busy, c.waiting = false, nil
			s.mu.Unlock()
			return
		}
		p := c.waiting[0]
		c.waiting = c.waiting[1:]
		s.mu.Unlock()
		if !s.turn(c, p) {
			return
		}
	}
}

// turn is that of one message; false when it goes on later. Who has the turn owns c.known and c.texts.
func (s *Service) turn(c *call, p passage) bool {
	if p.m == nil {
		p.pass(nil, nil)
		return true
	}
	m := unpacked(p.m)
	said := s.ear.listen(m, c.known, false)
	if said.spare {
		m = s.ear.tidy(m, c.known, false)
	}
	if said.empty() {
		c.known.add(said.sums)
		p.pass(m, nil)
		return true
	}
	if c.mute || c.texts >= maxTexts {
		p.pass(mute(m, said), errTooMuch)
		return true
	}
	if said.body && s.o.Body != nil {
		if no := s.o.Body(m); no != nil { // the proxy refuses it, or leaves it out
			said.body = false
		}
	}
	c.texts++
	s.o.Store.Append(c.textRecord(m, p.by, said), func(err error) {
		if err == nil {
			c.known.add(said.sums)
			s.metrics.texts.Inc()
		} else {
			m = mute(m, said)
		}
		p.pass(m, err)
		s.proceed(c)
	})
	return false
}

// textRecord is the record of what m says.
func (c *call) textRecord(m *sip.Message, by string, said speech) *store.Record {
	to := c.from
	if by == c.from {
		to = c.to
	}
	part := m.Method()
	if !m.IsRequest() {
		part = strconv.Itoa(m.Status()) + " " + part
	}
	rec := &store.Record{Kind: store.KindCallText, From: by, To: to, Ref: c.id, Meta: map[string]string{
		store.MetaCallID: strings.ToValidUTF8(strings.Clone(m.CallID()), "\uFFFD"), metaPart: part,
	}}
	said.fill(rec, m)
	return rec
}

// fill writes what was said into its record.
func (p *speech) fill(rec *store.Record, m *sip.Message) {
	if len(p.rows) > 0 {
		rec.Meta[store.MetaHeaders] = strings.ToValidUTF8(strings.Join(p.rows, "\r\n"), "\uFFFD")
	}
	if p.body {
		rec.ContentType, rec.Body = strings.ToValidUTF8(strings.Clone(m.Get(sip.HContentType)), "\uFFFD"), m.Body()
	}
}

// Record is the step in which requests that go on to somebody else are heard. INVITEs that begin a call and messages are
// recorded by their handlers.
func (s *Service) Record() route.Step {
	return route.Step{
		Name:    "record",
		Why:     "after it is known who speaks, before anything is passed on: what is not on record is not carried",
		Handler: route.HandlerFunc(s.record),
	}
}

func (s *Service) record(r *route.Request) {
	m := r.Msg
	inside := m.ToTag() != ""
	switch method := m.Method(); {
	case method == sip.MESSAGE, method == sip.REGISTER, method == sip.PUBLISH, !inside && (method == sip.INVITE || method == sip.SUBSCRIBE),
		!r.Loose && r.URI().User == "": // for the server itself
		s.notice(r) // its CSeq counts
		r.Next()
		return
	}
	c, by := s.notice(r)
	if c == nil {
		c = &call{from: by, mute: !inside}
	}
	s.hear(c, passage{m: m, by: by, pass: func(m *sip.Message, err error) {
		method := r.Msg.Method()
		switch {
		case m == nil && method == sip.ACK:
			return
		case m == nil, err != nil && !c.mute && method != sip.ACK && method != sip.BYE:
			refuseText(r, err)
			return
		}
		r.Msg = m
		r.Next()
	}})
}

func refuseText(r *route.Request, err error) {
	if errors.Is(err, errTooMuch) {
		r.Reply(403, "Not Recorded", route.Warn("what this request says cannot be recorded here, so it is not carried"))
		return
	}
	r.Reply(500, "Not Recorded", route.RetryAfter(5), route.Warn("what this request says could not be recorded; try again in a few seconds"))
}

// Send is transaction.Layer.Send for the proxy: what comes back for the request is heard before it is passed on.
func (s *Service) Send(h transaction.Hop, d *sip.Draft, ch transaction.ClientHandler) *transaction.Client {
	b := &branch{s: s, next: ch}
	if strings.Contains(d.Get(sip.HSupported), "timer") {
		b.asked = interval(d.Get(sip.HSessionExpires))
	}
	callID, from, to := d.Get(sip.HCallID), tagIn(d.Get(sip.HFrom)), tagIn(d.Get(sip.HTo))
	s.mu.Lock()
	if to == "" && d.Method() == sip.INVITE {
		b.c, b.first = s.calls[key(callID, from)], true
	} else if to != "" {
		b.c = s.find(callID, from, to)
	}
	if b.c != nil && b.c.fromTag != from {
		b.by = b.c.from
	}
	s.mu.Unlock()
	if b.c == nil {
		b.c = &call{mute: to == ""}
	}
	tx := s.o.Transactions.Send(h, d, b)
	if b.first {
		s.started(b.c, tx)
	}
	return tx
}

func tagIn(v string) string {
	n, err := sip.ParseNameAddr(v)
	if err != nil {
		return ""
	}
	return n.Tag()
}

// branch hears the responses to one request that the proxy sent, and hands them on.
type branch struct {
	s     *Service
	c     *call
	by    string        // who answers; "" for the callee
	first bool          // of the INVITE that began the call
	asked time.Duration // session interval of a request whose sender knows session timers
	next  transaction.ClientHandler
}

// Response implements transaction.ClientHandler.
func (b *branch) Response(tx *transaction.Client, m *sip.Message) {
	if m.Status() == 100 {
		b.next.Response(tx, m)
		return
	}
	b.s.agreed(b.c, m, b.asked)
	if b.first {
		b.s.heard(b.c, m, "", tx.Hop().Flow)
	} else {
		b.s.refreshed(b.c, m)
	}
	if b.first && b.s.tooLate(b.c, m) {
		b.s.dismiss(tx, m)
	}
	by, status := cmp.Or(b.by, b.s.side(b.c, m.ToTag())), m.Status()
	b.s.hear(b.c, passage{m: m, by: by, pass: func(m *sip.Message, err error) {
		switch {
		case m != nil:
			b.next.Response(tx, m)
		case status >= 200: // nothing is left of it that could be carried
			b.next.Failed(tx, err)
		}
	}})
}

// Failed implements transaction.ClientHandler.
func (b *branch) Failed(tx *transaction.Client, err error) {
	b.s.hear(b.c, passage{pass: func(*sip.Message, error) { b.next.Failed(tx, err) }})
}
