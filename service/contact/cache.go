package contact

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// cacheBytes bounds the lists in memory: about a million contacts.
const cacheBytes = 128 << 20

// readWithin bounds one read of the store, for which several may wait.
const readWithin = 10 * time.Second

// cache holds lists that were asked for, up to so many bytes. Those that nobody asked for since the last time it was full go first.
type cache struct {
	max     int
	metrics *metrics

	mu      sync.RWMutex // guards what follows
	lists   map[string]*cached
	reading map[string]*reading // a list that changes while it is read is taken out, so that it is read again
	bytes   int
}

type cached struct {
	list *List
	used atomic.Bool
}

// reading is a list that is being read; list and err are set when done is closed.
type reading struct {
	done chan struct{}
	list *List
	err  error
}

func newCache(most int, m *metrics) *cache {
	return &cache{max: most, metrics: m, lists: map[string]*cached{}, reading: map[string]*reading{}}
}

// peek returns a list that is there.
func (c *cache) peek(owner string) (*List, bool) {
	c.mu.RLock()
	e := c.lists[owner]
	c.mu.RUnlock()
	if e == nil {
		return nil, false
	}
	if !e.used.Load() { // else the line stays shared between processors
		e.used.Store(true)
	}
	return e.list, true
}

// get returns a list that is there, or reads it; all who ask meanwhile share one read.
func (c *cache) get(ctx context.Context, owner string, read func(context.Context) (*List, error)) (*List, error) {
	if l, ok := c.peek(owner); ok {
		return l, nil
	}
	c.mu.Lock()
	if e := c.lists[owner]; e != nil {
		c.mu.Unlock()
		return e.list, nil
	}
	r := c.reading[owner]
	if r != nil {
		c.mu.Unlock()
		select {
		case <-r.done:
			return r.list, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r = &reading{done: make(chan struct{})}
	c.reading[owner] = r
	c.mu.Unlock()

	c.metrics.reads.Inc()
	// Others wait for it: it goes on when the first one gives up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readWithin)
	defer cancel()
	r.list, r.err = read(ctx)
	c.mu.Lock()
	if c.reading[owner] == r {
		delete(c.reading, owner)
		if r.err == nil {
			c.put(owner, r.list)
		}
	}
	c.mu.Unlock()
	close(r.done)
	return r.list, r.err
}

// put adds a list that is not there; mu is held.
func (c *cache) put(owner string, l *List) {
	c.lists[owner] = &cached{list: l}
	c.bytes += weight(owner, l)
	for round := 0; c.bytes > c.max && round < 2; round++ {
		for other, e := range c.lists {
			if c.bytes <= c.max-c.max/8 {
				break
			}
			if other != owner && !e.used.Swap(false) {
				c.remove(other, e)
			}
		}
	}
	c.metrics.bytes.Set(float64(c.bytes))
}

// remove takes a list out; mu is held.
func (c *cache) remove(owner string, e *cached) {
	delete(c.lists, owner)
	c.bytes -= weight(owner, e.list)
}

// weight is what a list costs in the cache.
func weight(owner string, l *List) int {
	const place = 100 // in the map
	return place + len(owner) + l.size()
}

// drop forgets a list, also one that is being read.
func (c *cache) drop(owner string) { c.outdated(owner, 1<<63-1) }

// outdated forgets a list that is older than version.
func (c *cache) outdated(owner string, version int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.reading, owner)
	if e := c.lists[owner]; e != nil && e.list.version < version {
		c.remove(owner, e)
		c.metrics.bytes.Set(float64(c.bytes))
	}
}

// versions are those of all lists.
func (c *cache) versions() map[string]int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	m := make(map[string]int64, len(c.lists))
	for owner, e := range c.lists {
		m[owner] = e.list.version
	}
	return m
}
