package sqlstore

import (
	"context"
	"database/sql"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/accounts"
	"github.com/parley-im/parley/store/sqlstore/devices"
	"github.com/parley-im/parley/store/sqlstore/drafts"
	"github.com/parley-im/parley/store/sqlstore/files"
	"github.com/parley-im/parley/store/sqlstore/people"
	"github.com/parley-im/parley/store/sqlstore/presence"
	"github.com/parley-im/parley/store/sqlstore/sessions"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// state is the database of everything beside the log; the packages in the folders below keep their tables in it. Writes go
// through a pool of one connection on SQLite, so that they wait for each other in our process and not in the database's busy
// handler.
type state struct {
	d           *dialect
	read, write *sql.DB
	points      *checkpointer // of write; nil on PostgreSQL
}

// tables is the database as those packages see it.
func (s *state) tables() *table.DB {
	return &table.DB{Read: s.read, Snapshot: s.d.snapshot, Change: s.change, Values: s.d.values, Duplicate: duplicate}
}

// change runs fn in a transaction.
func (s *state) change(ctx context.Context, doing string, fn func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err, "sqlstore: "+doing)
	}
	if err := fn(tx); err != nil {
		tx.Rollback()
		if errs.KindOf(err) != errs.Internal {
			return err
		}
		return unavailable(err, "sqlstore: "+doing)
	}
	if err := tx.Commit(); err != nil {
		return unavailable(err, "sqlstore: "+doing)
	}
	s.points.written(64 << 10) // a guess: most transactions are small, but touch many pages
	return nil
}

func (s *Store) accounts() accounts.Store {
	return accounts.Store{DB: s.state.tables(), Head: s.log.Head}
}

// Users are the accounts.
func (s *Store) Users() store.Users { return s.accounts() }

// Settings are small values.
func (s *Store) Settings() store.Settings { return s.accounts() }

// Bindings are the registered contacts.
func (s *Store) Bindings() store.Bindings { return devices.Store{DB: s.state.tables()} }

// Cursors are the cursors of devices.
func (s *Store) Cursors() store.Cursors { return devices.Store{DB: s.state.tables()} }

// People finds people in the directory.
func (s *Store) People() store.People { return people.Store{DB: s.state.tables()} }

// Contacts are the lists of contacts.
func (s *Store) Contacts() store.Contacts { return people.Store{DB: s.state.tables()} }

// Presence is what people's presence is made of.
func (s *Store) Presence() store.Presence { return presence.New(s.state.tables()) }

// Drafts are what people have written but not sent.
func (s *Store) Drafts() store.Drafts { return drafts.Store{DB: s.state.tables()} }

// Files are the files that people send each other.
func (s *Store) Files() store.Files { return files.Store{DB: s.state.tables()} }

// Sessions are those who are signed in over HTTP.
func (s *Store) Sessions() store.Sessions { return sessions.Store{DB: s.state.tables()} }

// PersonSettings are what people have set.
func (s *Store) PersonSettings() store.PersonSettings { return sessions.Store{DB: s.state.tables()} }

// PushSubscriptions are where notifications go.
func (s *Store) PushSubscriptions() store.PushSubscriptions {
	return sessions.Store{DB: s.state.tables()}
}
