package route

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/parley-im/parley/transaction"
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
	noAnswer  bool // Options.Ring ran out
	ring      *transaction.Timer
	over      bool // nothing runs any more
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
		f.stopRing()
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
	if status := m.Status(); status == 401 || status == 407 {
		f.p.dropChallenges(m, d)
	}
	f.p.dropSubject(m, d)
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
	challenges := f.results.challenges(best, f.p.ourChallenge)
	out := Outcome{Status: best.status, Message: best.message, Target: best.target, Cancelled: f.cancelled, NoAnswer: f.noAnswer}
	f.mu.Unlock()
	f.stopRing()

	status := best.upstream(f.dialog)
	switch {
	case out.NoAnswer && (status == 487 || status == 408):
		out.Status, out.Reason = 480, "No Answer"
		f.r.Reply(480, "No Answer", Warn("nobody answered on any device"))
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
		reason = plainReason(cancel)
	}
	f.mu.Lock()
	if f.final || f.over {
		f.mu.Unlock()
		return
	}
	f.cancelled, f.stopped = true, true
	list := f.runningLocked()
	f.mu.Unlock()
	for _, b := range list {
		b.cancel(reason)
	}
}

// plainReason is the Reason of a CANCEL without its words: nobody records a
// CANCEL, which is answered here and sent on anew. RFC 3326 §2.
func plainReason(cancel *sip.Message) string {
	var out []string
	for v := range cancel.Values(sip.HReason) {
		protocol, params, _ := strings.Cut(v, ";")
		protocol = strings.TrimSpace(protocol)
		cause, _ := sip.Params(";" + params).Get("cause")
		n, err := strconv.ParseUint(cause, 10, 16)
		if err != nil || !strings.EqualFold(protocol, "SIP") && !strings.EqualFold(protocol, "Q.850") {
			continue
		}
		// The standard texts are no words of a person; phones look at the first
		// to show no missed call.
		text := ""
		if t, _ := sip.Params(";" + params).Get("text"); t == "Call completed elsewhere" || t == sip.StatusText(int(n)) {
			text = `;text="` + t + `"`
		}
		out = append(out, protocol+";cause="+strconv.FormatUint(n, 10)+text)
	}
	return strings.Join(out, ", ")
}

// onRing gives up on phones that nobody answers.
func (f *fork) onRing() {
	f.mu.Lock()
	if f.final || f.over || f.stopped {
		f.mu.Unlock()
		return
	}
	f.noAnswer, f.stopped = true, true
	list := f.runningLocked()
	f.mu.Unlock()
	for _, b := range list {
		b.cancel(`SIP;cause=408;text="No answer"`)
	}
}

// stopRing is called when a final response goes upstream.
func (f *fork) stopRing() {
	f.mu.Lock()
	t := f.ring
	f.ring = nil
	f.mu.Unlock()
	t.Stop()
}
