package presence

import (
	"testing"
	"time"
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
