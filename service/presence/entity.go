package presence

import (
	"bytes"
	"errors"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/pidf"
)

// levels is how many different views of a person there are.
const levels = int(policy.Close) + 1

// What is known of an account.
const (
	unknown int32 = iota // being looked up; until then it counts as there, because most that are asked for are
	there
	missing // there is no such account
)

// entity is one person of ours who has a state, or is watched.
type entity struct {
	aor    string
	views  [levels]atomic.Pointer[view] // nil where nobody looks
	exists atomic.Int32

	pins int // by those who are at work on it; guarded by the shard's mutex

	mu       sync.Mutex // guards what follows
	gen      uint32     // counts changes of the sources
	levelGen uint32     // counts changes of what others are to this person
	version  uint32     // of the last view
	pubs     []*publication
	manual   compose.Manual
	calls    compose.Calls
	state    compose.State
	devices  []Device // as they were when state was composed
	refs     []ref
	counts   [levels]int32 // of refs
	diffs    int32         // watchers that take partial documents (RFC 5263)
	winfo    []*winfoWatch
	doing

	alarm alarmEntry // guarded by the alarm's mutex
}

// doing is what is being done about an entity, or has to be.
type doing struct {
	composed bool // state is there
	gone     bool // the account has just been removed
	queued   bool // to be composed
	relevel  bool // the levels are to be asked again
	asking   bool // a job that does so waits or runs
	seeking  bool // the account is being looked up
	renew    bool // the person's own list is to be read again
	warming  bool // it is being read
}

// ref is a watch that has the person in it.
type ref struct {
	w     *watch
	at    uint32 // place of its entry
	level policy.Level
	round uint8 // of the entry
}

// view is what one level sees. It never changes.
type view struct {
	version uint32 // no other view of the person has it, whatever its level; not 0
	body    []byte // application/pidf+xml
	before  []byte // the body of the view before, if somebody wants to know the difference
	prior   uint32 // its version
}

const shards = 64

// table finds entities by AOR.
type table struct {
	seed   maphash.Seed
	shards [shards]struct {
		mu sync.Mutex // guards what follows
		m  map[string]*entity
	}
}

func (t *table) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].m = map[string]*entity{}
	}
}

func (t *table) hash(aor string) uint64 { return maphash.String(t.seed, aor) }

// find returns an entity that exists, pinned, or nil.
func (t *table) find(aor string) *entity {
	sh := &t.shards[t.hash(aor)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.m[aor]
	if e != nil {
		e.pins++
	}
	return e
}

// get is find, and makes one if there is none.
func (t *table) get(aor string) *entity {
	sh := &t.shards[t.hash(aor)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.m[aor]
	if e == nil {
		e = &entity{aor: strings.Clone(aor)}
		sh.m[e.aor] = e
	}
	e.pins++
	return e
}

// pin holds an entity that is held already once more.
func (t *table) pin(e *entity) {
	sh := &t.shards[t.hash(e.aor)%shards]
	sh.mu.Lock()
	e.pins++
	sh.mu.Unlock()
}

// unpin lets go of an entity; the last one takes it off the table if there is nothing to know about it.
func (s *Service) unpin(e *entity) {
	sh := &s.table.shards[s.table.hash(e.aor)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.pins--; e.pins > 0 {
		return
	}
	e.mu.Lock()
	idle := len(e.refs)+len(e.pubs)+len(e.winfo) == 0 && e.manual == (compose.Manual{}) && e.calls == (compose.Calls{}) &&
		!e.queued && !e.relevel && !e.renew && (!e.composed || e.state.Availability == pidf.Offline && len(e.devices) == 0)
	e.mu.Unlock()
	if idle {
		s.alarm.cancel(e)
		if sh.m[e.aor] == e {
			delete(sh.m, e.aor)
		}
	}
}

func (t *table) len() int {
	n := 0
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		n += len(sh.m)
		sh.mu.Unlock()
	}
	return n
}

// all returns every entity, not pinned: for looking at only.
func (t *table) all() []*entity {
	var list []*entity
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for _, e := range sh.m {
			list = append(list, e)
		}
		sh.mu.Unlock()
	}
	return list
}

// sources are what the state is composed of, but for devices and time; mu is held.
func (e *entity) sources() compose.Sources {
	src := compose.Sources{AOR: e.aor, Manual: e.manual, Calls: e.calls}
	if len(e.pubs) > 0 {
		src.Publications = make([]compose.Publication, len(e.pubs))
		for i, p := range e.pubs {
			src.Publications[i] = p.Publication
		}
	}
	return src
}

// now completes sources.
func (s *Service) now(src *compose.Sources) {
	src.Now = time.Now()
	src.Devices = s.o.Devices(src.AOR)
	live := src.Publications[:0]
	for _, p := range src.Publications {
		if p.Expires.After(src.Now) {
			live = append(live, p)
		}
	}
	src.Publications = live
}

// refresh composes the state of an entity anew, and tells it to those who see another document now. It is called with the
// entity pinned, and without locks.
func (s *Service) refresh(e *entity) {
	for range 10 {
		if s.tryRefresh(e) {
			return
		}
	}
}

// tryRefresh is false when the sources changed meanwhile. Whoever changed them has queued the entity.
func (s *Service) tryRefresh(e *entity) bool {
	e.mu.Lock()
	gen := e.gen
	src := e.sources()
	var want [levels]bool
	for l := range want {
		want[l] = e.counts[l] > 0
	}
	e.mu.Unlock()

	s.now(&src)
	st := compose.Compose(&src)
	var bodies [levels][]byte
	for l, w := range want {
		if w {
			bodies[l] = s.render(&src, &st, policy.Level(l))
		}
	}

	e.mu.Lock()
	if e.gen != gen {
		e.mu.Unlock()
		return false
	}
	changed := !e.composed && st.Availability != pidf.Offline || e.composed && st.Availability != e.state.Availability
	e.state, e.composed = st, true
	e.devices = summarise(e.devices[:0], &src)
	tell := e.install(&bodies)
	if e.gone {
		e.gone = false
		tell = append(tell[:0], e.refs...)
	}
	next := st.Next
	for _, p := range src.Publications {
		next = earlier(next, p.Expires)
	}
	if e.manual != (compose.Manual{}) {
		next = earlier(next, e.manual.Until)
	}
	e.mu.Unlock()

	s.alarm.set(e, next)
	if changed && st.Availability == pidf.DND {
		s.warm(e)
	}
	if changed {
		s.metrics.changes.Inc()
		s.o.Changed(e.aor, st)
	}
	e.tell(tell, false)
	return true
}

// render writes what a level sees.
func (s *Service) render(src *compose.Sources, st *compose.State, level policy.Level) []byte {
	s.metrics.rendered.Inc()
	doc := compose.View(src, st, level.Sight())
	room := s.pool.Get().(*[]byte)
	*room = doc.Append((*room)[:0])
	body := bytes.Clone(*room)
	s.pool.Put(room)
	return body
}

// install puts new documents in place, and returns those who see a new one; mu is held.
func (e *entity) install(bodies *[levels][]byte) []ref {
	var news [levels]bool
	any := false
	for l, body := range bodies {
		if body == nil || e.counts[l] == 0 {
			continue
		}
		old := e.views[l].Load()
		if old != nil && bytes.Equal(old.body, body) {
			continue
		}
		e.version++
		v := &view{version: e.version, body: body}
		if old != nil && e.diffs > 0 {
			v.before, v.prior = old.body, old.version
		}
		e.views[l].Store(v)
		news[l], any = true, true
	}
	if !any {
		return nil
	}
	var tell []ref
	for _, r := range e.refs {
		if news[r.level] {
			tell = append(tell, r)
		}
	}
	return tell
}

// trim forgets documents that nobody sees any more.
func (e *entity) trim() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.views {
		if e.counts[l] == 0 {
			e.views[l].Store(nil)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// mostLookups is how many accounts are looked up at a time.
const mostLookups = 64

// lookup finds out whether there is such an account. It is called with the entity pinned.
func (s *Service) lookup(e *entity) {
	e.mu.Lock()
	again := !e.seeking
	e.seeking = true
	e.mu.Unlock()
	if !again {
		return
	}
	s.table.pin(e)
	l := &s.lookups
	l.mu.Lock()
	if l.out >= mostLookups {
		l.waiting = append(l.waiting, e) // each at most once: bounded by the table
		l.mu.Unlock()
		return
	}
	l.out++
	l.mu.Unlock()
	s.seek(e)
}

// seek looks one account up, and then the next that waits.
func (s *Service) seek(e *entity) {
	for e != nil {
		now := make(chan *entity, 1)
		var passed atomic.Bool
		s.o.Accounts.Lookup(e.aor, func(_ *store.User, err error) {
			next := s.sought(e, err)
			if passed.CompareAndSwap(false, true) {
				now <- next // still inside Lookup, or before it is noticed
				return
			}
			s.seek(next)
		})
		if passed.CompareAndSwap(false, true) {
			return // it goes on in the callback
		}
		e = <-now
	}
}

// sought notes what came of a look-up and returns the next one to do.
func (s *Service) sought(e *entity, err error) *entity {
	e.mu.Lock()
	e.seeking = false
	before := e.exists.Load()
	var tell []ref
	switch {
	case err == nil:
		e.exists.Store(there)
	case errors.Is(err, errs.NotFound):
		e.exists.Store(missing)
	}
	if is := e.exists.Load(); is != before && (is == missing || before == missing) {
		tell = append(tell, e.refs...)
	}
	retry := e.exists.Load() == unknown && len(e.refs) > 0
	e.mu.Unlock()
	e.tell(tell, false)
	if retry {
		s.alarm.set(e, time.Now().Add(retryLookup))
	}
	s.unpin(e)
	l := &s.lookups
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.out--
		l.waiting = nil
		return nil
	}
	next := l.waiting[0]
	l.waiting = l.waiting[1:]
	return next
}

// retryLookup is the pause before an account is looked up again that the store could not tell about.
const retryLookup = 5 * time.Second

// due is called when it is time to look at an entity again.
func (s *Service) due(e *entity) {
	s.table.pin(e)
	e.mu.Lock()
	s.expire(e, time.Now())
	e.gen++
	s.enqueue(e)
	seek := e.exists.Load() == unknown && len(e.refs) > 0
	renew := e.renew
	e.renew = false
	e.mu.Unlock()
	s.askLevels(e)
	if renew {
		s.ContactsChanged(e.aor)
	}
	if seek {
		s.lookup(e)
	}
	s.unpin(e)
}
