package message

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// saveEvery bounds what replay reads after a crash, and how far the saved cursors are behind.
const saveEvery = time.Second

// freshPause is how long the cursors of new devices are collected.
const freshPause = 20 * time.Millisecond

// keepCursors saves what moved, every second and at the end, and lapses cursors once an hour.
func (s *Service) keepCursors(ctx context.Context) error {
	select {
	case <-s.loaded:
	case <-ctx.Done():
		return nil // the saved ones are still to be replayed from
	}
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
		case <-s.fresh:
			// The cursor of a device that comes for the first time is all that is known of it: until it is saved, a server
			// that is killed would take it for a new one once more. A crowd is saved together.
			select {
			case <-time.After(freshPause):
			case <-ctx.Done():
				continue
			}
			if _, err := s.save(ctx, (*shard).post, (*shard).gatherFresh); err != nil && ctx.Err() == nil {
				s.o.Log.Warn("message: cursors cannot be saved; trying again", "err", err)
			}
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
	// Outcomes up to here are in the shards' cursors by now, but for those of which a shard has not heard that they are.
	position := s.o.Store.Head()
	below, err := s.save(ctx, on, (*shard).gather)
	if err != nil {
		return err
	}
	for _, w := range s.shards {
		on(w, w.sweep)
	}
	if position = min(position, below); position == s.position {
		return nil
	}
	s.position = position
	return s.savePosition(ctx, position)
}

// save writes what the shards gather. Outcomes that are not in these cursors have a Seq above below.
func (s *Service) save(ctx context.Context, on func(*shard, func()), gather func(*shard) gathered) (below int64, err error) {
	moved := make(chan gathered, len(s.shards))
	for _, w := range s.shards {
		on(w, func() { moved <- gather(w) })
	}
	var cursors []store.Cursor
	below = math.MaxInt64
	for range s.shards {
		select {
		case g := <-moved:
			cursors = append(cursors, g.cursors...)
			below = min(below, g.below)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if len(cursors) == 0 {
		return below, nil
	}
	if err := s.o.Store.SaveCursors(ctx, cursors, nil); err != nil {
		for _, w := range s.shards {
			on(w, func() { w.restore(cursors) })
		}
		return 0, errs.Wrap(errs.Unavailable, err, "message: saving cursors")
	}
	return below, nil
}

// gathered are the cursors of a shard that moved since the last time.
type gathered struct {
	cursors []store.Cursor
	below   int64 // outcomes that are not in these cursors have a higher Seq
}

// gather is called on the shard.
func (w *shard) gather() gathered {
	var list []store.Cursor
	below := int64(math.MaxInt64)
	now := time.Now()
	w.fresh = nil
	for _, b := range w.boxes {
		if b.taken > b.saved {
			b.saved = b.taken
			list = append(list, store.Cursor{AOR: b.aor, Seq: b.taken, Created: now, Seen: now})
		}
		for _, d := range b.outboxes {
			if d.dirty {
				list = append(list, d.saving())
				for _, o := range d.owed {
					below = min(below, o.after)
				}
			}
		}
	}
	return gathered{list, below}
}

// gatherFresh is gather for devices that were never seen before alone: while a crowd comes it is called all the time, and must
// not look at everyone who is there.
func (w *shard) gatherFresh() gathered {
	var list []store.Cursor
	for _, d := range w.fresh {
		if d.dirty && !d.gone {
			list = append(list, d.saving())
		}
	}
	w.fresh = nil
	return gathered{cursors: list}
}

// saving is the cursor as it goes to the store now.
func (d *outbox) saving() store.Cursor {
	c := store.Cursor{AOR: d.box.aor, Device: d.device, Seq: d.onRecord(), Created: d.created, Seen: d.seen}
	d.dirty = len(d.owed) > 0
	return c
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
	why := "the device was away for " + strconv.Itoa(int(s.o.Lapse.Hours()/24)) + " days"
	for _, c := range old {
		dropped := make(chan bool, 1)
		w := s.shardOf(c.AOR)
		w.post(func() {
			away := !s.present(c)
			if b := w.boxes[c.AOR]; away && b != nil && b.outboxes[c.Device] != nil {
				b.drop(b.outboxes[c.Device])
			}
			dropped <- away
		})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ok := <-dropped:
			if !ok {
				continue // it has just come back
			}
		}
		if err := s.settleLapsed(ctx, c, why); err != nil {
			return err
		}
	}
	return nil
}

// settleLapsed records that what waits for a device will not be delivered to it, and ends its cursor. The cursor stays
// where it is: if the device returns it gets, as a new one does, what no device took.
func (s *Service) settleLapsed(ctx context.Context, c store.Cursor, why string) error {
	if err := s.indexed(ctx); err != nil {
		return err
	}
	for after := c.Seq; ; {
		waiting, err := s.o.Store.Mailbox(ctx, c.AOR, after, 100)
		if err != nil {
			return errs.Wrap(errs.Unavailable, err, "message: reading a mailbox")
		}
		if len(waiting) == 0 {
			break
		}
		after = waiting[len(waiting)-1].Seq
		landed := make(chan struct{}, len(waiting))
		n := 0
		for i := range waiting {
			if m := &waiting[i]; meantFor(m, c.Device) {
				n++
				s.appendOutcome(outcomeOf(m, c.Device, fate{outcome: store.OutcomeExpired, reason: why}), func() { landed <- struct{}{} })
			}
		}
		for range n { // so that a long list does not fill the log's queue
			select {
			case <-landed:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	c.Lapsed = true
	if err := s.o.Store.SaveCursors(ctx, []store.Cursor{c}, nil); err != nil {
		return errs.Wrap(errs.Unavailable, err, "message: saving a cursor")
	}
	return nil
}

// indexed waits until the index has all that is in the log now.
func (s *Service) indexed(ctx context.Context) error {
	return store.Indexed(ctx, s.o.Store, s.o.Store.Head())
}

// resume wakes, after a start, the devices that are registered still and are owed something: they may not register
// again for an hour.
func (s *Service) resume(ctx context.Context) error {
	select {
	case <-s.loaded:
	case <-ctx.Done():
		return nil
	}
	if s.indexed(ctx) != nil {
		return nil
	}
	var there []store.Cursor
	err := s.o.Store.AllCursors(ctx, func(c store.Cursor) error {
		if c.Device != "" && !c.Lapsed && s.present(c) {
			there = append(there, c)
		}
		return nil
	})
	for i := 0; i < len(there) && err == nil && ctx.Err() == nil; i++ {
		var waiting []store.Record
		if waiting, err = s.o.Store.Mailbox(ctx, there[i].AOR, there[i].Seq, 1); len(waiting) > 0 {
			s.Arrived(there[i].AOR, there[i].Device)
		}
	}
	if err != nil && ctx.Err() == nil {
		s.o.Log.Warn("message: cannot look for what waits; devices get it when they register again", "err", err)
	}
	<-ctx.Done()
	return nil
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
