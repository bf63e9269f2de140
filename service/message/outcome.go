package message

import (
	"context"
	"strconv"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// settingCursors is the Seq up to which the outcomes in the log are in the saved cursors.
const settingCursors = "message.cursors"

// recordOutcome appends what became of a message at a device. It keeps trying: the device has it or not,
// whatever the log can do now. It calls landed when that is on record.
func (s *Service) recordOutcome(m *store.Record, device, outcome string, status int, reason string, landed func()) {
	if !Recording {
		landed()
		return
	}
	r := outcomeOf(m, device, outcome, status, reason)
	r.Meta[metaMessageSeq] = strconv.FormatInt(m.Seq, 10)
	s.appendOutcome(r, landed)
}

// outcomeOf is the record of what became of a message. Without metaMessageSeq it moves no cursor.
func outcomeOf(m *store.Record, device, outcome string, status int, reason string) *store.Record {
	r := &store.Record{
		Kind: store.KindDelivery, From: m.From, To: m.To, Device: device, Ref: m.ID,
		Meta: map[string]string{store.MetaOutcome: outcome},
	}
	if status != 0 {
		r.Meta[store.MetaStatus] = strconv.Itoa(status)
	}
	set(r, store.MetaReason, reason)
	return r
}

// appendOutcome calls landed when r is in the log.
func (s *Service) appendOutcome(r *store.Record, landed func()) {
	s.o.Store.Append(r, func(err error) {
		if err == nil || !errs.KindOf(err).Temporary() {
			landed()
			return
		}
		// A record of its own: the log may still be at work on the one that it has refused.
		again := &store.Record{Kind: r.Kind, From: r.From, To: r.To, Device: r.Device, Ref: r.Ref, Meta: r.Meta}
		s.o.Transactions.After(time.Second, func() { s.appendOutcome(again, landed) })
	})
}

// replay applies outcomes that the saved cursors do not hold yet.
func (s *Service) replay(ctx context.Context) error {
	from, err := s.savedPosition(ctx)
	if err != nil {
		return err
	}
	for head := s.o.Store.Head(); from < head; {
		list, err := s.o.Store.Read(ctx, from, 1000)
		if err != nil {
			return errs.Wrap(errs.Unavailable, err, "message: reading outcomes")
		}
		if len(list) == 0 {
			break
		}
		if err := s.o.Store.SaveCursors(ctx, cursorsOf(list), nil); err != nil {
			return errs.Wrap(errs.Unavailable, err, "message: saving cursors")
		}
		from = list[len(list)-1].Seq
	}
	return s.savePosition(ctx, from)
}

// cursorsOf turns outcome records into the cursors they imply.
func cursorsOf(list []store.Record) []store.Cursor {
	var cursors []store.Cursor
	for i := range list {
		r := &list[i]
		seq, err := strconv.ParseInt(r.MetaValue(metaMessageSeq), 10, 64)
		if r.Kind != store.KindDelivery || err != nil || r.Device == "" {
			continue
		}
		cursors = append(cursors, store.Cursor{AOR: r.To, Device: r.Device, Seq: seq, Created: r.At, Seen: r.At})
		if r.MetaValue(store.MetaOutcome) == store.OutcomeDelivered {
			cursors = append(cursors, store.Cursor{AOR: r.To, Seq: seq, Created: r.At, Seen: r.At})
		}
	}
	return cursors
}

func (s *Service) savedPosition(ctx context.Context) (int64, error) {
	v, err := s.o.Store.Setting(ctx, settingCursors)
	if errs.KindOf(err) == errs.NotFound && err != nil {
		return 0, nil
	}
	if err != nil {
		return 0, errs.Wrap(errs.Unavailable, err, "message: reading the position of cursors")
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return 0, nil // unreadable: replay everything, which only takes longer
	}
	return n, nil
}

func (s *Service) savePosition(ctx context.Context, seq int64) error {
	err := s.o.Store.SetSetting(ctx, settingCursors, strconv.AppendInt(nil, seq, 10))
	if err != nil {
		return errs.Wrap(errs.Unavailable, err, "message: saving the position of cursors")
	}
	return nil
}
