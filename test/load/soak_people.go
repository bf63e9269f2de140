package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/service/registrar"
	"github.com/parley-im/parley/test/load/ledger"
	"github.com/parley-im/parley/test/load/ua"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
	"github.com/parley-im/parley/wire/iscomposing"
	"github.com/parley-im/parley/wire/sip"
)

// A person is a user with one device, which is here or away.
type person struct {
	s                         *soaking
	id                        int
	name, password, aor, kind string
	instance                  string // +sip.instance; "": the account's plain device

	diary ledger.Diary // of the device

	mu   sync.Mutex // guards here
	here *session
}

// A session is one connection of a person, from sign-in to its end.
type session struct {
	p      *person
	c      *ua.Client
	number int64

	mu    sync.Mutex // guards rings
	rings map[string]*ringing
}

// address is the person's without a scheme.
func (p *person) address() string { return strings.TrimPrefix(p.aor, "sip:") }

// device is the name that the server has for the person's device.
func (p *person) device() string { return cmp.Or(p.instance, registrar.Plain) }

// there is the person's session, nil when away.
func (p *person) there() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.here == nil || p.here.c.Gone() {
		return nil
	}
	return p.here
}

// session makes one that is not connected.
func (p *person) session() *session {
	s := p.s
	ses := &session{p: p, number: s.numbers.Add(1), rings: map[string]*ringing{}}
	ses.c = ua.New(&s.trial.shared, int(ses.number), p.name, p.password, s.o.domain)
	ses.c.On = ses.take
	return ses
}

// connected makes it one of those that are open.
func (ses *session) connected() {
	s := ses.p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[ses] = true
}

// arrive connects and signs in.
func (p *person) arrive(expires int) (*session, error) {
	ses := p.session()
	if err := ses.c.Connect(p.kind, p.s.target.addrs[p.kind]); err != nil {
		return nil, err
	}
	ses.connected()
	if p.instance != "" {
		ses.c.Contact += `;+sip.instance="<` + p.instance + `>"`
	}
	status := ses.register(expires)
	p.diary.Note("signed in from %s for %d s with %d", ses.c.Link().Local, expires, status)
	if status != 200 {
		ses.leave(closeLink)
		return nil, fmt.Errorf("load: REGISTER got %d", status)
	}
	p.mu.Lock()
	p.here = ses
	p.mu.Unlock()
	p.s.count("sign-ins")
	return ses, nil
}

// register waits for the answer; 0 is none.
func (ses *session) register(expires int) int {
	answered := make(chan int, 1)
	ses.c.Register(expires, func(m *sip.Message) {
		if m == nil {
			answered <- 0
			return
		}
		answered <- m.Status()
	})
	return <-answered
}

// manner is how a session ends.
type manner string

const (
	signOut   manner = "signed out"      // and closes
	closeLink manner = "closed silently" // without a word
	reset     manner = "reset"           // the connection breaks
)

func (ses *session) leave(how manner) {
	p := ses.p
	p.mu.Lock()
	if p.here == ses {
		p.here = nil
	}
	p.mu.Unlock()
	p.diary.Note("%s %s", how, ses.c.Link().Local)
	ses.c.Leave()
	if how == signOut {
		ses.register(0) // what it got is seen in what is left at the end
	}
	if how == reset {
		ses.c.Link().Reset()
	} else {
		ses.c.Disconnect()
	}
	p.s.mu.Lock()
	delete(p.s.sessions, ses)
	p.s.mu.Unlock()
}

// stay signs in and registers again and again, with a short expiry. Losing the connection is a problem that the client tells.
func (p *person) stay(ctx context.Context) {
	const expires = 120
	for pause(ctx, time.Duration(rand.Int64N(int64(time.Second)))) {
		ses := p.there()
		if ses == nil {
			if _, err := p.arrive(expires); err != nil {
				p.s.trial.problem("signing in: %v", err)
			}
			continue
		}
		if !pause(ctx, time.Duration(20+rand.IntN(40))*time.Second) {
			return
		}
		if p.kind == "tcp" || p.kind == "tls" { // RFC 5626 §3.5.1
			_ = ses.c.Link().Write([]byte("\r\n\r\n")) // the reader notices when the link is gone
		}
		status := ses.register(expires)
		p.diary.Note("registered again with %d", status)
		if status != 200 {
			p.s.trial.problem("REGISTER again got %d", status)
		}
		p.s.count("re-registers")
	}
}

// comeAndGo is away and here by turns, and leaves in every way.
func (p *person) comeAndGo(ctx context.Context) {
	for pause(ctx, time.Duration(rand.ExpFloat64()*float64(6*time.Second))) {
		ses, err := p.arrive(60)
		if err != nil {
			p.s.trial.problem("signing in: %v", err)
			continue
		}
		if rand.IntN(4) == 0 {
			ses.watch()
		}
		how, stay := signOut, time.Duration(rand.ExpFloat64()*float64(6*time.Second))
		switch n := rand.IntN(20); {
		case n < 1:
			stay, how = 65*time.Second, closeLink // the registration lapses
			p.s.count("lapses")
		case n < 8:
			how = closeLink
			p.s.count("drops")
		case n < 11:
			how = reset
			p.s.count("resets")
		}
		pause(ctx, stay)
		ses.leave(how)
	}
}

// take answers what the server sends.
func (ses *session) take(m *sip.Message, again bool) bool {
	c := ses.c
	if again {
		ses.p.s.trial.shared.Repeated.Add(1)
	}
	switch m.Method() {
	case sip.MESSAGE:
		if !again {
			ses.heard(m)
		}
		c.Reply(m, 200, nil)
	case sip.NOTIFY, sip.OPTIONS:
		c.Reply(m, 200, nil)
	case sip.INVITE:
		ses.rung(m, again)
	case sip.CANCEL:
		ses.cancelled(m)
	case sip.BYE:
		c.Reply(m, 200, nil)
	default:
		return false
	}
	return true
}

// heard notes a MESSAGE at its receiver.
func (ses *session) heard(m *sip.Message) {
	s, contentType, body := ses.p.s, m.Get(sip.HContentType), m.Body()
	wants := ""
	if strings.HasPrefix(contentType, cpim.ContentType) {
		w, err := cpim.Parse(body)
		if err != nil {
			s.trial.problem("the server's CPIM cannot be read: %v", err)
			return
		}
		wants, _ = imdn.Request(w)
		contentType, body = w.ContentType(), w.Content
	}
	if strings.HasPrefix(contentType, iscomposing.ContentType) {
		s.count("typing heard")
		return
	}
	lane, n, ok := -1, 0, false
	if strings.HasPrefix(contentType, imdn.ContentType) {
		if receipt, err := imdn.Parse(body); err == nil {
			lane, n, _, ok = parseMark(receipt.MessageID+".0.", '.')
		}
		if !ok || lane < 0 || lane >= len(s.talks) {
			s.trial.problem("the server's receipt cannot be read")
			return
		}
		s.talks[lane].receipt(n, ledger.Received)
		return
	}
	lane, n, _, ok = parseMark(string(body[:min(len(body), minBody)]), ' ')
	if !ok || lane < 0 || lane >= len(s.talks) {
		if !strings.HasPrefix(string(body), greeting) { // those of the administration
			s.trial.unknown.Add(1)
		}
		return
	}
	first := s.talks[lane].hear(n, ses.number)
	if first && wants != "" {
		s.talks[lane].confirm(ses, n, wants)
	}
}

// What is said.
type utterance int

const (
	text    utterance = iota
	wrapped           // CPIM, and a receipt is asked for
	typing            // not recorded, not kept
)

// talk is what one person says to another, in order, one message at a time (RFC 3428 §8).
type talk struct {
	s        *soaking
	lane     int
	from, to *person

	mu       sync.Mutex // guards what follows
	queue    []utterance
	busy     bool
	marks    []ledger.Mark
	waiting  map[int]ledger.Ack // acknowledged, not received
	by       []int64            // the session that received each first
	newest   int
	sum      soakTally // but Lost and Sent
	receipts map[int]ledger.Mark
}

// soakTally is what became of the messages.
type soakTally struct {
	Sent         int `json:"sent"`
	Acked        int `json:"acknowledged"`
	Stored       int `json:"of_them_stored"` // 202
	Received     int `json:"received"`
	Unanswered   int `json:"unanswered"` // the sender's connection ended
	Refused      int `json:"refused"`
	Lost         int `json:"lost"`
	Doubled      int `json:"doubled"`
	Redelivered  int `json:"redelivered"` // to the connection after one that broke: at least once
	OutOfOrder   int `json:"out_of_order"`
	Voided       int `json:"refused_but_received"`
	Unknown      int `json:"unknown"`
	Receipts     int `json:"receipts_acknowledged"`
	ReceiptsLost int `json:"receipts_lost"`
	Skipped      int `json:"not_sent"` // the sender was not there, or had too much to say
}

func newTalk(s *soaking, lane int, from, to *person) *talk {
	return &talk{s: s, lane: lane, from: from, to: to, newest: -1, receipts: map[int]ledger.Mark{}, waiting: map[int]ledger.Ack{}}
}

// maxQueue bounds what waits for a slow server: more is not offered.
const maxQueue = 64

// offer says something when what was said before is answered.
func (t *talk) offer(u utterance) {
	t.mu.Lock()
	if len(t.queue) >= maxQueue || t.from.there() == nil {
		t.sum.Skipped++
		t.mu.Unlock()
		return
	}
	t.queue = append(t.queue, u)
	start := !t.busy
	t.busy = true
	t.mu.Unlock()
	if start {
		t.next()
	}
}

func (t *talk) next() {
	t.mu.Lock()
	ses := t.from.there()
	if ses == nil {
		t.sum.Skipped += len(t.queue)
		t.queue = nil
	}
	if len(t.queue) == 0 {
		t.busy = false
		t.mu.Unlock()
		return
	}
	u := t.queue[0]
	t.queue = t.queue[1:]
	n := len(t.marks)
	if u != typing {
		t.marks, t.by = append(t.marks, 0), append(t.by, 0)
	}
	t.mu.Unlock()
	due := now()
	r := t.from.message(t.to, "")
	r.CallID = "m" + strconv.Itoa(t.lane) + "." + strconv.FormatInt(t.s.numbers.Add(1), 10) + "." + t.s.trial.id
	r.ContentType, r.Body = t.body(u, n, due)
	r.Done = func(m *sip.Message) {
		if u == typing {
			if m != nil && m.Status()/100 == 2 {
				t.s.count("typing")
			} else if m != nil {
				t.s.trial.problem("a typing sign got %d %s", m.Status(), m.Get(sip.HWarning))
			}
		} else {
			t.resolve(n, m)
		}
		t.next()
	}
	ses.c.Send(r)
}

// message is a MESSAGE to somebody.
func (p *person) message(to *person, text string) *ua.Request {
	return &ua.Request{
		Method: sip.MESSAGE, URI: to.aor, To: "<" + to.aor + ">", ContentType: "text/plain", Body: []byte(text),
		CallID: "x" + strconv.FormatInt(p.s.numbers.Add(1), 10) + "." + p.s.trial.id,
	}
}

// word is one that no other message has.
func word(lane, n int) string { return "w" + strconv.Itoa(lane) + "x" + strconv.Itoa(n) }

func (t *talk) body(u utterance, n int, due time.Duration) (contentType string, body []byte) {
	if u == typing {
		return iscomposing.ContentType, iscomposing.State{State: "active", ContentType: "text/plain", Refresh: time.Minute}.Bytes()
	}
	size := t.s.o.size
	body = appendMark(make([]byte, 0, size), t.lane, n, due, ' ')
	body = append(append(body, word(t.lane, n)...), ' ')
	body = append(body, padding[:max(0, size-len(body))]...)
	if u == text {
		return "text/plain", body
	}
	// RFC 5438 §6.2, §6.3.
	return cpim.ContentType, (&cpim.Message{
		Headers: []cpim.Header{
			{Name: "From", Value: "<" + t.from.aor + ">"}, {Name: "To", Value: "<" + t.to.aor + ">"}, {Name: "DateTime", Value: time.Now().UTC().Format(time.RFC3339)},
			{NS: imdn.HeaderNS, Name: "Message-ID", Value: strconv.Itoa(t.lane) + "." + strconv.Itoa(n)},
			{NS: imdn.HeaderNS, Name: "Disposition-Notification", Value: "positive-delivery"},
		},
		ContentHeaders: []cpim.Header{{Name: "Content-Type", Value: "text/plain"}}, Content: body,
	}).Bytes()
}

// resolve notes the answer to a message.
func (t *talk) resolve(n int, m *sip.Message) {
	if m != nil {
		t.s.trial.status(m.Status())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case m == nil:
		t.sum.Unanswered++ // it may be recorded or not
	case m.Status()/100 == 2:
		t.marks[n] |= ledger.Acked
		if t.marks[n].Missing() {
			t.waiting[n] = ledger.Ack{At: time.Now(), Status: m.Status()}
		}
		t.sum.Acked++
		if m.Status() == 202 {
			t.sum.Stored++
		}
	default:
		t.marks[n] |= ledger.Refused
		t.sum.Refused++
		if t.s.unrecorded(m.Status(), m.Get(sip.HWarning)) {
			return
		}
		t.s.trial.problem("a message got %d %s %s", m.Status(), m.Reason(), m.Get(sip.HWarning))
	}
}

// hear notes a message at its receiver, and tells whether it is new.
func (t *talk) hear(n int, by int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case n < 0 || n >= len(t.marks):
		t.sum.Unknown++
		return false
	case t.marks[n]&ledger.Received != 0 && t.by[n] == by:
		t.sum.Doubled++
		return false
	case t.marks[n]&ledger.Received != 0:
		t.sum.Redelivered++
		return false
	}
	t.marks[n] |= ledger.Received
	delete(t.waiting, n)
	t.by[n] = by
	t.sum.Received++
	if n < t.newest {
		t.sum.OutOfOrder++
	}
	t.newest = max(t.newest, n)
	return true
}

// confirm sends the receipt of a message (RFC 5438 §7.2).
func (t *talk) confirm(ses *session, n int, messageID string) {
	r := t.to.message(t.from, "")
	doc := imdn.Notification{MessageID: messageID, DateTime: time.Now(), Recipient: t.to.aor, Kind: imdn.Delivery, Status: "delivered"}
	r.ContentType, r.Body = cpim.ContentType, (&cpim.Message{
		Headers:        []cpim.Header{{Name: "From", Value: "<" + t.to.aor + ">"}, {Name: "To", Value: "<" + t.from.aor + ">"}},
		ContentHeaders: []cpim.Header{{Name: "Content-Type", Value: imdn.ContentType}, {Name: "Content-Disposition", Value: "notification"}},
		Content:        doc.Bytes(),
	}).Bytes()
	r.Done = func(m *sip.Message) {
		switch {
		case m == nil: // the connection ended
		case m.Status()/100 == 2:
			t.receipt(n, ledger.Acked)
		case t.s.unrecorded(m.Status(), m.Get(sip.HWarning)):
		default:
			t.s.trial.problem("a receipt got %d %s", m.Status(), m.Get(sip.HWarning))
		}
	}
	ses.c.Send(r)
}

// receipt notes that one was acknowledged, or received.
func (t *talk) receipt(n int, what ledger.Mark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.receipts[n] |= what
	if what == ledger.Acked {
		t.sum.Receipts++
	}
	if t.receipts[n] == ledger.Acked|ledger.Received {
		delete(t.receipts, n)
	}
}

// counts are the talk's own so far.
func (t *talk) counts() soakTally {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}

// waits tells whether something is under way, or acknowledged and not received.
func (t *talk) waits() bool {
	t.mu.Lock()
	busy := t.busy
	t.mu.Unlock()
	lost, receipts := t.missing()
	return busy || lost+receipts > 0
}

// missing counts what was acknowledged and not received.
func (t *talk) missing() (messages, receipts int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.marks {
		if m.Missing() {
			messages++
		}
	}
	for _, m := range t.receipts {
		if m.Missing() {
			receipts++
		}
	}
	return messages, receipts
}

// unheard is what missing counts.
func (t *talk) unheard() []ledger.Missing {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []ledger.Missing
	for _, n := range slices.Sorted(maps.Keys(t.waiting)) {
		list = append(list, ledger.Missing{
			Word: word(t.lane, n), From: t.from.address(), To: t.to.address(), Device: t.to.device(), Transport: t.to.kind, Ack: t.waiting[n], Diary: &t.to.diary,
		})
	}
	for _, m := range t.receipts {
		if m.Missing() { // it goes the other way
			list = append(list, ledger.Missing{From: t.to.address(), To: t.from.address(), Device: t.from.device(), Transport: t.from.kind, Diary: &t.from.diary})
		}
	}
	return list
}

// tally sums up all talks.
func (s *soaking) tally() soakTally {
	var all soakTally
	for _, t := range s.talks {
		messages, receipts := t.missing()
		c := t.counts()
		t.mu.Lock()
		all.Sent += len(t.marks)
		for _, m := range t.marks {
			if m.Voided() {
				all.Voided++
			}
		}
		t.mu.Unlock()
		all.Lost += messages
		all.ReceiptsLost += receipts
		all.Acked += c.Acked
		all.Stored += c.Stored
		all.Received += c.Received
		all.Unanswered += c.Unanswered
		all.Refused += c.Refused
		all.Doubled += c.Doubled
		all.Redelivered += c.Redelivered
		all.OutOfOrder += c.OutOfOrder
		all.Unknown += c.Unknown
		all.Receipts += c.Receipts
		all.Skipped += c.Skipped
	}
	all.Unknown += int(s.trial.unknown.Load())
	return all
}

// A ringing call waits for its callee's answer.
type ringing struct {
	m    *sip.Message
	over atomic.Bool // answered or cancelled
}

// rung handles an INVITE. Its Call-ID says what the callee shall do: see call.
func (ses *session) rung(m *sip.Message, again bool) {
	c := ses.c
	if again {
		c.Reply(m, 180, nil)
		return
	}
	if strings.HasPrefix(m.CallID(), "busy.") {
		c.Reply(m, 486, nil)
		return
	}
	c.Reply(m, 180, nil)
	var kept sip.Message
	if err := kept.Parse(bytes.Clone(m.Bytes())); err != nil {
		ses.p.s.trial.problem("the server's INVITE cannot be kept: %v", err)
		return
	}
	r := &ringing{m: &kept}
	ses.mu.Lock()
	ses.rings[kept.CallID()] = r
	ses.mu.Unlock()
	if !strings.HasPrefix(m.CallID(), "answer.") && !strings.HasPrefix(m.CallID(), "silent.") {
		return // it rings until the caller gives up, or the server
	}
	time.AfterFunc(time.Duration(300+rand.IntN(2000))*time.Millisecond, func() {
		if !r.over.CompareAndSwap(false, true) {
			return
		}
		ses.forget(r)
		c.Later(r.m, 200, ua.SDP)
	})
}

func (ses *session) forget(r *ringing) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	delete(ses.rings, r.m.CallID())
}

// cancelled ends a call that rings (RFC 3261 §9.2).
func (ses *session) cancelled(m *sip.Message) {
	ses.mu.Lock()
	r := ses.rings[m.CallID()]
	ses.mu.Unlock()
	if r == nil {
		ses.c.Reply(m, 481, nil)
		return
	}
	ses.c.Reply(m, 200, nil)
	if r.over.CompareAndSwap(false, true) {
		ses.forget(r)
		ses.c.Reply(r.m, 487, nil)
	}
}
