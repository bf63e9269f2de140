package auth

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Wrong passwords are counted in three ways, each in a bounded table:
//
//   - an account from one address: after Options.Failures wrong ones in a row the pair is
//     locked for lockFirst, and twice as long after each further one;
//   - an account from everywhere: after ten times as many it is locked for addresses
//     from which nobody signed in to it lately, so that guessing from many addresses
//     does not lock out its owner;
//   - an address for all accounts: after twenty times as many it is locked, but not for
//     accounts that were entered from it lately: a whole office may share it.
//
// Only answers to a nonce that was issued to that very address are counted, so nobody
// can lock out an address or an account with forged packets. While locked an answer is
// refused before it is looked at and not counted.
const (
	accountFactor = 10
	addressFactor = 20
	lockFirst     = 10 * time.Second
	lockLongest   = 15 * time.Minute
	guardMemory   = 30 * time.Minute // without a wrong password for so long, all is forgotten
	goodMemory    = 24 * time.Hour   // how long an address is known to an account
)

type pairKey struct {
	aor  string
	addr netip.Addr
}

// guard counts. It is safe for concurrent use.
type guard struct {
	free int // wrong passwords of a pair that lock nothing

	mu       sync.Mutex // guards the tables
	pairs    *counts[pairKey]
	accounts *counts[string]
	addrs    *counts[netip.Addr]
	good     *counts[pairKey] // where an account was entered from lately
}

func newGuard(limit, free int) *guard {
	return &guard{
		free:  free,
		pairs: newCounts[pairKey](limit, guardMemory), accounts: newCounts[string](limit, guardMemory),
		addrs: newCounts[netip.Addr](limit, guardMemory), good: newCounts[pairKey](limit, goodMemory),
	}
}

// locked tells for how long answers for aor from addr are refused; 0 if they are not.
func (g *guard) locked(aor string, addr netip.Addr, now time.Time) time.Duration {
	key := pairKey{aor, network(addr)}
	g.mu.Lock()
	defer g.mu.Unlock()
	wait := g.pairs.wait(key, now)
	if w := max(g.accounts.wait(aor, now), g.addrs.wait(key.addr, now)); w > wait && !g.good.has(key, now) {
		wait = w
	}
	return wait
}

// wrong counts a wrong password and returns for how long this locks.
func (g *guard) wrong(aor string, addr netip.Addr, now time.Time) time.Duration {
	key := pairKey{aor, network(addr)}
	g.mu.Lock()
	defer g.mu.Unlock()
	wait := g.pairs.add(key, g.free, now)
	all := max(g.addrs.add(key.addr, g.free*addressFactor, now), g.accounts.add(aor, g.free*accountFactor, now))
	if !g.good.has(key, now) {
		wait = max(wait, all)
	}
	return wait
}

// right notes a right password: the pair starts anew.
func (g *guard) right(aor string, addr netip.Addr, now time.Time) {
	key := pairKey{aor, network(addr)}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pairs.remove(key)
	g.good.add(key, 1<<30, now)
}

// reset forgets everything about an account, for when its password was changed.
func (g *guard) reset(aor string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.accounts.remove(aor)
	g.pairs.removeIf(func(k pairKey) bool { return k.aor == aor })
	g.good.removeIf(func(k pairKey) bool { return k.aor == aor })
}

// network is what counts as one address: an IPv4 address, or the /64 that one IPv6
// subscriber owns.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// counts is a bounded table of counters; the one touched longest ago goes first.
type counts[K comparable] struct {
	limit int
	life  time.Duration // what was not touched for so long is forgotten
	m     map[K]*list.Element
	lru   *list.List
}

type count[K comparable] struct {
	key   K
	n     int
	last  time.Time
	until time.Time
}

func newCounts[K comparable](limit int, life time.Duration) *counts[K] {
	return &counts[K]{limit: limit, life: life, m: make(map[K]*list.Element), lru: list.New()}
}

func (c *counts[K]) find(k K, now time.Time) *count[K] {
	el := c.m[k]
	if el == nil {
		return nil
	}
	e := el.Value.(*count[K])
	if now.Sub(e.last) > c.life {
		c.remove(k)
		return nil
	}
	return e
}

func (c *counts[K]) has(k K, now time.Time) bool { return c.find(k, now) != nil }

func (c *counts[K]) wait(k K, now time.Time) time.Duration {
	if e := c.find(k, now); e != nil && e.until.After(now) {
		return e.until.Sub(now)
	}
	return 0
}

// add counts once; beyond free it locks, doubling.
func (c *counts[K]) add(k K, free int, now time.Time) time.Duration {
	e := c.find(k, now)
	if e == nil {
		e = &count[K]{key: k}
		c.m[k] = c.lru.PushFront(e)
		if c.lru.Len() > c.limit {
			c.remove(c.lru.Back().Value.(*count[K]).key)
		}
	} else {
		c.lru.MoveToFront(c.m[k])
	}
	e.n++
	e.last = now
	if e.n < free {
		return 0
	}
	lock := lockLongest
	if over := e.n - free; over < 10 {
		lock = min(lockFirst<<over, lockLongest)
	}
	e.until = now.Add(lock)
	return lock
}

func (c *counts[K]) remove(k K) {
	if el := c.m[k]; el != nil {
		c.lru.Remove(el)
		delete(c.m, k)
	}
}

func (c *counts[K]) removeIf(gone func(K) bool) {
	for k := range c.m {
		if gone(k) {
			c.remove(k)
		}
	}
}
