package message

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/sip"
)

// attempt is one message on its way to one device: the head of its outbox's queue.
type attempt struct {
	d         *outbox
	rec       *store.Record
	typ       string // media type of body
	body      []byte
	unwrapped bool           // sent without its CPIM wrapper
	quiet     bool           // sent to somebody who does not want to be disturbed
	known     []route.Target // where the device was when it began
	legs      []*leg
	open      int // legs that have not ended
	delivered bool
	began     time.Time // or when the device's silence was last counted
	returned  bool      // the device has registered since it began
	status    int       // the lowest failure of a leg, 0 when none has answered
	reason    string
	clock     *transaction.Timer // runs out for the other legs when one has answered
}

// leg is one contact of the device, or several ways to it that are tried one after the other: the flows
// of one instance (RFC 5626 §7).
type leg struct {
	a     *attempt
	ways  []route.Target
	ended bool
	mute  bool // ended without an answer
}

// contact tells one way to a device from another.
type contact struct {
	uri  string
	flow transport.Flow
}

func contactOf(t route.Target) contact { return contact{t.URI, t.Hop.Flow} }

// start sends a message to a device: to the one instance it is, or to each contact of a plain device.
func (d *outbox) start(r *store.Record) {
	targets := d.box.targets(d.device)
	if len(targets) == 0 {
		d.release()
		d.down = true
		return
	}
	d.quiet = d.box.w.s.o.Quiet(r.To, r.From)
	a := &attempt{d: d, rec: r, unwrapped: d.program.noCPIM, quiet: d.quiet, known: targets, began: time.Now()}
	a.typ, a.body = d.render(r)
	d.current = a
	a.legs = makeLegs(a, d.answering(targets))
	a.open = len(a.legs)
	for _, l := range a.legs {
		l.send()
	}
}

// answering leaves out the contacts that have been silent while another one answered: a client that is gone without
// a word must not hold up the one that came after it. Without any other they are all tried.
func (d *outbox) answering(targets []route.Target) []route.Target {
	if len(d.silent) == 0 {
		return targets
	}
	var list []route.Target
	for _, t := range targets {
		if !d.silent[contactOf(t)] {
			list = append(list, t)
		}
	}
	if len(list) == 0 {
		return targets
	}
	return list
}

func makeLegs(a *attempt, targets []route.Target) []*leg {
	if len(targets) == 1 {
		return []*leg{{a: a, ways: targets}}
	}
	var legs []*leg
	byInstance := map[string]*leg{}
	for _, t := range targets {
		if l := byInstance[t.Instance]; l != nil && t.Instance != "" {
			l.ways = append(l.ways, t)
			continue
		}
		l := &leg{a: a, ways: []route.Target{t}}
		byInstance[t.Instance] = l
		legs = append(legs, l)
	}
	return legs
}

func (l *leg) send() {
	way := l.ways[0]
	d := newDelivery(l.a, way)
	l.a.d.box.w.s.o.Transactions.Send(way.Hop, d, l)
}

// Response implements transaction.ClientHandler.
func (l *leg) Response(_ *transaction.Client, m *sip.Message) {
	if status := m.Status(); status >= 200 {
		reason := strings.Clone(m.Reason())
		l.a.d.box.w.post(func() { l.answered(status, reason) })
	}
}

// Failed implements transaction.ClientHandler.
func (l *leg) Failed(*transaction.Client, error) {
	l.a.d.box.w.post(func() { l.answered(0, "") })
}

// answered takes the final answer of a contact; 0 is none.
func (l *leg) answered(status int, reason string) {
	a := l.a
	if status != 0 {
		delete(a.d.silent, contactOf(l.ways[0]))
	}
	if a.d.current != a {
		return // the device went on without this answer
	}
	switch {
	case status >= 200 && status < 300:
		a.delivered = true
		a.d.took()
	case (status == 0 || status == 430) && len(l.ways) > 1:
		l.ways = l.ways[1:] // the next flow of this instance
		l.send()
		return
	case (status == 415 || status == 406 || status == 488) && !a.unwrapped && a.canUnwrap():
		// The device cannot read CPIM: it gets what is inside.
		a.unwrapped, a.d.program.noCPIM = true, true
		l.send()
		return
	case status == 0:
		l.mute = true
	case a.status == 0 || status < a.status:
		a.status, a.reason = status, reason
	}
	l.ended = true
	if a.open--; a.open == 0 {
		a.end()
	} else if status != 0 && a.clock == nil {
		a.hurry()
	}
}

// hurry gives the other contacts of a device that has answered as long as a sender waits; then the next message
// goes to those that answer.
func (a *attempt) hurry() {
	w := a.d.box.w
	var clock *transaction.Timer
	clock = w.s.o.Transactions.After(answerWithin, func() {
		w.post(func() {
			if a.d.current == a && a.clock == clock {
				a.end()
			}
		})
	})
	a.clock = clock
}

func (a *attempt) end() {
	d := a.d
	d.current = nil
	if a.clock != nil {
		a.clock.Stop()
	}
	for _, l := range a.legs {
		if (!l.ended || l.mute) && (a.delivered || a.status != 0) {
			d.keepsSilent(contactOf(l.ways[0]))
		}
	}
	switch {
	case a.delivered:
		d.delivered()
	case temporary(a.status):
		d.failed(a.status, a.reason, a.returned)
	default:
		d.refused(a.status, a.reason)
	}
}

// woken tells an attempt that its device has registered, and is at these places now. What it has to take comes there without
// waiting for the places it had before, although their registrations may not have run out.
func (a *attempt) woken(targets []route.Target) {
	d := a.d
	a.returned = true
	if a.silent() {
		d.current = nil
		d.refused(0, "")
		return
	}
	switch {
	case !a.lost(targets) && !a.overtaken(targets):
		a.join(targets)
	case a.delivered:
		a.end()
	default:
		d.current = nil
		if d.next(); d.current != nil && d.current.rec == a.rec {
			d.current.began = a.began
		}
	}
}

// silent counts the silence of a device that has registered again instead of answering, and tells whether it was too often:
// a message that ends the program there each time would come for ever.
func (a *attempt) silent() bool {
	now := time.Now()
	if a.delivered || a.status != 0 || now.Sub(a.began) < silence {
		return false
	}
	a.began = now
	a.d.silences++
	return a.d.silences >= maxSilences
}

// join sends the message to contacts of a plain device that it was not sent to: they may be the only ones where somebody
// is. An instance is tried in one place after the other.
func (a *attempt) join(targets []route.Target) {
	if a.delivered {
		return
	}
	for _, t := range targets {
		sent := func(l *leg) bool { return contactOf(l.ways[0]) == contactOf(t) }
		if t.Instance != "" || slices.ContainsFunc(a.legs, sent) {
			continue
		}
		l := &leg{a: a, ways: []route.Target{t}}
		a.legs = append(a.legs, l)
		a.open++
		l.send()
		if a.clock != nil { // which runs for the others
			a.clock.Stop()
			a.hurry()
		}
	}
}

// lost tells whether no contact that has not answered yet is one of targets any more.
func (a *attempt) lost(targets []route.Target) bool {
	for _, l := range a.legs {
		for _, t := range targets {
			if !l.ended && contactOf(t) == contactOf(l.ways[0]) {
				return false
			}
		}
	}
	return true
}

// overtaken tells whether an instance has come to a place where it was not when the attempt began, or is at another one than
// where it does not answer: nothing need be expected from the places it had before, although their registrations have not
// run out.
func (a *attempt) overtaken(targets []route.Target) bool {
	if len(targets) > 0 && targets[0].Instance != "" && contactOf(targets[0]) != contactOf(a.legs[0].ways[0]) && time.Since(a.began) >= answerWithin {
		return true // the most recent one comes first
	}
	return slices.ContainsFunc(targets, func(t route.Target) bool {
		return t.Instance != "" && !slices.ContainsFunc(a.known, func(k route.Target) bool { return contactOf(k) == contactOf(t) })
	})
}

// temporary tells a failure of the moment from a refusal for good (RFC 3261 §21). 482 is what a device says that is
// still busy with the same message from the last time (RFC 3261 §8.2.2.2).
func temporary(status int) bool {
	switch status {
	case 0, 408, 430, 480, 481, 482, 486, 491, 500, 502, 503, 504, 600:
		return true
	}
	return false
}

func (a *attempt) canUnwrap() bool {
	return mediaType(a.typ) == cpim.ContentType && a.rec.Kind == store.KindMessage
}

// dateFormat is SIP-date (RFC 3261 §25.1).
const dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// newDelivery is the request that carries what is sent of a record to one contact. A redelivery has the same Call-ID and
// From tag, so that a device can tell that it has the message already.
func newDelivery(a *attempt, t route.Target) *sip.Draft {
	r := a.rec
	rid := r.ID.String()
	_, domain, _ := strings.Cut(r.To, "@")
	// An instance has another Contact after it has connected again.
	d := newMessage(t, r.From, r.To, r.MetaValue(metaDisplay), tagOf(rid, cmp.Or(t.Instance, t.URI)), rid+"@"+domain)
	// The time at which it was said, not the one at which it arrives (RFC 3428 §7).
	d.Add(sip.HDate, r.At.UTC().Format(dateFormat))
	priority := r.MetaValue(store.MetaPriority)
	if a.quiet {
		priority = nonUrgent
	}
	for _, h := range [...]struct {
		id    sip.HeaderID
		value string
	}{
		{sip.HSubject, r.MetaValue(store.MetaSubject)}, {sip.HPriority, priority}, {sip.HContentLanguage, r.MetaValue(store.MetaLanguage)},
		{sip.HContentDisposition, r.MetaValue(metaDisposition)}, {sip.HInReplyTo, r.MetaValue(metaInReplyTo)},
	} {
		if h.value != "" {
			d.Add(h.id, h.value)
		}
	}
	contentType, body := a.typ, a.body
	if a.unwrapped {
		if m, err := cpim.Parse(body); err == nil {
			contentType, body = m.ContentType(), m.Content
		}
	}
	if contentType != "" {
		d.Body(contentType, body)
	}
	return d
}

// newMessage is a MESSAGE from us on behalf of somebody, without a body yet.
func newMessage(t route.Target, from, to, display, tag, callID string) *sip.Draft {
	d := sip.NewRequest(sip.MESSAGE, t.URI)
	for _, path := range t.Route {
		d.Add(sip.HRoute, path)
	}
	d.Add(sip.HMaxForwards, "70")
	d.Add(sip.HFrom, quoted(display)+"<sip:"+from+">;tag="+tag)
	d.Add(sip.HTo, "<sip:"+to+">")
	d.Add(sip.HCallID, callID)
	d.Add(sip.HCSeq, "1 MESSAGE")
	d.Add(sip.HPAssertedIdentity, "<sip:"+from+">")
	return d
}

// quoted is a display name in front of an address (RFC 3261 §25.1 quoted-string).
func quoted(display string) string {
	if display == "" {
		return ""
	}
	display = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", " ", "\n", " ").Replace(display)
	return `"` + display + `" `
}

// tagOf derives a From tag that stays the same over redeliveries.
func tagOf(rid, device string) string {
	h := fnv.New64a()
	h.Write([]byte(rid))
	h.Write([]byte(device))
	return strconv.FormatUint(h.Sum64(), 36)
}
