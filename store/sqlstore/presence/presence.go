// Package presence is the SQL of what people's presence is made of: what they said by hand, what their devices published
// (RFC 3903), and who follows whom (RFC 6665). Package sqlstore gives it the database.
package presence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// DB is the database as sqlstore has it.
type DB struct {
	Read *sql.DB
	// Change runs a function in a transaction; what it returns without a kind becomes Unavailable.
	Change func(ctx context.Context, doing string, fn func(*sql.Tx) error) error
	// Values is "($1,$2),($3,$4)": rows of columns placeholders.
	Values func(rows, columns int) string
	// Scrub makes every text fit for the database.
	Scrub func(args []any)
}

// Limits of what is done at a time.
const (
	most      = 200         // rows in a statement; more are no faster
	page      = 500         // rows that are read together
	sweepings = time.Minute // between two looks for what has expired
)

// Store implements store.Presence.
type Store struct {
	db    DB
	mu    sync.Mutex
	swept time.Time // when somebody last looked for what has expired
}

var _ store.Presence = (*Store)(nil)

// New makes a Store.
func New(db DB) *Store { return &Store{db: db} }

// SetManual is store.Presence.SetManual.
func (s *Store) SetManual(ctx context.Context, m store.ManualState) error {
	if err := s.sweep(ctx); err != nil {
		return err
	}
	args := manualArgs(&m)
	s.db.Scrub(args)
	return s.db.Change(ctx, "saving a state set by hand", func(tx *sql.Tx) error {
		if m.State == "" && m.Note == "" {
			_, err := tx.ExecContext(ctx, `DELETE FROM manual_states WHERE aor = $1`, m.AOR)
			return err
		}
		var one int
		err := tx.QueryRowContext(ctx, `SELECT 1 FROM users WHERE aor = $1`, m.AOR).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("presence: user %s: %w", m.AOR, store.ErrNotFound)
		}
		if err != nil {
			return err
		}
		return s.put(ctx, tx, &Tables[manuals], args)
	})
}

// Manual is store.Presence.Manual.
func (s *Store) Manual(ctx context.Context, f func(*store.ManualState) error) error {
	return readAll(ctx, s, &Tables[manuals], "", scanManual, func(m *store.ManualState) (string, time.Time) { return m.AOR, m.Until }, f)
}

// SavePublications is store.Presence.SavePublications.
func (s *Store) SavePublications(ctx context.Context, save []store.Publication, remove []string) error {
	b := batch{table: &Tables[publications], doing: "saving publications", remove: remove}
	for i := range save {
		b.args = append(b.args, publicationArgs(&save[i])...)
	}
	return s.write(ctx, &b)
}

// Publications is store.Presence.Publications.
func (s *Store) Publications(ctx context.Context, f func(*store.Publication) error) error {
	return readAll(ctx, s, &Tables[publications], "", scanPublication, func(p *store.Publication) (string, time.Time) { return p.ETag, p.Expires }, f)
}

// SaveSubscriptions is store.Presence.SaveSubscriptions.
func (s *Store) SaveSubscriptions(ctx context.Context, save []store.Subscription, remove []string) error {
	b := batch{table: &Tables[subscriptions], doing: "saving subscriptions", remove: remove}
	for i := range save {
		b.args = append(b.args, subscriptionArgs(&save[i])...)
	}
	return s.write(ctx, &b)
}

// Subscriptions is store.Presence.Subscriptions.
func (s *Store) Subscriptions(ctx context.Context, event string, f func(*store.Subscription) error) error {
	return readAll(ctx, s, &Tables[subscriptions], event, scanSubscription, func(v *store.Subscription) (string, time.Time) { return v.Tag, v.Expires }, f)
}

// batch is what is to be written to one table.
type batch struct {
	table  *Table
	doing  string
	args   []any // of the rows to save, one after another
	remove []string
}

// latest keeps the last row of each key, because one statement must not name a key twice. What is saved is not removed.
func (b *batch) latest() {
	n := b.table.Count
	last := make(map[string]int, len(b.args)/n)
	for i := 0; i < len(b.args); i += n {
		last[b.args[i].(string)] = i
	}
	b.remove = slices.DeleteFunc(slices.Clone(b.remove), func(key string) bool { _, saved := last[key]; return saved })
	if len(last) == len(b.args)/n {
		return
	}
	kept := make([]any, 0, len(last)*n)
	for i := 0; i < len(b.args); i += n {
		if last[b.args[i].(string)] == i {
			kept = append(kept, b.args[i:i+n]...)
		}
	}
	b.args = kept
}

// write writes a batch in one transaction; a large one in several, so that other writers come between. What is to be saved
// goes first: the publication that takes the place of another is there before that one is removed.
func (s *Store) write(ctx context.Context, b *batch) error {
	if err := s.sweep(ctx); err != nil {
		return err
	}
	s.db.Scrub(b.args)
	b.latest()
	for n := b.table.Count; len(b.args)+len(b.remove) > 0; {
		rows := min(len(b.args)/n, store.PresenceBatch)
		keys := min(len(b.remove), store.PresenceBatch-rows)
		if err := s.db.Change(ctx, b.doing, func(tx *sql.Tx) error {
			if err := s.put(ctx, tx, b.table, b.args[:rows*n]); err != nil {
				return err
			}
			return s.remove(ctx, tx, b.table, b.remove[:keys])
		}); err != nil {
			return err
		}
		b.args, b.remove = b.args[rows*n:], b.remove[keys:]
	}
	return nil
}

// put writes rows, over those that have their keys.
func (s *Store) put(ctx context.Context, tx *sql.Tx, t *Table, args []any) error {
	columns := strings.Split(t.Columns, ", ")
	set := make([]string, 0, len(columns)-1)
	for _, c := range columns[1:] {
		set = append(set, c+" = excluded."+c)
	}
	tail := ` ON CONFLICT (` + t.Key + `) DO UPDATE SET ` + strings.Join(set, ", ")
	for len(args) > 0 {
		part := args[:min(len(args), most*t.Count)]
		args = args[len(part):]
		if _, err := tx.ExecContext(ctx, `INSERT INTO `+t.Name+` (`+t.Columns+`) VALUES `+s.db.Values(len(part)/t.Count, t.Count)+tail, part...); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the rows with these keys.
func (s *Store) remove(ctx context.Context, tx *sql.Tx, t *Table, keys []string) error {
	for len(keys) > 0 {
		part := make([]any, min(len(keys), most))
		for i := range part {
			part[i] = keys[i]
		}
		keys = keys[len(part):]
		s.db.Scrub(part)
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+t.Name+` WHERE `+t.Key+` IN `+s.db.Values(1, len(part)), part...); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what has expired, at most once in a while.
func (s *Store) sweep(ctx context.Context) error {
	now := time.Now()
	s.mu.Lock()
	due := now.Sub(s.swept) >= sweepings
	if due {
		s.swept = now
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	for i := range Tables {
		t := &Tables[i]
		for n := int64(store.PresenceBatch); n == store.PresenceBatch; {
			if err := s.db.Change(ctx, "removing what has expired", func(tx *sql.Tx) error {
				r, err := tx.ExecContext(ctx, `DELETE FROM `+t.Name+` WHERE `+t.Key+` IN (SELECT `+t.Key+` FROM `+t.Name+
					` WHERE `+t.Expires+` > 0 AND `+t.Expires+` <= $1 ORDER BY `+t.Expires+` LIMIT $2)`, now.UnixMicro(), store.PresenceBatch)
				if err != nil {
					return err
				}
				n, err = r.RowsAffected()
				return err
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// readAll hands on the rows of a table that have not expired, in the order of their keys; those of one event only, if it is
// said. It reads in pages, so that no reading is long.
func readAll[T any](ctx context.Context, s *Store, t *Table, event string, scan func(Row) (*T, error), key func(*T) (string, time.Time), f func(*T) error) error {
	where, args := ` WHERE `+t.Key+` > $1`, []any{"", page}
	if event != "" {
		where, args = where+` AND event = $3`, append(args, event)
	}
	text := `SELECT ` + t.Columns + ` FROM ` + t.Name + where + ` ORDER BY ` + t.Key + ` LIMIT $2`
	for n := page; n == page; {
		list, err := readPage(ctx, s.db.Read, text, args, scan)
		if err != nil {
			return errs.Wrap(errs.Unavailable, err, "presence: reading "+strings.ReplaceAll(t.Name, "_", " "))
		}
		n = len(list)
		now := time.Now()
		for _, v := range list {
			k, expires := key(v)
			args[0] = k
			if !expires.IsZero() && !expires.After(now) {
				continue
			}
			if err := f(v); errors.Is(err, store.ErrStop) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

func readPage[T any](ctx context.Context, db *sql.DB, text string, args []any, scan func(Row) (*T, error)) ([]*T, error) {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := make([]*T, 0, page)
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
