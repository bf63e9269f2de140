package presence

import (
	"context"
	"testing"
	"time"

	"github.com/parley-im/parley/transport"
)

// What changes in a list of contacts while its subscription is being made is told all the same.
func TestListChangesWhileItIsMade(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice)
		r.mu.Lock()
		r.cold, r.slow = true, 10*time.Millisecond
		r.mu.Unlock()
		go func() {
			time.Sleep(5 * time.Millisecond) // the level of alice is being asked
			r.mu.Lock()
			r.lists[bob] = []Contact{{alice, "A"}, {carol, "C"}}
			r.mu.Unlock()
			r.ContactsChanged(bob)
		}()
		list := r.phone(bob).subscribe("contacts@example.com", "", "", "Supported: eventlist")
		wait(30 * time.Second)
		list.news()
		if _, ok := list.list[carol]; !ok {
			t.Errorf("carol is missing: %v", list.list)
		}
		list.again(0)
		list.news()
		if n := len(r.Service.lists.own); n != 0 {
			t.Errorf("%d lists are left", n)
		}
	})
}

// However much a restart leaves to be done, who asks can ask and goes first, and both go on.
func TestWhoAsksGoesFirst(t *testing.T) {
	j := jobs{wake: make(chan struct{}, 1)}
	order := ""
	for range maxJobs {
		j.must(func(context.Context) { order += "o" })
	}
	for range 6 {
		if !j.try(func(context.Context) { order += "a" }) {
			t.Fatal("who asks is turned away")
		}
	}
	for range 10 {
		j.next()(t.Context())
	}
	if order != "aaaaoaaooo" || j.len() != maxJobs-4 {
		t.Errorf("%s, %d are left", order, j.len())
	}
	for j.len() > 0 {
		j.next()
	}
	if j.next() != nil {
		t.Error("more than all")
	}
	for range maxJobs {
		if !j.try(func(context.Context) {}) {
			t.Fatal("turned away too early")
		}
	}
	if j.try(func(context.Context) {}) {
		t.Error("any number may ask")
	}
}

// A subscription from before a restart to somebody whose account is gone ends.
func TestResumedToNobody(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		w := r.phone(bob).subscribe(alice, "", "")
		w.news()
		wait(3 * time.Second)
		r.stop()
		r.mu.Lock()
		r.missing[alice] = true
		r.mu.Unlock()
		r.start()
		last := ""
		for _, m := range w.news() {
			last = m.GetName("Subscription-State")
		}
		if !isOver(last) {
			t.Errorf("it is %q", last)
		}
	})
}

// A subscription from before a restart that makes room for another while the levels are being asked leaves nothing.
func TestResumedTooLate(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice, carol)
		b := r.phone(bob, transport.TCP)
		for _, uri := range []string{alice, "contacts@example.com"} {
			b.subscribe(uri, "", "", "Supported: eventlist").news()
		}
		wait(3 * time.Second)
		r.stop()
		r.mu.Lock()
		r.cold, r.slow = true, 10*time.Millisecond
		r.mu.Unlock()
		r.start()
		w := b.subscribe(carol, "", "", "Expires: 600")
		w.news()
		w.again(0)
		w.news()
		wait(time.Minute)
		if n, m, k := r.table.len(), r.Service.lists.len(), r.notifiers[0].Len(); n != 0 || m != 0 || k != 0 || len(r.Service.lists.own) != 0 {
			t.Errorf("%d people, %d entries, %d subscriptions are left", n, m, k)
		}
	}, func(r *rig) { r.notify.PerWatcher = 2 })
}
