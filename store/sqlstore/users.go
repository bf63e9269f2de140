package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/drafts"
	"github.com/parley-im/parley/store/sqlstore/files"
	"github.com/parley-im/parley/store/sqlstore/people"
	"github.com/parley-im/parley/store/sqlstore/sessions"
)

// state keeps everything beside the log: users, settings, and what the packages in the folders below keep. Writes go through a
// pool of one connection on SQLite, so that they wait for each other in our process and not in the database's busy handler.
type state struct {
	d           *dialect
	read, write *sql.DB
	points      *checkpointer // of write; nil on PostgreSQL
	head        func() int64  // of the log
}

var (
	_ store.Users    = (*state)(nil)
	_ store.Settings = (*state)(nil)
)

// micros is a time in the database: 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// change runs fn in a transaction.
func (s *state) change(ctx context.Context, doing string, fn func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err, "sqlstore: "+doing)
	}
	if err := fn(tx); err != nil {
		tx.Rollback()
		if errs.KindOf(err) != errs.Internal {
			return err
		}
		return unavailable(err, "sqlstore: "+doing)
	}
	if err := tx.Commit(); err != nil {
		return unavailable(err, "sqlstore: "+doing)
	}
	s.points.written(64 << 10) // a guess: most transactions are small, but touch many pages
	return nil
}

// insertMany runs "INSERT INTO … VALUES" with many rows in each statement. Args has a multiple of columns values.
func insertMany(ctx context.Context, tx *sql.Tx, d *dialect, into string, columns int, args []any, tail string) error {
	const most = 200 // rows; both databases allow 32,000 parameters and are no faster beyond this
	for part := range slices.Chunk(args, most*columns) {
		if _, err := tx.ExecContext(ctx, into+" VALUES "+d.values(len(part)/columns, columns)+tail, part...); err != nil {
			return err
		}
	}
	return nil
}

// affected turns "no row was changed" into ErrNotFound.
func affected(r sql.Result, err error, what string) error {
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return fmt.Errorf("sqlstore: %s: %w", what, store.ErrNotFound)
}

const (
	userColumns     = "aor, name, password, ha1_md5, ha1_sha256, admin, disabled, created, changed, since, " + people.PersonColumns
	userColumnCount = 10 + people.PersonColumnCount
)

func userArgs(u store.User) []any {
	return append([]any{u.AOR, u.Name, u.Password, u.HA1MD5, u.HA1SHA256, number(u.Admin), number(u.Disabled), micros(u.Created), micros(u.Changed), u.Since},
		people.PersonArgs(&u.Person)...)
}

func scanUser(row scanner) (u store.User, err error) {
	var admin, disabled, created, changed int64
	err = row.Scan(append([]any{&u.AOR, &u.Name, &u.Password, &u.HA1MD5, &u.HA1SHA256, &admin, &disabled, &created, &changed, &u.Since},
		people.PersonDest(&u.Person)...)...)
	u.Admin, u.Disabled = admin != 0, disabled != 0
	u.Created, u.Changed = fromMicros(created), fromMicros(changed)
	return u, err
}

// User is store.Users.User.
func (s *state) User(ctx context.Context, aor string) (*store.User, error) {
	u, err := scanUser(s.read.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE aor = $1`, aor))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("sqlstore: user %s: %w", aor, store.ErrNotFound)
	}
	if err != nil {
		return nil, unavailable(err, "sqlstore: reading a user")
	}
	return &u, nil
}

// Users is store.Users.Users.
func (s *state) Users(ctx context.Context, f store.UserFilter) ([]store.User, error) {
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
	text := `SELECT ` + userColumns + ` FROM users WHERE ` + strings.Join(where, " AND ") + ` ORDER BY aor`
	if f.Limit > 0 {
		args = append(args, f.Limit)
		text += fmt.Sprintf(" LIMIT $%d", len(args))
	}
	rows, err := s.read.QueryContext(ctx, text, args...)
	return collect(rows, err, "reading users", scanUser)
}

func escapeLike(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s)
}

// collect reads all rows.
func collect[T any](rows *sql.Rows, err error, doing string, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, unavailable(err, "sqlstore: "+doing)
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, unavailable(err, "sqlstore: "+doing)
		}
		list = append(list, v)
	}
	return list, unavailable(rows.Err(), "sqlstore: "+doing)
}

// AddUsers is store.Users.AddUsers.
func (s *state) AddUsers(ctx context.Context, users []store.User) error {
	now := time.Now()
	args := make([]any, 0, len(users)*userColumnCount)
	seen := make(map[string]bool, len(users))
	for _, u := range users {
		if u.AOR == "" || !clean(u.AOR+u.Name+u.Title+u.Department+u.Office+u.Phone+u.Mobile+u.Email) {
			return errs.New(errs.Invalid, "sqlstore: %q is not an address for a user", u.AOR)
		}
		if seen[u.AOR] {
			return errs.New(errs.Invalid, "sqlstore: %s is in the list twice", u.AOR)
		}
		seen[u.AOR] = true
		if u.Changed = now; u.Created.IsZero() {
			u.Created = now
		}
		if u.Since == 0 {
			u.Since = s.head()
		}
		args = append(args, userArgs(u)...)
	}
	err := s.change(ctx, "adding users", func(tx *sql.Tx) error {
		if err := insertMany(ctx, tx, s.d, `INSERT INTO users (`+userColumns+`)`, userColumnCount, args, ""); err != nil {
			return err
		}
		return s.people().Index(ctx, tx, users)
	})
	if !duplicate(err) {
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
	return errs.New(errs.Conflict, "sqlstore: there is already a user %s", strings.Join(taken, ", "))
}

// UpdateUser is store.Users.UpdateUser.
func (s *state) UpdateUser(ctx context.Context, u store.User) error {
	return s.change(ctx, "changing a user", func(tx *sql.Tx) error {
		if err := sessions.Changed(ctx, tx, &u); err != nil {
			return err
		}
		args := []any{u.AOR, u.Name, u.Password, u.HA1MD5, u.HA1SHA256, number(u.Admin), number(u.Disabled), micros(time.Now())}
		r, err := tx.ExecContext(ctx, `UPDATE users SET name = $2, password = $3, ha1_md5 = $4, ha1_sha256 = $5, admin = $6, disabled = $7, changed = $8,
			title = $9, department = $10, office = $11, phone = $12, mobile = $13, email = $14 WHERE aor = $1`, append(args, people.PersonArgs(&u.Person)...)...)
		if err := affected(r, err, "user "+u.AOR); err != nil {
			return err
		}
		return s.people().Reindex(ctx, tx, u)
	})
}

// RemoveUser is store.Users.RemoveUser.
func (s *state) RemoveUser(ctx context.Context, aor string) error {
	return s.change(ctx, "removing a user", func(tx *sql.Tx) error {
		for _, table := range []string{"device_passwords", "bindings", "cursors", "manual_states", "publications", "subscriptions", drafts.Table} {
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
		return affected(r, err, "user "+aor)
	})
}

// CountUsers is store.Users.CountUsers.
func (s *state) CountUsers(ctx context.Context) (n int, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM users`).Scan(&n)
	return n, unavailable(err, "sqlstore: counting users")
}

const (
	devicePasswordColumns     = "id, aor, label, ha1_md5, ha1_sha256, created, last_used, revoked"
	devicePasswordColumnCount = 8
)

func devicePasswordArgs(p store.DevicePassword) []any {
	return []any{p.ID, p.AOR, p.Label, p.HA1MD5, p.HA1SHA256, micros(p.Created), micros(p.LastUsed), number(p.Revoked)}
}

func scanDevicePassword(row scanner) (p store.DevicePassword, err error) {
	var created, used, revoked int64
	err = row.Scan(&p.ID, &p.AOR, &p.Label, &p.HA1MD5, &p.HA1SHA256, &created, &used, &revoked)
	p.Created, p.LastUsed, p.Revoked = fromMicros(created), fromMicros(used), revoked != 0
	return p, err
}

// DevicePasswords is store.Users.DevicePasswords.
func (s *state) DevicePasswords(ctx context.Context, aor string) ([]store.DevicePassword, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+devicePasswordColumns+` FROM device_passwords WHERE aor = $1 ORDER BY created, id`, aor)
	return collect(rows, err, "reading device passwords", scanDevicePassword)
}

// AddDevicePassword is store.Users.AddDevicePassword.
func (s *state) AddDevicePassword(ctx context.Context, p store.DevicePassword) error {
	if p.Created.IsZero() {
		p.Created = time.Now()
	}
	err := s.change(ctx, "adding a device password", func(tx *sql.Tx) error {
		var one int
		if err := tx.QueryRowContext(ctx, `SELECT 1 FROM users WHERE aor = $1`, p.AOR).Scan(&one); errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("sqlstore: user %s: %w", p.AOR, store.ErrNotFound)
		} else if err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO device_passwords (`+devicePasswordColumns+`) VALUES `+s.d.values(1, devicePasswordColumnCount),
			devicePasswordArgs(p)...)
		return err
	})
	if duplicate(err) {
		return errs.New(errs.Conflict, "sqlstore: there is already a device password %s", p.ID)
	}
	return err
}

// RevokeDevicePassword is store.Users.RevokeDevicePassword.
func (s *state) RevokeDevicePassword(ctx context.Context, aor, pid string) error {
	return s.change(ctx, "revoking a device password", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE device_passwords SET revoked = 1 WHERE aor = $1 AND id = $2`, aor, pid)
		return affected(r, err, "device password "+pid)
	})
}

// TouchDevicePasswords is store.Users.TouchDevicePasswords.
func (s *state) TouchDevicePasswords(ctx context.Context, used map[string]time.Time) error {
	return s.change(ctx, "noting the use of device passwords", func(tx *sql.Tx) error {
		for pid, at := range used {
			if _, err := tx.ExecContext(ctx, `UPDATE device_passwords SET last_used = $2 WHERE id = $1 AND last_used < $2`, pid, micros(at)); err != nil {
				return err
			}
		}
		return nil
	})
}
