package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/parley-im/parley/store/sqlstore/filing"
	"github.com/parley-im/parley/store/sqlstore/table"
)

const (
	readPosition = `SELECT seq FROM indexed WHERE one = 1`
	talksInto    = `talks (owner, peer, out_key, in_key, read_seq)`
	talksReplace = ` ON CONFLICT (owner, peer) DO UPDATE SET read_seq = excluded.read_seq WHERE excluded.read_seq > talks.read_seq`
	changesInto  = `changes (about, what, gone, seq)`
	changesTail  = ` ON CONFLICT (about, what) DO UPDATE SET gone = excluded.gone, seq = excluded.seq WHERE excluded.seq > changes.seq`
)

// sqliteIndex writes the index in its SQLite file.
type sqliteIndex struct {
	db             *sql.DB
	s              *session
	filed, opened  *bulk
	words, talks   *bulk
	changes        *bulk
	closed, moveTo driver.Stmt
	points         *checkpointer
}

func newSQLiteIndex(ctx context.Context, db *sql.DB, points *checkpointer) (_ *sqliteIndex, err error) {
	w := &sqliteIndex{db: db, points: points}
	if w.s, err = newSession(ctx, db); err != nil {
		return nil, err
	}
	for _, b := range []struct {
		bulk    **bulk
		into    string
		columns int
		sizes   []int
		tail    string
	}{
		{&w.filed, "filed (key, seq)", 2, manyRows, ""},
		{&w.opened, "open_calls (id, seq)", 2, manyRows, ""},
		{&w.words, "words (rowid, text)", 2, oneRow, ""},
		{&w.talks, talksInto, 5, manyRows, talksReplace},
		{&w.changes, changesInto, 4, manyRows, changesTail},
	} {
		if *b.bulk, err = w.s.bulk(b.into, b.columns, b.sizes, b.tail); err != nil {
			break
		}
	}
	if err == nil {
		if w.closed, err = w.s.prepare("DELETE FROM open_calls WHERE id = ?"); err == nil {
			w.moveTo, err = w.s.prepare("UPDATE indexed SET seq = ? WHERE one = 1")
		}
	}
	if err != nil {
		w.s.close()
		return nil, err
	}
	return w, nil
}

func (w *sqliteIndex) position(ctx context.Context) (seq int64, err error) {
	err = w.s.conn.QueryRowContext(ctx, readPosition).Scan(&seq)
	return seq, err
}

func (w *sqliteIndex) write(_ context.Context, b *filing.Batch, _, seq int64) error {
	if err := w.s.exec(w.s.begin, nil); err != nil {
		return fmt.Errorf("sqlstore: indexing: %w", err)
	}
	err := w.insert(b, seq)
	if err == nil {
		err = w.s.exec(w.s.end, nil)
	}
	if err != nil {
		w.s.exec(w.s.back, nil) // an error says that it has been done
		return fmt.Errorf("sqlstore: indexing: %w", err)
	}
	w.points.written(16*pageBytes + 1500*len(b.Filed) + 500*len(b.Words)) // most entries go into a page of their own
	w.points.finish(w.s.conn)
	return nil
}

// unsynced receives when what was written may be lost.
func (w *sqliteIndex) unsynced() <-chan error { return w.points.failed }

// serve makes checkpoints until ctx ends.
func (w *sqliteIndex) serve(ctx context.Context) { w.points.serve(ctx) }

func (w *sqliteIndex) insert(b *filing.Batch, seq int64) error {
	err := w.filed.insert(len(b.Filed), func(i int, row []driver.NamedValue) {
		row[0].Value, row[1].Value = b.Filed[i].Key, b.Filed[i].Seq
	})
	if err == nil {
		err = w.opened.insert(len(b.Opened), func(i int, row []driver.NamedValue) {
			row[0].Value, row[1].Value = b.Opened[i].ID[:], b.Opened[i].Seq
		})
	}
	if err == nil {
		err = w.words.insert(len(b.Words), func(i int, row []driver.NamedValue) {
			row[0].Value, row[1].Value = b.Words[i].Seq, b.Words[i].Text
		})
	}
	if err == nil {
		err = w.talks.insert(len(b.Talks), func(i int, row []driver.NamedValue) {
			t := &b.Talks[i]
			row[0].Value, row[1].Value, row[2].Value, row[3].Value, row[4].Value = t.Owner, t.Peer, t.Out, t.In, t.Read
		})
	}
	if err == nil {
		err = w.changes.insert(len(b.Changes), func(i int, row []driver.NamedValue) {
			c := &b.Changes[i]
			row[0].Value, row[1].Value, row[2].Value, row[3].Value = c.About, c.What, table.Number(c.Gone), c.Seq
		})
	}
	for i := 0; i < len(b.Closed) && err == nil; i++ {
		err = w.s.exec(w.closed, []driver.NamedValue{{Ordinal: 1, Value: b.Closed[i][:]}})
	}
	if err == nil {
		err = w.s.exec(w.moveTo, []driver.NamedValue{{Ordinal: 1, Value: seq}})
	}
	return err
}

func (w *sqliteIndex) close() error {
	w.s.close()
	return errors.Join(w.points.db.Close(), w.db.Close())
}

// postgresIndex writes the index into tables beside the log, on a connection of its own.
type postgresIndex struct{ db *sql.DB }

func (w *postgresIndex) position(ctx context.Context) (seq int64, err error) {
	err = w.db.QueryRowContext(ctx, readPosition).Scan(&seq)
	return seq, err
}

// wentBack says that another node has begun the index anew, and how far it is.
type wentBack struct{ seq int64 }

func (e *wentBack) Error() string {
	return fmt.Sprintf("sqlstore: the index has gone back to %d", e.seq)
}

func (w *postgresIndex) write(ctx context.Context, b *filing.Batch, after, seq int64) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("sqlstore: indexing: %w", err)
	}
	defer tx.Rollback()
	var old int64
	// Of several nodes one indexes at a time; what it finds done it leaves.
	if err := tx.QueryRowContext(ctx, readPosition+` FOR UPDATE`).Scan(&old); err != nil {
		return fmt.Errorf("sqlstore: indexing: %w", err)
	}
	if old < after {
		return &wentBack{old}
	}
	if old < seq {
		if err := w.insert(ctx, tx, b, old, seq); err != nil {
			return fmt.Errorf("sqlstore: indexing: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("sqlstore: indexing: %w", err)
	}
	return nil
}

func (w *postgresIndex) insert(ctx context.Context, tx *sql.Tx, b *filing.Batch, old, seq int64) error {
	var keys, seqs, opened, texts []int64
	var calls, closed [][]byte
	var words []string
	for _, f := range b.Filed {
		if f.Seq > old {
			keys, seqs = append(keys, f.Key), append(seqs, f.Seq)
		}
	}
	for i := range b.Opened {
		if c := &b.Opened[i]; c.Seq > old {
			calls, opened = append(calls, c.ID[:]), append(opened, c.Seq)
		}
	}
	for i := range b.Closed {
		closed = append(closed, b.Closed[i][:])
	}
	for _, t := range b.Words {
		if t.Seq > old {
			texts, words = append(texts, t.Seq), append(words, t.Text)
		}
	}
	var owners, peers []string
	var out, in, read []int64
	for i := range b.Talks {
		t := &b.Talks[i]
		owners, peers = append(owners, t.Owner), append(peers, t.Peer)
		out, in, read = append(out, t.Out), append(in, t.In), append(read, t.Read)
	}
	var abouts, whats, gone, changed []int64
	for _, c := range b.Changes {
		if c.Seq > old {
			abouts, whats, gone, changed = append(abouts, c.About), append(whats, c.What), append(gone, table.Number(c.Gone)), append(changed, c.Seq)
		}
	}
	for _, q := range []struct {
		text string
		args []any
	}{
		{`INSERT INTO filed (key, seq) SELECT * FROM unnest($1::bigint[], $2::bigint[])`, []any{keys, seqs}},
		{`INSERT INTO open_calls (id, seq) SELECT * FROM unnest($1::bytea[], $2::bigint[])`, []any{calls, opened}},
		{`DELETE FROM open_calls WHERE id = ANY($1::bytea[])`, []any{closed}},
		{`INSERT INTO words (seq, text) SELECT t.seq, array_to_tsvector(string_to_array(t.words, ' ')) FROM unnest($1::bigint[], $2::text[]) AS t(seq, words)`,
			[]any{texts, words}},
		{`INSERT INTO ` + talksInto + ` SELECT t.owner, t.peer, t.out_key, t.in_key, t.read_seq
			FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]) AS t(out_key, in_key, read_seq, owner, peer)` + talksReplace,
			[]any{out, in, read, owners, peers}},
		{`INSERT INTO ` + changesInto + ` SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])` + changesTail,
			[]any{abouts, whats, gone, changed}},
		{`UPDATE indexed SET seq = $1 WHERE one = 1`, []any{seq}},
	} {
		if list, ok := q.args[0].([]int64); ok && len(list) == 0 {
			continue
		}
		if list, ok := q.args[0].([][]byte); ok && len(list) == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, q.text, q.args...); err != nil {
			return err
		}
	}
	return nil
}

// clear empties all tables.
func (w *postgresIndex) clear(ctx context.Context) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, text := range []string{`DELETE FROM filed`, `DELETE FROM open_calls`, `DELETE FROM words`, `DELETE FROM talks`, `DELETE FROM changes`, `UPDATE indexed SET seq = 0`} {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// unsynced never receives, and there is nothing to serve: the server takes care of itself.
func (w *postgresIndex) unsynced() <-chan error { return nil }
func (w *postgresIndex) serve(context.Context)  {}

func (w *postgresIndex) close() error { return w.db.Close() }
