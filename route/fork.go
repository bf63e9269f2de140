package route

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// fork is the response context of RFC 3261 §16.6: one forwarded request, its
// branches and what came back.
type fork struct {
	p      *Proxy
	r      *Request
	o      Options
	invite bool
	timer  sessionTimer
	dialog bool // inside a dialog: a flow that is gone is 430, not 480
	loop   string

	mu        sync.Mutex
	waiting   [][]entry // q groups not yet tried, best first
	branches  []*branch // all ever started
	active    int       // branches and lookups without a final
	breadth   int       // Max-Breadth not given to a running branch
	results   results
	final     bool // a final response was given to the server transaction
	stopped   bool // no new branches: 6xx or CANCEL
	cancelled bool
	reason    string // Reason header of the CANCEL that stopped us
	over      bool   // nothing runs any more
}

// entry is a target and the other flows of the same device, tried when it
// fails. RFC 5626 §7.
type entry struct {
	target Target
	others []Target
}

// groups orders targets: best q first, equal q together, one entry for each
// device. RFC 3261 §16.6, RFC 5626 §7.
func groups(targets []Target) [][]entry {
	list := slices.Clone(targets)
	slices.SortStableFunc(list, func(a, b Target) int { return int(b.Q) - int(a.Q) })
	var out [][]entry
	type place struct{ group, entry int }
	devices := map[[2]string]place{}
	lastQ := -1
	for _, t := range list {
		if t.Instance != "" {
			k := [2]string{t.AOR, t.Instance}
			if at, ok := devices[k]; ok {
				e := &out[at.group][at.entry]
				e.others = append(e.others, t)
				continue
			}
			g := len(out) - 1
			if int(t.Q) != lastQ {
				g++
			}
			n := 0
			if g < len(out) {
				n = len(out[g])
			}
			devices[k] = place{g, n}
		}
		if int(t.Q) != lastQ {
			out = append(out, nil)
			lastQ = int(t.Q)
		}
		out[len(out)-1] = append(out[len(out)-1], entry{target: t})
	}
	return out
}

// unique drops targets that stand twice. RFC 3261 §16.5.
func unique(targets []Target, limit int) []Target {
	var out []Target
	for _, t := range targets {
		if len(out) == limit {
			break
		}
		if !slices.ContainsFunc(out, func(o Target) bool { return o.URI == t.URI && o.Hop == t.Hop && slices.Equal(o.Route, t.Route) }) {
			out = append(out, t)
		}
	}
	return out
}

// next starts the next q group, or ends the context when there is none. It
// is called without the lock, when no branch is active.
func (f *fork) next() {
	f.mu.Lock()
	if f.active > 0 || f.over {
		f.mu.Unlock()
		return
	}
	if f.stopped || f.final || len(f.waiting) == 0 {
		f.over = true
		f.mu.Unlock()
		f.finish()
		return
	}
	group := f.waiting[0]
	f.waiting = f.waiting[1:]
	// RFC 5393 §5.3.3: more parallel branches than Max-Breadth allows.
	if len(group) > f.breadth {
		f.over = true
		f.results.add(result{status: 440})
		f.mu.Unlock()
		f.finish()
		return
	}
	share, extra := f.breadth/len(group), f.breadth%len(group)
	started := make([]*branch, 0, len(group))
	for i, e := range group {
		b := &branch{fork: f, target: e.target, others: e.others, breadth: share}
		if i < extra {
			b.breadth++
		}
		f.breadth -= b.breadth
		f.active++
		f.branches = append(f.branches, b)
		started = append(started, b)
	}
	f.mu.Unlock()
	for _, b := range started {
		b.start()
	}
}

// ended notes that a branch has its final result, and goes on.
func (f *fork) ended(b *branch, res result) {
	f.mu.Lock()
	if b.done {
		f.mu.Unlock()
		return
	}
	b.done = true
	f.active--
	f.breadth += b.breadth
	f.results.add(res)
	var losers []*branch
	if res.status >= 600 {
		// RFC 3261 §16.7 step 5
		f.stopped = true
		losers = f.runningLocked()
	}
	idle := f.active == 0
	f.mu.Unlock()
	b.stopTimer()
	for _, l := range losers {
		l.cancel("")
	}
	if idle {
		f.next()
	}
}

// runningLocked lists branches without a final.
func (f *fork) runningLocked() []*branch {
	var list []*branch
	for _, b := range f.branches {
		if !b.done {
			list = append(list, b)
		}
	}
	return list
}

// success forwards a 2xx at once. RFC 3261 §16.7 step 5: every 2xx of an
// INVITE, the first one of anything else.
func (f *fork) success(b *branch, m *sip.Message) {
	f.mu.Lock()
	first := !f.final
	if !first && !f.invite {
		f.mu.Unlock()
		f.ended(b, result{status: m.Status()})
		return
	}
	f.final, f.stopped = true, true
	f.waiting = nil
	if !b.done {
		b.done = true
		f.active--
		f.breadth += b.breadth
	}
	losers := f.runningLocked()
	idle := f.active == 0 && !f.over
	if idle {
		f.over = true
	}
	f.mu.Unlock()
	b.stopTimer()
	f.upstream(m)
	if first {
		f.report(Outcome{Status: m.Status(), Reason: m.Reason(), Message: m, Target: b.target})
	}
	for _, l := range losers {
		// RFC 3261 §16.7 step 10, RFC 3326 §2: the phones that rang note no
		// missed call.
		l.cancel(`SIP;cause=200;text="Call completed elsewhere"`)
	}
	if idle {
		f.p.metrics.active.Dec()
	}
}

// upstream passes a response of a branch on.
func (f *fork) upstream(m *sip.Message) {
	f.r.Tx.Forward(f.response(m))
}

// response makes what goes upstream of a branch's response.
// RFC 3261 §16.7 steps 3 and 9.
func (f *fork) response(m *sip.Message) *sip.Draft {
	d := m.Edit().RemoveFirst(sip.HVia)
	if hasTrusted(m) {
		stripTrusted(d)
	}
	f.timer.response(m, d)
	if f.p.body != nil && len(m.Body()) > 0 && f.p.body(m) != nil {
		// What must not be carried in a request is not carried in an answer.
		d.Body("", nil)
	}
	return d
}

// finish chooses and sends the best response when nothing was sent yet.
// RFC 3261 §16.7 step 6.
func (f *fork) finish() {
	f.p.metrics.active.Dec()
	f.mu.Lock()
	if f.final {
		f.mu.Unlock()
		return
	}
	f.final = true
	best := f.results.best(f.cancelled)
	challenges := f.results.challenges(best)
	cancelled := f.cancelled
	f.mu.Unlock()

	out := Outcome{Status: best.status, Message: best.message, Target: best.target, Cancelled: cancelled}
	status := best.upstream(f.dialog)
	switch {
	case status == 408 && !f.invite:
		// RFC 4320 §4.2: no 408 to a non-INVITE request.
		out.Status = 0
	case best.message != nil && status == best.status:
		d := f.response(best.message)
		for _, c := range challenges {
			d.Add(c.id, c.value)
		}
		out.Reason = best.message.Reason()
		f.r.Tx.Forward(d)
	default:
		out.Status, out.Reason = status, sip.StatusText(status)
		f.r.Reply(status, "", best.options()...)
	}
	f.report(out)
}

// report tells the service how it ended.
func (f *fork) report(o Outcome) {
	f.p.metrics.finals.WithLabelValues(classLabel(o.Status)).Inc()
	if f.o.Done != nil {
		f.o.Done(o)
	}
}

// onCancel is RFC 3261 §16.10: all pending client transactions are cancelled,
// and what they answer, 487 as a rule, is chosen from as usual.
func (f *fork) onCancel(cancel *sip.Message) {
	reason := ""
	if cancel != nil {
		reason = cancel.Get(sip.HReason)
	}
	f.mu.Lock()
	if f.final || f.over {
		f.mu.Unlock()
		return
	}
	f.cancelled, f.stopped = true, true
	f.reason = reason
	list := f.runningLocked()
	f.mu.Unlock()
	for _, b := range list {
		b.cancel(reason)
	}
}

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
	timer   *transaction.Timer // Timer C, or the wait after a CANCEL
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
	d := f.p.draft(f, b, flow)
	b.setTimer(f.p.timerC, b.onTimerC)
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
		b.setTimer(f.p.timerC, b.onTimerC)
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
// (RFC 3261 §9.1, seen to by the transaction); an answer is awaited for 64*T1.
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
	b.setTimer(cancelWait, func() { b.fork.ended(b, result{status: 487}) })
	if reason == "" {
		tx.Cancel()
		return
	}
	tx.Cancel(func(d *sip.Draft) { d.Set(sip.HReason, reason) })
}

// cancelWait is 64*T1. RFC 3261 §9.1: after it, a cancelled INVITE without a
// final response is over.
const cancelWait = 32 * time.Second

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

// setTimer replaces the branch's timer; only INVITEs have one.
func (b *branch) setTimer(d time.Duration, fn func()) {
	f := b.fork
	if !f.invite {
		return
	}
	t := f.p.transactions.After(d, fn)
	f.mu.Lock()
	old := b.timer
	b.timer = t
	if b.done {
		old, b.timer = t, nil
	}
	f.mu.Unlock()
	if old != nil {
		old.Stop()
	}
}

func (b *branch) stopTimer() {
	b.fork.mu.Lock()
	t := b.timer
	b.timer = nil
	b.fork.mu.Unlock()
	if t != nil {
		t.Stop()
	}
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
