package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/parley-im/parley/store"
)

const (
	cursorColumns     = "aor, device, seq, created, seen, lapsed"
	cursorColumnCount = 6
	cursorReplace     = ` ON CONFLICT (aor, device) DO UPDATE SET
		seq = CASE WHEN excluded.seq > cursors.seq THEN excluded.seq ELSE cursors.seq END,
		created = excluded.created, seen = excluded.seen, lapsed = excluded.lapsed`
)

// scrub makes every text fit for both databases.
func scrub(args []any) {
	for i := range args {
		if s, ok := args[i].(string); ok && !clean(s) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
}

func scanCursor(row scanner) (c store.Cursor, err error) {
	var created, seen, lapsed int64
	err = row.Scan(&c.AOR, &c.Device, &c.Seq, &created, &seen, &lapsed)
	c.Created, c.Seen, c.Lapsed = fromMicros(created), fromMicros(seen), lapsed != 0
	return c, err
}

func cursorArgs(c *store.Cursor) []any {
	return []any{c.AOR, c.Device, c.Seq, micros(c.Created), micros(c.Seen), number(c.Lapsed)}
}

// LoadCursors is store.Cursors.LoadCursors.
func (s *state) LoadCursors(ctx context.Context, aor string) ([]store.Cursor, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+cursorColumns+` FROM cursors WHERE aor = $1 ORDER BY device`, aor)
	return collect(rows, err, "reading cursors", scanCursor)
}

// AllCursors is store.Cursors.AllCursors.
func (s *state) AllCursors(ctx context.Context, fn func(store.Cursor) error) error {
	rows, err := s.read.QueryContext(ctx, `SELECT `+cursorColumns+` FROM cursors ORDER BY aor, device`)
	if err != nil {
		return unavailable(err, "sqlstore: reading cursors")
	}
	defer rows.Close()
	for rows.Next() {
		c, err := scanCursor(rows)
		if err != nil {
			return unavailable(err, "sqlstore: reading cursors")
		}
		if err := fn(c); errors.Is(err, store.ErrStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return unavailable(rows.Err(), "sqlstore: reading cursors")
}

// SaveCursors is store.Cursors.SaveCursors.
func (s *state) SaveCursors(ctx context.Context, put []store.Cursor, del []store.CursorKey) error {
	last := make(map[store.CursorKey]int, len(put)) // one statement must not name a key twice
	for i := range put {
		k := store.CursorKey{AOR: put[i].AOR, Device: put[i].Device}
		if j, ok := last[k]; !ok || put[i].Seq >= put[j].Seq {
			last[k] = i
		}
	}
	args := make([]any, 0, len(put)*cursorColumnCount)
	for i := range put {
		c := &put[i]
		if last[store.CursorKey{AOR: c.AOR, Device: c.Device}] == i {
			args = append(args, cursorArgs(c)...)
		}
	}
	scrub(args)
	return s.change(ctx, "saving cursors", func(tx *sql.Tx) error {
		for _, k := range del {
			if _, err := tx.ExecContext(ctx, `DELETE FROM cursors WHERE aor = $1 AND device = $2`, k.AOR, k.Device); err != nil {
				return err
			}
		}
		return insertMany(ctx, tx, s.d, `INSERT INTO cursors (`+cursorColumns+`)`, cursorColumnCount, args, cursorReplace)
	})
}

// Setting is store.Settings.Setting.
func (s *state) Setting(ctx context.Context, name string) (value []byte, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("sqlstore: setting %s: %w", name, store.ErrNotFound)
	}
	return value, unavailable(err, "sqlstore: reading a setting")
}

// SetSetting is store.Settings.SetSetting.
func (s *state) SetSetting(ctx context.Context, name string, value []byte) error {
	return s.change(ctx, "writing a setting", func(tx *sql.Tx) error {
		if value == nil {
			_, err := tx.ExecContext(ctx, `DELETE FROM settings WHERE name = $1`, name)
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
			name, value)
		return err
	})
}
