package message

import (
	"context"
	"strconv"
	"time"

	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/service/message/receipt"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
)

// metaSession marks the outcome at a session of the API: its place in the log is the session's own to keep, so of our cursors it
// moves that of the account alone.
const metaSession = "session"

// Took notes that a session of the API has these records, which are ascending: they are on its person's page. What of them is to the
// person counts as delivered to the device, and a SIP device that comes for the first time does not get it any more. SIP clients that
// asked to be told hear of it. It does not block.
func (s *Service) Took(aor, device string, recs []*store.Record) {
	var last int64
	var asking []*store.Record
	for _, m := range recs {
		if m.To != aor || m.MetaValue(metaInDialog) != "" {
			continue
		}
		switch m.Kind {
		case store.KindMessage, store.KindEdit, store.KindRetract, store.KindReaction:
		default:
			continue
		}
		last = max(last, m.Seq)
		s.metrics.delivered.Inc()
		if !Recording || m.Kind == store.KindReaction && !content.Tells(m) {
			continue
		}
		r := outcomeOf(m, device, fate{outcome: store.OutcomeDelivered})
		r.Meta[metaMessageSeq] = strconv.FormatInt(m.Seq, 10)
		r.Meta[metaSession] = "1"
		s.appendOutcome(r, func() {})
		if m.MetaValue(store.MetaGRUU) == "" && receipt.Of(m).Delivery {
			asking = append(asking, m)
		}
	}
	if len(asking) > 0 {
		s.tellDelivered(device, asking)
	}
	if last == 0 {
		return
	}
	w := s.shardOf(aor)
	w.post(func() { w.mailbox(aor, func(b *mailbox) { b.taken = max(b.taken, last) }) })
}

// tellDelivered has the senders of messages told that a session has them, when the index knows what they were told before.
func (s *Service) tellDelivered(device string, list []*store.Record) {
	s.o.Store.WaitFor(s.o.Store.Head(), func() {
		s.readers.do(func(ctx context.Context) {
			for _, m := range list {
				s.notifyDelivery(ctx, device, m)
			}
		})
	})
}

// notifyDelivery sends the sender of a message the notification that a session has it, as a SIP device does by itself, unless that
// was said before.
//
// RFC 5438 §7.2.1: one for each message and disposition.
func (s *Service) notifyDelivery(ctx context.Context, device string, m *store.Record) {
	if s.hides(ctx, m.To, m.From) {
		return
	}
	fates, err := s.o.Store.Fates(ctx, m.ID)
	if err != nil {
		s.o.Log.Warn("message: a sender who asked is not told of the delivery", "aor", m.To, "err", err)
		return
	}
	for i := range fates {
		if f := &fates[i]; f.From == m.To && f.To == m.From && notified(f) {
			return
		}
	}
	// The id of the request keeps two pages that have the message at once from saying so twice.
	r := s.newSaid(store.KindReceipt, m.To, device, m.From, store.OutcomeDelivered+" "+m.ID.String())
	r.Ref = m.ID
	name := receipt.Of(m).MessageID
	r.Meta[store.MetaOutcome], r.Meta[store.MetaMessageID] = store.OutcomeDelivered, name
	r.ContentType, r.Body = cpim.ContentType, receipt.Body(m, name, imdn.Delivery)
	p := &pending{service: s, rec: r, done: func(res Result) {
		if res.lost && res.RetryAfter > 0 { // the log is away
			s.o.Transactions.After(time.Second, func() { s.tellDelivered(device, []*store.Record{m}) })
		}
	}}
	s.whenReady(func() { s.appendAndDeliver(p) })
}

// notified tells whether a record is a receipt that has told a SIP client that its message was delivered: read includes that.
func notified(r *store.Record) bool {
	what := r.MetaValue(store.MetaOutcome)
	return r.Kind == store.KindReceipt && len(r.Body) > 0 && (what == store.OutcomeDelivered || what == store.OutcomeDisplayed)
}
