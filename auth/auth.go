// Package auth answers "who are you": SIP digest authentication (RFC 3261 §22 with
// RFC 8760, RFC 7616, RFC 2617 and the answers of RFC 2069 clients), the passwords behind
// it, and connections that are trusted after a REGISTER was authenticated on them.
package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// Identity is who somebody is. The zero value is nobody.
type Identity struct {
	AOR    string // "alice@example.com"
	Device string // id of the device password that was used, "" for the account's own
	Admin  bool
	Name   string // display name of the account
}

// Source is where a request came from.
type Source struct {
	Listener string         // the listener's name in the configuration; chooses the Policy
	Kind     string         // transport, "udp", "tcp" …; for logs
	Addr     netip.AddrPort // the peer; nonces are bound to its address, not to its port
	Conn     uint64         // names the connection; 0 when there is none (UDP)
}

// Policy is what one listener accepts.
type Policy struct {
	// Algorithms are offered in this order; no other is accepted. None means MD5, because
	// a second challenge beside MD5 breaks shipped clients (RFC 8760 §2.3 permits several).
	Algorithms []Algorithm
	// RequireQOP refuses the answers of RFC 2069 clients, which carry no nonce count and
	// can be repeated from the same address for as long as Options.PlainLife.
	RequireQOP bool
}

// Options is what an Authenticator is made of. Zero durations and limits take defaults.
type Options struct {
	Domains   []string // realms; the first is used when a From names none of them
	Users     UserStore
	Keys      *Keys
	Default   Policy            // for listeners without their own
	Listeners map[string]Policy // by Source.Listener
	// GRUUOwner tells whose temporary GRUU a URI is (RFC 5627 §3.1.2). It must not block.
	GRUUOwner func(uri sip.URI) (aor string, ok bool)
	// IsLocal tells whether host:port is a listener of ours; transport.Layer has it. nil: none is.
	IsLocal    func(host string, port uint16) bool
	NonceLife  time.Duration // for answers with qop; default 5 min
	PlainLife  time.Duration // for answers without; default 1 min
	Failures   int           // wrong passwords in a row from one address before it is locked out; default 5
	MaxNonces  int           // used nonces remembered; default 200,000 (about 20 MB)
	MaxCached  int           // accounts cached; default 100,000
	MaxLookups int           // accounts waiting to be read; default 10,000
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: metrics are not registered
}

// Result is the answer to one request.
type Result struct {
	Identity Identity
	Status   int    // 0: signed in; else what to answer: 400, 401, 403, 407, 500 or 503
	Reason   string // reason phrase, "" for the standard one
	Warning  string // a sentence for a person, or ""
	// Challenges are the values of WWW-Authenticate (401) or Proxy-Authenticate (407),
	// one row each, in order of preference.
	Challenges []string
	RetryAfter int // seconds, 0 for none
	// Digest: a fresh digest was right. The source has shown that it receives what is
	// sent to it (the nonce), so it is proven.
	Digest bool
	// AuthenticationInfo is the value of that header for a 2xx (RFC 7616 §3.5), or "".
	AuthenticationInfo string
}

// Authenticator finds out who sent a request. It is safe for concurrent use.
type Authenticator struct {
	o        Options
	domains  map[string]bool
	accounts *Accounts
	nonces   *nonces
	used     *usedNonces
	guard    *guard
	trusts   *trusts
	hashing  *hashing
	metrics  *metrics
	log      *slog.Logger
	now      func() time.Time
	nobody   credential // for users that do not exist
}

// New makes an Authenticator. It starts nothing; Serve does.
func New(o Options) (*Authenticator, error) {
	if len(o.Domains) == 0 || o.Users == nil || o.Keys == nil {
		return nil, errs.New(errs.Invalid, "auth: domains, users and keys are needed")
	}
	defaultTo(&o.NonceLife, 5*time.Minute)
	defaultTo(&o.PlainLife, time.Minute)
	defaultTo(&o.Failures, 5)
	defaultTo(&o.MaxNonces, 200_000)
	defaultTo(&o.MaxCached, 100_000)
	defaultTo(&o.MaxLookups, 10_000)
	if o.IsLocal == nil {
		o.IsLocal = func(string, uint16) bool { return false }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Authenticator{
		o: o, domains: make(map[string]bool), nonces: newNonces(), used: newUsedNonces(o.MaxNonces),
		guard: newGuard(o.MaxCached, o.Failures), trusts: newTrusts(o.Now()), hashing: newHashing(), metrics: newMetrics(), log: o.Log, now: o.Now,
	}
	for _, d := range o.Domains {
		a.domains[strings.ToLower(d)] = true
	}
	a.accounts = newAccounts(o.Users, o.Keys, o.MaxCached, o.MaxLookups, o.Now, o.Log, a.metrics)
	a.nobody = credential{md5: make([]byte, 2*MD5.size()), sha256: make([]byte, 2*SHA256.size())}
	rand.Read(a.nobody.md5)
	rand.Read(a.nobody.sha256)
	a.metrics.register(o.Registerer, a)
	return a, nil
}

func defaultTo[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Serve reads accounts from the store until ctx ends. Without it, lookups wait.
func (a *Authenticator) Serve(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(proofLife)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				a.trusts.sweep(a.now())
				a.accounts.sweep()
			}
		}
	})
	err := a.accounts.serve(ctx)
	wg.Wait()
	return err
}

// Accounts is the cache of accounts.
func (a *Authenticator) Accounts() *Accounts { return a.accounts }

// Trust makes the connection of src speak for id until then, without further challenges
// except for REGISTER. The registrar calls it after an authenticated REGISTER that came
// with one Via and no Path; a time in the past ends the trust. It has no effect without a
// connection, or when id was not authenticated on it.
func (a *Authenticator) Trust(src Source, id Identity, until time.Time) {
	if src.Conn != 0 {
		a.trusts.trust(src.Conn, id, until, a.now())
	}
}

// ConnClosed forgets a connection.
func (a *Authenticator) ConnClosed(conn uint64) { a.trusts.closed(conn) }

// UserChanged forgets what is cached about an account: its password changed, it was
// disabled or removed, a device password was revoked. Connections that were trusted on the
// strength of a password it no longer has are asked again; the others are not disturbed.
func (a *Authenticator) UserChanged(aor string) {
	a.accounts.Invalidate(aor)
	a.guard.reset(aor)
}

// Conns lists the connections that are trusted for an account, to close them when it is
// disabled.
func (a *Authenticator) Conns(aor string) []uint64 { return a.trusts.connsOf(aor) }

// SpeaksFor tells whether uri names the account: its AOR, with whatever parameters (a
// public GRUU is one), or one of its temporary GRUUs.
func (a *Authenticator) SpeaksFor(id Identity, uri sip.URI) bool {
	return id.AOR != "" && a.owner(uri) == id.AOR
}

// CheckFrom tells whether the From of a request names id.
func (a *Authenticator) CheckFrom(m *sip.Message, id Identity) bool {
	from, err := m.From()
	return err == nil && a.SpeaksFor(id, from.URI)
}

// owner is the AOR that a URI stands for, "" for none.
func (a *Authenticator) owner(uri sip.URI) string {
	if !uri.IsSIP() {
		return ""
	}
	if a.o.GRUUOwner != nil && uri.Params.Has("gr") {
		if aor, ok := a.o.GRUUOwner(uri); ok {
			return aor
		}
	}
	return uri.AOR()
}

// policy is what the listener of a request accepts.
func (a *Authenticator) policy(src Source) Policy {
	p, ok := a.o.Listeners[src.Listener]
	if !ok {
		p = a.o.Default
	}
	if len(p.Algorithms) == 0 {
		p.Algorithms = []Algorithm{MD5}
	}
	return p
}

// Authenticate finds out who sent m and calls done exactly once, at once or later from a
// worker; done must not block. Requests of one account are answered in the order in which
// they came. proxy asks for 407 instead of 401. ACK and CANCEL cannot be challenged
// (RFC 3261 §22.1) and must not be given.
//
// It says who sent the request, not whether its From is true: CheckFrom does, and the
// chain asks it right after.
func (a *Authenticator) Authenticate(m *sip.Message, src Source, proxy bool, done func(Result)) {
	from, err := m.From()
	if err != nil {
		a.metrics.requests.WithLabelValues(resultRefused).Inc()
		done(Result{Status: 400, Reason: "Malformed From"})
		return
	}
	if src.Conn != 0 && m.Method() != sip.REGISTER && oneVia(m) {
		if t, ok := a.trusts.speaker(src.Conn, a.owner(from.URI), a.now()); ok {
			a.trusted(m, src, proxy, done, t)
			return
		}
	}
	a.newCheck(m, src, proxy, done, from.URI).digest()
}

func (a *Authenticator) newCheck(m *sip.Message, src Source, proxy bool, done func(Result), from sip.URI) *check {
	return &check{a: a, m: m, src: src, proxy: proxy, done: done, from: from, policy: a.policy(src)}
}

// trusted takes the word of the connection, if the account still stands. It makes no check before it needs one: most messages
// come this way.
func (a *Authenticator) trusted(m *sip.Message, src Source, proxy bool, done func(Result), t trusted) {
	a.accounts.lookup(t.aor, func(acc *account, err error) {
		if err == nil && t.holds(acc) {
			a.metrics.trusted.Inc()
			done(Result{Identity: Identity{AOR: t.aor, Device: t.device, Admin: acc.user.Admin, Name: acc.user.Name}})
			return
		}
		from, _ := m.From() // it was read before
		c := a.newCheck(m, src, proxy, done, from.URI)
		if err != nil && !errors.Is(err, errs.NotFound) {
			c.unavailable(err)
			return
		}
		a.trusts.trust(src.Conn, Identity{AOR: t.aor}, time.Time{}, a.now())
		c.digest()
	})
}

// oneVia tells whether the request came straight from its sender.
func oneVia(m *sip.Message) bool {
	n := 0
	for range m.Values(sip.HVia) {
		if n++; n > 1 {
			return false
		}
	}
	return true
}

// User is a shorthand for Accounts().Lookup.
func (a *Authenticator) User(aor string, done func(*store.User, error)) {
	a.accounts.Lookup(aor, done)
}
