// Package message carries instant messages (RFC 3428): it records each one in the log and only then
// delivers it to every device of its receiver, now or when the device returns.
package message

import (
	"context"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/base/rate"
	"github.com/parley-im/parley/base/run"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/service/message/said"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/sip"
)

// Plain is the device of everything that signs in without +sip.instance and without a device password.
const Plain = "plain"

// Defaults of Options.
const (
	DefaultMaxBody = 64 << 10
	DefaultWindow  = 24 * time.Hour
	DefaultLapse   = 30 * 24 * time.Hour
)

// answerWithin is how long a sender waits for a device before it hears 202. A request that gets
// no answer would be retransmitted, and 408 is forbidden (RFC 4320 §4.2).
const answerWithin = 2 * time.Second

// Devices tells where people can be reached now. Filled by the registrar; it answers from memory.
type Devices interface {
	// Devices returns the bindings of an AOR, best first. Several with one Device are contacts of that device.
	Devices(aor string) []route.Target
	// Reachable tells whether Devices would return anything. It is asked for every open mailbox once a second, so it
	// must be cheap.
	Reachable(aor string) bool
	// Resolve says whose address a Request-URI is. device is set when it is a GRUU (RFC 5627 §5.1).
	// ok is false for a GRUU that is not ours or no longer valid.
	Resolve(uri sip.URI) (aor, device string, ok bool)
}

// Accounts knows who exists. Filled by package auth.
type Accounts interface {
	// Lookup calls done once, now or later, in the order of the calls for one AOR.
	Lookup(aor string, done func(*store.User, error))
}

// Dialogs knows the sessions that run through us. Filled by the call service.
type Dialogs interface {
	// Peer returns the AOR at the far end, seen from the side whose tag is fromTag.
	Peer(callID, fromTag, toTag string) (aor string, ok bool)
}

// Forwarder passes a request on inside its dialog. Filled by route.Proxy.
type Forwarder interface {
	ForwardInDialog(r *route.Request, o route.Options)
}

// Transactions sends requests. *transaction.Layer fills it.
type Transactions interface {
	Send(h transaction.Hop, d *sip.Draft, ch transaction.ClientHandler) *transaction.Client
	After(d time.Duration, f func()) *transaction.Timer
}

// Store is what the service keeps state in.
type Store interface {
	store.Log
	store.Index
	store.Cursors
	store.Settings
	store.Talks
}

// Levels knows how close people are to each other. Filled by the contact service.
type Levels interface {
	// Known answers from memory, if the answer is there.
	Known(owner, watcher string) (policy.Level, bool)
	// Level may wait for the store.
	Level(ctx context.Context, owner, watcher string) (policy.Level, policy.Reason, error)
}

// Files knows the files that this server keeps. Filled by the file service.
type Files interface {
	// Claim binds a completed upload of from's to the conversation with to. It may wait for the store.
	Claim(ctx context.Context, from, to, id string) (*store.File, error)
	// Recorded tells that the message with the file has this Seq: from now on the two may fetch it. It never blocks.
	Recorded(id string, seq int64)
	// Own tells whether url is an address of ours that from was given, and of which file. It answers from memory.
	Own(url, from string) (id string, ok bool)
	// Link is the address by which receiver fetches a file without signing in, "" for none, and until when. It answers from memory.
	Link(id, name, receiver string) (url string, until time.Time)
}

// Clients knows the programs at devices. Filled by the registrar and the presence agent; they answer from memory.
type Clients interface {
	// Agent is the User-Agent with which a device registered; "" when not known.
	Agent(aor, device string) string
	// Limit is how many bytes of text a device takes; 0: any number.
	Limit(aor, device string) int
	// Link is the address under which people read a message in the web client; "" when there is none.
	Link(message id.ID) string
}

// Options are what a Service is made of. All but the numbers, and what is said to be nil sometimes, are required.
type Options struct {
	Store        Store
	Devices      Devices
	Accounts     Accounts
	Dialogs      Dialogs
	Forward      Forwarder
	Transactions Transactions
	MaxBody      int           // bytes of a body after unpacking, default 64 kB
	Window       time.Duration // within which a repeat is recognised, at least and by default 24 h
	Lapse        time.Duration // after which a device that was not seen is owed nothing, default 30 days
	Rate         int           // messages a second of one sender, four times as many at once; 0: no limit
	// Quiet tells whether owner does not want to be disturbed now, and from may not interrupt; nil: never. It is asked
	// for each delivery to each device, so it answers from memory, and never blocks or allocates. See quiet.go.
	Quiet func(owner, from string) bool
	// Hidden tells whether owner looks offline to from; nil: never. The sender hears then what senders hear when nobody is there,
	// and as soon. It is asked once for each message, answers from memory, and never blocks.
	Hidden func(owner, from string) bool
	// Levels keeps typing notices from who is blocked; nil: nobody is.
	Levels Levels
	// Typing is told of each typing notice that may be passed on, from whatever door; nil: nobody wants to know. It never blocks.
	Typing     func(from, to string, active bool)
	Files      Files   // nil: this server keeps none
	Clients    Clients // nil: nothing is known of devices
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Service is the one way in for everything that people say.
type Service struct {
	o        Options
	repeats  *repeats
	shards   []*shard
	seed     maphash.Seed
	readers  *readers
	metrics  *metrics
	rate     *rate.Buckets[string] // by sender
	typings  *typings
	turns    turns
	loaded   chan struct{} // closed by Load
	fresh    chan struct{} // a device was never seen before: its cursor is saved soon
	position int64         // that the saved cursors cover; belongs to keepCursors

	mu    sync.Mutex // guards early
	early []func()   // appends that wait for Load; bounded by the requests in flight
}

// New makes a service; Serve runs it.
func New(o Options) *Service {
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	o.Store, o.Window = recordFirst(o.Store), max(o.Window, DefaultWindow)
	if o.Lapse == 0 {
		o.Lapse = DefaultLapse
	}
	s := &Service{o: o, seed: maphash.MakeSeed(), repeats: newRepeats(o.Window), readers: newReaders(), rate: newRate(o.Rate), typings: newTypings(), loaded: make(chan struct{}), fresh: make(chan struct{}, 1)}
	if s.o.Quiet == nil {
		s.o.Quiet = func(string, string) bool { return false }
	}
	if s.o.Hidden == nil {
		s.o.Hidden = func(string, string) bool { return false }
	}
	if s.o.Clients == nil {
		s.o.Clients = strangers{}
	}
	s.metrics = newMetrics(o.Registerer, s.repeats)
	for range runtime.GOMAXPROCS(0) {
		s.shards = append(s.shards, newShard(s))
	}
	return s
}

// maxSenders are limited at a time: far more people than one server has.
const maxSenders = 1 << 20

// newRate bounds what one sender can make the log keep: so many a second, and four seconds' worth at once.
func newRate(per int) *rate.Buckets[string] {
	return rate.NewBuckets[string](rate.Limit{Per: float64(per), Most: 4 * float64(per)}, maxSenders)
}

// Load brings the service to where it was: cursors that were not saved before the last stop, and the
// window of repeats, which takes seconds when a million messages were said in it. What is sent meanwhile waits for it,
// and so does delivery.
func (s *Service) Load(ctx context.Context) error {
	if err := s.replay(ctx); err != nil {
		return err
	}
	if err := s.refill(ctx); err != nil {
		return err
	}
	for { // in the order in which they came
		s.mu.Lock()
		early := s.early
		if s.early = nil; len(early) == 0 {
			close(s.loaded)
		}
		s.mu.Unlock()
		if len(early) == 0 {
			return nil
		}
		for _, f := range early {
			f()
		}
	}
}

// ready says that the window of repeats is there.
func (s *Service) ready() bool {
	select {
	case <-s.loaded:
		return true
	default:
		return false
	}
}

// whenReady calls f from Load, or at once.
func (s *Service) whenReady(f func()) {
	s.mu.Lock()
	ready := s.ready()
	if !ready {
		s.early = append(s.early, f)
	}
	s.mu.Unlock()
	if ready {
		f()
	}
}

// Serve delivers until ctx ends, then saves the cursors.
func (s *Service) Serve(ctx context.Context) error {
	g := run.New(s.o.Log, 3*time.Second)
	g.Add("message cursors", s.keepCursors)
	g.Add("message readers", s.readers.serve)
	for _, w := range s.shards {
		g.Add("message delivery", w.serve)
	}
	g.Add("message resumption", s.resume)
	return g.Serve(ctx)
}

// Outgoing is something that one person says to another.
type Outgoing struct {
	From        string // AOR of the sender, who has signed in
	Device      string // the sender's device, "" when not known
	Display     string // name that the sender gives, "" for none
	To          string // AOR of the receiver
	ToDevice    string // only this device (RFC 5627), "" for all
	ContentType string
	Encoding    string // Content-Encoding, "" for none
	Body        []byte
	Headers     Headers
	Expires     time.Duration // how long it is worth delivering; negative: for ever
	// What makes a repeat recognisable: the first three together, or the request's id alone.
	CallID, FromTag, CSeq string
	RequestID             string // of an API request
}

// Headers travel with a message to its receiver, and are recorded with it.
type Headers struct {
	Subject, Priority, Language, Disposition, InReplyTo string
}

// Result tells the sender what became of the message. Status is 200 when a device took it, 202 when
// it is stored for later, else a refusal: Reason and Warning are for a person.
type Result struct {
	Status     int
	Reason     string
	Warning    string
	RetryAfter int    // seconds, 0 for none
	Accept     string // Accept-Encoding for a 415
	ID         id.ID  // of the record; zero for what is not recorded
	lost       bool   // it could not be recorded
}

// Send records and delivers o. done is called exactly once, from any goroutine, and must not block.
// Messages of one sender to one receiver keep the order of the calls.
func (s *Service) Send(o Outgoing, done func(Result)) {
	c, refused := s.admit(&o)
	if refused != nil {
		s.metrics.refused.Inc()
		done(*refused)
		return
	}
	s.o.Accounts.Lookup(o.To, func(u *store.User, err error) {
		if r := receivable(&o, u, err); r != nil {
			s.metrics.refused.Inc()
			done(*r)
			return
		}
		if c.typing {
			s.passTyping(&o, c, done)
			return
		}
		if s.ready() {
			s.record(&o, c, done)
		} else {
			s.whenReady(func() { s.record(&o, c, done) })
		}
	})
}

// admit opens what o carries, if its sender has not said too much of late.
func (s *Service) admit(o *Outgoing) (opened, *Result) {
	if !s.rate.Take(o.From, time.Now()) {
		return opened{}, &Result{Status: 503, RetryAfter: 1, Warning: "you are sending messages faster than this server allows; wait a moment"}
	}
	return s.open(o)
}

// record appends the message, once, and hands it to delivery when it is durable.
func (s *Service) record(o *Outgoing, c opened, done func(Result)) {
	p := &pending{service: s, rec: s.newRecord(o, c), done: done}
	switch {
	case c.receipt != nil && (c.receipt.Status == store.OutcomeDisplayed || p.rec.Ref.IsZero()):
		s.readers.do(func(ctx context.Context) {
			s.refer(ctx, p.rec)
			s.appendAndDeliver(p)
		})
	case s.o.Files != nil && content.HasFile(p.rec):
		s.adopt(p.rec, func() { s.appendAndDeliver(p) })
	default:
		s.appendAndDeliver(p)
	}
}

// appendAndDeliver hands p to delivery when it is durable.
func (s *Service) appendAndDeliver(p *pending) {
	s.append(p, func() {
		s.recorded(p.rec)
		w := s.shardOf(p.rec.To)
		w.post(func() { w.deliver(p) })
	})
}

// recorded tells the file service of a file that people may fetch now.
func (s *Service) recorded(r *store.Record) {
	if f := r.MetaValue(store.MetaFile); f != "" && s.o.Files != nil {
		s.o.Files.Recorded(f, r.Seq)
	}
}

// append puts p into the log, unless it is there already, and then goes on. Else p's sender is answered.
func (s *Service) append(p *pending, then func()) {
	p.keys = s.repeats.keys(p.rec)
	first, old, known := s.repeats.begin(p)
	if known {
		s.metrics.repeats.Inc()
		if first != nil {
			first.alsoTell(p.done)
			return
		}
		p.done(repeated(old))
		return
	}
	s.o.Store.Append(p.rec, func(err error) {
		if err != nil {
			s.repeats.forget(p)
			s.metrics.unrecorded.Inc()
			p.settle(unrecordable(err))
			return
		}
		s.metrics.recorded.Inc()
		then()
	})
}

// repeated is the answer to what was said and answered before.
func repeated(old said.Said) Result {
	r := Result{Status: int(old.Status), ID: old.ID}
	switch {
	case r.Status == 0: // not known any more: it is in the log
		r.Status = 202
	case r.Status >= 300:
		r.Warning = "this message was sent before, and the receiver's device refused it; it is recorded but was not delivered"
	}
	return r
}

// Expect tells that a device of aor is registering, before it hears that it did: what is recorded from now on is
// for it too, even when it leaves again at once. Arrived follows when it can be sent something.
func (s *Service) Expect(aor, device string) {
	w := s.shardOf(aor)
	w.post(func() { w.mailbox(aor, func(b *mailbox) { b.outbox(device) }) })
}

// Arrived tells that a device of aor registered or refreshed, so that it gets what it missed.
func (s *Service) Arrived(aor, device string) {
	w := s.shardOf(aor)
	w.post(func() { w.mailbox(aor, func(b *mailbox) { b.arrived(device) }) })
}

// Forget ends what is kept in memory of an account that was removed. Senders that still wait hear that their message
// is stored; it is. An account of the same name gets nothing that was said before it was made.
func (s *Service) Forget(aor string) {
	w := s.shardOf(aor)
	w.post(func() { w.forget(aor) })
}

func (s *Service) shardOf(aor string) *shard {
	return s.shards[maphash.String(s.seed, aor)%uint64(len(s.shards))]
}
