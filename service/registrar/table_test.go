package registrar

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

func TestLocate(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		for uri, want := range map[string][]string{
			"sip:alice@example.com": nil, "sip:nobody@example.com": {"not found"}, "sip:alice@elsewhere.example": {"not found"},
			"sip:example.com": {"not found"}, "tel:+1": {"not found"},
		} {
			if got := r.located(uri); !slices.Equal(got, want) {
				t.Errorf("%s: %q", uri, got)
			}
		}
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		p.ok("Contact: <sip:a@192.0.2.7>;q=0.2")
		time.Sleep(time.Second)
		p.ok("Contact: <sip:b@192.0.2.7>;q=0.8")
		time.Sleep(time.Second)
		p.ok("Contact: <sip:c@192.0.2.7>;q=0.2;expires=60")
		over := func(users ...string) (list []string) {
			for _, u := range users {
				list = append(list, "sip:"+u+"@192.0.2.7 over 192.0.2.7:5060")
			}
			return list
		}
		if got := r.located("sips:%61lice@EXAMPLE.com:5061;x"); !slices.Equal(got, over("b", "c", "a")) {
			t.Errorf("got %q", got)
		}
		time.Sleep(time.Minute + time.Millisecond)
		synctest.Wait()
		if got := r.located("sip:alice@example.com"); !slices.Equal(got, over("b", "a")) {
			t.Errorf("got %q", got)
		}
		if people, n := r.Counts(); people != 1 || n != 2 {
			t.Errorf("%d people, %d contacts", people, n)
		}
		r.consistent()
		// It is asked once a second for everybody.
		if n := testing.AllocsPerRun(100, func() { r.Reachable(alice) }); n != 0 {
			t.Errorf("Reachable allocates %v times", n)
		}
	})
}

func TestLocateStoreFails(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		if got := r.located("sip:alice@example.com"); !slices.Equal(got, []string{"unavailable"}) {
			t.Errorf("got %q", got)
		}
	}, func(o *Options) {
		o.Exists = func(_ string, done func(bool, error)) { done(false, errs.New(errs.Unavailable, "x")) }
	})
}

// What remains when a connection closes.
func TestFlowClosed(t *testing.T) {
	const dev = `;reg-id=1;+sip.instance="<` + instance + `>"`
	rows := []struct {
		name    string
		kind    transport.Kind
		contact string
		rows    []string
		want    []string // how it is reached then
	}{
		{"UDP", transport.UDP, "<sip:alice@192.0.2.7>", nil, []string{"sip:alice@192.0.2.7 over 192.0.2.7:40000"}},
		{"TCP, listening", transport.TCP, "<sip:alice@192.0.2.7:5070;transport=tcp>", nil, []string{"sip:alice@192.0.2.7:5070;transport=tcp to tcp 192.0.2.7:5070"}},
		{"TCP, listening on 5060", transport.TCP, "<sip:alice@192.0.2.7;transport=TCP>", nil, []string{"sip:alice@192.0.2.7;transport=TCP to tcp 192.0.2.7:5060"}},
		{"TCP, the connection's own port", transport.TCP, "<sip:alice@192.0.2.7:40000;transport=tcp>", nil, nil},
		{"TCP, contact without transport", transport.TCP, "<sip:alice@192.0.2.7:5070>", nil, nil},
		{"TCP behind a NAT", transport.TCP, "<sip:alice@10.0.0.7:5070;transport=tcp>", nil, nil},
		{"TCP, a name", transport.TCP, "<sip:alice@phone.example.net;transport=tcp>", nil, nil},
		{"TCP, sips", transport.TCP, "<sips:alice@192.0.2.7:5070;transport=tcp>", nil, nil},
		{"TCP with outbound", transport.TCP, "<sip:alice@192.0.2.7:5070;transport=tcp>" + dev, nil, nil},
		{"TLS", transport.TLS, "<sip:alice@192.0.2.7:5070;transport=tls>", nil, nil},
		{"browser", transport.WSS, "<sip:x7d@df7jal23ls0d.invalid;transport=ws>", nil, nil},
		{"TCP through a proxy that listens", transport.TCP, "<sip:alice@10.0.0.7>", []string{"Via: SIP/2.0/UDP 10.0.0.7;branch=z9hG4bKx", "Supported: path", "Path: <sip:192.0.2.7:5070;transport=tcp;lr>"},
			[]string{"sip:alice@10.0.0.7 to tcp 192.0.2.7:5070"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				p := r.phone(alice, "192.0.2.7:40000", row.kind)
				p.ok(append([]string{"Contact: " + row.contact}, row.rows...)...)
				if got := r.located("sip:" + alice); len(got) != 1 || !strings.HasSuffix(got[0], " over 192.0.2.7:40000") {
					t.Errorf("before: %q", got)
				}
				r.happened()
				p.hangUp()
				check := func(when string) {
					t.Helper()
					if got := r.located("sip:" + alice); !slices.Equal(got, row.want) {
						t.Errorf("%s: %q, want %q", when, got, row.want)
					}
				}
				check("after")
				if got := r.happened(); (len(got) == 1) != (row.want == nil) {
					t.Errorf("events: %q", got)
				}
				r.consistent()
				r.restart()
				check("after a restart")
				r.consistent()
			})
		})
	}
}

// A connection that closed while its REGISTER was on the way leaves nothing behind.
func TestClosedBeforeRegistered(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:40000", transport.WS)
		p.flow.Close("gone")
		m, err := sip.Parse([]byte("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nContact: <sip:x@x.invalid>\r\nContent-Length: 0\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		r.layer.Message(m, p.flow)
		synctest.Wait()
		if n := len(r.Bindings(alice)); n != 0 {
			t.Errorf("%d bindings", n)
		}
		r.consistent()
	})
}

// After a restart what came on a connection waits for its device; UDP goes on at once.
func TestRestart(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		u := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		u.ok("Contact: <sip:alice@192.0.2.7>;q=0.5;audio;methods=\"INVITE\"", "User-Agent: phone/1")
		w := r.phone(alice, "192.0.2.8:40000", transport.WSS)
		dev := `Contact: <sip:x@y.invalid;transport=ws>;reg-id=1;+sip.instance="<` + instance + `>";expires=120`
		w.ok("Supported: outbound", dev)
		u.ok("Contact: <sip:gone@192.0.2.7>;expires=60")
		before := r.Bindings(alice)
		r.stop()
		time.Sleep(61 * time.Second) // one expires while the server is down
		r.start()
		after := r.Bindings(alice)
		if len(before) != 3 || len(after) != 2 {
			t.Fatalf("%d bindings before, %d after", len(before), len(after))
		}
		for _, a := range after {
			i := slices.IndexFunc(before, func(b *Binding) bool { return b.Key == a.Key })
			if i < 0 {
				t.Fatalf("%+v was not there", a)
			}
			x, y := before[i].Stored(), a.Stored()
			// The store keeps microseconds.
			for _, s := range []*store.Binding{&x, &y} {
				s.Created, s.Updated, s.Expires = s.Created.Truncate(time.Microsecond).UTC(), s.Updated.Truncate(time.Microsecond).UTC(), s.Expires.Truncate(time.Microsecond).UTC()
			}
			if d := cmp.Diff(x, y); d != "" {
				t.Errorf("%s changed: %s", a.Contact, d)
			}
		}
		if got := r.located("sip:" + alice); !slices.Equal(got, []string{"sip:alice@192.0.2.7 over 192.0.2.7:5060"}) {
			t.Errorf("located: %q", got)
		}
		w.connect()
		w.ok("Supported: outbound", dev)
		if got := r.located("sip:" + alice); len(got) != 2 {
			t.Errorf("located after the browser came back: %q", got)
		}
		r.happened()
		time.Sleep(time.Hour)
		if got := r.happened(); len(got) != 2 || r.total.Load() != 0 {
			t.Errorf("events: %q; %d bindings", got, r.total.Load())
		}
		r.consistent()
		r.stop()
		if list, err := r.store.Bindings().LoadBindings(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("the store still has %d bindings: %v", len(list), err)
		}
	})
}

func TestExpiry(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		p.ok("Contact: <sip:alice@192.0.2.7>;expires=100")
		time.Sleep(90 * time.Second)
		p.ok("Contact: <sip:alice@192.0.2.7>;expires=100") // longer
		time.Sleep(99 * time.Second)
		r.happened()
		if n := len(r.Bindings(alice)); n != 1 {
			t.Fatalf("%d bindings before the end", n)
		}
		p.ok("Contact: <sip:alice@192.0.2.7>;expires=3000") // much longer …
		p.ok("Contact: <sip:alice@192.0.2.7>;expires=60")   // … and shorter
		time.Sleep(59 * time.Second)
		if got := r.happened(); !slices.Equal(got, []string{"refreshed sip:alice@192.0.2.7", "refreshed sip:alice@192.0.2.7"}) {
			t.Errorf("events: %q", got)
		}
		time.Sleep(1001 * time.Millisecond)
		if got := r.happened(); !slices.Equal(got, []string{"expired sip:alice@192.0.2.7"}) || r.total.Load() != 0 {
			t.Errorf("events: %q", got)
		}
		// A client that changes its mind all the time does not fill the queue.
		for i := range 500 {
			p.ok(fmt.Sprintf("Contact: <sip:alice@192.0.2.7>;expires=%d", 3000+i%2*600))
			time.Sleep(time.Second)
		}
		if n := r.expiry.heap.Len(); n > 10 {
			t.Errorf("%d entries for one binding", n)
		}
		r.consistent()
	})
}

func TestRemove(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:40000", transport.TCP)
		p.ok("Contact: <sip:a@192.0.2.7:40000;transport=tcp>, <sip:b@192.0.2.7:40000;transport=tcp>")
		r.phone(alice, "192.0.2.8:5060", transport.UDP).ok("Contact: <sip:c@192.0.2.8>")
		r.phone("bob@example.com", "192.0.2.9:5060", transport.UDP).ok("Contact: <sip:bob@192.0.2.9>")
		r.happened()
		if got := r.Flows(alice); !slices.Equal(got, []transport.Flow{p.flow}) {
			t.Errorf("flows: %v", got)
		}
		r.Remove(alice)
		if got := r.happened(); len(got) != 3 || !strings.HasPrefix(got[0], "removed ") {
			t.Errorf("events: %q", got)
		}
		if len(r.Bindings(alice)) != 0 || len(r.Bindings("bob@example.com")) != 1 {
			t.Error("the wrong ones were removed")
		}
		r.Remove(alice)
		r.consistent()
		r.restart()
		if len(r.Bindings(alice)) != 0 || len(r.Bindings("bob@example.com")) != 1 {
			t.Error("what was removed came back")
		}
	})
}

// A REGISTER that was authenticated before the account was disabled comes too late.
func TestRemoveMeanwhile(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		r.meanwhile = func() { r.Remove(alice) }
		if m := p.register("Contact: <sip:a@192.0.2.7>"); m.Status() != 403 || len(r.Bindings(alice)) != 0 {
			t.Errorf("got %s", m.Bytes())
		}
		r.meanwhile = nil
		time.Sleep(time.Millisecond)
		p.ok("Contact: <sip:a@192.0.2.7>")
		sh := r.shard(alice)
		for i := range 3 * maxRemoved {
			if i == maxRemoved {
				time.Sleep(2 * keepRemoved)
			}
			sh.noteRemoved(fmt.Sprint(i), r.now())
		}
		if n := len(sh.removed); n > 2*maxRemoved {
			t.Errorf("%d removals remembered", n)
		}
		r.consistent()
	})
}

func TestReach(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		reach := func(uri string) (out string) {
			u, err := sip.ParseURI(uri)
			if err != nil {
				t.Fatal(err)
			}
			r.Reach(u, func(list []route.Target, err error) {
				out = fmt.Sprint(len(list), " ", errs.KindOf(err))
				if len(list) > 0 {
					out = list[0].AOR + " over " + list[0].Hop.Flow.Remote().String()
				}
			})
			return out
		}
		a := r.phone(alice, "192.0.2.7:40000", transport.TCP)
		a.ok("Contact: <sip:alice@10.0.0.7:40000;transport=tcp;ob>")
		b := r.phone("bob@example.com", "192.0.2.8:40000", transport.WS)
		b.ok("Contact: <sip:x@y.invalid;transport=ws>")
		for uri, want := range map[string]string{
			"sip:alice@10.0.0.7:40000;transport=tcp": alice + " over 192.0.2.7:40000",
			"sip:x@Y.invalid;transport=ws":           "bob@example.com over 192.0.2.8:40000",
			"sip:alice@10.0.0.7:40001":               "0 not found",
			"sip:bob@10.0.0.7:40000":                 "0 not found",
		} {
			if got := reach(uri); got != want {
				t.Errorf("%s: %s, want %s", uri, got, want)
			}
		}
		// Whoever registers another's contact gets nothing by it.
		b.ok("Contact: <sip:alice@10.0.0.7:40000>")
		if got := reach("sip:alice@10.0.0.7:40000"); got != "0 not found" {
			t.Errorf("a stolen contact: %s", got)
		}
		r.restart()
		if got := reach("sip:x@y.invalid"); got != "0 ok" {
			t.Errorf("known, but away: %s", got)
		}
	})
}

// failing is the real store with an interruption.
type failing struct {
	store.Bindings
	mu   sync.Mutex
	fail bool
	n    int
}

func (f *failing) SaveBindings(ctx context.Context, put []store.Binding, del []store.BindingKey) error {
	f.mu.Lock()
	f.n++
	fail := f.fail
	f.mu.Unlock()
	if fail {
		return errors.New("disk is gone")
	}
	return f.Bindings.SaveBindings(ctx, put, del)
}

// While the store does not take anything the registrar works on, and what happened
// meanwhile is written once it does.
func TestStoreInterrupted(t *testing.T) {
	f := &failing{fail: true}
	run(t, func(t *testing.T, r *rig) {
		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		p.ok("Contact: <sip:a@192.0.2.7>")
		time.Sleep(10 * time.Second)
		p.ok("Contact: <sip:a@192.0.2.7>;q=0.5, <sip:b@192.0.2.7>")
		p.ok("Contact: <sip:b@192.0.2.7>;expires=0")
		f.mu.Lock()
		if f.n == 0 || f.n > 10 {
			t.Errorf("%d attempts in ten seconds", f.n)
		}
		f.fail = false
		f.mu.Unlock()
		time.Sleep(5 * time.Second)
		if n := r.dirty.len(); n != 0 {
			t.Errorf("%d changes are not written", n)
		}
		list, err := r.store.Bindings().LoadBindings(t.Context())
		if err != nil || len(list) != 1 || list[0].Q != 500 {
			t.Errorf("%+v, %v", list, err)
		}
	}, func(o *Options) { f.Bindings = o.Store; o.Store = f })
}

// Many devices of a few users come and go at once; afterwards all indexes agree.
func TestConcurrent(t *testing.T) {
	st, err := sqlstore.Open(t.Context(), sqlstore.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	reg := prometheus.NewPedanticRegistry()
	s, err := New(Options{Domains: []string{"example.com"}, Store: st.Bindings(), Key: make([]byte, 32), FlushEvery: time.Millisecond, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	s.Watch(func(Event) {})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(ctx) }()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			flow := func() transport.Flow {
				return transport.Pipe(transport.PipeOptions{Kind: transport.TCP, Local: serverAddr, Remote: serverAddr, Listener: "x", Send: func([]byte) error { return nil }})
			}
			f := flow()
			for i := range 300 {
				aor := fmt.Sprintf("u%d@example.com", rnd.IntN(3))
				if rnd.IntN(10) == 0 {
					f.Close("")
					s.FlowClosed(f, nil)
					f = flow()
				}
				if rnd.IntN(40) == 0 {
					s.Remove(aor)
				}
				inst := fmt.Sprintf("urn:x:%d", rnd.IntN(4))
				text := fmt.Sprintf("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK%d\r\nFrom: <sip:%s>;tag=1\r\nTo: <sip:%s>\r\nCall-ID: %d\r\nCSeq: %d REGISTER\r\nSupported: gruu, outbound\r\n"+
					"Contact: <sip:c%d@192.0.2.%d>;reg-id=%d;+sip.instance=\"<%s>\";expires=%d\r\nContent-Length: 0\r\n\r\n", i, aor, aor, rnd.IntN(2), w*1000+i, rnd.IntN(3), w, 1+rnd.IntN(2), inst, rnd.IntN(3)*1000)
				m, err := sip.Parse([]byte(text))
				if err != nil {
					t.Error(err)
					return
				}
				q := route.NewRequest(m, nil, f, nil)
				q.Identity.AOR = aor
				s.ServeSIP(q)
				s.Devices(aor)
			}
			f.Close("")
			s.FlowClosed(f, nil)
		})
	}
	wg.Wait()
	cancel()
	<-served
	(&rig{Registrar: s, t: t}).consistent()
	list, err := st.Bindings().LoadBindings(t.Context())
	if err != nil || len(list) != int(s.total.Load()) {
		t.Errorf("%d bindings in memory, %d in the store, %v", s.total.Load(), len(list), err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

// Whatever stands in Contact, the registrar's tables agree, and what it answers is SIP.
func FuzzContact(f *testing.F) {
	f.Add(`<sip:alice@192.0.2.7>;+sip.instance="<urn:uuid:1>";reg-id=1;q=0.5`)
	f.Add(`sip:%61@[2001:db8::1]:5060;x=y?a=b;expires=4294967296`)
	f.Add(`*`)
	st, err := sqlstore.Open(f.Context(), sqlstore.Options{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { st.Close() })
	f.Fuzz(func(t *testing.T, contact string) {
		s, err := New(Options{Domains: []string{"example.com"}, Store: st.Bindings(), Key: make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		m, err := sip.Parse([]byte("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nSupported: gruu\r\nContact: " +
			strings.Map(func(c rune) rune {
				if c == '\r' || c == '\n' {
					return ' '
				}
				return c
			}, contact) + "\r\nContent-Length: 0\r\n\r\n"))
		if err != nil {
			return
		}
		q := route.NewRequest(m, nil, transport.Flow{}, nil)
		q.Identity.AOR = alice
		s.ServeSIP(q)
		(&rig{Registrar: s, t: t}).consistent()
		g := &registration{r: q, aor: alice, gruu: true, now: time.Now()}
		b := s.answer(g).Bytes()
		again, err := sip.Parse(b)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if list, _, err := again.Contacts(); err != nil || len(list) != len(s.Bindings(alice)) {
			t.Fatalf("%v\n%s", err, b)
		}
		for _, x := range s.Bindings(alice) {
			y := x.Stored()
			if z, ok := restored(&y); !ok || !z.uri.Equal(x.uri) {
				t.Fatalf("%+v does not come back from the store", x)
			}
		}
	})
}

// fill puts n bindings of as many users into a store.
func fill(t testing.TB, st store.Bindings, n int) {
	t.Helper()
	now := time.Now()
	var list []store.Binding
	for i := range n {
		aor := fmt.Sprintf("user%06d@example.com", i)
		list = append(list, store.Binding{
			AOR: aor, Key: "k", Contact: fmt.Sprintf("sip:user%06d@192.0.2.7:5060;ob", i), Params: `;reg-id=1;+sip.instance="<` + instance + `>"`,
			Instance: instance, Device: instance, RegID: 1, CallID: "a84b4c76e66710", CSeq: 1, UserAgent: "phone/1", Q: 1000,
			Created: now, Updated: now, Expires: now.Add(time.Hour), Transport: "udp", Listener: "udp:0.0.0.0:5060",
			Local: "192.0.2.1:5060", Remote: "192.0.2.7:5060", Outbound: true, GRUU: tempState{uint64(i) + 1, 1, 2}.String(),
		})
		if len(list) == 5000 || i == n-1 {
			if err := st.SaveBindings(context.Background(), list, nil); err != nil {
				t.Fatal(err)
			}
			list = list[:0]
		}
	}
}

func BenchmarkLoad100000(b *testing.B) {
	st, err := sqlstore.Open(b.Context(), sqlstore.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	fill(b, st.Bindings(), 100_000)
	b.ReportAllocs()
	for b.Loop() {
		s, err := New(Options{Domains: []string{"example.com"}, Store: st.Bindings(), Key: make([]byte, 32)})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Load(b.Context()); err != nil || s.total.Load() != 100_000 {
			b.Fatal(err, s.total.Load())
		}
	}
}

func BenchmarkRegister(b *testing.B) {
	st, err := sqlstore.Open(b.Context(), sqlstore.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	s, err := New(Options{Domains: []string{"example.com"}, Store: st.Bindings(), Key: make([]byte, 32)})
	if err != nil {
		b.Fatal(err)
	}
	var list []*sip.Message
	for i := range 1000 {
		m, err := sip.Parse(fmt.Appendf(nil, "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:u%d@example.com>;tag=1\r\nTo: <sip:u%d@example.com>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nSupported: gruu, outbound\r\nContact: <sip:a@192.0.2.7>;reg-id=1;+sip.instance=\"<%s>\"\r\nContent-Length: 0\r\n\r\n", i, i, instance))
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, m)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		q := route.NewRequest(list[i%1000], nil, transport.Flow{}, nil)
		q.Identity.AOR = fmt.Sprintf("u%d@example.com", i%1000)
		s.ServeSIP(q)
		if i++; i%1000 == 0 {
			for j := range 1000 {
				s.Remove(fmt.Sprintf("u%d@example.com", j))
			}
		}
	}
}
