package sqlstore

import (
	"context"
	"fmt"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/crashpoint"
	"github.com/parley-im/parley/store/sqlstore/filing"
	"github.com/parley-im/parley/store/sqlstore/search"
	"github.com/parley-im/parley/store/sqlstore/table"
	"github.com/parley-im/parley/store/sqlstore/talks"
)

var _ store.Index = (*index)(nil)

// query runs a query on the index.
func (x *index) query(ctx context.Context, text string, args []any, scan func(table.Row) error) error {
	rows, err := x.read.Load().QueryContext(ctx, text, args...)
	err = table.Each(rows, err, "sqlstore: reading the index", func(row table.Row) (struct{}, error) { return struct{}{}, scan(row) },
		func(struct{}) error { return nil })
	if corrupt(err) {
		notify(x.broken)
	}
	return err
}

// records returns those that a query finds the seqs of.
func (x *index) records(ctx context.Context, text string, args ...any) ([]store.Record, error) {
	list, err := x.talks().Seqs(ctx, text, args...)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return x.log.Get(ctx, list...)
}

// Talks are the conversations of people.
func (s *Store) Talks() store.Talks { return s.index.talks() }

func (x *index) talks() talks.Store {
	return talks.Store{DB: talks.DB{Index: x.query, Records: x.log.Get, Outlines: x.log.outlines,
		Since: x.log.since}}
}

// Search is store.Index.Search.
func (x *index) Search(ctx context.Context, q store.Query) ([]store.Record, error) {
	return search.Store{DB: search.DB{Words: x.d.words, Index: x.talks().Seqs, Log: x.log.seqs, Records: x.log.Get, Since: x.log.since, Until: x.log.until}}.Search(ctx, q)
}

// Mailbox is store.Index.Mailbox.
func (x *index) Mailbox(ctx context.Context, aor string, after int64, limit int) ([]store.Record, error) {
	list, err := x.talks().Mailbox(ctx, aor, after, limit)
	if len(list) > 0 {
		crashpoint.Hit("mailbox.read") // all of these were acknowledged, and are about to be delivered
	}
	return list, err
}

// Conversation is store.Index.Conversation.
func (x *index) Conversation(ctx context.Context, a, b string, before int64, limit int) ([]store.Record, error) {
	return x.talks().Conversation(ctx, a, b, before, limit)
}

// Message is store.Index.Message.
func (x *index) Message(ctx context.Context, from, messageID string) (*store.Record, error) {
	list, err := x.records(ctx, `SELECT seq FROM filed WHERE key = $1 ORDER BY seq DESC LIMIT 100`, filing.Named(from, messageID))
	if err != nil {
		return nil, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if r := &list[i]; r.From == from && r.Meta[store.MetaMessageID] == messageID {
			return r, nil
		}
	}
	return nil, fmt.Errorf("sqlstore: message %q of %s: %w", messageID, from, store.ErrNotFound)
}

// OpenCalls is store.Index.OpenCalls.
func (x *index) OpenCalls(ctx context.Context) ([]store.Record, error) {
	return x.records(ctx, `SELECT seq FROM open_calls ORDER BY seq`)
}
