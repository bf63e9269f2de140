package message

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/service/message/said"
	"github.com/parley-im/parley/store"
)

// repeats is the window in which a message that comes again is recognised. It is bounded by time: a
// key lives between one and two windows, at about 30 bytes; a busy day of a million messages is 30 to 60 MB.
type repeats struct {
	seed   maphash.Seed
	window time.Duration

	mu     sync.Mutex
	now    *said.Table // keys of this window
	before *said.Table // and of the one before
	turned time.Time
	flying map[uint64]*pending // not answered yet
}

func newRepeats(window time.Duration) *repeats {
	return &repeats{
		seed: maphash.MakeSeed(), window: window, turned: time.Now(),
		now: &said.Table{}, before: &said.Table{}, flying: map[uint64]*pending{},
	}
}

// keys are what makes a record a repeat of another: who to whom, and one of Call-ID with From tag and
// CSeq, imdn.Message-ID, or the id of an API request. Equal text alone never does.
func (w *repeats) keys(r *store.Record) []uint64 {
	var keys []uint64
	if callID := r.MetaValue(store.MetaCallID); callID != "" {
		keys = append(keys, key(w.seed, "c", r.From, r.To, callID, r.MetaValue(store.MetaFromTag), r.MetaValue(store.MetaCSeq)))
	}
	if m := r.MetaValue(store.MetaMessageID); m != "" && r.Kind == store.KindMessage {
		keys = append(keys, messageKey(w.seed, r.From, r.To, m))
	}
	if q := r.MetaValue(store.MetaRequestID); q != "" {
		keys = append(keys, key(w.seed, "q", r.From, r.To, q))
	}
	return keys
}

func messageKey(seed maphash.Seed, from, to, messageID string) uint64 {
	return key(seed, "m", from, to, messageID)
}

func key(seed maphash.Seed, parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, p := range parts {
		h.WriteString(p)
		h.WriteByte(0)
	}
	return h.Sum64()
}

// begin notes p. known means that it was said before: first is that message while it is not answered yet,
// else nil, and old is the record there is.
func (w *repeats) begin(p *pending) (first *pending, old said.Said, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(time.Now())
	for _, k := range p.keys {
		if first := w.flying[k]; first != nil {
			return first, said.Said{}, true
		}
		if old, ok := w.lookup(k); ok {
			return nil, old, true
		}
	}
	for _, k := range p.keys {
		w.now.Set(k, said.Said{ID: p.rec.ID})
		w.flying[k] = p
	}
	return nil, said.Said{}, false
}

func (w *repeats) lookup(k uint64) (said.Said, bool) {
	if old, ok := w.now.Get(k); ok {
		return old, true
	}
	return w.before.Get(k)
}

// find returns the record with that key; zero when it is not in the window.
func (w *repeats) find(k uint64) id.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, _ := w.lookup(k)
	return old.ID
}

// landed ends the time in which repeats of p wait for its answer; later ones get the same.
func (w *repeats) landed(p *pending, status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range p.keys {
		if w.flying[k] == p {
			delete(w.flying, k)
		}
		for _, window := range [...]*said.Table{w.now, w.before} {
			if old, ok := window.Get(k); ok && old.ID == p.rec.ID {
				old.Status = uint16(status)
				window.Set(k, old)
			}
		}
	}
}

// forget takes p back: it was not recorded, so saying it again is no repeat.
func (w *repeats) forget(p *pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range p.keys {
		w.now.Remove(k)
		w.before.Remove(k)
	}
}

// turn begins a new window. The caller holds mu.
func (w *repeats) turn(now time.Time) {
	if now.Sub(w.turned) >= w.window {
		w.before, w.now, w.turned = w.now, &said.Table{}, now
	}
}

// size is the number of keys held.
func (w *repeats) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now.Len() + w.before.Len()
}

// refill reads the window from the end of the log.
func (s *Service) refill(ctx context.Context) error {
	w := s.repeats
	return s.o.Store.Tail(ctx, time.Now().Add(-w.window), func(r *store.Record) error {
		keys := w.keys(r)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, k := range keys {
			w.now.Set(k, said.Said{ID: r.ID})
		}
		return nil
	})
}
