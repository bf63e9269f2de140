package devices

import (
	"context"
	"database/sql"
	"errors"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Cursors is their table.
var Cursors = table.Table[store.Cursor]{
	Shape: table.Shape{Name: "cursors", Columns: "aor, device, seq, created, seen, lapsed", Key: "aor, device"},
	Args: func(c *store.Cursor) []any {
		return []any{c.AOR, c.Device, c.Seq, table.Micros(c.Created), table.Micros(c.Seen), table.Number(c.Lapsed)}
	},
	Scan: func(row table.Row) (c store.Cursor, err error) {
		var created, seen, lapsed int64
		err = row.Scan(&c.AOR, &c.Device, &c.Seq, &created, &seen, &lapsed)
		c.Created, c.Seen, c.Lapsed = table.FromMicros(created), table.FromMicros(seen), lapsed != 0
		return c, err
	},
}

// cursorReplace never moves a cursor back.
const cursorReplace = ` ON CONFLICT (aor, device) DO UPDATE SET
		seq = CASE WHEN excluded.seq > cursors.seq THEN excluded.seq ELSE cursors.seq END,
		created = excluded.created, seen = excluded.seen, lapsed = excluded.lapsed`

// LoadCursors is store.Cursors.LoadCursors.
func (s Store) LoadCursors(ctx context.Context, aor string) ([]store.Cursor, error) {
	return Cursors.List(ctx, s.Read, "devices: reading cursors", `WHERE aor = $1 ORDER BY device`, aor)
}

// AllCursors is store.Cursors.AllCursors.
func (s Store) AllCursors(ctx context.Context, fn func(store.Cursor) error) error {
	rows, err := s.Read.QueryContext(ctx, Cursors.Select()+`ORDER BY aor, device`)
	err = table.Each(rows, err, "devices: reading cursors", Cursors.Scan, fn)
	if errors.Is(err, store.ErrStop) {
		return nil
	}
	return err
}

// SaveCursors is store.Cursors.SaveCursors.
func (s Store) SaveCursors(ctx context.Context, put []store.Cursor, del []store.CursorKey) error {
	args := table.Latest(&Cursors, put, func(c *store.Cursor) store.CursorKey { return store.CursorKey{AOR: c.AOR, Device: c.Device} },
		func(it, former *store.Cursor) bool { return it.Seq >= former.Seq })
	return s.Change(ctx, "saving cursors", func(tx *sql.Tx) error {
		for _, k := range del {
			if _, err := tx.ExecContext(ctx, `DELETE FROM cursors WHERE aor = $1 AND device = $2`, k.AOR, k.Device); err != nil {
				return err
			}
		}
		return s.Insert(ctx, tx, Cursors.Into(), Cursors.Count(), args, cursorReplace)
	})
}
