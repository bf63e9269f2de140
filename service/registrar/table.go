package registrar

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

const shardCount = 64

var shardSeed = maphash.MakeSeed()

// shard is a part of the location table. Its mutex is held for memory work alone; the
// indexes below are leaves: they are locked under it and lock nothing.
type shard struct {
	mu      sync.RWMutex
	entries map[string]*entry // by AOR; only those with bindings
	// removed is when Remove was called for an AOR, so that a REGISTER which was
	// authenticated before does not undo it.
	removed map[string]time.Time
}

const (
	maxRemoved  = 1024        // of one shard, before old ones are swept
	keepRemoved = time.Minute // no request is on its way for longer
)

// wasRemoved tells whether the bindings of an AOR were removed after a time. The caller
// holds sh.mu.
func (sh *shard) wasRemoved(aor string, after time.Time) bool {
	at, ok := sh.removed[aor]
	return ok && !at.Before(after)
}

// noteRemoved remembers that Remove was called. The caller holds sh.mu.
func (sh *shard) noteRemoved(aor string, now time.Time) {
	if len(sh.removed) >= maxRemoved {
		for k, at := range sh.removed {
			if now.Sub(at) > keepRemoved {
				delete(sh.removed, k)
			}
		}
	}
	sh.removed[aor] = now
}

// entry is what is known about one AOR. bindings is replaced, never changed in place, so
// that readers may keep what they got.
type entry struct {
	bindings []*Binding
	temps    temps // replaced like bindings
}

// ref names a binding.
type ref struct{ aor, key string }

func (s *Registrar) shard(aor string) *shard {
	return &s.shards[maphash.String(shardSeed, aor)%shardCount]
}

// Bindings are the live bindings of an address: unexpired, also those that cannot be
// reached at the moment. The slice is the caller's, the bindings are shared.
func (s *Registrar) Bindings(aor string) []*Binding {
	list, _ := s.snapshot(aor)
	now := s.now()
	live := make([]*Binding, 0, len(list))
	for _, b := range list {
		if b.Expires.After(now) {
			live = append(live, b)
		}
	}
	return live
}

// snapshot returns the bindings and the epochs of temporary GRUUs of an address. Neither
// may be changed.
func (s *Registrar) snapshot(aor string) ([]*Binding, temps) {
	sh := s.shard(aor)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if e := sh.entries[aor]; e != nil {
		return e.bindings, e.temps
	}
	return nil, nil
}

// change is what one atomic update does to an entry: put replaces bindings of the same
// key or adds, del removes.
type change struct {
	put    []*Binding
	del    []*Binding
	events []Event
}

// commit makes a change visible and keeps indexes, expiry and the write-behind in step.
// The caller holds sh.mu for writing. renewed, when not nil, replaces the epochs.
func (s *Registrar) commit(sh *shard, aor string, c change, renewed temps) {
	e := sh.entries[aor]
	if e == nil {
		e = &entry{}
		sh.entries[aor] = e
	}
	list := slices.Clone(e.bindings)
	for _, b := range c.del {
		list = slices.DeleteFunc(list, func(x *Binding) bool { return x.Key == b.Key })
		s.flows.remove(b)
		s.contacts.remove(b)
		s.dirty.del(b)
		s.total.Add(-1)
	}
	for _, b := range c.put {
		i := slices.IndexFunc(list, func(x *Binding) bool { return x.Key == b.Key })
		if i >= 0 {
			b.due = list[i].due
			s.flows.remove(list[i])
			s.contacts.remove(list[i])
			list[i] = b
		} else {
			b.due = time.Time{}
			list = append(list, b)
			s.total.Add(1)
		}
		s.flows.add(b)
		s.contacts.add(b)
		s.dirty.put(b)
		s.expiry.schedule(b)
	}
	if renewed != nil {
		e.temps = renewed
	}
	e.bindings = list
	s.endEpochs(e)
	if len(list) == 0 {
		delete(sh.entries, aor)
	}
	for _, ev := range c.events {
		s.metrics.events.WithLabelValues(ev.Kind.label()).Inc()
	}
}

// endEpochs ends the temporary GRUUs of instances without a binding (RFC 5627 §5.3).
func (s *Registrar) endEpochs(e *entry) {
	alive := func(t temp) bool {
		return slices.ContainsFunc(e.bindings, func(b *Binding) bool { return b.Instance == t.instance })
	}
	var left temps
	for _, t := range e.temps {
		if alive(t) {
			left = append(left, t)
		} else {
			s.gruu.end(t.state)
		}
	}
	if len(left) != len(e.temps) {
		e.temps = left
	}
}

// Remove takes all bindings of an address away: the account was disabled or removed. A
// REGISTER that is on its way is refused, so that it does not bring one back.
func (s *Registrar) Remove(aor string) {
	sh := s.shard(aor)
	var c change
	sh.mu.Lock()
	sh.noteRemoved(aor, s.now())
	if e := sh.entries[aor]; e != nil {
		for _, b := range e.bindings {
			c.del = append(c.del, b)
			c.events = append(c.events, Event{Removed, b})
		}
		s.commit(sh, aor, c, nil)
	}
	sh.mu.Unlock()
	s.emit(c.events)
}

// RemoveDevice takes the bindings of one device of an address away: its owner has signed it out. It returns the connections on
// which they came, and whether there were any bindings. The device may register again.
func (s *Registrar) RemoveDevice(aor, device string) (flows []transport.Flow, found bool) {
	sh := s.shard(aor)
	var c change
	sh.mu.Lock()
	if e := sh.entries[aor]; e != nil {
		for _, b := range e.bindings {
			if b.Device != device {
				continue
			}
			c.del = append(c.del, b)
			c.events = append(c.events, Event{Removed, b})
			if !b.Flow.IsZero() && b.Flow.Kind().Reliable() && !slices.Contains(flows, b.Flow) {
				flows = append(flows, b.Flow)
			}
		}
		s.commit(sh, aor, c, nil)
	}
	sh.mu.Unlock()
	s.emit(c.events)
	return flows, len(c.del) > 0
}

// Flows are the connections on which bindings of an address came, each once: to close
// them when the account is disabled. Ask before Remove.
func (s *Registrar) Flows(aor string) []transport.Flow {
	var flows []transport.Flow
	list, _ := s.snapshot(aor)
	for _, b := range list {
		if !b.Flow.IsZero() && b.Flow.Kind().Reliable() && !slices.Contains(flows, b.Flow) {
			flows = append(flows, b.Flow)
		}
	}
	return flows
}

// FlowClosed tells that a connection is gone. Bindings that only it could reach go with
// it (RFC 5626 §7); the others are reached by connecting.
func (s *Registrar) FlowClosed(f transport.Flow, _ error) {
	for _, r := range s.flows.take(f.ID()) {
		sh := s.shard(r.aor)
		var c change
		sh.mu.Lock()
		if e := sh.entries[r.aor]; e != nil {
			for _, b := range e.bindings {
				if b.Key != r.key || b.Flow != f {
					continue
				}
				if b.dies() {
					c.del = append(c.del, b)
					c.events = append(c.events, Event{Disconnected, b})
					continue
				}
				without := *b
				without.Flow = transport.Flow{}
				c.put = append(c.put, &without)
			}
			s.commit(sh, r.aor, c, nil)
		}
		sh.mu.Unlock()
		s.emit(c.events)
	}
}

// flowIndex finds the bindings that came on a connection.
type flowIndex struct {
	mu   sync.Mutex
	refs map[uint64][]ref
}

func (x *flowIndex) add(b *Binding) {
	if b.Flow.IsZero() || !b.Flow.Kind().Reliable() {
		return
	}
	x.mu.Lock()
	x.refs[b.Flow.ID()] = append(x.refs[b.Flow.ID()], ref{b.AOR, b.Key})
	x.mu.Unlock()
}

func (x *flowIndex) remove(b *Binding) {
	if b.Flow.IsZero() || !b.Flow.Kind().Reliable() {
		return
	}
	x.mu.Lock()
	removeRef(x.refs, b.Flow.ID(), ref{b.AOR, b.Key})
	x.mu.Unlock()
}

func (x *flowIndex) take(id uint64) []ref {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := x.refs[id]
	delete(x.refs, id)
	return list
}

func (x *flowIndex) get(id uint64) []ref {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.refs[id])
}

func removeRef[K comparable](m map[K][]ref, k K, r ref) {
	list := m[k]
	if i := slices.Index(list, r); i >= 0 {
		list = append(list[:i:i], list[i+1:]...)
	}
	if len(list) == 0 {
		delete(m, k)
	} else {
		m[k] = list
	}
}

// contactIndex finds bindings by what requests inside dialogs are addressed to.
type contactIndex struct {
	mu   sync.Mutex
	refs map[string][]ref
}

// contactKey is the part of a contact that two bindings share only when they are one.
func contactKey(u sip.URI) string {
	host := u.Host
	if addr, ok := u.Addr(); ok {
		host = addr.Unmap().String()
	}
	var port [8]byte
	p := port[:0]
	for n := u.Port; n > 0; n /= 10 {
		p = append(p, '0'+byte(n%10))
	}
	return sip.Unescape(u.User) + "@" + strings.ToLower(host) + ":" + string(p)
}

func (x *contactIndex) add(b *Binding) {
	k := contactKey(b.uri)
	x.mu.Lock()
	x.refs[k] = append(x.refs[k], ref{b.AOR, b.Key})
	x.mu.Unlock()
}

func (x *contactIndex) remove(b *Binding) {
	x.mu.Lock()
	removeRef(x.refs, contactKey(b.uri), ref{b.AOR, b.Key})
	x.mu.Unlock()
}

func (x *contactIndex) get(u sip.URI) []ref {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.refs[contactKey(u)])
}

// find returns the binding that a ref names, nil when it is gone or has expired.
func (s *Registrar) find(r ref, now time.Time) *Binding {
	list, _ := s.snapshot(r.aor)
	for _, b := range list {
		if b.Key == r.key && b.Expires.After(now) {
			return b
		}
	}
	return nil
}
