package presence

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/store"
)

// kept is what a subscription needs to go on after a restart, beside what its dialog keeps.
type kept struct {
	Since    int64    `json:"s"`           // Unix time
	Diff     bool     `json:"d,omitempty"` // takes partial documents
	Contacts bool     `json:"c,omitempty"` // is to the watcher's list of contacts
	Limit    int      `json:"l,omitempty"` // bytes of a body; not 0 for lists
	Linphone bool     `json:"p,omitempty"`
	URIs     []string `json:"u,omitempty"` // of the list that came in the SUBSCRIBE
	Names    []string `json:"n,omitempty"`
}

var _ dialog.Resumer = Source{}

// packFrom is the size from which on what is kept is packed; a dialog keeps 64 kB.
const packFrom = 32 << 10

// maxUnpacked bounds what is read back, in bytes.
const maxUnpacked = 4 << 20

// Keep implements dialog.Resumer.
func (x Source) Keep(sub *dialog.Subscription) []byte {
	w, _ := sub.Data().(*watch)
	if w == nil {
		return nil
	}
	w.mu.Lock()
	k := kept{Since: int64(w.since), Diff: w.diff}
	if l := w.list; l != nil {
		k.Contacts, k.Limit, k.Linphone = l.contacts, l.limit, l.linphone
		if !l.contacts {
			named := len(l.names) > 0
			for i := range w.entries {
				r := w.row(uint32(i))
				k.URIs = append(k.URIs, r.uri)
				if named {
					k.Names = append(k.Names, r.name)
				}
			}
		}
	}
	w.mu.Unlock()
	text, err := json.Marshal(k)
	if err != nil {
		return nil
	}
	if len(text) < packFrom {
		return text
	}
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, flate.BestSpeed) // the level is valid
	_, _ = z.Write(text)                         // into memory
	_ = z.Close()
	return b.Bytes()
}

// unpack reads what Keep wrote.
func unpack(b []byte) (k kept, ok bool) {
	if len(b) == 0 {
		return k, false
	}
	if b[0] != '{' {
		var err error
		if b, err = io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), maxUnpacked)); err != nil {
			return k, false
		}
	}
	return k, json.Unmarshal(b, &k) == nil
}

// Resume implements dialog.Resumer: whether the watcher may still see what there is to see is asked anew.
func (x Source) Resume(sub *dialog.Subscription, text []byte, done func(dialog.Decision)) {
	k, ok := unpack(text)
	if !ok {
		done(dialog.Decision{Status: 500})
		return
	}
	s := x.s
	w := &watch{teller: sub, since: uint32(k.Since), diff: k.Diff}
	if k.Limit == 0 {
		s.jobs.must(func(ctx context.Context) {
			if s.still(ctx, sub, done) {
				s.resumePerson(ctx, sub, w, done)
			}
		})
		return
	}
	w.list = &list{uri: "sip:" + sub.Resource(), linphone: k.Linphone, contacts: k.Contacts, limit: k.Limit, renewing: true}
	items := make([]item, len(k.URIs))
	for i, u := range k.URIs {
		items[i].uri = u
		if i < len(k.Names) {
			items[i].name = k.Names[i]
		}
	}
	s.jobs.must(func(ctx context.Context) {
		if s.still(ctx, sub, done) {
			s.patiently(ctx, func() bool { return s.startList(ctx, sub, w, items, true, done) })
			s.late(sub, w)
		}
	})
}

// still tells whether the watcher may sign in; one who may not is refused. The subscriptions of an account end when it is closed,
// but that may not have been saved when the server stopped.
func (s *Service) still(ctx context.Context, sub *dialog.Subscription, done func(dialog.Decision)) bool {
	watcher, closed := sub.Watcher().AOR, false
	if !s.ours(watcher) {
		return true
	}
	s.patiently(ctx, func() bool {
		u, err := s.account(ctx, watcher)
		closed = errors.Is(err, errs.NotFound) || err == nil && u.Disabled
		return err == nil || closed
	})
	if closed {
		done(dialog.Decision{Status: 403})
	}
	return !closed && ctx.Err() == nil
}

// account looks an account up, and waits for it.
func (s *Service) account(ctx context.Context, aor string) (*store.User, error) {
	type result struct {
		u   *store.User
		err error
	}
	found := make(chan result, 1)
	s.o.Accounts.Lookup(aor, func(u *store.User, err error) { found <- result{u, err} })
	select {
	case r := <-found:
		return r.u, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// resumePerson goes on with a subscription to one person.
func (s *Service) resumePerson(ctx context.Context, sub *dialog.Subscription, w *watch, done func(dialog.Decision)) {
	s.patiently(ctx, func() bool {
		p := s.find(sub.Resource())
		if err := s.judge(ctx, &p, w.watcher()); err != nil {
			s.unpin(p.e)
			return false
		}
		s.startPerson(sub, w, p, done)
		return true
	})
	s.late(sub, w)
}

// late forgets the watch of a subscription that ended before it was decided: Ended had nothing to forget then.
func (s *Service) late(sub *dialog.Subscription, w *watch) {
	if sub.State() == dialog.Terminated {
		s.end(w)
	}
}

// patience is the pause between two tries while the store does not answer.
const patience = time.Second

// patiently tries until it succeeds or ctx ends. Nobody who was there before a restart is turned away because the store is slow.
func (s *Service) patiently(ctx context.Context, try func() bool) {
	for !try() {
		t := time.NewTimer(patience)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}
