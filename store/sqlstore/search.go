package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/crashpoint"
	"github.com/parley-im/parley/store/sqlstore/filing"
	"github.com/parley-im/parley/store/sqlstore/table"
	"github.com/parley-im/parley/store/sqlstore/talks"
	"github.com/parley-im/parley/store/words"
)

var _ store.Index = (*index)(nil)

// searchKinds are what Search returns when it is not told.
var searchKinds = []string{store.KindMessage, store.KindEdit, store.KindRetract, store.KindReaction, store.KindCallStart, store.KindCallText,
	store.KindCallEnd, store.KindAdmin, store.KindSearch}

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

// seqs runs a query for seqs.
func (x *index) seqs(ctx context.Context, text string, args ...any) (list []int64, err error) {
	err = x.query(ctx, text, args, func(row table.Row) error {
		var seq int64
		err := row.Scan(&seq)
		list = append(list, seq)
		return err
	})
	return list, err
}

// records is seqs with the records they stand for.
func (x *index) records(ctx context.Context, text string, args ...any) ([]store.Record, error) {
	list, err := x.seqs(ctx, text, args...)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return x.log.Get(ctx, list...)
}

// Talks are the conversations of people.
func (s *Store) Talks() store.Talks { return s.index.talks() }

func (x *index) talks() talks.Store {
	return talks.Store{DB: talks.DB{Index: x.query, Records: x.log.Get, Outlines: x.log.outlines,
		Since: func(ctx context.Context, t time.Time) (int64, error) { return x.log.seek(ctx, t.Add(-clockSlack)) }}}
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

// Search is store.Index.Search. The index gives candidates, in order; the records decide.
func (x *index) Search(ctx context.Context, q store.Query) ([]store.Record, error) {
	if q.Limit == 0 {
		q.Limit = 100
	}
	if _, err := page(q.Limit); err != nil {
		return nil, err
	}
	wanted := words.Query(q.Words)
	if len(wanted) == 0 && strings.TrimSpace(q.Words) != "" {
		return nil, errs.New(errs.Invalid, "sqlstore: there is no word in %q", q.Words)
	}
	if q.With != "" && q.Person == "" {
		return nil, errs.New(errs.Invalid, "sqlstore: a search between two people needs both")
	}
	kinds := q.Kinds
	if len(kinds) == 0 {
		kinds = searchKinds
	}
	low, high := q.After, int64(1<<63-1)
	if q.Before > 0 {
		high = q.Before
	}
	if !q.Since.IsZero() {
		first, err := x.log.seek(ctx, q.Since.Add(-clockSlack))
		if err != nil {
			return nil, err
		}
		low = max(low, first-1)
	}
	if !q.Until.IsZero() {
		last, err := x.log.seek(ctx, q.Until.Add(clockSlack))
		if err != nil {
			return nil, err
		}
		high = min(high, last)
	}
	fits := func(r *store.Record) bool {
		return slices.Contains(kinds, r.Kind) &&
			(q.Person == "" || r.From == q.Person || r.To == q.Person) &&
			(q.With == "" || r.From == q.With || r.To == q.With) &&
			(q.Since.IsZero() || !r.At.Before(q.Since)) && (q.Until.IsZero() || r.At.Before(q.Until))
	}
	var found []store.Record
	for low < high-1 {
		list, err := x.candidates(ctx, q, wanted, kinds, low, high)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			break
		}
		records, err := x.log.Get(ctx, list...)
		if err != nil {
			return nil, err
		}
		if q.Newest {
			slices.Reverse(records)
		}
		for i := range records {
			if fits(&records[i]) {
				if found = append(found, records[i]); len(found) == q.Limit {
					return found, nil
				}
			}
		}
		if q.Newest {
			high = list[len(list)-1]
		} else {
			low = list[len(list)-1]
		}
	}
	return found, nil
}

// candidates returns the next seqs between low and high (both excluded) in the order of the query: by words, else by
// conversation, else by person, else simply those of the log with the kinds.
func (x *index) candidates(ctx context.Context, q store.Query, wanted, kinds []string, low, high int64) ([]int64, error) {
	const some = 500
	order := "ORDER BY seq"
	if q.Newest {
		order = "ORDER BY seq DESC"
	}
	indexed := !slices.ContainsFunc(kinds, func(k string) bool { return !slices.Contains(searchKinds, k) })
	switch {
	case len(wanted) > 0:
		column := "seq"
		if x.d == sqliteDialect {
			column = "rowid"
			order = strings.Replace(order, "seq", "rowid", 1)
		}
		text := fmt.Sprintf(x.d.findWords, fmt.Sprintf(` AND %s > $2 AND %s < $3 %s LIMIT $4`, column, column, order))
		return x.seqs(ctx, text, x.d.queryArg(wanted), low, high, some)
	case q.With != "" && indexed && onlyConversation(kinds):
		return x.under(ctx, filing.Said(q.Person, q.With), filing.Said(q.With, q.Person), order, low, high, some)
	case q.Person != "" && indexed:
		return x.under(ctx, filing.Mailbox(q.Person), filing.Others(q.Person), order, low, high, some)
	}
	args := []any{x.log.Head(), low, high}
	in := make([]string, len(kinds))
	for i, k := range kinds {
		args = append(args, k)
		in[i] = fmt.Sprintf("$%d", len(args))
	}
	people := ""
	if q.Person != "" {
		args = append(args, q.Person)
		people = fmt.Sprintf(" AND (sender = $%d OR recipient = $%d)", len(args), len(args))
	}
	rows, err := x.log.db.QueryContext(ctx, `SELECT seq FROM log WHERE `+visible+` AND seq > $2 AND seq < $3 AND kind IN (`+
		strings.Join(in, ",")+`)`+people+` `+order+fmt.Sprintf(` LIMIT %d`, some), args...)
	return table.Collect(rows, err, "sqlstore: reading the log", func(row table.Row) (seq int64, err error) {
		err = row.Scan(&seq)
		return seq, err
	})
}

// under returns the next seqs of two keys.
func (x *index) under(ctx context.Context, a, b int64, order string, low, high int64, some int) ([]int64, error) {
	part := `SELECT seq FROM (SELECT seq FROM filed WHERE key = %s AND seq > $3 AND seq < $4 ` + order + ` LIMIT $5) AS %s`
	return x.seqs(ctx, fmt.Sprintf(part, "$1", "a")+` UNION `+fmt.Sprintf(part, "$2", "b")+` `+order+` LIMIT $5`, a, b, low, high, some)
}

// onlyConversation says that all these kinds are in the table of conversations.
func onlyConversation(kinds []string) bool {
	for _, k := range kinds {
		if k != store.KindMessage && k != store.KindCallStart {
			return false
		}
	}
	return true
}
