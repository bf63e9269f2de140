// Package files is the SQL of the files that people send each other. Package sqlstore gives it the database.
package files

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// DB is the database as sqlstore has it.
type DB struct {
	Read *sql.DB
	// Change runs a function in a transaction; what it returns without a kind becomes Unavailable.
	Change func(ctx context.Context, doing string, fn func(*sql.Tx) error) error
	// Values is "($1,$2),($3,$4)": rows of columns placeholders.
	Values func(rows, columns int) string
	// Scrub makes every text fit for the database.
	Scrub func(args []any)
}

// most is how many keys are in a statement.
const most = 200

// Store implements store.Files.
type Store struct{ DB }

var _ store.Files = Store{}

// AddFile is store.Files.AddFile.
func (s Store) AddFile(ctx context.Context, f store.File, q store.FileQuota) error {
	if f.Created.IsZero() {
		f.Created = time.Now()
	}
	return s.Change(ctx, "adding a file", func(tx *sql.Tx) error {
		var one, n int
		var bytes int64
		err := tx.QueryRowContext(ctx, `SELECT 1 FROM users WHERE aor = $1`, f.Owner).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("files: user %s: %w", f.Owner, store.ErrNotFound)
		}
		if err != nil {
			return err
		}
		err = tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(size), 0) FROM files WHERE owner = $1 AND recorded = 0`, f.Owner).Scan(&n, &bytes)
		if err != nil {
			return err
		}
		if n >= q.Files || bytes+f.Size > q.Bytes {
			return errs.New(errs.TooMany, "files: %s has %d files of %d bytes that no message names", f.Owner, n, bytes)
		}
		args := fileArgs(&f)
		s.Scrub(args)
		_, err = tx.ExecContext(ctx, `INSERT INTO files (`+Columns+`) VALUES `+s.Values(1, Count), args...)
		return err
	})
}

// File is store.Files.File.
func (s Store) File(ctx context.Context, id string) (*store.File, error) {
	f, err := scanFile(s.Read.QueryRowContext(ctx, `SELECT `+Columns+` FROM files WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("files: file %s: %w", id, store.ErrNotFound)
	}
	return f, errs.Wrap(errs.Unavailable, err, "files: reading a file")
}

// CompleteFile is store.Files.CompleteFile.
func (s Store) CompleteFile(ctx context.Context, f store.File) error {
	return s.Change(ctx, "completing a file", func(tx *sql.Tx) error {
		args := []any{f.ID, f.Name, f.Type, f.Size, f.SHA256[:], hash(f.Thumbnail), f.Width, f.Height}
		s.Scrub(args)
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
	var one int
	if err := tx.QueryRowContext(ctx, `SELECT 1 FROM files WHERE id = $1`, id).Scan(&one); errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("files: file %s: %w", id, store.ErrNotFound)
	} else if err != nil {
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
	rows, err := s.Read.QueryContext(ctx, `SELECT `+Columns+` FROM files WHERE `+which+` AND created < $1 ORDER BY created, id LIMIT $2`, before.UnixMicro(), limit)
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, "files: reading old files")
	}
	defer rows.Close()
	var list []store.File
	for rows.Next() {
		f, err := scanFile(rows)
		if err != nil {
			return nil, errs.Wrap(errs.Unavailable, err, "files: reading old files")
		}
		list = append(list, *f)
	}
	return list, errs.Wrap(errs.Unavailable, rows.Err(), "files: reading old files")
}

// RemoveFiles is store.Files.RemoveFiles.
func (s Store) RemoveFiles(ctx context.Context, ids ...string) error {
	return s.Change(ctx, "removing files", func(tx *sql.Tx) error {
		for part := range slices.Chunk(ids, most) {
			args := make([]any, len(part))
			for i := range part {
				args[i] = part[i]
			}
			s.Scrub(args)
			if _, err := tx.ExecContext(ctx, `DELETE FROM files WHERE id IN `+s.Values(1, len(part)), args...); err != nil {
				return err
			}
		}
		return nil
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
