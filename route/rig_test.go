package route

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
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// rig is a proxy with the real transaction layer over pipes. Each phone is a
// named flow; what leaves towards it waits in its queue until the test reads it.
type rig struct {
	t     testing.TB
	l     *transaction.Layer
	home  *Home
	mux   *Mux
	proxy *Proxy
	core  *Core
	key   []byte

	mu       sync.Mutex
	phones   map[string]*phone
	dials    map[transport.Target]*phone
	bindings map[string][]Target // by AOR, or AOR;gr=x
	contacts map[string][]Target // Reach: by contact URI
	opts     Options             // what the INVITE handler forwards with
	outcomes []Outcome
	seen     []string // OnResponse
	mine     []string // requests that ended in a handler of ours
}

type phone struct {
	name   string
	addr   netip.AddrPort
	flow   transport.Flow
	mu     sync.Mutex
	inbox  [][]byte
	broken bool
}

const local = "192.0.2.1:5060"

// newRig builds the whole chain. Phones sign in by their name: the phone
// "bob2" is bob@example.com, "stranger" nobody.
func newRig(t testing.TB, change ...func(*ProxyOptions)) *rig {
	r := &rig{t: t, phones: map[string]*phone{}, dials: map[transport.Target]*phone{}, bindings: map[string][]Target{},
		contacts: map[string][]Target{}, key: []byte("0123456789abcdef"), opts: Options{RecordRoute: true}}
	r.home = &Home{Domains: []string{"example.com"}, IsLocal: func(host string, port uint16) bool {
		return host == "192.0.2.1" && (port == 0 || port == 5060)
	}}
	r.l = transaction.New(transaction.Options{Transport: r})
	o := ProxyOptions{Transport: r, Transactions: r.l, Home: r.home, Locator: r, Reacher: r, Key: r.key}
	for _, f := range change {
		f(&o)
	}
	r.proxy = NewProxy(o)
	r.mux = NewMux()
	r.mux.Handle(sip.INVITE, HandlerFunc(r.invite))
	r.mux.Handle(sip.REFER, ToUser(r.proxy))
	r.mux.Handle(sip.OPTIONS, ServerOptions(r.mux, ToUser(r.proxy), "path, outbound"))
	for _, m := range []string{sip.REGISTER, sip.MESSAGE} {
		r.mux.Handle(m, Endpoint(HandlerFunc(r.end), "path"))
	}
	r.mux.HandleEvent("reg", Endpoint(HandlerFunc(r.end)))
	chain := []Step{
		Sanity(), Methods(r.mux, allowed), Scheme(), MaxForwards(r.home), Loop(r.home), ProxyRequire(),
		Merged(4, sip.REGISTER), Trusted(), Routing(r.home, r.key), Authenticate(r), From(nil),
		InDialog(r.mux, r.proxy), Domain(r.home, nil), {Name: "mux", Handler: r.mux},
	}
	r.core = NewCore(CoreOptions{Chain: chain})
	r.l.SetHandler(r.core)
	return r
}

// allowed is the default list without PUBLISH.
func allowed(method string) int {
	switch {
	case method == sip.PUBLISH:
		return 405
	case standardMethod(method):
		return 0
	}
	return 501
}

// run runs f in a bubble with the layer's timers going.
func run(t *testing.T, f func(t *testing.T, r *rig), change ...func(*ProxyOptions)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change...)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.l.Serve(ctx) }()
		synctest.Wait()
		defer func() {
			cancel()
			<-done
		}()
		f(t, r)
	})
}

// invite is what service/call does, without its records.
func (r *rig) invite(q *Request) {
	o := r.opts
	o.Done = func(out Outcome) { r.mu.Lock(); r.outcomes = append(r.outcomes, out); r.mu.Unlock() }
	o.OnResponse = func(m *sip.Message, t Target) {
		r.mu.Lock()
		r.seen = append(r.seen, fmt.Sprint(m.Status()))
		r.mu.Unlock()
	}
	r.Locate(q.URI(), func(list []Target, err error) {
		if err != nil {
			q.Reply(404, "")
			return
		}
		r.proxy.Forward(q, list, o)
	})
}

// end is a service of which we are the end.
func (r *rig) end(q *Request) {
	r.mu.Lock()
	r.mine = append(r.mine, q.Msg.Method()+" "+q.Identity.AOR+" "+q.Msg.Get(sip.HPAssertedIdentity))
	r.mu.Unlock()
	q.Reply(200, "")
}

// Authenticate signs in by the phone's name.
func (r *rig) Authenticate(q *Request, proxy bool) {
	name := strings.TrimRight(q.Flow.Listener(), "0123456789")
	if name == "stranger" {
		v := Verdict{Status: 401, Challenges: []string{`Digest realm="example.com", nonce="n"`}}
		if proxy {
			v.Status = 407
		}
		q.Authenticated(v)
		return
	}
	q.Authenticated(Verdict{Identity: Identity{AOR: name + "@example.com", Name: name}})
}

// Locate finds the bindings the test made.
func (r *rig) Locate(u sip.URI, done func([]Target, error)) {
	key := u.AOR()
	if gr, ok := u.Params.Get("gr"); ok {
		key += ";gr=" + gr
	}
	r.mu.Lock()
	list, ok := r.bindings[key]
	r.mu.Unlock()
	if !ok {
		done(nil, errs.New(errs.NotFound, "no %s", key))
		return
	}
	done(slices.Clone(list), nil)
}

// Reach finds a binding by its contact.
func (r *rig) Reach(u sip.URI, done func([]Target, error)) {
	r.mu.Lock()
	list := r.contacts[u.String()]
	r.mu.Unlock()
	done(list, nil)
}

// phone makes a flow, over TCP unless the name begins with "udp-".
func (r *rig) phone(name string) *phone {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.phones[name]; p != nil {
		return p
	}
	p := &phone{name: name, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(len(r.phones) + 1)}), 5060)}
	kind := transport.TCP
	if strings.HasPrefix(name, "udp-") {
		kind = transport.UDP
	}
	p.flow = r.pipe(p, kind)
	r.phones[name] = p
	return p
}

func (r *rig) pipe(p *phone, kind transport.Kind) transport.Flow {
	return transport.Pipe(transport.PipeOptions{
		Kind: kind, Local: netip.MustParseAddrPort(local), Remote: p.addr, Listener: strings.TrimPrefix(p.name, "udp-"),
		Send: func(b []byte) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.broken {
				return transport.ErrClosed
			}
			p.inbox = append(p.inbox, b)
			return nil
		},
	})
}

// bind registers a phone for an AOR.
func (r *rig) bind(aor, phone string, change ...func(*Target)) {
	p := r.phone(phone)
	t := Target{URI: "sip:" + phone + "@" + p.addr.String() + ";transport=tcp", Q: 1000, AOR: aor, Device: phone,
		Hop: transaction.Hop{Flow: p.flow, Sticky: true}}
	for _, f := range change {
		f(&t)
	}
	r.mu.Lock()
	r.bindings[aor] = append(r.bindings[aor], t)
	r.mu.Unlock()
}

// Transport.

func (r *rig) Flow(t transport.Target) (transport.Flow, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.phones {
		if p.addr == t.Addr {
			return p.flow, nil
		}
	}
	return transport.Flow{}, transport.ErrUnreachable
}

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

func (r *rig) UDPFlow(local, remote netip.AddrPort) (transport.Flow, bool) {
	f, err := r.Flow(transport.Target{Kind: transport.UDP, Addr: remote})
	return f, err == nil
}

func (r *rig) Via(f transport.Flow) (string, string) { return f.Kind().ViaName(), local }
func (r *rig) Proven(transport.Flow) bool            { return true }
func (r *rig) Prove(transport.Flow)                  {}

// from lets a message of a phone arrive.
func (r *rig) from(name, text string) {
	r.t.Helper()
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	head = strings.TrimSuffix(head, "\r\n")
	if !strings.Contains(head, "Content-Length") {
		head += fmt.Sprintf("\r\nContent-Length: %d", len(body))
	}
	m, err := sip.Parse([]byte(head + "\r\n\r\n" + body))
	if err != nil {
		r.t.Fatalf("%v in\n%s", err, text)
	}
	r.l.Message(m, r.phone(name).flow)
	r.settle()
}

// settle waits until everything under way has happened.
func (r *rig) settle() {
	if _, ok := r.t.(*testing.T); ok {
		synctest.Wait()
	}
}

func (r *rig) wait(d time.Duration) {
	time.Sleep(d)
	r.settle()
}

// next is the oldest message a phone has not read; nil when there is none.
func (r *rig) next(name string) *sip.Message {
	r.t.Helper()
	r.settle()
	p := r.phone(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.inbox) == 0 {
		return nil
	}
	b := p.inbox[0]
	p.inbox = p.inbox[1:]
	m, err := sip.Parse(slices.Clone(b))
	if err != nil {
		r.t.Fatalf("%s got %v in\n%s", name, err, b)
	}
	return m
}

// get is next, which must be this method or status.
func (r *rig) get(name string, what any) *sip.Message {
	r.t.Helper()
	m := r.next(name)
	if m == nil {
		r.t.Fatalf("%s got nothing, want %v", name, what)
	}
	if got := brief(m); got != fmt.Sprint(what) {
		r.t.Fatalf("%s got %s, want %v\n%s", name, got, what, m.Bytes())
	}
	return m
}

// quiet checks that nothing is left in the phones' queues.
func (r *rig) quiet(names ...string) {
	r.t.Helper()
	for _, n := range names {
		if m := r.next(n); m != nil {
			r.t.Fatalf("%s got %s, want nothing\n%s", n, brief(m), m.Bytes())
		}
	}
}

func brief(m *sip.Message) string {
	if m.IsRequest() {
		return m.Method()
	}
	return fmt.Sprint(m.Status())
}

// answer lets a phone answer a request it got.
func (r *rig) answer(name string, req *sip.Message, status int, opts ...func(*sip.Draft)) {
	r.t.Helper()
	d := sip.NewResponse(req, status, "")
	if status > 100 {
		d.SetToTag("tag-" + name)
	}
	if status > 100 && status < 300 {
		for v := range req.Each(sip.HRecordRoute) {
			d.Add(sip.HRecordRoute, v)
		}
		d.Add(sip.HContact, "<"+req.RequestURI()+">")
	}
	for _, f := range opts {
		f(d)
	}
	r.from(name, string(d.Bytes()))
}

// request is a request of a phone to an address.
func request(method, from, to, branch string, headers ...string) string {
	user := strings.TrimRight(from, "0123456789")
	h := ""
	for _, s := range headers {
		h += s + "\n"
	}
	mf := "Max-Forwards: 70\n"
	if strings.Contains(h, "Max-Forwards:") {
		mf = ""
	}
	tag := ""
	if i := strings.Index(to, "|"); i >= 0 {
		to, tag = to[:i], ";tag="+to[i+1:]
	}
	cseq := "1 " + method
	if strings.Contains(h, "CSeq:") {
		cseq = ""
	} else {
		cseq = "CSeq: " + cseq + "\n"
	}
	return method + " " + to + " SIP/2.0\n" +
		"Via: SIP/2.0/TCP 198.51.100.99;branch=z9hG4bK" + branch + "\n" + mf +
		"From: <sip:" + user + "@example.com>;tag=tag-" + from + "\n" +
		"To: <sip:bob@example.com>" + tag + "\n" +
		"Call-ID: call-" + from + "\n" + cseq +
		"Contact: <sip:" + from + "@198.51.100.99;transport=tcp>\n" + h + "\n"
}

// values lists the values of a header.
func values(m *sip.Message, id sip.HeaderID) []string { return slices.Collect(m.Values(id)) }
