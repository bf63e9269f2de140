package transport

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// sources remembers UDP sources in bounded memory: which are proven, and how
// many requests the others have sent. A flood of spoofed addresses only makes
// it forget.
type sources struct {
	seed   maphash.Seed
	rate   float64 // requests per ns
	burst  float64
	most   int // entries per shard, table and generation
	shards [16]sourceShard
}

const (
	provenFor = int64(time.Hour)
	ratedFor  = int64(10 * time.Second)
)

type sourceShard struct {
	mu     sync.Mutex
	proven generations[netip.AddrPort, struct{}]
	rated  generations[netip.Addr, bucket]
}

// bucket is a token bucket.
type bucket struct {
	tokens float64
	at     int64
}

// generations is a map that forgets its older half when the newer one is full
// or has reached its age.
type generations[K comparable, V any] struct {
	young, old map[K]V
	since      int64
}

func (g *generations[K, V]) get(k K) (V, bool) {
	if v, ok := g.young[k]; ok {
		return v, true
	}
	v, ok := g.old[k]
	return v, ok
}

func (g *generations[K, V]) put(k K, v V, now int64, most int) {
	if _, here := g.young[k]; g.young == nil || !here && len(g.young) >= most {
		g.turn(now)
	}
	g.young[k] = v
}

func (g *generations[K, V]) turn(now int64) {
	g.young, g.old, g.since = map[K]V{}, g.young, now
}

// age forgets what was put more than two ages ago.
func (g *generations[K, V]) age(now, age int64) {
	if now-g.since < age {
		return
	}
	if now-g.since >= 2*age {
		g.young = nil
	}
	if g.young != nil || g.old != nil {
		g.turn(now)
	}
}

func newSources(l Limits) *sources {
	return &sources{
		seed:  maphash.MakeSeed(),
		rate:  float64(l.Rate) / float64(time.Second),
		burst: float64(l.Burst),
		// Two generations of each of the two tables.
		most: max(l.Sources/len(sources{}.shards)/2, 1),
	}
}

func (t *sources) shard(a netip.Addr) *sourceShard {
	return &t.shards[maphash.Comparable(t.seed, a)%uint64(len(t.shards))]
}

func (t *sources) isProven(a netip.AddrPort, now int64) bool {
	sh := t.shard(a.Addr())
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.proven.age(now, provenFor)
	_, ok := sh.proven.get(a)
	return ok
}

func (t *sources) prove(a netip.AddrPort, now int64) {
	sh := t.shard(a.Addr())
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.proven.age(now, provenFor)
	sh.proven.put(a, struct{}{}, now, t.most)
}

// allow tells whether a request from a may be taken: a is proven, or its
// address is within its rate.
func (t *sources) allow(a netip.AddrPort, now int64) bool {
	if t.isProven(a, now) {
		return true
	}
	from := source(a.Addr())
	sh := t.shard(from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.rated.age(now, ratedFor)
	b, ok := sh.rated.get(from)
	if !ok {
		b = bucket{tokens: t.burst, at: now}
	}
	b.tokens = min(b.tokens+float64(now-b.at)*t.rate, t.burst)
	b.at = now
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	sh.rated.put(from, b, now, t.most)
	return allowed
}
