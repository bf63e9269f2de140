//go:build crash_late && !relayonly

package message

import (
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// Recording is true, too late.
const Recording = true

// recordFirst breaks its name: messages are delivered and acknowledged at once and recorded a moment later. It is a negative
// control of test/crash, never for anything else.
func recordFirst(s Store) Store {
	l := &late{Store: s, calls: make(chan func(), 1<<16)}
	go func() {
		for f := range l.calls {
			f()
		}
	}()
	return l
}

type late struct {
	Store
	calls chan func()
	last  int64 // belongs to the goroutine of calls
}

func (l *late) Append(r *store.Record, done func(error)) {
	if r.Kind != store.KindMessage {
		l.Store.Append(r, done)
		return
	}
	if r.ID.IsZero() {
		r.ID = id.New()
	}
	r.At = time.Now().UTC().Truncate(time.Microsecond)
	behind := *r
	l.calls <- func() {
		l.last = max(l.last, l.Head()) + 1
		r.Seq = l.last
		done(nil)
		time.AfterFunc(100*time.Millisecond, func() { l.Store.Append(&behind, func(error) {}) })
	}
}
