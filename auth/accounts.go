package auth

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// Limits of the account cache.
const (
	// MaxDevicePasswords is how many live device passwords of one account are tried
	// against an answer; older ones beyond it do not sign in.
	MaxDevicePasswords = 32
	// accountLife is how long a cached account is believed. Changes are announced
	// through Invalidate; this bound is for announcements that were lost.
	accountLife = 60 * time.Second
	// maxWaiting bounds the callbacks that wait for one account.
	maxWaiting = 1024
	// lookupWorkers is how many accounts are read from the store side by side.
	lookupWorkers = 4
)

// errBusy is given to lookups beyond the queue's bound.
var errBusy = errs.New(errs.TooMany, "auth: too many accounts are being looked up")

// UserStore is the part of the store that holds accounts. store.Users has it.
type UserStore interface {
	User(ctx context.Context, aor string) (*store.User, error)
	DevicePasswords(ctx context.Context, aor string) ([]store.DevicePassword, error)
	TouchDevicePasswords(ctx context.Context, used map[string]time.Time) error
}

// credential is one password by which an account can be entered: its own, or one of a
// device. The secrets are raw HA1 values for the short name followed by the long one.
type credential struct {
	device string // "" for the account's own
	md5    []byte
	sha256 []byte
}

// ha1 picks the secret for an algorithm and the form of user name the client used.
func (c *credential) ha1(a Algorithm, long bool) []byte {
	b := c.md5
	if a == SHA256 {
		b = c.sha256
	}
	if len(b) != 2*a.size() {
		return nil
	}
	if long {
		return b[a.size():]
	}
	return b[:a.size()]
}

// account is what the cache keeps. It never changes once made.
type account struct {
	user        *store.User
	credentials []credential
}

// Accounts caches accounts and their digest secrets over the store. Lookups that miss
// are answered by a few workers; any number of callers for one account share one read,
// and callbacks for one account run in the order of the calls.
type Accounts struct {
	users   UserStore
	keys    *Keys
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time
	limit   int

	queue chan *entry

	mu      sync.Mutex // guards everything below, and the fields of each entry
	entries map[string]*entry
	lru     *list.List // of *entry that are ready, most recently used in front
	used    map[string]time.Time
}

// entry is one account in the cache, ready or being read.
type entry struct {
	aor     string
	ready   bool
	changed bool // Invalidate was called while it was being read: read it again
	account *account
	err     error
	read    time.Time
	waiting []func(*account, error)
	at      *list.Element
}

// newAccounts makes a cache of at most limit accounts with a queue for as many reads as
// queue says. It starts nothing.
func newAccounts(users UserStore, keys *Keys, limit, queue int, now func() time.Time, log *slog.Logger, m *metrics) *Accounts {
	return &Accounts{
		users: users, keys: keys, log: log, metrics: m, now: now, limit: limit,
		queue: make(chan *entry, queue), entries: make(map[string]*entry), lru: list.New(), used: make(map[string]time.Time),
	}
}

// Lookup finds an account by its AOR. done runs at once when the account is cached,
// else later on a worker; it must not block. Errors: store.ErrNotFound (errs.NotFound),
// errs.TooMany when too many lookups wait, or what the store says. Unknown accounts are
// cached too. The account comes without its secrets.
func (a *Accounts) Lookup(aor string, done func(*store.User, error)) {
	a.lookup(aor, func(acc *account, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(acc.user, nil)
	})
}

func (a *Accounts) lookup(aor string, done func(*account, error)) {
	a.mu.Lock()
	e := a.entries[aor]
	if e != nil && e.ready {
		if a.now().Sub(e.read) < accountLife {
			a.lru.MoveToFront(e.at)
			acc, err := e.account, e.err
			a.mu.Unlock()
			done(acc, err)
			return
		}
		a.forget(e)
		e = nil
	}
	if e != nil {
		full := len(e.waiting) >= maxWaiting
		if !full {
			e.waiting = append(e.waiting, done)
		}
		a.mu.Unlock()
		if full {
			done(nil, errBusy)
		}
		return
	}
	e = &entry{aor: strings.Clone(aor), waiting: []func(*account, error){done}}
	select {
	case a.queue <- e:
		a.entries[e.aor] = e
		a.mu.Unlock()
	default:
		a.mu.Unlock()
		done(nil, errBusy)
	}
}

// Invalidate forgets what is cached about an account: call it when the account or one
// of its device passwords changed.
func (a *Accounts) Invalidate(aor string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.entries[aor]; e != nil {
		if e.ready {
			a.forget(e)
		} else {
			e.changed = true
		}
	}
}

// sweep forgets accounts that were read too long ago to be believed, and were not asked for since others were.
func (a *Accounts) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for at := a.lru.Back(); at != nil; at = a.lru.Back() {
		e := at.Value.(*entry)
		if a.now().Sub(e.read) < accountLife {
			return
		}
		a.forget(e)
	}
}

// forget drops a ready entry. The caller holds mu.
func (a *Accounts) forget(e *entry) {
	a.lru.Remove(e.at)
	delete(a.entries, e.aor)
}

// serve runs the workers until ctx ends, then answers everybody who waits.
func (a *Accounts) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	for range lookupWorkers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case e := <-a.queue:
					a.read(ctx, e)
				}
			}
		})
	}
	wg.Go(func() { a.touch(ctx) })
	wg.Wait()
	for {
		select {
		case e := <-a.queue:
			a.finish(e, nil, errs.New(errs.Unavailable, "auth: stopping"))
		default:
			return nil
		}
	}
}

// read fetches one account and runs everybody who waits for it.
func (a *Accounts) read(ctx context.Context, e *entry) {
	start := time.Now()
	acc, err := a.load(ctx, e.aor)
	a.metrics.lookup.Observe(time.Since(start).Seconds())
	a.finish(e, acc, err)
}

func (a *Accounts) load(ctx context.Context, aor string) (*account, error) {
	u, err := a.users.User(ctx, aor)
	if err != nil {
		return nil, err
	}
	devices, err := a.users.DevicePasswords(ctx, aor)
	if err != nil {
		return nil, err
	}
	slim := *u
	slim.Password, slim.HA1MD5, slim.HA1SHA256 = "", nil, nil
	acc := &account{user: &slim}
	add := func(device string, md5, sha256 []byte) {
		c := credential{device: device}
		c.md5 = a.open(MD5, aor, md5)
		c.sha256 = a.open(SHA256, aor, sha256)
		if c.md5 != nil || c.sha256 != nil {
			acc.credentials = append(acc.credentials, c)
		}
	}
	add("", u.HA1MD5, u.HA1SHA256)
	live := 0
	for i := len(devices) - 1; i >= 0 && live < MaxDevicePasswords; i-- { // the newest first
		if !devices[i].Revoked {
			add(devices[i].ID, devices[i].HA1MD5, devices[i].HA1SHA256)
			live++
		}
	}
	return acc, nil
}

// open opens a sealed secret. One that does not open is as good as none: that account
// cannot sign in, the others can; the operator is told.
func (a *Accounts) open(alg Algorithm, aor string, sealed []byte) []byte {
	if len(sealed) == 0 {
		return nil
	}
	plain, err := a.keys.OpenHA1(alg, aor, sealed)
	if err != nil {
		a.metrics.broken.Inc()
		a.log.Error("a stored password cannot be opened with this key", "aor", aor, "err", err)
		return nil
	}
	return plain
}

// finish publishes the result. Callbacks run outside the lock, and until the last one
// has run the entry is not ready, so that later callers queue behind earlier ones. What
// was read before a change is given to nobody who may have asked after it.
func (a *Accounts) finish(e *entry, acc *account, err error) {
	for {
		a.mu.Lock()
		if e.changed && (err == nil || errors.Is(err, errs.NotFound)) {
			e.changed = false
			select {
			case a.queue <- e:
				a.mu.Unlock()
				return
			default:
				acc, err = nil, errBusy
			}
		}
		run := e.waiting
		e.waiting = nil
		if len(run) == 0 {
			a.settle(e, acc, err)
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		for _, done := range run {
			done(acc, err)
		}
	}
}

// settle makes a finished entry ready, or drops it. The caller holds mu.
func (a *Accounts) settle(e *entry, acc *account, err error) {
	// A store that failed once is asked again.
	if e.changed || err != nil && !errors.Is(err, errs.NotFound) {
		delete(a.entries, e.aor)
		return
	}
	e.account, e.err, e.read, e.ready = acc, err, a.now(), true
	e.at = a.lru.PushFront(e)
	for a.lru.Len() > a.limit {
		a.forget(a.lru.Back().Value.(*entry))
	}
}

// size is the number of accounts cached or being read, for the gauge.
func (a *Accounts) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.entries)
}

// touchEvery is how often the last use of device passwords is written.
const touchEvery = 60 * time.Second

// usedDevice notes that a device password was used. The store learns it later.
func (a *Accounts) usedDevice(id string) {
	a.mu.Lock()
	if len(a.used) < 100_000 {
		a.used[id] = a.now()
	}
	a.mu.Unlock()
}

// touch writes the last uses from time to time and once more at the end.
func (a *Accounts) touch(ctx context.Context) {
	tick := time.NewTicker(touchEvery)
	defer tick.Stop()
	flush := func(ctx context.Context) {
		a.mu.Lock()
		used := a.used
		a.used = make(map[string]time.Time)
		a.mu.Unlock()
		if len(used) == 0 {
			return
		}
		if err := a.users.TouchDevicePasswords(ctx, used); err != nil {
			a.log.Debug("last use of device passwords not written", "err", err)
		}
	}
	for {
		select {
		case <-tick.C:
			flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			flush(last)
			cancel()
			return
		}
	}
}
