package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	userCount  = 12
	window     = 4 // messages of one sender that wait for an answer
	freshLimit = 12
)

// crew is all clients and the load they make.
type crew struct {
	name   string // makes devices of this run unlike those of another
	seed   uint64
	server *server
	ledger *ledger
	rate   int // messages a second, of all together

	here    chan string  // a client has signed in for the first time
	stay    atomic.Bool  // nobody leaves
	loading atomic.Bool  // messages are being made
	links   atomic.Int64 // so many sockets were opened
	keys    atomic.Int64
	waiting atomic.Int64 // messages that wait for an answer
	excused atomic.Int64 // in nanoseconds: who asked before was kept waiting by us

	mu      sync.Mutex // guards what follows
	clients []*client
	oddly   map[string]int // answers that are neither yes nor the refusals that were asked for

	wg sync.WaitGroup
}

func newCrew(s *server, l *ledger, seed uint64, rate int) *crew {
	return &crew{name: unique(), seed: seed, server: s, ledger: l, rate: rate, here: make(chan string, 1000), oddly: map[string]int{}}
}

func (c *crew) next() int     { return int(c.links.Add(1)) }
func (c *crew) life() int     { return int(c.server.lives.Load()) }
func (c *crew) staying() bool { return c.stay.Load() }

func (c *crew) odd(method string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.oddly[fmt.Sprintf("%s %d", method, status)]++
}

func (c *crew) odds() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.oddly) == 0 {
		return ""
	}
	return fmt.Sprint(c.oddly)
}

// excuse says that the server could not answer until now, because we had stopped it.
func (c *crew) excuse() { c.excused.Store(time.Now().Add(time.Second).UnixNano()) }

func userName(i int) string { return fmt.Sprintf("u%02d", i) }

func userNames() []string {
	var list []string
	for i := range userCount {
		list = append(list, userName(i))
	}
	return list
}

// start signs everybody in: each user has one device that stays, every other one a second that comes and goes and that
// refuses some messages. They speak TCP, UDP, TLS and WebSocket in turn.
func (c *crew) start(ctx context.Context) error {
	for i := range userCount {
		k := newClient(c, userName(i), 0)
		k.kind, k.outbound = kinds[i%4], i%3 == 1
		c.add(ctx, k)
		c.wg.Go(func() { c.talk(ctx, k, i) })
		if i%2 == 0 {
			k := newClient(c, userName(i), 1)
			k.kind, k.outbound, k.flighty, k.picky = kinds[(i/2)%4], i%4 == 2, true, true
			c.add(ctx, k)
		}
	}
	limit := time.After(2 * time.Minute)
	for n := range userCount + userCount/2 {
		select {
		case <-c.here:
		case <-limit:
			return fmt.Errorf("crash: only %d clients could sign in; other answers: %s", n, c.odds())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (c *crew) add(ctx context.Context, k *client) {
	c.mu.Lock()
	c.clients = append(c.clients, k)
	c.mu.Unlock()
	c.wg.Go(func() { k.serve(ctx) })
}

// list is all clients now.
func (c *crew) list() []*client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*client(nil), c.clients...)
}

// signIns is how many connections the clients that stay have signed in on.
func (c *crew) signIns() int {
	n := 0
	for _, k := range c.list() {
		k.mu.Lock()
		n += k.sessions
		k.mu.Unlock()
	}
	return n
}

// fresh lets a user sign in with a new device, which then stays, and returns when the server said yes. There are few.
func (c *crew) fresh(ctx context.Context, r *rand.Rand) {
	n := len(c.list())
	if n >= userCount+userCount/2+freshLimit {
		return
	}
	k := newClient(c, userName(r.IntN(userCount)), n)
	k.kind, k.outbound = kinds[r.IntN(4)], r.IntN(2) == 0
	c.add(ctx, k)
	select {
	case <-c.here:
	case <-time.After(4 * time.Second): // it goes on trying
	case <-ctx.Done():
	}
}

// talk makes messages of one sender while the load is on: in order, several at a time.
func (c *crew) talk(ctx context.Context, k *client, i int) {
	r := rand.New(rand.NewPCG(c.seed, uint64(i))) //nolint:gosec // a schedule
	tick := time.NewTicker(time.Second * userCount / time.Duration(c.rate))
	defer tick.Stop()
	room := make(chan struct{}, window)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !c.loading.Load() {
			continue
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		to := userName((i + []int{1, 2, 5}[r.IntN(3)]) % userCount)
		key := fmt.Sprintf("k%d-%d", os.Getpid(), c.keys.Add(1))
		nasty, filler := r.IntN(40) == 0, r.IntN(600)
		written := make(chan struct{})
		c.waiting.Add(1)
		c.wg.Go(func() {
			defer func() { c.waiting.Add(-1); <-room }()
			k.say(ctx, key, to, nasty, filler, func() { close(written) })
		})
		select {
		case <-written: // the next one may follow on the connection
		case <-ctx.Done():
			return
		}
	}
}

// rest ends the load, keeps everybody signed in, and waits until every sender has an answer.
func (c *crew) rest(ctx context.Context) error {
	c.loading.Store(false)
	c.stay.Store(true)
	for _, k := range c.list() {
		select {
		case k.rebind <- struct{}{}:
		default: // it is about to
		}
	}
	limit := time.Now().Add(3 * timerF)
	for c.waiting.Load() > 0 {
		if time.Now().After(limit) {
			return fmt.Errorf("crash: %d senders have no answer %v after the load ended", c.waiting.Load(), 3*timerF)
		}
		pause(ctx, 20*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// work starts the load again.
func (c *crew) work() {
	c.stay.Store(false)
	c.loading.Store(true)
}
