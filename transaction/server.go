package transaction

import (
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Server is one server transaction as the core sees it: one request that has to be answered. Its methods may be called
// from any goroutine and from its own callbacks.
//
// A response that is passed while a callback of the transaction runs leaves when the callback has returned; the order of
// responses is that of the calls.
type Server struct {
	tx       *serverTx
	req      *sip.Message
	flow     transport.Flow
	received time.Time
	original sip.Via // as it came; of RFC 2543 clients only
}

// serverTx is what stays in the table: no longer than the RFC asks, and without the request as soon as that is answered.
type serverTx struct {
	core
	key, ackKey key // ackKey is not zero for an INVITE of an RFC 2543 client that has had its final response
	invite      bool
	legacy      bool
	reliable    bool

	from transport.Flow // where the request came from
	back wayBack        // where responses go when not simply there
	gate gate

	// Neighbours on the list of retired transactions; they belong to the table.
	older, newer *serverTx
	retired      bool

	// Below belongs to core.mu.
	server    *Server // until the final response
	last      []byte  // the last response, as sent
	answered  bool    // a final response was given
	kept      bool    // it has left the table, where an answer stands for it
	cancelled bool
	cancel    *sip.Message // a CANCEL that came before OnCancel was set
	onCancel  func(*sip.Message)
	onDone    func()
}

// Request is the request with received and rport in its top Via (RFC 3261 §18.2.1, RFC 3581 §4).
func (s *Server) Request() *sip.Message { return s.req }

// Flow is where the request came from.
func (s *Server) Flow() transport.Flow { return s.flow }

// Received is when the request came.
func (s *Server) Received() time.Time { return s.received }

// Respond sends a response: any number of provisional ones, then one final; what comes after that is ignored, except that
// further 2xx to an INVITE are sent (RFC 6026 §7.1). A To tag is added when it is missing and the status is above 100; it
// is the same for all responses of the transaction.
//
// RFC 4320 §4: to a request other than INVITE a provisional response above 100 is not sent, nor is a 408, nor over UDP a
// 100 before the client's timer E has reached T2; the layer sends that 100 itself when it is due.
func (s *Server) Respond(d *sip.Draft) {
	if d.Status() > 100 {
		d.SetToTag(s.tx.l.sealer.toTag(s.tx.key))
	}
	s.Forward(d)
}

// Reply is Respond with nothing but a status and its reason phrase; "" is the standard one.
func (s *Server) Reply(status int, reason string) {
	s.Respond(sip.NewResponse(s.req, status, reason))
}

// Forward is Respond for a proxy: the response goes as it is, without a To tag of ours.
func (s *Server) Forward(d *sip.Draft) {
	status := d.Status()
	if status < 100 || status > 699 {
		s.tx.l.log.Error("transaction: a response has no status", "status", status)
		return
	}
	s.tx.respond(status, d)
}

// Challenge is Respond for a 401 or 407, after which the transaction is forgotten at once: who has not shown who they are
// costs no memory (RFC 3261 §26.3.2.4), and libpurple answers a challenge under the branch and CSeq of the request that was
// challenged, which must not be taken for a retransmission. A retransmission is challenged again.
func (s *Server) Challenge(d *sip.Draft) {
	t := s.tx
	data := d.SetToTag(t.l.sealer.toTag(t.key)).Bytes()
	t.mu.Lock()
	if !t.answered && t.state != terminated {
		t.final(data)
		t.terminate()
	}
	t.release(t)
}

// OnCancel sets what is called once when a CANCEL for an INVITE comes before its final response. The CANCEL has been
// answered 200 by then; the core answers the INVITE, usually with 487 (RFC 3261 §9.2). When the CANCEL was faster than
// this call, f is called soon.
func (s *Server) OnCancel(f func(cancel *sip.Message)) {
	t := s.tx
	t.mu.Lock()
	t.onCancel = f
	if t.cancel != nil && !t.answered {
		t.note(action{op: opCancel, msg: t.cancel})
	}
	t.cancel = nil
	t.release(t)
}

// OnDone sets what is called once when the transaction ends, whichever way; soon when it has ended already. It may be
// called from inside Respond. Whoever wants to know when timer J has come sets it before the final response: without it a
// transaction over UDP other than INVITE ends with that, and only the response is kept.
func (s *Server) OnDone(f func()) {
	t := s.tx
	t.mu.Lock()
	t.onDone = f
	if t.state == terminated || t.kept {
		t.note(action{op: opDone})
	}
	t.release(t)
}

// Answered says whether a final response was given.
func (s *Server) Answered() bool {
	s.tx.mu.Lock()
	defer s.tx.mu.Unlock()
	return s.tx.answered
}

// Cancelled says whether a CANCEL came before the final response.
func (s *Server) Cancelled() bool {
	s.tx.mu.Lock()
	defer s.tx.mu.Unlock()
	return s.tx.cancelled
}

// respond is the TU's response on its way into the state machine.
func (t *serverTx) respond(status int, d *sip.Draft) {
	data := d.Bytes()
	e := event{kind: responseEvent(status), data: data}
	if !t.invite && !t.allowed4320(status) {
		t.l.metrics.suppressed4320.Inc()
		if status < 200 {
			return
		}
		// The transaction counts as answered, with nothing to send or to repeat.
		e.data = nil
	}
	t.mu.Lock()
	if status >= 300 && t.invite && t.legacy && !t.answered {
		t.expectAck(d)
	}
	t.step(e)
	t.release(t)
}

// allowed4320 is RFC 4320 §4.1 and §4.2 for a response to a request other than INVITE.
func (t *serverTx) allowed4320(status int) bool {
	switch {
	case status == 408:
		return false
	case status > 100 && status < 200:
		return false
	case status == 100 && !t.reliable:
		return t.l.wheel.after(0) >= t.started()+t.l.clock.slow
	}
	return true
}

// started is the tick at which the request came: a request that is not answered ends 64*T1 later.
func (t *serverTx) started() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.end - t.l.clock.long
}

// expectAck registers the key under which the ACK of an RFC 2543 client will be looked for: with the To tag of the
// response instead of that of the request (RFC 3261 §17.2.3). t.mu is held.
func (t *serverTx) expectAck(d *sip.Draft) {
	to, err := sip.ParseNameAddr(d.Get(sip.HTo))
	if err != nil || t.server == nil {
		return
	}
	in, err := examine(t.server.req)
	if err != nil {
		return
	}
	in.via = t.server.original
	t.ackKey = t.l.keyer.legacy(&in, sip.ACK, to.Tag())
	t.l.servers.put(t.ackKey, t, t.l.wheel)
}

// step runs the function of the current state. t.mu is held.
func (t *serverTx) step(e event) {
	if e.kind == evClosed && t.state != terminated {
		t.terminate()
		return
	}
	if t.invite {
		switch t.state {
		case proceeding:
			t.inviteProceeding(e)
		case completed:
			t.inviteCompleted(e)
		case confirmed:
			t.inviteConfirmed(e)
		case accepted:
			t.inviteAccepted(e)
		}
		return
	}
	switch t.state {
	case trying:
		t.trying(e)
	case proceeding:
		t.proceeding(e)
	case completed:
		t.completed(e)
	}
}

// send notes a response, which becomes the one to repeat. t.mu is held.
func (t *serverTx) send(data []byte) {
	t.last = data
	if data != nil {
		t.note(action{op: opSend, data: data})
	}
}

// trying100 is the 100 that the layer makes itself. RFC 3261 §8.2.6.1: without a To tag. t.mu is held.
func (t *serverTx) trying100() []byte {
	return sip.NewResponse(t.server.req, 100, "").Bytes()
}

// repeat notes the last response again. t.mu is held.
func (t *serverTx) repeat() {
	if t.last != nil {
		t.l.metrics.retransmitted.response.Inc()
		t.note(action{op: opSend, data: t.last})
	}
}

// final notes a final response and lets go of the request. t.mu is held.
func (t *serverTx) final(data []byte) {
	t.answered, t.server, t.cancel, t.onCancel = true, nil, nil, nil
	t.send(data)
}

// terminate ends the transaction. t.mu is held.
func (t *serverTx) terminate() {
	t.state = terminated
	t.server, t.cancel, t.onCancel = nil, nil, nil
	t.wait(t, 0, 0)
	t.l.servers.remove(t.key, t)
	if t.ackKey != (key{}) {
		t.l.servers.remove(t.ackKey, t)
	}
	t.l.servers.count.Add(-1)
	t.note(action{op: opDone})
}

// input is an event from the network or the layer.
func (t *serverTx) input(e event) {
	t.mu.Lock()
	t.step(e)
	t.release(t)
}

// alarm is a timer of the current state.
func (t *serverTx) alarm(now int64) {
	t.mu.Lock()
	if kind, ok := t.rang(t, now); ok {
		t.step(event{kind: kind})
	}
	t.release(t)
}

// perform carries out a note, without the mutex.
func (t *serverTx) perform(a *action) {
	switch a.op {
	case opSend:
		if err := t.l.sendResponse(t, a.data); err != nil {
			t.l.metrics.transportErrors.server.Inc()
			t.l.log.Debug("transaction: response was not sent", "peer", t.from.Remote(), "err", err)
		}
	case opRequest:
		t.l.deliver(a.server)
	case opAck:
		t.l.guard("ack", func() { t.l.handler.Ack(a.msg, *a.flow) })
	case opCancel:
		t.mu.Lock()
		f := t.onCancel
		t.mu.Unlock()
		if f != nil {
			t.l.guard("cancel", func() { f(a.msg) })
		}
	case opDone:
		t.mu.Lock()
		f := t.onDone
		t.onDone = nil
		t.mu.Unlock()
		if f != nil {
			t.l.guard("done", f)
		}
	}
}
