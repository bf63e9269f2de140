package sqlstore

import (
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/drafts"
)

// Drafts are what people have written but not sent.
func (s *Store) Drafts() store.Drafts {
	return drafts.Store{DB: drafts.DB{Read: s.state.read, Change: s.state.change, Scrub: scrub}}
}
