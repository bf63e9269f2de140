package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// How the log is written on SQLite: one connection that holds prepared statements for 64, 16, 4 and 1 rows, WAL with
// synchronous=FULL, so that each COMMIT is one fdatasync of the WAL. Seqs are counted here; nobody else writes.

var sqliteChunks = [...]int{64, 16, 4, 1}

// sqliteLimit is how long the log may stay unverified after an input/output error before the process ends.
const sqliteLimit = 10 * time.Second

// sqliteWriter is the writer on SQLite. It talks to the driver itself: on this path database/sql would only convert the
// arguments once more.
type sqliteWriter struct {
	db   *sql.DB   // of one connection
	conn *sql.Conn // that one, held
	raw  driver.Conn

	begin, end, back driver.Stmt
	insert           [len(sqliteChunks)]driver.Stmt
	void             driver.Stmt
	args             []driver.NamedValue
	meta             []byte

	next   int64 // the seq of the next record
	points *checkpointer
	broken bool // the statements must be prepared again
}

// openSQLiteWriter takes the only connection of db.
func openSQLiteWriter(ctx context.Context, db *sql.DB, points *checkpointer) (*sqliteWriter, error) {
	w := &sqliteWriter{db: db, points: points}
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *sqliteWriter) connect(ctx context.Context) error {
	w.disconnect()
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("sqlstore: opening the log: %w", err)
	}
	w.conn = conn
	if err := conn.Raw(func(c any) error { w.raw = c.(driver.Conn); return nil }); err != nil {
		return fmt.Errorf("sqlstore: opening the log: %w", err)
	}
	for _, p := range []struct {
		s   *driver.Stmt
		sql string
	}{
		{&w.begin, "BEGIN IMMEDIATE"}, {&w.end, "COMMIT"}, {&w.back, "ROLLBACK"},
		{&w.insert[0], insertRows(sqliteChunks[0])}, {&w.insert[1], insertRows(sqliteChunks[1])},
		{&w.insert[2], insertRows(sqliteChunks[2])}, {&w.insert[3], insertRows(sqliteChunks[3])},
		{&w.void, "INSERT INTO voided (seq, void) VALUES (?, ?)"},
	} {
		if *p.s, err = w.raw.Prepare(p.sql); err != nil {
			return fmt.Errorf("sqlstore: opening the log: %w", err)
		}
	}
	w.args = make([]driver.NamedValue, sqliteChunks[0]*logColumnCount)
	for i := range w.args {
		w.args[i].Ordinal = i + 1
	}
	var last sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT max(seq) FROM log").Scan(&last); err != nil {
		return fmt.Errorf("sqlstore: opening the log: %w", err)
	}
	w.next = last.Int64 + 1
	w.broken = false
	return nil
}

func insertRows(n int) string {
	row := "(" + strings.Repeat("?,", logColumnCount-1) + "?)"
	return "INSERT INTO log (" + logColumns + ") VALUES " + strings.Repeat(row+",", n-1) + row
}

func (w *sqliteWriter) disconnect() {
	if w.conn == nil {
		return
	}
	for _, s := range append(w.insert[:], w.begin, w.end, w.back, w.void) {
		if s != nil {
			s.Close()
		}
	}
	w.conn.Raw(func(any) error { return driver.ErrBadConn }) // close it, do not give it back to the pool
	w.conn.Close()
	w.conn, w.raw = nil, nil
}

func (w *sqliteWriter) close() error {
	w.disconnect()
	return w.db.Close()
}

// exec runs a prepared statement without a deadline: the watchdog does not need the call to return, and an interrupted
// COMMIT would only add to what we do not know.
func (w *sqliteWriter) exec(s driver.Stmt, args []driver.NamedValue) error {
	_, err := s.(driver.StmtExecContext).ExecContext(context.Background(), args)
	return err
}

func (w *sqliteWriter) commit(records []*store.Record, voids []int64, gate func() bool) (int64, error) {
	if w.broken {
		return 0, errors.New("sqlstore: the log was not verified after a failure")
	}
	if err := w.exec(w.begin, nil); err != nil {
		return 0, fmt.Errorf("sqlstore: begin: %w", err)
	}
	err := w.write(records, voids)
	if err == nil && !gate() {
		err = errDropped
	}
	if err == nil {
		if err = w.exec(w.end, nil); err == nil {
			w.next += int64(len(records))
			w.points.finish(w.conn)
			return w.next - 1, nil
		}
		err = fmt.Errorf("sqlstore: commit: %w", err)
	}
	// SQLite has rolled back by itself after most errors, and then this one says only so.
	if rerr := w.exec(w.back, nil); rerr != nil && errors.Is(err, errDropped) {
		return 0, fmt.Errorf("sqlstore: rollback: %w", rerr)
	}
	return 0, err
}

func (w *sqliteWriter) write(records []*store.Record, voids []int64) error {
	bytes, seq := 0, w.next
	for rest := records; len(rest) > 0; {
		chunk := 0
		for sqliteChunks[chunk] > len(rest) {
			chunk++
		}
		n := sqliteChunks[chunk]
		args := w.args[:0]
		for _, r := range rest[:n] {
			r.Seq = seq
			seq++
			bytes += size(r)
			args = w.bind(args, r)
		}
		if err := w.exec(w.insert[chunk], args); err != nil {
			return fmt.Errorf("sqlstore: insert: %w", err)
		}
		rest = rest[n:]
	}
	for i, v := range voids {
		args := w.args[:2]
		args[0].Value, args[1].Value = v, records[i].Seq
		if err := w.exec(w.void, args); err != nil {
			return fmt.Errorf("sqlstore: void: %w", err)
		}
	}
	w.points.written(bytes)
	return nil
}

// bind puts the columns of r after args, which lies in w.args.
func (w *sqliteWriter) bind(args []driver.NamedValue, r *store.Record) []driver.NamedValue {
	n := len(args)
	args = args[:n+logColumnCount]
	a := args[n:]
	a[0].Value, a[1].Value, a[2].Value = r.Seq, r.ID[:], r.At.UnixMicro()
	a[3].Value, a[4].Value, a[5].Value, a[6].Value = r.Kind, r.From, r.To, r.Device
	a[7].Value, a[8].Value = nil, nil
	if !r.Ref.IsZero() {
		a[7].Value = r.Ref[:]
	}
	if len(r.Meta) > 0 {
		w.meta = appendMeta(w.meta[:0], r.Meta)
		a[8].Value = string(w.meta)
	}
	a[9].Value, a[10].Value, a[11].Value = r.ContentType, r.Hash[:], r.Body
	if r.Body == nil {
		a[11].Value = []byte{}
	}
	return args
}

func (w *sqliteWriter) judge(err error) verdict {
	switch code, _ := sqliteCode(err); code {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return again
	case sqlite3.SQLITE_FULL:
		// The disk or the file's limit is full: SQLite wrote no commit mark. (A sync that finds the disk full is an
		// IOERR, not this.)
		return again
	case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return poisoned
	default:
		w.broken = true
		return doubtful
	}
}

// recover is SQLite's way back after an input/output error, above all a failed fdatasync. The kernel may have dropped the
// pages it could not write and will not say so again, so the WAL is not trusted: a TRUNCATE checkpoint copies every commit
// that was acknowledged into the database file, syncs that, and empties the WAL with whatever the failed commit left there.
// Then a transaction of our own must succeed, with its sync.
func (w *sqliteWriter) recover(ctx context.Context) error {
	w.broken = true
	if w.conn != nil {
		w.exec(w.back, nil) // if a transaction is open; an error says that there is none
	} else if err := w.connect(ctx); err != nil {
		return err
	}
	w.broken = true
	var busy, frames, done int64
	err := w.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &done)
	if err != nil {
		return fmt.Errorf("sqlstore: checkpoint: %w", err)
	}
	if busy != 0 || frames != done {
		return fmt.Errorf("sqlstore: checkpoint: the database is locked")
	}
	if _, err := w.conn.ExecContext(ctx, "UPDATE writer SET value = value + 1 WHERE name = 'recoveries'"); err != nil {
		return fmt.Errorf("sqlstore: the write after the checkpoint: %w", err)
	}
	// A new connection, so that nothing of the failed one's memory is used.
	return w.connect(ctx)
}

func (w *sqliteWriter) find(base int64, list []id.ID) ([]place, error) {
	if w.conn == nil {
		return nil, errors.New("sqlstore: not connected")
	}
	return findPlaces(context.Background(), w.conn, base, list)
}

// querier is *sql.DB, *sql.Conn or *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// findPlaces reads everything above base that is not void: that is little, for base is the head before the last commit.
func findPlaces(ctx context.Context, q querier, base int64, list []id.ID) ([]place, error) {
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
	var found []place
	for rows.Next() {
		var p place
		var b []byte
		if err := rows.Scan(&p.seq, &b); err != nil {
			return nil, fmt.Errorf("sqlstore: looking for records: %w", err)
		}
		copy(p.id[:], b)
		if wanted[p.id] {
			found = append(found, p)
		}
	}
	return found, rows.Err()
}

func (w *sqliteWriter) limit() time.Duration     { return sqliteLimit }
func (w *sqliteWriter) suspect() <-chan struct{} { return w.points.failed }
