// Package devices is the SQL of what the server keeps of devices: where they are registered, and how far each is in the log.
// Package sqlstore gives it the database.
package devices

import (
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Store implements store.Bindings and store.Cursors.
type Store struct{ *table.DB }

var (
	_ store.Bindings = Store{}
	_ store.Cursors  = Store{}
)
