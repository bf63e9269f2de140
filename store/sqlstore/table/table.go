// Package table is what the packages that keep tables beside the log have in common: the database, and how rows are written
// and read. Package sqlstore gives them the database, and knows which of the two it is.
package table

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/committer"
)

// DB is the database as sqlstore has it.
type DB struct {
	Read     *sql.DB
	Snapshot sql.IsolationLevel // in which several queries see one moment
	// Change runs a function in a transaction; what it returns without a kind becomes Unavailable.
	Change func(ctx context.Context, doing string, fn func(*sql.Tx) error) error
	// Values is "($1,$2),($3,$4)": rows of columns placeholders.
	Values func(rows, columns int) string
	// Duplicate says that a row with this key exists.
	Duplicate func(error) bool
}

// Most is how many rows, or keys, are in a statement. Both databases allow 32,000 parameters and are no faster beyond this.
const Most = 200

// Insert runs "INSERT INTO … VALUES" with many rows in each statement. Args has a multiple of columns values.
func (db *DB) Insert(ctx context.Context, tx *sql.Tx, into string, columns int, args []any, tail string) error {
	for part := range slices.Chunk(args, Most*columns) {
		if _, err := tx.ExecContext(ctx, `INSERT INTO `+into+` VALUES `+db.Values(len(part)/columns, columns)+tail, part...); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes the rows that have one of these in a column.
func (db *DB) Delete(ctx context.Context, tx *sql.Tx, from, column string, keys []string) error {
	for part := range slices.Chunk(keys, Most) {
		args := make([]any, len(part))
		for i := range part {
			args[i] = part[i]
		}
		Scrub(args)
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+from+` WHERE `+column+` IN `+db.Values(1, len(part)), args...); err != nil {
			return err
		}
	}
	return nil
}

// Querier is *sql.DB, *sql.Conn or *sql.Tx.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Row is *sql.Row or *sql.Rows.
type Row interface{ Scan(dest ...any) error }

// Shape is a table as it is written and read.
type Shape struct {
	Name    string
	Columns string // "a, b": in the order in which values are
	Key     string // those of Columns that no two rows share, in the order of backups
}

// Count is how many columns there are.
func (s *Shape) Count() int { return strings.Count(s.Columns, ",") + 1 }

// Into is the table with its columns.
func (s *Shape) Into() string { return s.Name + ` (` + s.Columns + `)` }

// Select selects all columns.
func (s *Shape) Select() string { return `SELECT ` + s.Columns + ` FROM ` + s.Name + ` ` }

// Replace is the end of an INSERT that writes over the row with the same key.
func (s *Shape) Replace() string {
	var set []string
	key := strings.Split(s.Key, ", ")
	for c := range strings.SplitSeq(s.Columns, ", ") {
		if !slices.Contains(key, c) {
			set = append(set, c+" = excluded."+c)
		}
	}
	return ` ON CONFLICT (` + s.Key + `) DO UPDATE SET ` + strings.Join(set, ", ")
}

// Table is a table of things.
type Table[T any] struct {
	Shape
	Args func(*T) []any // the values of a row; none for what is in no row of this table, see Of
	Scan func(Row) (T, error)
}

// List reads rows; rest is what comes after the name of the table, doing what is told when it fails.
func (t *Table[T]) List(ctx context.Context, q Querier, doing, rest string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, t.Select()+rest, args...)
	return Collect(rows, err, doing, t.Scan)
}

// One reads one row, or returns ErrNotFound, for what.
func (t *Table[T]) One(ctx context.Context, q Querier, doing, what, rest string, args ...any) (*T, error) {
	v, err := t.Scan(q.QueryRowContext(ctx, t.Select()+rest, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%s: %w", what, store.ErrNotFound)
	}
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, doing)
	}
	return &v, nil
}

// Put writes a row over the one that has its key.
func (t *Table[T]) Put(ctx context.Context, tx *sql.Tx, db *DB, v *T) error {
	return db.Insert(ctx, tx, t.Into(), t.Count(), t.scrubbed(v), t.Replace())
}

// Add writes a new row.
func (t *Table[T]) Add(ctx context.Context, tx *sql.Tx, db *DB, v *T) error {
	return db.Insert(ctx, tx, t.Into(), t.Count(), t.scrubbed(v), "")
}

func (t *Table[T]) scrubbed(v *T) []any {
	args := t.Args(v)
	Scrub(args)
	return args
}

// Latest are the values of rows of which one statement may write all, because no two have the same key: later takes the place of
// a former one with its key, where there is one.
func Latest[T any, K comparable](t *Table[T], rows []T, key func(*T) K, later func(it, former *T) bool) []any {
	last := make(map[K]int, len(rows))
	for i := range rows {
		if j, ok := last[key(&rows[i])]; !ok || later(&rows[i], &rows[j]) {
			last[key(&rows[i])] = i
		}
	}
	args := make([]any, 0, len(last)*t.Count())
	for i := range rows {
		if last[key(&rows[i])] == i {
			args = append(args, t.scrubbed(&rows[i])...)
		}
	}
	return args
}

// Of is the table of things that are a field of something larger, of which all others are empty in a row of this table.
func Of[L, T any](t *Table[T], field func(*L) **T) Table[L] {
	return Table[L]{Shape: t.Shape,
		Args: func(l *L) []any {
			if v := *field(l); v != nil {
				return t.Args(v)
			}
			return nil
		},
		Scan: func(r Row) (l L, err error) {
			v, err := t.Scan(r)
			*field(&l) = &v
			return l, err
		}}
}

// Collect reads all rows.
func Collect[T any](rows *sql.Rows, err error, doing string, scan func(Row) (T, error)) (list []T, _ error) {
	err = Each(rows, err, doing, scan, func(v T) error {
		list = append(list, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Each hands the rows on one by one, until fn returns an error.
func Each[T any](rows *sql.Rows, err error, doing string, scan func(Row) (T, error), fn func(T) error) error {
	if err != nil {
		return errs.Wrap(errs.Unavailable, err, doing)
	}
	defer rows.Close()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return errs.Wrap(errs.Unavailable, err, doing)
		}
		if err := fn(v); err != nil {
			return err
		}
	}
	return errs.Wrap(errs.Unavailable, rows.Err(), doing)
}

// Limit refuses a limit that the interfaces do not promise.
func Limit(who string, limit int) error {
	if limit < 1 || limit > 1000 {
		return errs.New(errs.Invalid, "%s: limit %d is not between 1 and 1000", who, limit)
	}
	return nil
}

// Text reads a row of one text.
func Text(r Row) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

// There returns ErrNotFound, for what, when a query finds nothing.
func There(ctx context.Context, q Querier, what, query string, args ...any) error {
	var one int
	err := q.QueryRowContext(ctx, query, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s: %w", what, store.ErrNotFound)
	}
	return err
}

// Account returns ErrNotFound, told by whom, when there is no account of this name.
func Account(ctx context.Context, q Querier, who, aor string) error {
	args := []any{aor}
	Scrub(args)
	return There(ctx, q, who+": user "+aor, `SELECT 1 FROM users WHERE aor = $1`, args...)
}

// Changed returns ErrNotFound, for what, when a statement has changed no row.
func Changed(r sql.Result, err error, what string) error {
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return fmt.Errorf("%s: %w", what, store.ErrNotFound)
}

// Clean says that s can be a text in both databases.
func Clean(s string) bool { return committer.Clean(s) }

// Scrub makes every text fit for both databases.
func Scrub(args []any) {
	for i := range args {
		if s, ok := args[i].(string); ok && !Clean(s) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
}

// Micros is a time in the database: 0 for none.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// FromMicros is the way back.
func FromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// Number is a flag in the database.
func Number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Filled is b, or no bytes: for a column that must have a value.
func Filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
