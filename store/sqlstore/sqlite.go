package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/committer"
	"github.com/parley-im/parley/store/crashpoint"
	"github.com/parley-im/parley/store/sqlstore/meta"
)

// How the log is written on SQLite: one connection with prepared statements, WAL with synchronous=FULL, so that each COMMIT
// is one fdatasync of the WAL. Seqs are counted here; nobody else writes.

// sqliteLimit is how long the log may stay unverified after an input/output error before the process ends.
const sqliteLimit = 10 * time.Second

// sqliteWriter is the writer on SQLite.
type sqliteWriter struct {
	db     *sql.DB  // of one connection
	s      *session // that one; nil when it could not be opened again
	insert *bulk
	void   driver.Stmt
	meta   []byte

	next   int64 // the seq of the next record
	mark   *mark
	points *checkpointer
	broken bool // nothing may be written before recover has succeeded
}

// openSQLiteWriter takes the only connection of db.
func openSQLiteWriter(ctx context.Context, db *sql.DB, points *checkpointer) (*sqliteWriter, error) {
	w := &sqliteWriter{db: db, points: points}
	if err := w.connect(ctx); err != nil {
		return nil, fmt.Errorf("sqlstore: opening the log: %w", err)
	}
	return w, nil
}

func (w *sqliteWriter) connect(ctx context.Context) (err error) {
	w.disconnect()
	if w.s, err = newSession(ctx, w.db); err != nil {
		return err
	}
	if w.insert, err = w.s.bulk("log ("+logColumns+")", logColumnCount, manyRows, ""); err != nil {
		return err
	}
	if w.void, err = w.s.prepare("INSERT INTO voided (seq, void) VALUES (?, ?)"); err != nil {
		return err
	}
	var last sql.NullInt64
	if err := w.s.conn.QueryRowContext(ctx, "SELECT max(seq) FROM log").Scan(&last); err != nil {
		return err
	}
	w.next = max(w.next, last.Int64+1)
	w.broken = false
	return nil
}

func (w *sqliteWriter) disconnect() {
	if w.s != nil {
		w.s.close()
		w.s = nil
	}
}

func (w *sqliteWriter) Close() error {
	w.disconnect()
	w.mark.close()
	return w.db.Close()
}

func (w *sqliteWriter) Commit(records []*store.Record, voids []int64, gate func() bool) (int64, error) {
	if w.broken {
		return 0, errors.New("sqlstore: the log was not verified after a failure")
	}
	if err := w.s.exec(w.s.begin, nil); err != nil {
		return 0, fmt.Errorf("sqlstore: begin: %w", err)
	}
	err := w.write(records, voids)
	crashpoint.Hit("commit.rows")
	if err == nil && !gate() {
		err = committer.ErrDropped
	}
	if err == nil {
		if err = w.s.exec(w.s.end, nil); err == nil {
			w.next += int64(len(records))
			w.mark.set(w.next - 1)
			w.points.finish(w.s.conn)
			return w.next - 1, nil
		}
		err = fmt.Errorf("sqlstore: commit: %w", err)
	}
	// SQLite has rolled back by itself after most errors, and then this one says only so.
	if rerr := w.s.exec(w.s.back, nil); rerr != nil && errors.Is(err, committer.ErrDropped) {
		return 0, fmt.Errorf("sqlstore: rollback: %w", rerr)
	}
	return 0, err
}

func (w *sqliteWriter) write(records []*store.Record, voids []int64) error {
	bytes := 0
	err := w.insert.insert(len(records), func(i int, row []driver.NamedValue) {
		r := records[i]
		r.Seq = w.next + int64(i)
		bytes += committer.Size(r)
		w.bind(row, r)
	})
	if err != nil {
		return err
	}
	for i, v := range voids {
		if err := w.s.exec(w.void, []driver.NamedValue{{Ordinal: 1, Value: v}, {Ordinal: 2, Value: records[i].Seq}}); err != nil {
			return fmt.Errorf("sqlstore: void: %w", err)
		}
	}
	w.points.written(bytes + 2*pageBytes)
	return nil
}

// bind sets the columns of r.
func (w *sqliteWriter) bind(a []driver.NamedValue, r *store.Record) {
	a[0].Value, a[1].Value, a[2].Value = r.Seq, r.ID[:], r.At.UnixMicro()
	a[3].Value, a[4].Value, a[5].Value, a[6].Value = r.Kind, r.From, r.To, r.Device
	a[7].Value, a[8].Value = nil, nil
	if !r.Ref.IsZero() {
		a[7].Value = r.Ref[:]
	}
	if len(r.Meta) > 0 {
		w.meta = meta.Append(w.meta[:0], r.Meta)
		a[8].Value = string(w.meta)
	}
	a[9].Value, a[10].Value, a[11].Value = r.ContentType, r.Hash[:], r.Body
	if r.Body == nil {
		a[11].Value = []byte{}
	}
}

// errLocked is a checkpoint that had to stop for a reader or another process.
var errLocked = errors.New("sqlstore: checkpoint: the database is locked")

func (w *sqliteWriter) Judge(err error) committer.Verdict {
	if errors.Is(err, errLocked) {
		return committer.Again
	}
	if errors.Is(err, errUnsynced) {
		return committer.Fatal
	}
	switch code, extended := sqliteCode(err); {
	case code == sqlite3.SQLITE_BUSY, code == sqlite3.SQLITE_LOCKED:
		return committer.Again
	case code == sqlite3.SQLITE_FULL, extended == sqlite3.SQLITE_IOERR_WRITE:
		// The disk, the quota or the file's limit is full: the commit mark, which is the last thing written, was not
		// written whole. A sync that fails, for want of room or not, is another error.
		return committer.Again
	case code == sqlite3.SQLITE_CONSTRAINT && extended != sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY && extended != sqlite3.SQLITE_CONSTRAINT_ROWID:
		return committer.Poisoned // with those two, somebody else has written: recover learns the next seq
	case code == sqlite3.SQLITE_TOOBIG, code == sqlite3.SQLITE_MISMATCH, code == sqlite3.SQLITE_RANGE:
		return committer.Poisoned
	}
	w.broken = true
	return committer.Doubtful
}

// recover is SQLite's way back after an input/output error, above all a failed fdatasync. The kernel may have dropped the
// pages it could not write and will not say so again, so the WAL is not trusted: a TRUNCATE checkpoint copies every commit
// that was acknowledged into the database file, syncs that, and empties the WAL with whatever the failed commit left there.
// Then a transaction of our own must succeed, with its sync. When the sync of the database file fails, see errUnsynced.
func (w *sqliteWriter) Recover(ctx context.Context) error {
	w.broken = true
	if w.s != nil {
		w.s.exec(w.s.back, nil) // if a transaction is open; an error says that there is none
	} else if err := w.connect(ctx); err != nil {
		return err
	}
	w.broken = true
	var busy, frames, done int64
	err := w.s.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &done)
	if unsynced(err) {
		return fmt.Errorf("%w: %w", errUnsynced, err)
	}
	if err != nil {
		return fmt.Errorf("sqlstore: checkpoint: %w", err)
	}
	if busy != 0 || frames != done {
		return errLocked
	}
	if _, err := w.s.conn.ExecContext(ctx, "UPDATE writer SET value = value + 1 WHERE name = 'recoveries'"); err != nil {
		return fmt.Errorf("sqlstore: the write after the checkpoint: %w", err)
	}
	// A new connection, so that nothing of the failed one's memory is used.
	return w.connect(ctx)
}

func (w *sqliteWriter) Probe() error {
	if w.broken || w.s == nil {
		return errors.New("sqlstore: the log was not verified after a failure")
	}
	_, err := w.s.conn.ExecContext(context.Background(), "UPDATE writer SET value = value WHERE name = 'recoveries'")
	return err
}

func (w *sqliteWriter) Find(base int64, list []id.ID) ([]committer.Place, error) {
	if w.s == nil {
		return nil, errors.New("sqlstore: not connected")
	}
	return findPlaces(context.Background(), w.s.conn, base, list)
}

// querier is *sql.DB, *sql.Conn or *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// findPlaces reads everything above base that is not void: that is little, for base is the head before the last commit.
func findPlaces(ctx context.Context, q querier, base int64, list []id.ID) ([]committer.Place, error) {
	wanted := make(map[id.ID]bool, len(list))
	for _, d := range list {
		wanted[d] = true
	}
	rows, err := q.QueryContext(ctx,
		`SELECT seq, id FROM log WHERE seq > $1 AND seq NOT IN (SELECT seq FROM voided) ORDER BY seq`, base)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: looking for records: %w", err)
	}
	defer rows.Close()
	var found []committer.Place
	for rows.Next() {
		var p committer.Place
		var b []byte
		if err := rows.Scan(&p.Seq, &b); err != nil {
			return nil, fmt.Errorf("sqlstore: looking for records: %w", err)
		}
		copy(p.ID[:], b)
		if wanted[p.ID] {
			found = append(found, p)
		}
	}
	return found, rows.Err()
}

func (w *sqliteWriter) Limit() time.Duration { return sqliteLimit }
func (w *sqliteWriter) Lost() <-chan error   { return w.points.failed }
