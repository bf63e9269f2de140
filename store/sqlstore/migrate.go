package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/people"
)

//go:embed schema
var schemaFiles embed.FS

// migrate brings one part of the schema ("log", "state", "index") up to date. Files are schema/<part>/NNNN_name.sql, each
// applied once, in one transaction, in order. It refuses a database that knows migrations which we do not.
func migrate(ctx context.Context, db *sql.DB, d *dialect, part string) error {
	steps, newest, err := migrations(d, part)
	if err != nil {
		return err
	}
	dialect := database.DialectSQLite3
	if d == postgresDialect {
		dialect = database.DialectPostgres
	}
	table := "schema_" + part
	versions, err := database.NewStore(dialect, table)
	if err != nil {
		return fmt.Errorf("sqlstore: schema of the %s: %w", part, err)
	}
	// Nearly every start finds nothing to do, and finds it with one query.
	have, err := versions.GetLatestVersion(ctx, db)
	if err == nil && have == newest {
		return fillPeople(ctx, db, d, part)
	}
	if err == nil && have > newest {
		return fmt.Errorf("%w: the %s has schema %d and this program knows %d; install the newer version again, or restore a backup made before the update",
			store.ErrNewerSchema, part, have, newest)
	}
	p, err := goose.NewProvider("", db, nil, goose.WithStore(versions), goose.WithGoMigrations(steps...),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("sqlstore: schema of the %s: %w", part, err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("sqlstore: updating the schema of the %s: %w", part, err)
	}
	return fillPeople(ctx, db, d, part)
}

// fillPeople makes what is made from the accounts, where a program that did not know of it has written them.
func fillPeople(ctx context.Context, db *sql.DB, d *dialect, part string) error {
	if part != "state" {
		return nil
	}
	s := &state{d: d, read: db, write: db}
	return people.Store{DB: s.tables()}.IndexAll(ctx, false)
}

// migrations reads the files of a part, in the words of the dialect.
func migrations(d *dialect, part string) (steps []*goose.Migration, newest int64, err error) {
	files, err := fs.Glob(schemaFiles, path.Join("schema", part, "*.sql"))
	if err != nil {
		return nil, 0, err
	}
	for _, f := range files {
		number, _, _ := strings.Cut(path.Base(f), "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, 0, fmt.Errorf("sqlstore: migration %s has no number", f)
		}
		text, err := fs.ReadFile(schemaFiles, f)
		if err != nil {
			return nil, 0, err
		}
		statements := d.types.Replace(stripComments(string(text)))
		steps = append(steps, goose.NewGoMigration(v, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, statements)
			return err
		}}, nil))
		newest = max(newest, v)
	}
	if len(steps) == 0 {
		return nil, 0, errors.New("sqlstore: no schema files for " + part)
	}
	return steps, newest, nil
}

// stripComments removes whole lines of comment, so that they need not follow the dialect's rules for @words.
func stripComments(text string) string {
	lines := strings.Split(text, "\n")
	kept := lines[:0]
	for _, l := range lines {
		if !strings.HasPrefix(l, "--") {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\n")
}
