package accounts

import (
	"context"
	"database/sql"

	"github.com/parley-im/parley/store/sqlstore/table"
)

// Setting is a small value under a name, as backups have it.
type Setting struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// Settings is their table.
var Settings = table.Table[Setting]{
	Shape: table.Shape{Name: "settings", Columns: "name, value", Key: "name"},
	Args:  func(v *Setting) []any { return []any{v.Name, table.Filled(v.Value)} },
	Scan: func(r table.Row) (v Setting, err error) {
		err = r.Scan(&v.Name, &v.Value)
		return v, err
	},
}

// Setting is store.Settings.Setting.
func (s Store) Setting(ctx context.Context, name string) ([]byte, error) {
	v, err := Settings.One(ctx, s.Read, "accounts: reading a setting", "accounts: setting "+name, `WHERE name = $1`, name)
	if err != nil {
		return nil, err
	}
	return v.Value, nil
}

// SetSetting is store.Settings.SetSetting.
func (s Store) SetSetting(ctx context.Context, name string, value []byte) error {
	return s.Change(ctx, "writing a setting", func(tx *sql.Tx) error {
		if value == nil {
			_, err := tx.ExecContext(ctx, `DELETE FROM settings WHERE name = $1`, name)
			return err
		}
		return s.Insert(ctx, tx, Settings.Into(), Settings.Count(), []any{name, value}, Settings.Replace())
	})
}
