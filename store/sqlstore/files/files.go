// Package files is the SQL of the files that people send each other. Package sqlstore gives it the database.
package files

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Store implements store.Files.
type Store struct{ *table.DB }

var _ store.Files = Store{}

// files is their table.
var files = table.Table[store.File]{
	Shape: table.Shape{Name: "files", Key: "id", Columns: "id, owner, conversation, name, type, size, sha256, thumbnail, width, height, created, recorded"},
	Args: func(f *store.File) []any {
		return []any{f.ID, f.Owner, f.Conversation, f.Name, f.Type, f.Size, hash(f.SHA256), hash(f.Thumbnail), f.Width, f.Height, table.Micros(f.Created), f.Recorded}
	},
	Scan: func(r table.Row) (f store.File, err error) {
		var sum, small []byte
		var created int64
		err = r.Scan(&f.ID, &f.Owner, &f.Conversation, &f.Name, &f.Type, &f.Size, &sum, &small, &f.Width, &f.Height, &created, &f.Recorded)
		copy(f.SHA256[:], sum)
		copy(f.Thumbnail[:], small)
		f.Created = table.FromMicros(created)
		return f, err
	},
}

// hash is h as a column has it: no bytes for none.
func hash(h store.BlobHash) []byte {
	if h.IsZero() {
		return []byte{}
	}
	return h[:]
}

// AddFile is store.Files.AddFile.
func (s Store) AddFile(ctx context.Context, f store.File, q store.FileQuota) error {
	if f.Created.IsZero() {
		f.Created = time.Now()
	}
	return s.Change(ctx, "adding a file", func(tx *sql.Tx) error {
		if err := table.Account(ctx, tx, "files", f.Owner); err != nil {
			return err
		}
		var n int
		var bytes int64
		err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(size), 0) FROM files WHERE owner = $1 AND recorded = 0`, f.Owner).Scan(&n, &bytes)
		if err != nil {
			return err
		}
		if n >= q.Files || bytes+f.Size > q.Bytes {
			return errs.New(errs.TooMany, "files: %s has %d files of %d bytes that no message names", f.Owner, n, bytes)
		}
		return files.Add(ctx, tx, s.DB, &f)
	})
}

// File is store.Files.File.
func (s Store) File(ctx context.Context, id string) (*store.File, error) {
	return files.One(ctx, s.Read, "files: reading a file", "files: file "+id, `WHERE id = $1`, id)
}

// CompleteFile is store.Files.CompleteFile.
func (s Store) CompleteFile(ctx context.Context, f store.File) error {
	return s.Change(ctx, "completing a file", func(tx *sql.Tx) error {
		args := []any{f.ID, f.Name, f.Type, f.Size, f.SHA256[:], hash(f.Thumbnail), f.Width, f.Height}
		table.Scrub(args)
		r, err := tx.ExecContext(ctx, `UPDATE files SET name = $2, type = $3, size = $4, sha256 = $5, thumbnail = $6, width = $7, height = $8
			WHERE id = $1 AND length(sha256) = 0`, args...)
		return s.changed(ctx, tx, r, err, f.ID, "is complete")
	})
}

// ClaimFile is store.Files.ClaimFile.
func (s Store) ClaimFile(ctx context.Context, id, conversation string) error {
	return s.Change(ctx, "claiming a file", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE files SET conversation = $2 WHERE id = $1 AND length(sha256) > 0 AND (conversation = $2 OR conversation = '')`, id, conversation)
		return s.changed(ctx, tx, r, err, id, "is not complete, or in another conversation")
	})
}

// changed says why a row was not.
func (s Store) changed(ctx context.Context, tx *sql.Tx, r sql.Result, err error, id, why string) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err != nil || n > 0 {
		return err
	}
	if err := table.There(ctx, tx, "files: file "+id, `SELECT 1 FROM files WHERE id = $1`, id); err != nil {
		return err
	}
	return errs.New(errs.Conflict, "files: file %s %s", id, why)
}

// RecordFiles is store.Files.RecordFiles.
func (s Store) RecordFiles(ctx context.Context, seqs map[string]int64) error {
	return s.Change(ctx, "noting which messages name files", func(tx *sql.Tx) error {
		for _, id := range slices.Sorted(maps.Keys(seqs)) {
			if _, err := tx.ExecContext(ctx, `UPDATE files SET recorded = $2 WHERE id = $1 AND recorded = 0`, id, seqs[id]); err != nil {
				return err
			}
		}
		return nil
	})
}

// OldFiles is store.Files.OldFiles.
func (s Store) OldFiles(ctx context.Context, recorded bool, before time.Time, limit int) ([]store.File, error) {
	which := `recorded = 0`
	if recorded {
		which = `recorded > 0`
	}
	return files.List(ctx, s.Read, "files: reading old files", `WHERE `+which+` AND created < $1 ORDER BY created, id LIMIT $2`, before.UnixMicro(), limit)
}

// RemoveFiles is store.Files.RemoveFiles.
func (s Store) RemoveFiles(ctx context.Context, ids ...string) error {
	return s.Change(ctx, "removing files", func(tx *sql.Tx) error {
		return s.Delete(ctx, tx, "files", "id", ids)
	})
}

// HasContent is store.Files.HasContent.
func (s Store) HasContent(ctx context.Context, h store.BlobHash) (bool, error) {
	var n int
	err := s.Read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM (SELECT 1 FROM files WHERE sha256 = $1 LIMIT 1) AS a)
		+ (SELECT count(*) FROM (SELECT 1 FROM files WHERE thumbnail = $1 LIMIT 1) AS b)`, h[:]).Scan(&n)
	return n > 0, errs.Wrap(errs.Unavailable, err, "files: looking for content")
}

// CountOpen is store.Files.CountOpen.
func (s Store) CountOpen(ctx context.Context) (n int, err error) {
	err = s.Read.QueryRowContext(ctx, `SELECT count(*) FROM files WHERE recorded = 0 AND length(sha256) = 0`).Scan(&n)
	return n, errs.Wrap(errs.Unavailable, err, "files: counting uploads")
}

// Forget removes the files of an account that no message names. Package sqlstore calls it when it removes the account.
func Forget(ctx context.Context, tx *sql.Tx, aor string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM files WHERE owner = $1 AND recorded = 0`, aor)
	return err
}
