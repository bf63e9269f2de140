package message

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
)

// shard is one goroutine that owns the mailboxes of its share of the people, so that they need no locks.
type shard struct {
	s     *Service
	boxes map[string]*mailbox
	fresh []*outbox // of devices that were never seen before, not saved yet

	mu     sync.Mutex // guards events
	events []func()   // not bounded here: what posts is bounded by the log's queue and by the transactions in flight
	wake   chan struct{}
}

func newShard(s *Service) *shard {
	return &shard{s: s, boxes: map[string]*mailbox{}, wake: make(chan struct{}, 1)}
}

// post queues f for the shard's goroutine. It never blocks.
func (w *shard) post(f func()) {
	w.mu.Lock()
	w.events = append(w.events, f)
	w.mu.Unlock()
	notify(w.wake)
}

// notify wakes the one receiver of a channel with room for one.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (w *shard) serve(ctx context.Context) error {
	select {
	case <-w.s.loaded: // the cursors are right
	case <-ctx.Done():
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		w.mu.Lock()
		events := w.events
		w.events = nil
		w.mu.Unlock()
		for _, f := range events {
			f()
		}
	}
}

// Bounds of one mailbox.
const (
	// maxUnread messages wait in memory while the cursors of a mailbox are read. More are in the log like them, and
	// their senders need not wait.
	maxUnread = 256
	// maxDevices of one account are owed messages. One more, and the one away longest is not any more.
	maxDevices = 64
)

// deliver takes a message that has just been recorded.
func (w *shard) deliver(p *pending) {
	box := w.boxes[p.rec.To]
	if box == nil {
		if !w.s.o.Devices.Reachable(p.rec.To) {
			p.settle(Result{Status: 202}) // nobody there: the log keeps it
			return
		}
		box = w.open(p.rec.To)
	}
	if w.s.o.Hidden(p.rec.To, p.rec.From) {
		p.settle(Result{Status: 202}) // as if nobody were there
	}
	if !box.loaded && len(box.waiting) >= maxUnread {
		p.settle(Result{Status: 202})
		return
	}
	p.answerLater() // also while the cursors cannot be read
	box.whenLoaded(func() { box.push(p) })
}

// mailbox calls f with the mailbox of aor when that is loaded.
func (w *shard) mailbox(aor string, f func(*mailbox)) {
	box := w.boxes[aor]
	if box == nil {
		box = w.open(aor)
	}
	box.whenLoaded(func() { f(box) })
}

// open makes the mailbox of aor and loads its cursors.
func (w *shard) open(aor string) *mailbox {
	box := &mailbox{w: w, aor: aor, outboxes: map[string]*outbox{}}
	w.boxes[aor] = box
	box.load()
	return box
}

// mailbox is a person as receiver, while a device is there or a message is on its way.
type mailbox struct {
	w        *shard
	aor      string
	outboxes map[string]*outbox
	first    int64     // head of the log when the account was made: nothing before is for it
	since    time.Time // when the account was made, where first is not known
	taken    int64     // highest Seq that any device took
	saved    int64     // the value of taken that the store has
	loaded   bool
	gone     bool           // forgotten: events that are on their way do nothing
	waiting  []func()       // until loaded
	present  []route.Target // where the person is now, during one push; nil: ask
}

func (b *mailbox) whenLoaded(f func()) {
	if b.loaded {
		f()
		return
	}
	b.waiting = append(b.waiting, f)
}

func (b *mailbox) load() {
	b.w.s.readers.do(func(ctx context.Context) {
		cursors, err := b.w.s.o.Store.LoadCursors(ctx, b.aor)
		if err != nil {
			b.w.post(func() { b.fill(nil, nil, err) })
			return
		}
		b.w.s.o.Accounts.Lookup(b.aor, func(u *store.User, err error) {
			b.w.post(func() { b.fill(cursors, u, err) })
		})
	})
}

func (b *mailbox) fill(cursors []store.Cursor, u *store.User, err error) {
	switch {
	case b.gone:
		return
	case err == nil:
		b.since, b.first = u.Created, u.Since
	case errs.KindOf(err) == errs.NotFound: // removed just now
		b.since, b.first = time.Now(), b.w.s.o.Store.Head()
	default:
		// Nothing is lost: the log has the messages. Senders hear 202 by the clock meanwhile.
		b.w.s.o.Log.Warn("message: device cursors cannot be read; trying again", "aor", b.aor, "err", err)
		b.w.s.o.Transactions.After(time.Second, func() { b.w.post(b.load) })
		return
	}
	head := b.w.s.o.Store.Head()
	for _, c := range cursors {
		if c.Device == "" {
			b.taken = c.Seq
		}
		if c.Device != "" && !c.Lapsed {
			b.outboxes[c.Device] = &outbox{box: b, device: c.Device, cursor: c.Seq, read: c.Seq, latest: head, seen: c.Seen, created: c.Created, down: true}
		}
	}
	b.loaded, b.saved = true, b.taken
	for _, t := range b.w.s.o.Devices.Devices(b.aor) {
		b.arrived(t.Device)
	}
	for _, f := range b.waiting {
		f()
	}
	b.waiting = nil
}

// push offers a new message to every device.
func (b *mailbox) push(p *pending) {
	b.present = b.w.s.o.Devices.Devices(b.aor)
	defer func() { b.present = nil }()
	for _, t := range b.present {
		if b.outboxes[t.Device] == nil {
			b.arrived(t.Device) // events are hints: this one was lost
		}
	}
	for _, d := range b.outboxes {
		tried, later := d.push(p)
		if tried {
			p.open++
		}
		p.later = p.later || later
	}
	p.open++ // keeps conclude from answering while the devices are started
	for _, d := range b.outboxes {
		d.next()
	}
	p.open--
	p.conclude()
}

// arrived sends a device what waits for it.
func (b *mailbox) arrived(device string) { b.outbox(device).wakeUp() }

// outbox is that of a device. A new device begins with what no device took, and not the history; it is not sent
// anything before it has arrived.
func (b *mailbox) outbox(device string) *outbox {
	if d := b.outboxes[device]; d != nil {
		return d
	}
	if len(b.outboxes) >= maxDevices {
		b.dropOldest()
	}
	now := time.Now()
	d := &outbox{box: b, device: device, cursor: b.taken, read: b.taken, latest: b.w.s.o.Store.Head(), created: now, seen: now, dirty: true, expected: true}
	b.outboxes[device] = d
	b.w.fresh = append(b.w.fresh, d)
	notify(b.w.s.fresh)
	return d
}

// dropOldest ends the outbox of the device that was not seen for the longest time.
func (b *mailbox) dropOldest() {
	var oldest *outbox
	for _, d := range b.outboxes {
		if (oldest == nil || d.seen.Before(oldest.seen)) && len(b.targets(d.device)) == 0 {
			oldest = d
		}
	}
	if oldest == nil {
		return
	}
	c := store.Cursor{AOR: b.aor, Device: oldest.device, Seq: oldest.cursor, Created: oldest.created, Seen: oldest.seen}
	b.drop(oldest)
	s := b.w.s
	s.readers.do(func(ctx context.Context) {
		if err := s.settleLapsed(ctx, c, "the account has too many devices"); err != nil {
			s.o.Log.Warn("message: a device beyond the limit stays in the store until it lapses", "aor", b.aor, "err", err)
		}
	})
}

// drop ends an outbox. What is on its way to it does nothing when it comes back.
func (b *mailbox) drop(d *outbox) {
	delete(b.outboxes, d.device)
	d.gone = true
	if d.reading {
		d.unwait()
	}
	d.stopRetry()
	d.current = nil
	d.release()
}

// forget ends the mailbox of an account that was removed.
func (w *shard) forget(aor string) {
	b := w.boxes[aor]
	if b == nil {
		return
	}
	delete(w.boxes, aor)
	b.gone = true
	for _, d := range b.outboxes {
		b.drop(d)
	}
}

// targets are the contacts of one device now.
func (b *mailbox) targets(device string) []route.Target {
	all := b.present
	if all == nil {
		all = b.w.s.o.Devices.Devices(b.aor)
	}
	if !slices.ContainsFunc(all, func(t route.Target) bool { return t.Device != device }) {
		return all // the usual case
	}
	var list []route.Target
	for _, t := range all {
		if t.Device == device {
			list = append(list, t)
		}
	}
	return list
}

// idle tells whether nobody is there and the mailbox holds nothing that the store does not hold.
func (b *mailbox) idle() bool {
	if !b.loaded || len(b.waiting) > 0 || b.w.s.o.Devices.Reachable(b.aor) {
		return false
	}
	for _, d := range b.outboxes {
		if d.dirty || d.current != nil || d.reading {
			return false
		}
	}
	return true
}
