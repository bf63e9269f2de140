package presence

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/rlmi"
	"github.com/parley-im/parley/wire/sip"
)

const alice, bob, carol = "alice@example.com", "bob@example.com", "carol@example.com"

var (
	domains    = []string{"example.com"}
	serverAddr = netip.MustParseAddrPort("192.0.2.1:5060")
)

// rig is the presence agent with its notifiers behind the real transaction layer, over pipes and a real store. Who sends on a
// phone's flow is signed in as the user the phone belongs to. It says who there is, what others are to them, and on what they
// are signed in.
type rig struct {
	*Service
	t         *testing.T
	layer     *transaction.Layer
	store     *sqlstore.Store
	opts      Options
	notify    dialog.Options
	notifiers [2]*dialog.Notifier // presence, presence.winfo
	mux       *route.Mux
	stop      func()

	mu      sync.Mutex // guards what follows
	missing map[string]bool
	failing error // of accounts and contacts
	cold    bool  // no list is in memory
	slow    time.Duration
	rules   map[string]*policy.Rules
	lists   map[string][]Contact
	devices map[string][]compose.Device
	changed []string
	flows   map[netip.AddrPort]transport.Flow
	phones  int
}

// run runs f in a bubble, where time is fake.
func run(t *testing.T, f func(t *testing.T, r *rig), change ...func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st, err := sqlstore.Open(t.Context(), sqlstore.Options{Dir: t.TempDir(), Text: func(*store.Record) string { return "" }})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		var users []store.User
		for _, u := range []string{alice, bob, carol} {
			users = append(users, store.User{AOR: u})
		}
		if err := st.Users().AddUsers(t.Context(), users); err != nil {
			t.Fatal(err)
		}
		r := &rig{t: t, store: st, missing: map[string]bool{"nobody@example.com": true}, rules: map[string]*policy.Rules{}, lists: map[string][]Contact{},
			devices: map[string][]compose.Device{}, flows: map[netip.AddrPort]transport.Flow{}}
		r.opts = Options{Domains: domains, Store: keeping{st.Presence(), st.Log()}, Accounts: r, Contacts: r, Devices: r.devicesOf,
			Changed: func(aor string, st compose.State) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.changed = append(r.changed, aor+" "+string(st.Availability))
			}}
		for _, c := range change {
			c(r)
		}
		r.layer = transaction.New(transaction.Options{Transport: r})
		core := route.NewCore(route.CoreOptions{
			Chain: []route.Step{route.Sanity(), route.Authenticate(r), {Name: "mux", Handler: route.HandlerFunc(func(q *route.Request) { r.mux.ServeSIP(q) })}},
		})
		r.layer.SetHandler(core)
		ctx, cancel := context.WithCancel(context.Background())
		var ended sync.WaitGroup
		ended.Go(func() { _ = r.layer.Serve(ctx) })
		ended.Go(func() { _ = st.Serve(ctx) })
		defer func() {
			r.stop()
			cancel()
			ended.Wait()
		}()
		r.start()
		f(t, r)
	})
}

// keeping is the part of the store that the service asks for.
type keeping struct {
	store.Presence
	log store.Log
}

func (k keeping) Append(r *store.Record, done func(error)) { k.log.Append(r, done) }

// rows keeps subscriptions.
type rows struct{ p store.Presence }

func (k rows) Save(ctx context.Context, save []dialog.Row, remove []string) error {
	list := make([]store.Subscription, len(save))
	for i, r := range save {
		list[i] = store.Subscription(r)
	}
	return k.p.SaveSubscriptions(ctx, list, remove)
}

func (k rows) Load(ctx context.Context, event string, f func(*dialog.Row) error) error {
	return k.p.Subscriptions(ctx, event, func(r *store.Subscription) error { return f((*dialog.Row)(r)) })
}

// start makes the service, as at the start of the server.
func (r *rig) start() {
	r.t.Helper()
	r.Service = New(r.opts)
	if err := r.Load(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.mux = route.NewMux()
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	for i, event := range []string{Package, InfoPackage} {
		o := r.notify
		o.Event, o.Transactions, o.Keep, o.UDPFlow = event, r.layer, rows{r.store.Presence()}, r.UDPFlow
		o.Contact = func(transport.Flow) string { return "sip:192.0.2.1:5060" }
		if o.Source, o.Types = r.Source(), Types(); i == 1 {
			o.Source, o.Types = r.Info(), InfoTypes()
		}
		n := dialog.NewNotifier(o)
		if err := n.Load(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
		r.notifiers[i] = n
		ended.Go(func() { _ = n.Serve(ctx) })
		r.mux.HandleEvent(event, route.Endpoint(route.HandlerFunc(func(q *route.Request) {
			n.HandleSubscribe(q.Tx, q.Msg, dialog.Watcher{AOR: q.Identity.AOR, Device: q.Identity.Device, Admin: q.Identity.Admin})
		}), Extensions()...))
	}
	r.mux.HandlePublish(Package, route.Endpoint(route.HandlerFunc(r.Publish)))
	s := r.Service
	ended.Go(func() { _ = s.Serve(ctx) })
	r.stop = sync.OnceFunc(func() { cancel(); ended.Wait() })
	synctest.Wait()
}

// restart stops the service and starts it again on the same store.
func (r *rig) restart() {
	r.stop()
	r.start()
	settle()
}

// settle lets what was caused happen.
func settle() {
	time.Sleep(50 * time.Millisecond)
	synctest.Wait()
}

// wait lets time pass.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Lookup is Accounts.
func (r *rig) Lookup(aor string, done func(*store.User, error)) {
	r.mu.Lock()
	err := r.failing
	if err == nil && r.missing[aor] {
		err = errs.New(errs.NotFound, "rig: no such account")
	}
	r.mu.Unlock()
	done(&store.User{AOR: aor}, err)
}

func (r *rig) Level(_ context.Context, owner, watcher string) (policy.Level, policy.Reason, error) {
	r.mu.Lock()
	slow := r.slow
	r.mu.Unlock()
	time.Sleep(slow)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing != nil {
		return policy.Blocked, policy.Reason{}, r.failing
	}
	level, why := policy.Decide(domains, r.rules[owner], owner, watcher, nil)
	return level, why, nil
}

func (r *rig) Known(owner, watcher string) (policy.Level, bool) {
	r.mu.Lock()
	cold := r.cold
	r.mu.Unlock()
	if cold {
		return 0, false
	}
	level, _, err := r.Level(context.Background(), owner, watcher)
	return level, err == nil
}

func (r *rig) Contacts(_ context.Context, owner string) ([]Contact, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lists[owner], r.failing
}

func (r *rig) devicesOf(aor string) []compose.Device {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.devices[aor]
}

// signIn makes somebody be there on devices; none signs out.
func (r *rig) signIn(aor string, ids ...string) {
	var list []compose.Device
	for _, id := range ids {
		list = append(list, compose.Device{ID: id, Contact: "sip:" + aor + ";gr=" + id, Class: pidf.Desktop, Since: time.Now()})
	}
	r.mu.Lock()
	r.devices[aor] = list
	r.mu.Unlock()
	r.DevicesChanged(aor)
	settle()
}

// level decides what somebody is to an owner.
func (r *rig) level(owner, watcher string, level policy.Level) {
	r.mu.Lock()
	r.rules[owner] = &policy.Rules{Persons: map[string]policy.Level{watcher: level}}
	r.mu.Unlock()
	r.LevelsChanged(owner, []string{watcher})
	settle()
}

// contacts makes somebody's list of contacts.
func (r *rig) contacts(owner string, addresses ...string) {
	var list []Contact
	for _, a := range addresses {
		name, _, _ := strings.Cut(a, "@")
		list = append(list, Contact{a, strings.ToUpper(name)})
	}
	r.mu.Lock()
	r.lists[owner] = list
	r.mu.Unlock()
	r.ContactsChanged(owner)
	settle()
}

func (r *rig) fail(err error) {
	r.mu.Lock()
	r.failing = err
	r.mu.Unlock()
}

// told are the changes of availability since the last call.
func (r *rig) told() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.changed
	r.changed = nil
	return strings.Join(list, ", ")
}

// Authenticate is route.Authenticator.
func (r *rig) Authenticate(q *route.Request, _ bool) {
	user := q.Flow.Listener()
	q.Authenticated(route.Verdict{Identity: route.Identity{AOR: strings.TrimPrefix(user, "admin "), Device: "plain", Admin: strings.HasPrefix(user, "admin ")}})
}

func (r *rig) Flow(transport.Target) (transport.Flow, error) {
	return transport.Flow{}, transport.ErrUnreachable
}

func (r *rig) UDPFlow(_, remote netip.AddrPort) (transport.Flow, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.flows[remote]
	return f, ok
}
func (r *rig) Via(f transport.Flow) (string, string) { return f.Kind().ViaName(), serverAddr.String() }
func (r *rig) Proven(transport.Flow) bool            { return true }
func (r *rig) Prove(transport.Flow)                  {}

// phone is a device of a user, on a flow of its own.
type phone struct {
	r    *rig
	user string
	addr netip.AddrPort
	flow transport.Flow
	cseq int

	mu     sync.Mutex
	inbox  [][]byte
	silent bool // it does not answer
	refuse int  // status of its answers to NOTIFY, 0 for 200

	notes []*sip.Message // NOTIFYs that no watching has taken
}

func (r *rig) phone(user string, kind ...transport.Kind) *phone {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phones++
	p := &phone{r: r, user: user, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(r.phones)}), 5060)}
	k := transport.UDP
	if len(kind) > 0 {
		k = kind[0]
	}
	p.flow = transport.Pipe(transport.PipeOptions{Kind: k, Local: serverAddr, Remote: p.addr, Listener: user, Send: func(b []byte) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.inbox = append(p.inbox, b)
		return nil
	}})
	r.flows[p.addr] = p.flow
	return p
}

// send sends a request and returns its final response.
func (p *phone) send(method, uri, body string, headers ...string) *sip.Message {
	t := p.r.t
	t.Helper()
	p.cseq++
	branch := fmt.Sprintf("z9hG4bK%s%d", strings.ReplaceAll(p.addr.Addr().String(), ".", ""), p.cseq)
	to, cid, cseq := "<sip:"+strings.TrimPrefix(uri, "sip:")+">", fmt.Sprintf("call%d@%s", p.cseq, p.addr.Addr()), p.cseq
	extra := ""
	for _, h := range headers {
		if v, ok := strings.CutPrefix(h, "To: "); ok {
			to = v
		} else if v, ok := strings.CutPrefix(h, "Call-ID: "); ok {
			cid = v
		} else {
			extra += h + "\r\n"
		}
	}
	aor := strings.TrimPrefix(p.user, "admin ")
	text := fmt.Sprintf("%s sip:%s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=%s\r\nMax-Forwards: 70\r\nFrom: <sip:%s>;tag=f%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n%sContent-Length: %d\r\n\r\n%s",
		method, strings.TrimPrefix(uri, "sip:"), p.flow.Kind().ViaName(), p.addr, branch, aor, strings.NewReplacer("@", "", ".", "").Replace(cid), to, cid, cseq, method, extra, len(body), body)
	m, err := sip.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	p.r.layer.Message(m, p.flow)
	settle()
	var final *sip.Message
	for _, m := range p.received() {
		if !m.IsRequest() && m.Status() >= 200 && m.CallID() == cid && m.Method() == method {
			final = m
		}
	}
	if final == nil {
		t.Fatalf("%s %s: no answer", method, uri)
	}
	return final
}

// received takes all messages that came, and answers the requests among them.
func (p *phone) received() (list []*sip.Message) {
	p.r.t.Helper()
	for {
		settle()
		p.mu.Lock()
		inbox := p.inbox
		p.inbox = nil
		p.mu.Unlock()
		if len(inbox) == 0 {
			return list
		}
		for _, b := range inbox {
			m, err := sip.Parse(b)
			if err != nil {
				p.r.t.Fatalf("%v\n%s", err, b)
			}
			list = append(list, m)
			if !m.IsRequest() {
				continue
			}
			p.notes = append(p.notes, m)
			if p.silent {
				continue
			}
			status := 200
			if p.refuse != 0 {
				status = p.refuse
			}
			answer, err := sip.NewResponse(m, status, "").Message()
			if err != nil {
				p.r.t.Fatal(err)
			}
			p.r.layer.Message(answer, p.flow)
		}
	}
}

// publish sends PUBLISH and returns the answer.
func (p *phone) publish(body string, headers ...string) *sip.Message {
	p.r.t.Helper()
	headers = append(headers, "Event: presence")
	if body != "" {
		headers = append(headers, "Content-Type: application/pidf+xml")
	}
	return p.send("PUBLISH", p.user, body, headers...)
}

// document is PIDF with an activity of RFC 4480.
func document(activity string) string {
	return `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"` +
		` xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:alice@example.com"><tuple id="t"><status><basic>open</basic></status></tuple>` +
		`<dm:person id="p"><rpid:activities><rpid:` + activity + `/></rpid:activities></dm:person></presence>`
}

// watching is a subscription as its watcher sees it.
type watching struct {
	*phone
	cid, tag string
	uri      string
	event    string
	state    string // of one person: the availability
	doc      []byte
	version  uint32
	list     map[string]string // of a list: availability by URI; "" for nothing known, "-" for nobody
	cseqs    string            // CSeq of the last NOTIFY
}

// subscribe sends SUBSCRIBE and takes the first NOTIFYs; the status of the answer must be 200.
func (p *phone) subscribe(uri, event, body string, headers ...string) *watching {
	p.r.t.Helper()
	w := &watching{phone: p, uri: uri, event: event, list: map[string]string{}}
	m := w.ask(uri, body, headers...)
	if m.Status() != 200 {
		p.r.t.Fatalf("SUBSCRIBE to %s got %s", uri, m.Bytes())
	}
	return w
}

func (w *watching) ask(uri, body string, headers ...string) *sip.Message {
	w.r.t.Helper()
	event := w.event
	if event == "" {
		event = Package
	}
	headers = append(headers, "Event: "+event, "Contact: <sip:"+w.addr.String()+">")
	if !strings.Contains(strings.Join(headers, "\n"), "Expires:") {
		headers = append(headers, "Expires: 86400")
	}
	m := w.send("SUBSCRIBE", uri, body, headers...)
	if w.cid == "" {
		w.cid, w.tag = m.CallID(), m.ToTag()
	}
	return m
}

// again sends SUBSCRIBE in the dialog.
func (w *watching) again(expires int, headers ...string) *sip.Message {
	w.r.t.Helper()
	return w.ask("192.0.2.1:5060", "", append(headers, fmt.Sprintf("To: <sip:%s>;tag=%s", w.uri, w.tag), "Call-ID: "+w.cid, fmt.Sprintf("Expires: %d", expires))...)
}

// news takes the NOTIFYs that have come.
func (w *watching) news() []*sip.Message {
	w.r.t.Helper()
	w.received()
	var list, rest []*sip.Message
	for _, m := range w.notes {
		switch {
		case m.CallID() != w.cid:
			rest = append(rest, m)
		case m.Get(sip.HCSeq) != w.cseqs: // else a retransmission
			w.cseqs = m.Get(sip.HCSeq)
			w.take(m)
			list = append(list, m)
		}
	}
	w.notes = rest
	return list
}

func (w *watching) take(m *sip.Message) {
	t := w.r.t
	t.Helper()
	switch mediaType, _ := m.ContentType(); mediaType {
	case pidf.ContentType:
		w.doc = m.Body()
		w.state = available(t, w.doc)
	case pidf.DiffContentType:
		doc, version, err := pidf.Update(w.doc, w.version, m.Body())
		if err != nil {
			t.Fatalf("%v\n%s", err, m.Body())
		}
		w.doc, w.version = doc, version
		w.state = available(t, doc)
	case rlmi.MultipartType:
		w.takeList(m)
	}
}

// takeList is the watcher's part of RFC 4662 §5.6.
func (w *watching) takeList(m *sip.Message) {
	t := w.r.t
	t.Helper()
	msg, err := rlmi.Parse(m.Get(sip.HContentType), m.Body(), rlmi.DefaultLimits)
	if err != nil {
		t.Fatalf("%v\n%s", err, m.Body())
	}
	if m.Get(sip.HRequire) != eventList {
		t.Errorf("a NOTIFY about a list without Require")
	}
	if msg.List.Full {
		clear(w.list)
	} else if msg.List.Version != w.version+1 {
		t.Errorf("version %d after %d", msg.List.Version, w.version)
	}
	w.version = msg.List.Version
	for _, r := range msg.List.Resources {
		uri := strings.TrimPrefix(r.URI, "sip:")
		if len(r.Instances) == 0 {
			w.list[uri] = ""
			continue
		}
		if r.Instances[0].State == rlmi.Terminated {
			w.list[uri] = "-"
			continue
		}
		part, ok := msg.Part(r.Instances[0].CID)
		if !ok {
			t.Errorf("no part for %s", r.URI)
		}
		w.list[uri] = available(t, part.Body)
	}
}

func available(t testing.TB, doc []byte) string {
	t.Helper()
	p, err := pidf.Parse(doc)
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	return string(p.Persons[0].Extra.Availability)
}

// sees checks what the watcher of one person sees.
func (w *watching) sees(want pidf.Availability, notes int) {
	w.r.t.Helper()
	if got := w.news(); w.state != string(want) || notes >= 0 && len(got) != notes {
		w.r.t.Errorf("%s sees %q after %d NOTIFYs, want %q after %d", w.user, w.state, len(got), want, notes)
	}
}
