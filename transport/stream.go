package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/parley-im/parley/wire/sip"
)

// linger is how long a connection that we close may take to write what is
// queued and to say goodbye; and how long a peer that has closed its half
// still gets answers.
const linger = time.Second

// goodbye is how long a peer may take to close after us when the layer ends.
const goodbye = 50 * time.Millisecond

// lingerBytes is what a closing connection still reads and throws away, so
// that the peer gets our last answer and not a reset.
const lingerBytes = 1 << 20

// channel is the protocol of one connection: how its messages are read and
// written. A stream has one; an event loop would bring its own.
type channel interface {
	// serve reads until the connection ends, and says why.
	serve(s *stream) error
	// write writes messages in order; it returns when all are handed over.
	write(batch [][]byte) error
	// closeWrite says goodbye; it may take as long as the deadline.
	closeWrite(reason string)
	// conn is the socket: for deadlines, and to close it at once.
	conn() net.Conn
}

// Life of a stream; it only ever grows.
const (
	dialing uint32 = iota
	open
	halfClosed // the peer sends no more, but may still read
	ending     // we send no more than what is queued
	closed
)

// stream is one connection. Its main goroutine (run, or dial before it) reads;
// a writer exists only while something is queued, and ends before it.
type stream struct {
	l         *Layer
	id        uint64
	k         Kind
	direction int
	name      string
	remote    netip.AddrPort
	server    string // name that a dialled TLS peer has to prove

	frame   framer
	greeted bool // a whole message has come
	discard int  // bytes thrown away while ending
	last    int64

	until deadlines
	state atomic.Uint32

	mu      sync.Mutex
	ch      channel // set when open
	local   netip.AddrPort
	queue   [][]byte
	queued  int // bytes in queue and in the writer's hands
	writing bool
	err     error // why it ended
	cancel  func()
	done    chan struct{} // closed with the stream, if somebody waits
	idleW   chan struct{} // closed when the writer ends, if somebody waits
}

// deadlines of a stream, on the layer's clock in ns. The read deadline of the
// socket is moved lazily, as long as it is not to fire earlier: when it does,
// expired looks here.
type deadlines struct {
	end atomic.Int64 // of a closing connection

	mu    sync.Mutex
	limit time.Duration // of silence; 0 is the layer's
	idle  int64
	part  int64 // of an incomplete message; 0 is none
	armed int64 // what the socket has
}

func (s *stream) flow() Flow                  { return Flow{link: s} }
func (s *stream) flowID(Flow) uint64          { return s.id }
func (s *stream) kind() Kind                  { return s.k }
func (s *stream) alive() bool                 { return s.state.Load() <= open }
func (s *stream) established() bool           { return s.state.Load() != dialing }
func (s *stream) listener() string            { return s.name }
func (s *stream) limits() *Limits             { return &s.l.limits }
func (s *stream) close(reason string)         { s.finish(reason, fmt.Errorf("%w: %s", ErrClosed, reason)) }
func (s *stream) drop(why dropReason)         { s.l.metrics.drop(s.k, why) }
func (s *stream) after(d time.Duration) int64 { return s.l.now() + int64(d) }

func (s *stream) addrs(Flow) (local, remote netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.local, s.remote
}

func (s *stream) setIdle(d time.Duration) {
	s.until.mu.Lock()
	defer s.until.mu.Unlock()
	s.until.limit = d
	if s.state.Load() == open {
		s.extend()
		s.arm()
	}
}

// extend gives the peer its time of silence from now. s.until.mu is held.
func (s *stream) extend() {
	d := s.until.limit
	if d <= 0 {
		d = s.limits().Idle
	}
	s.until.idle = s.after(d)
}

// send queues one message, and starts the writer if there is none.
func (s *stream) send(_ Flow, b []byte) error {
	s.mu.Lock()
	if s.state.Load() >= ending {
		s.mu.Unlock()
		return ErrClosed
	}
	lim := s.limits()
	if len(s.queue) >= lim.QueueMessages || s.queued+len(b) > lim.QueueBytes && s.queued > 0 {
		s.mu.Unlock()
		s.l.metrics.queueFull[s.k].Inc()
		s.fail(ErrQueueFull)
		return ErrQueueFull
	}
	s.queue = append(s.queue, b)
	s.queued += len(b)
	start := !s.writing && s.ch != nil
	s.writing = s.writing || start
	s.mu.Unlock()
	if start {
		go s.writeLoop()
	}
	return nil
}

// writeBatch bounds the bytes that share one write deadline.
const writeBatch = 64 << 10

// writeLoop is the writer: it ends when the queue is empty. The main goroutine
// waits for it, so it needs no other owner.
func (s *stream) writeLoop() {
	for {
		s.mu.Lock()
		batch, size := s.take()
		ch, state := s.ch, s.state.Load()
		if len(batch) == 0 && state != ending {
			s.writerGone()
			return
		}
		s.mu.Unlock()
		if len(batch) == 0 {
			if s.l.draining() {
				// All is written; a server that stops does not wait for every
				// peer's goodbye.
				s.until.end.Store(s.after(goodbye))
				_ = ch.conn().SetReadDeadline(time.Now().Add(goodbye))
			}
			ch.closeWrite(s.reason())
			s.mu.Lock()
			s.writerGone()
			return
		}
		if state != ending {
			_ = ch.conn().SetWriteDeadline(time.Now().Add(s.limits().Write))
		}
		err := ch.write(batch)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				s.drop(dropWrite)
				err = fmt.Errorf("%w: %w", ErrSlow, err)
			}
			s.fail(fmt.Errorf("transport: write: %w", err))
		} else {
			for _, b := range batch {
				s.l.metrics.count(s.k, out, len(b))
			}
		}
		s.mu.Lock()
		s.queued -= size
		s.mu.Unlock()
	}
}

// take cuts the next batch off the queue. s.mu is held.
func (s *stream) take() (batch [][]byte, size int) {
	if s.state.Load() == closed {
		s.queue = nil
		return nil, 0
	}
	n := 0
	for n < len(s.queue) && (n == 0 || size+len(s.queue[n]) <= writeBatch) {
		size += len(s.queue[n])
		n++
	}
	batch = s.queue[:n:n]
	s.queue = s.queue[n:]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	return batch, size
}

// writerGone notes the writer's end and unlocks s.mu.
func (s *stream) writerGone() {
	s.writing = false
	if s.idleW != nil {
		close(s.idleW)
		s.idleW = nil
	}
	s.mu.Unlock()
}

// reason is the text of why the stream ends.
func (s *stream) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return ""
	}
	return s.err.Error()
}

// attach makes the connection usable: it is open, and what was queued while
// dialling is written. It fails if the stream was closed meanwhile.
func (s *stream) attach(ch channel) bool {
	s.mu.Lock()
	if !s.state.CompareAndSwap(dialing, open) {
		s.mu.Unlock()
		return false
	}
	s.ch = ch
	s.local = addrPort(ch.conn().LocalAddr())
	start := len(s.queue) > 0
	s.writing = start
	s.mu.Unlock()
	if start {
		go s.writeLoop()
	}
	return true
}

// fail ends the stream at once. The first reason stays.
func (s *stream) fail(err error) {
	s.mu.Lock()
	was := s.state.Swap(closed)
	if was == closed {
		s.mu.Unlock()
		return
	}
	if s.err == nil {
		s.err = err
	}
	s.queue = nil
	ch, cancel, done := s.ch, s.cancel, s.done
	s.mu.Unlock()
	if ch != nil {
		_ = ch.conn().Close()
	}
	if cancel != nil {
		cancel()
	}
	if done != nil {
		close(done)
	}
}

// finish ends the stream after what is queued is written; it is given linger
// for that. The reader goes on, throwing away what comes, until the peer has
// closed too.
func (s *stream) finish(reason string, err error) {
	s.mu.Lock()
	state := s.state.Load()
	if state >= ending {
		s.mu.Unlock()
		return
	}
	if state == dialing {
		s.mu.Unlock()
		s.fail(err)
		return
	}
	s.until.end.Store(s.after(linger))
	s.state.Store(ending)
	if s.err == nil {
		s.err = err
	}
	start := !s.writing
	s.writing = true
	ch := s.ch
	s.mu.Unlock()
	_ = ch.conn().SetDeadline(time.Now().Add(linger))
	if start {
		go s.writeLoop()
	}
	s.l.log.Debug("closing connection", "peer", s.remote.String(), "kind", s.k.String(), "reason", reason)
}

// run serves an open connection to its end. It is the main goroutine.
func (s *stream) run() {
	err := s.guard(func() error { return s.ch.serve(s) })
	if errors.Is(err, io.EOF) {
		s.half()
	}
	s.end(err)
}

// guard recovers a panic of the handler.
func (s *stream) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.l.panicked(p, s.k, s.remote)
			err = ErrPanic
		}
	}()
	return f()
}

// end closes what is left, waits for the writer and tells the handler.
func (s *stream) end(err error) {
	s.fail(err)
	s.mu.Lock()
	var gone chan struct{}
	if s.writing {
		gone = make(chan struct{})
		s.idleW = gone
	}
	why := s.err
	s.mu.Unlock()
	if gone != nil {
		<-gone
	}
	s.l.remove(s)
	_ = s.guard(func() error { s.l.handler.Closed(s.flow(), why); return nil })
}

// half keeps a connection whose peer has closed its sending half for a moment,
// if a message came just before: its answer may still be on the way. Over TLS
// and WebSocket an end is an end in both directions.
func (s *stream) half() {
	if s.k != TCP || !s.greeted || s.l.now()-s.last > int64(linger) {
		return
	}
	s.mu.Lock()
	if !s.state.CompareAndSwap(open, halfClosed) {
		s.mu.Unlock()
		return
	}
	done := make(chan struct{})
	s.done = done
	s.mu.Unlock()
	t := time.NewTimer(linger)
	defer t.Stop()
	select {
	case <-done:
	case <-s.l.stop:
	case <-t.C:
	}
}

// opened sets the first deadline of an open connection.
func (s *stream) opened() {
	s.until.mu.Lock()
	defer s.until.mu.Unlock()
	s.extend()
	if s.direction == in {
		s.until.idle = s.after(s.limits().Greeting)
	}
	s.arm()
}

// expired tells whether the peer has used up its time; if not, it moves the
// socket's read deadline to when it will have.
func (s *stream) expired() bool {
	s.until.mu.Lock()
	defer s.until.mu.Unlock()
	return !s.arm()
}

// arm sets the read deadline; false if its time has passed. s.until.mu is held.
func (s *stream) arm() bool {
	ended := s.state.Load() >= ending
	until := s.until.idle
	if s.until.part != 0 && s.until.part < until {
		until = s.until.part
	}
	if ended {
		until = s.until.end.Load()
	}
	left := time.Duration(until - s.l.now())
	if left <= 0 {
		return false
	}
	if s.k >= WS && left > s.limits().Ping/2 {
		left = s.limits().Ping / 2
	}
	conn := s.socket()
	s.until.armed = s.after(left)
	_ = conn.SetReadDeadline(time.Now().Add(left))
	if !ended && s.state.Load() >= ending {
		// finish came in between, and its deadline was just overwritten.
		_ = conn.SetReadDeadline(time.Now().Add(linger))
	}
	return true
}

func (s *stream) socket() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ch.conn()
}

// late turns an expired deadline into its error, and counts it.
func (s *stream) late() error {
	switch {
	case s.state.Load() >= ending:
		return ErrClosed
	case s.incomplete():
		s.drop(dropSlow)
		return fmt.Errorf("%w: incomplete message", ErrSlow)
	}
	s.drop(dropIdle)
	return ErrIdle
}

// incomplete tells whether the peer is in the middle of a message.
func (s *stream) incomplete() bool {
	s.until.mu.Lock()
	defer s.until.mu.Unlock()
	return s.until.part != 0
}

// complete ends the time of a message; what follows it has its own.
func (s *stream) complete() {
	s.until.mu.Lock()
	s.until.part = 0
	s.until.mu.Unlock()
}

// active notes that the peer sent something, and where its message stands. A
// connection that has not greeted yet gains no time by it.
func (s *stream) active(partial bool) {
	if s.state.Load() >= ending {
		return
	}
	s.until.mu.Lock()
	defer s.until.mu.Unlock()
	if s.greeted || s.direction == out {
		s.extend()
	}
	earlier := s.until.idle < s.until.armed
	switch {
	case !partial:
		s.until.part = 0
	case s.until.part == 0:
		s.until.part = s.after(s.limits().Partial)
		earlier = true
	}
	if earlier {
		s.arm()
	}
}

// feed takes bytes of a stream. The error ends the connection at once.
func (s *stream) feed(data []byte) error {
	if s.state.Load() >= ending {
		if s.discard += len(data); s.discard > lingerBytes {
			return ErrClosed
		}
		return nil
	}
	found := s.frame.feed(data, s.limits().SIP, s.message)
	if found.pings > 0 && s.state.Load() < ending {
		s.pong(found.pings)
	}
	if found.bad != nil && s.state.Load() < ending {
		return s.unframed(found)
	}
	s.active(s.frame.partial())
	return nil
}

// pong answers keep-alives. RFC 5626 §5.4: a double CRLF gets a single CRLF at
// once.
func (s *stream) pong(pings int) {
	s.l.metrics.keepalives[s.k].Add(float64(pings))
	b := make([]byte, 0, 2*min(pings, 64))
	for range min(pings, 64) {
		b = append(b, "\r\n"...)
	}
	_ = s.send(Flow{}, b)
}

// message parses one framed message and hands it up. False: read no more.
func (s *stream) message(b []byte) bool {
	s.l.metrics.count(s.k, in, len(b))
	s.complete()
	m := new(sip.Message)
	if err := m.ParseLimits(b, s.limits().SIP); err != nil {
		s.malformed(m, sipError(err))
		return s.state.Load() < ending
	}
	s.greeted = true
	s.last = s.l.now()
	s.l.handler.Message(m, s.flow())
	return s.state.Load() < ending
}

// malformed hands up what does not parse. A peer that sends what cannot even
// be answered is not speaking SIP: it is disconnected.
func (s *stream) malformed(m *sip.Message, bad *sip.Error) {
	s.l.metrics.malformed[s.k].Inc()
	s.l.handler.Malformed(m, bad, s.flow())
	// A response with an impossible status is SIP all the same, and is dropped (RFC 4475 §3.1.2.19).
	if !m.Answerable() && m.Method() != sip.ACK && m.Status() == 0 && !bytes.HasPrefix(m.Bytes(), []byte("SIP/")) {
		s.drop(dropGarbage)
		s.finish("not SIP", fmt.Errorf("%w: %w", ErrGarbage, bad))
	}
}

// unframed ends a connection whose stream cannot be followed, after an answer
// if one is possible, and after those to the messages before it.
func (s *stream) unframed(f framing) error {
	s.drop(dropGarbage)
	s.l.metrics.malformed[s.k].Inc()
	err := fmt.Errorf("%w: %w", ErrGarbage, f.bad)
	m := new(sip.Message)
	if f.bytes != nil {
		_ = m.ParseLimits(f.bytes, s.limits().SIP)
		s.l.handler.Malformed(m, f.bad, s.flow())
	}
	if !m.Answerable() {
		// For us the stream ends here, as if the peer had closed its half.
		return fmt.Errorf("%w: %w", io.EOF, err)
	}
	s.finish("unframed message", err)
	return nil
}

func sipError(err error) *sip.Error {
	var bad *sip.Error
	if errors.As(err, &bad) {
		return bad
	}
	return &sip.Error{Status: 400, Detail: err.Error()}
}

// panicked counts and logs a panic of the handler.
func (l *Layer) panicked(p any, k Kind, remote netip.AddrPort) {
	l.metrics.panics.Inc()
	l.log.Error("handler panicked", "err", fmt.Sprint(p), "kind", k.String(), "peer", remote.String(), "stack", string(debug.Stack()))
}

// addrPort converts a socket address, IPv4 never mapped.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return unmap(ap)
}

func unmap(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func isText(b []byte) bool { return utf8.Valid(b) }
