package sessions

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/parley-im/parley/store"
)

// The table of settings as backups have it.
const (
	Settings        = "person_settings"
	SettingColumns  = "aor, name, value"
	SettingCount    = 3
	SettingsInOrder = "SELECT " + SettingColumns + " FROM " + Settings + " ORDER BY aor, name"
)

// ScanSetting reads a row of them.
func ScanSetting(r Row) (v store.PersonSetting, err error) {
	err = r.Scan(&v.AOR, &v.Name, &v.Value)
	return v, err
}

// PersonSettings is store.PersonSettings.PersonSettings.
func (s Store) PersonSettings(ctx context.Context, aor string) (map[string]string, error) {
	rows, err := s.DB.Read.QueryContext(ctx, `SELECT `+SettingColumns+` FROM `+Settings+` WHERE aor = $1`, aor)
	return byName(rows, err)
}

func byName(rows *sql.Rows, err error) (map[string]string, error) {
	list, err := all(rows, err, "reading settings", ScanSetting)
	if err != nil {
		return nil, err
	}
	m := make(map[string]string, len(list))
	for _, v := range list {
		m[v.Name] = v.Value
	}
	return m, nil
}

// SetPersonSettings is store.PersonSettings.SetPersonSettings.
func (s Store) SetPersonSettings(ctx context.Context, aor string, set map[string]string, check func(map[string]string) error) (m map[string]string, err error) {
	err = s.DB.Change(ctx, "saving settings", func(tx *sql.Tx) error {
		if err := there(ctx, tx, `SELECT 1 FROM users WHERE aor = $1`, aor); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT `+SettingColumns+` FROM `+Settings+` WHERE aor = $1`, aor)
		if m, err = byName(rows, err); err != nil {
			return err
		}
		for name, value := range set {
			args := []any{aor, name, value}
			s.DB.Scrub(args)
			name, value = args[1].(string), args[2].(string)
			if value == "" {
				delete(m, name)
				_, err = tx.ExecContext(ctx, `DELETE FROM person_settings WHERE aor = $1 AND name = $2`, aor, name)
			} else {
				m[name] = value
				_, err = tx.ExecContext(ctx, `INSERT INTO person_settings (`+SettingColumns+`) VALUES ($1, $2, $3)
					ON CONFLICT (aor, name) DO UPDATE SET value = excluded.value`, aor, name, value)
			}
			if err != nil {
				return err
			}
		}
		return check(m)
	})
	return m, err
}

// there is ErrNotFound when a query finds nothing for a key.
func there(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	var one int
	err := tx.QueryRowContext(ctx, query, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("sessions: %v: %w", args[0], store.ErrNotFound)
	}
	return err
}

const pushColumns = "endpoint, aor, session, p256dh, auth, preview, created"

func scanPush(r Row) (p store.PushSubscription, err error) {
	var preview, created int64
	err = r.Scan(&p.Endpoint, &p.AOR, &p.Session, &p.P256DH, &p.Auth, &preview, &created)
	p.Preview, p.Created = preview != 0, time.UnixMicro(created).UTC()
	return p, err
}

// AddPush is store.PushSubscriptions.AddPush.
func (s Store) AddPush(ctx context.Context, p store.PushSubscription) error {
	preview := int64(0)
	if p.Preview {
		preview = 1
	}
	args := []any{p.Endpoint, p.AOR, p.Session, p.P256DH, p.Auth, preview, p.Created.UnixMicro()}
	s.DB.Scrub(args)
	return s.DB.Change(ctx, "adding a push subscription", func(tx *sql.Tx) error {
		if err := there(ctx, tx, `SELECT 1 FROM sessions WHERE id = $1 AND aor = $2`, p.Session, p.AOR); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM push_subscriptions WHERE endpoint = $1 OR session = $2`, args[0], p.Session); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO push_subscriptions (`+pushColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`, args...)
		return err
	})
}

// RemovePush is store.PushSubscriptions.RemovePush.
func (s Store) RemovePush(ctx context.Context, aor, endpoint string) error {
	args := []any{endpoint, aor}
	s.DB.Scrub(args)
	return s.DB.Change(ctx, "removing a push subscription", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM push_subscriptions WHERE endpoint = $1 AND ($2 = '' OR aor = $2)`, args...)
		return err
	})
}

// PushOwners is store.PushSubscriptions.PushOwners.
func (s Store) PushOwners(ctx context.Context) ([]string, error) {
	rows, err := s.DB.Read.QueryContext(ctx, `SELECT DISTINCT aor FROM push_subscriptions ORDER BY aor`)
	return all(rows, err, "reading push subscriptions", func(r Row) (aor string, err error) {
		err = r.Scan(&aor)
		return aor, err
	})
}

// PushOf is store.PushSubscriptions.PushOf.
func (s Store) PushOf(ctx context.Context, aor string) ([]store.PushSubscription, error) {
	rows, err := s.DB.Read.QueryContext(ctx, `SELECT `+pushColumns+` FROM push_subscriptions WHERE aor = $1 ORDER BY created, endpoint`, aor)
	return all(rows, err, "reading push subscriptions", scanPush)
}
