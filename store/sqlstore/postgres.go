package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/committer"
	"github.com/parley-im/parley/store/crashpoint"
	"github.com/parley-im/parley/store/sqlstore/meta"
)

// How the log is written on PostgreSQL: one statement for a batch, which moves the head row and inserts the records above
// it. The row lock is held until the commit is visible, so seqs become visible in order, from however many nodes.
//
// A connection that breaks leaves us in doubt. Each node holds an advisory lock in the session that writes; the next
// session gets the lock only when the server has ended the one before, so what it finds in the log then is final.

const (
	postgresStatement = 600 * time.Millisecond // a statement that waits for a lock longer than this ends, and is tried again
	postgresAnswer    = 3 * time.Second        // a server that does not answer at all for so long has lost the connection
)

// postgresWriter is the writer on PostgreSQL, on a connection of its own.
type postgresWriter struct {
	cfg  *pgx.ConnConfig
	key  int64 // of the advisory lock
	conn *pgx.Conn
	pid  uint32 // of the last session
}

// openPostgresWriter connects. Dir holds the name of this node, made at the first start.
func openPostgresWriter(ctx context.Context, cfg *pgx.ConnConfig, dir string) (*postgresWriter, error) {
	node, err := nodeName(dir)
	if err != nil {
		return nil, err
	}
	c := cfg.Copy()
	c.RuntimeParams["statement_timeout"] = fmt.Sprint(postgresStatement.Milliseconds())
	c.RuntimeParams["lock_timeout"] = fmt.Sprint(postgresStatement.Milliseconds())
	h := fnv.New64a()
	h.Write([]byte("parley log " + node + " " + c.RuntimeParams["search_path"]))
	w := &postgresWriter{cfg: c, key: int64(h.Sum64())}
	return w, w.connect(ctx)
}

// nodeName reads or makes the file "node" in the data folder.
func nodeName(dir string) (string, error) {
	name := filepath.Join(dir, "node")
	if b, err := os.ReadFile(name); err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	node := id.New().String()
	if err := writeSynced(name, node+"\n"); err != nil {
		return "", fmt.Errorf("sqlstore: naming this node: %w", err)
	}
	return node, nil
}

// writeSynced writes a file that is there, whole, after a power loss: a node that lost its name could not tell its own
// sessions from another's.
func writeSynced(name, text string) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// connect opens the session and waits, up to a second, until no earlier session of this node is left.
func (w *postgresWriter) connect(ctx context.Context) error {
	w.drop()
	ctx, cancel := context.WithTimeout(ctx, postgresAnswer)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, w.cfg)
	if err != nil {
		return fmt.Errorf("sqlstore: connecting to PostgreSQL: %w", err)
	}
	ok := false
	defer func() {
		if !ok {
			conn.Close(ctx)
		}
	}()
	var fsync string
	if err := conn.QueryRow(ctx, "SHOW fsync").Scan(&fsync); err != nil {
		return fmt.Errorf("sqlstore: connecting to PostgreSQL: %w", err)
	}
	if fsync != "on" {
		return errors.New("sqlstore: this PostgreSQL server runs with fsync=off, so it cannot keep what it acknowledged; set fsync=on and restart it")
	}
	if w.pid != 0 {
		// Hurry the old session along; one of another role or a reused pid is not ours to end, and the lock decides anyway.
		conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND usename = current_user AND application_name = current_setting('application_name')`, int64(w.pid))
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", w.key); err != nil {
		return fmt.Errorf("sqlstore: an earlier session of this server has not ended: %w", err)
	}
	ok = true
	w.conn, w.pid = conn, conn.PgConn().PID()
	return nil
}

// drop gives the connection up.
func (w *postgresWriter) drop() {
	if w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	w.conn.Close(ctx)
	w.conn = nil
}

func (w *postgresWriter) Close() error {
	w.drop()
	return nil
}

const postgresInsert = `
WITH head AS (
    UPDATE writer SET value = value + $1 WHERE name = 'head' RETURNING value - $1 AS base
), written AS (
    INSERT INTO log (` + logColumns + `)
    SELECT head.base + r.n, r.id, r.at, r.kind, r.sender, r.recipient, r.device, r.ref, r.meta, r.content_type, r.hash, r.body
    FROM head, unnest($2::bytea[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::text[],
        $10::text[], $11::bytea[], $12::bytea[])
        WITH ORDINALITY AS r(id, at, kind, sender, recipient, device, ref, meta, content_type, hash, body, n)
)
SELECT base FROM head`

func (w *postgresWriter) Commit(records []*store.Record, voids []int64, gate func() bool) (int64, error) {
	if w.conn == nil {
		return 0, errors.New("sqlstore: not connected to PostgreSQL")
	}
	if !gate() {
		return 0, committer.ErrDropped
	}
	ctx, cancel := context.WithTimeout(context.Background(), postgresAnswer)
	defer cancel()
	args := postgresArgs(records)
	crashpoint.Hit("commit.rows")
	var base int64
	var err error
	if len(voids) == 0 {
		// Alone, a statement is a transaction: one round trip.
		err = w.conn.QueryRow(ctx, postgresInsert, args...).Scan(&base)
	} else {
		err = pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, postgresInsert, args...).Scan(&base); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO voided (seq, void) SELECT v.seq, $2 + v.n FROM unnest($1::bigint[]) WITH ORDINALITY AS v(seq, n)`,
				voids, base)
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("sqlstore: commit: %w", err)
	}
	for i, r := range records {
		r.Seq = base + int64(i) + 1
	}
	return base + int64(len(records)), nil
}

// postgresArgs turns rows into columns.
func postgresArgs(records []*store.Record) []any {
	n := len(records)
	ids, refs, hashes, bodies := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	ats, metas := make([]int64, n), make([]*string, n)
	var texts [5][]string
	for i := range texts {
		texts[i] = make([]string, n)
	}
	for i, r := range records {
		ids[i], hashes[i], bodies[i], ats[i] = r.ID[:], r.Hash[:], r.Body, r.At.UnixMicro()
		if r.Body == nil {
			bodies[i] = []byte{}
		}
		if !r.Ref.IsZero() {
			refs[i] = r.Ref[:]
		}
		if len(r.Meta) > 0 {
			s := string(meta.Append(nil, r.Meta))
			metas[i] = &s
		}
		texts[0][i], texts[1][i], texts[2][i], texts[3][i], texts[4][i] = r.Kind, r.From, r.To, r.Device, r.ContentType
	}
	return []any{int64(n), ids, ats, texts[0], texts[1], texts[2], texts[3], refs, metas, texts[4], hashes, bodies}
}

func (w *postgresWriter) Judge(err error) committer.Verdict {
	var pg *pgconn.PgError
	if w.conn == nil || w.conn.IsClosed() || !errors.As(err, &pg) || pg.Severity != "ERROR" {
		// No answer, or the last words of a session: the commit may have happened.
		w.drop()
		return committer.Doubtful
	}
	// The server says that this transaction failed, and it is still there.
	switch class := pg.Code[:2]; {
	case class == "40", class == "53", class == "55", class == "57", class == "25":
		return committer.Again // rolled back, out of room, locked, canceled by a timeout, read only
	default:
		return committer.Poisoned // data it does not take, or a table that is not as it should be
	}
}

func (w *postgresWriter) Recover(ctx context.Context) error {
	if w.Probe() == nil {
		return nil
	}
	return w.connect(ctx)
}

func (w *postgresWriter) Probe() error {
	if w.conn == nil {
		return errors.New("sqlstore: not connected to PostgreSQL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), postgresAnswer)
	defer cancel()
	_, err := w.conn.Exec(ctx, "UPDATE writer SET value = value WHERE name = 'recoveries'")
	return err
}

func (w *postgresWriter) Find(base int64, list []id.ID) ([]committer.Place, error) {
	if w.conn == nil {
		return nil, errors.New("sqlstore: not connected to PostgreSQL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), postgresAnswer)
	defer cancel()
	wanted := make([][]byte, len(list))
	for i := range list {
		wanted[i] = list[i][:]
	}
	rows, err := w.conn.Query(ctx, `SELECT seq, id FROM log WHERE seq > $1 AND id = ANY($2) AND seq NOT IN (SELECT seq FROM voided) ORDER BY seq`,
		base, wanted)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: looking for records: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p committer.Place, err error) {
		var b []byte
		err = row.Scan(&p.Seq, &b)
		copy(p.ID[:], b)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("sqlstore: looking for records: %w", err)
	}
	return found, nil
}

// limit is none: what PostgreSQL acknowledged is on its disk, however long it stays away.
func (w *postgresWriter) Limit() time.Duration { return 0 }

// lost is never: there is nothing beside the commits.
func (w *postgresWriter) Lost() <-chan error { return nil }

// postgresHead reads the highest seq given out.
func postgresHead(ctx context.Context, db *sql.DB) (int64, error) {
	var head int64
	err := db.QueryRowContext(ctx, "SELECT value FROM writer WHERE name = 'head'").Scan(&head)
	return head, err
}
