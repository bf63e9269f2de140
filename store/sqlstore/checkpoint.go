package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	sqlite3 "modernc.org/sqlite/lib"
)

// walFrames is how many frames (32 MB) a WAL may have before its writer takes part in checkpoints: the file has to stay bounded.
const walFrames = 8192

// checkpointer copies the WAL of one SQLite file into it while the writer goes on: it holds no lock the writer needs. Under
// constant load it never quite catches up, and the WAL could not begin again at its start; then the writer, which knows that
// nothing is being written, does the short rest itself. (SQLite's own run inside commits, and do not tell when a sync fails.)
type checkpointer struct {
	name   string // of the file, for messages
	every  int64  // bytes between two checkpoints, about
	db     *sql.DB
	log    *slog.Logger
	m      *metrics
	bytes  atomic.Int64
	wake   chan struct{}
	behind atomic.Bool
	failed chan error // the database file could not be synced
}

func newCheckpointer(name string, every int64, db *sql.DB, log *slog.Logger, m *metrics) *checkpointer {
	return &checkpointer{name: name, every: every, db: db, log: log, m: m, wake: make(chan struct{}, 1), failed: make(chan error, 1)}
}

// pageBytes is what SQLite writes at least for each page that a transaction touches, however little of it is new.
const pageBytes = 4096

// written counts what went into the WAL. It does nothing on a nil checkpointer: PostgreSQL has its own.
func (c *checkpointer) written(bytes int) {
	if c != nil && c.bytes.Add(int64(bytes)) >= c.every {
		notify(c.wake)
	}
}

// serve makes checkpoints until ctx ends.
func (c *checkpointer) serve(ctx context.Context) {
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		if c.bytes.Load() < c.every {
			continue
		}
		c.bytes.Store(0)
		// Even when all was copied, a reader that looked just then may have kept the WAL from beginning again.
		if frames, _ := c.checkpoint(c.db); frames > walFrames {
			c.behind.Store(true)
		}
		if n++; c.name == "index.db" && n%4 == 0 { // after some 10,000 messages all connections give up their pages, see TestPageCaches
			c.db.ExecContext(ctx, "PRAGMA shrink_memory") // an error changes nothing
		}
	}
}

// finish is called by the writer after a commit.
func (c *checkpointer) finish(conn *sql.Conn) {
	if c.behind.CompareAndSwap(true, false) {
		c.checkpoint(conn)
	}
}

// checkpoint copies what it can without waiting for anyone, and returns the number of frames in the WAL and of those in the
// database file.
func (c *checkpointer) checkpoint(q querier) (frames, done int64) {
	var busy int64
	err := q.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &frames, &done)
	if err == nil {
		return frames, done
	}
	c.m.checkpointFailures.Inc()
	if !unsynced(err) {
		// Nothing is marked as copied, so the next checkpoint copies it again.
		c.log.Warn("a database could not be checkpointed, trying again later", "file", c.name, "err", err)
		return 0, 0
	}
	c.log.Error("a database file cannot be synced", "file", c.name, "err", err)
	select {
	case c.failed <- fmt.Errorf("%w: %s: %w", errUnsynced, c.name, err):
	default: // one is enough
	}
	return 0, 0
}

// errUnsynced is a failed sync of the database file. A checkpoint that could not copy everything, because somebody read an
// older state, marks what it copied as copied but leaves the sync to the next one. So when that sync fails, pages may be
// lost which this process would never copy again, and which a truncation of the WAL would lose for good. A new process
// reads the WAL from its beginning and copies everything; until then the WAL must stay as it is, so the connections
// must not be closed either: the last one that closes makes a checkpoint.
var errUnsynced = errors.New("sqlstore: the database file could not be synced")

// unsynced says that err is a failed sync, or a failed truncation, of which SQLite does not say whether it was durable.
func unsynced(err error) bool {
	switch _, extended := sqliteCode(err); extended {
	case sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE:
		return true
	}
	return false
}

// notify wakes the one receiver of a channel with room for one.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
