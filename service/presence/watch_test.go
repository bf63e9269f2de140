package presence

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/resourcelist"
	"github.com/parley-im/parley/wire/sip"
)

// RFC 3856 §6.6.2: who may see what; who is blocked is not told so.
func TestAuthorization(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "a")
		b := r.phone(bob)
		if m := (&watching{phone: b}).ask("nobody@example.com", ""); m.Status() != 404 {
			t.Errorf("nobody: %d", m.Status())
		}
		if m := (&watching{phone: b}).ask("x@example.org", ""); m.Status() != 404 {
			t.Errorf("elsewhere: %d", m.Status())
		}
		r.level(alice, bob, policy.Blocked)
		w := b.subscribe(alice, "", "")
		w.sees(pidf.Offline, 1)
		blocked := string(w.doc)
		r.CallsChanged(alice, compose.Calls{Talking: 1})
		settle()
		w.sees(pidf.Offline, 0)
		r.level(alice, bob, policy.Colleague)
		w.sees(pidf.InCall, 1)
		r.level(alice, bob, policy.Outside)
		w.sees(pidf.Busy, 1)
		r.level(alice, bob, policy.Blocked)
		w.sees(pidf.Offline, 1)
		if string(w.doc) != blocked {
			t.Error("who is blocked sees another document than before")
		}
		r.level(alice, bob, policy.Colleague)
		w.sees(pidf.InCall, 1)
		r.CallsChanged(alice, compose.Calls{})
		r.signIn(alice)
		w.sees(pidf.Offline, 1)
		if string(w.doc) != blocked {
			t.Errorf("who is blocked sees another document than that of somebody offline:\n%s\n%s", blocked, w.doc)
		}
		// Offline for one as for the other: there is nothing to tell.
		r.level(alice, bob, policy.Blocked)
		w.sees(pidf.Offline, 0)
	})
}

// A change that a watcher does not see is not told, and two changes at once are told as one.
func TestOnlyNews(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "a")
		r.level(alice, bob, policy.Outside)
		w := r.phone(bob).subscribe(alice, "", "")
		w.sees(pidf.Available, 1)
		r.signIn(alice, "a", "b") // which somebody outside is not told
		w.sees(pidf.Available, 0)
		r.CallsChanged(alice, compose.Calls{Talking: 1})
		r.CallsChanged(alice, compose.Calls{})
		settle()
		w.sees(pidf.Available, 0)
		if got := r.told(); !strings.HasPrefix(got, "alice@example.com available") {
			t.Errorf("changes: %s", got)
		}
		if n := w.again(3600).Status(); n != 200 {
			t.Error(n)
		}
		w.sees(pidf.Available, 1)
		if n := w.again(0).Status(); n != 200 {
			t.Error(n)
		}
		if got := w.news(); len(got) != 1 || !strings.HasPrefix(got[0].Get(sip.HSubscriptionState), "terminated") {
			t.Errorf("%d NOTIFYs", len(got))
		}
		r.signIn(alice)
		if e := r.table.find(alice); e != nil {
			t.Errorf("%s is still in the table: %d pins", alice, e.pins)
		}
	})
}

// A fetch (Expires: 0) is answered with one document and leaves nothing.
func TestFetch(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice, carol)
		for _, uri := range []string{alice, "contacts@example.com"} {
			w := r.phone(bob).subscribe(uri, "", "", "Expires: 0", "Supported: eventlist")
			if got := w.news(); len(got) != 1 || w.state == "" && len(w.list) != 2 {
				t.Errorf("%s: %d NOTIFYs, %q", uri, len(got), w.state)
			}
		}
		if n, m := r.table.len(), r.Service.lists.len(); n != 0 || m != 0 {
			t.Errorf("%d people, %d entries", n, m)
		}
	})
}

// RFC 5263 §4: the first document is a full one, later ones tell what changed.
func TestPartialDocuments(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "a", "b")
		b := r.phone(bob)
		w := b.subscribe(alice, "", "", "Accept: application/pidf+xml, application/pidf-diff+xml;q=1.0")
		plain := r.phone(carol).subscribe(alice, "", "", "Accept: application/pidf+xml, application/pidf-diff+xml;q=0.3")
		for i, step := range []struct {
			do    func()
			state pidf.Availability
			full  bool
		}{
			{func() {}, pidf.Available, true},
			{func() { r.CallsChanged(alice, compose.Calls{Talking: 1}) }, pidf.InCall, false},
			{func() { r.signIn(alice, "b") }, pidf.InCall, false},
			{func() { w.again(3600) }, pidf.InCall, true},
			{func() { r.CallsChanged(alice, compose.Calls{}) }, pidf.Available, false},
			{func() { r.level(alice, bob, policy.Blocked) }, pidf.Offline, true},
		} {
			step.do()
			settle()
			notes := w.news()
			if len(notes) != 1 || w.state != string(step.state) || int(w.version) != i+1 {
				t.Fatalf("step %d: %d NOTIFYs, %s, version %d", i, len(notes), w.state, w.version)
			}
			if full := strings.Contains(string(notes[0].Body()), "pidf-full"); full != step.full {
				t.Errorf("step %d: full %v\n%s", i, full, notes[0].Body())
			}
		}
		plain.news()
		if plain.version != 0 || plain.state != string(pidf.Available) {
			t.Errorf("who prefers full documents has version %d", plain.version)
		}
		if m := (&watching{phone: b}).ask(alice, "", "Accept: application/rlmi+xml"); m.Status() != 406 || m.Get(sip.HAccept) == "" {
			t.Errorf("who takes neither: %s", m.Bytes())
		}
	})
}

// RFC 4662: the own list of contacts, as it changes.
func TestContactList(t *testing.T) {
	for name, kind := range map[string]transport.Kind{"udp": transport.UDP, "tcp": transport.TCP} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.signIn(alice, "a")
				r.contacts(bob, alice, "nobody@example.com", "x@example.org", "tel:+4930123")
				b := r.phone(bob, kind)
				if m := (&watching{phone: b}).ask("contacts@example.com", ""); m.Status() != 421 || m.Get(sip.HRequire) != eventList {
					t.Fatalf("without Supported: %s", m.Bytes())
				}
				w := b.subscribe("contacts@example.com", "", "", "Supported: eventlist")
				check := func(what string, notes int, want string) {
					t.Helper()
					got := w.news()
					if s := fmt.Sprint(w.list); len(got) != notes || s != "map["+want+"]" {
						t.Errorf("%s: %d NOTIFYs, %s, want %d, %s", what, len(got), s, notes, want)
					}
				}
				check("at first", 1, "alice@example.com:available nobody@example.com:- tel:+4930123:- x@example.org:-")
				r.CallsChanged(alice, compose.Calls{Talking: 1})
				check("a call", 1, "alice@example.com:in-call nobody@example.com:- tel:+4930123:- x@example.org:-")
				r.contacts(bob, alice, carol)
				check("another list", 1, "alice@example.com:in-call carol@example.com:offline nobody@example.com:- tel:+4930123:- x@example.org:-")
				if m := w.again(3600, "Supported: eventlist"); m.Status() != 200 || m.Get(sip.HRequire) != eventList {
					t.Errorf("%s", m.Bytes())
				}
				check("refreshed", 1, "alice@example.com:in-call carol@example.com:offline")
				r.mu.Lock()
				delete(r.missing, "nobody@example.com")
				r.mu.Unlock()
				r.contacts(bob, carol, "nobody@example.com")
				check("somebody removed, somebody new", 1, "alice@example.com:- carol@example.com:offline nobody@example.com:offline")
				r.signIn(alice)
				check("somebody who was removed", 0, "alice@example.com:- carol@example.com:offline nobody@example.com:offline")
				r.UserChanged(carol, true)
				check("an account is gone", 1, "alice@example.com:- carol@example.com:- nobody@example.com:offline")
				r.UserChanged(carol, false)
				check("and is back", 1, "alice@example.com:- carol@example.com:offline nobody@example.com:offline")
				if n := r.Service.lists.len(); n != 2 {
					t.Errorf("%d entries", n)
				}
				w.again(0, "Supported: eventlist")
				w.news()
				if n := r.Service.lists.len(); n != 0 {
					t.Errorf("%d entries are left", n)
				}
			})
		})
	}
}

func body(uris ...string) string {
	d := resourcelist.Document{Lists: []resourcelist.List{{}}}
	for _, u := range uris {
		d.Lists[0].Items = append(d.Lists[0].Items, resourcelist.Item{URI: u})
	}
	return string(d.Append(nil))
}

const isList = "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\nRequire: recipient-list-subscribe\r\nSupported: eventlist"

// RFC 5367: a list in the SUBSCRIBE, which is there after a restart.
func TestListInBody(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "a")
		w := r.phone(bob).subscribe("rls@example.com", "", body("sip:"+alice, "sips:"+alice, "pres:"+carol, "sip:b%6fb@example.com", "sip:x@example.org"), isList)
		want := "map[alice@example.com:available b%6fb@example.com:offline pres:carol@example.com:offline sips:alice@example.com:available x@example.org:-]"
		if got := w.news(); len(got) != 1 || fmt.Sprint(w.list) != want {
			t.Fatalf("%d NOTIFYs: %v", len(got), w.list)
		}
		r.CallsChanged(alice, compose.Calls{Talking: 1})
		if got := w.news(); len(got) != 1 || w.list[alice] != "in-call" || w.list["sips:"+alice] != "in-call" {
			t.Errorf("%d NOTIFYs: %v", len(got), w.list)
		}
		r.restart()
		if w.news(); fmt.Sprint(w.list) != want { // calls are not kept
			t.Errorf("after a restart: %v", w.list)
		}
		r.signIn(alice)
		if got := w.news(); len(got) != 1 || w.list[alice] != "offline" {
			t.Errorf("%d NOTIFYs: %v", len(got), w.list)
		}
	})
}

// The longest list is kept over a restart, too.
func TestLongestListSurvives(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		var many []string
		for i := range 2000 {
			many = append(many, fmt.Sprintf("sip:somebody-with-a-long-name-%d@elsewhere-%d.example.org", i, i))
		}
		many[1999] = "sip:" + alice
		w := r.phone(bob, transport.TCP).subscribe("rls@example.com", "", deflated(body(many...)), isList+"\r\nContent-Encoding: deflate")
		w.news()
		wait(2 * time.Second)
		r.restart()
		if w.news(); len(w.list) != 2000 || w.list[alice] != "offline" {
			t.Errorf("%d in the list, alice is %q", len(w.list), w.list[alice])
		}
	})
}

// Lists that are refused, and lists at their limits.
func TestListLimits(t *testing.T) {
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("sip:u%d@example.com", i))
	}
	nested := strings.Repeat("<list>", 30) + strings.Repeat("</list>", 30)
	run(t, func(t *testing.T, r *rig) {
		b := r.phone(bob, transport.TCP)
		for _, c := range []struct {
			what, body, headers string
			status              int
		}{
			{"1,000 entries", body(many[:1000]...), isList, 413},
			{"one too many", body(many[:101]...), isList, 413},
			{"itself", body("sip:"+alice, "sip:rls@example.com"), isList, 400},
			{"the list of contacts", body("sip:Contacts@example.com"), isList, 400},
			{"a reference", `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><external anchor="http://x/y"/></list></resource-lists>`, isList, 400},
			{"no XML", "alice", isList, 400},
			{"DTD", "<!DOCTYPE a>" + body("sip:"+alice), isList, 400},
			{"deep", `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">` + nested + `</resource-lists>`, isList, 413},
			{"another type", "x", "Content-Type: text/plain\r\nSupported: eventlist", 415},
			{"a bomb", deflated(strings.Repeat(" ", 10<<20)), isList + "\r\nContent-Encoding: deflate", 413},
			{"without Supported", body("sip:" + alice), "Content-Type: application/resource-lists+xml", 421},
			{"a multipart without a list", "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n", "Content-Type: multipart/mixed;boundary=b\r\nSupported: eventlist", 415},
			{"a multipart without an end", "--b\r\n", "Content-Type: multipart/mixed;boundary=b\r\nSupported: eventlist", 400},
			{"a filter is passed over", "<filter-set/>", "Content-Type: application/simple-filter+xml", 404},
			{"empty", body(), isList, 200},
			{"as many as there may be", body(many[:100]...), isList, 200},
			{"one in a multipart", "--b\r\nContent-Type: application/resource-lists+xml\r\n\r\n" + body("sip:"+alice) + "\r\n--b--\r\n",
				"Content-Type: multipart/mixed;boundary=b\r\nSupported: eventlist", 200},
			{"packed", deflated(body("sip:" + alice)), isList + "\r\nContent-Encoding: deflate", 200},
			{"beyond all of one user", body(many[:99]...), isList, 403},
			{"as many as are left", body(many[:98]...), isList, 200},
		} {
			if m := (&watching{phone: b}).ask("rls@example.com", c.body, c.headers); m.Status() != c.status {
				t.Errorf("%s: %s", c.what, m.Bytes())
			}
			b.received()
		}
		if n := r.Service.lists.len(); n != 200 {
			t.Errorf("%d entries", n)
		}
	}, func(r *rig) {
		r.opts.Limits.ListEntries, r.opts.Limits.UserEntries = 100, 200
		for i := range 1000 {
			r.missing[fmt.Sprintf("u%d@example.com", i)] = true
		}
		r.missing["rls@example.com"] = true
	})
}

// What does not fit into one body comes in the next ones, and all of it comes.
func TestLargeList(t *testing.T) {
	const n = 100
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("u%d@example.com", i))
	}
	for name, limit := range map[string]int{"documents": 16 << 10, "even names": 4 << 10} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.contacts(bob, all...)
				for _, u := range all {
					r.signIn(u, "a")
				}
				w := r.phone(bob).subscribe("contacts@example.com", "", "", "Supported: eventlist")
				complete := func(state string) {
					t.Helper()
					notes := w.news()
					if len(notes) < 3 {
						t.Errorf("%d NOTIFYs", len(notes))
					}
					for _, m := range notes {
						if len(m.Body()) > limit+4096 {
							t.Errorf("a body of %d bytes", len(m.Body()))
						}
					}
					for _, u := range all {
						if w.list[u] != state {
							t.Errorf("%s is %q", u, w.list[u])
						}
					}
				}
				complete("available")
				for _, u := range all {
					r.signIn(u)
				}
				for _, u := range all {
					if w.news(); w.list[u] != "offline" {
						t.Errorf("%s is %q", u, w.list[u])
					}
				}
				for _, u := range all {
					r.signIn(u, "a", "b")
				}
				w.news()
				w.again(3600, "Supported: eventlist")
				complete("available")
			}, func(r *rig) { r.opts.Limits.DatagramBody = limit })
		})
	}
}

// A NOTIFY that is never answered ends the subscription, and nothing is left of it.
func TestSilentWatcher(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice, carol)
		b := r.phone(bob)
		b.silent = true
		b.subscribe(alice, "", "")
		b.subscribe("contacts@example.com", "", "", "Supported: eventlist")
		wait(time.Minute)
		if n, m, k := r.table.len(), r.Service.lists.len(), r.notifiers[0].Len(); n != 0 || m != 0 || k != 0 {
			t.Errorf("%d people, %d entries, %d subscriptions are left", n, m, k)
		}
	})
}

// The store does not answer: nothing is guessed.
func TestStoreFails(t *testing.T) {
	down := errs.New(errs.Unavailable, "rig: the store does not answer")
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice)
		r.signIn(alice, "a")
		b := r.phone(bob)
		w := b.subscribe(alice, "", "")
		l := b.subscribe("contacts@example.com", "", "", "Supported: eventlist")
		w.sees(pidf.Available, 1)
		l.news()

		r.fail(down)
		for _, uri := range []string{alice, "contacts@example.com"} {
			if m := (&watching{phone: b}).ask(uri, "", "Supported: eventlist"); m.Status() != 500 || m.Get(sip.HRetryAfter) == "" {
				t.Errorf("%s: %s", uri, m.Bytes())
			}
		}
		r.level(alice, bob, policy.Blocked)
		w.sees(pidf.Available, 0)
		r.contacts(bob, alice, carol)
		r.restart()
		if w.news(); w.state != string(pidf.Available) {
			t.Errorf("the watcher sees %q", w.state)
		}
		if n := r.notifiers[0].Len(); n != 2 {
			t.Errorf("%d subscriptions", n)
		}
		r.level(alice, bob, policy.Blocked)
		r.fail(nil)
		wait(10 * time.Second)
		w.sees(pidf.Offline, -1)
		if l.news(); fmt.Sprint(l.list) != "map[alice@example.com:offline carol@example.com:offline]" {
			t.Errorf("list: %v", l.list)
		}
	}, func(r *rig) { r.cold = true })
}

// Subscriptions go on after a restart, with what their watchers may see then.
func TestSubscriptionsSurvive(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice, carol)
		r.signIn(alice, "a")
		b := r.phone(bob)
		one := b.subscribe(alice, "", "", "Accept: application/pidf+xml, application/pidf-diff+xml")
		list := b.subscribe("contacts@example.com", "", "", "Supported: eventlist")
		one.sees(pidf.Available, 1)
		list.news()
		wait(2 * time.Second)
		r.restart()
		r.level(alice, bob, policy.Team)
		r.contacts(bob, alice)
		r.CallsChanged(alice, compose.Calls{Talking: 1})
		one.news()
		list.news()
		if one.state != string(pidf.InCall) || fmt.Sprint(list.list) != "map[alice@example.com:in-call carol@example.com:-]" {
			t.Errorf("%s, %v", one.state, list.list)
		}
		if m := one.again(3600); m.Status() != 200 {
			t.Errorf("refresh: %s", m.Bytes())
		}
	})
}

// RFC 3856 §6.10: the first change is told at once, those of the next five seconds together.
func TestPaced(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice, carol)
		b := r.phone(bob)
		one, list := b.subscribe(alice, "", ""), b.subscribe("contacts@example.com", "", "", "Supported: eventlist")
		one.news()
		list.news()
		wait(6 * time.Second)
		r.signIn(alice, "a")
		one.sees(pidf.Available, 1)
		if got := list.news(); len(got) != 1 || list.list[alice] != "available" {
			t.Errorf("at once: %d NOTIFYs, %v", len(got), list.list)
		}
		for i := range 9 {
			r.CallsChanged(alice, compose.Calls{Talking: (i + 1) % 2})
			r.signIn(carol, []string{"c", "d"}[i%2])
			wait(300 * time.Millisecond)
		}
		if n, m := len(one.news()), len(list.news()); n != 0 || m != 0 {
			t.Errorf("meanwhile: %d and %d NOTIFYs", n, m)
		}
		wait(5 * time.Second)
		one.sees(pidf.InCall, 1)
		if got := list.news(); len(got) != 1 || list.list[alice] != "in-call" || list.list[carol] != "available" {
			t.Errorf("together: %d NOTIFYs, %v", len(got), list.list)
		}
	}, func(r *rig) { r.notify.Interval = 5 * time.Second })
}

// Hints that were lost: what changed is found out all the same, and where nothing changed nobody is told.
func TestAgain(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(bob, alice)
		b := r.phone(bob)
		one, list := b.subscribe(alice, "", ""), b.subscribe("contacts@example.com", "", "", "Supported: eventlist")
		one.sees(pidf.Offline, 1)
		list.news()
		r.Again(t.Context())
		settle()
		if n, m := len(one.news()), len(list.news()); n+m != 0 {
			t.Errorf("%d and %d NOTIFYs about nothing", n, m)
		}
		r.mu.Lock()
		r.devices[alice] = []compose.Device{{ID: "a"}}
		r.devices[carol] = []compose.Device{{ID: "c"}}
		r.lists[bob] = []Contact{{Address: carol}}
		r.mu.Unlock()
		r.Again(t.Context())
		settle()
		one.sees(pidf.Available, 1)
		if list.news(); fmt.Sprint(list.list) != "map[alice@example.com:- carol@example.com:available]" {
			t.Errorf("list: %v", list.list)
		}
		r.mu.Lock()
		r.rules[alice] = &policy.Rules{Persons: map[string]policy.Level{bob: policy.Blocked}}
		r.mu.Unlock()
		r.Again(t.Context())
		settle()
		one.sees(pidf.Offline, 1)
	})
}
