package presence

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/pidf"
)

const (
	saveEvery   = time.Second     // publications are written so often
	lastSave    = 2 * time.Second // that the last write may take
	maxPending  = 200_000         // rows that wait to be removed, when the store does not answer
	warnPending = 60              // writes that failed in a row between two warnings
)

// publishing is what all publications share.
type publishing struct {
	bytes atomic.Int64 // of the bodies that are held
	count atomic.Int64

	mu     sync.Mutex                          // guards what follows
	save   map[*publication]*store.Publication // to be written, without body
	docs   map[*publication]*pidf.Presence     // the bodies
	remove map[string]bool                     // tags of rows
}

func (b *publishing) init() {
	b.save, b.docs, b.remove = map[*publication]*store.Publication{}, map[*publication]*pidf.Presence{}, map[string]bool{}
}

// keep has a publication written; the entity's mutex is held.
func (s *Service) keep(aor string, p *publication) {
	row := &store.Publication{ETag: p.ETag, AOR: aor, Device: p.Device, Alone: p.Alone, ContentType: pidf.ContentType, Updated: p.Updated, Expires: p.Expires}
	b := &s.publish
	b.mu.Lock()
	defer b.mu.Unlock()
	b.save[p], b.docs[p] = row, p.Doc
}

// drop removes a publication; e.mu is held.
func (s *Service) drop(e *entity, p *publication) {
	for i, x := range e.pubs {
		if x == p {
			e.pubs = append(e.pubs[:i:i], e.pubs[i+1:]...)
			break
		}
	}
	if len(e.pubs) == 0 {
		e.pubs = nil
	}
	s.publish.bytes.Add(-p.bytes)
	s.publish.count.Add(-1)
	b := &s.publish
	b.mu.Lock()
	defer b.mu.Unlock()
	p.dropped = true
	delete(b.save, p)
	delete(b.docs, p)
	b.unsave(p.stored)
}

// unsave has a row removed. Beyond the bound it is left to the store, which forgets what has expired; mu is held.
func (b *publishing) unsave(tag string) {
	if tag != "" && len(b.remove) < maxPending {
		b.remove[tag] = true
	}
}

// dropPublications removes all of somebody; e.mu is held.
func (s *Service) dropPublications(e *entity) {
	for _, p := range append([]*publication(nil), e.pubs...) {
		s.drop(e, p)
	}
}

// expire removes what has expired; e.mu is held.
func (s *Service) expire(e *entity, now time.Time) {
	for _, p := range append([]*publication(nil), e.pubs...) {
		if !p.Expires.After(now) {
			s.drop(e, p)
		}
	}
	if e.manual != (compose.Manual{}) && !e.manual.Holds(now) {
		e.manual = compose.Manual{}
	}
}

// save writes publications until ctx ends, and then what is left.
func (s *Service) save(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	failed := 0
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
			defer cancel()
			if err := s.flush(last); err != nil {
				s.o.Log.Error("presence: what was published last was not saved, and is unknown after the restart until it is published again", "err", err)
			}
			return
		case <-tick.C:
		}
		err := s.flush(ctx)
		if err == nil || ctx.Err() != nil {
			failed = 0
			continue
		}
		if failed%warnPending == 0 {
			s.o.Log.Warn("presence: publications were not saved; that is tried again", "err", err)
		}
		failed++
	}
}

// flush writes what waits, as a whole or not at all.
func (s *Service) flush(ctx context.Context) error {
	b := &s.publish
	b.mu.Lock()
	if len(b.save)+len(b.remove) == 0 {
		b.mu.Unlock()
		return nil
	}
	rows, docs, gone := b.save, b.docs, b.remove
	b.init()
	var remove []string
	for tag := range gone {
		remove = append(remove, tag)
	}
	save := make([]store.Publication, 0, len(rows))
	for p := range rows {
		if row := rows[p]; p.stored != "" && p.stored != row.ETag {
			remove = append(remove, p.stored)
		}
	}
	b.mu.Unlock()
	for p, row := range rows {
		row.Body = docs[p].Append(nil)
		save = append(save, *row)
	}
	err := s.o.Store.SavePublications(ctx, save, remove)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		for tag := range gone {
			b.unsave(tag)
		}
	}
	for p, row := range rows {
		switch {
		case err != nil && !p.dropped:
			if b.save[p] == nil {
				row.Body = nil
				b.save[p], b.docs[p] = row, docs[p]
			}
		case p.dropped:
			b.unsave(row.ETag)
		default:
			p.stored = row.ETag
		}
	}
	return err
}

// Load reads what people said by hand and what they published before the last stop. Until it has returned nobody can
// publish or watch. It is called before Serve, or beside it.
func (s *Service) Load(ctx context.Context) error {
	now := time.Now()
	err := s.o.Store.Manual(ctx, func(m *store.ManualState) error {
		x := compose.Manual{State: pidf.Availability(m.State), Note: m.Note, Until: m.Until, Set: m.Set}
		if x.Holds(now) && (x.State == "" || x.State.Valid()) {
			s.change(m.AOR, func(e *entity) { e.manual = x })
		}
		return nil
	})
	if err == nil {
		err = s.o.Store.Publications(ctx, func(row *store.Publication) error {
			s.restore(row, now)
			return nil
		})
	}
	if err != nil {
		return errs.Wrap(errs.KindOf(err), err, "presence: reading what was known before the start")
	}
	s.ready.Store(true)
	return nil
}

// restore takes over one publication. One that cannot be read is as good as expired: its owner gets 412 and says it again.
func (s *Service) restore(row *store.Publication, now time.Time) {
	id, number, _ := strings.Cut(row.ETag, ".")
	n, err := strconv.ParseUint(number, 36, 64)
	doc, broken := pidf.Parse(row.Body)
	if err = errors.Join(err, broken); err != nil || !row.Expires.After(now) {
		if err != nil {
			s.o.Log.Warn("presence: a publication that was kept cannot be read", "aor", row.AOR, "err", err)
		}
		return
	}
	p := &publication{id: id, n: n, restored: true, bytes: int64(len(row.Body)), stored: row.ETag}
	p.Publication = compose.Publication{ETag: row.ETag, Device: row.Device, Alone: row.Alone, Doc: doc, Updated: row.Updated, Expires: row.Expires}
	s.publish.bytes.Add(p.bytes)
	s.publish.count.Add(1)
	s.change(row.AOR, func(e *entity) { e.pubs = append(e.pubs, p) })
}
