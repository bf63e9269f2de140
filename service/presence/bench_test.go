package presence

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/pidf"
)

// town has people who are all there, and in whose lists everybody is a colleague.
type town struct{}

func (t *town) Lookup(aor string, done func(*store.User, error)) { done(&store.User{AOR: aor}, nil) }

func (t *town) Level(context.Context, string, string) (policy.Level, policy.Reason, error) {
	return policy.Colleague, policy.Reason{}, nil
}
func (t *town) Known(string, string) (policy.Level, bool)           { return policy.Colleague, true }
func (t *town) Contacts(context.Context, string) ([]Contact, error) { return nil, nil }
func (t *town) name(i int) string                                   { return fmt.Sprintf("user%d@example.com", i) }
func (t *town) devices(aor string) []compose.Device {
	return []compose.Device{{ID: "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", Contact: "sip:" + aor + ";gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
		Class: pidf.Desktop, Line: pidf.Line{RTT: 20 * time.Millisecond, Throughput: pidf.Fast}, Service: &pidf.ServiceCaps{Audio: pidf.Yes, Message: pidf.Yes}}}
}

// counter stands for a subscription: it counts what it is told.
type counter int

func (c *counter) Notify() { *c++ }

func (c *counter) Watcher() dialog.Watcher { return dialog.Watcher{AOR: "bob@example.com"} }

func (t *town) service() *Service {
	return New(Options{Domains: domains, Accounts: t, Contacts: t, Devices: t.devices, Limits: Limits{UserEntries: 1 << 30, Entries: 1 << 30}})
}

// single is a watch of one person, who is marked as existing.
func (t *town) single(s *Service, owner, watcher string, c *counter) *watch {
	p := s.find(owner)
	p.level = policy.Colleague
	p.e.exists.Store(there)
	w := &watch{teller: c, live: true}
	w.one[0] = entry{e: p.e, level: p.level}
	w.entries = w.one[:]
	s.attach(w, []person{p})
	return w
}

func (t *town) list(b testing.TB, s *Service, watcher string, c *counter, people []string) *watch {
	items := make([]item, len(people))
	for i, p := range people {
		items[i] = item{"sip:" + p, "Somebody Else"}
	}
	w := &watch{teller: c, live: true, list: &list{uri: "sip:contacts@example.com", limit: 60 << 10}}
	attached, err := s.compile(context.Background(), w, items)
	if err != nil {
		b.Fatal(err)
	}
	s.attach(w, attached)
	return w
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkMemory tells what is held beside the dialog: for a watch of one person, for an entry of a list in which each
// person is in 50 lists, and for a person of whom one document is kept.
func BenchmarkMemory(b *testing.B) {
	const people, entries, lists = 20_000, 50, 20_000
	for b.Loop() {
		t := &town{}
		s := t.service()
		var c counter
		names := make([]string, people)
		for i := range names {
			names[i] = t.name(i)
		}
		at := live()
		keep := make([]*watch, 0, people+lists)
		for i, n := range names {
			keep = append(keep, t.single(s, n, names[(i+1)%people], &c))
		}
		with := live()
		b.ReportMetric(float64(with-at)/people, "B/person+watch")
		for i, n := range names {
			keep = append(keep, t.single(s, n, names[(i+2)%people], &c))
		}
		more := live()
		b.ReportMetric(float64(more-with)/people, "B/watch")
		for i := range lists {
			var of []string
			for k := range entries {
				of = append(of, names[(i+k*397)%people])
			}
			keep = append(keep, t.list(b, s, names[i], &c, of))
		}
		b.ReportMetric(float64(live()-more)/lists/entries, "B/entry")
		runtime.KeepAlive(keep)
		runtime.KeepAlive(s)
	}
}

// BenchmarkChange is one change of somebody with so many watchers: composed, written once for the level, everybody told.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1, 50, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := &town{}
			s := t.service()
			var c counter
			for i := range n {
				t.single(s, "alice@example.com", t.name(i), &c)
			}
			e := s.table.get("alice@example.com")
			talking := 0
			b.ReportAllocs()
			for b.Loop() {
				talking = 1 - talking
				e.mu.Lock()
				e.calls.Talking = talking
				e.gen++
				e.mu.Unlock()
				s.refresh(e)
			}
			if int(c) < b.N*n {
				b.Errorf("%d told, want %d", c, b.N*n)
			}
		})
	}
}

// BenchmarkBody is the making of one NOTIFY's body: of one person (shared by all who see the same), of one change in a list of
// 50, and of the whole list.
func BenchmarkBody(b *testing.B) {
	t := &town{}
	s := t.service()
	var c counter
	var of []string
	for k := range 50 {
		of = append(of, t.name(k))
	}
	one, list := t.single(s, of[0], "bob@example.com", &c), t.list(b, s, "bob@example.com", &c, of)
	for _, n := range of {
		e := s.table.get(n)
		e.exists.Store(there)
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			one.one[0].seen = 0
			if _, body, ok := one.single(false, 1); !ok || len(body) == 0 {
				b.Fatal("nothing")
			}
		}
	})
	b.Run("list1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			list.entries[7].seen = 0
			list.later(7)
			if _, body, _, ok := list.bundle(false, 1); !ok || len(body) == 0 {
				b.Fatal("nothing")
			}
		}
	})
	b.Run("list50", func(b *testing.B) {
		b.ReportAllocs()
		size := 0
		for b.Loop() {
			_, body, _, _ := list.bundle(true, 1)
			size = len(body)
		}
		b.ReportMetric(float64(size), "B/body")
	})
}
