package accounts

import (
	"context"
	"database/sql"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Passwords is the table of those of devices.
var Passwords = table.Table[store.DevicePassword]{
	Shape: table.Shape{Name: "device_passwords", Columns: "id, aor, label, ha1_md5, ha1_sha256, created, last_used, revoked", Key: "id"},
	Args: func(p *store.DevicePassword) []any {
		return []any{p.ID, p.AOR, p.Label, p.HA1MD5, p.HA1SHA256, table.Micros(p.Created), table.Micros(p.LastUsed), table.Number(p.Revoked)}
	},
	Scan: func(row table.Row) (p store.DevicePassword, err error) {
		var created, used, revoked int64
		err = row.Scan(&p.ID, &p.AOR, &p.Label, &p.HA1MD5, &p.HA1SHA256, &created, &used, &revoked)
		p.Created, p.LastUsed, p.Revoked = table.FromMicros(created), table.FromMicros(used), revoked != 0
		return p, err
	},
}

// DevicePasswords is store.Users.DevicePasswords.
func (s Store) DevicePasswords(ctx context.Context, aor string) ([]store.DevicePassword, error) {
	return Passwords.List(ctx, s.Read, "accounts: reading device passwords", `WHERE aor = $1 ORDER BY created, id`, aor)
}

// AddDevicePassword is store.Users.AddDevicePassword.
func (s Store) AddDevicePassword(ctx context.Context, p store.DevicePassword) error {
	if p.Created.IsZero() {
		p.Created = time.Now()
	}
	err := s.Change(ctx, "adding a device password", func(tx *sql.Tx) error {
		if err := table.Account(ctx, tx, "accounts", p.AOR); err != nil {
			return err
		}
		return s.Insert(ctx, tx, Passwords.Into(), Passwords.Count(), Passwords.Args(&p), "")
	})
	if s.Duplicate(err) {
		return errs.New(errs.Conflict, "accounts: there is already a device password %s", p.ID)
	}
	return err
}

// RevokeDevicePassword is store.Users.RevokeDevicePassword.
func (s Store) RevokeDevicePassword(ctx context.Context, aor, pid string) error {
	return s.Change(ctx, "revoking a device password", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE device_passwords SET revoked = 1 WHERE aor = $1 AND id = $2`, aor, pid)
		return table.Changed(r, err, "accounts: device password "+pid)
	})
}

// TouchDevicePasswords is store.Users.TouchDevicePasswords.
func (s Store) TouchDevicePasswords(ctx context.Context, used map[string]time.Time) error {
	return s.Change(ctx, "noting the use of device passwords", func(tx *sql.Tx) error {
		for pid, at := range used {
			if _, err := tx.ExecContext(ctx, `UPDATE device_passwords SET last_used = $2 WHERE id = $1 AND last_used < $2`, pid, table.Micros(at)); err != nil {
				return err
			}
		}
		return nil
	})
}
