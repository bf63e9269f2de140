package crowd

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/test/load/ua"
	"github.com/parley-im/parley/wire/sip"
)

// calm is how long a watcher must not have been told of anything for a change to count as the first (RFC 3856 §6.10).
const calm = 5 * time.Second

// person is one user at one device.
type person struct {
	w       *Crowd
	i       int
	c       *ua.Client
	watches []*watch // made before any is subscribed; the index is in the Call-ID

	mu       sync.Mutex // guards what follows
	watchers int        // subscriptions that are told of this person
	number   uint32     // of the last change
	busy     bool       // a PUBLISH is under way
	etag     string
	open     []*change // that not all watchers have, the oldest first
	renewing bool
}

// change is one that was published.
type change struct {
	number  uint32
	sent    time.Duration
	missing int // watchers
	seen    bool
	fresh   time.Duration // when the last calm watcher had it
	counts  bool          // it was sent in the measured part
}

// watch is a subscription: to the person's list, or to one owner.
type watch struct {
	p      *person
	index  int
	owner  int // -1: the list
	uri    string
	callID string
	due    time.Duration

	mu       sync.Mutex // guards what follows
	accepted bool
	to       string // with the notifier's tag
	target   string // URI of the notifier
	seq      uint32 // CSeq of the last NOTIFY
	version  int64  // of the last list; -1 before the first
	told     time.Duration
	known    int // entries that have a state
	done     bool
	gone     bool
	entries  []entry
}

// entry is what a watcher knows of somebody.
type entry struct {
	mark          uint32
	known, online bool
}

func (p *person) addWatch(owner int) *watch {
	w := p.w
	s := &watch{p: p, index: len(p.watches), owner: owner, version: -1, entries: make([]entry, 1)}
	if owner < 0 {
		s.uri = "sip:contacts@" + w.o.Domain
		s.entries = make([]entry, w.o.Contacts)
	} else {
		s.uri = w.people[owner].c.AOR
	}
	s.to = "<" + s.uri + ">"
	s.callID = "s" + strconv.Itoa(p.i) + "." + strconv.Itoa(s.index) + "." + w.id
	p.watches = append(p.watches, s)
	return s
}

// on takes the requests of the server.
func (p *person) on(m *sip.Message, again bool) bool {
	at := ua.Now()
	switch m.Method() {
	case sip.NOTIFY:
		p.c.Reply(m, 200, nil)
		if again {
			p.w.repeated.Add(1)
			return true
		}
		_, index, _ := strings.Cut(m.CallID(), ".")
		index, _, _ = strings.Cut(index, ".")
		n, err := strconv.Atoi(index)
		if err != nil || n >= len(p.watches) || p.watches[n].callID != m.CallID() {
			p.w.problem("a NOTIFY of no subscription")
			return true
		}
		p.watches[n].notified(m, at)
		return true
	case sip.MESSAGE:
		p.c.Reply(m, 200, nil)
		if again {
			p.w.repeated.Add(1)
			return true
		}
		p.w.messageCame(m, at)
		return true
	}
	return false
}

// subscribe asks for a watch, or renews it. done is called when it is answered.
func (s *watch) subscribe(expires int, done func(ok bool)) {
	w := s.p.w
	s.mu.Lock()
	r := &ua.Request{Method: sip.SUBSCRIBE, URI: s.uri, To: s.to, CallID: s.callID, Contact: true}
	if s.accepted {
		r.URI = s.target
	}
	again := s.accepted
	s.mu.Unlock()
	r.Headers = "Event: presence\r\nExpires: " + strconv.Itoa(expires) + "\r\n"
	if s.owner >= 0 {
		r.Headers += "Accept: application/pidf+xml\r\n"
	} else {
		// RFC 4662 §4.1, §4.2
		r.Headers += "Supported: eventlist\r\nAccept: application/pidf+xml, application/rlmi+xml, multipart/related\r\n"
		if w.o.Body { // RFC 5367 §4
			r.Headers += "Require: recipient-list-subscribe\r\nContent-Disposition: recipient-list\r\n"
			r.ContentType, r.Body = "application/resource-lists+xml", w.listBody(s.p.i)
		}
	}
	r.Done = func(m *sip.Message) {
		ok := w.answered("SUBSCRIBE", m)
		if ok {
			s.mu.Lock()
			s.accepted = true
			s.to = strings.Clone(m.Get(sip.HTo))
			if list, _, err := m.Contacts(); err == nil && len(list) > 0 {
				s.target = list[0].URI.String()
			}
			s.mu.Unlock()
			if !again {
				w.subscribed.Add(1)
			}
		}
		done(ok)
	}
	s.p.c.Send(r)
}

// listBody is a list of contacts as a SUBSCRIBE carries it (RFC 5367 §3, RFC 5363).
func (w *Crowd) listBody(i int) []byte {
	b := []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>`)
	for j := range w.o.Contacts {
		b = append(append(append(b, `<entry uri="`...), w.people[w.circle.contact(i, j)].c.AOR...), `"/>`...)
	}
	return append(b, `</list></resource-lists>`...)
}

// notified takes a NOTIFY. Those of one subscription come from one goroutine.
func (s *watch) notified(m *sip.Message, at time.Duration) {
	w := s.p.w
	w.notifies.Add(1)
	body := m.Body()
	w.bytes.Add(int64(len(body)))
	s.mu.Lock()
	defer s.mu.Unlock()
	seq, err := m.CSeq()
	if err != nil || seq.Seq <= s.seq {
		if w.overTCP(s.p.i) {
			w.disorder.Add(1)
		} else {
			w.repeated.Add(1) // or overtaken
		}
		return
	}
	s.seq = seq.Seq
	if strings.HasPrefix(m.Get(sip.HSubscriptionState), "terminated") {
		if !s.gone && !w.ending.Load() {
			w.ended.Add(1)
			w.problem("a subscription ended: %s", m.Get(sip.HSubscriptionState))
		}
		s.gone = true
	}
	if len(body) == 0 {
		return
	}
	before := s.told
	s.told = at
	r := reading{
		prefix: w.o.User,
		resource: func(who int, known bool) {
			if e := s.entry(who); e != nil && known && !e.known {
				e.known = true
				s.known++
			}
		},
		state: func(who int, mark uint32, open bool) { s.saw(who, mark, open, before, at) },
	}
	contentType := m.Get(sip.HContentType)
	switch {
	case strings.HasPrefix(contentType, "multipart/related"):
		w.lists.Add(1)
		n, err := r.scanList(contentType, body)
		if err != nil {
			w.problem("%v", err)
		}
		s.versioned(n)
	case strings.HasPrefix(contentType, "application/pidf+xml") && s.owner >= 0:
		if n := r.scanStates(body); n != 1 {
			w.problem("a NOTIFY with %d documents", n)
		}
		r.resource(s.owner, true)
	default:
		w.problem("a NOTIFY with %q", contentType)
	}
	if !s.done && s.known == len(s.entries) {
		s.done = true
		w.complete.Add(1)
		w.signOn.Add(at - s.due)
	}
}

// versioned looks at the number of a list: the next one (RFC 4662 §5.1).
func (s *watch) versioned(n notice) {
	if n.full {
		s.p.w.full.Add(1)
	}
	if int64(n.version) != s.version+1 {
		s.p.w.skipped.Add(1)
		s.p.w.problem("behind version %d of a list came another than the next", min(s.version, 3))
	}
	s.version = int64(n.version)
}

// entry is that of a contact; nil for somebody who is none.
func (s *watch) entry(who int) *entry {
	if s.owner >= 0 {
		if who == s.owner {
			return &s.entries[0]
		}
	} else if slot, ok := s.p.w.circle.slot(s.p.i, who); ok && who < len(s.p.w.people) {
		return &s.entries[slot]
	}
	s.p.w.problem("a watcher was told of somebody who is no contact")
	return nil
}

// saw notes a state of somebody. before is when the watcher was told of anything the last time.
func (s *watch) saw(who int, mark uint32, open bool, before, at time.Duration) {
	e := s.entry(who)
	if e == nil {
		return
	}
	if open != e.online {
		e.online = open
		if open {
			s.p.w.online.Add(1)
		} else {
			s.p.w.online.Add(-1)
		}
	}
	if mark <= e.mark {
		return
	}
	old := e.mark
	e.mark = mark
	s.p.w.people[who].seen(old, mark, before, at)
}

// seen notes that a watcher has a person's changes up to a number, of which it had those up to old.
func (p *person) seen(old, number uint32, before, at time.Duration) {
	w := p.w
	p.mu.Lock()
	defer p.mu.Unlock()
	done := false
	for _, c := range p.open {
		if c.number <= old || c.number > number {
			continue
		}
		c.missing--
		isCalm := before == 0 || before < c.sent-calm
		if isCalm {
			c.fresh = at
		} else {
			w.joined.Add(1)
		}
		if c.counts {
			w.receipt.Add(at - c.sent)
			if !c.seen {
				w.first.Add(at - c.sent)
			}
		}
		c.seen = true
		if c.missing > 0 {
			continue
		}
		done = true
		if c.counts {
			w.last.Add(at - c.sent)
			if c.fresh > 0 {
				w.fresh.Add(c.fresh - c.sent)
			}
		}
	}
	if done {
		p.open = slices.DeleteFunc(p.open, func(c *change) bool { return c.missing <= 0 })
	}
}

// publish sends a change; done is called when it is answered. It does nothing while the one before is not answered.
func (p *person) publish(done func(ok bool)) {
	w := p.w
	p.mu.Lock()
	if p.busy {
		p.mu.Unlock()
		w.overdue.Add(1)
		done(true)
		return
	}
	p.busy = true
	p.number++
	at := ua.Now()
	c := &change{number: p.number, sent: at, missing: p.watchers, counts: w.measured(at)}
	p.open = append(p.open, c)
	r := &ua.Request{
		Method: sip.PUBLISH, URI: p.c.AOR, To: "<" + p.c.AOR + ">", CallID: "p" + strconv.Itoa(p.i) + "." + w.id,
		Headers:     "Event: presence\r\nExpires: " + strconv.Itoa(w.o.Expires) + "\r\n",
		ContentType: "application/pidf+xml", Body: document(nil, p.c.AOR, p.i, p.number),
	}
	if p.etag != "" { // RFC 3903 §4.1
		r.Headers += "SIP-If-Match: " + p.etag + "\r\n"
	}
	p.mu.Unlock()
	w.published.Add(1)
	r.Done = func(m *sip.Message) {
		ok := w.answered("PUBLISH", m)
		if ok && c.counts {
			w.accepted.Add(ua.Now() - at)
		}
		p.mu.Lock()
		p.busy = false
		if ok {
			p.etag = strings.Clone(m.Get(sip.HSIPETag))
		} else {
			p.etag = ""
			p.open = slices.DeleteFunc(p.open, func(o *change) bool { return o == c })
		}
		p.mu.Unlock()
		done(ok)
	}
	p.c.Send(r)
}

// leave takes back what the person has on the server; slots bounds what is under way.
func (p *person) leave(slots chan struct{}) {
	if p.c.Link() == nil || p.c.Gone() {
		return
	}
	for _, s := range p.watches {
		s.mu.Lock()
		there := s.accepted && !s.gone
		s.mu.Unlock()
		if there {
			slots <- struct{}{}
			s.subscribe(0, func(bool) { <-slots })
		}
	}
	slots <- struct{}{}
	p.c.Register(0, func(*sip.Message) { <-slots })
}
