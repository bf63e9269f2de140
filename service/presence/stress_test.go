package presence

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/wire/pidf"
)

// Whatever happens at once and in whatever order: in the end everybody sees what is to be seen, and when all have gone nothing
// is left.
func TestConverges(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) { converge(t, r, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func converge(t *testing.T, r *rig, rnd *rand.Rand) {
	people := []string{alice, bob, carol, "dan@example.com", "eve@example.com"}
	pick := func() string { return people[rnd.IntN(len(people))] }
	all := []string{"nobody@example.com", "x@example.org"}
	all = append(all, people...)
	phones := map[string]*phone{}
	for _, p := range people {
		phones[p] = r.phone(p)
		r.contacts(p, all[:rnd.IntN(len(all))]...)
	}
	var ones, lists []*watching
	subscribe := func() {
		p := phones[pick()]
		if rnd.IntN(2) == 0 {
			ones = append(ones, p.subscribe(pick(), "", "", []string{"Accept: application/pidf+xml", "Accept: application/pidf+xml, application/pidf-diff+xml"}[rnd.IntN(2)]))
			return
		}
		lists = append(lists, p.subscribe("contacts@example.com", "", "", "Supported: eventlist"))
	}
	var lock sync.Mutex // of rnd
	number := func(n int) int {
		lock.Lock()
		defer lock.Unlock()
		return rnd.IntN(n)
	}
	someone := func() string { return people[number(len(people))] }
	for range 30 {
		if number(3) == 0 {
			subscribe()
		}
		if n := number(12); n == 0 && len(ones) > 0 {
			ones[0].again(0)
			ones = ones[1:]
		} else if n == 1 && len(lists) > 0 {
			lists[0].again(0)
			lists = lists[1:]
		}
		// Several things at once, from several sides.
		var g sync.WaitGroup
		for range 1 + number(4) {
			g.Go(func() {
				who, other, n := someone(), someone(), number(5)
				switch number(6) {
				case 0:
					r.mu.Lock()
					r.devices[who] = nil
					for i := range n {
						r.devices[who] = append(r.devices[who], compose.Device{ID: fmt.Sprint("d", i), Class: pidf.Phone})
					}
					r.mu.Unlock()
					r.DevicesChanged(who)
				case 1:
					r.CallsChanged(who, compose.Calls{Talking: n / 2})
				case 2:
					r.mu.Lock()
					r.rules[who] = &policy.Rules{Persons: map[string]policy.Level{other: policy.Level(n)}}
					r.mu.Unlock()
					r.LevelsChanged(who, nil)
				case 3:
					r.mu.Lock()
					var list []Contact
					for _, i := range []int{n, (n + 2) % len(all), (n + 3) % len(all)} {
						list = append(list, Contact{Address: all[i]})
					}
					r.lists[who] = list
					r.mu.Unlock()
					r.ContactsChanged(who)
				case 4:
					r.UserChanged(who, n == 0)
					if n == 0 {
						r.UserChanged(who, false)
					}
				case 5:
					r.change(who, func(e *entity) {
						e.manual = compose.Manual{State: []pidf.Availability{"", pidf.Busy, pidf.DND, pidf.Offline, pidf.Away}[n]}
					})
				}
			})
		}
		g.Wait()
		if number(8) == 0 {
			settle()
		}
	}
	wait(5 * time.Second)
	for _, w := range ones {
		notes := w.news()
		if len(notes) > 0 && isOver(notes[len(notes)-1].GetName("Subscription-State")) {
			continue // the account was removed meanwhile
		}
		seen, err := r.See(t.Context(), admin, w.user, w.uri)
		if err != nil || w.state != string(seen.Availability) {
			t.Errorf("%s sees %s of %s, which is %s (%v)", w.user, w.state, w.uri, seen.Availability, err)
		}
	}
	for _, w := range lists {
		w.news()
		r.mu.Lock()
		list := r.lists[w.user]
		r.mu.Unlock()
		for _, c := range list {
			want := "-"
			if seen, err := r.See(t.Context(), admin, w.user, c.Address); err == nil && r.ours(c.Address) {
				want = string(seen.Availability)
			}
			if got := w.list[c.Address]; got != want {
				t.Errorf("the list of %s has %q for %s, want %q", w.user, got, c.Address, want)
			}
		}
		for uri, state := range w.list {
			listed := false
			for _, c := range list {
				listed = listed || c.Address == uri
			}
			if !listed && state != "-" {
				t.Errorf("the list of %s still has %s %s", w.user, uri, state)
			}
		}
	}
	for _, w := range append(ones, lists...) {
		if m := w.again(0); m.Status() != 200 && m.Status() != 481 {
			t.Errorf("%s", m.Bytes())
		}
		w.news()
	}
	for _, p := range people {
		r.change(p, func(e *entity) { e.manual, e.calls = compose.Manual{}, compose.Calls{} })
		r.signIn(p)
	}
	if n, m, k := r.table.len(), r.Service.lists.len(), r.notifiers[0].Len(); n != 0 || m != 0 || k != 0 {
		t.Errorf("%d people, %d entries, %d subscriptions are left", n, m, k)
	}
}

func isOver(state string) bool { return len(state) > 10 && state[:10] == "terminated" }
