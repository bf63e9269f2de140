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

// fate is what became of a message at a device.
type fate struct {
	outcome  string
	status   int    // SIP status code, 0 for none
	reason   string // words for people
	priority string // with which it was delivered, when that is not the sender's
}

// recordOutcome appends what became of a message at a device. It keeps trying: the device has it or not,
// whatever the log can do now. It calls landed when that is on record. Unrecorded is the last message to the device before this
// one whose outcome may not be, or 0.
func (s *Service) recordOutcome(m *store.Record, device string, f fate, unrecorded int64, landed func()) {
	if !Recording {
		landed()
		return
	}
	r := outcomeOf(m, device, f)
	r.Meta[metaMessageSeq] = strconv.FormatInt(m.Seq, 10)
	if unrecorded != 0 {
		r.Meta[metaUnrecorded] = strconv.FormatInt(unrecorded, 10)
	}
	s.appendOutcome(r, landed)
}

// outcomeOf is the record of what became of a message. Without metaMessageSeq it moves no cursor.
func outcomeOf(m *store.Record, device string, f fate) *store.Record {
	r := &store.Record{
		Kind: store.KindDelivery, From: m.From, To: m.To, Device: device, Ref: m.ID,
		Meta: map[string]string{store.MetaOutcome: f.outcome},
	}
	if f.status != 0 {
		r.Meta[store.MetaStatus] = strconv.Itoa(f.status)
	}
	set(r, store.MetaReason, f.reason)
	set(r, store.MetaPriority, f.priority)
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

// replay applies outcomes that the saved cursors do not hold yet. An outcome that could not be recorded at once is tried
// again, and later ones may overtake it; if the server was killed before, the cursor must not pass its message.
func (s *Service) replay(ctx context.Context) error {
	from, err := s.savedPosition(ctx)
	if err != nil {
		return err
	}
	devices := replayed{devices: map[store.CursorKey]*replayedDevice{}, saved: func(k store.CursorKey) (int64, error) {
		list, err := s.o.Store.LoadCursors(ctx, k.AOR)
		for _, c := range list {
			if c.Device == k.Device {
				return c.Seq, err
			}
		}
		return 0, err
	}}
	for head := s.o.Store.Head(); from < head; {
		list, err := s.o.Store.Read(ctx, from, 1000)
		if err != nil {
			return errs.Wrap(errs.Unavailable, err, "message: reading outcomes")
		}
		if len(list) == 0 {
			break
		}
		for i := range list {
			if err := devices.add(&list[i]); err != nil {
				return errs.Wrap(errs.Unavailable, err, "message: reading cursors")
			}
		}
		from = list[len(list)-1].Seq
		if err := s.o.Store.SaveCursors(ctx, devices.cursors(), nil); err != nil {
			return errs.Wrap(errs.Unavailable, err, "message: saving cursors")
		}
	}
	return s.savePosition(ctx, from)
}

// replayed is what outcomes in the log say of devices, and of accounts under the device "".
type replayed struct {
	devices map[store.CursorKey]*replayedDevice
	saved   func(store.CursorKey) (int64, error) // the cursor that the store has
}

type replayedDevice struct {
	cursor  store.Cursor
	moved   bool           // since cursors was called
	landed  map[int64]bool // messages whose outcomes are in the log, since all were
	missing map[int64]bool // those that were named as unrecorded and have not come yet
}

func (x replayed) add(r *store.Record) error {
	seq, err := strconv.ParseInt(r.MetaValue(metaMessageSeq), 10, 64)
	if r.Kind != store.KindDelivery || err != nil || r.Device == "" {
		return nil
	}
	if r.MetaValue(metaSession) != "" {
		x.move(r, "", seq)
		return nil
	}
	d := x.move(r, r.Device, seq)
	before, err := strconv.ParseInt(r.MetaValue(metaUnrecorded), 10, 64)
	switch {
	case err != nil: // none: all outcomes before this one are on record
		d.landed, d.missing = map[int64]bool{}, map[int64]bool{}
	case !d.landed[before]:
		// It is missing, unless its record was read before the last save.
		saved, err := x.saved(store.CursorKey{AOR: r.To, Device: r.Device})
		if err != nil {
			return err
		}
		if before > saved {
			d.missing[before] = true
		}
	}
	d.landed[seq] = true
	delete(d.missing, seq)
	if r.MetaValue(store.MetaOutcome) == store.OutcomeDelivered {
		x.move(r, "", seq)
	}
	return nil
}

func (x replayed) move(r *store.Record, device string, seq int64) *replayedDevice {
	k := store.CursorKey{AOR: r.To, Device: device}
	d := x.devices[k]
	if d == nil {
		d = &replayedDevice{cursor: store.Cursor{AOR: r.To, Device: device, Created: r.At}, landed: map[int64]bool{}, missing: map[int64]bool{}}
		x.devices[k] = d
	}
	d.cursor.Seq, d.cursor.Seen, d.moved = max(d.cursor.Seq, seq), r.At, true
	return d
}

// cursors are those that moved since the last call. One stays before the first message whose outcome has not come: it is
// delivered again. The store keeps its own when that is higher.
func (x replayed) cursors() []store.Cursor {
	var list []store.Cursor
	for _, d := range x.devices {
		if !d.moved {
			continue
		}
		d.moved = false
		c := d.cursor
		for n := range d.missing {
			c.Seq = min(c.Seq, n-1)
		}
		list = append(list, c)
	}
	return list
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
