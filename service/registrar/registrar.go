// Package registrar is the registrar and location service of RFC 3261 §10.3, with
// outbound (RFC 5626), GRUU (RFC 5627), Path (RFC 3327), capabilities (RFC 3840) and the
// registration event package (RFC 3680, RFC 5628).
//
// Bindings live in memory, sharded by address-of-record, and are written to the store
// behind the answer, in batches: a REGISTER never waits for the disk, and a crash loses at
// most the last second of refreshes, which clients repeat.
//
// A binding that came straight from its device is reached over the very flow it came on
// and never by resolving its Contact. So a Contact cannot point the server at somebody
// else, and devices behind NATs and in browsers are reached like all others.
package registrar

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Options is what a Registrar is made of. Zero numbers and durations take defaults.
type Options struct {
	Domains []string       // whose bindings these are
	Store   store.Bindings // where they survive a restart
	Key     []byte         // 32 bytes; GRUUs are made with it and stay valid as long as it stays
	// UDPFlow makes a UDP flow again after a restart; transport.Layer has it.
	UDPFlow func(local, remote netip.AddrPort) (transport.Flow, bool)
	// IsListener tells whether host:port is a listener of ours of that kind; transport.Layer has it.
	IsListener func(k transport.Kind, host string, port uint16) bool
	// Exists tells whether there is an account, with done called once, at once or later.
	// It is asked only for addresses without bindings.
	Exists func(aor string, done func(exists bool, err error))
	// Trust is told until when the connection of a REGISTER may speak for its account
	// without further challenges; a zero time: no longer. nil: nobody is told.
	Trust func(r *route.Request, until time.Time)

	// Expect is told of a device before its REGISTER is answered: what is said after the answer is
	// for that device too. It must not block. nil: nobody is told.
	Expect func(aor, device string)

	MinExpires     time.Duration // shorter ones get 423; default 60 s, at most 1 h
	DefaultExpires time.Duration // when none is asked for; default 1 h
	MaxExpires     time.Duration // longer ones are shortened; default 24 h
	FlowTimer      time.Duration // keep-alive interval told to outbound clients; default 120 s
	PerUser        int           // bindings of one user; default 20
	PerRequest     int           // contacts in one REGISTER; default 10
	Total          int           // bindings in all; default 500,000
	FlushEvery     time.Duration // how long a change may wait to be written; default 500 ms

	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: metrics are not registered
}

// Registrar keeps who is where. It is a route.Handler for REGISTER, a route.Locator and a
// route.Reacher. It is safe for concurrent use.
type Registrar struct {
	o       Options
	domains map[string]bool
	gruu    *gruus
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	shards   [shardCount]shard
	flows    flowIndex
	contacts contactIndex
	expiry   expiry
	dirty    dirty
	queue    queue
	total    atomic.Int64

	watchers []func(Event) // fixed before Serve
}

var (
	_ route.Handler = (*Registrar)(nil)
	_ route.Locator = (*Registrar)(nil)
	_ route.Reacher = (*Registrar)(nil)
)

// Extensions are the option tags that REGISTER understands in Require.
func Extensions() []string { return []string{"path", "outbound", "gruu"} }

// New makes a Registrar. It starts nothing and is empty until Load.
func New(o Options) (*Registrar, error) {
	if len(o.Domains) == 0 || o.Store == nil || len(o.Key) != 32 {
		return nil, errs.New(errs.Invalid, "registrar: domains, a store and a key of 32 bytes are needed")
	}
	defaultTo(&o.MinExpires, time.Minute)
	defaultTo(&o.DefaultExpires, time.Hour)
	defaultTo(&o.MaxExpires, 24*time.Hour)
	defaultTo(&o.FlowTimer, 2*time.Minute)
	defaultTo(&o.PerUser, 20)
	defaultTo(&o.PerRequest, 10)
	defaultTo(&o.Total, 500_000)
	defaultTo(&o.FlushEvery, 500*time.Millisecond)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Expect == nil {
		o.Expect = func(string, string) {}
	}
	if o.Exists == nil {
		o.Exists = func(_ string, done func(bool, error)) { done(true, nil) }
	}
	if o.IsListener == nil {
		o.IsListener = func(transport.Kind, string, uint16) bool { return false }
	}
	if o.UDPFlow == nil {
		o.UDPFlow = func(netip.AddrPort, netip.AddrPort) (transport.Flow, bool) { return transport.Flow{}, false }
	}
	g, err := newGRUUs(o.Key)
	if err != nil {
		return nil, err
	}
	s := &Registrar{o: o, domains: make(map[string]bool), gruu: g, log: o.Log, now: o.Now, metrics: newMetrics()}
	for _, d := range o.Domains {
		s.domains[strings.ToLower(d)] = true
	}
	for i := range s.shards {
		s.shards[i].entries = make(map[string]*entry)
		s.shards[i].removed = make(map[string]time.Time)
	}
	s.flows.refs = make(map[uint64][]ref)
	s.contacts.refs = make(map[string][]ref)
	s.expiry.wake = make(chan struct{}, 1)
	s.dirty.changed = make(map[store.BindingKey]*Binding)
	s.dirty.wake = make(chan struct{}, 1)
	s.queue.wake = make(chan struct{}, 1)
	s.metrics.register(o.Registerer, s)
	return s, nil
}

func defaultTo[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Serve expires bindings, writes changes and tells watchers until ctx ends, then writes
// what is left.
func (s *Registrar) Serve(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.expire(ctx) })
	wg.Go(func() { s.writeBehind(ctx) })
	wg.Go(func() { s.tell(ctx) })
	wg.Wait()
	return nil
}

// Watch calls f for every change, on one goroutine of Serve and in order, after the
// REGISTER that made it was answered. f must not block. It is a hint: what is true is in
// Bindings. Call it before Serve.
func (s *Registrar) Watch(f func(Event)) { s.watchers = append(s.watchers, f) }

// Counts tells how many people are registered, and with how many contacts.
func (s *Registrar) Counts() (people, contacts int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		people += len(sh.entries)
		sh.mu.RUnlock()
	}
	return people, int(s.total.Load())
}

// ours tells whether host is one of our domains.
func (s *Registrar) ours(host string) bool {
	return s.domains[strings.ToLower(strings.TrimSuffix(host, "."))]
}

// Owner tells whose temporary GRUU a URI is (RFC 5627 §3.1.2); false when it is none, or
// no longer.
func (s *Registrar) Owner(uri sip.URI) (aor string, ok bool) {
	if v, has := uri.Params.Get("gr"); !has || v != "" || !s.ours(uri.Host) {
		return "", false
	}
	r, ok := s.gruu.resolve(uri.User)
	return r.aor, ok
}
