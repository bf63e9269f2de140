package sqlstore

import (
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/devices"
	"github.com/parley-im/parley/store/sqlstore/people"
	"github.com/parley-im/parley/store/sqlstore/presence"
	"github.com/parley-im/parley/store/sqlstore/sessions"
)

// Bindings are the registered contacts.
func (s *Store) Bindings() store.Bindings { return s.devices() }

// Cursors are the cursors of devices.
func (s *Store) Cursors() store.Cursors { return s.devices() }

func (s *Store) devices() devices.Store {
	return devices.Store{DB: devices.DB{Read: s.state.read, Change: s.state.change, Values: s.state.d.values, Scrub: scrub}}
}

// People finds people in the directory.
func (s *Store) People() store.People { return s.state.people() }

// Contacts are the lists of contacts.
func (s *Store) Contacts() store.Contacts { return s.state.people() }

// Presence is what people's presence is made of.
func (s *Store) Presence() store.Presence {
	return presence.New(presence.DB{Read: s.state.read, Change: s.state.change, Values: s.state.d.values, Scrub: scrub})
}

// Sessions are those who are signed in over HTTP.
func (s *Store) Sessions() store.Sessions { return s.sessions() }

// PersonSettings are what people have set.
func (s *Store) PersonSettings() store.PersonSettings { return s.sessions() }

// PushSubscriptions are where notifications go.
func (s *Store) PushSubscriptions() store.PushSubscriptions { return s.sessions() }

func (s *Store) sessions() sessions.Store {
	return sessions.Store{DB: sessions.DB{Read: s.state.read, Change: s.state.change, Scrub: scrub}}
}

func (s *state) people() people.Store {
	return people.Store{DB: people.DB{Read: s.read, Snapshot: s.d.snapshot, Change: s.change, Values: s.d.values, Duplicate: duplicate}}
}
