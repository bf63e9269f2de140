package presence

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/sip"
)

// The account of a watcher was closed and the server stopped before that was saved: the device is told the end and no more.
func TestClosedWatcher(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice)
		r.signIn(alice, "a")
		b, c := r.phone(bob), r.phone(carol)
		for _, w := range []*watching{b.subscribe(alice, "", ""), b.subscribe("contacts@example.com", "", "", "Supported: eventlist"), b.subscribe(bob, InfoPackage, "")} {
			w.news()
		}
		other := c.subscribe(alice, "", "")
		other.sees(pidf.Available, 1)
		wait(2 * time.Second)
		r.mu.Lock()
		r.missing[bob] = true
		r.mu.Unlock()
		r.restart()
		r.CallsChanged(alice, compose.Calls{Talking: 1})
		wait(10 * time.Second)
		other.sees(pidf.InCall, -1)
		b.notes = append(b.notes, b.received()...)
		for _, m := range b.notes {
			if len(m.Body()) > 0 {
				t.Errorf("a closed account is told %s", m.Bytes())
			}
		}
		if n, k := r.notifiers[0].Len(), r.notifiers[1].Len(); n != 1 || k != 0 {
			t.Errorf("%d and %d subscriptions are left", n, k)
		}
	})
}

// A list is changed for days while there is no way to its watcher: what was removed does not gather, and the watcher gets the
// list as it is.
func TestListNobodyHears(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice, carol)
		b := r.phone(bob, transport.TCP)
		l := b.subscribe("contacts@example.com", "", "", "Supported: eventlist")
		l.news()
		w := r.Service.lists.own[bob][0]
		b.silent = true // and its NOTIFY is out for 32 s
		r.signIn(alice, "a")
		for i := range 200 {
			r.contacts(bob, alice, fmt.Sprintf("x%d@example.com", i), fmt.Sprintf("tel:+49%d", i))
		}
		w.mu.Lock()
		n, dirty := len(w.entries), len(w.list.dirty)
		w.mu.Unlock()
		if n > 20 || dirty > 20 {
			t.Errorf("%d entries, %d of them to be told", n, dirty)
		}
		b.silent = false
		if m := l.again(3600, "Supported: eventlist"); m.Status() != 200 {
			t.Fatalf("%s", m.Bytes())
		}
		wait(time.Second)
		if l.news(); fmt.Sprint(l.list) != "map[alice@example.com:available tel:+49199:- x199@example.com:offline]" {
			t.Errorf("the list is %v", l.list)
		}
	}, func(r *rig) { r.opts.Limits.ListEntries = 5 })
}

// What one entry of a list may take is bounded, also when it comes packed.
func TestLargeEntries(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		b := r.phone(bob, transport.TCP)
		body := func(uri, name string) string {
			return `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="` + uri + `"><display-name>` + name + `</display-name></entry></list></resource-lists>`
		}
		headers := []string{"Supported: eventlist", "Require: recipient-list-subscribe", "Content-Type: application/resource-lists+xml"}
		w := b.subscribe("rls@example.com", "", body("sip:"+alice, strings.Repeat("ä", 30_000)), headers...)
		w.news()
		watch := r.notifiers[0].WatchedBy(bob)[0].Data().(*watch)
		if n := len(watch.list.names[0]); n == 0 || n > maxEntryName || !utf8.ValidString(watch.list.names[0]) {
			t.Errorf("a name of %d bytes is held", n)
		}
		m := (&watching{phone: b}).ask("rls@example.com", body("sip:"+strings.Repeat("a", 30_000)+"@example.com", ""), headers...)
		if m.Status() != 400 {
			t.Errorf("%s", m.Bytes())
		}
	})
}

// One who asks for very many lists at once does not keep others waiting.
func TestManyLists(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		l := &r.Service.lists
		for range maxBegun {
			if !l.begin(bob) {
				t.Fatal("too few lists at a time")
			}
		}
		b := r.phone(bob)
		m := (&watching{phone: b}).ask("contacts@example.com", "", "Supported: eventlist")
		if m.Status() < 500 || m.Get(sip.HRetryAfter) == "" {
			t.Errorf("%s", m.Bytes())
		}
		r.phone(carol).subscribe("contacts@example.com", "", "", "Supported: eventlist")
		l.made(bob)
		b.subscribe("contacts@example.com", "", "", "Supported: eventlist")
		b.subscribe("contacts@example.com", "", "", "Supported: eventlist") // the first one has been made
		for range maxBegun - 1 {
			l.made(bob)
		}
		if len(l.begun) != 0 {
			t.Errorf("%v", l.begun)
		}
	})
}

// A list that grew beyond what its watcher may watch stays as it was told, and is not tried again all the time.
func TestListGrowsTooLong(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice)
		l := r.phone(bob).subscribe("contacts@example.com", "", "", "Supported: eventlist")
		l.news()
		r.contacts(bob, alice, carol, "dan@example.com", "eve@example.com")
		wait(time.Hour)
		if n := testutil.ToFloat64(r.metrics.refused.WithLabelValues("entries")); n != 1 {
			t.Errorf("tried %v times", n)
		}
		r.contacts(bob, alice, carol)
		if l.news(); fmt.Sprint(l.list) != "map[alice@example.com:offline carol@example.com:offline]" {
			t.Errorf("the list is %v", l.list)
		}
	}, func(r *rig) { r.opts.Limits.UserEntries = 3 })
}

// Two clients that never sign in and hang up after each PUBLISH do not throw each other out; a device that comes again does, but
// not when it is refused.
func TestPublishersThatHangUp(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "a")
		publish := func(activity string, want int) {
			t.Helper()
			p := r.phone(alice, transport.TCP)
			if m := p.publish(document(activity)); m.Status() != want {
				t.Errorf("%s", m.Bytes())
			}
			p.flow.Close("the test hangs up")
		}
		publish("busy", 200)    // a door
		publish("meeting", 200) // a calendar
		if n := r.publish.count.Load(); n != 2 {
			t.Errorf("%d publications", n)
		}
		r.signIn(alice, "a", "plain")
		publish("away", 200)
		if n := r.publish.count.Load(); n != 2 {
			t.Errorf("%d publications", n)
		}
		r.Service.o.Limits.PublishedBytes = 1
		publish("away", 500)
		if n := r.publish.count.Load(); n != 2 {
			t.Errorf("%d publications after a refusal", n)
		}
	})
}

// A look at everything goes in pieces that fit between what people ask.
func TestAgainInPieces(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		var list []string
		for i := range 1000 {
			list = append(list, fmt.Sprintf("x%d@example.com", i))
		}
		r.contacts(bob, list...)
		r.phone(bob, transport.TCP).subscribe("contacts@example.com", "", "", "Supported: eventlist")
		r.mu.Lock()
		r.slow = time.Second
		r.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan bool)
		go func() {
			r.Again(ctx)
			close(over)
		}()
		for range 20 {
			wait(time.Second)
			if n := r.jobs.len(); n > 2*againAt {
				t.Fatalf("%d jobs wait", n)
			}
		}
		cancel()
		<-over
	})
}
