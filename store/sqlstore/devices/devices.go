// Package devices is the SQL of what the server keeps of devices: where they are registered, and how far each is in the log.
// Package sqlstore gives it the database.
package devices

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// DB is the database as sqlstore has it.
type DB struct {
	Read *sql.DB
	// Change runs a function in a transaction; what it returns without a kind becomes Unavailable.
	Change func(ctx context.Context, doing string, fn func(*sql.Tx) error) error
	// Values is "($1,$2),($3,$4)": rows of columns placeholders.
	Values func(rows, columns int) string
	// Scrub makes every text fit for the database.
	Scrub func(args []any)
}

// Store implements store.Bindings and store.Cursors.
type Store struct{ DB }

var (
	_ store.Bindings = Store{}
	_ store.Cursors  = Store{}
)

// Row is *sql.Row or *sql.Rows.
type Row interface{ Scan(dest ...any) error }

// insert runs "INSERT INTO … VALUES" with many rows in each statement. Args has a multiple of columns values.
func (s Store) insert(ctx context.Context, tx *sql.Tx, into string, columns int, args []any, tail string) error {
	const most = 200 // rows; more are no faster
	for part := range slices.Chunk(args, most*columns) {
		if _, err := tx.ExecContext(ctx, into+" VALUES "+s.Values(len(part)/columns, columns)+tail, part...); err != nil {
			return err
		}
	}
	return nil
}

// micros is a time in the database: 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// number is a flag in the database.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// failed gives an error of the database its kind: the caller can try again later.
func failed(err error, doing string) error {
	if err == nil {
		return nil
	}
	return errs.Wrap(errs.Unavailable, err, "devices: "+doing)
}

// collect reads all rows.
func collect[T any](rows *sql.Rows, err error, doing string, scan func(Row) (T, error)) ([]T, error) {
	if err != nil {
		return nil, failed(err, doing)
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, failed(err, doing)
		}
		list = append(list, v)
	}
	return list, failed(rows.Err(), doing)
}
