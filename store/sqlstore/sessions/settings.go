package sessions

import (
	"context"
	"database/sql"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Settings is the table of what people have set.
var Settings = table.Table[store.PersonSetting]{
	Shape: table.Shape{Name: "person_settings", Columns: "aor, name, value", Key: "aor, name"},
	Args:  func(v *store.PersonSetting) []any { return []any{v.AOR, v.Name, v.Value} },
	Scan: func(r table.Row) (v store.PersonSetting, err error) {
		err = r.Scan(&v.AOR, &v.Name, &v.Value)
		return v, err
	},
}

// PersonSettings is store.PersonSettings.PersonSettings.
func (s Store) PersonSettings(ctx context.Context, aor string) (map[string]string, error) {
	return settings(ctx, s.Read, aor)
}

func settings(ctx context.Context, q table.Querier, aor string) (map[string]string, error) {
	list, err := Settings.List(ctx, q, "sessions: reading settings", `WHERE aor = $1`, aor)
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
	err = s.Change(ctx, "saving settings", func(tx *sql.Tx) error {
		if err := table.Account(ctx, tx, "sessions", aor); err != nil {
			return err
		}
		if m, err = settings(ctx, tx, aor); err != nil {
			return err
		}
		for name, value := range set {
			args := []any{aor, name, value}
			table.Scrub(args)
			name, value = args[1].(string), args[2].(string)
			if value == "" {
				delete(m, name)
				_, err = tx.ExecContext(ctx, `DELETE FROM person_settings WHERE aor = $1 AND name = $2`, aor, name)
			} else {
				m[name] = value
				err = Settings.Put(ctx, tx, s.DB, &store.PersonSetting{AOR: aor, Name: name, Value: value})
			}
			if err != nil {
				return err
			}
		}
		return check(m)
	})
	return m, err
}

// pushes is the table of subscriptions to notifications.
var pushes = table.Table[store.PushSubscription]{
	Shape: table.Shape{Name: "push_subscriptions", Columns: "endpoint, aor, session, p256dh, auth, preview, created", Key: "endpoint"},
	Args: func(p *store.PushSubscription) []any {
		return []any{p.Endpoint, p.AOR, p.Session, p.P256DH, p.Auth, table.Number(p.Preview), table.Micros(p.Created)}
	},
	Scan: func(r table.Row) (p store.PushSubscription, err error) {
		var preview, created int64
		err = r.Scan(&p.Endpoint, &p.AOR, &p.Session, &p.P256DH, &p.Auth, &preview, &created)
		p.Preview, p.Created = preview != 0, table.FromMicros(created)
		return p, err
	},
}

// AddPush is store.PushSubscriptions.AddPush.
func (s Store) AddPush(ctx context.Context, p store.PushSubscription) error {
	endpoint := []any{p.Endpoint}
	table.Scrub(endpoint)
	return s.Change(ctx, "adding a push subscription", func(tx *sql.Tx) error {
		if err := table.There(ctx, tx, "sessions: "+p.Session, `SELECT 1 FROM sessions WHERE id = $1 AND aor = $2`, p.Session, p.AOR); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM push_subscriptions WHERE endpoint = $1 OR session = $2`, endpoint[0], p.Session); err != nil {
			return err
		}
		return pushes.Add(ctx, tx, s.DB, &p)
	})
}

// RemovePush is store.PushSubscriptions.RemovePush.
func (s Store) RemovePush(ctx context.Context, aor, endpoint string) error {
	args := []any{endpoint, aor}
	table.Scrub(args)
	return s.Change(ctx, "removing a push subscription", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM push_subscriptions WHERE endpoint = $1 AND ($2 = '' OR aor = $2)`, args...)
		return err
	})
}

// PushOwners is store.PushSubscriptions.PushOwners.
func (s Store) PushOwners(ctx context.Context) ([]string, error) {
	rows, err := s.Read.QueryContext(ctx, `SELECT DISTINCT aor FROM push_subscriptions ORDER BY aor`)
	return table.Collect(rows, err, "sessions: reading push subscriptions", table.Text)
}

// PushOf is store.PushSubscriptions.PushOf.
func (s Store) PushOf(ctx context.Context, aor string) ([]store.PushSubscription, error) {
	return pushes.List(ctx, s.Read, "sessions: reading push subscriptions", `WHERE aor = $1 ORDER BY created, endpoint`, aor)
}
