package presence

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/sip"
	"github.com/parley-im/parley/wire/watcherinfo"
)

var (
	self  = Actor{Name: alice, Via: "api"}
	admin = Actor{Name: "root@localhost", Via: "cli", Admin: true}
)

// Who may see and change what, and what is refused.
func TestActors(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		r.signIn(alice, "a")
		soon := time.Now().Add(time.Minute)
		for _, c := range []struct {
			what string
			do   func() error
			kind errs.Kind // 0: no error
		}{
			{"own", func() error { _, err := r.Own(ctx, self, alice); return err }, 0},
			{"own, as sip: URI", func() error { _, err := r.Own(ctx, self, "sip:alice@EXAMPLE.com"); return err }, 0},
			{"own of somebody else", func() error { _, err := r.Own(ctx, self, bob); return err }, errs.Forbidden},
			{"an administrator", func() error { _, err := r.Own(ctx, admin, bob); return err }, 0},
			{"nobody", func() error { _, err := r.Own(ctx, admin, "nobody@example.com"); return err }, errs.NotFound},
			{"no address", func() error { _, err := r.Own(ctx, admin, "bob"); return err }, errs.Invalid},
			{"see", func() error { _, err := r.See(ctx, self, alice, bob); return err }, 0},
			{"see as somebody else", func() error { _, err := r.See(ctx, self, bob, alice); return err }, errs.Forbidden},
			{"see as no address", func() error { _, err := r.See(ctx, self, "x", alice); return err }, errs.Invalid},
			{"explain", func() error { _, err := r.Explain(ctx, self, alice, bob); return err }, 0},
			{"explain somebody else", func() error { _, err := r.Explain(ctx, self, bob, alice); return err }, errs.Forbidden},
			{"watchers", func() error { _, err := r.Watchers(ctx, self, alice); return err }, 0},
			{"watchers of somebody else", func() error { _, err := r.Watchers(ctx, self, bob); return err }, errs.Forbidden},
			{"set for somebody else", func() error { return r.Set(ctx, self, bob, compose.Manual{State: pidf.Busy}) }, errs.Forbidden},
			{"set an unknown state", func() error { return r.Set(ctx, self, alice, compose.Manual{State: "asleep"}) }, errs.Invalid},
			{"set in a call", func() error { return r.Set(ctx, self, alice, compose.Manual{State: pidf.InCall}) }, errs.Invalid},
			{"a note of 1,001 bytes", func() error { return r.Set(ctx, self, alice, compose.Manual{Note: strings.Repeat("x", 1001)}) }, errs.Invalid},
			{"a note of 1,000 bytes", func() error { return r.Set(ctx, self, alice, compose.Manual{Note: strings.Repeat("x", 1000)}) }, 0},
			{"an end that has passed", func() error { return r.Set(ctx, self, alice, compose.Manual{State: pidf.Busy, Until: time.Now()}) }, errs.Invalid},
			{"an end that is to come", func() error { return r.Set(ctx, self, alice, compose.Manual{State: pidf.Busy, Until: soon}) }, 0},
			{"an administrator sets", func() error { return r.Set(ctx, admin, alice, compose.Manual{State: pidf.Away}) }, 0},
		} {
			if err := c.do(); errs.KindOf(err) != c.kind {
				t.Errorf("%s: %v", c.what, err)
			}
		}
		page, err := r.store.Log().Read(ctx, 0, 100)
		if err != nil || len(page) != 1 || page[0].From != admin.Name || page[0].To != alice || page[0].Meta[store.MetaAction] != "presence.set" {
			t.Errorf("records: %v, %v", page, err)
		}
		own, err := r.Own(ctx, self, alice)
		if err != nil || own.State.Availability != pidf.Away || len(own.Devices) != 1 || len(own.Sources) == 0 {
			t.Errorf("%+v, %v", own, err)
		}
	})
}

// What is explained is what is seen, and why.
func TestExplain(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "a")
		r.CallsChanged(alice, compose.Calls{Talking: 1})
		for level, want := range map[policy.Level]pidf.Availability{policy.Blocked: pidf.Offline, policy.Outside: pidf.Busy, policy.Colleague: pidf.InCall, policy.Close: pidf.InCall} {
			r.level(alice, bob, level)
			x, err := r.Explain(t.Context(), self, alice, bob)
			if err != nil || x.Level != level || x.Availability != want || x.State.Availability != pidf.InCall || x.Why.Basis != policy.PersonRule {
				t.Errorf("%v: %+v, %v", level, x, err)
			}
			seen, err := r.See(t.Context(), Actor{Name: bob}, bob, alice)
			w := r.phone(bob).subscribe(alice, "", "", "Expires: 0")
			if w.news(); err != nil || string(seen.Doc.Append(nil)) != string(w.doc) {
				t.Errorf("%v: seen %s, told %s, %v", level, seen.Doc.Append(nil), w.doc, err)
			}
		}
	})
}

func TestWatchers(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.contacts(carol, alice)
		r.phone(bob).subscribe(alice, "", "")
		r.phone(carol).subscribe("contacts@example.com", "", "", "Supported: eventlist")
		r.level(alice, carol, policy.Team)
		rows, err := r.Watchers(t.Context(), self, alice)
		if err != nil || len(rows) != 2 {
			t.Fatal(rows, err)
		}
		for i, want := range []WatcherRow{{Watcher: bob, Level: policy.Colleague}, {Watcher: carol, Level: policy.Team, List: true}} {
			got := rows[i]
			if got.Since.IsZero() || time.Until(got.Expires) < time.Hour {
				t.Errorf("%+v", got)
			}
			got.Since, got.Expires = time.Time{}, time.Time{}
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	})
}

// A program follows people: each state, then each change, until it stops.
func TestFollow(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex
		var seen []string
		f, err := r.Follow(t.Context(), bob, []string{alice, carol, alice, "x@example.org", "nobody@example.com"}, func(s Seen) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, strings.TrimSuffix(s.AOR, "@example.com")+" "+string(s.Availability))
		})
		if err != nil {
			t.Fatal(err)
		}
		check := func(want ...string) {
			t.Helper()
			settle()
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(seen)
			if !slices.Equal(seen, want) {
				t.Errorf("got %q, want %q", seen, want)
			}
			seen = nil
		}
		check("alice offline", "carol offline")
		r.signIn(alice, "a")
		check("alice available")
		f.Remove(alice)
		r.signIn(alice)
		check()
		if err := f.Add(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		check("alice offline")
		r.level(alice, bob, policy.Blocked)
		r.signIn(alice, "a")
		check()
		f.Close()
		r.signIn(carol, "c")
		check()
		if err := f.Add(t.Context(), carol); !errors.Is(err, errs.Unavailable) {
			t.Error(err)
		}
		if n := r.Service.lists.len(); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}

// How large a text may be for a device, and whether its line is slow: what the device says of itself counts.
func TestDevice(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "plain")
		if d, ok := r.Device(alice, "plain"); !ok || d.Class != pidf.Desktop || d.Slow() {
			t.Errorf("%+v, %v", d, ok)
		}
		extra := `<p:device xmlns:p="urn:parley:presence">phone</p:device><p:line xmlns:p="urn:parley:presence" throughput="slow"/><p:max-message xmlns:p="urn:parley:presence">500</p:max-message>`
		doc := strings.Replace(document("busy"), "</status>", "</status>"+extra, 1)
		if m := r.phone(alice).publish(doc); m.Status() != 200 {
			t.Fatalf("%s", m.Bytes())
		}
		if d, _ := r.Device(alice, "plain"); d.Class != pidf.Phone || !d.Slow() || d.MaxMessage != 500 {
			t.Errorf("%+v", d)
		}
		for _, who := range [][2]string{{alice, "x"}, {bob, "plain"}} {
			if _, ok := r.Device(who[0], who[1]); ok {
				t.Errorf("%v has a device", who)
			}
		}
	})
}

// Messages and calls ask all the time.
func TestQuietIsCheap(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.signIn(alice, "plain")
		if err := r.Set(t.Context(), self, alice, compose.Manual{State: pidf.DND}); err != nil {
			t.Fatal(err)
		}
		settle()
		for _, f := range []func(){func() { r.Quiet(alice, bob) }, func() { r.Quiet(bob, alice) }, func() { r.Device(alice, "plain") }} {
			if n := testing.AllocsPerRun(100, f); n > 1 { // the rig makes a reason in words
				t.Errorf("%v allocations", n)
			}
		}
		r.level(alice, bob, policy.Close)
		if r.Quiet(alice, bob) || !r.Quiet(alice, carol) {
			t.Error("who may interrupt is not let through, or who may not is")
		}
		r.mu.Lock()
		r.cold = true
		r.mu.Unlock()
		if !r.Quiet(alice, bob) {
			t.Error("somebody is let through whose level is not known")
		}
	})
}

// RFC 3857 §4, RFC 3858 §3: all watchers first, then those that come and go.
func TestWatcherInfo(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		for i, p := range []*phone{r.phone(bob), r.phone(alice), r.phone("admin " + carol)} {
			w := &watching{phone: p, event: InfoPackage}
			if m := w.ask(alice, "", "Expires: 0"); m.Status() != []int{403, 200, 200}[i] {
				t.Errorf("%s: %s", p.user, m.Bytes())
			}
		}
		first := r.phone(bob).subscribe(alice, "", "")
		w := r.phone(alice).subscribe(alice, InfoPackage, "")
		version := uint32(0)
		next := func(partial bool, want ...string) {
			t.Helper()
			notes := w.news()
			var got []string
			for _, m := range notes {
				d, err := watcherinfo.Parse(m.Body())
				if err != nil || m.Get(sip.HContentType) != watcherinfo.ContentType {
					t.Fatalf("%v\n%s", err, m.Bytes())
				}
				if d.Version != version || d.Partial != partial || d.Lists[0].Resource != "sip:"+alice || d.Lists[0].Package != Package {
					t.Errorf("%+v", d)
				}
				version++
				for _, x := range d.Lists[0].Watchers {
					got = append(got, fmt.Sprintf("%s %s %s", x.URI, x.Status, x.Event))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		next(false, "sip:bob@example.com active subscribe")
		r.contacts(carol, alice)
		r.phone(carol).subscribe("contacts@example.com", "", "", "Supported: eventlist")
		next(true, "sip:carol@example.com active subscribe")
		first.again(0)
		next(true, "sip:bob@example.com terminated timeout")
		w.again(3600)
		next(false, "sip:carol@example.com active subscribe")
		w.again(0)
		w.news()
		if e := r.table.find(alice); e == nil || e.winfo != nil {
			t.Errorf("%+v", e)
		} else {
			r.unpin(e)
		}
	})
}

// Very many watchers come in parts.
func TestManyWatcherRows(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		const n = 25
		b := r.phone(bob)
		for range n {
			b.subscribe(alice, "", "")
		}
		w := r.phone(alice).subscribe(alice, InfoPackage, "")
		rows := map[string]bool{}
		notes := w.news()
		for _, m := range notes {
			d, err := watcherinfo.Parse(m.Body())
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range d.Lists[0].Watchers {
				rows[x.ID] = true
			}
		}
		if len(rows) != n || len(notes) != 3 {
			t.Errorf("%d watchers in %d NOTIFYs", len(rows), len(notes))
		}
	}, func(r *rig) { r.opts.Limits.WatcherRows = 10 })
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := New(Options{Registerer: reg})
	s.metrics.refused.WithLabelValues("stale").Inc()
	families, err := reg.Gather()
	if err != nil || len(families) != 10 {
		t.Fatal(len(families), err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
