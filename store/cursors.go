package store

import (
	"context"
	"time"
)

// Cursor is how far one device is in the log: the outcome of every message to AOR up to Seq is settled for it.
//
// The cursor with Device "" is the account's own: the highest Seq that any device took. A new device begins there, for it
// gets what no device took and not the history.
type Cursor struct {
	AOR, Device string
	Seq         int64
	Created     time.Time // when the device was first seen
	Seen        time.Time // when it was last seen
	Lapsed      bool      // was away too long: owed nothing until it is seen again
}

// CursorKey names a cursor.
type CursorKey struct{ AOR, Device string }

// Cursors keeps the cursors of devices. Writers write behind, in batches; what a crash loses is delivered again.
type Cursors interface {
	// LoadCursors returns those of one account, in the order of their devices; the account's own first.
	LoadCursors(ctx context.Context, aor string) ([]Cursor, error)
	// AllCursors calls fn for every cursor, in the order of AOR and device, until fn returns an error (ErrStop: nil).
	AllCursors(ctx context.Context, fn func(Cursor) error) error
	// SaveCursors writes put and removes del in one transaction. A Seq never goes back: the higher one is kept.
	SaveCursors(ctx context.Context, put []Cursor, del []CursorKey) error
}

// Settings keeps small values under names, such as the public half of a key or the time of the last lapse of cursors.
type Settings interface {
	// Setting returns the value, or ErrNotFound.
	Setting(ctx context.Context, name string) ([]byte, error)
	// SetSetting writes it; a nil value removes it.
	SetSetting(ctx context.Context, name string, value []byte) error
}
