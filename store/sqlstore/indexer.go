package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/committer"
	"github.com/parley-im/parley/store/sqlstore/filing"
	"github.com/parley-im/parley/store/sqlstore/waiting"
)

// Pace of the indexer: it collects for a moment, because a transaction of many records costs less than many transactions,
// unless somebody waits.
const (
	indexBatch   = 1000                   // records read from the log at a time
	indexPause   = 20 * time.Millisecond  // after a batch of a few
	indexLonger  = 300 * time.Millisecond // after a batch of many
	indexMany    = 16                     // records that are many
	indexAnyway  = time.Second            // looks at the log even if nobody told it
	recentMost   = 8192                   // records kept in memory for the indexer
	recentMemory = 32 << 20               // bytes of them
)

// recent holds what has just landed, so that an indexer which keeps up need not read it back. It is a shortcut: what is not
// here is in the log.
type recent struct {
	mu          sync.Mutex
	first, last int64           // the seqs that it covers, without a gap; last < first: none
	records     []*store.Record // those of them that the index files, but deliveries
	deliveries  []filing.Entry  // half of all, and this is all that the index needs of them
	bytes       int
}

func newRecent() *recent { return &recent{first: 1} }

// add is called by the committer. Records of one transaction have seqs without gaps.
func (c *recent) add(records []*store.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last < c.first || c.last+1 != records[0].Seq {
		c.drop()
		c.first = records[0].Seq
	}
	c.last = records[len(records)-1].Seq
	for _, r := range records {
		if r.Kind != store.KindDelivery {
			c.records = append(c.records, r)
			c.bytes += committer.Size(r)
		} else if e, ok := filing.Delivery(r); ok {
			c.deliveries = append(c.deliveries, e)
		}
	}
	if len(c.records) > recentMost || len(c.deliveries) > recentMost || c.bytes > recentMemory {
		c.drop() // the indexer is behind, and will read
	}
}

// drop forgets everything. c.mu is held.
func (c *recent) drop() { c.first, c.last, c.records, c.deliveries, c.bytes = 1, 0, nil, nil, 0 }

// unfiled are records that are to be filed: all after a seq up to last.
type unfiled struct {
	records    []*store.Record
	deliveries []filing.Entry // further ones
	last       int64
}

// take returns what is to be filed next after seq, if it holds all of that; else ok is false.
func (c *recent) take(seq int64) (f unfiled, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f = unfiled{c.records, c.deliveries, c.last}
	ok = c.first <= seq+1 && seq < f.last
	c.drop()
	if !ok {
		return unfiled{}, false
	}
	for len(f.records) > 0 && f.records[0].Seq <= seq {
		f.records = f.records[1:]
	}
	for len(f.deliveries) > 0 && f.deliveries[0].Seq <= seq {
		f.deliveries = f.deliveries[1:]
	}
	return f, true
}

// index reads the log with a cursor and keeps the tables of schema/index up to date.
type index struct {
	log  *log
	d    *dialect
	open func(context.Context) (read *sql.DB, w indexWriter, err error) // opens the databases and brings the schema up to date
	path string                                                         // the SQLite file, "" on PostgreSQL
	text func(*store.Record) string
	slog *slog.Logger
	m    *metrics

	read     atomic.Pointer[sql.DB] // replaced when the index is made again
	w        indexWriter            // the indexer's own
	position atomic.Int64
	ahead    int64         // the position that was found above the head of the log, 0 for none
	wake     chan struct{} // the head moved
	hurry    chan struct{} // somebody waits
	broken   chan struct{} // a reader found the file corrupt

	recent  *recent
	known   *filing.Known // belongs to the indexer
	waiting *waiting.Room
}

// indexWriter writes the index on one of the databases.
type indexWriter interface {
	// position reads how far the index is.
	position(ctx context.Context) (int64, error)
	// write adds what comes after a seq and moves the position to another, in one transaction. Error: a wentBack.
	write(ctx context.Context, b *filing.Batch, after, seq int64) error
	// serve does what has to be done beside writing, until ctx ends.
	serve(ctx context.Context)
	// unsynced receives when the disk may have lost a part, so that the index must be made again.
	unsynced() <-chan error
	close() error
}

// start opens the index, and begins a new one if the old cannot be read or knows more than the log.
func (x *index) start(ctx context.Context) error {
	err := x.load(ctx)
	if err == nil && x.position.Load() > x.log.Head() {
		x.ahead = x.position.Load()
		err = fmt.Errorf("sqlstore: the index is at %d and the log at %d", x.position.Load(), x.log.Head())
	} else if err != nil && !corrupt(err) && x.path == "" {
		return err
	}
	if err != nil {
		return x.rebuild(ctx, err)
	}
	if head := x.log.Head(); x.position.Load() == 0 && head > 0 {
		x.slog.Info("the index is made from the log", "head", head) // after an update, or a restore
	}
	return nil
}

// load opens the databases and reads the position.
func (x *index) load(ctx context.Context) error {
	read, w, err := x.open(ctx)
	if err != nil {
		return err
	}
	seq, err := w.position(ctx)
	if err != nil {
		read.Close()
		w.close()
		return fmt.Errorf("sqlstore: reading the position of the index: %w", err)
	}
	if x.w != nil {
		x.w.close()
	}
	x.w = w
	x.setPosition(seq)
	if old := x.read.Swap(read); old != nil {
		old.Close()
	}
	return nil
}

func (x *index) close() error {
	var err error
	if db := x.read.Load(); db != nil {
		err = db.Close()
	}
	if x.w != nil {
		err = errors.Join(err, x.w.close())
	}
	return err
}

// setPosition is told how far the index is now.
func (x *index) setPosition(seq int64) {
	if seq < x.position.Load() { // it was begun anew
		x.known.Forget()
	}
	x.position.Store(seq)
	x.m.indexPosition.Set(float64(seq))
}

// rebuild throws the index away; the indexer then reads the log from the beginning.
func (x *index) rebuild(ctx context.Context, why error) error {
	x.slog.Warn("the index is made again from the log", "err", why)
	x.m.indexRebuilds.Inc()
	if x.path == "" { // tables in a larger database
		if x.w == nil {
			if err := x.load(ctx); err != nil {
				return err
			}
		}
		if err := x.w.(*postgresIndex).clear(ctx); err != nil {
			return unavailable(err, "sqlstore: making the index again")
		}
		x.setPosition(0)
		return nil
	}
	// Readers may still hold the old files; they keep them until they are done.
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(x.path + end); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("sqlstore: making the index again: %w", err)
		}
	}
	return x.load(ctx)
}

// Serve indexes until ctx ends. Errors of the index are never the log's: it logs, waits, and tries again.
func (x *index) Serve(ctx context.Context) error {
	cancel := x.log.Subscribe(func(int64) { notify(x.wake) })
	defer cancel()
	defer x.waiting.Close()
	stop := x.beside(ctx)
	defer func() { stop() }()
	again := func(why error) {
		stop()
		if err := x.rebuild(ctx, why); err != nil {
			x.slog.Error("the index cannot be made again", "err", err)
		}
		stop = x.beside(ctx)
	}
	ticker := time.NewTicker(indexAnyway)
	defer ticker.Stop()
	pause := indexPause
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-x.broken:
			again(errors.New("sqlstore: a reader found the index corrupt"))
		case err := <-x.w.unsynced():
			again(err)
		case <-ticker.C:
		case <-x.hurry:
		case <-x.wake:
			// Let a batch come together.
			select {
			case <-ctx.Done():
				return nil
			case <-x.hurry:
			case <-time.After(pause):
			}
		}
		before := x.position.Load()
		err := x.catchUp(ctx)
		if pause = indexPause; x.position.Load()-before > indexMany {
			pause = indexLonger
		}
		if err != nil && ctx.Err() == nil {
			x.slog.Error("indexing the log failed, trying again", "position", x.position.Load(), "err", err)
			if corrupt(err) {
				notify(x.broken)
			}
			select {
			case <-ctx.Done():
			case <-time.After(indexAnyway):
				notify(x.wake)
			}
		}
	}
}

// beside serves the writer until stop is called.
func (x *index) beside(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	w := x.w
	wg.Go(func() { w.serve(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// catchUp indexes up to the head.
func (x *index) catchUp(ctx context.Context) error {
	for {
		after := x.position.Load()
		head := x.log.Head()
		if after >= head {
			x.m.indexLagSeconds.Set(0)
			x.waiting.Release(after)
			return nil
		}
		f, err := x.next(ctx, after, head)
		if err != nil {
			return err
		}
		if len(f.records) > 0 {
			x.m.indexLagSeconds.Set(max(0, time.Since(f.records[0].At).Seconds()))
		}
		b := x.collect(f)
		if err := x.w.write(ctx, b, after, f.last); err != nil {
			if back := (*wentBack)(nil); errors.As(err, &back) {
				x.setPosition(back.seq)
			}
			return err
		}
		x.known.Learn(b)
		x.setPosition(f.last)
		x.waiting.Release(f.last)
	}
}

// next returns what comes after a seq.
func (x *index) next(ctx context.Context, after, head int64) (unfiled, error) {
	if f, ok := x.recent.take(after); ok {
		return f, nil
	}
	records, err := x.log.Read(ctx, after, indexBatch)
	if err != nil {
		return unfiled{}, err
	}
	f := unfiled{records: make([]*store.Record, len(records)), last: head}
	for i := range records {
		f.records[i] = &records[i]
	}
	switch n := len(records); {
	case n == indexBatch:
		f.last = records[n-1].Seq
	case n > 0:
		f.last = max(head, records[n-1].Seq) // the head may have moved before they were read
	}
	return f, nil
}

// collect makes a batch of what was found.
func (x *index) collect(f unfiled) *filing.Batch {
	b := filing.New(x.known)
	b.Filed = f.deliveries
	for _, r := range f.records {
		b.Add(r, x.text)
	}
	b.Finish()
	return b
}

// Position is store.Index.Position.
func (x *index) Position() int64 { return x.position.Load() }

// WaitFor is store.Index.WaitFor.
func (x *index) WaitFor(seq int64, done func()) (cancel func()) {
	cancel, waits := x.waiting.Wait(seq, done)
	if waits {
		notify(x.hurry)
	}
	return cancel
}
