// Package presence is the SQL of what people's presence is made of: what they said by hand, what their devices published
// (RFC 3903), and who follows whom (RFC 6665). Package sqlstore gives it the database.
package presence

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Limits of what is done at a time.
const (
	page      = 500         // rows that are read together
	sweepings = time.Minute // between two looks for what has expired
)

// Store implements store.Presence.
type Store struct {
	db    *table.DB
	mu    sync.Mutex
	swept time.Time // when somebody last looked for what has expired
}

var _ store.Presence = (*Store)(nil)

// New makes a Store.
func New(db *table.DB) *Store { return &Store{db: db} }

// SetManual is store.Presence.SetManual.
func (s *Store) SetManual(ctx context.Context, m store.ManualState) error {
	if err := s.sweep(ctx); err != nil {
		return err
	}
	return s.db.Change(ctx, "saving a state set by hand", func(tx *sql.Tx) error {
		if m.State == "" && m.Note == "" {
			_, err := tx.ExecContext(ctx, `DELETE FROM manual_states WHERE aor = $1`, m.AOR)
			return err
		}
		if err := table.Account(ctx, tx, "presence", m.AOR); err != nil {
			return err
		}
		return manuals.Put(ctx, tx, s.db, &m)
	})
}

// Manual is store.Presence.Manual.
func (s *Store) Manual(ctx context.Context, f func(*store.ManualState) error) error {
	return readAll(ctx, s, &manuals, "", func(m *store.ManualState) (string, time.Time) { return m.AOR, m.Until }, f)
}

// SavePublications is store.Presence.SavePublications.
func (s *Store) SavePublications(ctx context.Context, save []store.Publication, remove []string) error {
	return s.write(ctx, newBatch(&publications, "saving publications", save, remove))
}

// Publications is store.Presence.Publications.
func (s *Store) Publications(ctx context.Context, f func(*store.Publication) error) error {
	return readAll(ctx, s, &publications, "", func(p *store.Publication) (string, time.Time) { return p.ETag, p.Expires }, f)
}

// SaveSubscriptions is store.Presence.SaveSubscriptions.
func (s *Store) SaveSubscriptions(ctx context.Context, save []store.Subscription, remove []string) error {
	return s.write(ctx, newBatch(&subscriptions, "saving subscriptions", save, remove))
}

// Subscriptions is store.Presence.Subscriptions.
func (s *Store) Subscriptions(ctx context.Context, event string, f func(*store.Subscription) error) error {
	return readAll(ctx, s, &subscriptions, event, func(v *store.Subscription) (string, time.Time) { return v.Tag, v.Expires }, f)
}

// batch is what is to be written to one table.
type batch struct {
	table  *table.Shape
	doing  string
	args   []any // of the rows to save, one after another
	remove []string
}

func newBatch[T any](t *table.Table[T], doing string, save []T, remove []string) *batch {
	b := &batch{table: &t.Shape, doing: doing, args: make([]any, 0, len(save)*t.Count()), remove: remove}
	for i := range save {
		b.args = append(b.args, t.Args(&save[i])...)
	}
	table.Scrub(b.args)
	b.latest()
	return b
}

// latest keeps the last row of each key, because one statement must not name a key twice. What is saved is not removed.
func (b *batch) latest() {
	n := b.table.Count()
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
	for n := b.table.Count(); len(b.args)+len(b.remove) > 0; {
		rows := min(len(b.args)/n, store.PresenceBatch)
		keys := min(len(b.remove), store.PresenceBatch-rows)
		if err := s.db.Change(ctx, b.doing, func(tx *sql.Tx) error {
			if err := s.db.Insert(ctx, tx, b.table.Into(), n, b.args[:rows*n], b.table.Replace()); err != nil {
				return err
			}
			return s.db.Delete(ctx, tx, b.table.Name, b.table.Key, b.remove[:keys])
		}); err != nil {
			return err
		}
		b.args, b.remove = b.args[rows*n:], b.remove[keys:]
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
	for _, x := range [...]struct {
		t       *table.Shape
		expires string // the column with the time at which a row is of no more use; 0 is never
	}{{&manuals.Shape, "until"}, {&publications.Shape, "expires"}, {&subscriptions.Shape, "expires"}} {
		of, key := ` FROM `+x.t.Name, x.t.Key
		for n := int64(store.PresenceBatch); n == store.PresenceBatch; {
			if err := s.db.Change(ctx, "removing what has expired", func(tx *sql.Tx) error {
				r, err := tx.ExecContext(ctx, `DELETE`+of+` WHERE `+key+` IN (SELECT `+key+of+
					` WHERE `+x.expires+` > 0 AND `+x.expires+` <= $1 ORDER BY `+x.expires+` LIMIT $2)`, now.UnixMicro(), store.PresenceBatch)
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
func readAll[T any](ctx context.Context, s *Store, t *table.Table[T], event string, key func(*T) (string, time.Time), f func(*T) error) error {
	rest, args := `WHERE `+t.Key+` > $1`, []any{"", page}
	if event != "" {
		rest, args = rest+` AND event = $3`, append(args, event)
	}
	rest += ` ORDER BY ` + t.Key + ` LIMIT $2`
	for n := page; n == page; {
		list, err := t.List(ctx, s.db.Read, "presence: reading "+strings.ReplaceAll(t.Name, "_", " "), rest, args...)
		if err != nil {
			return err
		}
		n = len(list)
		now := time.Now()
		for _, v := range list { // who keeps one does not keep the page
			k, expires := key(&v)
			args[0] = k
			if !expires.IsZero() && !expires.After(now) {
				continue
			}
			if err := f(&v); errors.Is(err, store.ErrStop) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}
