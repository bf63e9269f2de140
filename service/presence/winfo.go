package presence

import (
	"errors"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/watcherinfo"
)

// InfoPackage is the name of the watcher information about presence (RFC 3857 §4.1).
const InfoPackage = Package + ".winfo"

// Info is the source of the presence.winfo event package: who watches the account itself. It is a dialog.Source.
type Info struct{ s *Service }

var (
	_ dialog.Source  = Info{}
	_ dialog.Stepper = Info{}
	_ dialog.Ender   = Info{}
)

// Info is the source of watcher information.
func (s *Service) Info() Info { return Info{s} }

// winfoWatch is one subscription to watcher information.
type winfoWatch struct {
	sub *dialog.Subscription
	e   *entity // pinned

	mu    sync.Mutex // guards what follows
	live  bool
	rest  []change // what is to be told, oldest first
	again bool     // too much was to be told: all is told again
}

// change is a watcher who came or went.
type change struct {
	w    *watch
	gone bool
}

// maxChanges bounds what waits to be told; beyond it everything is told anew.
const maxChanges = 1000

// Authorize lets an account see its own watchers, and administrators those of everybody (RFC 3857 §4.6).
func (x Info) Authorize(sub *dialog.Subscription, done func(dialog.Decision)) {
	w := sub.Watcher()
	if w.AOR == "" || w.AOR != sub.Resource() && !w.Admin {
		done(dialog.Decision{Status: 403, Warning: "you can see only your own watchers"})
		return
	}
	if !x.s.ours(sub.Resource()) {
		done(nobody())
		return
	}
	if !x.s.ours(w.AOR) {
		x.start(sub, done)
		return
	}
	// One from before a restart may be of somebody who may not sign in any more.
	x.s.o.Accounts.Lookup(w.AOR, func(u *store.User, err error) {
		switch {
		case errors.Is(err, errs.NotFound) || err == nil && u.Disabled:
			done(dialog.Decision{Status: 403})
		case err != nil:
			done(failed(err))
		default:
			x.start(sub, done)
		}
	})
}

// start begins a subscription.
func (x Info) start(sub *dialog.Subscription, done func(dialog.Decision)) {
	i := &winfoWatch{sub: sub, e: x.s.table.get(sub.Resource())}
	sub.SetData(i)
	i.e.mu.Lock()
	i.e.winfo = append(i.e.winfo, i)
	i.e.mu.Unlock()
	done(dialog.Decision{})
	i.mu.Lock()
	i.live = true
	news := i.again || len(i.rest) > 0 // since the first body
	i.mu.Unlock()
	if news {
		sub.Notify()
	}
}

// State implements dialog.Source; Next comes instead.
func (x Info) State(*dialog.Subscription) (string, []byte) { return "", nil }

// Ended forgets a subscription.
func (x Info) Ended(sub *dialog.Subscription) {
	i, _ := sub.Data().(*winfoWatch)
	if i == nil {
		return
	}
	i.e.mu.Lock()
	for k, o := range i.e.winfo {
		if o == i {
			i.e.winfo = append(i.e.winfo[:k:k], i.e.winfo[k+1:]...)
			break
		}
	}
	if len(i.e.winfo) == 0 {
		i.e.winfo = nil
	}
	i.e.mu.Unlock()
	x.s.unpin(i.e)
}

// watcherChanged tells the owner that a watcher came or went.
func (s *Service) watcherChanged(e *entity, w *watch, gone bool) {
	if _, ok := w.teller.(*dialog.Subscription); !ok {
		return // by the API: it has its own list
	}
	e.mu.Lock()
	list := append([]*winfoWatch(nil), e.winfo...)
	e.mu.Unlock()
	for _, i := range list {
		i.mu.Lock()
		if len(i.rest) >= maxChanges {
			i.rest, i.again = nil, true
		} else {
			i.rest = append(i.rest, change{w, gone})
		}
		live := i.live
		i.mu.Unlock()
		if live {
			i.sub.Notify()
		}
	}
}

// Next is the body of the next NOTIFY: all watchers first (RFC 3857 §4.7.2), then those that came or went (RFC 3858 §3.1). Of
// very many watchers those that do not fit follow as if they had just come.
func (x Info) Next(sub *dialog.Subscription, full bool) (contentType string, body []byte, more, ok bool) {
	i, _ := sub.Data().(*winfoWatch)
	if i == nil {
		return "", nil, false, false
	}
	i.mu.Lock()
	full = full || i.again
	if full {
		i.again = false
		i.rest = nil
		i.mu.Unlock()
		i.e.mu.Lock()
		refs := append([]ref(nil), i.e.refs...)
		i.e.mu.Unlock()
		i.mu.Lock()
		// Who went after this is in rest, behind these.
		all := make([]change, 0, len(refs)+len(i.rest))
		for _, r := range refs {
			if _, ok := r.w.teller.(*dialog.Subscription); ok {
				all = append(all, change{w: r.w})
			}
		}
		i.rest = append(all, i.rest...)
	}
	n := min(len(i.rest), x.s.o.Limits.WatcherRows)
	rows := append([]change(nil), i.rest[:n]...)
	i.rest = i.rest[n:]
	if more = len(i.rest) > 0; !more {
		i.rest = nil
	}
	i.mu.Unlock()
	if n == 0 && !full {
		return "", nil, false, false
	}
	doc := watcherinfo.Document{Version: sub.Version(), Partial: !full}
	list := watcherinfo.List{Resource: "sip:" + sub.Resource(), Package: Package}
	now := time.Now()
	for _, c := range rows {
		list.Watchers = append(list.Watchers, c.row(now))
	}
	doc.Lists = []watcherinfo.List{list}
	return watcherinfo.ContentType, doc.Append(make([]byte, 0, 256+200*n)), more, true
}

// row is a watcher as RFC 3858 §3.2 writes it. Everybody is let in by a level or a rule, so nobody is pending; who is blocked
// has a subscription, too, and sees nothing in it.
func (c change) row(now time.Time) watcherinfo.Watcher {
	r := watcherinfo.Watcher{URI: "sip:" + c.w.watcher(), Status: watcherinfo.Active, Event: watcherinfo.Subscribe}
	if sub, ok := c.w.teller.(*dialog.Subscription); ok {
		r.ID = sub.ID().Local
		left := uint64(max(0, sub.Expires().Sub(now)) / time.Second)
		r.Expiration = &left
	}
	r.Subscribed = uint64(max(0, now.Unix()-int64(c.w.since)))
	if c.gone {
		r.Status, r.Event, r.Expiration = watcherinfo.Terminated, watcherinfo.Timeout, nil
	}
	return r
}

// InfoTypes are the media types of watcher information.
func InfoTypes() []string { return []string{watcherinfo.ContentType} }
