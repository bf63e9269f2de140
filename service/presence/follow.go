package presence

import (
	"context"
	"sync"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/sip"
)

// Follower is a watch by a program instead of a SIP subscription: the event stream of the API. Its calls come one at a time.
type Follower struct {
	s   *Service
	w   *watch
	f   func(Seen)
	who string // AOR of who follows

	mu     sync.Mutex // guards what follows
	at     map[string]uint32
	queued bool
	closed bool
}

// followers are those that have something to be told, each at most once.
type followers struct {
	mu   sync.Mutex // guards what follows
	list []*Follower
	wake chan struct{}
}

func (f *followers) init() { f.wake = make(chan struct{}, 1) }

func (f *followers) next() *Follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) == 0 {
		f.list = nil
		return nil
	}
	x := f.list[0]
	f.list = f.list[1:]
	return x
}

func (f *followers) serve(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		for x := f.next(); x != nil && ctx.Err() == nil; x = f.next() {
			x.tell()
		}
	}
}

// Follow calls f with what watcher sees of each of owners, and again after each change, until the Follower is closed. f must
// not block; it is called from one goroutine. Owners who are not ours, and addresses that nobody has, are never told of.
// Errors: TooMany, Unavailable.
func (s *Service) Follow(ctx context.Context, watcher string, owners []string, f func(Seen)) (*Follower, error) {
	x := &Follower{s: s, f: f, who: watcher, at: map[string]uint32{}}
	x.w = &watch{teller: x, since: now(), live: true, list: &list{limit: 1 << 30}}
	if err := x.Add(ctx, owners...); err != nil {
		x.Close()
		return nil, err
	}
	return x, nil
}

// Add follows more people. Errors as Follow; then none of them is followed.
func (x *Follower) Add(ctx context.Context, owners ...string) error {
	s := x.s
	var people []person
	var names []string
	for _, o := range owners {
		aor, err := sip.ParseAOR(o)
		if err != nil || !s.ours(aor) {
			continue
		}
		p := s.find(aor)
		if err := s.judge(ctx, &p, x.w.watcher()); err != nil {
			s.unpin(p.e)
			unpinAll(s, people)
			return err
		}
		people, names = append(people, p), append(names, aor)
	}
	if err := s.reserve(x.w.watcher(), len(people)); err != nil {
		unpinAll(s, people)
		return err
	}
	fresh, ok := x.place(names, people)
	if !ok {
		s.release(x.w.watcher(), len(people))
		unpinAll(s, people)
		return errs.New(errs.Unavailable, "presence: the follower is closed")
	}
	s.attach(x.w, fresh)
	x.Notify()
	return nil
}

// place makes entries of people, and returns those that were not there; false when the follower is closed.
func (x *Follower) place(names []string, people []person) (fresh []person, ok bool) {
	s := x.s
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, false
	}
	x.w.mu.Lock()
	for i, p := range people {
		if _, twice := x.at[names[i]]; twice {
			s.unpin(p.e)
			s.release(x.w.watcher(), 1)
			continue
		}
		p.at = uint32(len(x.w.entries))
		if n := len(x.w.list.vacant); n > 0 {
			p.at = x.w.list.vacant[n-1]
			x.w.list.vacant = x.w.list.vacant[:n-1]
		} else {
			x.w.entries = append(x.w.entries, entry{})
		}
		x.at[names[i]] = p.at
		x.w.place(&p, item{uri: "sip:" + names[i]})
		x.w.later(p.at)
		x.w.list.size++
		fresh = append(fresh, p)
	}
	x.w.mu.Unlock()
	return fresh, true
}

// Remove stops following people.
func (x *Follower) Remove(owners ...string) {
	for _, o := range owners {
		aor, err := sip.ParseAOR(o)
		if err != nil {
			continue
		}
		x.mu.Lock()
		at, ok := x.at[aor]
		delete(x.at, aor)
		x.mu.Unlock()
		if !ok {
			continue
		}
		x.w.mu.Lock()
		e := x.w.entries[at].e
		x.w.mu.Unlock()
		x.s.detach(x.w, e, at)
		x.w.mu.Lock()
		if x.w.entries[at].flags&dirty != 0 {
			x.w.entries[at].flags |= removed // tell gives its place back
		} else {
			x.w.free(at)
		}
		x.w.list.size--
		x.w.mu.Unlock()
		x.s.release(x.w.watcher(), 1)
	}
}

// Close ends it. A call of f that has begun goes on.
func (x *Follower) Close() {
	x.mu.Lock()
	again := x.closed
	x.closed = true
	x.mu.Unlock()
	if !again {
		x.s.end(x.w)
	}
}

// Watcher is who follows.
func (x *Follower) Watcher() dialog.Watcher { return dialog.Watcher{AOR: x.who} }

// Notify queues the follower; for the service.
func (x *Follower) Notify() {
	x.mu.Lock()
	again := x.queued || x.closed
	x.queued = true
	x.mu.Unlock()
	if again {
		return
	}
	l := &x.s.follows
	l.mu.Lock()
	l.list = append(l.list, x)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// tell calls f for those who have something new.
func (x *Follower) tell() {
	x.mu.Lock()
	x.queued = false
	x.mu.Unlock()
	x.w.mu.Lock()
	rows, _ := x.w.news()
	x.w.mu.Unlock()
	for _, r := range rows {
		x.mu.Lock()
		closed := x.closed
		x.mu.Unlock()
		if closed || r.body == nil {
			continue
		}
		doc, err := pidf.Parse(r.body)
		if err != nil {
			x.s.o.Log.Error("presence: a document of our own cannot be read", "err", err)
			continue
		}
		x.f(Seen{AOR: r.uri[len("sip:"):], Glance: compose.Look(doc), Doc: doc})
	}
}
