package message

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// saveEvery bounds what replay reads after a crash, and how far the saved cursors are behind.
const saveEvery = time.Second

// keepCursors saves what moved, every second and at the end, and lapses cursors once an hour.
func (s *Service) keepCursors(ctx context.Context) error {
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	lapse := time.NewTicker(time.Hour)
	defer lapse.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			return s.saveCursors(last, func(_ *shard, f func()) { f() }) // the shards have stopped
		case <-save.C:
			if err := s.saveCursors(ctx, (*shard).post); err != nil && ctx.Err() == nil {
				s.o.Log.Warn("message: cursors cannot be saved; trying again", "err", err)
			}
		case <-lapse.C:
			if err := s.lapse(ctx, time.Now().Add(-s.o.Lapse)); err != nil && ctx.Err() == nil {
				s.o.Log.Warn("message: old cursors cannot be ended; trying again", "err", err)
			}
		}
	}
}

// saveCursors writes what moved since the last time. on runs a function as a shard.
func (s *Service) saveCursors(ctx context.Context, on func(*shard, func())) error {
	// Outcomes up to here are in the shards' cursors by now: a cursor moves before its outcome is appended.
	position := s.o.Store.Head()
	moved := make(chan []store.Cursor, len(s.shards))
	for _, w := range s.shards {
		on(w, func() { moved <- w.gather() })
	}
	var cursors []store.Cursor
	for range s.shards {
		select {
		case c := <-moved:
			cursors = append(cursors, c...)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if len(cursors) > 0 {
		if err := s.o.Store.SaveCursors(ctx, cursors, nil); err != nil {
			for _, w := range s.shards {
				on(w, func() { w.restore(cursors) })
			}
			return errs.Wrap(errs.Unavailable, err, "message: saving cursors")
		}
	}
	for _, w := range s.shards {
		on(w, w.sweep)
	}
	if position == s.position {
		return nil
	}
	s.position = position
	return s.savePosition(ctx, position)
}

// gather returns the cursors that moved since the last time.
func (w *shard) gather() []store.Cursor {
	var list []store.Cursor
	now := time.Now()
	for _, b := range w.boxes {
		if b.taken > b.saved {
			b.saved = b.taken
			list = append(list, store.Cursor{AOR: b.aor, Seq: b.taken, Created: now, Seen: now})
		}
		for _, d := range b.outboxes {
			if d.dirty {
				d.dirty = false
				list = append(list, store.Cursor{AOR: b.aor, Device: d.device, Seq: d.cursor, Created: d.created, Seen: d.seen})
			}
		}
	}
	return list
}

// restore marks cursors that could not be saved.
func (w *shard) restore(list []store.Cursor) {
	for _, c := range list {
		b := w.boxes[c.AOR]
		switch {
		case b == nil:
		case c.Device == "":
			b.saved = 0
		case b.outboxes[c.Device] != nil:
			b.outboxes[c.Device].dirty = true
		}
	}
}

// sweep forgets mailboxes of people who are away; the store has all of it.
func (w *shard) sweep() {
	for aor, b := range w.boxes {
		if !b.idle() {
			continue
		}
		for _, d := range b.outboxes {
			d.stopRetry()
		}
		delete(w.boxes, aor)
	}
}

// lapse ends the cursors of devices that were not seen since a time: they are owed nothing any more, and the
// log says so.
func (s *Service) lapse(ctx context.Context, before time.Time) error {
	var old []store.Cursor
	err := s.o.Store.AllCursors(ctx, func(c store.Cursor) error {
		if c.Device != "" && !c.Lapsed && c.Seen.Before(before) && !s.present(c) {
			old = append(old, c)
		}
		if len(old) == 1000 {
			return store.ErrStop // the rest next time
		}
		return nil
	})
	if err != nil || len(old) == 0 {
		return err
	}
	head := s.o.Store.Head()
	for i, c := range old {
		waiting, err := s.o.Store.Mailbox(ctx, c.AOR, c.Seq, 1000)
		if err != nil {
			return errs.Wrap(errs.Unavailable, err, "message: reading a mailbox")
		}
		for j := range waiting {
			s.recordOutcome(&waiting[j], c.Device, store.OutcomeExpired, 0, "the device was away for "+strconv.Itoa(int(s.o.Lapse.Hours()/24))+" days")
		}
		old[i].Lapsed, old[i].Seq = true, head
	}
	return errors.Join(s.o.Store.SaveCursors(ctx, old, nil))
}

// present tells whether the device of a cursor is registered now.
func (s *Service) present(c store.Cursor) bool {
	for _, t := range s.o.Devices.Devices(c.AOR) {
		if t.Device == c.Device {
			return true
		}
	}
	return false
}
