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
	WaitFor(seq int64, done func())
}

// Timers runs functions later. *transaction.Layer fills it.
type Timers interface {
	After(d time.Duration, f func()) *transaction.Timer
}

// Options are what a Service is made of; all but MaxSilence are required.
type Options struct {
	Store      Store
	Locator    route.Locator
	Addresses  Addresses
	Accounts   Accounts
	Forward    Forwarder
	Timers     Timers
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

	mu    sync.Mutex // guards calls
	calls map[string]*call
}

// New makes a service. It starts nothing.
func New(o Options) *Service {
	if o.MaxSilence == 0 {
		o.MaxSilence = DefaultMaxSilence
	}
	s := &Service{o: o, calls: map[string]*call{}, before: o.Store.Head()}
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
		return cmp.Or(c.others[toTag], c.to), true
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
	legs     map[string]bool   // To tags of the dialogs, at most maxLegs; true when confirmed by a 2xx
	others   map[string]string // To tags of dialogs with somebody else than to, who has a contact there: whose they are
	left     string            // who hung up last
	device   string            // that answered
	answered time.Time         // zero while ringing
	expiry   *transaction.Timer
	limit    time.Duration // between two signs of life
	ended    bool
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
	for _, confirmed := range c.legs {
		if confirmed {
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
	m := r.Msg
	c := &call{
		id: id.New(), key: key(m.CallID(), m.FromTag()), from: r.Identity.AOR, to: to,
		fromTag: strings.Clone(m.FromTag()), started: time.Now(), legs: map[string]bool{}, limit: s.o.MaxSilence,
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
	// With the offer: its lines for people could say anything.
	rec := &store.Record{ID: c.id, Kind: store.KindCallStart, From: c.from, To: c.to, Device: r.Identity.Device, ContentType: m.Get(sip.HContentType), Body: m.Body(), Meta: map[string]string{
		store.MetaCallID: strings.Clone(m.CallID()), store.MetaFromTag: c.fromTag, metaMedia: media(m),
	}}
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
	return true
}

func (s *Service) ring(r *route.Request, c *call) {
	s.o.Locator.Locate(r.URI(), func(targets []route.Target, err error) {
		if err != nil || len(targets) == 0 {
			r.Reply(480, "", route.Warn(c.to+" is not signed in on any device"))
			s.end(c, outcomeAbsent, 480, "")
			return
		}
		s.o.Forward.Forward(r, targets, route.Options{
			RecordRoute: true, Ring: s.o.Ring,
			OnResponse: func(m *sip.Message, t route.Target) { s.heard(c, m, t.AOR) },
			Done:       func(o route.Outcome) { s.done(c, o) },
		})
	})
}

// heard notes a dialog that a response of a device of aor makes (RFC 3261 §12.1).
func (s *Service) heard(c *call, m *sip.Message, aor string) {
	status := m.Status()
	if status <= 100 || status >= 300 || m.ToTag() == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.ended {
		return
	}
	confirmed := status >= 200
	if _, known := c.legs[m.ToTag()]; !known && len(c.legs) >= maxLegs && !(confirmed && c.dropEarly()) {
		return
	}
	c.legs[strings.Clone(m.ToTag())] = confirmed
	if aor != "" && aor != c.to {
		if c.others == nil {
			c.others = map[string]string{}
		}
		c.others[strings.Clone(m.ToTag())] = aor
	}
}

// dropEarly forgets one dialog that is not confirmed. The caller holds Service.mu.
func (c *call) dropEarly() bool {
	for tag, confirmed := range c.legs {
		if !confirmed {
			delete(c.legs, tag)
			delete(c.others, tag)
			return true
		}
	}
	return false
}

// done takes the end of the INVITE transaction.
func (s *Service) done(c *call, o route.Outcome) {
	if o.Status < 200 || o.Status >= 300 {
		s.end(c, outcomeOf(o), o.Status, o.Reason)
		return
	}
	s.metrics.answered.Inc()
	s.mu.Lock()
	c.answered, c.device = time.Now(), strings.Clone(o.Target.Device)
	over := c.left != "" && !c.talking()
	s.mu.Unlock()
	if over { // who answered hung up before the answer was through
		s.hungUp(c)
		return
	}
	s.alive(c, o.Message)
}

func refuseUnrecorded(r *route.Request) {
	r.Reply(500, "Call Not Recorded", route.RetryAfter(5),
		route.Warn("the call could not be recorded and was not set up; try again in a few seconds"))
}
