package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/store"
)

// Pace of the indexer: it collects for a moment, because a transaction of many records costs less than many transactions,
// unless somebody waits.
const (
	indexBatch  = 1000
	indexPause  = 100 * time.Millisecond
	indexAnyway = time.Second // looks at the log even if nobody told it
)

// index reads the log with a cursor and keeps the tables of schema/index up to date.
type index struct {
	log  *log
	d    *dialect
	open func(context.Context) (read, write *sql.DB, err error) // opens the databases and brings the schema up to date
	path string                                                 // the SQLite file, "" on PostgreSQL
	text func(*store.Record) string
	slog *slog.Logger
	m    *metrics

	dbs      atomic.Pointer[indexDBs] // replaced when the index is rebuilt
	position atomic.Int64
	wake     chan struct{} // the head moved
	hurry    chan struct{} // somebody waits
	broken   chan struct{} // a reader found the file corrupt

	mu      sync.Mutex
	waiters []waiter // any order; few
	stopped bool
}

type indexDBs struct{ read, write *sql.DB }

type waiter struct {
	seq  int64
	done func()
}

// start opens the index, and begins a new one if the old cannot be read or knows more than the log.
func (x *index) start(ctx context.Context) error {
	err := x.load(ctx)
	if err == nil && x.position.Load() > x.log.Head() {
		err = fmt.Errorf("sqlstore: the index is at %d and the log at %d", x.position.Load(), x.log.Head())
	} else if err != nil && !corrupt(err) && x.path == "" {
		return err
	}
	if err != nil {
		return x.rebuild(ctx, err)
	}
	return nil
}

// load opens the databases and reads the position.
func (x *index) load(ctx context.Context) error {
	read, write, err := x.open(ctx)
	if err != nil {
		return err
	}
	var seq int64
	if err := write.QueryRowContext(ctx, `SELECT seq FROM position WHERE one = 1`).Scan(&seq); err != nil {
		read.Close()
		write.Close()
		return fmt.Errorf("sqlstore: reading the position of the index: %w", err)
	}
	x.setPosition(seq)
	if old := x.dbs.Swap(&indexDBs{read, write}); old != nil {
		old.close()
	}
	return nil
}

func (d *indexDBs) close() {
	d.read.Close()
	if d.write != d.read {
		d.write.Close()
	}
}

func (x *index) close() {
	if d := x.dbs.Load(); d != nil {
		d.close()
	}
}

func (x *index) setPosition(seq int64) {
	x.position.Store(seq)
	x.m.indexPosition.Set(float64(seq))
}

// rebuild throws the index away; the indexer then reads the log from the beginning.
func (x *index) rebuild(ctx context.Context, why error) error {
	x.slog.Warn("the index is made again from the log", "err", why)
	x.m.indexRebuilds.Inc()
	if x.path == "" {
		return x.truncate(ctx)
	}
	// Readers may still hold the old files; they keep them until they are done.
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(x.path + end); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("sqlstore: making the index again: %w", err)
		}
	}
	return x.load(ctx)
}

// truncate empties the tables, where they are part of a larger database.
func (x *index) truncate(ctx context.Context) error {
	if x.dbs.Load() == nil {
		if err := x.load(ctx); err != nil {
			return err
		}
	}
	tx, err := x.dbs.Load().write.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err, "sqlstore: making the index again")
	}
	defer tx.Rollback()
	for _, text := range []string{`DELETE FROM party`, `DELETE FROM conversation`, `DELETE FROM named`, `DELETE FROM open_calls`,
		`DELETE FROM words`, `UPDATE position SET seq = 0`} {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return unavailable(err, "sqlstore: making the index again")
		}
	}
	if err := tx.Commit(); err != nil {
		return unavailable(err, "sqlstore: making the index again")
	}
	x.setPosition(0)
	return nil
}

// Serve indexes until ctx ends. Errors of the index are never the log's: it logs, waits, and tries again.
func (x *index) Serve(ctx context.Context) error {
	cancel := x.log.Subscribe(func(int64) { notify(x.wake) })
	defer cancel()
	defer x.releaseAll()
	ticker := time.NewTicker(indexAnyway)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-x.broken:
			if err := x.rebuild(ctx, fmt.Errorf("sqlstore: a reader found the index corrupt")); err != nil {
				x.slog.Error("the index cannot be made again", "err", err)
			}
		case <-ticker.C:
		case <-x.hurry:
		case <-x.wake:
			// Let a batch come together.
			select {
			case <-ctx.Done():
				return nil
			case <-x.hurry:
			case <-time.After(indexPause):
			}
		}
		if err := x.catchUp(ctx); err != nil && ctx.Err() == nil {
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

// catchUp indexes up to the head.
func (x *index) catchUp(ctx context.Context) error {
	for {
		after := x.position.Load()
		head := x.log.Head()
		if after >= head {
			x.m.indexLagSeconds.Set(0)
			x.release(after)
			return nil
		}
		records, err := x.log.Read(ctx, after, indexBatch)
		if err != nil {
			return err
		}
		to := head
		if n := len(records); n == indexBatch {
			to = records[n-1].Seq
		} else if n > 0 {
			to = max(head, records[n-1].Seq) // the head may have moved before they were read
		}
		if len(records) > 0 {
			x.m.indexLagSeconds.Set(max(0, time.Since(records[0].At).Seconds()))
		}
		if err := x.write(ctx, records, to); err != nil {
			return err
		}
		x.setPosition(to)
		x.release(to)
	}
}

// rows collects what one batch adds to each table.
type rows struct {
	party, conversation, named, opened []any
	closed                             [][]byte
	words                              []wordsRow
}

type wordsRow struct {
	seq   int64
	words []string
}

// add files one record.
func (r *rows) add(rec *store.Record, text func(*store.Record) string) {
	party := func(aor string, role int64) {
		if aor != "" {
			r.party = append(r.party, aor, role, rec.Seq)
		}
	}
	switch rec.Kind {
	case store.KindMessage:
		party(rec.To, roleMailbox)
		if rec.From != rec.To {
			party(rec.From, roleOther)
		}
		r.conversation = append(r.conversation, pair(rec.From, rec.To), rec.Seq)
		if m := rec.Meta[store.MetaMessageID]; m != "" {
			r.named = append(r.named, nameKey(rec.From, m), rec.Seq)
		}
	case store.KindReceipt:
		party(rec.To, roleMailbox)
		return // has no words of a person
	case store.KindCallStart, store.KindCallEnd:
		party(rec.To, roleOther)
		if rec.From != rec.To {
			party(rec.From, roleOther)
		}
		if rec.Kind == store.KindCallStart {
			r.conversation = append(r.conversation, pair(rec.From, rec.To), rec.Seq)
			r.opened = append(r.opened, slices.Clone(rec.ID[:]), rec.Seq)
		} else {
			r.closed = append(r.closed, slices.Clone(rec.Ref[:]))
		}
	case store.KindAdmin, store.KindSearch:
		party(rec.To, roleOther)
		if rec.From != rec.To {
			party(rec.From, roleOther)
		}
	default:
		return // deliveries are found by reading the log
	}
	if words := cutWords(text(rec)); len(words) > 0 {
		r.words = append(r.words, wordsRow{rec.Seq, words})
	}
}

// write adds a batch and moves the position, in one transaction.
func (x *index) write(ctx context.Context, records []store.Record, to int64) error {
	var r rows
	for i := range records {
		r.add(&records[i], x.text)
	}
	tx, err := x.dbs.Load().write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("sqlstore: indexing: %w", err)
	}
	defer tx.Rollback()
	for _, t := range []struct {
		into    string
		columns int
		args    []any
	}{
		{`INSERT INTO party (aor, role, seq)`, 3, r.party},
		{`INSERT INTO conversation (pair, seq)`, 2, r.conversation},
		{`INSERT INTO named (key, seq)`, 2, r.named},
		{`INSERT INTO open_calls (id, seq)`, 2, r.opened},
	} {
		if err := insertMany(ctx, tx, t.into, t.columns, t.args, " ON CONFLICT DO NOTHING"); err != nil {
			return fmt.Errorf("sqlstore: indexing: %w", err)
		}
	}
	for _, ref := range r.closed {
		if _, err := tx.ExecContext(ctx, `DELETE FROM open_calls WHERE id = $1`, ref); err != nil {
			return fmt.Errorf("sqlstore: indexing: %w", err)
		}
	}
	if len(r.words) > 0 {
		add, err := tx.PrepareContext(ctx, x.d.addWords)
		if err != nil {
			return fmt.Errorf("sqlstore: indexing: %w", err)
		}
		defer add.Close()
		for _, w := range r.words {
			if _, err := add.ExecContext(ctx, w.seq, x.d.wordsArg(w.words)); err != nil {
				return fmt.Errorf("sqlstore: indexing: %w", err)
			}
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE position SET seq = $1 WHERE one = 1`, to); err != nil {
		return fmt.Errorf("sqlstore: indexing: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("sqlstore: indexing: %w", err)
	}
	return nil
}

// Roles in party.
const (
	roleMailbox = 1
	roleOther   = 2
)

// pair is the key of a conversation, the same from both sides. AORs contain no spaces.
func pair(a, b string) string {
	if b < a {
		a, b = b, a
	}
	return a + " " + b
}

// nameKey is what stands for a Message-ID of a sender; the record itself decides whether it is the one.
func nameKey(from, messageID string) int64 {
	h := fnv.New64a()
	h.Write([]byte(from))
	h.Write([]byte{0})
	h.Write([]byte(messageID))
	return int64(h.Sum64())
}

// Position is store.Index.Position.
func (x *index) Position() int64 { return x.position.Load() }

// WaitFor is store.Index.WaitFor.
func (x *index) WaitFor(seq int64, done func()) {
	x.mu.Lock()
	if !x.stopped && x.position.Load() < seq {
		x.waiters = append(x.waiters, waiter{seq, done})
		x.mu.Unlock()
		notify(x.hurry)
		return
	}
	x.mu.Unlock()
	done()
}

// release calls those who waited for a position.
func (x *index) release(position int64) {
	x.mu.Lock()
	var ready []waiter
	x.waiters = slices.DeleteFunc(x.waiters, func(w waiter) bool {
		if w.seq <= position {
			ready = append(ready, w)
			return true
		}
		return false
	})
	x.mu.Unlock()
	for _, w := range ready {
		w.done()
	}
}

// releaseAll calls everybody when the store stops.
func (x *index) releaseAll() {
	x.mu.Lock()
	ready := x.waiters
	x.waiters, x.stopped = nil, true
	x.mu.Unlock()
	for _, w := range ready {
		w.done()
	}
}
