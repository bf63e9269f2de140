// Package call carries calls between people: INVITE to every device of the callee, and a record of the
// start and the end of each call (RFC 3261 §13, §15; RFC 4028 for calls whose end nobody tells).
package call

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// maxLegs bounds the dialogs of one call that are remembered: a phone may make up as many tags as it likes.
const maxLegs = 64

// DefaultMaxSilence is how long a call without session timers is taken to go on when neither side says anything.
const DefaultMaxSilence = 12 * time.Hour

// Accounts knows who exists. Filled by package auth.
type Accounts interface {
	Lookup(aor string, done func(*store.User, error))
}

// Addresses says whose address a Request-URI is. Filled by the registrar.
type Addresses interface {
	Resolve(uri sip.URI) (aor, device string, ok bool)
}

// Forwarder forwards requests. *route.Proxy fills it.
type Forwarder interface {
	Forward(r *route.Request, targets []route.Target, o route.Options)
	ForwardInDialog(r *route.Request, o route.Options)
}

// Store is where calls are recorded.
type Store interface {
	store.Log
	OpenCalls(ctx context.Context) ([]store.Record, error)
	store.Waiter
}

// Options are what a Service is made of; all but Ring, MaxSilence, Quiet and Watch are required.
type Options struct {
	Store        Store
	Locator      route.Locator
	Addresses    Addresses
	Accounts     Accounts
	Forward      Forwarder
	Transactions route.Transactions // *transaction.Layer; the proxy must send through the Service, see Send
	// NextHop finds the way to a peer: route.Proxy.NextHop.
	NextHop func(contact string, routes []string, flow transport.Flow, done func(transaction.Hop, error))
	// Body judges what the proxy will not carry, so that it is not recorded as if it had been.
	Body func(m *sip.Message) *route.Refusal
	// Quiet tells whether owner does not want to be disturbed now, and from may not interrupt; nil: never. It is asked once for
	// each call, before it rings; it answers from memory, and never blocks. See quiet.go.
	Quiet func(owner, from string) bool
	// Hidden tells whether owner looks offline to from; nil: never. Who calls then somebody who does not want to be disturbed
	// hears what callers hear when nobody is there. It answers from memory, and never blocks.
	Hidden func(owner, from string) bool
	// Watch hears of every change to how many calls ring at a person of ours or are being made by one, and how many the person
	// is talking in; nil: nobody does. See watch.go for what counts. It is called from one goroutine at a time, without a lock,
	// and must not block. Changes that follow each other fast may come as one, the last one always comes. A person who was
	// never told of has none.
	Watch      func(aor string, ringing, talking int)
	Ring       time.Duration // how long a call may ring; 0: until the proxy gives up
	MaxSilence time.Duration // default DefaultMaxSilence
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Service is the one way for calls.
type Service struct {
	o       Options
	metrics *metrics
	before  int64 // Seq of the last record from before the start
	ear     *ear

	mu      sync.Mutex // guards what follows
	calls   map[string]*call
	tallies map[string]*tally // of people who are in calls, or were told of last that they are
	changed []string          // whose tally is to be told, in order, each once
	telling bool              // somebody does
}

// New makes a service. It starts nothing.
func New(o Options) *Service {
	if o.MaxSilence == 0 {
		o.MaxSilence = DefaultMaxSilence
	}
	s := &Service{o: o, calls: map[string]*call{}, tallies: map[string]*tally{}, before: o.Store.Head(), ear: newEar()}
	s.metrics = newMetrics(o.Registerer, s)
	return s
}

// Open counts the calls that are ringing or going on.
func (s *Service) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// Peer returns the AOR at the far end of a session, seen from the side whose tag is fromTag.
func (s *Service) Peer(callID, fromTag, toTag string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(callID, fromTag, toTag)
	switch {
	case c == nil:
		return "", false
	case c.fromTag == fromTag:
		return c.side(toTag), true
	}
	return c.from, true
}

// find returns the call with a dialog between the two tags. The caller holds mu.
func (s *Service) find(callID, a, b string) *call {
	if c := s.calls[key(callID, a)]; c.has(b) {
		return c
	}
	if c := s.calls[key(callID, b)]; c.has(a) {
		return c
	}
	return nil
}

// key names a call by what its INVITE fixes: Call-ID and From tag (RFC 3261 §12).
func key(callID, fromTag string) string { return callID + "\x00" + fromTag }

// call is one INVITE and what came of it.
type call struct {
	id       id.ID // of the start record
	key      string
	from, to string
	fromTag  string
	started  time.Time

	// Guarded by Service.mu.
	setup    *setup            // while nobody has answered
	caller   end               // where the caller is
	legs     map[string]*leg   // dialogs by To tag, at most maxLegs
	others   map[string]string // To tags of dialogs with somebody else than to, who has a contact there: whose they are
	left     string            // who hung up last
	device   string            // that answered
	answered time.Time         // zero while ringing
	expiry   *transaction.Timer
	limit    time.Duration // between two signs of life
	ended    bool
	ringing  bool // or was: it has been sent to devices
	counted  []part
	closed   bool      // by an administrator
	waiting  []passage // messages in order; the first is being recorded when busy
	busy     bool

	// What is on record, and how many records that took: of whoever has the turn, see hear.
	known memory
	texts int
	mute  bool // no call at all: what is said is taken out
}

// side is whose a tag of the call is. The caller holds Service.mu.
func (c *call) side(tag string) string {
	if tag == c.fromTag {
		return c.from
	}
	return cmp.Or(c.others[tag], c.to)
}

// side is call.side.
func (s *Service) side(c *call, tag string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.side(tag)
}

func (c *call) has(leg string) bool {
	if c == nil {
		return false
	}
	_, ok := c.legs[leg]
	return ok
}

// talking tells whether a dialog is confirmed. The caller holds Service.mu.
func (c *call) talking() bool {
	for _, l := range c.legs {
		if l.confirmed {
			return true
		}
	}
	return false
}

// ServeSIP is the handler of INVITE outside a dialog.
func (s *Service) ServeSIP(r *route.Request) {
	to, _, ok := s.o.Addresses.Resolve(r.URI())
	if !ok {
		r.Reply(404, "", route.Warn("this address names no device here"))
		return
	}
	s.o.Accounts.Lookup(to, func(u *store.User, err error) {
		switch {
		case errors.Is(err, errs.NotFound):
			r.Reply(404, "", route.Warn("there is no user "+to+" here"))
		case err != nil:
			refuseUnrecorded(r)
		case u.Disabled:
			r.Reply(480, "", route.Warn("the account of "+to+" is disabled"))
		default:
			s.start(r, to)
		}
	})
}

// start records the attempt and only then lets it ring.
func (s *Service) start(r *route.Request, to string) {
	r.Msg = unpacked(r.Msg)
	m := r.Msg
	c := &call{
		id: id.New(), key: key(m.CallID(), m.FromTag()), from: r.Identity.AOR, to: to,
		fromTag: strings.Clone(m.FromTag()), started: time.Now(), legs: map[string]*leg{}, limit: s.o.MaxSilence,
		setup: &setup{r: r}, caller: callerOf(r), known: memory{},
	}
	s.mu.Lock()
	twice := s.calls[c.key] != nil
	if !twice {
		s.calls[c.key] = c
	}
	s.mu.Unlock()
	if twice { // RFC 3261 §8.2.2.2: the same call on a second way, or a tag that is not the sender's
		r.Reply(482, "", route.Warn("this call is being set up already"))
		return
	}
	c.known.add([]uint64{s.ear.sum("<sip:" + c.from + ">"), s.ear.sum("<sip:" + to + ">")})
	said := s.ear.listen(m, c.known, true)
	rec := &store.Record{ID: c.id, Kind: store.KindCallStart, From: c.from, To: c.to, Device: r.Identity.Device, Meta: map[string]string{
		store.MetaCallID: strings.Clone(m.CallID()), store.MetaFromTag: c.fromTag, metaMedia: media(m),
	}}
	said.fill(rec, m)
	if subject := m.Get(sip.HSubject); subject != "" {
		rec.Meta[store.MetaSubject] = strings.ToValidUTF8(subject, "\uFFFD")
	}
	r.Reply(100, "") // the caller must not repeat itself while the log is slow
	s.o.Store.Append(rec, func(err error) {
		if err != nil {
			s.forget(c)
			refuseUnrecorded(r)
			return
		}
		s.metrics.started.Inc()
		c.known.add(said.sums) // nobody else has the call yet
		if said.spare {
			r.Msg = s.ear.tidy(m, c.known, true)
		}
		s.ring(r, c)
	})
}

// forget takes a call out of the table and tells whether it was open until now.
func (s *Service) forget(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.ended {
		return false
	}
	c.ended = true
	delete(s.calls, c.key)
	s.recount(c)
	return true
}

func (s *Service) ring(r *route.Request, c *call) {
	if s.disturbs(r.Msg, c) {
		s.decline(r, c)
		return
	}
	s.o.Locator.Locate(r.URI(), func(targets []route.Target, err error) {
		if s.over(c) {
			return // closed meanwhile, and answered
		}
		if err != nil || len(targets) == 0 {
			absent(r, c)
			s.end(c, outcomeAbsent, 480, "")
			return
		}
		s.rings(c)
		s.o.Forward.Forward(r, targets, route.Options{
			RecordRoute: true, Ring: s.o.Ring,
			OnResponse: func(m *sip.Message, t route.Target) {
				if t.AOR != "" && t.AOR != c.to { // the rest is known from Send
					s.heard(c, m, t.AOR, transport.Flow{})
				}
			},
			Done: func(o route.Outcome) { s.done(c, o) },
		})
	})
}

// done takes the end of the INVITE transaction.
func (s *Service) done(c *call, o route.Outcome) {
	if o.Status < 200 || o.Status >= 300 {
		s.end(c, outcomeOf(o), o.Status, o.Reason)
		return
	}
	s.metrics.answered.Inc()
	s.mu.Lock()
	c.answered, c.device, c.setup = time.Now(), strings.Clone(o.Target.Device), nil
	over := c.left != "" && !c.talking()
	s.recount(c)
	s.mu.Unlock()
	s.tell()
	if over { // who answered hung up before the answer was through
		s.hungUp(c)
		return
	}
	s.alive(c)
}

func refuseUnrecorded(r *route.Request) {
	r.Reply(500, "Call Not Recorded", route.RetryAfter(5),
		route.Warn("the call could not be recorded and was not set up; try again in a few seconds"))
}
