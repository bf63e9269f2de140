package devices

import (
	"context"
	"database/sql"
	"errors"

	"github.com/parley-im/parley/store"
)

// The table of cursors, as CursorArgs writes it and ScanCursor reads it.
const (
	CursorColumns     = "aor, device, seq, created, seen, lapsed"
	CursorColumnCount = 6
)

const cursorReplace = ` ON CONFLICT (aor, device) DO UPDATE SET
		seq = CASE WHEN excluded.seq > cursors.seq THEN excluded.seq ELSE cursors.seq END,
		created = excluded.created, seen = excluded.seen, lapsed = excluded.lapsed`

// ScanCursor reads CursorColumns.
func ScanCursor(row Row) (c store.Cursor, err error) {
	var created, seen, lapsed int64
	err = row.Scan(&c.AOR, &c.Device, &c.Seq, &created, &seen, &lapsed)
	c.Created, c.Seen, c.Lapsed = fromMicros(created), fromMicros(seen), lapsed != 0
	return c, err
}

// CursorArgs are the values of CursorColumns.
func CursorArgs(c *store.Cursor) []any {
	return []any{c.AOR, c.Device, c.Seq, micros(c.Created), micros(c.Seen), number(c.Lapsed)}
}

// LoadCursors is store.Cursors.LoadCursors.
func (s Store) LoadCursors(ctx context.Context, aor string) ([]store.Cursor, error) {
	rows, err := s.Read.QueryContext(ctx, `SELECT `+CursorColumns+` FROM cursors WHERE aor = $1 ORDER BY device`, aor)
	return collect(rows, err, "reading cursors", ScanCursor)
}

// AllCursors is store.Cursors.AllCursors.
func (s Store) AllCursors(ctx context.Context, fn func(store.Cursor) error) error {
	rows, err := s.Read.QueryContext(ctx, `SELECT `+CursorColumns+` FROM cursors ORDER BY aor, device`)
	if err != nil {
		return failed(err, "reading cursors")
	}
	defer rows.Close()
	for rows.Next() {
		c, err := ScanCursor(rows)
		if err != nil {
			return failed(err, "reading cursors")
		}
		if err := fn(c); errors.Is(err, store.ErrStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return failed(rows.Err(), "reading cursors")
}

// SaveCursors is store.Cursors.SaveCursors.
func (s Store) SaveCursors(ctx context.Context, put []store.Cursor, del []store.CursorKey) error {
	last := make(map[store.CursorKey]int, len(put)) // one statement must not name a key twice
	for i := range put {
		k := store.CursorKey{AOR: put[i].AOR, Device: put[i].Device}
		if j, ok := last[k]; !ok || put[i].Seq >= put[j].Seq {
			last[k] = i
		}
	}
	args := make([]any, 0, len(put)*CursorColumnCount)
	for i := range put {
		c := &put[i]
		if last[store.CursorKey{AOR: c.AOR, Device: c.Device}] == i {
			args = append(args, CursorArgs(c)...)
		}
	}
	s.Scrub(args)
	return s.Change(ctx, "saving cursors", func(tx *sql.Tx) error {
		for _, k := range del {
			if _, err := tx.ExecContext(ctx, `DELETE FROM cursors WHERE aor = $1 AND device = $2`, k.AOR, k.Device); err != nil {
				return err
			}
		}
		return s.insert(ctx, tx, `INSERT INTO cursors (`+CursorColumns+`)`, CursorColumnCount, args, cursorReplace)
	})
}
