package dialog

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// rig is a notifier with the real transaction layer and one watcher's
// connection, which is a pipe.
type rig struct {
	t    testing.TB
	l    *transaction.Layer
	n    *Notifier
	flow transport.Flow

	device string // everybody's
	sentTo string // address of the last UDP message

	mu     sync.Mutex
	inbox  [][]byte
	broken bool
	state  string
	decide func(*Subscription, func(Decision))
}

var us, them = netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("198.51.100.7:5060")

func newRig(t testing.TB, o Options) *rig {
	r := &rig{t: t, state: "one"}
	r.flow = r.pipe()
	r.l = transaction.New(transaction.Options{Transport: r})
	r.l.SetHandler(r)
	o.Event, o.Types, o.Transactions = "reg", []string{"application/reginfo+xml"}, r.l
	if o.Source == nil {
		o.Source = r
	}
	o.Contact = func(f transport.Flow) string { return "sip:192.0.2.1:5060;transport=" + f.Kind().String() }
	r.n = NewNotifier(o)
	return r
}

func (r *rig) pipe() transport.Flow {
	return transport.Pipe(transport.PipeOptions{Kind: transport.TCP, Local: us, Remote: them, Send: func(b []byte) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.broken {
			return transport.ErrClosed
		}
		r.inbox = append(r.inbox, b)
		return nil
	}})
}

func run(t *testing.T, o Options, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, o)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.l.Serve(ctx) }()
		synctest.Wait()
		defer func() { cancel(); <-done }()
		f(t, r)
	})
}

func (r *rig) Flow(transport.Target) (transport.Flow, error)      { return r.flow, nil }
func (r *rig) UDPFlow(a, b netip.AddrPort) (transport.Flow, bool) { return r.flow, true }
func (r *rig) Via(f transport.Flow) (string, string)              { return f.Kind().ViaName(), us.String() }
func (r *rig) Proven(transport.Flow) bool                         { return true }
func (r *rig) Prove(transport.Flow)                               {}
func (r *rig) Ack(*sip.Message, transport.Flow)                   {}
func (r *rig) Stray(*sip.Message, transport.Flow)                 {}
func (r *rig) Closed(transport.Flow, error)                       {}
func (r *rig) State(s *Subscription) (contentType string, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return "application/reginfo+xml", fmt.Appendf(nil, "%s v%d", r.state, s.Version())
}

func (r *rig) Authorize(s *Subscription, done func(Decision)) {
	if r.decide != nil {
		r.decide(s, done)
		return
	}
	done(Decision{})
}

// Request signs everybody in as the From says.
func (r *rig) Request(tx *transaction.Server) {
	from, _ := tx.Request().From()
	r.n.HandleSubscribe(tx, tx.Request(), Watcher{AOR: from.URI.AOR(), Device: r.device})
}

func (r *rig) set(state string) {
	r.mu.Lock()
	r.state = state
	r.mu.Unlock()
	r.n.Notify("bob@example.com")
	synctest.Wait()
}

// subscribe lets a SUBSCRIBE arrive; to is the To tag of a refresh.
func (r *rig) subscribe(branch, cseq, to string, headers ...string) {
	r.t.Helper()
	h := ""
	for _, s := range headers {
		h += s + "\n"
	}
	if !strings.Contains(h, "Contact:") {
		h += "Contact: <sip:alice@198.51.100.7;transport=tcp>\n"
	}
	if !strings.Contains(h, "Event:") {
		h += "Event: reg\n"
	}
	if to != "" {
		to = ";tag=" + to
	}
	m := parse(r.t, "SUBSCRIBE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/TCP 198.51.100.7;branch=z9hG4bK"+branch+
		"\nMax-Forwards: 70\nFrom: <sip:alice@example.com>;tag=a1\nTo: <sip:bob@example.com>"+to+"\nCall-ID: s1\nCSeq: "+cseq+
		" SUBSCRIBE\n"+h+"Content-Length: 0\n\n")
	r.l.Message(m, r.flow)
	if _, ok := r.t.(*testing.T); ok {
		synctest.Wait()
	}
}

func (r *rig) next() *sip.Message {
	r.t.Helper()
	time.Sleep(50 * time.Millisecond) // a few turns of the timer wheel, on the bubble's clock
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.inbox) == 0 {
		return nil
	}
	b := r.inbox[0]
	r.inbox = r.inbox[1:]
	m, err := sip.Parse(slices.Clone(b))
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// status is the next message, which must be this response.
func (r *rig) status(want int) *sip.Message {
	r.t.Helper()
	m := r.next()
	if m == nil || m.IsRequest() || m.Status() != want {
		r.t.Fatalf("want %d, got %s", want, text(m))
	}
	return m
}

// notify is the next message, which must be a NOTIFY with this state and body.
func (r *rig) notify(state, body string) *sip.Message {
	r.t.Helper()
	m := r.next()
	if m == nil || !m.IsRequest() || m.Method() != sip.NOTIFY {
		r.t.Fatalf("want a NOTIFY, got %s", text(m))
	}
	if got := m.Get(sip.HSubscriptionState); got != state || string(m.Body()) != body {
		r.t.Fatalf("NOTIFY %q %q, want %q %q", got, m.Body(), state, body)
	}
	if e := sip.Check(m); e != nil {
		r.t.Fatalf("NOTIFY: %v\n%s", e, m.Bytes())
	}
	return m
}

func (r *rig) answer(m *sip.Message, status int, headers ...string) {
	r.t.Helper()
	d := sip.NewResponse(m, status, "")
	for _, h := range headers {
		n, v, _ := strings.Cut(h, ": ")
		d.AddName(n, v)
	}
	resp, err := d.Message()
	if err != nil {
		r.t.Fatal(err)
	}
	r.l.Message(resp, r.flow)
	synctest.Wait()
}

func (r *rig) quiet() {
	r.t.Helper()
	if m := r.next(); m != nil {
		r.t.Fatalf("want nothing, got %s", text(m))
	}
}

func (r *rig) count(want int) {
	r.t.Helper()
	if n := r.n.Len(); n != want {
		r.t.Fatalf("%d subscriptions, want %d", n, want)
	}
}

func text(m *sip.Message) string {
	if m == nil {
		return "nothing"
	}
	return string(m.Bytes())
}

// The life of a subscription: RFC 6665 §4.2 and the flow of RFC 3680 §6.
func TestSubscription(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "", "Expires: 600", "Record-Route: <sip:edge.example.com;lr>")
		ok := r.status(200) // RFC 6665 §8.3.1: never 202
		if ok.Get(sip.HExpires) != "600" || ok.Get(sip.HContact) != "<sip:192.0.2.1:5060;transport=tcp>" || !ok.Has(sip.HRecordRoute) {
			t.Errorf("200:\n%s", ok.Bytes())
		}
		tag := ok.ToTag()
		n := r.notify("active;expires=600", "one v0")
		if n.RequestURI() != "sip:alice@198.51.100.7;transport=tcp" || n.Get(sip.HRoute) != "<sip:edge.example.com;lr>" ||
			n.Get(sip.HFrom) != "<sip:bob@example.com>;tag="+tag || n.Get(sip.HTo) != "<sip:alice@example.com>;tag=a1" ||
			n.Get(sip.HEvent) != "reg" || n.Get(sip.HContentType) != "application/reginfo+xml" || n.Get(sip.HCSeq) != "1 NOTIFY" {
			t.Errorf("NOTIFY:\n%s", n.Bytes())
		}
		r.answer(n, 200)
		time.Sleep(100 * time.Second)
		r.set("two")
		n = r.notify("active;expires=500", "two v1")
		r.answer(n, 200)

		// Refresh: 200 and the state again.
		r.subscribe("2", "2", tag, "Expires: 300", "Contact: <sip:alice@198.51.100.8>")
		r.status(200)
		n = r.notify("active;expires=300", "two v2")
		if n.RequestURI() != "sip:alice@198.51.100.8" || n.Get(sip.HCSeq) != "3 NOTIFY" {
			t.Errorf("NOTIFY:\n%s", n.Bytes())
		}
		r.answer(n, 200)
		r.count(1)

		// An older CSeq. RFC 3261 §12.2.2
		r.subscribe("3", "2", tag)
		r.status(500)

		// End. RFC 6665 §4.1.2.3
		r.subscribe("4", "4", tag, "Expires: 0")
		if ok = r.status(200); ok.Get(sip.HExpires) != "0" {
			t.Errorf("Expires %s", ok.Get(sip.HExpires))
		}
		r.answer(r.notify("terminated;reason=timeout", "two v3"), 200)
		r.count(0)
		r.subscribe("5", "5", tag, "Expires: 300")
		r.status(481)
		r.set("three")
		r.quiet()
	})
}

// One NOTIFY at a time; only the latest state follows.
func TestLatestWins(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		r.status(200)
		n := r.notify("active;expires=3600", "one v0")
		r.set("two")
		r.set("three")
		r.quiet()
		r.answer(n, 200)
		n = r.notify("active;expires=3600", "three v1")
		r.quiet()
		r.answer(n, 200)
		r.quiet()
		// Also when it ends while one is out.
		r.set("four")
		n = r.notify("active;expires=3600", "four v2")
		r.n.Terminate(func(s *Subscription) bool { return s.Watcher().AOR == "alice@example.com" }, "rejected")
		r.quiet()
		r.answer(n, 200)
		r.answer(r.notify("terminated;reason=rejected", ""), 200)
		r.count(0)
	})
}

// A change in the moment between a SUBSCRIBE and its NOTIFY is in that NOTIFY;
// it causes no second one.
func TestChangeAfterSubscribe(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		r.set("two")
		r.status(200)
		r.answer(r.notify("active;expires=3600", "two v0"), 200)
		r.quiet()
	})
}

// Expiry: the watcher is told, and forgotten. RFC 6665 §4.2.2.
func TestExpiry(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "", "Expires: 120")
		tag := r.status(200).ToTag()
		r.answer(r.notify("active;expires=120", "one v0"), 200)
		time.Sleep(100 * time.Second)
		r.subscribe("2", "2", tag, "Expires: 60")
		r.status(200)
		r.answer(r.notify("active;expires=60", "one v1"), 200)
		time.Sleep(59 * time.Second)
		r.quiet()
		time.Sleep(2 * time.Second)
		r.answer(r.notify("terminated;reason=timeout", "one v2"), 200)
		r.count(0)
	})
}

// Expires: 0 from the start asks once. RFC 6665 §4.4.3.
func TestFetch(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "", "Expires: 0")
		r.status(200)
		r.answer(r.notify("terminated;reason=timeout", "one v0"), 200)
		r.count(0)
	})
}

// The bounds of Expires, at n-1, n and n+1. RFC 6665 §4.2.1.1.
func TestExpires(t *testing.T) {
	for _, row := range []struct {
		header string
		status int
		want   string
	}{
		{"", 200, "3600"}, {"Expires: 59", 423, ""}, {"Expires: 60", 200, "60"}, {"Expires: 61", 200, "61"},
		{"Expires: 86399", 200, "86399"}, {"Expires: 86400", 200, "86400"}, {"Expires: 86401", 200, "86400"},
		{"Expires: 4294967295", 200, "86400"}, {"Expires: 1", 423, ""},
	} {
		run(t, Options{}, func(t *testing.T, r *rig) {
			var h []string
			if row.header != "" {
				h = []string{row.header}
			}
			r.subscribe("1", "1", "", h...)
			m := r.status(row.status)
			if row.status == 423 && m.Get(sip.HMinExpires) != "60" || m.Get(sip.HExpires) != row.want {
				t.Errorf("%s:\n%s", row.header, m.Bytes())
			}
		})
	}
	// A minimum of more than an hour never gets 423.
	run(t, Options{Min: 2 * time.Hour, Default: 3 * time.Hour}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "", "Expires: 3600")
		r.status(200)
	})
}

// What a watcher answers decides about its subscription: RFC 6665 §4.2.2 and
// RFC 5057 §5.1.
func TestNotifyAnswers(t *testing.T) {
	for status, left := range map[int]int{200: 1, 404: 0, 405: 0, 410: 0, 416: 0, 480: 0, 481: 0, 482: 0, 483: 0, 484: 0, 485: 0, 489: 0,
		501: 0, 604: 0, 400: 1, 401: 1, 403: 1, 486: 1, 500: 1, 503: 1, 600: 1} {
		run(t, Options{}, func(t *testing.T, r *rig) {
			r.subscribe("1", "1", "")
			r.status(200)
			r.answer(r.notify("active;expires=3600", "one v0"), status)
			r.count(left)
			r.set("two")
			if left == 0 {
				r.quiet()
				return
			}
			r.notify("active;expires=3600", "two v1")
		})
	}
	t.Run("no answer", func(t *testing.T) {
		run(t, Options{}, func(t *testing.T, r *rig) {
			r.subscribe("1", "1", "")
			r.status(200)
			r.notify("active;expires=3600", "one v0")
			time.Sleep(33 * time.Second)
			synctest.Wait()
			r.count(0)
		})
	})
	t.Run("connection gone", func(t *testing.T) {
		run(t, Options{}, func(t *testing.T, r *rig) {
			r.subscribe("1", "1", "")
			r.status(200)
			r.answer(r.notify("active;expires=3600", "one v0"), 200)
			r.flow.Close("test")
			r.count(1)
			r.set("two")
			r.count(0)
		})
	})
}

// The hook finds another way when the connection is gone.
func TestNextHop(t *testing.T) {
	var other transport.Flow
	run(t, Options{NextHop: func(contact string, routes []string, f transport.Flow, done func(transaction.Hop, error)) {
		if !f.Alive() {
			f = other
		}
		done(transaction.Hop{Flow: f, Sticky: true}, nil)
	}}, func(t *testing.T, r *rig) {
		other = r.pipe()
		r.subscribe("1", "1", "", "Contact: <sip:alice@example.com;gr=urn:uuid:1>")
		r.status(200)
		n := r.notify("active;expires=3600", "one v0")
		if n.RequestURI() != "sip:alice@example.com;gr=urn:uuid:1" {
			t.Errorf("Request-URI %s", n.RequestURI())
		}
		r.answer(n, 200)
		r.flow.Close("test")
		r.set("two")
		r.notify("active;expires=3600", "two v1")
	})
}

// Who may, who must wait, who may not.
func TestAuthorize(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		var s *Subscription
		var done func(Decision)
		r.decide = func(a *Subscription, b func(Decision)) { s, done = a, b }
		r.subscribe("1", "1", "", "Event: reg;id=7")
		r.quiet()
		if s.Resource() != "bob@example.com" || s.Watcher().AOR != "alice@example.com" || s.Event() != "reg" || s.Fetch() || !s.Accepts("application/reginfo+xml") {
			t.Errorf("%+v", s)
		}
		done(Decision{State: Pending})
		tag := r.status(200).ToTag()
		n := r.notify("pending;expires=3600", "")
		if n.Get(sip.HEvent) != "reg;id=7" {
			t.Errorf("Event %s", n.Get(sip.HEvent))
		}
		r.answer(n, 200)
		r.set("two")
		r.answer(r.notify("pending;expires=3600", ""), 200)
		s.Allow()
		r.answer(r.notify("active;expires=3600", "two v2"), 200)
		// Another id is another subscription.
		r.subscribe("2", "2", tag, "Event: reg;id=8")
		r.status(481)
		s.End("probation", 30)
		r.answer(r.notify("terminated;reason=probation;retry-after=30", ""), 200)
		r.count(0)

		r.decide = func(_ *Subscription, done func(Decision)) { done(Decision{Status: 403, Warning: "not yours"}) }
		r.subscribe("3", "3", "")
		if m := r.status(403); !strings.Contains(m.Get(sip.HWarning), "not yours") {
			t.Errorf("Warning %q", m.Get(sip.HWarning))
		}
		r.quiet()
		r.count(0)
	})
}

func TestRefused(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		long := "Contact: <sip:" + strings.Repeat("x", maxNames) + "@198.51.100.7>"
		tag := ""
		for i, row := range []struct {
			header string
			status int
		}{
			{"Accept: application/pidf+xml", 406},
			{long, 400},
			{"Event: reg;id=" + strings.Repeat("x", maxNames), 400},
			{`Event: reg;id="a;b"`, 400},
			{"Record-Route: <sip:p;lr>" + strings.Repeat(", <sip:p;lr>", maxRoutes), 400},
			{"Record-Route: <sip:p;lr>" + strings.Repeat(", <sip:p;lr>", maxRoutes-1), 200},
			{"Accept: application/reginfo+xml;q=0", 406},
			{"Contact: *", 400},
			{"Contact: <tel:+1>", 400},
			{"Accept: */*", 200}, {"Accept: application/*", 200}, {"Accept: text/plain, application/REGINFO+xml", 200},
		} {
			r.subscribe(fmt.Sprint("r", i), "1", "", row.header)
			m := r.status(row.status)
			if row.status == 406 && !m.Has(sip.HAccept) {
				t.Error("406 without Accept")
			}
			if row.status == 200 {
				tag = m.ToTag()
				r.next()
			}
		}
		r.subscribe("y", "9", tag, long)
		r.status(400)
		// A stranger cannot refresh another's subscription.
		r.subscribe("x", "9", "nosuchtag")
		r.status(481)
	})
}

// Hostile 7 and the limits: thousands of Accept rows, many subscriptions.
func TestLimits(t *testing.T) {
	run(t, Options{PerWatcher: 2, Total: 3}, func(t *testing.T, r *rig) {
		for i, want := range []int{200, 200, 403} {
			r.subscribe(fmt.Sprint("l", i), fmt.Sprint(i+1), "")
			r.status(want)
			if want == 200 {
				r.notify("active;expires=3600", "one v0")
			}
		}
		r.count(2)
		// Those whose connection is gone make room.
		r.flow.Close("test")
		r.flow = r.pipe()
		r.subscribe("l4", "5", "")
		r.status(200)
		r.next()
		r.count(1)
	})
}

// The least interval between NOTIFYs; an end does not wait for it.
func TestInterval(t *testing.T) {
	run(t, Options{Interval: 5 * time.Second}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		r.status(200)
		r.answer(r.notify("active;expires=3600", "one v0"), 200)
		r.set("two")
		r.set("three")
		r.quiet()
		time.Sleep(5 * time.Second)
		r.answer(r.notify("active;expires=3595", "three v1"), 200)
		r.set("four")
		r.quiet()
		r.n.Terminate(func(*Subscription) bool { return true }, "noresource")
		r.answer(r.notify("terminated;reason=noresource", ""), 200)
		r.count(0)
		time.Sleep(10 * time.Second)
		r.quiet()
	})
	// A refresh asks for the state now. RFC 6665 §4.2.1.2
	run(t, Options{Interval: 5 * time.Second}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		tag := r.status(200).ToTag()
		r.answer(r.notify("active;expires=3600", "one v0"), 200)
		r.subscribe("2", "2", tag)
		r.status(200)
		r.answer(r.notify("active;expires=3600", "one v1"), 200)
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	NewNotifier(Options{Event: "reg", Registerer: reg})
	NewNotifier(Options{Event: "presence", Registerer: reg})
	families, err := reg.Gather()
	if err != nil || len(families) != 6 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// TestMemory holds the cost of an idle subscription under 1.5 kB, in a layer
// whose timers do not run.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("measuring memory needs a quiet heap; left out with -short")
	}
	r := newRig(t, Options{PerWatcher: 1 << 20})
	const count = 5000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range count {
		s := &Subscription{n: r.n, watcher: Watcher{AOR: "alice@example.com"}, resource: "bob@example.com", expires: r.n.instant(time.Now().Add(time.Hour)), flow: r.flow, state: Active}
		d, err := FromRequest(parse(t, strings.Replace(invite, "16-12-1", fmt.Sprint("call-", i, "@198.51.100.7"), 1)), NewTag())
		if err != nil {
			t.Fatal(err)
		}
		s.d = d
		s.own()
		r.n.mu.Lock()
		r.n.add(s)
		r.n.mu.Unlock()
		s.arm(time.Hour)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if per := (after.HeapAlloc - before.HeapAlloc) / count; per > 1500 {
		t.Errorf("%d bytes for each subscription", per)
	} else {
		t.Logf("%d bytes for each subscription", per)
	}
	runtime.KeepAlive(r)
}
