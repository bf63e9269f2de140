// Package accounts is the SQL of the accounts and of small settings. Package sqlstore gives it the database.
package accounts

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/files"
	"github.com/parley-im/parley/store/sqlstore/people"
	"github.com/parley-im/parley/store/sqlstore/sessions"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Store implements store.Users and store.Settings.
type Store struct {
	*table.DB
	Head func() int64 // of the log: where an account that is new begins
}

var (
	_ store.Users    = Store{}
	_ store.Settings = Store{}
)

func (s Store) people() people.Store { return people.Store{DB: s.DB} }

// Users is their table.
var Users = table.Table[store.User]{
	Shape: table.Shape{Name: "users", Key: "aor", Columns: "aor, name, password, ha1_md5, ha1_sha256, admin, disabled, created, changed, since, " + people.PersonColumns},
	Args: func(u *store.User) []any {
		return append([]any{u.AOR, u.Name, u.Password, u.HA1MD5, u.HA1SHA256, table.Number(u.Admin), table.Number(u.Disabled), table.Micros(u.Created),
			table.Micros(u.Changed), u.Since}, people.PersonArgs(&u.Person)...)
	},
	Scan: func(row table.Row) (u store.User, err error) {
		var admin, disabled, created, changed int64
		err = row.Scan(append([]any{&u.AOR, &u.Name, &u.Password, &u.HA1MD5, &u.HA1SHA256, &admin, &disabled, &created, &changed, &u.Since},
			people.PersonDest(&u.Person)...)...)
		u.Admin, u.Disabled = admin != 0, disabled != 0
		u.Created, u.Changed = table.FromMicros(created), table.FromMicros(changed)
		return u, err
	},
}

// User is store.Users.User.
func (s Store) User(ctx context.Context, aor string) (*store.User, error) {
	return Users.One(ctx, s.Read, "accounts: reading a user", "accounts: user "+aor, `WHERE aor = $1`, aor)
}

// Users is store.Users.Users.
func (s Store) Users(ctx context.Context, f store.UserFilter) ([]store.User, error) {
	where, args := []string{"aor > $1"}, []any{f.After}
	add := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, strings.ReplaceAll(condition, "$n", fmt.Sprintf("$%d", len(args))))
	}
	if f.Domain != "" {
		add(`aor LIKE $n ESCAPE '!'`, "%@"+escapeLike(f.Domain))
	}
	if f.Match != "" {
		add(`(lower(aor) LIKE $n ESCAPE '!' OR lower(name) LIKE $n ESCAPE '!')`, "%"+escapeLike(strings.ToLower(f.Match))+"%")
	}
	rest := `WHERE ` + strings.Join(where, " AND ") + ` ORDER BY aor`
	if f.Limit > 0 {
		args = append(args, f.Limit)
		rest += fmt.Sprintf(" LIMIT $%d", len(args))
	}
	return Users.List(ctx, s.Read, "accounts: reading users", rest, args...)
}

func escapeLike(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s)
}

// AddUsers is store.Users.AddUsers.
func (s Store) AddUsers(ctx context.Context, users []store.User) error {
	now := time.Now()
	args := make([]any, 0, len(users)*Users.Count())
	seen := make(map[string]bool, len(users))
	for _, u := range users {
		if u.AOR == "" || !table.Clean(u.AOR+u.Name+u.Title+u.Department+u.Office+u.Phone+u.Mobile+u.Email) {
			return errs.New(errs.Invalid, "accounts: %q is not an address for a user", u.AOR)
		}
		if seen[u.AOR] {
			return errs.New(errs.Invalid, "accounts: %s is in the list twice", u.AOR)
		}
		seen[u.AOR] = true
		if u.Changed = now; u.Created.IsZero() {
			u.Created = now
		}
		if u.Since == 0 {
			u.Since = s.Head()
		}
		args = append(args, Users.Args(&u)...)
	}
	err := s.Change(ctx, "adding users", func(tx *sql.Tx) error {
		if err := s.Insert(ctx, tx, Users.Into(), Users.Count(), args, ""); err != nil {
			return err
		}
		return s.people().Index(ctx, tx, users)
	})
	if !s.Duplicate(err) {
		return err
	}
	var taken []string
	for _, u := range users {
		if len(taken) == 5 {
			taken = append(taken, "…")
			break
		}
		if _, err := s.User(ctx, u.AOR); err == nil {
			taken = append(taken, u.AOR)
		}
	}
	return errs.New(errs.Conflict, "accounts: there is already a user %s", strings.Join(taken, ", "))
}

// UpdateUser is store.Users.UpdateUser.
func (s Store) UpdateUser(ctx context.Context, u store.User) error {
	return s.Change(ctx, "changing a user", func(tx *sql.Tx) error {
		if err := sessions.Changed(ctx, tx, &u); err != nil {
			return err
		}
		args := []any{u.AOR, u.Name, u.Password, u.HA1MD5, u.HA1SHA256, table.Number(u.Admin), table.Number(u.Disabled), table.Micros(time.Now())}
		r, err := tx.ExecContext(ctx, `UPDATE users SET name = $2, password = $3, ha1_md5 = $4, ha1_sha256 = $5, admin = $6, disabled = $7, changed = $8,
			title = $9, department = $10, office = $11, phone = $12, mobile = $13, email = $14 WHERE aor = $1`, append(args, people.PersonArgs(&u.Person)...)...)
		if err := table.Changed(r, err, "accounts: user "+u.AOR); err != nil {
			return err
		}
		return s.people().Reindex(ctx, tx, u)
	})
}

// RemoveUser is store.Users.RemoveUser.
func (s Store) RemoveUser(ctx context.Context, aor string) error {
	return s.Change(ctx, "removing a user", func(tx *sql.Tx) error {
		for _, table := range []string{"device_passwords", "bindings", "cursors", "manual_states", "publications", "subscriptions", "drafts"} {
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE aor = $1`, aor); err != nil {
				return err
			}
		}
		if err := s.people().Forget(ctx, tx, aor); err != nil {
			return err
		}
		if err := sessions.Forget(ctx, tx, aor); err != nil {
			return err
		}
		if err := files.Forget(ctx, tx, aor); err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, `DELETE FROM users WHERE aor = $1`, aor)
		return table.Changed(r, err, "accounts: user "+aor)
	})
}

// CountUsers is store.Users.CountUsers.
func (s Store) CountUsers(ctx context.Context) (n int, err error) {
	err = s.Read.QueryRowContext(ctx, `SELECT count(*) FROM users`).Scan(&n)
	return n, errs.Wrap(errs.Unavailable, err, "accounts: counting users")
}
