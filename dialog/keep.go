package dialog

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
)

// Row is a subscription as it is kept over a restart.
type Row struct {
	Tag     string // our tag, unique
	Event   string // event package
	Watcher string // AOR
	Expires time.Time
	Data    []byte // the Notifier's own, with a version in its first byte
}

// Keeper keeps the subscriptions of a Notifier.
type Keeper interface {
	// Save writes rows, in place of those with the same Tag, and removes others;
	// removing what is not there is no error.
	Save(ctx context.Context, save []Row, remove []string) error
	// Load calls f for each row of an event package; f does not call the Keeper
	// and keeps nothing of the row.
	Load(ctx context.Context, event string, f func(*Row) error) error
}

// Resumer is a Source that keeps something of its own with each subscription,
// a list that came with the SUBSCRIBE for example.
type Resumer interface {
	// Keep is what Resume will need, at most 64 kB, nil for nothing. It is called
	// when the subscription is saved: after it was made or refreshed, and after
	// Subscription.Save, on Serve's goroutine. It must not block.
	Keep(s *Subscription) []byte
	// Resume comes instead of Authorize for a subscription from before the
	// start, with what Keep returned. A refusal ends it: with a Status of 500 and more
	// the watcher is to come again after a minute. Like Authorize it calls
	// done once, now or later, and must not block; until then the subscription is
	// on the tables (Notifier.Watching) but Next is not asked. kept is the
	// Source's to keep.
	Resume(s *Subscription, kept []byte, done func(Decision))
}

const (
	// seqJump is how far CSeq goes on at a restart: rows are not written for
	// each NOTIFY, so that more have been sent than they say, but at most half
	// of this (see Subscription.send).
	seqJump = 1 << 16

	maxKept      = 1 << 16 // of a Source, bytes
	saveDelay    = time.Second
	saveRetry    = 5 * time.Second
	saveBatch    = 500
	restoreRetry = 60               // s, when the Source could not decide about a restored subscription
	finalSaves   = 10 * time.Second // for all that is left at the end
)

// saver knows what is to be written: each subscription once.
type saver struct {
	wake chan struct{}

	mu     sync.Mutex
	list   []*Subscription
	forget []string // tags of rows that are of no use
}

// touch has s saved or its row removed; s.mu is held.
func (s *Subscription) touch() {
	k := s.n.saver
	if k == nil || s.is.unsaved || s.fetch {
		return
	}
	s.is.unsaved = true
	k.mu.Lock()
	k.list = append(k.list, s)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Save has the subscription saved again, because what Resumer.Keep returns for
// it has changed.
func (s *Subscription) Save() {
	s.mu.Lock()
	s.touch()
	s.mu.Unlock()
}

// Serve lets go the subscriptions that Load has brought back, and saves what
// changes, about a second later and once more at the end of ctx. Without
// Options.Keep it only waits.
func (n *Notifier) Serve(ctx context.Context) error {
	n.mu.Lock()
	loaded := n.loaded
	n.loaded = nil
	n.mu.Unlock()
	for _, s := range loaded {
		s.mu.Lock()
		s.is.asleep = false
		s.mu.Unlock()
		s.Notify()
	}
	if n.saver == nil {
		<-ctx.Done()
		return nil
	}
	pause := saveDelay
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalSaves)
			defer cancel()
			if err := n.flush(last); err != nil {
				n.o.Log.Error("subscriptions were not saved; watchers have to subscribe again", "event", n.o.Event, "err", err)
			}
			return nil
		case <-n.saver.wake:
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			continue
		case <-timer.C:
		}
		if err := n.flush(ctx); err == nil {
			pause = saveDelay
		} else if ctx.Err() == nil {
			if pause == saveDelay {
				n.o.Log.Warn("subscriptions cannot be saved now", "event", n.o.Event, "err", err)
			}
			pause = saveRetry
		}
	}
}

// flush writes what has changed. What could not be written is tried again.
func (n *Notifier) flush(ctx context.Context) error {
	k := n.saver
	k.mu.Lock()
	list, remove := k.list, k.forget
	k.list, k.forget = nil, nil
	k.mu.Unlock()
	for len(list) > 0 || len(remove) > 0 {
		batch := list[:min(len(list), saveBatch)]
		list = list[len(batch):]
		save := make([]Row, 0, len(batch))
		for _, s := range batch {
			row, use, over := s.row()
			if use {
				save = append(save, row)
			}
			if over {
				remove = append(remove, s.d.Local)
			}
		}
		some := remove[:min(len(remove), 2*saveBatch)]
		if len(save)+len(some) > 0 {
			if err := n.o.Keep.Save(ctx, save, some); err != nil {
				k.unsaved(batch, list, remove)
				return err
			}
		}
		remove = remove[len(some):]
	}
	return nil
}

// unsaved takes back what flush could not write: batch, which it had come to,
// and the rest.
func (k *saver) unsaved(batch, rest []*Subscription, remove []string) {
	k.mu.Lock()
	k.list = append(k.list, rest...)
	k.forget = append(k.forget, remove...)
	k.mu.Unlock()
	for _, s := range batch {
		s.mu.Lock()
		if !s.is.gone { // else its tag is in remove
			s.touch()
		}
		s.mu.Unlock()
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// row is the row to write, if there is one, or tells that the row is over.
func (s *Subscription) row() (row Row, use, over bool) {
	s.mu.Lock()
	gone, undecided, ours, flow := s.is.gone, s.is.undecided, s.ours, s.flow
	s.mu.Unlock()
	var kept []byte
	if r := s.n.resumer; r != nil && !gone && !undecided {
		if kept = r.Keep(s); len(kept) > maxKept {
			s.n.o.Log.Warn("a subscription holds too much to be saved", "event", s.n.o.Event, "bytes", len(kept))
			kept = nil
		}
	}
	if !flow.IsZero() {
		ours = s.n.o.Contact(flow)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.is.unsaved = false
	if undecided && !s.is.gone {
		s.touch() // only its Source knows what to keep; the old row serves until then
		return row, false, false
	}
	if s.is.gone {
		over = s.is.saved
		s.is.saved = false
		return row, false, over
	}
	s.is.saved = true // from now on, so that its end is not overlooked
	return Row{Tag: s.d.Local, Event: s.n.o.Event, Watcher: s.watcher.AOR, Expires: s.n.time(s.expires), Data: s.encode(ours, kept)}, true, false
}

// Load brings back the subscriptions that were kept, before Serve and before
// the first SUBSCRIBE. Those that are over, cannot be read or are beyond the
// limits are forgotten; their watchers find out when they refresh. The others
// are told everything once Serve runs and there is a way to their watchers: by
// Options.NextHop, or after Arrived.
func (n *Notifier) Load(ctx context.Context) error {
	if n.saver == nil {
		return nil
	}
	type restored struct {
		s    *Subscription
		kept []byte
	}
	var list []restored
	bad, forgotten, now := 0, 0, time.Now()
	err := n.o.Keep.Load(ctx, n.o.Event, func(row *Row) error {
		s, kept, err := n.decode(row)
		if err != nil {
			bad++
		}
		if err != nil || !s.Expires().After(now) || !n.restore(s) {
			n.saver.mu.Lock()
			n.saver.forget = append(n.saver.forget, row.Tag)
			n.saver.mu.Unlock()
			forgotten++
			return nil
		}
		list = append(list, restored{s, kept})
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range list {
		r.s.arm(time.Until(r.s.Expires()))
		done := func(v Decision) { r.s.resumed(v) }
		if n.resumer != nil {
			n.resumer.Resume(r.s, r.kept, done)
		} else {
			n.o.Source.Authorize(r.s, done)
		}
	}
	if bad > 0 {
		n.o.Log.Warn("some subscriptions could not be read; their watchers have to subscribe again", "event", n.o.Event, "count", bad)
	}
	n.o.Log.Info("subscriptions are back", "event", n.o.Event, "count", len(list), "forgotten", forgotten)
	select {
	case n.saver.wake <- struct{}{}: // for the forgotten
	default:
	}
	return nil
}

// restore puts a subscription from before the start on the tables.
func (n *Notifier) restore(s *Subscription) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byTag[s.d.Local] != nil || len(n.byTag) >= n.o.Total || n.byAOR[s.watcher.AOR].count() >= n.o.PerWatcher {
		return false
	}
	s.is = flags{full: true, asleep: true, undecided: true, restored: true, saved: true}
	n.add(s)
	n.loaded = append(n.loaded, s)
	return true
}

// resumed is decided for a subscription that was restored.
func (s *Subscription) resumed(v Decision) {
	s.mu.Lock()
	s.is.undecided = false
	if v.Status == 0 && s.state != Terminated {
		s.require, s.event = v.Require, v.Event
		before := s.state
		if s.state = Active; v.State == Pending {
			s.state = Pending
		}
		if s.state != before {
			s.touch()
		}
	}
	over := s.state == Terminated // it has expired meanwhile
	s.mu.Unlock()
	switch {
	case v.Status == 0:
		s.Notify()
	case over:
		s.remove()
	case v.Status >= 500:
		s.end("probation", restoreRetry)
	default:
		s.end("rejected", 0)
	}
}

// Arrived tells that a device of a watcher has a connection, a new one or one
// that was used again: each REGISTER is a good moment. device is that of
// Watcher.Device; subscriptions of the same device whose own connection is gone,
// or UDP address another, or that have an instance, go on over flow, others of the watcher look for a way by Options.NextHop.
// Whoever missed something is told everything.
func (n *Notifier) Arrived(aor, device string, flow transport.Flow) {
	for _, s := range n.WatchedBy(aor) {
		s.mu.Lock()
		waits := s.is.waiting
		if device != "" && s.watcher.Device == device && flow.Alive() && s.flow != flow && (waits || stale(device, s.flow, flow)) {
			s.flow = flow
			if flow.Kind() == transport.UDP {
				s.touch()
			}
		}
		s.mu.Unlock()
		if waits {
			s.Notify()
		}
	}
}

// stale tells whether a device that has a flow now cannot be expected on the one
// it had: its connection is gone; over UDP its address has changed, as a NAT that
// starts again makes it; or it has changed networks, which the old connection
// would notice only after a NOTIFY that nobody answers. The last is said of a
// device that has an instance (RFC 5626 §4.1), because a device password may be
// in two phones.
func stale(device string, old, now transport.Flow) bool {
	return !old.Alive() || strings.HasPrefix(device, "urn:") || old.Kind() == transport.UDP && now.Kind() == transport.UDP
}

// unreachable is what becomes of a subscription without a way to its watcher.
// RFC 6665 §4.2.2: it is gone, unless it is kept: then the watcher's connection
// is no more to it than a restart of ours, and the next change or Arrived tries
// again, until it expires.
func (s *Subscription) unreachable() {
	s.mu.Lock()
	f := &s.is
	if s.n.saver == nil || s.fetch || s.state == Terminated || f.gone {
		s.mu.Unlock()
		s.remove()
		return
	}
	// A change or a connection that came meanwhile may be tried at once.
	again := f.dirty && !f.waiting
	f.inFlight, f.dirty, f.more = false, false, false
	f.full, f.waiting = true, true
	s.mu.Unlock()
	if again {
		s.Notify()
	}
}

// lostWay tells an error that is about the connection from one that is about
// the watcher.
func lostWay(err error) bool {
	return errors.Is(err, transaction.ErrTransport) || errors.Is(err, transaction.ErrClosed)
}
