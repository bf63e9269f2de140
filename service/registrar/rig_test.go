package registrar

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store/sqlstore"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// rig is a registrar behind the real transaction layer, over pipes and a real store. Who
// sends on a phone's flow is signed in as the user the phone belongs to.
type rig struct {
	*Registrar
	t     *testing.T
	layer *transaction.Layer
	store *sqlstore.Store
	opts  Options
	stop  func()
	known map[string]bool // accounts
	watch func(Event)     // a further watcher

	meanwhile func() // runs while a request is being authenticated

	regEvents  *RegEvent
	subscribed func(q *route.Request, admin bool) // takes SUBSCRIBEs

	mu     sync.Mutex
	events []string
	trust  []string
	udp    map[netip.AddrPort]transport.Flow
}

type phone struct {
	r    *rig
	user string
	flow transport.Flow
	addr netip.AddrPort
	kind transport.Kind
	cid  string
	cseq int

	mu    sync.Mutex
	inbox [][]byte
	sent  int            // what ever came
	notes []*sip.Message // NOTIFYs
}

const (
	alice    = "alice@example.com"
	instance = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
)

var serverAddr = netip.MustParseAddrPort("192.0.2.1:5060")

// run runs f in a bubble, where time is fake.
func run(t *testing.T, f func(t *testing.T, r *rig), change ...func(*Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st, err := sqlstore.Open(t.Context(), sqlstore.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		r := &rig{t: t, store: st, known: map[string]bool{alice: true, "bob@example.com": true}, udp: map[netip.AddrPort]transport.Flow{}}
		r.opts = Options{Domains: []string{"example.com", "other.example"}, Store: st.Bindings(), Key: []byte(strings.Repeat("k", 32)),
			UDPFlow: r.UDPFlow, IsListener: func(k transport.Kind, host string, port uint16) bool {
				return k != transport.TLS && host == "192.0.2.1" && port == 5060
			},
			Exists: func(aor string, done func(bool, error)) { done(r.known[aor], nil) },
			Trust: func(q *route.Request, until time.Time) {
				r.mu.Lock()
				defer r.mu.Unlock()
				s := q.Identity.AOR + " no longer"
				if !until.IsZero() {
					s = q.Identity.AOR + " for " + time.Until(until).String()
				}
				r.trust = append(r.trust, s)
			}}
		for _, c := range change {
			c(&r.opts)
		}
		r.layer = transaction.New(transaction.Options{Transport: r})
		core := route.NewCore(route.CoreOptions{
			Chain:  []route.Step{route.Sanity(), route.Authenticate(r), {Name: "registrar", Handler: route.HandlerFunc(r.serve)}},
			Closed: []func(transport.Flow, error){func(f transport.Flow, err error) { r.FlowClosed(f, err) }},
		})
		r.layer.SetHandler(core)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = r.layer.Serve(ctx) }()
		defer func() {
			r.stop()
			cancel()
			<-ended
		}()
		r.start()
		f(t, r)
	})
}

// start makes the registrar, as at the start of the server.
func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.Registrar, err = New(r.opts); err != nil {
		r.t.Fatal(err)
	}
	r.Watch(func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e.Kind.label()+" "+e.Binding.Contact)
	})
	r.regEvents = r.RegEvent()
	if r.watch != nil {
		r.Watch(r.watch)
	}
	if err := r.Load(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	s := r.Registrar
	go func() { defer close(ended); _ = s.Serve(ctx) }()
	r.stop = sync.OnceFunc(func() { cancel(); <-ended })
	synctest.Wait()
}

// restart stops the registrar and starts it again on the same store.
func (r *rig) restart() {
	r.stop()
	r.start()
}

func (r *rig) serve(q *route.Request) {
	if q.Msg.Method() == sip.SUBSCRIBE {
		r.subscribed(q, strings.HasPrefix(q.Identity.AOR, "admin@"))
		return
	}
	route.Endpoint(r.Registrar, Extensions()...).ServeSIP(q)
}

// Authenticate is route.Authenticator.
func (r *rig) Authenticate(q *route.Request, _ bool) {
	if r.meanwhile != nil {
		r.meanwhile()
	}
	user := q.Flow.Listener()
	q.Authenticated(route.Verdict{Identity: route.Identity{AOR: strings.TrimPrefix(user, "device:"), Device: map[bool]string{true: "dev1"}[strings.HasPrefix(user, "device:")]}})
}

func (r *rig) Flow(transport.Target) (transport.Flow, error) {
	return transport.Flow{}, transport.ErrUnreachable
}

func (r *rig) UDPFlow(_, remote netip.AddrPort) (transport.Flow, bool) {
	f, ok := r.udp[remote]
	return f, ok
}
func (r *rig) Via(f transport.Flow) (string, string) { return f.Kind().ViaName(), serverAddr.String() }
func (r *rig) Proven(transport.Flow) bool            { return true }
func (r *rig) Prove(transport.Flow)                  {}

// phone makes a device of a user that comes from addr. The user "device:x" signs in with
// the device password dev1.
func (r *rig) phone(user, addr string, kind transport.Kind) *phone {
	p := &phone{r: r, user: user, addr: netip.MustParseAddrPort(addr), kind: kind, cid: "call-of-" + addr}
	p.connect()
	return p
}

// connect gives the phone a new flow, as when it connects again.
func (p *phone) connect() {
	p.flow = transport.Pipe(transport.PipeOptions{Kind: p.kind, Local: serverAddr, Remote: p.addr, Listener: p.user,
		Send: func(b []byte) error {
			p.mu.Lock()
			p.inbox = append(p.inbox, b)
			p.sent++
			p.mu.Unlock()
			return nil
		}})
	if p.kind == transport.UDP {
		p.r.udp[p.addr] = p.flow
	}
}

// hangUp closes the phone's connection.
func (p *phone) hangUp() {
	p.flow.Close("test")
	p.r.layer.Closed(p.flow, nil)
	synctest.Wait()
}

func (p *phone) aor() string { return strings.TrimPrefix(p.user, "device:") }

// register sends a REGISTER with these rows and returns the answer.
func (p *phone) register(rows ...string) *sip.Message {
	p.r.t.Helper()
	return p.send("sip:example.com", "sip:"+p.aor(), rows...)
}

func (p *phone) send(uri, to string, rows ...string) *sip.Message {
	t := p.r.t
	t.Helper()
	p.cseq++
	text := fmt.Sprintf("REGISTER %s SIP/2.0\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s%d%d\nMax-Forwards: 70\nFrom: <sip:%s>;tag=1\nTo: <%s>\n", uri, p.kind.ViaName(), p.addr,
		strings.NewReplacer(":", "", "[", "", "]", "", ".", "").Replace(p.addr.String()), p.cseq, time.Now().UnixNano(), p.aor(), to)
	cid, cseq := "Call-ID: "+p.cid, fmt.Sprintf("CSeq: %d REGISTER", p.cseq)
	for _, row := range rows {
		switch {
		case strings.HasPrefix(row, "Call-ID:"):
			cid = row
		case strings.HasPrefix(row, "CSeq:"):
			cseq = row
		default:
			text += row + "\n"
		}
	}
	text += cid + "\n" + cseq + "\nContent-Length: 0\n\n"
	m, err := sip.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	p.r.layer.Message(m, p.flow)
	synctest.Wait()
	return p.last()
}

// last takes the newest message that the phone received.
func (p *phone) last() *sip.Message {
	t := p.r.t
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.inbox) == 0 {
		t.Fatal("the phone received nothing")
	}
	b := p.inbox[len(p.inbox)-1]
	p.inbox = nil
	m, err := sip.Parse(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return m
}

// ok registers and expects a 200.
func (p *phone) ok(rows ...string) *sip.Message {
	p.r.t.Helper()
	m := p.register(rows...)
	if m.Status() != 200 {
		p.r.t.Fatalf("got %s", m.Bytes())
	}
	return m
}

// contacts lists the Contact values of an answer, in order.
func contacts(m *sip.Message) []string {
	return slices.Sorted(m.Values(sip.HContact))
}

// located lists what Locate finds, as "contact over flow".
func (r *rig) located(uri string) []string {
	r.t.Helper()
	u, err := sip.ParseURI(uri)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	r.Locate(u, func(list []route.Target, err error) {
		if err != nil {
			out = []string{errs.KindOf(err).String()}
			return
		}
		for _, x := range list {
			how := "over " + x.Hop.Flow.Remote().String()
			if x.Hop.Flow.IsZero() {
				how = "to " + x.Hop.Target.Kind.String() + " " + x.Hop.Target.Addr.String()
			}
			out = append(out, x.URI+" "+how)
		}
	})
	return out
}

// settle lets what was caused happen.
func settle() {
	time.Sleep(2 * afterAnswer)
	synctest.Wait()
}

// happened takes the events since the last call.
func (r *rig) happened() []string {
	settle()
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.events
	r.events = nil
	return list
}

func (r *rig) trusted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.trust
	r.trust = nil
	return list
}

// consistent checks that all indexes say the same.
func (r *rig) consistent() {
	r.t.Helper()
	total, flows, refs, epochs, queued := 0, map[uint64]int{}, 0, 0, map[ref]int{}
	var aors []string
	for i := range r.shards {
		sh := &r.shards[i]
		for aor, e := range sh.entries {
			if len(e.bindings) == 0 {
				r.t.Errorf("%s has an empty entry", aor)
			}
			aors = append(aors, aor)
			total += len(e.bindings)
			epochs += len(e.temps)
			for _, b := range e.bindings {
				if !b.Flow.IsZero() && b.Flow.Kind().Reliable() {
					flows[b.Flow.ID()]++
				}
				queued[ref{b.AOR, b.Key}] = 0
			}
		}
	}
	for _, aor := range append(aors, "nobody@example.com") {
		if n := len(r.Devices(aor)); r.Reachable(aor) != (n > 0) {
			r.t.Errorf("%s has %d ways, but reachable is %t", aor, n, n == 0)
		}
	}
	for _, d := range r.expiry.heap {
		if _, live := queued[d.ref]; live {
			queued[d.ref]++
		}
	}
	for k, n := range queued {
		if n == 0 {
			r.t.Errorf("%v will never expire", k)
		}
	}
	for _, list := range r.contacts.refs {
		refs += len(list)
	}
	if int(r.total.Load()) != total || refs != total || len(r.gruu.epochs) != epochs {
		r.t.Errorf("%d bindings, but %d counted and %d in the contact index; %d epochs, but %d known", total, r.total.Load(), refs, epochs, len(r.gruu.epochs))
	}
	for id, n := range flows {
		if len(r.flows.refs[id]) != n {
			r.t.Errorf("flow %d has %d bindings and %d refs", id, n, len(r.flows.refs[id]))
		}
	}
	if len(r.flows.refs) != len(flows) {
		r.t.Errorf("%d flows have bindings, %d are indexed", len(flows), len(r.flows.refs))
	}
}
