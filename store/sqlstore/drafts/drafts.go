// Package drafts is the SQL of what people have written but not sent. Package sqlstore gives it the database.
package drafts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// DB is the database as sqlstore has it.
type DB struct {
	Read *sql.DB
	// Change runs a function in a transaction; what it returns without a kind becomes Unavailable.
	Change func(ctx context.Context, doing string, fn func(*sql.Tx) error) error
	// Scrub makes every text fit for the database.
	Scrub func(args []any)
}

// Store implements store.Drafts.
type Store struct{ DB DB }

var _ store.Drafts = Store{}

// Row is *sql.Row or *sql.Rows.
type Row interface{ Scan(dest ...any) error }

// The table, for backups.
const (
	Table       = "drafts"
	Columns     = "aor, peer, text, changed"
	ColumnCount = 4
	InOrder     = `SELECT ` + Columns + ` FROM ` + Table + ` ORDER BY aor, peer`
)

// Scan reads a row.
func Scan(r Row) (store.Draft, error) {
	var d store.Draft
	var changed int64
	err := r.Scan(&d.AOR, &d.Peer, &d.Text, &changed)
	d.Changed = time.UnixMicro(changed).UTC()
	return d, err
}

// Args are the values of a row.
func Args(d *store.Draft) []any { return []any{d.AOR, d.Peer, d.Text, d.Changed.UnixMicro()} }

// Drafts is store.Drafts.Drafts.
func (s Store) Drafts(ctx context.Context, aor string) (list []store.Draft, err error) {
	rows, err := s.DB.Read.QueryContext(ctx, `SELECT `+Columns+` FROM drafts WHERE aor = $1 ORDER BY changed DESC, peer`, aor)
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, "drafts: reading")
	}
	defer rows.Close()
	for rows.Next() {
		d, err := Scan(rows)
		if err != nil {
			return nil, errs.Wrap(errs.Unavailable, err, "drafts: reading")
		}
		list = append(list, d)
	}
	return list, errs.Wrap(errs.Unavailable, rows.Err(), "drafts: reading")
}

// Draft is store.Drafts.Draft.
func (s Store) Draft(ctx context.Context, aor, peer string) (*store.Draft, error) {
	args := []any{aor, peer}
	s.DB.Scrub(args)
	d, err := Scan(s.DB.Read.QueryRowContext(ctx, `SELECT `+Columns+` FROM drafts WHERE aor = $1 AND peer = $2`, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("drafts: %s to %s: %w", aor, peer, store.ErrNotFound)
	}
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, "drafts: reading")
	}
	return &d, nil
}

// SetDraft is store.Drafts.SetDraft.
func (s Store) SetDraft(ctx context.Context, d store.Draft) error {
	args := Args(&d)
	s.DB.Scrub(args)
	return s.DB.Change(ctx, "saving a draft", func(tx *sql.Tx) error {
		if d.Text == "" {
			_, err := tx.ExecContext(ctx, `DELETE FROM drafts WHERE aor = $1 AND peer = $2`, args[0], args[1])
			return err
		}
		var one, others int
		err := tx.QueryRowContext(ctx, `SELECT 1 FROM users WHERE aor = $1`, args[0]).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("drafts: user %s: %w", d.AOR, store.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM drafts WHERE aor = $1 AND peer <> $2`, args[0], args[1]).Scan(&others); err != nil {
			return err
		}
		if others >= store.MaxDrafts {
			return errs.Say(errs.New(errs.TooMany, "drafts: %s has %d", d.AOR, others), "there are too many drafts; send or remove some")
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO drafts (`+Columns+`) VALUES ($1, $2, $3, $4)
			ON CONFLICT (aor, peer) DO UPDATE SET text = excluded.text, changed = excluded.changed`, args...)
		return err
	})
}
