package talks

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/filing"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// About is store.Talks.About.
func (s Store) About(ctx context.Context, ids ...id.ID) ([]store.Record, error) {
	wanted := make(map[id.ID]bool, len(ids))
	keys := make([]int64, len(ids))
	for i, d := range ids {
		wanted[d], keys[i] = true, filing.Changes(d)
	}
	key := map[int64]int64{} // by seq
	for part := range slices.Chunk(keys, table.Most) {
		in, args := list(part)
		text := fmt.Sprintf(`SELECT about, seq FROM (SELECT about, seq, row_number() OVER (PARTITION BY about ORDER BY gone, seq DESC) AS n
			FROM changes WHERE about IN (%s)) AS c WHERE n <= %d`, in, store.MaxAbout)
		err := s.Index(ctx, text, args, func(r table.Row) error {
			var about, seq int64
			err := r.Scan(&about, &seq)
			key[seq] = about
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(key) == 0 {
		return nil, nil
	}
	seqs := make([]int64, 0, len(key))
	for seq := range key {
		seqs = append(seqs, seq)
	}
	records, err := s.Records(ctx, seqs...)
	if err != nil {
		return nil, err
	}
	if len(records) < len(key) {
		for i := range records {
			delete(key, records[i].Seq)
		}
		if records, err = s.before(ctx, ids, key, records); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(records, func(r store.Record) bool { return !wanted[r.Ref] || !changes(&r) }), nil
}

// newest is how many edits and reactions are looked at where all of them count.
const newest = 1000

// Edits is store.Talks.Edits.
func (s Store) Edits(ctx context.Context, rid id.ID, from string) ([]store.Record, error) {
	var list []store.Record
	n := 0
	err := s.pages(ctx, s.Records, down, math.MaxInt64, newest/4, []int64{filing.About(rid)}, func(r *store.Record) (full bool) {
		if r.Ref == rid && r.Kind == store.KindEdit && r.From == from {
			list = append(list, *r)
		}
		n++
		return n == newest || len(list) == store.MaxEdits
	})
	slices.Reverse(list)
	return list, err
}

// changes says that a record is something that was done to another, or the end of a call.
func changes(r *store.Record) bool {
	return r.Kind == store.KindEdit || r.Kind == store.KindRetract || r.Kind == store.KindReaction || r.Kind == store.KindCallEnd
}

// before adds what was done before something that must not be seen, because it is void or damaged: what that took the place of
// stands again. It is rare, and looks at the newest edits and reactions alone. missing are the keys of what was not found.
func (s Store) before(ctx context.Context, ids []id.ID, missing map[int64]int64, records []store.Record) ([]store.Record, error) {
	latest := make(map[int64]*store.Record, len(records))
	for i := range records {
		latest[filing.Same(&records[i])] = &records[i]
	}
	looked := map[id.ID]bool{}
	for _, key := range missing {
		for _, d := range ids {
			if filing.Changes(d) != key || looked[d] {
				continue
			}
			looked[d] = true
			n := 0
			err := s.pages(ctx, s.Records, down, math.MaxInt64, newest/4, []int64{filing.About(d)}, func(r *store.Record) (full bool) {
				if r.Ref == d && changes(r) {
					if same := filing.Same(r); latest[same] == nil {
						own := *r
						latest[same] = &own
					}
				}
				n++
				return n == newest
			})
			if err != nil {
				return nil, err
			}
		}
	}
	all := make([]store.Record, 0, len(latest))
	for _, r := range latest {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b store.Record) int { return cmp.Compare(a.Seq, b.Seq) })
	return all, nil
}

// list is "$1,$2" with its arguments.
func list(keys []int64) (in string, args []any) {
	names := make([]string, len(keys))
	args = make([]any, len(keys))
	for i, k := range keys {
		names[i], args[i] = "$"+strconv.Itoa(i+1), k
	}
	return strings.Join(names, ","), args
}
