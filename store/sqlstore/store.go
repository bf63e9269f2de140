// Package sqlstore keeps the store in SQL: in SQLite files in the data folder, or in PostgreSQL. It owns the committer, which
// makes everything that waits durable with one sync, and the index, which is made from the log and can be lost.
//
// In the data folder: log.db and state.db (the records, and everything else) with their WALs, index.db, "lock" with
// the pid of the server, "log.refused" (empty but after a failure), "log.head" (how far the log was written, see damage.go)
// and, with PostgreSQL, "node" with the name of this node.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/committer"
	"github.com/parley-im/parley/store/crashpoint"
	"github.com/parley-im/parley/store/sqlstore/filing"
	"github.com/parley-im/parley/store/sqlstore/waiting"
	"github.com/parley-im/parley/store/sqlstore/walscan"
	"github.com/parley-im/parley/store/words"
)

// Options of Open.
type Options struct {
	Dir        string                                  // the data folder; must exist; required with PostgreSQL as well
	URL        string                                  // "" for SQLite in Dir, or postgres://…
	Log        *slog.Logger                            // nil: nothing is logged
	Registerer prometheus.Registerer                   // nil: metrics are kept but not shown
	Text       func(*store.Record) string              // the text of a record for search; nil: words.PlainText
	queue      int                                     // tests: a shorter queue
	patience   time.Duration                           // tests: records wait longer before they are refused, on a machine that does other things beside
	vfs        string                                  // SQLite's virtual file system, for tests that break it
	hookSQLite func(log *sql.DB) error                 // tests: limits on the writer's connection
	limit      func(committer.Writer) committer.Writer // tests: a writer with other limits
}

// Store is an open store. Nothing is recorded or indexed until Serve runs.
type Store struct {
	o      Options
	lock   *folderLock
	log    *log
	state  *state
	index  *index
	recent *recent
	dbs    []*sql.DB
	m      *metrics

	points []*checkpointer // SQLite: log, state
	head   func(context.Context) (int64, error)
	look   func(context.Context) // SQLite: looks for what is missing

	mu     sync.Mutex
	closed bool
	lost   bool // Serve ended with ErrLogLost: the files of the log stay open, see errUnsynced
}

// Open opens the store in a data folder, brings its schema up to date, and settles what a crash left. Errors: store.ErrInUse
// when another server has the folder, store.ErrNewerSchema, and what the databases say.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Text == nil {
		o.Text = words.PlainText
	}
	if st, err := os.Stat(o.Dir); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("sqlstore: the data folder %q does not exist or is no folder: %w", o.Dir, err)
	}
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	if o.vfs == "" {
		o.vfs = crashpoint.VFS()
	}
	s := &Store{o: o, lock: lock, m: newMetrics(o.Registerer)}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	open := s.openSQLite
	if s.o.URL != "" {
		open = s.openPostgres
	}
	if err := open(ctx); err != nil {
		return err
	}
	if err := s.index.start(ctx); err != nil {
		return err
	}
	if s.look != nil {
		s.look(ctx) // before anything is written
	}
	if err := s.log.followIDs(ctx); err != nil {
		return err
	}
	return s.log.Settle(ctx)
}

// pool remembers a pool to close.
func (s *Store) pool(db *sql.DB) *sql.DB {
	s.dbs = append(s.dbs, db)
	return db
}

func (s *Store) openSQLite(ctx context.Context) error {
	file := func(name string) string {
		abs, err := filepath.Abs(filepath.Join(s.o.Dir, name))
		if err != nil {
			return filepath.Join(s.o.Dir, name)
		}
		return abs
	}
	broken, err := walscan.Scan(file("log.db-wal"))
	if err != nil {
		return err
	}
	// The writer never waits long inside SQLite: it is the committer that tries again. Checkpoints are the checkpointer's.
	write := sqlitePool(file("log.db"), 1, s.o.vfs, "busy_timeout(100)", logSync, "wal_autocheckpoint(0)", "cache_size(-2000)")
	if err := migrate(ctx, s.pool(write), sqliteDialect, "log"); err != nil {
		return explain(err, s.o.Dir)
	}
	if s.o.hookSQLite != nil {
		if err := s.o.hookSQLite(write); err != nil {
			return err
		}
	}
	points := s.checkpoints("log.db", file("log.db"), 4<<20)
	w, err := openSQLiteWriter(ctx, write, points)
	if err != nil {
		return err
	}
	known := int64(0)
	if w.mark, known, err = openMark(s.o.Dir); err != nil {
		return err
	}
	s.look = func(ctx context.Context) { s.lookForMissing(ctx, w, known, broken) }
	read := s.pool(sqlitePool(file("log.db"), 4, s.o.vfs, "query_only(1)", "wal_autocheckpoint(0)", "cache_size(-1000)"))
	if err := s.openLog(w, read, w.next-1); err != nil {
		return err
	}

	s.state = &state{d: sqliteDialect,
		write: s.pool(sqlitePool(file("state.db"), 1, s.o.vfs, "synchronous(FULL)", "wal_autocheckpoint(0)", "cache_size(-1000)")),
		read:  s.pool(sqlitePool(file("state.db"), 4, s.o.vfs, "query_only(1)", "cache_size(-1000)")),
	}
	if err := migrate(ctx, s.state.write, sqliteDialect, "state"); err != nil {
		return explain(err, s.o.Dir)
	}
	s.state.points = s.checkpoints("state.db", file("state.db"), 4<<20)
	s.state.points.failed = points.failed // ends the process as well

	path := file("index.db")
	s.newIndex(sqliteDialect, path, func(ctx context.Context) (*sql.DB, indexWriter, error) {
		// A lost tail of the index is made again, so it syncs at checkpoints only.
		write := sqlitePool(path, 1, s.o.vfs, "synchronous(NORMAL)", "wal_autocheckpoint(0)", "cache_size(-8000)")
		err := migrate(ctx, write, sqliteDialect, "index")
		if err != nil {
			write.Close()
			return nil, nil, err
		}
		points := sqlitePool(path, 1, s.o.vfs, "synchronous(NORMAL)", "wal_autocheckpoint(0)", "busy_timeout(100)", "cache_size(-100)")
		w, err := newSQLiteIndex(ctx, write, newCheckpointer("index.db", 16<<20, points, s.o.Log, s.m))
		if err != nil {
			return nil, nil, errors.Join(err, points.Close(), write.Close())
		}
		return sqlitePool(path, 4, s.o.vfs, "query_only(1)", "cache_size(-1000)"), w, nil
	})
	return nil
}

// checkpoints makes the checkpointer of a file; Serve runs it.
func (s *Store) checkpoints(name, path string, every int64) *checkpointer {
	db := s.pool(sqlitePool(path, 1, s.o.vfs, "busy_timeout(100)", "synchronous(FULL)", "wal_autocheckpoint(0)", "cache_size(-100)"))
	c := newCheckpointer(name, crashpoint.Every(every), db, s.o.Log, s.m)
	s.points = append(s.points, c)
	return c
}

// explain adds what to do to errors of opening the files.
func explain(err error, dir string) error {
	switch {
	case corrupt(err):
		return fmt.Errorf("%w: a database file in %s is damaged; restore a backup into an empty folder", err, dir)
	case errors.Is(err, store.ErrNewerSchema):
		return err
	}
	return fmt.Errorf("%w (data folder %s)", err, dir)
}

// openLog makes the log over its writer.
func (s *Store) openLog(w committer.Writer, read *sql.DB, head int64) error {
	if s.o.limit != nil {
		w = s.o.limit(w)
	}
	s.recent = newRecent()
	s.log = &log{db: read, slog: s.o.Log, m: s.m, Committer: committer.New(w, committer.Options{Dir: s.o.Dir, Head: head, Log: s.o.Log, Registerer: s.o.Registerer,
		Landed: s.recent.add, MaxRecords: s.o.queue, Patience: s.o.patience})}
	return nil
}

func (s *Store) newIndex(d *dialect, path string, open func(context.Context) (*sql.DB, indexWriter, error)) {
	s.index = &index{log: s.log, d: d, open: open, path: path, text: s.o.Text, slog: s.o.Log, m: s.m,
		recent: s.recent, known: filing.NewKnown(), wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), broken: make(chan struct{}, 1)}
	s.index.waiting = waiting.New(s.index.position.Load)
}

// Timeouts of statements beside the log's own.
const (
	stateTimeout = 5 * time.Second
	indexTimeout = 30 * time.Second
)

func (s *Store) openPostgres(ctx context.Context) error {
	cfg, err := postgresConfig(s.o.URL)
	if err != nil {
		return err
	}
	db := s.pool(postgresPool(cfg, 8, stateTimeout))
	if err := s.migratePostgres(ctx, cfg); err != nil {
		return err
	}
	w, err := openPostgresWriter(ctx, cfg, s.o.Dir)
	if err != nil {
		return err
	}
	head, err := postgresHead(ctx, db)
	if err != nil {
		return fmt.Errorf("sqlstore: reading the head of the log: %w", err)
	}
	if err := s.openLog(w, db, head); err != nil {
		return err
	}
	s.head = func(ctx context.Context) (int64, error) { return postgresHead(ctx, db) }
	s.state = &state{d: postgresDialect, read: db, write: db}
	s.newIndex(postgresDialect, "", func(context.Context) (*sql.DB, indexWriter, error) {
		return postgresPool(cfg, 4, stateTimeout), &postgresIndex{postgresPool(cfg, 1, indexTimeout)}, nil
	})
	return nil
}

// migratePostgres brings all three parts up to date; one node at a time, and without a timeout, for a later migration may
// take long.
func (s *Store) migratePostgres(ctx context.Context, cfg *pgx.ConnConfig) error {
	db := postgresPool(cfg, 2, 0)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("sqlstore: connecting to PostgreSQL (store.url): %w", err)
	}
	defer conn.Close()
	const key = 0x7061726c6579 // "parley"
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(key)); err != nil {
		return fmt.Errorf("sqlstore: waiting for another node to update the schema: %w", err)
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(key))
	for _, part := range []string{"log", "state", "index"} {
		if err := migrate(ctx, db, postgresDialect, part); err != nil {
			return err
		}
	}
	return nil
}

// Log is the log.
func (s *Store) Log() store.Log { return s.log }

// Index is the index of the log.
func (s *Store) Index() store.Index { return s.index }

// Ping says whether the databases answer; for readiness.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	for _, db := range []*sql.DB{s.log.db, s.state.read} {
		if err := db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
			return unavailable(err, "sqlstore")
		}
	}
	return nil
}

// Healthy returns nil while the log can be written, else why it cannot.
func (s *Store) Healthy() error { return s.log.Healthy() }

// Serve records and indexes until ctx ends; what was appended before is settled then. It returns store.ErrLogLost (wrapped)
// when the log could not be brought back to a known state after a failure: the process must end, and start again.
func (s *Store) Serve(ctx context.Context) error {
	// The committer goes last, so that what the others do in their last moments is still recorded.
	side, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { s.index.Serve(side) })
	for _, c := range s.points {
		wg.Go(func() { c.serve(side) })
	}
	if s.head != nil {
		wg.Go(func() { s.follow(side) })
	}
	err := s.log.Serve(ctx)
	cancel()
	wg.Wait()
	s.mu.Lock()
	s.lost = errors.Is(err, store.ErrLogLost)
	s.mu.Unlock()
	return err
}

// follow looks at what other nodes append.
func (s *Store) follow(ctx context.Context) {
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if head, err := s.head(ctx); err == nil {
			s.log.Observe(head)
		}
	}
}

// Close closes the databases and gives the folder free. Call it after Serve has returned. After store.ErrLogLost it leaves
// the files to the end of the process.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.m.close()
	var errs []error
	if s.index != nil {
		errs = append(errs, s.index.close())
	}
	if s.lost {
		s.log.Forget()
		return errors.Join(append(errs, s.lock.Close())...)
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	for _, db := range s.dbs {
		errs = append(errs, db.Close())
	}
	errs = append(errs, s.lock.Close())
	return errors.Join(errs...)
}
