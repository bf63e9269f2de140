package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/parley-im/parley/store"
)

// scrub makes every text fit for both databases.
func scrub(args []any) {
	for i := range args {
		if s, ok := args[i].(string); ok && !clean(s) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
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
