// Package sessions is the SQL of who is signed in over HTTP, what people have set, and where their notifications go. Package
// sqlstore gives it the database.
package sessions

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Store implements store.Sessions, store.PersonSettings and store.PushSubscriptions.
type Store struct{ *table.DB }

var (
	_ store.Sessions          = Store{}
	_ store.PersonSettings    = Store{}
	_ store.PushSubscriptions = Store{}
)

// sessions is their table.
var sessions = table.Table[store.Session]{
	Shape: table.Shape{Name: "sessions", Columns: "id, aor, token, label, class, address, created, seen, expires", Key: "id"},
	Args: func(v *store.Session) []any {
		return []any{v.ID, v.AOR, v.Token[:], v.Label, v.Class, v.Address, table.Micros(v.Created), table.Micros(v.Seen), table.Micros(v.Expires)}
	},
	Scan: func(r table.Row) (s store.Session, err error) {
		var token []byte
		var created, seen, expires int64
		err = r.Scan(&s.ID, &s.AOR, &token, &s.Label, &s.Class, &s.Address, &created, &seen, &expires)
		copy(s.Token[:], token)
		s.Created, s.Seen, s.Expires = table.FromMicros(created), table.FromMicros(seen), table.FromMicros(expires)
		return s, err
	},
}

// AddSession is store.Sessions.AddSession.
func (s Store) AddSession(ctx context.Context, v store.Session, as *store.User, most int) (ended []string, err error) {
	err = s.Change(ctx, "adding a session", func(tx *sql.Tx) error {
		ended = nil
		if err := lock(ctx, tx, v.AOR); err != nil {
			return err
		}
		var password string
		var ha1 []byte
		var disabled int64
		err := tx.QueryRowContext(ctx, `SELECT password, ha1_md5, disabled FROM users WHERE aor = $1`, v.AOR).Scan(&password, &ha1, &disabled)
		if errors.Is(err, sql.ErrNoRows) || err == nil && (disabled != 0 || password != as.Password || !bytes.Equal(ha1, as.HA1MD5)) {
			return fmt.Errorf("sessions: user %s as it was: %w", v.AOR, store.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if err := sessions.Add(ctx, tx, s.DB, &v); err != nil {
			return err
		}
		ended, err = beyond(ctx, tx, v, most)
		if err != nil {
			return err
		}
		for _, id := range ended {
			if err := remove(ctx, tx, v.AOR, id); err != nil {
				return err
			}
		}
		return nil
	})
	return ended, err
}

// beyond are the sessions of an account, beside a new one, that are too many: those that were used longest ago.
func beyond(ctx context.Context, tx *sql.Tx, v store.Session, most int) (ids []string, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id FROM sessions WHERE aor = $1 AND id <> $2 ORDER BY seen DESC, id`, v.AOR, v.ID)
	ids, err = table.Collect(rows, err, "sessions: reading sessions", table.Text)
	return ids[min(len(ids), max(most-1, 0)):], err
}

func remove(ctx context.Context, tx *sql.Tx, aor, id string) error {
	r, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE aor = $1 AND id = $2`, aor, id)
	if err := table.Changed(r, err, "sessions: "+id); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM push_subscriptions WHERE session = $1`, id)
	return err
}

// SessionByToken is store.Sessions.SessionByToken.
func (s Store) SessionByToken(ctx context.Context, token [32]byte) (*store.Session, error) {
	return sessions.One(ctx, s.Read, "sessions: reading a session", "sessions", `WHERE token = $1 AND expires > $2`, token[:], time.Now().UnixMicro())
}

// SessionsOf is store.Sessions.SessionsOf.
func (s Store) SessionsOf(ctx context.Context, aor string) ([]store.Session, error) {
	return sessions.List(ctx, s.Read, "sessions: reading sessions", `WHERE aor = $1 AND expires > $2 ORDER BY created, id`, aor, time.Now().UnixMicro())
}

// TouchSessions is store.Sessions.TouchSessions.
func (s Store) TouchSessions(ctx context.Context, used map[string]store.SessionUse) error {
	return s.Change(ctx, "noting the use of sessions", func(tx *sql.Tx) error {
		for id, u := range used {
			if _, err := tx.ExecContext(ctx, `UPDATE sessions SET seen = $2, expires = $3, address = $4 WHERE id = $1`,
				id, u.Seen.UnixMicro(), u.Expires.UnixMicro(), u.Address); err != nil {
				return err
			}
		}
		return nil
	})
}

// RemoveSession is store.Sessions.RemoveSession.
func (s Store) RemoveSession(ctx context.Context, aor, id string) error {
	return s.Change(ctx, "ending a session", func(tx *sql.Tx) error { return remove(ctx, tx, aor, id) })
}

// SweepSessions is store.Sessions.SweepSessions.
func (s Store) SweepSessions(ctx context.Context, now time.Time) (over []store.Session, err error) {
	err = s.Change(ctx, "removing expired sessions", func(tx *sql.Tx) error {
		over, err = sessions.List(ctx, tx, "sessions: reading sessions", `WHERE expires <= $1 ORDER BY expires, id`, now.UnixMicro())
		if err != nil {
			return err
		}
		for i := range over {
			if err := remove(ctx, tx, over[i].AOR, over[i].ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err // nothing was removed
	}
	return over, nil
}

// lock keeps a session from being added while its account is changed: each waits for the other.
func lock(ctx context.Context, tx *sql.Tx, aor string) error {
	_, err := tx.ExecContext(ctx, `UPDATE users SET disabled = disabled WHERE aor = $1`, aor)
	return err
}

// End ends all sessions of an account, in a transaction that closes it or changes its password.
func End(ctx context.Context, tx *sql.Tx, aor string) error {
	for _, table := range []string{"push_subscriptions", "sessions"} {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE aor = $1`, aor); err != nil {
			return err
		}
	}
	return nil
}

// Changed ends all sessions of an account in the transaction that is about to write u, if they may not go on after that.
func Changed(ctx context.Context, tx *sql.Tx, u *store.User) error {
	if err := lock(ctx, tx, u.AOR); err != nil {
		return err
	}
	if !u.Disabled {
		var password string
		var ha1 []byte
		err := tx.QueryRowContext(ctx, `SELECT password, ha1_md5 FROM users WHERE aor = $1`, u.AOR).Scan(&password, &ha1)
		if errors.Is(err, sql.ErrNoRows) || err == nil && password == u.Password && bytes.Equal(ha1, u.HA1MD5) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return End(ctx, tx, u.AOR)
}

// Forget removes everything that belongs to an account.
func Forget(ctx context.Context, tx *sql.Tx, aor string) error {
	if err := End(ctx, tx, aor); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM person_settings WHERE aor = $1`, aor)
	return err
}
