package transport

import (
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

const (
	// readSize is what is read from a socket at once, in bytes.
	readSize = 32 << 10
	// outSize is the room of a fresh write buffer, in bytes; one that grew
	// beyond keepSize is not used again.
	outSize  = 2 << 10
	keepSize = 64 << 10
	// deadlineSize is how many bytes share a write deadline.
	deadlineSize = 64 << 10
)

// buffers lends those that are written from.
var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, outSize)} }}

type buffer struct{ b []byte }

func (b *buffer) free() {
	if cap(b.b) <= keepSize {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

// sock is the socket of a connection, and the net.Conn below its TLS, if it
// has that. It holds no buffer while nothing is under way.
//
// At first it reads and writes straight, as TLS needs it to shake hands. Once
// a loop reads for it, TLS is given what the loop read, and what TLS writes is
// put aside: so nothing in crypto/tls ever waits for the peer.
type sock struct {
	*net.TCPConn
	fd     int
	pushed bool
	tls    *tls.Conn     // nil: there is none
	raw    *bytes.Buffer // where it keeps what is not a whole record
	in     []byte        // what it has not read yet

	mu  sync.Mutex
	out *buffer // what TLS wrote; nil: nothing

	// What is being written, and how much of it is; the writer's own.
	sending *buffer
	sent    int
}

func newSock(c *net.TCPConn) (*sock, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &sock{TCPConn: c}
	return s, raw.Control(func(fd uintptr) { s.fd = int(fd) })
}

// Read is for crypto/tls.
func (c *sock) Read(p []byte) (int, error) {
	if !c.pushed {
		return c.TCPConn.Read(p)
	}
	if len(c.in) == 0 {
		return 0, errAgain{}
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

// Write is for crypto/tls.
func (c *sock) Write(p []byte) (int, error) {
	if !c.pushed {
		return c.TCPConn.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil {
		c.out = buffers.Get().(*buffer)
	}
	c.out.b = append(c.out.b, p...)
	return len(p), nil
}

// SetWriteDeadline is for crypto/tls, which would let nothing be written
// after its goodbye.
func (c *sock) SetWriteDeadline(t time.Time) error {
	if c.pushed {
		return nil
	}
	return c.TCPConn.SetWriteDeadline(t)
}

// unsent tells whether something is encoded and not written.
func (c *sock) unsent() bool { return c.sending != nil || c.answers() }

// answers tells whether TLS has written something.
func (c *sock) answers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out != nil
}

// encode makes b ready to be written, and takes it over. There must be
// nothing unsent but what TLS has written by itself.
func (c *sock) encode(b *buffer) error {
	if c.tls == nil {
		c.sending = b
		return nil
	}
	defer b.free()
	_, err := c.tls.Write(b.b)
	return err
}

// flush writes what is encoded. Without wait it stops when the socket takes no
// more, and tells that it is full; with it, the peer has so long for each part
// (0: until the deadline there is).
func (c *sock) flush(wait bool, limit time.Duration) (full bool, err error) {
	for {
		if c.sending == nil {
			c.mu.Lock()
			c.sending, c.out = c.out, nil
			c.mu.Unlock()
			if c.sending == nil {
				return false, nil
			}
		}
		rest := c.sending.b[c.sent:]
		n := 0
		if wait {
			if limit > 0 {
				_ = c.TCPConn.SetWriteDeadline(time.Now().Add(limit))
			}
			n, err = c.TCPConn.Write(rest[:min(len(rest), deadlineSize)])
		} else if n, err = writeNow(c.fd, rest); n < len(rest) {
			full = true
		}
		c.sent += n
		if err != nil || full {
			return full && err == nil, err
		}
		if n == len(rest) {
			c.sending.free()
			c.sending, c.sent = nil, 0
		}
	}
}

// forget drops what is unsent.
func (c *sock) forget() {
	c.sending, c.sent = nil, 0
	c.mu.Lock()
	c.out = nil
	c.mu.Unlock()
}

// shut ends both directions at once: whoever reads or writes notices. The
// descriptor stays valid for them.
func (c *sock) shut() {
	_ = c.TCPConn.SetDeadline(time.Unix(1, 0))
	_ = c.CloseWrite()
	_ = c.CloseRead()
}

// Listener wraps a TCP listener of an HTTP server, below TLS: only so can
// [Layer.WebSocketHandler] take over connections from tls.NewListener.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*net.TCPConn); ok {
		if s, err := newSock(t); err == nil {
			return s, nil
		}
	}
	return c, nil
}
