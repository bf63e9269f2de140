package sqlstore

import (
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/files"
)

// Files are the files that people send each other.
func (s *Store) Files() store.Files {
	return files.Store{DB: files.DB{Read: s.state.read, Change: s.state.change, Values: s.state.d.values, Scrub: scrub}}
}
