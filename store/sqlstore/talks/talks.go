// Package talks reads the index for what pages and programs of people show of conversations. Package sqlstore gives it the
// databases. The index says where to look, the records decide: one that is void or that has only the same key is left out,
// and a page is filled up with later ones, for fewer than the limit means the end.
package talks

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/filing"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// DB are the databases as sqlstore has them. Their errors have kinds.
type DB struct {
	// Index runs a query on the index and calls scan for each row.
	Index func(ctx context.Context, text string, args []any, scan func(table.Row) error) error
	// Records returns these records of the log, ascending, but for those that must not be seen.
	Records func(ctx context.Context, seqs ...int64) ([]store.Record, error)
	// Outlines is Records with Seq, At, Kind, From and To alone.
	Outlines func(ctx context.Context, seqs ...int64) ([]store.Record, error)
	// Since returns a Seq before which there is no record at t or later, also when the clock was wrong by a little.
	Since func(ctx context.Context, t time.Time) (int64, error)
}

// Store implements store.Talks.
type Store struct{ DB }

var _ store.Talks = Store{}

// columns are those of a talk. What was said last is the end of what is filed: it is not written twice.
const columns = `peer, read_seq, coalesce((SELECT max(seq) FROM filed WHERE key = out_key), 0), coalesce((SELECT max(seq) FROM filed WHERE key = in_key), 0)`

// Talks is store.Talks.Talks. It looks at all conversations of the owner, at 10 to 20 µs each.
func (s Store) Talks(ctx context.Context, owner string, before int64, limit int) ([]store.Talk, error) {
	if err := table.Limit("talks", limit); err != nil {
		return nil, err
	}
	list, err := s.talks(ctx, owner, `SELECT `+columns+` FROM talks WHERE owner = $1`, owner)
	list = slices.DeleteFunc(list, func(t store.Talk) bool { return t.Last == 0 || before > 0 && t.Last >= before })
	slices.SortFunc(list, func(a, b store.Talk) int { return cmp.Compare(b.Last, a.Last) })
	return slices.Clip(list[:min(limit, len(list))]), err
}

// Talk is store.Talks.Talk.
func (s Store) Talk(ctx context.Context, owner, peer string) (store.Talk, error) {
	list, err := s.talks(ctx, owner, `SELECT `+columns+` FROM talks WHERE owner = $1 AND peer = $2`, owner, peer)
	if err != nil || len(list) == 0 {
		return store.Talk{Owner: owner, Peer: peer}, err
	}
	return list[0], nil
}

func (s Store) talks(ctx context.Context, owner, text string, args ...any) (list []store.Talk, err error) {
	err = s.Index(ctx, text, args, func(r table.Row) error {
		t := store.Talk{Owner: owner}
		var got int64
		err := r.Scan(&t.Peer, &t.Read, &t.Sent, &got)
		t.Last = max(t.Sent, got)
		list = append(list, t)
		return err
	})
	return list, err
}

// Unread is store.Talks.Unread.
func (s Store) Unread(ctx context.Context, t store.Talk, most int) (int, error) {
	if err := table.Limit("talks", most); err != nil {
		return 0, err
	}
	after := max(t.Read, t.Sent)
	if t.Last <= after { // most are read
		return 0, nil
	}
	n := 0
	err := s.pages(ctx, s.Outlines, up, after, most, []int64{filing.Said(t.Peer, t.Owner)}, func(r *store.Record) (full bool) {
		if r.Kind == store.KindMessage && r.From == t.Peer && r.To == t.Owner {
			n++
		}
		return n == most
	})
	return n, err
}

// Fates is store.Talks.Fates.
func (s Store) Fates(ctx context.Context, rid id.ID) ([]store.Record, error) {
	seqs, err := s.Seqs(ctx, `SELECT seq FROM filed WHERE key = $1`, filing.Fates(rid))
	if err != nil || len(seqs) == 0 {
		return nil, err
	}
	records, err := s.Records(ctx, seqs...)
	return slices.DeleteFunc(records, func(r store.Record) bool {
		return r.Ref != rid || r.Kind != store.KindDelivery && r.Kind != store.KindReceipt
	}), err
}

// Conversation is store.Index.Conversation.
func (s Store) Conversation(ctx context.Context, a, b string, before int64, limit int) ([]store.Record, error) {
	if err := table.Limit("talks", limit); err != nil {
		return nil, err
	}
	if before <= 0 {
		before = math.MaxInt64
	}
	return s.list(ctx, down, before, limit, both(a, b), func(r *store.Record) bool { return between(r, a, b) })
}

// both are the keys of a conversation.
func both(a, b string) []int64 {
	if a == b {
		return []int64{filing.Said(a, a)}
	}
	return []int64{filing.Said(a, b), filing.Said(b, a)}
}

// ConversationAfter is store.Talks.ConversationAfter.
func (s Store) ConversationAfter(ctx context.Context, a, b string, after int64, limit int) ([]store.Record, error) {
	return s.list(ctx, up, after, limit, both(a, b), func(r *store.Record) bool { return between(r, a, b) })
}

// between says that a record is a message or call between the two.
func between(r *store.Record, a, b string) bool {
	return (r.Kind == store.KindMessage || r.Kind == store.KindCallStart) && (r.From == a && r.To == b || r.From == b && r.To == a)
}

// ConversationSince is store.Talks.ConversationSince.
func (s Store) ConversationSince(ctx context.Context, a, b string, t time.Time) (seq int64, err error) {
	first, err := s.Since(ctx, t)
	if err != nil {
		return 0, err
	}
	err = s.pages(ctx, s.Outlines, up, first-1, 100, both(a, b), func(r *store.Record) (full bool) {
		if !r.At.Before(t) && between(r, a, b) {
			seq = r.Seq
		}
		return seq != 0
	})
	return seq, err
}

// personKinds are what PersonAfter returns.
var personKinds = map[string]bool{store.KindMessage: true, store.KindEdit: true, store.KindRetract: true, store.KindReaction: true,
	store.KindReceipt: true, store.KindCallStart: true, store.KindCallEnd: true}

// PersonAfter is store.Talks.PersonAfter.
func (s Store) PersonAfter(ctx context.Context, aor string, after int64, limit int) ([]store.Record, error) {
	return s.list(ctx, up, after, limit, []int64{filing.Mailbox(aor), filing.Others(aor)}, func(r *store.Record) bool {
		return (r.From == aor || r.To == aor) && personKinds[r.Kind]
	})
}

// Mailbox is store.Index.Mailbox.
func (s Store) Mailbox(ctx context.Context, aor string, after int64, limit int) ([]store.Record, error) {
	return s.list(ctx, up, after, limit, []int64{filing.Mailbox(aor)}, func(r *store.Record) bool { return r.To == aor })
}

// order is in which direction pages go.
type order struct{ seq, by string }

var (
	up   = order{"seq > $1", "seq"}
	down = order{"seq < $1", "seq DESC"}
)

// list returns the records from a Seq on that fit, up to limit.
func (s Store) list(ctx context.Context, o order, from int64, limit int, keys []int64, fits func(*store.Record) bool) ([]store.Record, error) {
	if err := table.Limit("talks", limit); err != nil {
		return nil, err
	}
	var all []store.Record
	err := s.pages(ctx, s.Records, o, from, limit, keys, func(r *store.Record) (full bool) {
		if fits(r) {
			all = append(all, *r)
		}
		return len(all) == limit
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// pages reads what is filed under one or two keys from a Seq on, some at a time, until take says that it has enough.
func (s Store) pages(ctx context.Context, read func(context.Context, ...int64) ([]store.Record, error), o order, from int64, some int,
	keys []int64, take func(*store.Record) (full bool)) error {
	args := []any{from, some}
	parts := make([]string, len(keys))
	for i, k := range keys {
		args = append(args, k)
		// Each key has a limit of its own, or one would be read to its end.
		parts[i] = fmt.Sprintf(`SELECT seq FROM (SELECT seq FROM filed WHERE key = $%d AND %s ORDER BY %s LIMIT $2) AS k%d`, i+3, o.seq, o.by, i)
	}
	text := strings.Join(parts, ` UNION ALL `) + ` ORDER BY ` + o.by + ` LIMIT $2`
	for {
		args[0] = from
		seqs, err := s.Seqs(ctx, text, args...)
		if err != nil || len(seqs) == 0 {
			return err
		}
		records, err := read(ctx, seqs...)
		if err != nil {
			return err
		}
		if o == down {
			slices.Reverse(records)
		}
		for i := range records {
			if take(&records[i]) {
				return nil
			}
		}
		if from = seqs[len(seqs)-1]; len(seqs) < some {
			return nil
		}
	}
}

// Seqs runs a query for seqs on the index.
func (s Store) Seqs(ctx context.Context, text string, args ...any) (list []int64, err error) {
	err = s.Index(ctx, text, args, func(r table.Row) error {
		var seq int64
		err := r.Scan(&seq)
		list = append(list, seq)
		return err
	})
	return list, err
}
