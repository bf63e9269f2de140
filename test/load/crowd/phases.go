package crowd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/parley-im/parley/test/load/ua"
	"github.com/parley-im/parley/wire/sip"
)

// connect gives the person a connection and a binding; done is called when that is answered.
func (p *person) connect(done func(ok bool)) {
	register := func() {
		p.c.Register(p.w.o.Expires, func(m *sip.Message) { done(p.w.answered("REGISTER", m)) })
	}
	if !p.w.overTCP(p.i) || p.c.Link() != nil {
		register()
		return
	}
	go func() {
		if err := p.c.Connect("tcp", p.w.o.Addrs["tcp"]); err != nil {
			p.w.problem("connecting: %v", err)
			done(false)
			return
		}
		register()
	}()
}

// SignOn has everybody register and subscribe to the list, one after the other over a time. It returns when all have the
// states of all their contacts, or after patience at the end, and tells how long after the last one came everybody saw
// everybody online; -1 if that did not happen.
func (w *Crowd) SignOn(ctx context.Context, over, patience time.Duration) time.Duration {
	began := ua.Now()
	for _, p := range w.people {
		p.addWatch(-1)
	}
	var under sync.WaitGroup
	for k, i := range shuffled(len(w.people)) {
		due := began + over*time.Duration(k)/time.Duration(len(w.people))
		if !sleep(ctx, due) {
			break
		}
		p := w.people[i]
		s := p.watches[0]
		s.due = due
		under.Add(1)
		p.connect(func(ok bool) {
			if !ok {
				under.Done()
				return
			}
			s.subscribe(w.o.Expires, func(bool) { under.Done() })
		})
		w.say(k, len(w.people)/10, "signing on: %d of %d", k, len(w.people))
	}
	under.Wait()
	last := ua.Now()
	w.until(ctx, patience, func() bool { return w.complete.Load() >= w.subscribed.Load() })
	settled := time.Duration(-1)
	if w.until(ctx, patience, func() bool { return w.online.Load() >= int64(len(w.people)*w.o.Contacts) }) {
		settled = ua.Now() - last
	}
	w.count()
	return settled
}

// Attend has the owners register and publish, and everybody else subscribe to each of them. between is called when all
// have been connected and nobody has subscribed.
func (w *Crowd) Attend(ctx context.Context, patience time.Duration, between func() error) error {
	const atOnce = 64
	slots := make(chan struct{}, atOnce)
	all := func() { // what is under way has ended
		for range atOnce {
			slots <- struct{}{}
		}
		for range atOnce {
			<-slots
		}
	}
	end := func(bool) { <-slots }
	owners, watchers := w.people[:w.o.Owners], w.people[w.o.Owners:]
	for _, p := range w.people {
		if p.i >= w.o.Owners {
			for o := range owners {
				p.addWatch(o)
			}
		}
		if w.overTCP(p.i) && p.i >= w.o.Owners {
			if err := p.c.Connect("tcp", w.o.Addrs["tcp"]); err != nil {
				return err
			}
		}
	}
	for _, p := range owners {
		slots <- struct{}{}
		p.connect(func(ok bool) {
			if !ok {
				end(false)
				return
			}
			p.publish(end)
		})
	}
	all()
	if err := between(); err != nil {
		return err
	}
	for o := range owners {
		for k, p := range watchers {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			slots <- struct{}{}
			s := p.watches[o]
			s.due = ua.Now()
			s.subscribe(w.o.Expires, end)
			w.say(o*len(watchers)+k, max(1, len(owners)*len(watchers)/10), "subscribed: %d of %d", o*len(watchers)+k, len(owners)*len(watchers))
		}
	}
	all()
	w.until(ctx, patience, func() bool { return w.complete.Load() >= w.subscribed.Load() })
	w.count()
	return ctx.Err()
}

// count notes who is watched by how many.
func (w *Crowd) count() {
	watchers := make([]int, len(w.people))
	for _, p := range w.people {
		for _, s := range p.watches {
			s.mu.Lock()
			there := s.done && !s.gone
			s.mu.Unlock()
			switch {
			case !there:
			case s.owner >= 0:
				watchers[s.owner]++
			default:
				for j := range w.o.Contacts {
					watchers[w.circle.contact(p.i, j)]++
				}
			}
		}
	}
	for i, p := range w.people {
		p.mu.Lock()
		p.watchers = watchers[i]
		p.open = nil // what was published before had other watchers
		p.mu.Unlock()
	}
}

// Rates are offered, per second, whatever is answered.
type Rates struct {
	Changes  float64 // of presence
	Messages float64 // to contacts
	Renewals float64 // of a binding and the subscription to the list
}

// Live lets things happen for a time, each at its rate. Nobody has two changes under way.
func (w *Crowd) Live(ctx context.Context, rates Rates, length time.Duration) {
	began := ua.Now()
	n := len(w.people)
	if w.circle == nil {
		n = w.o.Owners
	}
	order := shuffled(n)
	turn := func(k int) *person { return w.people[order[k%n]] }
	kinds := []struct {
		rate float64
		do   func(k int, due time.Duration)
	}{
		{rates.Changes, func(k int, _ time.Duration) { turn(k).publish(func(bool) {}) }},
		{rates.Messages, func(k int, due time.Duration) {
			p := turn(k + n/3)
			p.write(w.people[w.circle.contact(p.i, k%w.o.Contacts)], due)
		}},
		{rates.Renewals, func(k int, _ time.Duration) { turn(k + 2*n/3).renew() }},
	}
	done := make([]int, len(kinds))
	for {
		next, which := began+length, -1
		for i := range kinds {
			if kinds[i].rate <= 0 {
				continue
			}
			// Half a step later than the whole: kinds do not fall on the same moment.
			due := began + time.Duration((float64(done[i])+0.5+float64(i)/7)/kinds[i].rate*float64(time.Second))
			if due < next {
				next, which = due, i
			}
		}
		if !sleep(ctx, next) || which < 0 {
			return
		}
		kinds[which].do(done[which], next)
		done[which]++
	}
}

// renew renews the binding and the subscription.
func (p *person) renew() {
	p.mu.Lock()
	busy := p.renewing
	p.renewing = true
	p.mu.Unlock()
	if busy {
		return
	}
	end := func(bool) {
		p.mu.Lock()
		p.renewing = false
		p.mu.Unlock()
	}
	p.w.renewed.Add(1)
	p.c.Register(p.w.o.Expires, func(m *sip.Message) {
		if !p.w.answered("REGISTER", m) {
			end(false)
			return
		}
		p.watches[0].subscribe(p.w.o.Expires, end)
	})
}

// Settle waits until all watchers have all changes and all messages have been received, at most for a time. What is
// missing then counts as not seen.
func (w *Crowd) Settle(ctx context.Context, patience time.Duration) {
	missing := func() (n int64) {
		for _, p := range w.people {
			p.mu.Lock()
			for _, c := range p.open {
				n += int64(c.missing)
			}
			p.mu.Unlock()
		}
		return n
	}
	w.until(ctx, patience, func() bool { return missing() == 0 && w.messages.tally().Lost == 0 })
	w.unseen.Store(missing())
}

// until polls ten times a second, at most for a time.
func (w *Crowd) until(ctx context.Context, patience time.Duration, ok func() bool) bool {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	end := time.NewTimer(patience)
	defer end.Stop()
	for !ok() {
		select {
		case <-t.C:
		case <-end.C:
			return ok()
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// say tells every so often how far it is.
func (w *Crowd) say(k, every int, format string, args ...any) {
	if k > 0 && every > 0 && k%every == 0 {
		fmt.Fprintf(w.o.Out, format+"\n", args...)
	}
}

// sleep waits for a moment; false when ctx ended before.
func sleep(ctx context.Context, until time.Duration) bool {
	left := until - ua.Now()
	if left <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
