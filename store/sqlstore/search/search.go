// Package search finds records of the log by words, people, time and kind. Package sqlstore gives it the databases.
package search

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/filing"
	"github.com/parley-im/parley/store/sqlstore/table"
	"github.com/parley-im/parley/store/words"
)

// DB are the databases as sqlstore has them. Their errors have kinds.
type DB struct {
	Words *Words
	// Index runs a query for seqs on the index.
	Index func(ctx context.Context, text string, args ...any) ([]int64, error)
	// Log returns the seqs of records that may be seen and fit a condition; rest goes on after WHERE …, and its arguments begin
	// with $2.
	Log func(ctx context.Context, rest string, args ...any) ([]int64, error)
	// Records returns these records of the log, ascending, but for those that must not be seen.
	Records func(ctx context.Context, seqs ...int64) ([]store.Record, error)
	// Since and Until return a Seq before which there is no record at t or later, and one from which on there is none before t;
	// also when the clock was wrong by a little.
	Since, Until func(ctx context.Context, t time.Time) (int64, error)
}

// Store is the part of store.Index that searches.
type Store struct{ DB }

// ordinary are what Search returns when it is not told.
var ordinary = []string{store.KindMessage, store.KindEdit, store.KindRetract, store.KindReaction, store.KindCallStart, store.KindCallText,
	store.KindCallEnd, store.KindAdmin, store.KindSearch}

// Search is store.Index.Search. The index gives candidates, in order; the records decide.
func (s Store) Search(ctx context.Context, q store.Query) ([]store.Record, error) {
	if q.Limit == 0 {
		q.Limit = 100
	}
	if err := table.Limit("search", q.Limit); err != nil {
		return nil, err
	}
	wanted := words.Query(q.Words)
	if len(wanted) == 0 && strings.TrimSpace(q.Words) != "" {
		return nil, errs.New(errs.Invalid, "search: there is no word in %q", q.Words)
	}
	if q.With != "" && q.Person == "" {
		return nil, errs.New(errs.Invalid, "search: a search between two people needs both")
	}
	kinds := q.Kinds
	if len(kinds) == 0 {
		kinds = ordinary
	}
	low, high := q.After, int64(1<<63-1)
	if q.Before > 0 {
		high = q.Before
	}
	if !q.Since.IsZero() {
		first, err := s.Since(ctx, q.Since)
		if err != nil {
			return nil, err
		}
		low = max(low, first-1)
	}
	if !q.Until.IsZero() {
		last, err := s.Until(ctx, q.Until)
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
		list, err := s.candidates(ctx, q, wanted, kinds, low, high)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			break
		}
		records, err := s.Records(ctx, list...)
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
func (s Store) candidates(ctx context.Context, q store.Query, wanted, kinds []string, low, high int64) ([]int64, error) {
	const some = 500
	order := "ORDER BY seq"
	if q.Newest {
		order = "ORDER BY seq DESC"
	}
	indexed := !slices.ContainsFunc(kinds, func(k string) bool { return !slices.Contains(ordinary, k) })
	switch {
	case len(wanted) > 0:
		order = strings.Replace(order, "seq", s.Words.column, 1)
		text := fmt.Sprintf(s.Words.find, fmt.Sprintf(` AND %[1]s > $2 AND %[1]s < $3 %[2]s LIMIT $4`, s.Words.column, order))
		return s.Index(ctx, text, s.Words.arg(wanted), low, high, some)
	case q.With != "" && indexed && onlyConversation(kinds):
		return s.under(ctx, filing.Said(q.Person, q.With), filing.Said(q.With, q.Person), order, low, high, some)
	case q.Person != "" && indexed:
		return s.under(ctx, filing.Mailbox(q.Person), filing.Others(q.Person), order, low, high, some)
	}
	args := []any{low, high}
	in := make([]string, len(kinds))
	for i, k := range kinds {
		args = append(args, k)
		in[i] = fmt.Sprintf("$%d", len(args)+1)
	}
	people := ""
	if q.Person != "" {
		args = append(args, q.Person)
		people = fmt.Sprintf(" AND (sender = $%[1]d OR recipient = $%[1]d)", len(args)+1)
	}
	return s.Log(ctx, ` AND seq > $2 AND seq < $3 AND kind IN (`+strings.Join(in, ",")+`)`+people+` `+order+fmt.Sprintf(` LIMIT %d`, some), args...)
}

// under returns the next seqs of two keys.
func (s Store) under(ctx context.Context, a, b int64, order string, low, high int64, some int) ([]int64, error) {
	part := `SELECT seq FROM (SELECT seq FROM filed WHERE key = %s AND seq > $3 AND seq < $4 ` + order + ` LIMIT $5) AS %s`
	return s.Index(ctx, fmt.Sprintf(part, "$1", "a")+` UNION `+fmt.Sprintf(part, "$2", "b")+` `+order+` LIMIT $5`, a, b, low, high, some)
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
