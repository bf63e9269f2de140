package message

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transaction"
)

const (
	// maxQueued messages of one device are kept in memory; the rest is read from the log when its turn comes. As many
	// senders again wait to hear of it; the others are told at once that their message is stored.
	maxQueued = 64
	// A message that a device keeps answering with a temporary failure is given up after this many tries, and
	// one after whose arrival the device falls silent after that many returns, so that it never blocks the next.
	maxRefusals = 3
	maxSilences = 10
	// silence is how long a device is sent a message without an answer until that counts: 64*T1 (RFC 3261 §17.1.2.2).
	silence = 32 * time.Second
	// retryFirst doubles up to retryMax while a device that is registered does not answer.
	retryFirst = 30 * time.Second
	retryMax   = 10 * time.Minute
)

// program is what a device has shown to know, or not to know.
type program struct {
	noCPIM  bool // it refused CPIM wrappers since it registered
	wrapped bool // it has sent CPIM wrappers, or bare receipts as liblinphone does
	rcs     bool // it has sent a document of the file transfer of RCS, or bare receipts
}

// item is a message in the queue of a device. p is nil when its sender needs no answer any more.
type item struct {
	rec *store.Record
	p   *pending
}

// outbox is what one device has still to get. Messages go out one at a time in the order of the log
// (RFC 3428 §8), so one number says what is settled.
type outbox struct {
	box      *mailbox
	device   string
	cursor   int64              // everything up to here is settled for this device
	read     int64              // everything up to here has been settled, or is in queue
	latest   int64              // something to this person may be in the log up to here
	queue    []item             // next messages in order
	waiting  map[int64]*pending // senders of messages after queue, by Seq
	current  *attempt
	reading  bool             // the index is being read
	unwait   func()           // stops waiting for the index, while reading
	expected bool             // registers just now: nothing is sent before that is answered
	gone     bool             // dropped from its mailbox
	down     bool             // not there, or does not answer
	fresh    bool             // has registered and was not sent anything since
	program  program          // what was learnt of its program
	silent   map[contact]bool // contacts that did not answer when others did, since it registered

	// Of the message at the cursor.
	refusals, silences int
	quiet              bool // it went out as non-urgent

	backoff       time.Duration
	retry         *transaction.Timer
	seen, created time.Time
	dirty         bool    // the cursor is newer than the store's
	owed          []*owed // settled, ascending, and perhaps not on record yet
}

// owed is the outcome of one message on its way into the log.
type owed struct {
	seq    int64 // of the message
	after  int64 // its record will have a higher Seq
	landed atomic.Bool
}

// onRecord is the cursor that the store may have: a message whose outcome is not on record yet is delivered again after a
// crash, for else nobody would ever know what became of it.
func (d *outbox) onRecord() int64 {
	d.owed = slices.DeleteFunc(d.owed, func(o *owed) bool { return o.landed.Load() })
	if len(d.owed) > 0 {
		return min(d.cursor, d.owed[0].seq-1)
	}
	return d.cursor
}

// unrecorded is the last message before whose outcome may not be on record yet, 0 for none. Its own outcome names the one
// before it, and so on.
func (d *outbox) unrecorded() int64 {
	for _, o := range slices.Backward(d.owed) {
		if !o.landed.Load() {
			return o.seq
		}
	}
	return 0
}

// push takes a message that was just recorded. tried means that p will hear from this device; later, that the device
// gets it when it returns or when its turn comes; neither, that it is not for this device.
func (d *outbox) push(p *pending) (tried, later bool) {
	seq, wanted := p.rec.Seq, d.wants(p.rec)
	caughtUp := d.read >= d.latest && !d.reading && !d.down
	d.latest = max(d.latest, seq)
	switch {
	case seq <= d.read:
		// A reader of the log has met it before its sender's turn came.
		for i := range d.queue {
			if d.queue[i].rec.Seq == seq && wanted {
				d.queue[i].p = p
				return true, false
			}
		}
		return false, wanted
	case caughtUp && len(d.queue) < maxQueued:
		d.read = seq
		d.queue = append(d.queue, item{p.rec, nil})
		if wanted {
			d.queue[len(d.queue)-1].p = p
		}
		return wanted, false
	case d.down || !wanted || len(d.waiting) >= maxQueued:
		return false, wanted
	}
	if d.waiting == nil {
		d.waiting = map[int64]*pending{}
	}
	d.waiting[seq] = p // read from the log when its turn comes
	return true, false
}

// wakeUp starts again: the device has registered.
func (d *outbox) wakeUp() {
	d.seen, d.dirty = time.Now(), true
	d.expected, d.down, d.fresh, d.program.noCPIM, d.backoff, d.silent = false, false, true, false, 0, nil
	d.stopRetry()
	if d.current != nil {
		d.current.woken(d.box.targets(d.device))
	}
	d.next()
}

func (d *outbox) stopRetry() {
	if d.retry != nil {
		d.retry.Stop()
		d.retry = nil
	}
}

func (d *outbox) keepsSilent(c contact) {
	if d.silent == nil {
		d.silent = map[contact]bool{}
	}
	d.silent[c] = true
}

// next sends the next message when nothing is on its way.
func (d *outbox) next() {
	for d.current == nil && !d.expected && !d.down && !d.reading && !d.gone {
		if len(d.queue) == 0 {
			if d.read < d.latest {
				d.readMore()
			}
			return
		}
		it := d.queue[0]
		switch {
		case !d.wants(it.rec):
			d.pop()
		case expired(it.rec):
			d.settle(store.OutcomeExpired, 0, "")
		default:
			d.start(it.rec)
		}
	}
}

// wants is false for what is not for this device at all, and for what was said to an earlier account of this name.
func (d *outbox) wants(r *store.Record) bool {
	if first := d.box.first; first != 0 {
		return r.Seq > first && meantFor(r, d.device) // whatever the clock said then and says now
	}
	return meantFor(r, d.device) && !r.At.Before(d.box.since)
}

func meantFor(r *store.Record, device string) bool {
	only := r.MetaValue(store.MetaGRUU)
	return (only == "" || only == device) && r.MetaValue(metaInDialog) == "" && content.Tells(r)
}

func expired(r *store.Record) bool {
	at, err := strconv.ParseInt(r.MetaValue(metaExpires), 10, 64)
	return err == nil && time.Now().UnixMilli() > at
}

// readMore fills the queue from the log, by way of the index of mailboxes.
func (d *outbox) readMore() {
	s, aor, after, upto := d.box.w.s, d.box.aor, d.read, d.latest
	d.reading = true
	d.unwait = s.o.Store.WaitFor(upto, func() {
		s.readers.do(func(ctx context.Context) {
			position := s.o.Store.Position()
			list, err := s.o.Store.Mailbox(ctx, aor, after, maxQueued)
			if err == nil && s.o.Store.Position() < position {
				err = errRebuilt
			}
			d.box.w.post(func() { d.filled(list, position, err) })
		})
	})
}

// errRebuilt: what a query did not find may be in the log.
var errRebuilt = errs.New(errs.Unavailable, "message: the index is being made again")

func (d *outbox) filled(list []store.Record, position int64, err error) {
	d.reading = false
	if d.gone {
		return
	}
	if err != nil {
		d.box.w.s.o.Log.Warn("message: the mailbox cannot be read; trying again", "aor", d.box.aor, "err", err)
		d.release()
		d.pause(time.Second)
		return
	}
	for i := range list {
		seq := list[i].Seq
		d.queue = append(d.queue, item{rec: &list[i], p: d.waiting[seq]})
		delete(d.waiting, seq)
		d.read = seq
	}
	if len(list) < maxQueued { // that was all
		d.read = max(d.read, position)
		if len(d.queue) == 0 {
			d.move(d.read)
		}
		for seq, p := range d.waiting {
			if seq <= d.read { // not in the log after all, or not any more
				delete(d.waiting, seq)
				p.postponed()
			}
		}
	}
	d.next()
}

// took: the device has the message at the head; its sender need not wait for the device's other contacts.
func (d *outbox) took() {
	if p := d.queue[0].p; p != nil {
		d.queue[0].p = nil
		p.took()
	}
}

// delivered, refused and failed are the ends of an attempt.
func (d *outbox) delivered() {
	d.box.w.s.metrics.delivered.Inc()
	d.settle(store.OutcomeDelivered, 200, "")
	d.next()
}

func (d *outbox) refused(status int, reason string) {
	d.box.w.s.metrics.deviceRefused.Inc()
	d.settle(store.OutcomeRefused, status, reason)
	d.next()
}

// failed: the device answered with a temporary failure (status), or not at all (0). A silent line is no fault
// of the message, so silence counts once for each return of the device. One that registered during the attempt may well be
// there now, and is tried again at once.
func (d *outbox) failed(status int, reason string, registered bool) {
	switch {
	case status != 0:
		d.refusals++
	case d.fresh:
		d.silences++
	}
	d.fresh = false
	if d.refusals >= maxRefusals || d.silences >= maxSilences {
		d.refused(status, reason)
		return
	}
	if status == 0 && registered {
		d.next()
		return
	}
	d.release()
	d.backoff = min(max(2*d.backoff, retryFirst), retryMax)
	d.pause(d.backoff)
}

// release answers the senders of what is queued for a device that does not answer, and gives the memory back: all
// of it is in the log.
func (d *outbox) release() {
	queue, waiting := d.queue, d.waiting
	d.queue, d.waiting, d.read = nil, nil, d.cursor
	for _, it := range queue {
		if it.p != nil {
			it.p.postponed()
		}
	}
	for _, p := range waiting {
		p.postponed()
	}
}

// pause tries again later, if the device is still registered then.
func (d *outbox) pause(after time.Duration) {
	d.down = true
	if len(d.box.targets(d.device)) == 0 {
		return // it will register
	}
	d.retry = d.box.w.s.o.Transactions.After(after, func() {
		d.box.w.post(func() {
			if d.retry != nil {
				d.retry, d.down = nil, false
				d.next()
			}
		})
	})
}

// settle records the outcome of the message at the head and moves on.
func (d *outbox) settle(outcome string, status int, reason string) {
	it := d.queue[0]
	priority := ""
	if outcome == store.OutcomeDelivered {
		d.box.taken = max(d.box.taken, it.rec.Seq)
		if d.quiet {
			priority = nonUrgent
			d.box.w.s.metrics.quiet.Inc()
		}
	}
	d.pop()
	o := &owed{seq: it.rec.Seq, after: d.box.w.s.o.Store.Head()}
	earlier := d.unrecorded()
	d.owed = append(d.owed, o)
	d.box.w.s.recordOutcome(it.rec, d.device, fate{outcome, status, reason, priority}, earlier, func() { o.landed.Store(true) })
	if it.p == nil {
		return
	}
	switch outcome {
	case store.OutcomeDelivered:
		it.p.took()
	case store.OutcomeRefused:
		it.p.refused(status)
	default:
		it.p.postponed()
	}
}

// pop removes the head of the queue, whose fate is known now.
func (d *outbox) pop() {
	seq := d.queue[0].rec.Seq
	d.queue[0] = item{}
	if d.queue = d.queue[1:]; len(d.queue) == 0 {
		d.queue = nil
	}
	d.refusals, d.silences, d.quiet = 0, 0, false
	d.move(seq)
}

func (d *outbox) move(seq int64) {
	if seq > d.cursor {
		d.cursor, d.dirty = seq, true
	}
}
