package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
)

// The numbers of rows for which statements are kept prepared, descending to 1. For a virtual table it is one row alone: with
// more, SQLite opens a savepoint around the statement, and at each savepoint FTS5 writes out what it has collected.
var (
	manyRows = []int{64, 16, 4, 1}
	oneRow   = []int{1}
)

// session is one SQLite connection for much writing. It talks to the driver itself: on these paths database/sql would
// only convert the arguments once more.
type session struct {
	conn             *sql.Conn
	raw              driver.Conn
	begin, end, back driver.Stmt
	stmts            []driver.Stmt
}

// newSession takes a connection of the pool.
func newSession(ctx context.Context, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn}
	if err = conn.Raw(func(c any) error { s.raw = c.(driver.Conn); return nil }); err == nil {
		if s.begin, err = s.prepare("BEGIN IMMEDIATE"); err == nil {
			if s.end, err = s.prepare("COMMIT"); err == nil {
				s.back, err = s.prepare("ROLLBACK")
			}
		}
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) prepare(text string) (driver.Stmt, error) {
	stmt, err := s.raw.Prepare(text)
	if err == nil {
		s.stmts = append(s.stmts, stmt)
	}
	return stmt, err
}

// close closes the connection itself; it does not go back to the pool.
func (s *session) close() {
	for _, stmt := range s.stmts {
		stmt.Close()
	}
	s.conn.Raw(func(any) error { return driver.ErrBadConn })
	s.conn.Close()
}

// exec runs a prepared statement without a deadline.
func (s *session) exec(stmt driver.Stmt, args []driver.NamedValue) error {
	_, err := stmt.(driver.StmtExecContext).ExecContext(context.Background(), args)
	return err
}

// bulk inserts many rows with few statements.
type bulk struct {
	s       *session
	columns int
	sizes   []int
	stmts   []driver.Stmt
	args    []driver.NamedValue
}

// bulk prepares "INSERT OR FAIL INTO into VALUES …" with a tail. FAIL, because whoever gets an error rolls the transaction back:
// SQLite need not be able to undo the one statement, which it would keep a journal of its own for.
func (s *session) bulk(into string, columns int, sizes []int, tail string) (*bulk, error) {
	b := &bulk{s: s, columns: columns, sizes: sizes, args: make([]driver.NamedValue, sizes[0]*columns)}
	for i := range b.args {
		b.args[i].Ordinal = i + 1
	}
	row := ",(" + strings.Repeat(",?", columns)[1:] + ")"
	for _, n := range sizes {
		stmt, err := s.prepare("INSERT OR FAIL INTO " + into + " VALUES " + strings.Repeat(row, n)[1:] + tail)
		if err != nil {
			return nil, err
		}
		b.stmts = append(b.stmts, stmt)
	}
	return b, nil
}

// insert writes n rows; fill sets the values of row i.
func (b *bulk) insert(n int, fill func(i int, row []driver.NamedValue)) error {
	for i := 0; i < n; {
		k := 0
		for b.sizes[k] > n-i {
			k++
		}
		rows := b.sizes[k]
		for j := range rows {
			fill(i+j, b.args[j*b.columns:(j+1)*b.columns])
		}
		if err := b.s.exec(b.stmts[k], b.args[:rows*b.columns]); err != nil {
			return fmt.Errorf("sqlstore: insert: %w", err)
		}
		i += rows
	}
	return nil
}
