package route

import (
	"strconv"
	"strings"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// branch is one client transaction of a fork, with the addresses that are left
// to try for it. It is the transaction's ClientHandler.
type branch struct {
	fork    *fork
	target  Target
	others  []Target // other flows of the same device
	breadth int

	hops []transport.Target // addresses RFC 3263 gave that were not tried yet

	// under fork.mu
	tx      *transaction.Client
	timer   *transaction.Timer // Timer C
	attempt int                // counts client transactions: answers of older ones are void
	ringing bool               // a provisional response came
	cancels bool               // a CANCEL was asked for
	why     string             // its Reason
	done    bool
}

var _ transaction.ClientHandler = (*branch)(nil)

// start finds the next hop and sends. A hop that is known is used at once; a
// name is looked up first (RFC 3263).
func (b *branch) start() {
	h := b.target.Hop
	if !h.Flow.IsZero() {
		if !h.Flow.Alive() {
			b.failed(430)
			return
		}
		b.send(h)
		return
	}
	if h.Target.Addr.IsValid() {
		b.send(h)
		return
	}
	b.fork.p.resolve(b.target, func(list []transport.Target, err error) {
		if err != nil || len(list) == 0 {
			b.failed(503)
			return
		}
		b.hops = list[1:]
		b.send(transaction.Hop{Target: list[0]})
	})
}

// send starts the client transaction. RFC 3261 §16.6 steps 1-11.
func (b *branch) send(h transaction.Hop) {
	f := b.fork
	f.mu.Lock()
	if b.done {
		f.mu.Unlock()
		return
	}
	if b.cancels {
		f.mu.Unlock()
		f.ended(b, result{status: 487})
		return
	}
	b.attempt++
	f.mu.Unlock()

	h.Loop = f.loop
	flow := h.Flow
	if flow.IsZero() {
		var err error
		if flow, err = f.p.transport.Flow(h.Target); err != nil {
			b.failed(503)
			return
		}
	}
	h.Flow = flow
	d := f.p.draft(f, b, flow)
	b.armTimerC()
	f.p.metrics.branches.Inc()
	tx := f.p.transactions.Send(h, d, b)
	f.mu.Lock()
	b.tx = tx
	cancel := b.cancels && !b.done
	why := b.why
	f.mu.Unlock()
	if cancel {
		b.sendCancel(tx, why)
	}
}

// Response is RFC 3261 §16.7.
func (b *branch) Response(c *transaction.Client, m *sip.Message) {
	f := b.fork
	status := m.Status()
	if f.o.OnResponse != nil {
		f.o.OnResponse(m, b.target)
	}
	switch {
	case status < 200:
		b.provisional(m)
	case status < 300:
		f.success(b, m)
	case (status == 430 || status == 408) && b.retry():
		// RFC 5626 §7: another flow of the same device.
	case status == 503 && b.nextHop():
		// RFC 3263 §4.3
	case (status == 401 || status == 407) && f.p.phished(m):
		f.ended(b, result{status: 403, target: b.target})
	default:
		f.ended(b, result{status: status, message: m, target: b.target})
	}
}

// provisional resets Timer C and forwards. RFC 3261 §16.7 steps 2 and 5.
func (b *branch) provisional(m *sip.Message) {
	f := b.fork
	f.mu.Lock()
	b.ringing = true
	pass := !f.final && m.Status() != 100
	reset := f.invite && m.Status() != 100 && !b.done && !b.cancels
	f.mu.Unlock()
	if reset {
		b.armTimerC()
	}
	if pass {
		f.upstream(m)
	}
}

// Failed is a client transaction without a final response.
func (b *branch) Failed(c *transaction.Client, err error) {
	// RFC 3261 §16.6 step 7: the next address; §16.9: an error counts as 503,
	// a timeout as 408.
	if b.nextHop() {
		return
	}
	if isTimeout(err) {
		b.failed(408)
		return
	}
	if b.target.AOR != "" || b.fork.dialog {
		b.failed(430)
		return
	}
	b.failed(503)
}

// failed ends the branch with a status of our own, unless the device has
// another flow.
func (b *branch) failed(status int) {
	if (status == 430 || status == 408) && b.retry() {
		return
	}
	b.fork.ended(b, result{status: status, target: b.target})
}

// retry goes on with another flow of the same device. RFC 5626 §7.
func (b *branch) retry() bool {
	f := b.fork
	f.mu.Lock()
	if b.done || b.cancels || f.stopped || len(b.others) == 0 {
		f.mu.Unlock()
		return false
	}
	b.target, b.others = b.others[0], b.others[1:]
	b.hops, b.ringing = nil, false
	f.mu.Unlock()
	b.start()
	return true
}

// nextHop goes on with the next address of the same target. RFC 3263 §4.3.
func (b *branch) nextHop() bool {
	f := b.fork
	f.mu.Lock()
	if b.done || b.cancels || f.stopped || b.ringing || len(b.hops) == 0 {
		f.mu.Unlock()
		return false
	}
	t := b.hops[0]
	b.hops = b.hops[1:]
	f.mu.Unlock()
	b.send(transaction.Hop{Target: t})
	return true
}

// cancel asks for a CANCEL. It goes out when a provisional response has come
// (RFC 3261 §9.1, seen to by the transaction, which also ends the INVITE when no
// answer follows within 64*T1).
func (b *branch) cancel(reason string) {
	f := b.fork
	if !f.invite {
		return
	}
	f.mu.Lock()
	if b.done || b.cancels {
		f.mu.Unlock()
		return
	}
	b.cancels, b.why = true, reason
	tx := b.tx
	sent := b.attempt > 0
	f.mu.Unlock()
	if !sent {
		// Still looking for an address: nothing to cancel.
		f.ended(b, result{status: 487})
		return
	}
	if tx != nil {
		b.sendCancel(tx, reason)
	}
}

func (b *branch) sendCancel(tx *transaction.Client, reason string) {
	if reason == "" {
		tx.Cancel()
		return
	}
	tx.Cancel(func(d *sip.Draft) { d.Set(sip.HReason, reason) })
}

// onTimerC is RFC 3261 §16.8.
func (b *branch) onTimerC() {
	f := b.fork
	f.mu.Lock()
	ringing, done := b.ringing, b.done
	f.mu.Unlock()
	switch {
	case done:
	case ringing:
		b.cancel("")
	default:
		b.failed(408)
	}
}

// armTimerC starts Timer C anew; only INVITEs have one.
func (b *branch) armTimerC() {
	f := b.fork
	if !f.invite {
		return
	}
	t := f.p.transactions.After(f.p.timerC, b.onTimerC)
	f.mu.Lock()
	old := b.timer
	b.timer = t
	if b.done {
		old, b.timer = t, nil
	}
	f.mu.Unlock()
	old.Stop()
}

func (b *branch) stopTimer() {
	b.fork.mu.Lock()
	t := b.timer
	b.timer = nil
	b.fork.mu.Unlock()
	t.Stop()
}

// draft is the request as this branch sends it. RFC 3261 §16.6 steps 1-6.
func (p *Proxy) draft(f *fork, b *branch, flow transport.Flow) *sip.Draft {
	d := p.copyRequest(f.r, b.target)
	d.Set(sip.HMaxBreadth, strconv.Itoa(b.breadth))
	f.timer.request(d)
	if f.o.RecordRoute {
		secure := strings.HasPrefix(b.target.URI, "sips:")
		callID := f.r.Msg.CallID()
		// Two values, one for each side (RFC 5658 §4): the upper one is what
		// the callee sees first.
		d.Prepend(sip.HRecordRoute, recordRoute(p.key, p.transport, f.r.Flow, callID, secure))
		d.Prepend(sip.HRecordRoute, recordRoute(p.key, p.transport, flow, callID, secure))
	}
	if f.o.Edit != nil {
		f.o.Edit(d)
	}
	return d
}
