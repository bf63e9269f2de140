package message

import (
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/sip"
)

// attempt is one message on its way to one device.
type attempt struct {
	d         *outbox
	it        item
	unwrapped bool // sent without its CPIM wrapper
	open      int  // legs that have not ended
	delivered bool
	silent    bool // a leg had no answer
	status    int  // the lowest failure of a leg
	reason    string
}

// leg is one contact of the device, or several ways to it that are tried one after the other: the flows
// of one instance (RFC 5626 §7).
type leg struct {
	a    *attempt
	ways []route.Target
}

// start sends a message to a device: to the one instance it is, or to each contact of a plain device.
func (d *outbox) start(it item) {
	targets := d.box.targets(d.device)
	if len(targets) == 0 {
		d.release()
		d.down = true
		return
	}
	a := &attempt{d: d, it: it, unwrapped: d.noCPIM}
	d.current = a
	legs := makeLegs(a, targets)
	a.open = len(legs)
	for _, l := range legs {
		l.send()
	}
}

func makeLegs(a *attempt, targets []route.Target) []*leg {
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
	d := newDelivery(l.a.it.rec, way, l.a.unwrapped)
	l.a.d.box.w.s.o.Transactions.Send(way.Hop, d, l)
}

// Response implements transaction.ClientHandler.
func (l *leg) Response(_ *transaction.Client, m *sip.Message) {
	if status := m.Status(); status >= 200 {
		reason := strings.Clone(m.Reason())
		l.a.d.box.w.post(func() { l.ended(status, reason) })
	}
}

// Failed implements transaction.ClientHandler.
func (l *leg) Failed(*transaction.Client, error) {
	l.a.d.box.w.post(func() { l.ended(0, "") })
}

// ended takes the final answer of a contact; 0 is none.
func (l *leg) ended(status int, reason string) {
	a := l.a
	switch {
	case status >= 200 && status < 300:
		a.delivered = true
	case (status == 0 || status == 430) && len(l.ways) > 1:
		l.ways = l.ways[1:] // the next flow of this instance
		l.send()
		return
	case (status == 415 || status == 406 || status == 488) && !a.unwrapped && a.canUnwrap():
		// The device cannot read CPIM: it gets what is inside.
		a.unwrapped, a.d.noCPIM = true, true
		l.send()
		return
	case temporary(status):
		a.silent = a.silent || status == 0
		fallthrough
	default:
		if a.status == 0 || (status > 0 && status < a.status) {
			a.status, a.reason = status, reason
		}
	}
	if a.open--; a.open == 0 {
		a.end()
	}
}

func (a *attempt) end() {
	d := a.d
	d.current = nil
	switch {
	case a.delivered:
		d.delivered(a.it)
	case a.silent:
		d.failed(a.it, 0, "")
	case temporary(a.status):
		d.failed(a.it, a.status, a.reason)
	default:
		d.refused(a.it, a.status, a.reason)
	}
}

// temporary tells a failure of the moment from a refusal for good (RFC 3261 §21).
func temporary(status int) bool {
	switch status {
	case 0, 408, 430, 480, 481, 486, 491, 500, 502, 503, 504, 600:
		return true
	}
	return false
}

func (a *attempt) canUnwrap() bool {
	return mediaType(a.it.rec.ContentType) == cpim.ContentType && a.it.rec.Kind == store.KindMessage
}

// newDelivery is the request that carries a record to one contact. A redelivery has the same Call-ID and
// From tag, so that a device can tell that it has the message already.
func newDelivery(r *store.Record, t route.Target, unwrapped bool) *sip.Draft {
	rid := r.ID.String()
	_, domain, _ := strings.Cut(r.To, "@")
	d := newMessage(t, r.From, r.To, r.MetaValue(metaDisplay), tagOf(rid, t.URI), rid+"@"+domain)
	// The time at which it was said, not the one at which it arrives (RFC 3428 §7).
	d.Add(sip.HDate, r.At.UTC().Format(http.TimeFormat))
	for _, h := range [...]struct {
		id   sip.HeaderID
		meta string
	}{
		{sip.HSubject, store.MetaSubject}, {sip.HPriority, store.MetaPriority},
		{sip.HContentLanguage, store.MetaLanguage}, {sip.HContentDisposition, metaDisposition}, {sip.HInReplyTo, metaInReplyTo},
	} {
		if v := r.MetaValue(h.meta); v != "" {
			d.Add(h.id, v)
		}
	}
	contentType, body := r.ContentType, r.Body
	if unwrapped {
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
func tagOf(rid, contact string) string {
	h := fnv.New64a()
	h.Write([]byte(rid))
	h.Write([]byte(contact))
	return strconv.FormatUint(h.Sum64(), 36)
}
