package dialog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// shelf is a Keeper that outlives a notifier.
type shelf struct {
	mu     sync.Mutex
	rows   map[string]Row
	saves  int // calls that worked
	broken bool
}

func (k *shelf) Save(_ context.Context, save []Row, remove []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken {
		return errors.New("the disk is full")
	}
	k.saves++
	for _, r := range save {
		r.Data = slices.Clone(r.Data)
		k.rows[r.Tag] = r
	}
	for _, tag := range remove {
		delete(k.rows, tag)
	}
	return nil
}

func (k *shelf) Load(_ context.Context, event string, f func(*Row) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.rows {
		if r.Event == event {
			if err := f(&r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *shelf) breaks(broken bool) {
	k.mu.Lock()
	k.broken = broken
	k.mu.Unlock()
}

func (k *shelf) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.saves
}

func (k *shelf) row(tag string) Row {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rows[tag]
}

func (k *shelf) check(t *testing.T, rows, saves int) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.rows) != rows || saves >= 0 && k.saves != saves {
		t.Fatalf("%d rows after %d saves, want %d after %d", len(k.rows), k.saves, rows, saves)
	}
}

// life runs a notifier from its Load to the end of its Serve. The bubble's clock
// goes on from one life to the next.
func life(t *testing.T, o Options, f func(r *rig)) {
	t.Helper()
	r := newRig(t, o)
	if err := r.n.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := func(serve func(context.Context) error) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- serve(ctx) }()
		synctest.Wait()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	defer start(r.l.Serve)()
	defer start(r.n.Serve)()
	f(r)
}

// onDevice signs everybody in as a device.
func (r *rig) onDevice(device string) { r.device = device }

func kept() *shelf { return &shelf{rows: map[string]Row{}} }

// A subscription outlives two restarts: its dialog, its Source's blob and its
// end are the same, CSeq goes on, and the watcher is told everything.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, p := kept(), &lists{steps: steps{words: []string{"a"}, decide: Decision{Require: "eventlist"}}}
		o := Options{Keep: k, Source: p}
		var tag string
		life(t, o, func(r *rig) {
			r.onDevice("phone")
			r.subscribe("1", "7", "", "Expires: 7200", "Record-Route: <sip:edge.example.com;lr>", "Event: reg;id=3", "Accept: application/reginfo+xml")
			tag = r.status(200).ToTag()
			r.answer(r.notify("active;expires=7200", "full v0 a"), 200)
			k.check(t, 0, 0)
			time.Sleep(2 * time.Second)
			k.check(t, 1, 1)
			p.add(r, "b")
			r.answer(r.notify("active;expires=7198", "step v1 b"), 200)
		})
		k.check(t, 1, 1) // counters alone are not written
		time.Sleep(time.Hour)
		last := uint32(2)
		for range 2 {
			life(t, o, func(r *rig) {
				r.count(1)
				r.quiet() // its connection is gone
				p.add(r, "c")
				r.quiet()
				r.n.Arrived("alice@example.com", "laptop", r.flow)
				r.n.Arrived("bob@example.com", "phone", r.flow)
				r.quiet()
				r.n.Arrived("alice@example.com", "phone", r.flow)
				m := r.next()
				seq, err := m.CSeq()
				if err != nil || seq.Seq < last+seqJump-2 {
					t.Errorf("CSeq %d after %d, %v", seq.Seq, last, err)
				}
				last = seq.Seq
				if want := fmt.Sprintf("full v%d %s", last-1, strings.Join(p.words, " ")); string(m.Body()) != want || m.RequestURI() != "sip:alice@198.51.100.7;transport=tcp" ||
					m.Get(sip.HRoute) != "<sip:edge.example.com;lr>" || m.Get(sip.HFrom) != "<sip:bob@example.com>;tag="+tag ||
					m.Get(sip.HTo) != "<sip:alice@example.com>;tag=a1" || m.CallID() != "s1" || m.Get(sip.HEvent) != "reg;id=3" ||
					m.Get(sip.HRequire) != "eventlist" || m.Get(sip.HContact) != "<sip:192.0.2.1:5060;transport=tcp>" {
					t.Errorf("NOTIFY, want %s:\n%s", want, text(m))
				}
				r.answer(m, 200)
				r.quiet()
				r.n.Arrived("alice@example.com", "phone", r.flow)
				r.quiet()
				s := r.n.WatchedBy("alice@example.com")[0]
				if !s.Accepts("application/reginfo+xml") || s.Watcher().Device != "phone" || p.resumed != "blob of s1" {
					t.Errorf("%+v %q", s.Watcher(), p.resumed)
				}
			})
		}
		life(t, o, func(r *rig) {
			// A refresh brings the connection itself. An older one is refused.
			r.onDevice("phone")
			r.subscribe("2", "7", tag, "Event: reg;id=3")
			r.status(500)
			r.subscribe("3", "8", tag, "Event: reg;id=3", "Expires: 600")
			if m := r.status(200); m.Get(sip.HRequire) != "eventlist" {
				t.Error(text(m))
			}
			m := r.next()
			if !strings.HasPrefix(string(m.Body()), "full ") || m.Get(sip.HSubscriptionState) != "active;expires=600" {
				t.Error(text(m))
			}
			r.answer(m, 200)
			r.subscribe("4", "9", tag, "Event: reg;id=3", "Expires: 0")
			r.status(200)
			r.answer(r.next(), 200)
			r.count(0)
			k.check(t, 1, -1)
		})
		k.check(t, 0, -1)
		p.over(t, 1)
	})
}

// lists is a Source that keeps something.
type lists struct {
	steps
	resumed string
	refuse  bool
	status  int    // of the refusal, 0 for 403
	later   func() // set: the decision waits
	waits   bool
}

func (p *lists) Keep(s *Subscription) []byte { return []byte("blob of " + s.ID().CallID) }

func (p *lists) Resume(s *Subscription, kept []byte, done func(Decision)) {
	p.resumed = string(kept)
	s.SetData(new(int))
	d := p.decide
	if p.refuse {
		d = Decision{Status: max(p.status, 403)}
	}
	if p.waits {
		p.later = func() { done(d) }
		return
	}
	done(d)
}

// Over UDP the watcher is told as soon as the server is back.
func TestRestartUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := kept()
		var back transport.Flow
		o := Options{Keep: k, UDPFlow: func(local, remote netip.AddrPort) (transport.Flow, bool) {
			if local != us || remote != them {
				t.Errorf("from %v to %v", local, remote)
			}
			return back, !back.IsZero()
		}}
		udp := func(r *rig) transport.Flow {
			return transport.Pipe(transport.PipeOptions{Kind: transport.UDP, Local: us, Remote: them, Send: func(b []byte) error {
				r.mu.Lock()
				r.inbox = append(r.inbox, b)
				r.mu.Unlock()
				return nil
			}})
		}
		life(t, o, func(r *rig) {
			r.flow = udp(r)
			r.subscribe("1", "1", "")
			r.status(200)
			r.answer(r.notify("active;expires=3600", "one v0"), 200)
			time.Sleep(2 * time.Second)
		})
		var other rig
		back = udp(&other)
		life(t, o, func(r *rig) {
			other.t, other.l, other.flow = t, r.l, back
			other.answer(other.notify("active;expires=3598", "one v65537"), 200)
			r.quiet()
			r.count(1)
		})
		// Without a way it waits for one, and expires as always.
		back = transport.Flow{}
		life(t, o, func(r *rig) {
			r.quiet()
			r.count(1)
			time.Sleep(time.Hour)
			r.count(0)
			r.quiet()
		})
		k.check(t, 0, -1)
	})
}

// Where a device with an instance registers now is where it is told, though its
// old connection still looks alive; a device password may be in two phones.
func TestArrivedElsewhere(t *testing.T) {
	for device, moves := range map[string]bool{"urn:uuid:1": true, "7": false} {
		synctest.Test(t, func(t *testing.T) {
			life(t, Options{Keep: kept()}, func(r *rig) {
				r.onDevice(device)
				r.subscribe("1", "1", "")
				r.status(200)
				r.answer(r.notify("active;expires=3600", "one v0"), 200)
				there := 0
				r.n.Arrived("alice@example.com", device, transport.Pipe(transport.PipeOptions{Kind: transport.TCP, Send: func([]byte) error {
					there++
					return nil
				}}))
				r.n.Notify("bob@example.com")
				synctest.Wait()
				if (there == 1) != moves {
					t.Errorf("%s: %d NOTIFYs over the new connection", device, there)
				}
			})
		})
	}
}

// A NOTIFY that was lost with its connection is told again by the way there is
// then, without a change or a REGISTER.
func TestLostNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var way transport.Flow
		o := Options{Keep: kept(), NextHop: func(_ string, _ []string, _ transport.Flow, done func(transaction.Hop, error)) {
			if !way.Alive() {
				done(transaction.Hop{}, transport.ErrClosed)
				return
			}
			done(transaction.Hop{Flow: way, Sticky: true}, nil)
		}}
		life(t, o, func(r *rig) {
			way = r.flow
			r.subscribe("1", "1", "")
			r.status(200)
			r.notify("active;expires=3600", "one v0")
			way = r.pipe()
			r.flow.Close("test")
			r.l.Closed(r.flow, transport.ErrClosed)
			r.flow = way
			r.quiet()
			time.Sleep(busyRetry)
			r.answer(r.notify("active;expires=3598", "one v1"), 200)
			time.Sleep(time.Minute)
			r.quiet()
		})
	})
}

// A device that registers from another UDP address is told there.
func TestArrivedUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life(t, Options{Keep: kept()}, func(r *rig) {
			r.onDevice("phone")
			flows := []string{"198.51.100.7:5060", "198.51.100.7:6060", "198.51.100.7:7060"}
			var pipes []transport.Flow
			for _, addr := range flows {
				pipes = append(pipes, transport.Pipe(transport.PipeOptions{Kind: transport.UDP, Local: us, Remote: netip.MustParseAddrPort(addr), Send: func(b []byte) error {
					r.mu.Lock()
					r.inbox = append(r.inbox, b)
					r.sentTo = addr
					r.mu.Unlock()
					return nil
				}}))
			}
			r.flow = pipes[0]
			r.subscribe("1", "1", "")
			r.status(200)
			r.answer(r.notify("active;expires=3600", "one v0"), 200)
			r.n.Arrived("alice@example.com", "phone", pipes[1])
			r.n.Arrived("alice@example.com", "laptop", pipes[2])
			r.quiet()
			r.set("two")
			r.answer(r.notify("active;expires=3600", "two v1"), 200)
			if r.sentTo != flows[1] {
				t.Errorf("sent to %s", r.sentTo)
			}
		})
	})
}

// With a GRUU, NextHop knows the way; whoever is restored when nobody knows it
// is told when it is known.
func TestRestartNextHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var way transport.Flow
		o := Options{Keep: kept(), NextHop: func(contact string, _ []string, f transport.Flow, done func(transaction.Hop, error)) {
			if !way.Alive() {
				done(transaction.Hop{}, transport.ErrClosed)
				return
			}
			done(transaction.Hop{Flow: way, Sticky: true}, nil)
		}}
		for n := range 3 {
			way = transport.Flow{}
			life(t, o, func(r *rig) {
				if n == 0 {
					way = r.flow
					r.subscribe("1", "1", "")
					r.status(200)
					r.answer(r.notify("active;expires=3600", "one v0"), 200)
					return
				}
				r.quiet()
				way = r.flow
				if n == 1 {
					r.n.Arrived("alice@example.com", "", r.flow)
				} else {
					r.set("two")
				}
				if m := r.next(); m == nil || m.Get(sip.HSubscriptionState) != "active;expires=3600" {
					t.Fatal(text(m))
				}
				r.quiet()
			})
		}
	})
}

// What the Source says at a restart counts; until it does, nothing is told.
func TestResume(t *testing.T) {
	for name, row := range map[string]struct {
		refuse, waits, refresh bool
		expires                bool // meanwhile
		status                 int
		left                   int
	}{
		"refused": {refuse: true}, "refused later": {refuse: true, waits: true}, "fails later": {refuse: true, waits: true, status: 500},
		"expires": {waits: true, expires: true}, "expires, refused": {refuse: true, waits: true, expires: true}, "later": {waits: true, left: 1},
		"refreshed meanwhile": {waits: true, refresh: true, left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k, p := kept(), &lists{steps: steps{words: []string{"a"}}}
				o := Options{Keep: k, Source: p}
				var tag string
				life(t, o, func(r *rig) {
					r.onDevice("phone")
					r.subscribe("1", "1", "")
					tag = r.status(200).ToTag()
					r.answer(r.next(), 200)
				})
				p.refuse, p.waits, p.status = row.refuse, row.waits, row.status
				life(t, o, func(r *rig) {
					if row.waits {
						r.n.Arrived("alice@example.com", "phone", r.flow)
						p.add(r, "b")
						r.quiet()
						if row.refresh {
							r.subscribe("2", "2", tag)
							r.status(200)
							r.quiet()
							time.Sleep(5 * time.Second)
							k.check(t, 1, -1)
						}
						if row.expires {
							time.Sleep(time.Hour)
							r.quiet()
						}
						p.later()
						switch {
						case row.expires && !row.refuse:
							r.answer(r.notify("terminated;reason=timeout", "full v65537 a b"), 200)
						case row.expires:
							r.quiet()
						case row.status == 500:
							r.answer(r.notify("terminated;reason=probation;retry-after=60", ""), 200)
						case row.left > 0:
							left := 3600
							if row.refresh {
								left = 3595
							}
							r.answer(r.notify(fmt.Sprint("active;expires=", left), "full v65537 a b"), 200)
						default:
							r.answer(r.notify("terminated;reason=rejected", ""), 200)
						}
					}
					r.count(row.left)
				})
				k.check(t, row.left, -1)
			})
		})
	}
}

// A connection that is gone is no end for a subscription that is kept: not when
// there was a change meanwhile, nor when it broke with a NOTIFY on its way.
func TestLostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &lists{steps: steps{words: []string{"a"}}}
		life(t, Options{Keep: kept(), Source: p}, func(r *rig) {
			r.onDevice("phone")
			r.subscribe("1", "1", "")
			r.status(200)
			r.answer(r.notify("active;expires=3600", "full v0 a"), 200)
			r.flow.Close("test")
			p.add(r, "b")
			p.add(r, "c")
			r.quiet()
			r.count(1)
			r.flow = r.pipe()
			r.n.Arrived("alice@example.com", "phone", r.flow)
			r.answer(r.notify("active;expires=3600", "full v1 a b c"), 200)

			p.add(r, "d")
			r.notify("active;expires=3600", "step v2 d")
			r.flow.Close("test")
			r.l.Closed(r.flow, transport.ErrClosed)
			r.quiet()
			r.count(1)
			r.flow = r.pipe()
			r.n.Arrived("alice@example.com", "phone", r.flow)
			r.answer(r.notify("active;expires=3600", "full v3 a b c d"), 200)

			// Its end is not waited for.
			r.flow.Close("test")
			r.n.TerminateWatcher("alice@example.com", "rejected")
			r.quiet()
			r.count(0)
		})
	})
}

// Rows that cannot be used are forgotten, and do no harm.
func TestBadRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := kept()
		life(t, Options{Keep: k}, func(r *rig) { r.many(5) })
		k.check(t, 5, -1)
		rows := slices.Collect(maps.Values(k.rows))
		for i, change := range []func(*Row){
			func(r *Row) { r.Data = nil },
			func(r *Row) { r.Data[0] = 99 },
			func(r *Row) { r.Data = r.Data[:len(r.Data)-1] },
			func(r *Row) { r.Data = append(r.Data, 0) },
			func(r *Row) { r.Expires = time.Now() },
			func(r *Row) { r.Event = "presence" },
		} {
			r := rows[0]
			r.Data = slices.Clone(r.Data)
			r.Tag = fmt.Sprint("bad", i)
			r.Data = []byte(strings.Replace(string(r.Data), rows[0].Tag, (r.Tag + strings.Repeat("x", 16))[:16], 1))
			r.Tag = (r.Tag + strings.Repeat("x", 16))[:16]
			change(&r)
			k.rows[r.Tag] = r
		}
		life(t, Options{Keep: k, Total: 4}, func(r *rig) {
			r.count(4)
			time.Sleep(2 * time.Second)
			k.check(t, 5, -1) // four, and the one of another package
		})
	})
}

// What cannot be written now is written later, also that something has ended.
func TestKeeperBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := kept()
		life(t, Options{Keep: k}, func(r *rig) {
			r.many(700)
			time.Sleep(2 * time.Second)
			r.drain()
			k.check(t, 700, 2) // in batches
			k.breaks(true)
			r.n.TerminateWatcher("w5@example.com", "rejected")
			r.subscribe("x", "1", "")
			r.drain()
			time.Sleep(20 * time.Second)
			r.n.TerminateWatcher("w6@example.com", "rejected")
			r.drain()
			time.Sleep(20 * time.Second)
			k.breaks(false)
			time.Sleep(10 * time.Second)
			k.check(t, 699, -1)
			if len(r.n.WatchedBy("w5@example.com")) != 0 || k.row(r.n.WatchedBy("alice@example.com")[0].ID().Local).Watcher != "alice@example.com" {
				t.Error("other rows")
			}
			// One that came and went meanwhile is never written.
			saves := k.count()
			k.breaks(true)
			r.subscribe("y", "1", "", "Event: reg;id=9")
			r.drain()
			for _, s := range r.n.WatchedBy("alice@example.com") {
				if s.eventID == "9" {
					s.End("rejected", 0)
				}
			}
			r.drain()
			k.breaks(false)
			time.Sleep(20 * time.Second)
			k.check(t, 699, saves)
		})
	})
}

// CSeq is saved before it has come so far that the next start would repeat it.
func TestSeqSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := kept()
		life(t, Options{Keep: k}, func(r *rig) {
			r.subscribe("1", "1", "")
			r.status(200)
			r.answer(r.next(), 200)
			time.Sleep(2 * time.Second)
			k.check(t, 1, 1)
			s := r.n.WatchedBy("alice@example.com")[0]
			s.mu.Lock()
			s.d.LocalSeq = seqJump/2 - 2
			s.mu.Unlock()
			for i, want := range []int{1, 2, 2, 2} {
				r.set(fmt.Sprint(i))
				r.answer(r.next(), 200)
				time.Sleep(3 * time.Second)
				k.check(t, 1, want)
			}
		})
		life(t, Options{Keep: k}, func(r *rig) {
			if v := r.n.WatchedBy("alice@example.com")[0].Version(); v != seqJump/2+seqJump {
				t.Errorf("version %d", v)
			}
		})
	})
}

// What is read is what was written, and nothing else is.
func FuzzRow(f *testing.F) {
	n := NewNotifier(Options{Event: "reg"})
	s := &Subscription{n: n, state: Pending, watcher: Watcher{AOR: "alice@example.com", Device: "urn:uuid:1", Admin: true}, resource: "bob@example.com",
		eventID: "1", mediaRow: "*/*", require: "eventlist", flow: transport.Pipe(transport.PipeOptions{Kind: transport.UDP, Local: us, Remote: them}),
		d: Dialog{ID: ID{CallID: "c", Local: "tag", Remote: "r"}, LocalURI: "<sip:bob@example.com>", RemoteURI: "<sip:alice@example.com>", Target: "sip:a@b",
			Routes: []string{"<sip:p1;lr>", "<sip:p2;lr>"}, LocalSeq: 3, RemoteSeq: 4, Secure: true}}
	f.Add(s.encode("sip:us", []byte("blob")))
	f.Add(s.encode("", nil))
	f.Add([]byte{rowVersion, 0, 1, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		row := &Row{Tag: "tag", Data: data, Expires: time.Now().Add(time.Hour)}
		s, kept, err := n.decode(row)
		if err != nil {
			return
		}
		if len(s.d.Routes) > maxRoutes || s.d.LocalSeq < seqJump || s.d.LocalSeq >= 1<<31 {
			t.Fatalf("%+v", s.d)
		}
		again, kept2, err := n.decode(&Row{Tag: "tag", Data: s.encode(s.ours, kept), Expires: row.Expires})
		if err != nil && s.d.LocalSeq > 1<<31-3*seqJump {
			return // as far as it goes
		}
		if err != nil || string(kept) != string(kept2) || !slices.Equal(again.d.Routes, s.d.Routes) {
			t.Fatalf("%v: %+v and %+v", err, s, again)
		}
		again.d.LocalSeq, again.d.Routes, s.d.Routes = s.d.LocalSeq, nil, nil
		if fmt.Sprintf("%+v", again.d) != fmt.Sprintf("%+v", s.d) || again.watcher != s.watcher || again.resource != s.resource || again.state != s.state ||
			again.eventID != s.eventID || again.mediaRow != s.mediaRow || again.require != s.require || again.ours != s.ours {
			t.Fatalf("%+v and %+v", s, again)
		}
	})
}
