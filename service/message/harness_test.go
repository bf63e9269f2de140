package message

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

const alice, bob = "alice@example.com", "bob@example.com"

// patience is how long a test waits for what must come, on the clock of its bubble.
const patience = 10 * time.Second

// bubble runs a test beside others with a clock of its own, which stands still while anything moves, the disk included: no
// machine is too slow for the two seconds that a sender waits.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

type accounts interface{ store.Users }
type talks interface{ store.Talks }

type parts struct {
	store.Log
	store.Index
	accounts
	store.Cursors
	store.Settings
	talks
}

// rig is a service on a real store and a real transaction layer, whose flows are functions.
type rig struct {
	t       testing.TB
	dir     string
	store   parts
	layer   *transaction.Layer
	service *Service
	stop    func()

	rate     int                               // Options.Rate
	quiet    func(owner, from string) bool     // Options.Quiet
	fault    func(store.Cursors) store.Cursors // put between the service and its cursors
	faultLog func(store.Log) store.Log         // put between the service and the log
	options  func(*Options)                    // what else is different
	dialogs  map[string]string                 // Call-ID, From tag and To tag → peer
	forwards chan forward

	mu    sync.Mutex
	table []route.Target
	users map[string]*store.User
}

func start(t testing.TB) *rig {
	r := prepare(t)
	r.run()
	return r
}

// prepare makes a rig that does not run yet.
func prepare(t testing.TB) *rig {
	return &rig{
		t: t, dir: t.TempDir(), users: map[string]*store.User{alice: {AOR: alice}, bob: {AOR: bob}},
		dialogs: map[string]string{}, forwards: make(chan forward, 10),
	}
}

// run opens the store in the rig's folder and serves; again after stop, as after a restart.
func (r *rig) run() {
	r.t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := sqlstore.Open(context.Background(), sqlstore.Options{Dir: r.dir, Log: log, Text: Text})
	if err != nil {
		r.t.Fatal(err)
	}
	r.store = parts{st.Log(), st.Index(), st.Users(), st.Cursors(), st.Settings(), st.Talks()}
	r.layer = transaction.New(transaction.Options{Transport: noTransport{}, Log: log})
	r.layer.SetHandler(core{r})
	if r.fault != nil {
		r.store.Cursors = r.fault(r.store.Cursors)
	}
	if r.faultLog != nil {
		r.store.Log = r.faultLog(r.store.Log)
	}
	o := Options{
		Store: r.store, Devices: r, Accounts: r, Dialogs: r, Forward: r, Rate: r.rate, Quiet: r.quiet, Transactions: r.layer, Log: log, Registerer: prometheus.NewRegistry(),
	}
	if r.options != nil {
		r.options(&o)
	}
	r.service = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	storeCtx, stopStore := context.WithCancel(context.Background())
	wg.Go(func() { _ = st.Serve(storeCtx) })
	if err := r.service.Load(ctx); err != nil {
		r.t.Fatal(err)
	}
	var upper sync.WaitGroup
	upper.Go(func() { _ = r.layer.Serve(ctx) })
	upper.Go(func() { _ = r.service.Serve(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		upper.Wait()
		stopStore()
		wg.Wait()
		_ = st.Close()
	})
	r.t.Cleanup(r.stop)
}

// The rig is the service's Devices, Accounts and Dialogs.

func (r *rig) Devices(aor string) []route.Target {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []route.Target
	for _, t := range r.table {
		if t.AOR == aor {
			list = append(list, t)
		}
	}
	return list
}

func (r *rig) Reachable(aor string) bool { return len(r.Devices(aor)) > 0 }

func (r *rig) Resolve(uri sip.URI) (aor, device string, ok bool) {
	device, _ = uri.Params.Get("gr")
	return uri.AOR(), device, strings.HasSuffix(uri.AOR(), "@example.com")
}

func (r *rig) Lookup(aor string, done func(*store.User, error)) {
	r.mu.Lock()
	u := r.users[aor]
	r.mu.Unlock()
	if u != nil {
		done(u, nil)
		return
	}
	done(nil, store.ErrNotFound)
}

func (r *rig) Peer(callID, fromTag, toTag string) (string, bool) {
	peer, ok := r.dialogs[callID+" "+fromTag+" "+toTag]
	return peer, ok
}

// forward is a request that the service passed on inside a dialog.
type forward struct {
	r *route.Request
	o route.Options
}

// ForwardInDialog makes the rig the service's Forwarder.
func (r *rig) ForwardInDialog(req *route.Request, o route.Options) { r.forwards <- forward{req, o} }

// device is the far end of a flow.
type device struct {
	r      *rig
	aor    string
	name   string
	flow   transport.Flow
	got    chan *sip.Message
	answer func(m *sip.Message) int // 0: silence
}

// signIn adds a device and tells the service. answer nil takes everything.
func (r *rig) signIn(aor, name string, answer func(*sip.Message) int) *device {
	d := &device{r: r, aor: aor, name: name, got: make(chan *sip.Message, 1000), answer: answer}
	d.flow = transport.Pipe(transport.PipeOptions{
		Kind: transport.TCP, Local: netip.MustParseAddrPort("127.0.0.1:5060"), Remote: netip.MustParseAddrPort("127.0.0.1:40000"), Send: d.receive,
	})
	instance := name
	if name == Plain {
		instance = ""
	}
	t := route.Target{
		URI: "sip:device@127.0.0.1:40000", Hop: transaction.Hop{Flow: d.flow}, Q: 1000, AOR: aor, Device: name, Instance: instance,
	}
	r.mu.Lock()
	if instance != "" {
		r.table = slices.Insert(r.table, 0, t) // of one instance the most recently refreshed comes first
	} else {
		r.table = append(r.table, t)
	}
	r.mu.Unlock()
	r.service.Arrived(aor, name)
	return d
}

func (d *device) signOut() {
	d.r.mu.Lock()
	d.r.table = slices.DeleteFunc(d.r.table, func(t route.Target) bool { return t.Hop.Flow == d.flow })
	d.r.mu.Unlock()
}

// receive is called by the layer for each message it sends to the device.
func (d *device) receive(b []byte) error {
	m, err := sip.Parse(slices.Clone(b))
	if err != nil {
		d.r.t.Errorf("the server sent what does not parse: %v\n%s", err, b)
		return nil
	}
	if err := sip.Check(m); err != nil {
		d.r.t.Errorf("the server sent what does not pass its own check: %v\n%s", err, b)
	}
	status := 200
	if d.answer != nil {
		status = d.answer(m)
	}
	if status != 0 {
		resp, err := sip.NewResponse(m, status, "").SetToTag("dev").Message()
		if err != nil {
			d.r.t.Error(err)
			return nil
		}
		go d.r.layer.Message(resp, d.flow) // as a transport would, on another goroutine
	}
	d.got <- m
	return nil
}

// next is the next message at the device.
func (d *device) next() *sip.Message {
	d.r.t.Helper()
	select {
	case m := <-d.got:
		return m
	case <-time.After(patience):
		d.r.t.Fatalf("%s got no message", d.name)
		return nil
	}
}

// text is the next message's body.
func (d *device) text() string {
	d.r.t.Helper()
	return string(d.next().Body())
}

// say is a message from alice to bob with an id of its own.
func say(text string) Outgoing {
	return Outgoing{From: alice, To: bob, ContentType: "text/plain", Body: []byte(text), Expires: -1, CallID: "c-" + text, FromTag: "t", CSeq: "1"}
}

// send waits for the answer.
func (r *rig) send(o Outgoing) Result {
	r.t.Helper()
	done := make(chan Result, 2)
	r.service.Send(o, func(res Result) { done <- res })
	select {
	case res := <-done:
		return res
	case <-time.After(patience):
		r.t.Fatal("no answer")
		return Result{}
	}
}

// records are those of some kinds, all that there are.
func (r *rig) records(kinds ...string) []store.Record {
	r.t.Helper()
	var list []store.Record
	for after := int64(0); ; {
		page, err := r.store.Read(context.Background(), after, 1000)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(page) == 0 {
			return list
		}
		for _, rec := range page {
			after = rec.Seq
			if slices.Contains(kinds, rec.Kind) {
				list = append(list, rec)
			}
		}
	}
}

// eventually waits for something that happens in the background.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

type noTransport struct{}

func (noTransport) Flow(transport.Target) (transport.Flow, error) {
	return transport.Flow{}, transport.ErrClosed
}
func (noTransport) UDPFlow(netip.AddrPort, netip.AddrPort) (transport.Flow, bool) {
	return transport.Flow{}, false
}
func (noTransport) Via(f transport.Flow) (string, string) { return f.Kind().ViaName(), "127.0.0.1" }
func (noTransport) Proven(transport.Flow) bool            { return true }
func (noTransport) Prove(transport.Flow)                  {}

// core hands requests to the service, signed in as who is in From.
type core struct{ r *rig }

func (c core) Request(tx *transaction.Server) {
	req := route.NewRequest(tx.Request(), tx, tx.Flow(), nil)
	from, _ := req.Msg.From()
	req.Identity.AOR = from.URI.AOR()
	c.r.service.ServeSIP(req)
}
func (core) Ack(*sip.Message, transport.Flow)   {}
func (core) Stray(*sip.Message, transport.Flow) {}
func (core) Closed(transport.Flow, error)       {}
