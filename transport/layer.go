package transport

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// Layer owns all sockets and connections.
type Layer struct {
	options Options
	limits  Limits
	log     *slog.Logger
	metrics *metrics
	epoch   time.Time
	seed    maphash.Seed
	sources *sources
	names   *names

	udp   []*udpListener
	tcp   []*tcpListener
	loops []*loop

	handler Handler       // set once, before anything runs
	began   chan struct{} // closed when Serve has begun
	stop    chan struct{} // closed when draining begins
	wg      sync.WaitGroup

	mu        sync.RWMutex
	running   bool
	closing   bool
	nextID    uint64
	all       map[*stream]struct{} // every connection, also those shaking hands
	byID      map[uint64]*stream   // those that are open or being dialled
	byPeer    map[peer]*stream
	perSource map[netip.Addr]int // accepted connections
}

// peer is what a connection is found by, RFC 3261 §18: the address at the far
// end, and for TLS the name that it has proven.
type peer struct {
	k      Kind
	addr   netip.AddrPort
	server string
}

// Listen binds all listeners; nothing is read before Serve. Errors say which
// address, and what is the matter: it is in use, not ours, not allowed.
func Listen(o Options) (*Layer, error) {
	l := &Layer{
		options:   o,
		limits:    o.Limits.withDefaults(),
		log:       o.Log,
		epoch:     time.Now(),
		seed:      maphash.MakeSeed(),
		began:     make(chan struct{}),
		stop:      make(chan struct{}),
		all:       map[*stream]struct{}{},
		byID:      map[uint64]*stream{},
		byPeer:    map[peer]*stream{},
		perSource: map[netip.Addr]int{},
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.sources = newSources(l.limits)
	var err error
	if l.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, err
	}
	// IDs start at a random place, so that one from before a restart, in a
	// flow token, names nothing now. The top bits are UDP's and pipes'.
	var start [8]byte
	_, _ = rand.Read(start[:])
	l.nextID = binary.NativeEndian.Uint64(start[:]) >> 3
	if err := l.bind(); err != nil {
		l.closeListeners()
		return nil, err
	}
	l.names = newNames(l)
	return l, nil
}

// now is the layer's clock in ns since it was made.
func (l *Layer) now() int64 { return int64(time.Since(l.epoch)) }

// Serve reads and writes until ctx ends: then nothing new is accepted, what is
// queued is written for at most a second, all is closed, and Serve returns
// when everything it started is gone. It may be called once.
func (l *Layer) Serve(ctx context.Context, h Handler) error {
	l.mu.Lock()
	if l.running || l.closing {
		l.mu.Unlock()
		return fmt.Errorf("transport: serve: %w", ErrClosed)
	}
	if err := l.addLoops(); err != nil {
		l.mu.Unlock()
		return err
	}
	l.running = true
	l.handler = h
	l.mu.Unlock()
	var loops sync.WaitGroup
	for _, lp := range l.loops {
		loops.Go(lp.read)
		loops.Go(lp.write)
	}
	for _, u := range l.udp {
		l.wg.Go(u.writeLoop)
		for _, s := range u.socks {
			l.wg.Go(func() { u.readLoop(s) })
		}
	}
	for _, ln := range l.tcp {
		l.wg.Go(func() { l.acceptLoop(ln) })
	}
	close(l.began)
	<-ctx.Done()
	l.drain()
	for _, lp := range l.loops { // their connections are gone
		lp.poll.close()
		close(lp.wake)
	}
	loops.Wait()
	return nil
}

// addLoops makes a loop for each processor.
func (l *Layer) addLoops() error {
	for range runtime.GOMAXPROCS(0) {
		lp, err := newLoop()
		if err != nil {
			for _, lp := range l.loops {
				lp.poll.close()
			}
			return err
		}
		l.loops = append(l.loops, lp)
	}
	return nil
}

// Close unbinds a Layer that was never served.
func (l *Layer) Close() {
	l.mu.Lock()
	served := l.running
	l.closing = true
	l.mu.Unlock()
	if !served {
		l.closeListeners()
	}
}

// drain ends Serve.
func (l *Layer) drain() {
	l.mu.Lock()
	l.closing = true
	open := make([]*stream, 0, len(l.all))
	for s := range l.all {
		open = append(open, s)
	}
	l.mu.Unlock()
	close(l.stop)
	for _, ln := range l.tcp {
		_ = ln.Close()
	}
	for _, u := range l.udp {
		u.stopReading()
	}
	for _, s := range open {
		s.finish("shutting down", fmt.Errorf("%w: shutting down", ErrClosed))
	}
	gone := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(gone)
	}()
	t := time.NewTimer(linger + linger/4)
	defer t.Stop()
	select {
	case <-gone:
	case <-t.C:
		for _, s := range open {
			s.fail(ErrClosed)
		}
	}
	<-gone
	l.closeListeners()
}

func (l *Layer) closeListeners() {
	for _, ln := range l.tcp {
		_ = ln.Close()
	}
	for _, u := range l.udp {
		u.shut()
	}
}

func (l *Layer) draining() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.closing
}

// start runs f on a goroutine that Serve waits for; false once draining.
func (l *Layer) start(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running || l.closing {
		return false
	}
	l.wg.Go(f)
	return true
}

// source is what a cap per address counts by: an IPv4 address, or the /64
// that an IPv6 user has to itself.
func source(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// admit counts an accepted connection, or refuses it.
func (l *Layer) admit(k Kind, name string, remote netip.AddrPort) (*stream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := source(remote.Addr())
	switch {
	case !l.running || l.closing:
		return nil, ErrClosed
	case len(l.all) >= l.limits.Connections:
		l.metrics.drop(k, dropLimit)
		return nil, ErrLimit
	case l.perSource[from] >= l.limits.PerAddress:
		l.metrics.drop(k, dropAddress)
		return nil, ErrLimit
	}
	l.perSource[from]++
	return l.add(k, in, name, remote), nil
}

// add makes a stream. l.mu is held.
func (l *Layer) add(k Kind, direction int, name string, remote netip.AddrPort) *stream {
	l.nextID++
	s := &stream{l: l, loop: l.loops[l.nextID%uint64(len(l.loops))], id: l.nextID, k: k, direction: direction, name: name, remote: remote}
	if k >= WS {
		s.proto = new(webSocket)
	} else {
		s.proto = new(sipStream)
	}
	l.all[s] = struct{}{}
	l.metrics.connections[k][direction].Inc()
	return s
}

// dismiss forgets a stream that the handler never heard of, or just did.
func (l *Layer) dismiss(s *stream) {
	s.state.Store(closed)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.all[s]; !known {
		return
	}
	delete(l.all, s)
	l.metrics.connections[s.k][s.direction].Dec()
	if s.direction == in {
		from := source(s.remote.Addr())
		if l.perSource[from]--; l.perSource[from] <= 0 {
			delete(l.perSource, from)
		}
	}
}

// index makes an open connection findable.
func (l *Layer) index(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byID[s.id] = s
	l.byPeer[peer{s.k, s.remote, s.server}] = s
}

// remove forgets a connection that has ended.
func (l *Layer) remove(s *stream) {
	l.mu.Lock()
	delete(l.byID, s.id)
	key := peer{s.k, s.remote, s.server}
	if l.byPeer[key] == s {
		delete(l.byPeer, key)
	}
	l.mu.Unlock()
	l.dismiss(s)
}

// Lookup finds a live connection by the ID of its flow.
func (l *Layer) Lookup(id uint64) (Flow, bool) {
	l.mu.RLock()
	s := l.byID[id]
	l.mu.RUnlock()
	if s == nil || !s.alive() {
		return Flow{}, false
	}
	return s.flow(), true
}

// Flow finds a way to t: for UDP a listener of the right family, else the
// connection to that address (RFC 3261 §18.1.1), else a new one that is being
// dialled; what is sent meanwhile waits in its queue, and Closed tells if it
// fails. It never blocks. Errors: ErrUnreachable, ErrLimit, ErrClosed.
func (l *Layer) Flow(t Target) (Flow, error) {
	t.Addr = unmap(t.Addr)
	if !t.Addr.IsValid() || t.Addr.Port() == 0 {
		return Flow{}, fmt.Errorf("%w: %v has no address and port", ErrUnreachable, t.Addr)
	}
	if t.Kind == UDP {
		return l.udpTo(t.Addr)
	}
	key := peer{t.Kind, t.Addr, t.ServerName}
	if !t.Kind.Secure() {
		key.server = ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.byPeer[key]; s != nil && s.alive() {
		return s.flow(), nil
	}
	switch {
	case t.Kind != TCP && t.Kind != TLS:
		return Flow{}, fmt.Errorf("%w: %s %s", ErrUnreachable, t.Kind, t.Addr)
	case !l.running || l.closing:
		return Flow{}, ErrClosed
	case len(l.all) >= l.limits.Connections:
		l.metrics.drop(t.Kind, dropLimit)
		return Flow{}, ErrLimit
	}
	s := l.add(t.Kind, out, t.Kind.String()+":out", t.Addr)
	s.server = key.server
	l.byID[s.id] = s
	l.byPeer[key] = s
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	l.wg.Go(func() { s.dial(ctx) })
	return s.flow(), nil
}

// Addrs lists the bound addresses of a kind, with the ports that were chosen
// for port 0.
func (l *Layer) Addrs(k Kind) (list []netip.AddrPort) {
	for _, u := range l.udp {
		if k == UDP {
			list = append(list, u.bound)
		}
	}
	for _, ln := range l.tcp {
		if ln.k == k {
			list = append(list, ln.bound)
		}
	}
	return list
}

// Proven tells whether the source of a UDP flow has shown that it receives
// what we send to it; a connection always has.
func (l *Layer) Proven(f Flow) bool {
	return f.Kind() != UDP || l.sources.isProven(f.remote, l.now())
}

// Prove remembers that the source of a UDP flow is no spoof: it answered a
// nonce of ours. It lasts an hour at least, unless Limits.Sources are newer.
func (l *Layer) Prove(f Flow) {
	if f.Kind() == UDP {
		l.sources.prove(f.remote, l.now())
	}
}
