package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/committer"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// clockSlack is how far the clock may have been wrong without a search by time missing records.
const clockSlack = 2 * time.Hour

// log reads the log; the committer writes it.
type log struct {
	*committer.Committer
	db      *sql.DB // read only
	slog    *slog.Logger
	m       *metrics
	damaged sync.Map // seqs of damaged records that were told of
}

var _ store.Log = (*log)(nil)

// visible is the condition on every read: durable, settled, and not void.
const visible = `seq <= $1 AND NOT EXISTS (SELECT 1 FROM voided WHERE voided.seq = log.seq)`

// Read is store.Log.Read.
func (l *log) Read(ctx context.Context, after int64, limit int) ([]store.Record, error) {
	if err := table.Limit("sqlstore", limit); err != nil {
		return nil, err
	}
	head := l.Head()
	if after >= head {
		return nil, nil
	}
	var all []store.Record
	for { // fewer than limit means the end, also where records are damaged
		room := limit - len(all)
		list, rows, last, err := l.rows(ctx, room, `SELECT `+logColumns+` FROM log WHERE `+visible+` AND seq > $2 ORDER BY seq LIMIT $3`,
			head, after, room)
		if all == nil {
			all = list
		} else {
			all = append(all, list...)
		}
		if err != nil || rows < room || len(list) == rows {
			return all, err
		}
		after = last
	}
}

// Get is store.Log.Get.
func (l *log) Get(ctx context.Context, seqs ...int64) ([]store.Record, error) {
	return l.get(seqs, func(room int, where string, args []any) ([]store.Record, error) {
		return l.query(ctx, room, `SELECT `+logColumns+where, args...)
	})
}

// outlines is Get with Seq, At, Kind, From and To alone.
func (l *log) outlines(ctx context.Context, seqs ...int64) ([]store.Record, error) {
	return l.get(seqs, func(_ int, where string, args []any) ([]store.Record, error) {
		rows, err := l.db.QueryContext(ctx, `SELECT seq, at, kind, sender, recipient`+where, args...)
		return table.Collect(rows, err, "sqlstore: reading the log", func(row table.Row) (r store.Record, err error) {
			var at int64
			err = row.Scan(&r.Seq, &at, &r.Kind, &r.From, &r.To)
			r.At = table.FromMicros(at)
			return r, err
		})
	})
}

// get reads the rows with these seqs in parts.
func (l *log) get(seqs []int64, read func(room int, where string, args []any) ([]store.Record, error)) (all []store.Record, err error) {
	for part := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(seqs))), 500) {
		args := make([]any, len(part)+1)
		args[0] = l.Head()
		var in strings.Builder
		for i, s := range part {
			args[i+1] = s
			fmt.Fprintf(&in, ",$%d", i+2)
		}
		records, err := read(len(part), ` FROM log WHERE `+visible+` AND seq IN (`+in.String()[1:]+`) ORDER BY seq`, args)
		if err != nil {
			return nil, err
		}
		if len(part) == len(seqs) {
			return records, nil
		}
		all = append(all, records...)
	}
	return all, nil
}

func (l *log) query(ctx context.Context, room int, text string, args ...any) ([]store.Record, error) {
	list, _, _, err := l.rows(ctx, room, text, args...)
	return list, err
}

// rows returns the sound records of a query for logColumns, the number of its rows, and the last one's seq.
func (l *log) rows(ctx context.Context, room int, text string, args ...any) (list []store.Record, n int, last int64, err error) {
	rows, err := l.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, 0, 0, unavailable(err, "sqlstore: reading the log")
	}
	defer rows.Close()
	list = make([]store.Record, 0, min(room, 64))
	for rows.Next() {
		list = append(list, store.Record{})
		r := &list[len(list)-1]
		err := scanRecord(rows, r)
		if err != nil && (r.Seq == 0 || ctx.Err() != nil || rows.Err() != nil) {
			return nil, 0, 0, unavailable(err, "sqlstore: reading the log") // that says nothing about the record
		}
		n, last = n+1, r.Seq
		if !l.sound(r, err) {
			list = list[:len(list)-1]
		}
	}
	return list, n, last, unavailable(rows.Err(), "sqlstore: reading the log")
}

// unavailable gives an error of the database its kind: the reader can try again later.
func unavailable(err error, doing string) error {
	if err == nil {
		return nil
	}
	return errs.Wrap(errs.Unavailable, err, doing)
}

// Find is store.Log.Find. Ids are ordered by time and so, nearly, is the log.
func (l *log) Find(ctx context.Context, rid id.ID) (*store.Record, error) {
	at := rid.Time()
	first, err := l.seek(ctx, at.Add(-time.Minute))
	if err != nil {
		return nil, err
	}
	last, err := l.seek(ctx, at.Add(time.Minute))
	if err != nil {
		return nil, err
	}
	// Near its time, then anywhere: a clock that was wrong by hours is rare, a record that is there and not found is worse.
	for _, r := range [][2]int64{{first, last}, {1, l.Head()}} {
		list, err := l.query(ctx, 1, `SELECT `+logColumns+` FROM log WHERE `+visible+` AND seq BETWEEN $2 AND $3 AND id = $4`,
			l.Head(), r[0], r[1], rid[:])
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			return &list[0], nil
		}
	}
	return nil, fmt.Errorf("sqlstore: record %s: %w", rid, store.ErrNotFound)
}

// followIDs lets new ids be greater than the last in the log, although the clock may have been set back since.
func (l *log) followIDs(ctx context.Context) error {
	var b []byte
	err := l.db.QueryRowContext(ctx, `SELECT id FROM log ORDER BY seq DESC LIMIT 1`).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return unavailable(err, "sqlstore: reading the log")
	}
	var d id.ID
	copy(d[:], b)
	id.After(d, clockSlack)
	return nil
}

// seek returns a seq with which records at or after t begin: the log is ordered by time as far as the clock was right. It
// takes about log2(head) point reads.
func (l *log) seek(ctx context.Context, t time.Time) (int64, error) {
	low, high := int64(1), l.Head()+1
	us := t.UnixMicro()
	for low < high {
		mid := low + (high-low)/2
		var seq, at int64
		err := l.db.QueryRowContext(ctx, `SELECT seq, at FROM log WHERE seq >= $1 AND seq < $2 ORDER BY seq LIMIT 1`, mid, high).Scan(&seq, &at)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			high = mid
		case err != nil:
			return 0, unavailable(err, "sqlstore: reading the log")
		case at < us:
			low = seq + 1
		default:
			high = mid
		}
	}
	return low, nil
}

// since is seek, with a look at what was recorded when the clock was wrong; until is the same for an end.
func (l *log) since(ctx context.Context, t time.Time) (int64, error) {
	return l.seek(ctx, t.Add(-clockSlack))
}
func (l *log) until(ctx context.Context, t time.Time) (int64, error) {
	return l.seek(ctx, t.Add(clockSlack))
}

// seqs returns those of records that may be seen and fit a condition, whose arguments begin with $2.
func (l *log) seqs(ctx context.Context, rest string, args ...any) ([]int64, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT seq FROM log WHERE `+visible+rest, append([]any{l.Head()}, args...)...)
	return table.Collect(rows, err, "sqlstore: reading the log", func(row table.Row) (seq int64, err error) {
		err = row.Scan(&seq)
		return seq, err
	})
}

// Tail is store.Log.Tail.
func (l *log) Tail(ctx context.Context, since time.Time, fn func(*store.Record) error) error {
	first := int64(1)
	if !since.IsZero() {
		var err error
		if first, err = l.seek(ctx, since.Add(-clockSlack)); err != nil {
			return err
		}
	}
	rows, err := l.db.QueryContext(ctx, `SELECT seq, id, at, kind, sender, recipient, device, ref, meta FROM log WHERE `+visible+
		` AND seq >= $2 AND kind IN ('message', 'receipt', 'edit', 'retract', 'reaction') AND at >= $3 ORDER BY seq DESC`, l.Head(), first, since.UnixMicro())
	if err != nil {
		return unavailable(err, "sqlstore: reading the log")
	}
	defer rows.Close()
	for rows.Next() {
		var r store.Record
		var at int64
		var rid, ref []byte
		var meta *string
		if err := rows.Scan(&r.Seq, &rid, &at, &r.Kind, &r.From, &r.To, &r.Device, &ref, &meta); err != nil {
			return unavailable(err, "sqlstore: reading the log")
		}
		copy(r.ID[:], rid)
		copy(r.Ref[:], ref)
		r.At = time.UnixMicro(at).UTC()
		if err := scanMeta(meta, &r); err != nil {
			return err
		}
		if err := fn(&r); err != nil {
			if errors.Is(err, store.ErrStop) {
				return nil
			}
			return err
		}
	}
	return unavailable(rows.Err(), "sqlstore: reading the log")
}
