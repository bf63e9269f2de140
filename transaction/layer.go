package transaction

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
	"github.com/prometheus/client_golang/prometheus"
)

// Transport is what the layer needs below it; *transport.Layer is it. Its methods must not block nor call the layer back.
type Transport interface {
	// Flow finds or opens a way to an address. What fails later is told to Layer.Closed.
	Flow(transport.Target) (transport.Flow, error)
	// UDPFlow is the way from one of our UDP sockets to an address.
	UDPFlow(local, remote netip.AddrPort) (transport.Flow, bool)
	// Via is the transport and the sent-by of our Via in a request over a flow.
	Via(transport.Flow) (name, sentBy string)
	// Proven says whether the peer of a UDP flow is known to receive what is sent there; Prove makes it known.
	Proven(transport.Flow) bool
	Prove(transport.Flow)
}

// Handler is the core above the layer. Its methods run on the transport's goroutines and must not block.
type Handler interface {
	// Request takes a new request other than ACK and CANCEL. It has to be answered, at once or later; one that is not is
	// dropped after 64*T1 (an INVITE never: see route's timer C). Retransmissions do not come here.
	Request(s *Server)
	// Ack takes the ACK for a 2xx: one that belongs to no INVITE transaction that was refused.
	Ack(m *sip.Message, f transport.Flow)
	// Stray takes a response to a request of ours whose transaction has ended. It must not be forwarded (RFC 6026 §7.3,
	// RFC 4320 §4.2). Responses that do not bear a branch of ours are dropped before.
	Stray(m *sip.Message, f transport.Flow)
	// Closed tells that a connection is gone, after the transactions that waited on it have been told.
	Closed(f transport.Flow, err error)
}

// Limits bound what is held at one time. Zero means the default.
type Limits struct {
	// Server is the number of server transactions; 262,144. Beyond it the oldest of those that are answered and only wait
	// for retransmissions makes room; if there is none, a new request is answered 503 with Retry-After. Over UDP an
	// answered request is held for 32 s, at about 150 bytes and its response; over a connection it is not held.
	Server int
	// Client is the number of client transactions; 131,072. Beyond it Send fails with ErrTooMany. One that was answered, and
	// over UDP only absorbs what comes again, does not count.
	Client int
}

// retryAfter is what a 503 for overload says, in seconds. The true value differs for each so that they do not come back
// all at once.
const (
	retryAfter       = 5
	retryAfterSpread = 10
)

// Options are what New needs.
type Options struct {
	Transport  Transport
	Limits     Limits
	Timers     Timers // for tests; the zero value is RFC 3261 Table 4
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: metrics are kept but not registered
}

// Layer is the transaction layer. It is a transport.Handler.
type Layer struct {
	transport Transport
	handler   Handler
	limits    Limits
	clock     clock
	log       *slog.Logger
	metrics   *metrics

	wheel   *wheel
	sealer  *sealer
	keyer   keyer
	servers *serverTable
	clients clientTable
	flows   *flowTable
	small   *datagramOnly // addresses without TCP
	closed  atomic.Bool
}

// New makes a layer. SetHandler comes next, then the transport's and the layer's Serve.
func New(o Options) *Layer {
	l := &Layer{
		transport: o.Transport,
		limits:    o.Limits,
		clock:     o.Timers.clock(),
		log:       o.Log,
		wheel:     newWheel(),
		keyer:     newKeyer(),
		sealer:    newSealer(),
		servers:   newServerTable(),
		flows:     newFlowTable(),
		small:     newDatagramOnly(),
	}
	if l.limits.Server <= 0 {
		l.limits.Server = 262_144
	}
	if l.limits.Client <= 0 {
		l.limits.Client = 131_072
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.clients.most = l.limits.Client/clientShards + 1
	l.metrics = newMetrics(o.Registerer, l)
	return l
}

// SetHandler sets the core. It is called once, before anything is received.
func (l *Layer) SetHandler(h Handler) { l.handler = h }

// Serve runs the timers until ctx ends. Then it ends all transactions: clients without a final response fail with
// ErrClosed. It returns nil.
func (l *Layer) Serve(ctx context.Context) error {
	l.wheel.run(ctx, func(a alarm, now int64) {
		l.guard("timer", func() { a.alarm(now) })
	})
	l.closed.Store(true)
	for _, c := range l.clients.all() {
		c.input(event{kind: evClosed, err: ErrClosed})
		if cancel := c.cancelClient(); cancel != nil {
			cancel.input(event{kind: evClosed, err: ErrClosed})
		}
	}
	for _, t := range l.servers.all() {
		t.input(event{kind: evClosed})
	}
	l.servers.dropAnswers()
	l.wheel.close()
	return nil
}

// InFlight is the number of server and client transactions that exist.
func (l *Layer) InFlight() (server, client int) {
	return int(l.servers.count.Load()), int(l.clients.count.Load())
}

// Message takes a message from the transport: transport.Handler.
func (l *Layer) Message(m *sip.Message, f transport.Flow) {
	if !m.IsRequest() {
		l.response(m, f)
		return
	}
	in, err := examine(m)
	if err != nil {
		l.refuse(&in, f, 400, "Malformed Via Header")
		return
	}
	switch m.Method() {
	case sip.ACK:
		l.ack(&in, f)
	case sip.CANCEL:
		l.cancel(&in, f)
	default:
		l.request(&in, f)
	}
}

// Malformed answers what can be answered: transport.Handler. RFC 3261 §18.3, §21.4.1.
func (l *Layer) Malformed(m *sip.Message, err *sip.Error, f transport.Flow) {
	if m == nil {
		l.metrics.dropped.malformed.Inc()
		return
	}
	in, _ := examine(m)
	l.refuse(&in, f, err.Status, err.Reason)
}

// refuse answers a request that cannot be understood, if it has a Via at all; one that cannot be read is returned as it is
// (RFC 4475 §3.1.2.1).
func (l *Layer) refuse(in *incoming, f transport.Flow, status int, reason string) {
	if !in.m.IsRequest() || in.m.Method() == sip.ACK || !in.m.Has(sip.HVia) {
		l.metrics.dropped.malformed.Inc()
		return
	}
	l.metrics.stateless.malformed.Inc()
	l.reply(in, f, sip.NewResponse(in.m, status, reason))
}

// Closed tells the client transactions that wait on a connection: transport.Handler. Server transactions stay, their
// response may go over a new connection (RFC 3261 §18.2.2).
func (l *Layer) Closed(f transport.Flow, err error) {
	if err == nil {
		err = transport.ErrClosed
	}
	for _, c := range l.flows.waiting(f.ID()) {
		c.closedFlow(f, err)
	}
	l.guard("closed", func() { l.handler.Closed(f, err) })
}

// request is a request other than ACK and CANCEL: RFC 3261 §17.2.3.
func (l *Layer) request(in *incoming, f transport.Flow) {
	k := l.keyer.key(in, in.m.Method())
	if t := l.servers.get(k); t != nil {
		l.retransmitted(t)
		return
	}
	if r, ok := l.servers.kept(k, l.wheel); ok {
		l.repeat(&r, f)
		return
	}
	if l.closed.Load() {
		return
	}
	if l.servers.count.Add(1) > int64(l.limits.Server) && !l.makeRoom(k) {
		l.servers.count.Add(-1)
		l.overload(in, f)
		return
	}
	t := &serverTx{
		key:      k,
		invite:   in.m.Method() == sip.INVITE,
		legacy:   in.legacy,
		reliable: f.Kind().Reliable(),
		from:     f,
		back:     wayBackOf(in.via, f),
	}
	t.l = l
	t.gate.size = int32(len(in.m.Bytes()))
	t.gate.credit.Store(1)
	t.server = &Server{tx: t, req: stamp(in.m, in.via, f), flow: f, received: time.Now()}
	if in.legacy {
		t.server.original = in.via
	}
	// RFC 3261 §17.2.1, §17.2.2: the initial state, and the request to the TU.
	t.mu.Lock()
	if old, answered, ok := l.servers.put(k, t, l.wheel); !ok {
		t.mu.Unlock()
		l.servers.count.Add(-1)
		if old != nil {
			l.retransmitted(old)
		} else {
			l.repeat(&answered, f)
		}
		return
	}
	if t.invite {
		l.metrics.created.inviteServer.Inc()
		t.state = proceeding
		t.wait(t, l.clock.trying, 0)
	} else {
		l.metrics.created.server.Inc()
		t.state = trying
		t.wait(t, l.clock.slow, l.clock.long)
	}
	t.note(action{op: opRequest, server: t.server})
	t.release(t)
}

// makeRoom ends the transaction that was answered longest ago and is there for retransmissions only (timers G to J), to
// take a new request instead of refusing it. If its client should repeat that request after all, which it does only when
// the response was lost, it is taken as a new one. A flood of requests that are answered at once therefore shuts nobody out.
func (l *Layer) makeRoom(k key) bool {
	t, found := l.servers.oldest(k)
	if !found {
		return false
	}
	l.metrics.evicted.Inc()
	if t != nil {
		t.input(event{kind: evEvict})
	}
	return true
}

func (l *Layer) retransmitted(t *serverTx) {
	l.metrics.retransmitted.request.Inc()
	t.gate.credit.Add(1)
	t.input(event{kind: evRequest})
}

// deliver hands a new request to the core. A core that panics has not answered: it does so with 500.
func (l *Layer) deliver(s *Server) {
	if !l.guard("request", func() { l.handler.Request(s) }) {
		s.Reply(500, "")
	}
}

// ack is RFC 3261 §17.2.3 for ACK, with RFC 6026 §6.
func (l *Layer) ack(in *incoming, f transport.Flow) {
	method := sip.INVITE
	if in.legacy {
		method = sip.ACK // the key was made when the response was sent
	}
	k := l.keyer.key(in, method)
	if t := l.servers.get(k); t != nil {
		if f.Remote() == t.from.Remote() && in.m.ToTag() == l.sealer.toTag(t.key) {
			l.prove(f) // it has seen our response
		}
		t.input(event{kind: evAck, msg: stamp(in.m, in.via, f), flow: &f})
		return
	}
	if !in.legacy && in.m.ToTag() == l.sealer.toTag(k) {
		l.metrics.dropped.ack.Inc() // for a response that was made without a transaction
		return
	}
	m := stamp(in.m, in.via, f)
	l.guard("ack", func() { l.handler.Ack(m, f) })
}

// cancel is RFC 3261 §9.2. A CANCEL needs no transaction of its own: its answer is the same each time it comes.
func (l *Layer) cancel(in *incoming, f transport.Flow) {
	k, t, ok := l.cancelled(in, f)
	if !ok {
		l.metrics.stateless.cancel481.Inc()
		l.reply(in, f, sip.NewResponse(in.m, 481, ""))
		return
	}
	l.metrics.stateless.cancel200.Inc()
	// The To tag of both responses should be the same.
	l.reply(in, f, sip.NewResponse(in.m, 200, "").SetToTag(l.sealer.toTag(k)))
	if t != nil {
		t.input(event{kind: evCancel, msg: stamp(in.m, in.via, f)})
	}
}

// cancellable are the methods whose transactions a CANCEL is looked for in. CANCEL says nothing of the method; it makes
// sense for INVITE, and has no effect but a 200 for the others.
var cancellable = [...]string{
	sip.INVITE, sip.MESSAGE, sip.REGISTER, sip.SUBSCRIBE, sip.NOTIFY, sip.PUBLISH, sip.OPTIONS, sip.BYE, sip.INFO,
	sip.UPDATE, sip.PRACK, sip.REFER,
}

// cancelled is the transaction that a CANCEL is after, nil when only its answer is left. RFC 3261 §22.1: a CANCEL cannot be challenged and should come from
// the same hop as the request; we ask for the same address.
func (l *Layer) cancelled(in *incoming, f transport.Flow) (k key, t *serverTx, found bool) {
	for _, method := range cancellable {
		k = l.keyer.key(in, method)
		if t = l.servers.get(k); t != nil {
			return k, t, t.from.Remote().Addr() == f.Remote().Addr()
		}
		if r, ok := l.servers.kept(k, l.wheel); ok {
			return k, nil, r.from().Addr() == f.Remote().Addr()
		}
	}
	return k, nil, false
}

// overload is the answer to a request that is one too many. It costs no transaction; the key's tag makes the ACK to it
// recognisable.
func (l *Layer) overload(in *incoming, f transport.Flow) {
	l.metrics.stateless.overload.Inc()
	wait := retryAfter + int(l.keyer.key(in, in.m.Method()).hi%retryAfterSpread)
	l.reply(in, f, sip.NewResponse(in.m, 503, "").Add(sip.HRetryAfter, strconv.Itoa(wait)))
}

// reply answers a request without a transaction (RFC 3261 §8.2.7).
func (l *Layer) reply(in *incoming, f transport.Flow, d *sip.Draft) {
	d.SetToTag(l.sealer.toTag(l.keyer.key(in, in.m.Method())))
	t := serverTx{from: f, reliable: f.Kind().Reliable()}
	if in.via.Host != "" {
		if value, ok := stamped(in.via, f.Remote()); ok {
			d.ReplaceFirst(sip.HVia, value)
		}
		t.back = wayBackOf(in.via, f)
	}
	t.gate.size = int32(len(in.m.Bytes()))
	t.gate.credit.Store(1)
	if err := l.sendResponse(&t, d.Bytes()); err != nil {
		l.metrics.transportErrors.server.Inc()
	}
}

// sendResponse is RFC 3261 §18.2.2 and RFC 3581 §4. t's address, way back and gate do not change, so no lock is needed.
func (l *Layer) sendResponse(t *serverTx, data []byte) error {
	f := t.from
	if !t.reliable {
		if !l.admit(f, &t.gate, data) {
			return nil
		}
		if t.back.port != 0 {
			if there, ok := l.transport.UDPFlow(f.Local(), netip.AddrPortFrom(f.Remote().Addr(), t.back.port)); ok {
				f = there
			}
		}
		return l.send(f, data)
	}
	err := l.send(f, data)
	if err == nil || f.Alive() || f.Kind() == transport.WS || f.Kind() == transport.WSS {
		return err // nobody can be dialled over WebSocket (RFC 7118 §5)
	}
	// The connection is gone: a new one to where the request came from, and the port that sent-by says.
	again, err2 := l.transport.Flow(transport.Target{
		Kind: f.Kind(), Addr: netip.AddrPortFrom(f.Remote().Addr(), t.back.port), ServerName: t.back.host,
	})
	if err2 != nil {
		return fmt.Errorf("transaction: connecting back: %w", err2)
	}
	l.metrics.connectedBack.Inc()
	return l.send(again, data)
}

// send sends over a flow. A datagram for which there is no room is a lost datagram and no error: what needs it repeats it.
func (l *Layer) send(f transport.Flow, data []byte) error {
	err := f.Send(data)
	if err != nil && f.Kind() == transport.UDP && errors.Is(err, transport.ErrQueueFull) {
		l.metrics.dropped.queue.Inc()
		return nil
	}
	return err
}

// guard runs f, which is not ours. A panic in it is counted and logged and goes no further; then guard says false.
func (l *Layer) guard(what string, f func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			l.metrics.panics.Inc()
			l.log.Error("transaction: panic in a handler", "in", what, "err", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	f()
	return true
}
