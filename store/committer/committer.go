// Package committer makes records durable: it takes everything that waits, has it written in one transaction with one sync,
// and tells all who waited, in order. It keeps the promise that every record is answered within a second, and that
// nothing is read that was refused, whatever the database does: hang, fail, or succeed too late.
package committer

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/crashpoint"
)

// Limits of the committer.
const (
	MaxRecords      = 65536     // records between Append and their callback
	maxQueueBytes   = 256 << 20 // memory they may hold
	maxBatchRecords = 4096      // records in one transaction
	maxBatchBytes   = 16 << 20  // bytes in one transaction; a larger single record goes alone

	// patience is how long a record waits for the disk before it is refused. With noteTimeout it stays under the 800 ms
	// which the store promises.
	patience    = 700 * time.Millisecond
	noteTimeout = 80 * time.Millisecond

	// Nobody waits for the outcome of a delivery: it goes with the next message, or after this time alone.
	unhurried = 20 * time.Millisecond
	// After a batch of a crowd the next one waits until as many have come again, but not longer than this after the last
	// commit: a sync costs the same for one record as for a hundred.
	crowd    = 8
	assembly = 2 * time.Millisecond
)

// entry is one record on its way into the log.
type entry struct {
	rec  *store.Record
	done func(error)
	born time.Time
	size int
}

// urgent says that somebody waits for the record to be durable.
func (e *entry) urgent() bool { return e.rec.Kind != store.KindDelivery }

// pace is how run takes batches.
type pace struct {
	records int       // in the last batch; with ended it belongs to run
	ended   time.Time // when that was written
	want    int       // records in the queue that wake run
}

// phase of the batch that was taken from the queue.
type phase uint8

const (
	idle       phase = iota // no batch
	writing                 // before the point of no return: can still be dropped
	committing              // it may land, whatever we are told
)

// Options of New.
type Options struct {
	Dir        string                // the data folder, for the notes of refused records
	Head       int64                 // seq of the last record in the log
	Log        *slog.Logger          // required
	Registerer prometheus.Registerer // nil: metrics are not shown
	Landed     func([]*store.Record) // nil, or told of records that were acknowledged; must not block or change them
	MaxRecords int                   // fewer than MaxRecords; 0: MaxRecords
	Patience   time.Duration         // how long a record waits before it is refused; 0: as the store promises
}

// Committer is the one writer of the log. Three goroutines work for it: run takes everything that waits, writes it in one
// transaction and syncs once; watch refuses what waited too long, also while run hangs in the database; call runs the
// callbacks, in order, so that a slow one does not hold up the next commit.
type Committer struct {
	w     Writer
	o     Options
	notes *notes
	m     *metrics

	seen   newest                // what readers may see
	sick   atomic.Pointer[error] // why the log could not be written last time; nil: it could
	wake   chan struct{}
	probe  chan struct{} // ask run to try whether the log can be written
	called chan struct{} // wakes call

	mu       sync.Mutex
	queue    []entry // waits, oldest first
	flying   []entry // handed to the database, older than all of queue
	phase    phase
	doomed   bool          // flying is refused to its senders
	refusing chan struct{} // closed when their refusals are in calls; nil unless that is being prepared
	noted    bool          // the doomed batch is in the notes
	single   int           // so many of queue go into transactions of their own
	pace     pace
	pending  int // entries whose callback has not run
	bytes    int
	closed   bool // Append refuses
	finished bool // the goroutine for callbacks is gone
	calls    []call
	watchers map[int]func(int64)
	nextID   int
}

// call is one callback to run: done(err), or the news of a head.
type call struct {
	done func(error)
	err  error
	size int // to give back; 0: was never queued
	head int64
	born time.Time
}

// New makes a committer over a writer. Call Settle before anything is read.
func New(w Writer, o Options) *Committer {
	if o.MaxRecords == 0 {
		o.MaxRecords = MaxRecords
	}
	o.Patience = cmp.Or(o.Patience, patience)
	if o.Landed == nil {
		o.Landed = func([]*store.Record) {}
	}
	c := &Committer{w: w, o: o, notes: newNotes(o.Dir, o.Log), m: newMetrics(o.Registerer), wake: make(chan struct{}, 1),
		probe: make(chan struct{}, 1), called: make(chan struct{}, 1), watchers: make(map[int]func(int64))}
	c.seen.head.Store(o.Head)
	c.m.head.Set(float64(o.Head))
	return c
}

// Close closes the writer and takes the metrics back.
func (c *Committer) Close() error {
	c.m.close()
	return c.w.Close()
}

// Forget takes the metrics back and leaves the writer as it is.
func (c *Committer) Forget() { c.m.close() }

// Append is store.Log.Append.
func (c *Committer) Append(r *store.Record, done func(error)) {
	if r.Kind == store.KindDelivery {
		crashpoint.Hit("delivered.unrecorded")
	}
	e := entry{rec: r, done: done, born: time.Now(), size: Size(r)}
	err := Prepare(r)
	c.mu.Lock()
	switch {
	case err != nil:
	case c.closed:
		err = store.ErrClosed
	case c.pending >= c.o.MaxRecords || c.bytes >= maxQueueBytes:
		err = store.ErrBusy
	}
	if err == nil {
		c.queue = append(c.queue, e)
		c.pending++
		c.bytes += e.size
		n := len(c.queue)
		wake := n == 1 || n >= c.pace.want && e.urgent()
		c.mu.Unlock()
		if wake {
			notify(c.wake)
		}
		return
	}
	finished := c.finished
	if !finished {
		// The list of callbacks is bounded by what the callers hold: each of these is somebody's open request.
		c.calls = append(c.calls, call{done: done, err: err, born: e.born})
	}
	c.mu.Unlock()
	if finished {
		go done(err) // after Serve, when nobody else is left to call it
		return
	}
	notify(c.called)
}

// notify wakes the one receiver of a channel with room for one.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Serve runs the committer until ctx ends and what was queued is settled. It returns store.ErrLogLost (wrapped) when the
// state of the log is unknown; everything that waited has been refused then.
func (c *Committer) Serve(ctx context.Context) error {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	over := make(chan struct{})
	wg.Go(func() { c.watch(stop) })
	var calls sync.WaitGroup
	calls.Go(func() { c.call(over) })

	err := c.run(ctx)

	close(stop)
	wg.Wait()
	c.giveUp()
	close(over)
	calls.Wait()
	return err
}

// giveUp refuses what is left when run has ended. After a failure that is also a batch whose end nobody knows.
func (c *Committer) giveUp() {
	c.mu.Lock()
	c.closed = true
	if c.phase == committing && !c.doomed {
		c.mu.Unlock()
		c.notes.write(c.seen.head.Load(), c.flying, noteTimeout)
		c.mu.Lock()
	}
	if !c.doomed {
		c.refuse(c.flying, store.ErrUnavailable)
	}
	c.refuse(c.queue, store.ErrUnavailable)
	c.flying, c.queue = nil, nil
	c.mu.Unlock()
}

// refuse moves entries to the callbacks. c.mu is held.
func (c *Committer) refuse(list []entry, err error) {
	for _, e := range list {
		c.calls = append(c.calls, call{done: e.done, err: err, size: e.size, born: e.born})
	}
	notify(c.called)
}

// taskProbe is the task of run when there is nothing to write and the last commit failed: find out whether the next would.
var taskProbe = []entry{{}}

// take waits for records and takes what fits into one transaction, or returns taskProbe. It returns nil when ctx has ended
// and nothing waits, and an error when the log is lost.
func (c *Committer) take(ctx context.Context) ([]entry, error) {
	timer := time.NewTimer(c.o.Patience)
	defer timer.Stop()
	for {
		select {
		case err := <-c.w.Lost():
			return nil, err
		default:
		}
		ended := ctx.Err() != nil
		c.mu.Lock()
		wait := c.pause(time.Now())
		if len(c.queue) > 0 && (wait <= 0 || ended) {
			batch := c.next()
			c.mu.Unlock()
			return batch, nil
		}
		if ended {
			c.closed = true
			c.mu.Unlock()
			return nil, nil
		}
		c.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-c.wake:
		case <-timer.C:
		case <-ctx.Done():
		case err := <-c.w.Lost():
			return nil, err
		case <-c.probe:
			return taskProbe, nil
		}
	}
}

// pause is how long run leaves the queue alone at now, and sets how many records end that early. c.mu is held.
func (c *Committer) pause(now time.Time) time.Duration {
	c.pace.want = 1
	switch {
	case len(c.queue) == 0:
		return c.o.Patience
	case !slices.ContainsFunc(c.queue, func(e entry) bool { return e.urgent() }):
		return unhurried - now.Sub(c.queue[0].born)
	case c.pace.records >= crowd && len(c.queue) < c.pace.records:
		c.pace.want = c.pace.records
		return assembly - now.Sub(c.pace.ended)
	}
	return 0
}

// next takes a batch off the queue. c.mu is held.
func (c *Committer) next() []entry {
	take, bytes, most := 0, 0, maxBatchRecords
	if c.single > 0 {
		c.single--
		most = 1
	}
	for take < len(c.queue) && take < most && (take == 0 || bytes+c.queue[take].size <= maxBatchBytes) {
		bytes += c.queue[take].size
		take++
	}
	c.flying = c.queue[:take:take]
	if c.queue = c.queue[take:]; len(c.queue) == 0 {
		c.queue = nil
	}
	c.phase, c.doomed = writing, false
	return c.flying
}

// pointOfNoReturn is called by the writer before the statement that may make the batch durable. False means that its
// senders have been refused meanwhile and it must be dropped.
func (c *Committer) pointOfNoReturn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.doomed {
		return false
	}
	c.phase = committing
	return true
}

// back returns to the state before the point of no return: the last try certainly did not land. It says whether the batch
// is still wanted.
func (c *Committer) back() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = writing
	return !c.doomed
}

// landed settles a batch that is durable. It reports false when the batch was refused meanwhile, so that it must be voided.
func (c *Committer) landed(batch []entry, records []*store.Record, head int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = idle
	if c.doomed {
		return false
	}
	c.flying = nil
	c.sick.Store(nil)
	c.seen.add(records)
	c.advance(head)
	for _, e := range batch {
		c.calls = append(c.calls, call{done: e.done, size: e.size, born: e.born})
	}
	c.calls = append(c.calls, call{head: head})
	notify(c.called)
	return true
}

// advance makes records up to head visible to readers. c.mu is held.
func (c *Committer) advance(head int64) {
	if head > c.seen.head.Load() {
		c.seen.head.Store(head)
		c.m.head.Set(float64(head))
	}
}

// Observe takes a head that other nodes may have moved, unless a batch of ours may lie below it that readers must not see
// yet.
func (c *Committer) Observe(head int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == committing || c.doomed || head <= c.seen.head.Load() {
		return
	}
	c.advance(head)
	c.calls = append(c.calls, call{head: head})
	notify(c.called)
}

// dropped settles a batch that did not land and never will. Its senders get err unless they were refused already.
func (c *Committer) dropped(err error) {
	c.awaitRefusal()
	c.mu.Lock()
	if !c.doomed {
		c.refuse(c.flying, err)
	}
	noted := c.noted
	c.flying, c.phase, c.doomed, c.noted = nil, idle, false, false
	c.mu.Unlock()
	if noted {
		c.notes.clear()
	}
}

// requeue puts a batch that cannot be written as a whole back, to be written one by one.
func (c *Committer) requeue(batch []entry) {
	c.awaitRefusal()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.doomed {
		c.queue = append(append(make([]entry, 0, len(batch)+len(c.queue)), batch...), c.queue...)
		c.single = len(batch)
	}
	c.flying, c.phase, c.doomed = nil, idle, false
}

// voided ends the time of a batch that had landed against our word: its void records are durable up to head.
func (c *Committer) voided(head int64) {
	c.mu.Lock()
	c.flying, c.doomed, c.noted = nil, false, false
	c.advance(head)
	c.calls = append(c.calls, call{head: head})
	c.mu.Unlock()
	notify(c.called)
	c.notes.clear()
}

// awaitRefusal waits until the watchdog, if it is about to refuse the batch, has done so: refusals keep their place in the
// order of callbacks, and notes are not written after they were cleared.
func (c *Committer) awaitRefusal() {
	c.mu.Lock()
	ch := c.refusing
	c.mu.Unlock()
	if ch != nil {
		<-ch
	}
}

// watch refuses what has waited too long. Entries expire in the order in which they were appended; a batch is as old as
// its first entry and is refused as a whole.
func (c *Committer) watch(stop chan struct{}) {
	timer := time.NewTimer(c.o.Patience)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
		}
		timer.Reset(c.expire(time.Now()))
		if c.sick.Load() != nil {
			notify(c.probe)
		}
	}
}

// expire refuses what is too old at now and returns when to look again.
func (c *Committer) expire(now time.Time) time.Duration {
	c.mu.Lock()
	if c.phase != idle && !c.doomed && len(c.flying) > 0 && now.Sub(c.flying[0].born) >= c.o.Patience {
		batch := c.flying
		c.doomed = true
		c.fail(errLate)
		if c.phase == committing {
			// It may land although we are about to say that it did not: note that where a kill cannot lose it, then say it.
			base, ready := c.seen.head.Load(), make(chan struct{})
			c.refusing, c.noted = ready, true
			c.mu.Unlock()
			c.notes.write(base, batch, noteTimeout)
			crashpoint.Hit("late.noted")
			c.mu.Lock()
			c.refusing = nil
			defer close(ready)
		}
		c.refuse(batch, store.ErrUnavailable)
	}
	defer c.mu.Unlock()
	late := 0
	if len(c.flying) == 0 || c.doomed {
		for late < len(c.queue) && now.Sub(c.queue[late].born) >= c.o.Patience {
			late++
		}
	}
	if late > 0 {
		c.fail(errLate)
		c.refuse(c.queue[:late], store.ErrUnavailable)
		c.queue = c.queue[late:]
	}
	next := c.o.Patience
	switch {
	case len(c.flying) > 0 && !c.doomed:
		next = c.o.Patience - now.Sub(c.flying[0].born)
	case len(c.queue) > 0:
		next = c.o.Patience - now.Sub(c.queue[0].born)
	}
	return max(next, 5*time.Millisecond)
}

// call runs callbacks until over is closed and none are left.
func (c *Committer) call(over chan struct{}) {
	for {
		c.mu.Lock()
		calls := c.calls
		c.calls = nil
		var watchers []func(int64)
		for _, f := range c.watchers {
			watchers = append(watchers, f)
		}
		records, bytes := c.pending, c.bytes
		c.mu.Unlock()
		c.m.queueRecords.Set(float64(records))
		c.m.queueBytes.Set(float64(bytes))
		if len(calls) == 0 {
			select {
			case <-c.called:
				continue
			case <-over:
			}
			c.mu.Lock()
			c.finished = len(c.calls) == 0
			finished := c.finished
			c.mu.Unlock()
			if finished {
				return
			}
			continue
		}
		c.runCalls(calls, watchers)
	}
}

func (c *Committer) runCalls(calls []call, watchers []func(int64)) {
	now := time.Now()
	entries, bytes, ok := 0, 0, 0
	for i := range calls {
		x := &calls[i]
		if x.done == nil {
			for _, f := range watchers {
				f(x.head)
			}
			continue
		}
		if x.err == nil {
			ok++
		} else {
			c.m.appends.WithLabelValues(result(x.err)).Inc()
		}
		c.m.appendSeconds.Observe(now.Sub(x.born).Seconds())
		x.done(x.err)
		crashpoint.Hit("recorded.told")
		if x.size > 0 {
			entries++
			bytes += x.size
		}
		if entries == 256 { // give room back while a long list runs
			c.release(entries, bytes)
			entries, bytes = 0, 0
		}
	}
	c.m.appends.WithLabelValues("ok").Add(float64(ok))
	c.release(entries, bytes)
}

func (c *Committer) release(entries, bytes int) {
	c.mu.Lock()
	c.pending -= entries
	c.bytes -= bytes
	c.mu.Unlock()
}

func result(err error) string {
	switch errs.KindOf(err) {
	case errs.TooMany:
		return "busy"
	case errs.Invalid:
		return "invalid"
	}
	return "unavailable"
}

// Head is store.Log.Head.
func (c *Committer) Head() int64 { return c.seen.head.Load() }

// Subscribe is store.Log.Subscribe.
func (c *Committer) Subscribe(fn func(head int64)) (cancel func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nextID
	c.nextID++
	c.watchers[n] = fn
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, n)
	}
}

// fail remembers that the log could not be written.
func (c *Committer) fail(err error) { c.sick.Store(&err) }

// Healthy is nil when the log could be written last time.
func (c *Committer) Healthy() error {
	if err := c.sick.Load(); err != nil {
		return errs.Wrap(errs.Unavailable, *err, "committer: the log cannot be written")
	}
	return nil
}

var errLate = errors.New("the database does not answer in time")

// ErrDropped is what Commit returns when the gate said no.
var ErrDropped = errors.New("committer: the batch is not wanted any more")
