// Package drafts is the SQL of what people have written but not sent. Package sqlstore gives it the database.
package drafts

import (
	"context"
	"database/sql"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Store implements store.Drafts.
type Store struct{ *table.DB }

var _ store.Drafts = Store{}

// Drafts is their table.
var Drafts = table.Table[store.Draft]{
	Shape: table.Shape{Name: "drafts", Columns: "aor, peer, text, changed", Key: "aor, peer"},
	Args:  func(d *store.Draft) []any { return []any{d.AOR, d.Peer, d.Text, table.Micros(d.Changed)} },
	Scan: func(r table.Row) (d store.Draft, err error) {
		var changed int64
		err = r.Scan(&d.AOR, &d.Peer, &d.Text, &changed)
		d.Changed = table.FromMicros(changed)
		return d, err
	},
}

// Drafts is store.Drafts.Drafts.
func (s Store) Drafts(ctx context.Context, aor string) ([]store.Draft, error) {
	return Drafts.List(ctx, s.Read, "drafts: reading", `WHERE aor = $1 ORDER BY changed DESC, peer`, aor)
}

// Draft is store.Drafts.Draft.
func (s Store) Draft(ctx context.Context, aor, peer string) (*store.Draft, error) {
	args := []any{aor, peer}
	table.Scrub(args)
	return Drafts.One(ctx, s.Read, "drafts: reading", "drafts: "+aor+" to "+peer, `WHERE aor = $1 AND peer = $2`, args...)
}

// SetDraft is store.Drafts.SetDraft.
func (s Store) SetDraft(ctx context.Context, d store.Draft) error {
	key := []any{d.AOR, d.Peer}
	table.Scrub(key)
	return s.Change(ctx, "saving a draft", func(tx *sql.Tx) error {
		if d.Text == "" {
			_, err := tx.ExecContext(ctx, `DELETE FROM drafts WHERE aor = $1 AND peer = $2`, key...)
			return err
		}
		if err := table.Account(ctx, tx, "drafts", d.AOR); err != nil {
			return err
		}
		var others int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM drafts WHERE aor = $1 AND peer <> $2`, key...).Scan(&others); err != nil {
			return err
		}
		if others >= store.MaxDrafts {
			return errs.Say(errs.New(errs.TooMany, "drafts: %s has %d", d.AOR, others), "there are too many drafts; send or remove some")
		}
		return Drafts.Put(ctx, tx, s.DB, &d)
	})
}
