package transaction

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Hop is where a request goes.
type Hop struct {
	// Flow is the way to take, when one is known: that of a binding, of a flow token, of an earlier response.
	Flow transport.Flow
	// Target is where to go when Flow is zero.
	Target transport.Target
	// Sticky keeps the request on its flow whatever its size (RFC 5626 §5.3: an outbound flow is the only way there is).
	// Otherwise a request above 1,300 bytes that would go over UDP goes over TCP to the same address.
	Sticky bool
	// Loop is put behind a dot at the end of our branch: the second part that RFC 5393 §4.2 asks for. At most 32
	// characters of a token; anything else is left out.
	Loop string
	// Data is put into Client.Data before anything is sent.
	Data any
}

// maxLoop is the length of Hop.Loop that is taken.
const maxLoop = 32

// ClientHandler takes what comes of a request. Calls for one transaction come one at a time and in order, never from
// inside Send, but perhaps before Send has returned. They must not block.
type ClientHandler interface {
	// Response takes each 1xx, then the final response, and after a 2xx to INVITE also the further 2xx that come within
	// 64*T1, retransmissions or from other branches downstream (RFC 6026 §7.2). m's top Via is ours.
	Response(c *Client, m *sip.Message)
	// Failed comes instead of a final response: ErrTimeout, ErrTransport, ErrTooMany, ErrClosed or ErrMessage.
	Failed(c *Client, err error)
}

// Client is one client transaction: a request that we sent. Its methods may be called from any goroutine.
type Client struct {
	core
	// Data is the handler's own. It is Hop.Data when the first callback comes.
	Data any

	id     slotID
	holds  atomic.Int32 // who needs the place in the table: this transaction and its CANCEL
	method string
	loop   string
	parent *Client // of a CANCEL: the INVITE

	// The list of its connection belongs to flowTable.
	onFlow             uint64
	flowPrev, flowNext *Client

	// Below belongs to core.mu.
	handler    ClientHandler
	target     *transport.Target // that of the hop, if it had one
	sticky     bool
	flow       transport.Flow
	sentBy     string
	request    []byte // rendered
	ack        []byte // for a final response that is no 2xx
	fallback   *fallback
	cancel     *Client // the CANCEL that was sent
	cancelling bool    // a CANCEL was asked for
	headers    []func(*sip.Draft)
	err        error // an error that the next alarm reports
}

// Hop is where the request was to go. Its Flow is the one that was taken; Data is not in it, but in the Client.
func (c *Client) Hop() Hop {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := Hop{Flow: c.flow, Sticky: c.sticky, Loop: c.loop}
	if c.target != nil {
		h.Target = *c.target
	}
	return h
}

// Method is that of the request.
func (c *Client) Method() string { return c.method }

// Send starts a client transaction: it puts our Via with a new branch on top of d, sends it, repeats it over UDP, and
// tells ch what comes. For an INVITE it sends the ACK for a final response other than 2xx. d must not be used afterwards.
// Send never blocks and calls nothing back. When the layer has stopped nothing happens at all.
func (l *Layer) Send(h Hop, d *sip.Draft, ch ClientHandler) *Client {
	return l.start(h, d.Method(), outgoing{draft: d}, ch)
}

// SendBytes is Send for a request that is written already, for who sends many. b is ViaRoom bytes of any content, then the
// request in full, but without a Via: its request line, of so many bytes with its CRLF, header rows, empty line, body. What
// is written is sent as it is. b is the layer's from then on.
func (l *Layer) SendBytes(h Hop, method string, b []byte, line int, ch ClientHandler) *Client {
	return l.start(h, method, outgoing{text: b, line: line}, ch)
}

// start is Send and SendBytes.
func (l *Layer) start(h Hop, method string, r outgoing, ch ClientHandler) *Client {
	c := &Client{Data: h.Data, method: method, handler: ch, sticky: h.Sticky}
	c.l = l
	if h.Target != (transport.Target{}) {
		target := h.Target
		c.target = &target
	}
	if isToken(h.Loop) && len(h.Loop) <= maxLoop {
		c.loop = h.Loop
	}
	c.state = trying
	if c.method == sip.INVITE {
		c.state = calling
		l.metrics.created.inviteClient.Inc()
	} else {
		l.metrics.created.client.Inc()
	}
	c.holds.Store(1)
	count := l.clients.count.Add(1)
	now := l.wheel.after(0)
	c.id = l.clients.put(c, now)
	var err error
	switch {
	case c.method == "" || c.method == sip.ACK || c.method == sip.CANCEL:
		err = ErrMessage
	case l.closed.Load():
		err = ErrClosed
	case count > int64(l.limits.Client):
		l.metrics.refused.Inc()
		err = ErrTooMany
	default:
		err = c.open(&h, &r)
	}
	c.begin(err, now)
	return c
}

// open chooses the flow and renders the request.
func (c *Client) open(h *Hop, r *outgoing) error {
	var room [branchLen + 1 + maxLoop]byte
	branch := c.l.sealer.appendBranch(room[:0], c.id)
	if c.loop != "" {
		branch = append(append(branch, '.'), c.loop...)
	}
	f, err := c.l.flowOf(h)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTransport, err)
	}
	p := c.l.render(f, h.Sticky, branch, r)
	c.flow, c.sentBy, c.request, c.fallback = p.flow, p.sentBy, p.data, p.fallback
	return nil
}

// begin sends the request and starts the timers of the first state, from tick now. An error is reported by the next alarm,
// so that nothing is called back from inside Send.
func (c *Client) begin(err error, now int64) {
	c.mu.Lock()
	request, flow := c.request, c.flow
	if err == nil {
		c.start(now)
		c.watch()
	}
	c.mu.Unlock()
	if err == nil {
		if err = c.l.send(flow, request); err != nil {
			err = fmt.Errorf("%w: %w", ErrTransport, err)
		} else if flow.Kind().Reliable() && !flow.Alive() {
			err = fmt.Errorf("%w: %w", ErrTransport, transport.ErrClosed) // Closed may have come before watch
		}
	}
	if err != nil {
		c.mu.Lock()
		c.fail(err)
		c.mu.Unlock()
	}
}

// start sets the timers of the first state: A and B of an INVITE, E and F of another request, or the look at a connection
// that took the place of UDP. c.mu is held.
func (c *Client) start(now int64) {
	clock := c.l.clock
	switch {
	case c.fallback != nil:
		c.waitFrom(c, now, clock.connect, clock.long)
	case c.flow.Kind().Reliable():
		c.waitFrom(c, now, 0, clock.long)
	default:
		c.interval = clock.t1
		c.waitFrom(c, now, c.interval, clock.long)
	}
}

// watch puts the transaction on the list of its connection. c.mu is held.
func (c *Client) watch() {
	if c.flow.Kind().Reliable() {
		c.l.flows.add(c.flow.ID(), c)
	}
}

// unwatch takes it off. c.mu is held.
func (c *Client) unwatch() {
	if c.flow.Kind().Reliable() {
		c.l.flows.remove(c.flow.ID(), c)
	}
}

// fail has the next alarm report err. c.mu is held.
func (c *Client) fail(err error) {
	switch {
	case c.state == terminated || c.err != nil:
	case c.l.closed.Load():
		c.terminate() // there will be no alarm
	default:
		c.err = err
		c.l.wheel.start(&c.timer, c, 0)
	}
}

// cancelClient is the transaction of the CANCEL that was sent, or nil.
func (c *Client) cancelClient() *Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cancel
}

// closedFlow is the end of a connection.
func (c *Client) closedFlow(f transport.Flow, err error) {
	c.mu.Lock()
	if c.flow == f {
		c.step(event{kind: evTransportError, err: fmt.Errorf("%w: %w", ErrTransport, err)})
	}
	c.release(c)
}

// step runs the function of the current state. c.mu is held.
func (c *Client) step(e event) {
	if e.kind == evClosed && c.state != terminated {
		if c.state == calling || c.state == trying || c.state == proceeding {
			c.failed(e.err)
			return
		}
		c.terminate()
		return
	}
	if c.method == sip.INVITE {
		switch c.state {
		case calling:
			c.calling(e)
		case proceeding:
			c.inviteProceeding(e)
		case completed:
			c.inviteCompleted(e)
		case accepted:
			c.inviteAccepted(e)
		}
		return
	}
	switch c.state {
	case trying:
		c.trying(e)
	case proceeding:
		c.proceeding(e)
	case completed:
		c.completed(e)
	}
}

// input is an event from the network or the layer.
func (c *Client) input(e event) {
	c.mu.Lock()
	c.step(e)
	c.release(c)
}

// alarm is a timer of the current state, or an error that waited to be told.
func (c *Client) alarm(now int64) {
	c.mu.Lock()
	if err := c.err; err != nil && c.state != terminated {
		c.err = nil
		c.step(event{kind: evTransportError, err: err})
	}
	if kind, ok := c.rang(c, now); ok {
		c.step(event{kind: kind})
	}
	c.release(c)
}

// retransmit notes the request again. c.mu is held.
func (c *Client) retransmit() {
	c.l.metrics.retransmitted.sent.Inc()
	c.note(action{op: opSend, data: c.request})
}

// pass notes a response for the handler. c.mu is held.
func (c *Client) pass(e event) { c.note(action{op: opResponse, msg: e.msg, to: c.handler}) }

// failed tells the handler and ends the transaction. c.mu is held.
func (c *Client) failed(err error) {
	c.note(action{op: opFailed, err: err, to: c.handler})
	c.terminate()
}

// timedOut is failed for timers B and F. c.mu is held.
func (c *Client) timedOut() {
	c.l.metrics.timeouts.client.Inc()
	c.failed(fmt.Errorf("%w: %s to %s", ErrTimeout, c.method, c.flow.Remote()))
}

// transportError is failed, unless there is another way to try. c.mu is held.
func (c *Client) transportError(err error) {
	if c.fallback != nil && c.fallBack(err) {
		return
	}
	if errors.Is(err, ErrTransport) {
		c.l.metrics.transportErrors.client.Inc()
	}
	c.failed(err)
}

// settle drops what only an unfinished transaction needs; notes that are still to be carried out have their own reference
// to the handler. c.mu is held.
func (c *Client) settle() {
	c.request, c.fallback, c.headers, c.handler = nil, nil, nil, nil
}

// terminate ends the transaction. c.mu is held.
func (c *Client) terminate() {
	c.state = terminated
	c.settle()
	c.ack = nil
	c.wait(c, 0, 0)
	c.unwatch()
	c.l.clients.count.Add(-1)
	place := c
	if c.parent != nil {
		place = c.parent
	}
	if place.holds.Add(-1) == 0 {
		c.l.clients.remove(place.id)
	}
}

// perform carries out a note, without the mutex.
func (c *Client) perform(a *action) {
	switch a.op {
	case opSend:
		c.mu.Lock()
		f := c.flow
		c.mu.Unlock()
		if err := c.l.send(f, a.data); err != nil {
			c.mu.Lock()
			c.step(event{kind: evTransportError, err: fmt.Errorf("%w: %w", ErrTransport, err)})
			c.mu.Unlock() // what it notes is carried out by our caller
		}
	case opResponse:
		if a.to != nil {
			c.l.guard("response", func() { a.to.Response(c, a.msg) })
		}
	case opFailed:
		if a.to != nil {
			c.l.guard("failed", func() { a.to.Failed(c, a.err) })
		}
	case opCancel:
		c.sendCancel()
	case opClose:
		a.flow.Close("no connection in time")
	}
}

// response is RFC 3261 §17.1.3 and §18.1.2, RFC 6026 §7.2: what matches nothing is dropped.
func (l *Layer) response(m *sip.Message, f transport.Flow) {
	via, err := m.TopVia()
	if err != nil {
		l.metrics.dropped.malformed.Inc()
		return
	}
	branch, loop, _ := strings.Cut(via.Branch(), ".")
	id, ok := l.sealer.openBranch(branch)
	if !ok {
		l.metrics.dropped.foreign.Inc()
		return
	}
	c, until := l.clients.get(id)
	method := m.Method() // of CSeq
	if until > 0 && l.wheel.after(0) < until {
		l.metrics.retransmitted.received.Inc()
		return
	}
	if c != nil && method == sip.CANCEL {
		c = c.cancelClient()
	}
	if c == nil {
		l.metrics.dropped.late.Inc()
		l.guard("stray", func() { l.handler.Stray(m, f) })
		return
	}
	c.mu.Lock()
	if method != c.method || loop != c.loop || !sameSentBy(via, c.sentBy) {
		c.mu.Unlock()
		l.metrics.dropped.mismatched.Inc()
		return
	}
	// Only who received our request knows the branch.
	proof := f.Kind() == transport.UDP && f.Remote() == c.flow.Remote()
	c.step(event{kind: responseEvent(m.Status()), msg: m})
	c.release(c)
	if proof {
		l.prove(f)
	}
}
