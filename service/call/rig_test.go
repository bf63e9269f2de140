package call

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

const alice, bob, carol = "alice@example.com", "bob@example.com", "carol@example.com"

// rig is the call service on a real store, proxy and transaction layer. A phone is a flow; what is sent to it waits until
// the test reads it. The rig itself is the transport, the authenticator (the phone "bob2" is bob's device "bob2"), and the
// registrar's table.
type rig struct {
	t       *testing.T
	store   gate
	layer   *transaction.Layer
	proxy   *route.Proxy
	service *Service
	options Options

	mu     sync.Mutex
	phones map[string]*phone
	table  []route.Target
}

// heard lets the service hear what the proxy sends.
type heard struct {
	*transaction.Layer
	r *rig
}

func (h heard) Send(hop transaction.Hop, d *sip.Draft, ch transaction.ClientHandler) *transaction.Client {
	return h.r.service.Send(hop, d, ch)
}

type phone struct {
	flow  transport.Flow
	mu    sync.Mutex
	inbox [][]byte
}

// gate is the real store, whose log can be closed for a while.
type gate struct {
	store.Log
	store.Index
	*held
}

type held struct {
	mu      sync.Mutex
	closed  bool
	waiting []func()
	refuse  error // when not nil, Append fails with it
}

func (g gate) Append(r *store.Record, done func(error)) {
	g.mu.Lock()
	refuse := g.refuse
	if g.closed {
		g.waiting = append(g.waiting, func() { g.Log.Append(r, done) })
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	if refuse != nil {
		go done(refuse)
		return
	}
	g.Log.Append(r, done)
}

func (g gate) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse = err
}

func (g gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

func (g gate) release() {
	g.mu.Lock()
	list := g.waiting
	g.closed, g.waiting = false, nil
	g.mu.Unlock()
	for _, f := range list {
		f()
	}
}

// run runs a test in a bubble of fake time.
func run(t *testing.T, f func(r *rig), change ...func(*Options)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, phones: map[string]*phone{}}
		defer r.open(dir, change...)()
		f(r)
	})
}

// open opens the store in dir and everything above it.
func (r *rig) open(dir string, change ...func(*Options)) (stop func()) {
	log := slog.New(slog.DiscardHandler)
	st, err := sqlstore.Open(context.Background(), sqlstore.Options{Dir: dir, Log: log, Text: func(*store.Record) string { return "" }})
	if err != nil {
		r.t.Fatal(err)
	}
	r.store = gate{st.Log(), st.Index(), &held{}}
	r.layer = transaction.New(transaction.Options{Transport: r, Log: log})
	home := &route.Home{Domains: []string{"example.com"}, IsLocal: func(host string, _ uint16) bool { return host == "192.0.2.1" }}
	key := []byte("0123456789abcdef")
	r.proxy = route.NewProxy(route.ProxyOptions{Transport: r, Transactions: heard{r.layer, r}, Home: home, Locator: r, Key: key, Log: log})
	r.options = Options{
		Store: r.store, Locator: r, Addresses: r, Accounts: accounts{r}, Forward: r.proxy, Transactions: r.layer, NextHop: r.proxy.NextHop, Log: log, Registerer: prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&r.options)
	}
	r.service = New(r.options)
	mux := route.NewMux()
	mux.Handle(sip.INVITE, r.service)
	for _, m := range []string{sip.INVITE, sip.UPDATE, sip.BYE} {
		mux.HandleInDialog(m, route.HandlerFunc(r.service.InDialog))
	}
	r.layer.SetHandler(route.NewCore(route.CoreOptions{Chain: []route.Step{
		route.Sanity(), route.MaxForwards(home), route.Loop(home), route.Trusted(), route.Routing(home, key), route.Authenticate(r),
		route.From(nil), r.service.Record(), route.InDialog(mux, r.proxy), route.Domain(home, nil), {Name: "mux", Handler: mux},
	}}))
	ctx, cancel := context.WithCancel(context.Background())
	var lower, upper sync.WaitGroup
	storeCtx, stopStore := context.WithCancel(context.Background())
	lower.Go(func() { _ = st.Serve(storeCtx) })
	if err := r.service.Load(ctx); err != nil {
		r.t.Fatal(err)
	}
	upper.Go(func() { _ = r.layer.Serve(ctx) })
	return func() {
		cancel()
		upper.Wait()
		stopStore()
		lower.Wait()
		if err := st.Close(); err != nil {
			r.t.Error(err)
		}
	}
}

// The rig is the transport.

func (r *rig) Flow(transport.Target) (transport.Flow, error) {
	return transport.Flow{}, transport.ErrUnreachable
}

func (r *rig) UDPFlow(_, _ netip.AddrPort) (transport.Flow, bool) { return transport.Flow{}, false }

func (r *rig) Lookup(id uint64) (transport.Flow, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.phones {
		if p.flow.ID() == id {
			return p.flow, p.flow.Alive()
		}
	}
	return transport.Flow{}, false
}

func (r *rig) Via(f transport.Flow) (string, string) { return f.Kind().ViaName(), "192.0.2.1:5060" }
func (r *rig) Proven(transport.Flow) bool            { return true }
func (r *rig) Prove(transport.Flow)                  {}

// The rig knows who exists and who is signed in where.

func (r *rig) Authenticate(q *route.Request, _ bool) {
	name := q.Flow.Listener()
	q.Authenticated(route.Verdict{Identity: route.Identity{AOR: person(name), Device: name}})
}

func (r *rig) user(aor string) (*store.User, error) {
	switch aor {
	case alice, bob, carol:
		return &store.User{AOR: aor}, nil
	case "closed@example.com":
		return &store.User{AOR: aor, Disabled: true}, nil
	case "broken@example.com":
		return nil, store.ErrUnavailable
	}
	return nil, store.ErrNotFound
}

// accounts is the rig as Accounts, whose method has the name of one of the transport's.
type accounts struct{ *rig }

func (a accounts) Lookup(aor string, done func(*store.User, error)) { done(a.user(aor)) }

func (r *rig) Resolve(uri sip.URI) (aor, device string, ok bool) {
	device, _ = uri.Params.Get("gr")
	return uri.AOR(), device, uri.User != ""
}

func (r *rig) Locate(uri sip.URI, done func([]route.Target, error)) {
	device, _ := uri.Params.Get("gr")
	r.mu.Lock()
	var list []route.Target
	for _, t := range r.table {
		if t.AOR == uri.AOR() && (device == "" || t.Device == device) {
			list = append(list, t)
		}
	}
	r.mu.Unlock()
	if device != "" && len(list) == 0 {
		done(nil, errs.New(errs.NotFound, "no such device"))
		return
	}
	done(list, nil)
}

func person(phone string) string { return strings.TrimRight(phone, "0123456789") + "@example.com" }

// phone is the far end of a flow.
func (r *rig) phone(name string) *phone {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.phones[name]; p != nil {
		return p
	}
	p := &phone{}
	p.flow = transport.Pipe(transport.PipeOptions{
		Kind: transport.TCP, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Listener: name,
		Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(len(r.phones) + 1)}), 5060),
		Send: func(b []byte) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.inbox = append(p.inbox, slices.Clone(b))
			return nil
		},
	})
	r.phones[name] = p
	return p
}

// signIn registers phones under their names.
func (r *rig) signIn(names ...string) {
	for _, n := range names {
		p := r.phone(n)
		r.mu.Lock()
		r.table = append(r.table, route.Target{
			URI: "sip:" + n + "@" + p.flow.Remote().String() + ";transport=tcp", Q: 1000, AOR: person(n), Device: n,
			Hop: transaction.Hop{Flow: p.flow, Sticky: true},
		})
		r.mu.Unlock()
	}
}

// send lets bytes of a phone arrive.
func (r *rig) send(name string, b []byte) {
	r.t.Helper()
	m, err := sip.Parse(b)
	if err != nil {
		r.t.Fatalf("%v in\n%s", err, b)
	}
	r.layer.Message(m, r.phone(name).flow)
	r.settle()
}

// settle waits until nothing moves but the clock; what the store does on its own goroutines and the disk counts as moving.
func (r *rig) settle() { synctest.Wait() }

// get is the next message at a phone, which must be this method or status; there may be a 100 before it.
func (r *rig) get(name string, want any) *sip.Message {
	r.t.Helper()
	r.settle()
	p := r.phone(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	for want != 100 && len(p.inbox) > 0 && strings.HasPrefix(string(p.inbox[0]), "SIP/2.0 100 ") {
		p.inbox = p.inbox[1:]
	}
	if len(p.inbox) == 0 {
		r.t.Fatalf("%s got nothing, want %v", name, want)
	}
	m, err := sip.Parse(p.inbox[0])
	if err != nil {
		r.t.Fatalf("%s got what does not parse: %v", name, err)
	}
	p.inbox = p.inbox[1:]
	got := fmt.Sprint(m.Status())
	if m.IsRequest() {
		got = m.Method()
	}
	if got != fmt.Sprint(want) {
		r.t.Fatalf("%s got %s, want %v\n%s", name, got, want, m.Bytes())
	}
	return m
}

// quiet checks that nothing waits at the phones.
func (r *rig) quiet(names ...string) {
	r.t.Helper()
	r.settle()
	for _, n := range names {
		p := r.phone(n)
		p.mu.Lock()
		if len(p.inbox) > 0 {
			r.t.Errorf("%s got more:\n%s", n, p.inbox[0])
		}
		p.mu.Unlock()
	}
}

const offer = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 96\r\n"

// invite sends an INVITE from a phone to an address and eats the 100.
func (r *rig) invite(from, to string, headers ...func(*sip.Draft)) *sip.Message {
	r.t.Helper()
	d := sip.NewRequest(sip.INVITE, to).
		Add(sip.HVia, "SIP/2.0/TCP 198.51.100.99;branch=z9hG4bKi-"+from).Add(sip.HMaxForwards, "70").
		Add(sip.HFrom, "<sip:"+person(from)+">;tag=t-"+from).Add(sip.HTo, "<"+to+">").Add(sip.HCallID, "call-"+from).
		Add(sip.HCSeq, "1 INVITE").Add(sip.HContact, "<sip:"+from+"@198.51.100.99;transport=tcp>").Body("application/sdp", []byte(offer))
	for _, f := range headers {
		f(d)
	}
	m, err := d.Message()
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(from, d.Bytes())
	return m
}

// answer lets a phone answer a request that it got.
func (r *rig) answer(name string, req *sip.Message, status int, edit ...func(*sip.Draft)) {
	r.t.Helper()
	d := sip.NewResponse(req, status, "").SetToTag("t-" + name)
	for v := range req.Each(sip.HRecordRoute) {
		d.Add(sip.HRecordRoute, v)
	}
	if status < 300 {
		d.Add(sip.HContact, "<"+req.RequestURI()+">")
	}
	for _, f := range edit {
		f(d)
	}
	r.send(name, d.Bytes())
}

// within sends a request in the dialog of a 2xx that the caller got; by is the phone that sends it.
func (r *rig) within(method, by string, ok *sip.Message, cseq int, edit ...func(*sip.Draft)) {
	r.t.Helper()
	from, to := ok.Get(sip.HFrom), ok.Get(sip.HTo)
	routes := slices.Collect(ok.Values(sip.HRecordRoute))
	target := strings.Trim(ok.Get(sip.HContact), "<>")
	if strings.Contains(to, "t-"+by) {
		from, to = to, from
		target = "sip:caller@198.51.100.99;transport=tcp"
	} else {
		slices.Reverse(routes)
	}
	d := sip.NewRequest(method, target).
		Add(sip.HVia, fmt.Sprintf("SIP/2.0/TCP 198.51.100.98;branch=z9hG4bK%s-%s-%d", method, by, cseq)).Add(sip.HMaxForwards, "70").
		Add(sip.HFrom, from).Add(sip.HTo, to).Add(sip.HCallID, ok.CallID()).Add(sip.HCSeq, fmt.Sprintf("%d %s", cseq, method)).
		Add(sip.HContact, "<sip:"+by+"@198.51.100.98;transport=tcp>")
	for _, v := range routes {
		d.Add(sip.HRoute, v)
	}
	for _, f := range edit {
		f(d)
	}
	r.send(by, d.Body("", nil).Bytes())
}

// cancel cancels an INVITE.
func (r *rig) cancel(from string, invite *sip.Message) {
	r.t.Helper()
	r.send(from, sip.NewRequest(sip.CANCEL, invite.RequestURI()).
		Add(sip.HVia, invite.Get(sip.HVia)).Add(sip.HMaxForwards, "70").Add(sip.HFrom, invite.Get(sip.HFrom)).Add(sip.HTo, invite.Get(sip.HTo)).
		Add(sip.HCallID, invite.CallID()).Add(sip.HCSeq, "1 CANCEL").Body("", nil).Bytes())
}

// ack acknowledges a refusal.
func (r *rig) ack(from string, invite, refusal *sip.Message) {
	r.t.Helper()
	r.send(from, sip.NewRequest(sip.ACK, invite.RequestURI()).
		Add(sip.HVia, invite.Get(sip.HVia)).Add(sip.HMaxForwards, "70").Add(sip.HFrom, invite.Get(sip.HFrom)).Add(sip.HTo, refusal.Get(sip.HTo)).
		Add(sip.HCallID, invite.CallID()).Add(sip.HCSeq, "1 ACK").Body("", nil).Bytes())
}

// records are those of calls.
func (r *rig) records() []store.Record {
	r.t.Helper()
	r.settle()
	list, err := r.store.Read(context.Background(), 0, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// ended checks that the log holds exactly one call, and how it ended, and that nothing of it is left in memory.
func (r *rig) ended(outcome string) (start, end store.Record) {
	r.t.Helper()
	list := r.records()
	if len(list) != 2 || list[0].Kind != store.KindCallStart || list[1].Kind != store.KindCallEnd {
		r.t.Fatalf("records: %+v", list)
	}
	start, end = list[0], list[1]
	if end.Ref != start.ID || end.From != start.From || end.To != start.To {
		r.t.Errorf("the end %+v does not fit the start %+v", end, start)
	}
	if got := end.Meta[store.MetaOutcome]; got != outcome {
		r.t.Errorf("ended as %q, want %q", got, outcome)
	}
	r.empty()
	return start, end
}

func (r *rig) empty() {
	r.t.Helper()
	if n := r.service.Open(); n != 0 {
		r.t.Errorf("%d calls are left open", n)
	}
}

// ringing sets up a call that rings at all the phones named, and returns their INVITEs.
func (r *rig) ringing(from, to string, phones ...string) (invite *sip.Message, at map[string]*sip.Message) {
	r.t.Helper()
	invite = r.invite(from, to)
	r.get(from, 100)
	at = map[string]*sip.Message{}
	for _, p := range phones {
		at[p] = r.get(p, "INVITE")
		r.answer(p, at[p], 180)
		r.get(from, 180)
	}
	return invite, at
}

// talking sets up a call between alice and bob and returns the 200.
func (r *rig) talking(edit ...func(*sip.Draft)) *sip.Message {
	r.t.Helper()
	r.signIn("bob")
	_, at := r.ringing("alice", "sip:"+bob, "bob")
	r.answer("bob", at["bob"], 200, edit...)
	ok := r.get("alice", 200)
	r.within(sip.ACK, "alice", ok, 1)
	r.get("bob", "ACK")
	return ok
}

// hangUp lets a phone end the call, and the other answer.
func (r *rig) hangUp(by, other string, ok *sip.Message) {
	r.t.Helper()
	r.within(sip.BYE, by, ok, 90)
	r.answer(other, r.get(other, "BYE"), 200)
	r.get(by, 200)
}

// sleep lets time pass.
func (r *rig) sleep(d time.Duration) {
	time.Sleep(d)
	r.settle()
}
