package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

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

// protocol is what is spoken on one connection, inside TLS if it has that.
type protocol interface {
	// take takes what the peer sent; nil at first. The error ends the
	// connection at once.
	take(s *stream, data []byte) error
	// frame appends a message (op 0), or a control frame, as it is sent.
	frame(to []byte, op byte, b []byte) []byte
	// goodbye appends what is said before we close.
	goodbye(to []byte, reason string) []byte
}

// Life of a stream; it only ever grows.
const (
	dialing uint32 = iota
	open
	halfClosed // the peer sends no more, but may still read
	ending     // we send no more than what is queued
	closed
)

// stream is one connection. Its loop reads and writes; a goroutine of its own
// exists only while it is dialled or shakes hands, while its peer takes less
// than we send, and for its end.
type stream struct {
	l         *Layer
	loop      *loop
	id        uint64
	k         Kind
	direction int
	name      string
	remote    netip.AddrPort
	server    string // name that a dialled TLS peer has to prove

	// The reader's own.
	proto   protocol
	greeted bool // a whole message has come
	discard int  // bytes thrown away while ending
	last    int64

	until deadlines
	state atomic.Uint32

	mu     sync.Mutex
	sock   *sock // set when open
	local  netip.AddrPort
	out    outbox
	err    error // why it ended
	cancel func()
	done   chan struct{} // closed with the stream, if somebody waits
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
func (s *stream) attach(c *sock) bool {
	s.mu.Lock()
	if !s.state.CompareAndSwap(dialing, open) {
		s.mu.Unlock()
		return false
	}
	_ = c.SetDeadline(time.Time{})
	c.pushed = true
	s.sock = c
	s.local = addrPort(c.LocalAddr())
	start := s.out.start()
	s.mu.Unlock()
	if start {
		s.loop.push(s)
	}
	return true
}

// serve has the loop read an open connection. The caller is counted in the
// layer's wait group; so is the stream, from here to its end.
func (s *stream) serve() {
	s.l.wg.Add(1)
	s.opened()
	err := s.turn(nil, nil) // what came behind the handshake
	if err == nil {
		err = s.loop.add(s)
	}
	if err != nil {
		s.leave(err)
	}
}

// turn takes what was read, or why no more can be; its error ends the reading,
// and leave is to follow. One goroutine at a time calls it.
func (s *stream) turn(data []byte, err error) error {
	if err == nil {
		err = s.receive(data)
	}
	if s.sock.tls != nil && s.sock.answers() {
		s.kick()
	}
	return err
}

// receive takes bytes from the socket. A panic of the handler is recovered.
func (s *stream) receive(data []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.l.panicked(p, s.k, s.remote)
			err = ErrPanic
		}
	}()
	if s.state.Load() >= ending {
		if s.discard += len(data); s.discard > lingerBytes {
			return ErrClosed
		}
		return nil
	}
	c := s.sock
	if c.tls == nil {
		return s.proto.take(s, data)
	}
	return c.decrypt(data, func(b []byte) error { return s.proto.take(s, b) })
}

// leave ends a connection that is read no more.
func (s *stream) leave(err error) {
	go func() {
		defer s.l.wg.Done()
		if errors.Is(err, io.EOF) {
			s.half()
		}
		s.end(err)
	}()
}

// fail ends the stream at once: whoever reads or writes it notices. The first
// reason stays.
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
	c, cancel, done := s.sock, s.cancel, s.done
	s.mu.Unlock()
	if c != nil {
		c.shut()
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
	c := s.sock
	s.mu.Unlock()
	_ = c.TCPConn.SetWriteDeadline(time.Now().Add(linger))
	s.rearm()
	s.kick()
	s.l.log.Debug("closing connection", "peer", s.remote.String(), "kind", s.k.String(), "reason", reason)
}

// end closes what is left, waits for the writer and tells the handler.
func (s *stream) end(err error) {
	s.fail(err)
	s.disarm()
	s.mu.Lock()
	gone := s.out.gone()
	c, why := s.sock, s.err
	s.mu.Unlock()
	if gone != nil {
		<-gone
	}
	if c != nil {
		_ = c.Close()
	}
	s.l.remove(s)
	defer func() {
		if p := recover(); p != nil {
			s.l.panicked(p, s.k, s.remote)
		}
	}()
	s.l.handler.Closed(s.flow(), why)
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

// sipStream is SIP straight over TCP or TLS.
type sipStream struct{ framer }

func (p *sipStream) take(s *stream, data []byte) error {
	found := p.feed(data, s.limits().SIP, s.message)
	if found.pings > 0 && s.state.Load() < ending {
		s.pong(found.pings)
	}
	if found.bad != nil && s.state.Load() < ending {
		return s.unframed(found)
	}
	s.active(p.partial())
	return nil
}

func (p *sipStream) frame(to []byte, _ byte, b []byte) []byte { return append(to, b...) }

func (p *sipStream) goodbye(to []byte, _ string) []byte { return to }

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
