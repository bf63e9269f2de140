package dialog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Everything at once: changes, refreshes, ends, lost ways and a Keeper that
// breaks. Afterwards everybody who is left has been told everything, every end
// was told once, and what is kept is what is there.
func TestStress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := kept()
		c := newCrowd(t, Options{Keep: k, Rate: 500, Interval: 5 * time.Second, Max: 48 * time.Hour, Default: 48 * time.Hour})
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- c.n.Serve(ctx) }()
		const count = 200
		// All watch one resource: the Request-URI and the From are what differs.
		for i := range count {
			c.l.Message(parse(t, c.text(i, 1, "", "bob")), c.link)
		}
		time.Sleep(time.Minute)
		c.count(count)
		list := c.n.Watching("bob@example.com")

		var g sync.WaitGroup
		g.Go(func() { // changes
			for i := range 100 {
				c.steps.mu.Lock()
				c.steps.words = append(c.steps.words, fmt.Sprint("w", i))
				c.steps.mu.Unlock()
				c.n.Notify("bob@example.com")
				time.Sleep(time.Duration(rand.N(700)) * time.Millisecond)
			}
		})
		g.Go(func() { // refreshes
			for i := range 300 {
				at := rand.N(count)
				for _, s := range c.n.WatchedBy(fmt.Sprintf("person%d@example.com", at)) {
					c.l.Message(parse(t, c.text(at, 2+i, s.ID().Local, "bob")), c.link)
				}
				time.Sleep(time.Duration(rand.N(200)) * time.Millisecond)
			}
		})
		g.Go(func() { // ends
			for i, s := range list[:50] {
				if i%2 == 0 {
					s.End("rejected", 0)
				} else {
					c.n.TerminateWatcher(s.Watcher().AOR, "noresource")
				}
				time.Sleep(time.Duration(rand.N(1000)) * time.Millisecond)
			}
		})
		g.Go(func() { // devices that are here all the time
			for range 300 {
				c.n.Arrived(list[rand.N(count)].Watcher().AOR, "", c.link)
				c.n.Terminate(func(s *Subscription) bool { return s.State() == Terminated }, "rejected")
				time.Sleep(time.Duration(rand.N(200)) * time.Millisecond)
			}
		})
		g.Go(func() { // the disk
			for i := range 20 {
				k.breaks(i%2 == 0)
				time.Sleep(time.Duration(rand.N(4000)) * time.Millisecond)
			}
			k.breaks(false)
		})
		g.Wait()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		c.count(count - 50)
		c.steps.over(t, 50)
		k.check(t, count-50, -1)
		for _, s := range c.n.Watching("bob@example.com") {
			if s.is.inFlight || s.place.in || *s.Data().(*int) != 101 {
				t.Errorf("%s: %+v", s.ID().CallID, s.is)
			}
			if row := k.row(s.ID().Local); !row.Expires.Equal(s.Expires()) {
				t.Error("an old row was kept")
			}
		}
		if n := c.n.queue.len(); n != 0 {
			t.Errorf("%d wait", n)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// A NOTIFY that is never answered ends the subscription, and nothing else is
// sent to it meanwhile, however much there is to tell.
func TestNeverAnswered(t *testing.T) {
	p := &steps{words: []string{"a"}}
	run(t, Options{Source: p, Keep: kept(), Rate: 100}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		r.status(200)
		r.notify("active;expires=3600", "full v0 a")
		for i := range 25 {
			p.add(r, fmt.Sprint(i))
			time.Sleep(time.Second)
			r.quiet()
			r.count(1)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.count(0)
		p.over(t, 1)
		r.quiet()
	})
}
