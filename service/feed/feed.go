// Package feed tells the programs of people what happens, as it happens: it reads the log once for all of them, and hands each
// record to the event streams of whom it is from and to. A stream that was away, or whose reader is slow, goes on from its
// position in the log, so nothing is lost and nothing comes twice; what is not in the log (presence, typing) is told as it is now.
package feed

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// Log is the part of the log that is read here. *sqlstore.Store's is one.
type Log interface {
	Head() int64
	Newest(after int64) ([]*store.Record, bool)
	Read(ctx context.Context, after int64, limit int) ([]store.Record, error)
	Subscribe(fn func(head int64)) (cancel func())
}

// Index finds what somebody missed.
type Index interface {
	WaitFor(seq int64, done func()) (cancel func())
}

// Talks finds what somebody missed; store.Talks is one.
type Talks interface {
	PersonAfter(ctx context.Context, aor string, after int64, limit int) ([]store.Record, error)
	About(ctx context.Context, ids ...id.ID) ([]store.Record, error)
	Talks(ctx context.Context, owner string, before int64, limit int) ([]store.Talk, error)
}

// Follower is a watch of people's presence.
type Follower interface {
	Add(ctx context.Context, owners ...string) error
	Remove(owners ...string)
	Close()
}

// Limits bound what people can make the hub hold. Zero means the default in brackets.
type Limits struct {
	Streams    int           // open at once, of all people [20,000]
	PerSession int           // open at once [5]
	Missed     int           // events that are sent again [10,000]
	Queue      int           // events that wait for a reader that is slow [64]
	Heartbeat  time.Duration // between two events [20 s]
	Grace      time.Duration // for which a session counts as there after its last stream closed [30 s]
	Typing     time.Duration // after which nobody writes who has not said so again [15 s]
}

// Options are what a Hub is made of.
type Options struct {
	Records Log
	Index   Index
	Talks   Talks
	// Since is the position from which on an account may see what was said: its name may have been somebody else's before.
	Since func(ctx context.Context, aor string) (int64, error)
	// Taken is the position up to which any device of an account has taken everything.
	Taken func(ctx context.Context, aor string) (int64, error)
	// Follow tells f of the presence of people as watcher sees it, now and after each change, until the Follower is closed. f
	// does not block.
	Follow func(ctx context.Context, watcher string, owners []string, f func(owner string, seen any)) (Follower, error)
	// Contacts are the addresses in somebody's list.
	Contacts func(ctx context.Context, owner string) ([]string, error)
	// Took is told of records to an account that a session of it has acknowledged. It does not block.
	Took   func(aor, device string, recs []*store.Record)
	Limits Limits

	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are kept but not shown
}

// Hub is where all event streams are. Its methods are safe for concurrent use.
type Hub struct {
	o       Options
	metrics *metrics
	wake    chan struct{} // something to do for Serve
	reads   chan struct{} // those who read what they missed, at most cap at a time
	extend  chan struct{} // who reads outcomes from before the hub began to read
	stop    chan struct{} // closed by Stop
	stopped sync.Once

	open atomic.Int64 // streams

	mu        sync.Mutex // guards what follows
	pos       int64      // everything up to here was handed to the streams
	people    map[string]*person
	unhurried []*Stream // with events that nobody waits for
	sessions  map[string]*session
	leaving   []*session // without streams, in the order in which they lost the last one
	typing    typing
	fates     fates
	changed   []func(aor string)
}

// person is somebody who has a stream open.
type person struct{ streams []*Stream }

// New makes a Hub; Serve runs it.
func New(o Options) *Hub {
	l := &o.Limits
	for _, d := range []struct {
		n    *int
		what int
	}{{&l.Streams, 20_000}, {&l.PerSession, 5}, {&l.Missed, 10_000}, {&l.Queue, 64}} {
		if *d.n == 0 {
			*d.n = d.what
		}
	}
	for _, d := range []struct{ d, what *time.Duration }{{&l.Heartbeat, new(20 * time.Second)}, {&l.Grace, new(30 * time.Second)}, {&l.Typing, new(15 * time.Second)}} {
		if *d.d == 0 {
			*d.d = *d.what
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Hub{o: o, wake: make(chan struct{}, 1), reads: make(chan struct{}, 8), extend: make(chan struct{}, 1), stop: make(chan struct{}),
		people: map[string]*person{}, sessions: map[string]*session{}}
	h.metrics = newMetrics(o.Registerer, h)
	return h
}

// Stop ends all streams, and lets none begin any more: the server stops.
func (h *Hub) Stop() { h.stopped.Do(func() { close(h.stop) }) }

// ErrStopping (Unavailable) is what streams end with when the server stops.
var ErrStopping = errs.Say(errs.New(errs.Unavailable, "feed: the server is stopping"), "the server is stopping; come back in a moment")

// look makes Serve look.
func (h *Hub) look() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// streamsOf are the streams of somebody. h.mu is held.
func (h *Hub) streamsOf(aor string) []*Stream {
	if p := h.people[aor]; p != nil {
		return p.streams
	}
	return nil
}

// notify tells all streams of somebody, but for those of one device.
func (h *Hub) notify(aor, but string, n note, value any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.streamsOf(aor) {
		if but == "" || s.session.device != but {
			s.note(n, value)
		}
	}
}

// ContactsChanged tells somebody's streams that the list of contacts is another one.
func (h *Hub) ContactsChanged(owner string, version int64) {
	h.notify(owner, "", note{kind: Contacts}, version)
}

// DraftChanged tells somebody's streams on other devices of a draft.
func (h *Hub) DraftChanged(owner, device, conversation string) {
	h.notify(owner, device, note{Drafted, conversation}, nil)
}

// SettingsChanged tells somebody's streams that the settings are others.
func (h *Hub) SettingsChanged(owner string) { h.notify(owner, "", note{kind: Settings}, nil) }
