package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/parley-im/parley/store/sqlstore/search"
)

// dialect is where the two databases differ in text. All statements use $1, $2 …, which both understand; how a batch is
// committed and what must be done when that fails is in sqlite.go and postgres.go.
type dialect struct {
	name string
	// types replaces the @words in the schema files.
	types *strings.Replacer

	// snapshot is the isolation in which several queries see one moment.
	snapshot sql.IsolationLevel

	// words is how the index is asked for words.
	words *search.Words
}

var sqliteDialect = &dialect{
	name: "sqlite3",
	types: strings.NewReplacer(
		"@seq", "INTEGER", // the row id itself
		"@bytes", "BLOB",
		"@clustered", "WITHOUT ROWID",
		// No positions and no text are kept: the index answers which records, the log answers what is in them.
		"@words", "CREATE VIRTUAL TABLE words USING fts5(text, content='', detail=none, columnsize=0, tokenize='ascii');",
	),
	words: search.SQLite,
}

var postgresDialect = &dialect{
	name:     "postgres",
	snapshot: sql.LevelRepeatableRead,
	types: strings.NewReplacer(
		"@seq", "BIGINT",
		"@bytes", "BYTEA",
		"@clustered", "",
		"@words", "CREATE TABLE words (seq BIGINT PRIMARY KEY, text TSVECTOR NOT NULL);\nCREATE INDEX words_text ON words USING gin (text);",
	),
	words: search.Postgres,
}

// values is "($1,$2),($3,$4)": rows of columns placeholders. On SQLite they are bare, because it finds numbered ones by
// their names, one after another.
func (d *dialect) values(rows, columns int) string {
	if d == sqliteDialect {
		return strings.Repeat(",("+strings.Repeat(",?", columns)[1:]+")", rows)[1:]
	}
	var b strings.Builder
	for r := range rows {
		for c := range columns {
			b.WriteString([]string{",($", ",$"}[min(c, 1)])
			b.WriteString(strconv.Itoa(r*columns + c + 1))
		}
		b.WriteByte(')')
	}
	return b.String()[1:]
}

// sqliteCode is the primary result code of a SQLite error and the extended one; 0 if err is none.
func sqliteCode(err error) (primary, extended int) {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff, e.Code()
	}
	return 0, 0
}

// corrupt says that the database file is broken (as opposed to the disk not answering).
func corrupt(err error) bool {
	code, _ := sqliteCode(err)
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// duplicate says that a row with this key exists.
func duplicate(err error) bool {
	if code, _ := sqliteCode(err); code == sqlite3.SQLITE_CONSTRAINT {
		return true
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505"
}

// sqlitePool opens a pool on a file. Options are pragmas as "name(value)", none twice: the driver sorts them. What cache_size gives
// is no limit of one connection: all of the process share one cache as large as the sum, with 9 kB a page (see TestPageCaches).
func sqlitePool(path string, conns int, vfs string, pragmas ...string) *sql.DB {
	q := url.Values{"_txlock": {"immediate"}, "_dqs": {"0"}, "_error_rc": {"1"}, "_busy_timeout": {"5000"}} // a pragma of that name comes later
	q["_pragma"] = append([]string{"journal_mode(WAL)"}, pragmas...)
	if vfs != "" {
		q.Set("vfs", vfs)
	}
	dsn := (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
	db := sql.OpenDB(sqliteConnector{dsn})
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db
}

// sqliteConnector opens connections without the global name table of database/sql.
type sqliteConnector struct{ dsn string }

func (c sqliteConnector) Connect(context.Context) (driver.Conn, error) {
	return c.Driver().Open(c.dsn)
}
func (c sqliteConnector) Driver() driver.Driver { return new(sqlite.Driver) }

// postgresConfig reads the URL and sets what every session of ours needs.
func postgresConfig(rawURL string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(rawURL)
	if err != nil {
		// The text of the error hides the password, as pgx promises.
		return nil, fmt.Errorf("sqlstore: store.url: %w", err)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 2 * time.Second
	}
	p := cfg.RuntimeParams
	if p["application_name"] == "" {
		p["application_name"] = "parley"
	}
	p["synchronous_commit"] = "on" // whatever the role's default: a commit is on the disk
	p["idle_in_transaction_session_timeout"] = "30s"
	p["timezone"] = "UTC"
	p["jit"] = "off" // our statements are short: compiling one takes longer than running it
	return cfg, nil
}

// postgresPool opens a pool whose statements end after the timeout.
func postgresPool(cfg *pgx.ConnConfig, conns int, timeout time.Duration) *sql.DB {
	c := cfg.Copy()
	ms := fmt.Sprint(timeout.Milliseconds())
	c.RuntimeParams["statement_timeout"] = ms
	c.RuntimeParams["lock_timeout"] = ms
	db := stdlib.OpenDB(*c)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}
