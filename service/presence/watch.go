package presence

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/wire/pidf"
)

// watch is what one subscription sees: one person, or the people of a list.
type watch struct {
	teller teller
	list   *list // nil for one person

	mu      sync.Mutex // guards what follows, and what list points to
	entries []entry
	one     [1]entry // room for entries of a single one
	since   uint32   // Unix time of the subscription; never changes
	live    bool     // the subscription was accepted: it may be told
	ended   bool
	diff    bool // the watcher takes partial documents (RFC 5263)
}

// teller is told that there is something new; a *dialog.Subscription is one.
type teller interface {
	Notify()
	Watcher() dialog.Watcher
}

// watcher is the AOR of who watches.
func (w *watch) watcher() string { return w.teller.Watcher().AOR }

// now is the time in a watch.
func now() uint32 { return uint32(time.Now().Unix()) }

// entry is one person in a watch. There are very many of them.
type entry struct {
	e     *entity // nil: nobody of ours; kept after removal until that was told
	seen  uint32  // version of the view that was told, 0 for none
	level policy.Level
	flags uint8
	round uint8 // counts who had this place
}

// Flags of an entry.
const (
	dirty   uint8 = 1 << iota // on the list of those that have something new
	removed                   // taken out of the list; its place is free once that was told
	vacant                    // its place is free
)

// absent is entry.seen when the watcher was told that there is no such person.
const absent = 1<<32 - 1

// mark notes that a person has something new to tell; true when the watcher is to be told. Only who asked for the levels
// may change that of the entry (moved), because that happens in order.
func (w *watch) mark(r ref, e *entity, moved bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, level := r.at, r.level
	if w.ended || int(at) >= len(w.entries) || w.entries[at].e != e || w.entries[at].round != r.round || w.entries[at].flags&removed != 0 {
		return false
	}
	en := &w.entries[at]
	if moved && en.level != level {
		was, is := e.views[en.level].Load(), e.views[level].Load()
		same := was != nil && is != nil && en.seen == was.version && bytes.Equal(was.body, is.body)
		en.level, en.seen = level, 0
		if same {
			en.seen = is.version
		}
	}
	if !w.stale(en) {
		return false
	}
	if w.list != nil {
		if en.flags&dirty != 0 {
			return false
		}
		w.later(at)
	}
	return w.live
}

// tell marks what references point to, and tells the watchers: once, also those who have a person twice in a list.
func (e *entity) tell(refs []ref, moved bool) {
	var last *watch
	for _, r := range refs {
		if last != nil && last != r.w {
			last.tell()
			last = nil
		}
		if r.w.mark(r, e, moved) {
			last = r.w
		}
	}
	if last != nil {
		last.tell()
	}
}

// tell tells the watcher that there is something new.
func (w *watch) tell() {
	if sub, ok := w.teller.(*dialog.Subscription); ok && w.list == nil && w.one[0].e.exists.Load() == missing {
		sub.End("noresource", 0) // RFC 6665 §4.1.3
		return
	}
	w.teller.Notify()
}

// stale tells whether an entry has something that was not told; mu is held.
func (w *watch) stale(en *entry) bool {
	if en.e == nil {
		return false
	}
	if en.e.exists.Load() == missing {
		return en.seen != absent
	}
	v := en.e.views[en.level].Load()
	return v != nil && v.version != en.seen
}

// person is somebody to be put into a watch; e is pinned.
type person struct {
	e     *entity
	level policy.Level
	gen   uint32 // of the levels, before level was asked for
	at    uint32
	round uint8
}

// find makes a person of an AOR of ours, without his level.
func (s *Service) find(aor string) person {
	e := s.table.get(aor)
	e.mu.Lock()
	defer e.mu.Unlock()
	return person{e: e, gen: e.levelGen}
}

// judge finds out what the watcher is to a person. It may wait for the store.
func (s *Service) judge(ctx context.Context, p *person, watcher string) error {
	if level, ok := s.o.Contacts.Known(p.e.aor, watcher); ok {
		p.level = level
		return nil
	}
	level, _, err := s.o.Contacts.Level(ctx, p.e.aor, watcher)
	p.level = level
	return err
}

// attach adds references from people to a watch whose entries they are, and sees that there is a document for each. The
// people are unpinned.
func (s *Service) attach(w *watch, people []person) {
	for _, p := range people {
		e := p.e
		e.mu.Lock()
		e.refs = append(e.refs, ref{w, p.at, p.level, p.round})
		e.counts[p.level]++
		if w.diff {
			e.diffs++
		}
		again := e.levelGen != p.gen
		first := e.views[p.level].Load() == nil
		if first {
			e.gen++ // so that who composes now does not leave this level out
		}
		e.mu.Unlock()
		if first {
			s.refresh(e)
		}
		if e.exists.Load() == unknown {
			s.lookup(e)
		}
		if again {
			s.LevelsChanged(e.aor, nil)
		}
		s.watcherChanged(e, w, false)
	}
	w.mu.Lock()
	ended := w.ended
	w.mu.Unlock()
	if ended {
		s.detachAll(w)
	}
	for _, p := range people {
		s.unpin(p.e)
	}
}

// detach takes the reference from a person to an entry of a watch away.
func (s *Service) detach(w *watch, e *entity, at uint32) {
	s.table.pin(e)
	defer s.unpin(e)
	e.mu.Lock()
	found := false
	for i, r := range e.refs {
		if r.w != w || r.at != at {
			continue
		}
		last := len(e.refs) - 1
		e.refs[i] = e.refs[last]
		e.refs[last] = ref{}
		e.refs = e.refs[:last]
		if last == 0 {
			e.refs = nil
		}
		e.counts[r.level]--
		if e.counts[r.level] == 0 {
			e.views[r.level].Store(nil)
		}
		if w.diff {
			e.diffs--
		}
		found = true
		break
	}
	e.mu.Unlock()
	if found {
		s.watcherChanged(e, w, true)
	}
}

// detachAll takes a watch that has ended away from everybody in it.
func (s *Service) detachAll(w *watch) {
	w.mu.Lock()
	w.ended = true
	entries := append([]entry(nil), w.entries...)
	w.mu.Unlock()
	for i, en := range entries {
		if en.e != nil {
			s.detach(w, en.e, uint32(i))
		}
	}
}

// askLevels has the levels of an entity asked again if that is due, by one job at a time. The entity is pinned.
func (s *Service) askLevels(e *entity) {
	e.mu.Lock()
	due := e.relevel && !e.asking
	e.asking = e.asking || due
	e.mu.Unlock()
	if due {
		s.table.pin(e)
		s.jobs.must(func(ctx context.Context) {
			for s.relevel(ctx, e) {
			}
			s.unpin(e)
		})
	}
}

// relevel asks again what the watchers of a person are to him; false when that is not due any more, or has to wait.
func (s *Service) relevel(ctx context.Context, e *entity) bool {
	e.mu.Lock()
	e.asking = e.relevel
	if !e.relevel {
		e.mu.Unlock()
		return false
	}
	e.relevel = false
	refs := append([]ref(nil), e.refs...)
	dnd := e.state.Availability == pidf.DND
	e.mu.Unlock()
	if dnd {
		s.warm(e)
	}
	is := map[string]policy.Level{}
	for _, r := range refs {
		if _, ok := is[r.w.watcher()]; ok {
			continue
		}
		level, _, err := s.o.Contacts.Level(ctx, e.aor, r.w.watcher())
		if err != nil {
			// Who was allowed to see stays so for the moment: "offline" would be a guess, too.
			s.o.Log.Warn("presence: it is not known who may see somebody; that is asked again", "aor", e.aor, "err", err)
			e.mu.Lock()
			e.relevel, e.asking = true, false
			e.mu.Unlock()
			s.alarm.set(e, time.Now().Add(retryLookup))
			return false
		}
		is[r.w.watcher()] = level
	}
	var moved []ref
	e.mu.Lock()
	for i := range e.refs {
		r := &e.refs[i]
		level, ok := is[r.w.watcher()]
		if !ok || level == r.level {
			continue
		}
		e.counts[r.level]--
		e.counts[level]++
		r.level = level
		moved = append(moved, *r)
	}
	if len(moved) > 0 {
		e.gen++
	}
	e.mu.Unlock()
	if len(moved) > 0 {
		s.refresh(e)
		e.tell(moved, true)
		e.trim()
	}
	return true
}
