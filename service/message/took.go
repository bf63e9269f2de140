package message

import (
	"strconv"

	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/store"
)

// metaSession marks the outcome at a session of the API: its place in the log is the session's own to keep, so of our cursors it
// moves that of the account alone.
const metaSession = "session"

// Took notes that a session of the API has these records, which are ascending: they are on its person's page. What of them is to the
// person counts as delivered to the device, and a SIP device that comes for the first time does not get it any more. It does not block.
func (s *Service) Took(aor, device string, recs []*store.Record) {
	var last int64
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
	}
	if last == 0 {
		return
	}
	w := s.shardOf(aor)
	w.post(func() { w.mailbox(aor, func(b *mailbox) { b.taken = max(b.taken, last) }) })
}
