package transport

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// chunkSize is what is read from a stream at once, in bytes: a TLS record.
const chunkSize = 16 << 10

// chunks lends read buffers to connections that have something to read.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// sock is a TCP connection whose reader holds no buffer while it waits.
type sock struct {
	*net.TCPConn
	s   *stream
	raw syscall.RawConn
	// direct is on while TLS is to read only what is there already: Read then
	// gives errAgain instead of waiting.
	direct bool
	pre    [8]byte // read by await
	n      int
}

func newSock(s *stream, c *net.TCPConn) (*sock, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &sock{TCPConn: c, s: s, raw: raw}, nil
}

// errAgain tells crypto/tls that there is nothing to read now: it keeps what
// it has of a record when an error is temporary.
type errAgain struct{}

func (errAgain) Error() string   { return "transport: nothing to read yet" }
func (errAgain) Timeout() bool   { return true }
func (errAgain) Temporary() bool { return true }

// Read is for crypto/tls.
func (c *sock) Read(p []byte) (int, error) {
	if c.n > 0 {
		n := copy(p, c.pre[:c.n])
		copy(c.pre[:], c.pre[n:c.n])
		c.n -= n
		return n, nil
	}
	if c.direct {
		return c.tryRead(p)
	}
	for {
		n, err := c.TCPConn.Read(p)
		if n == 0 && c.again(err) {
			continue
		}
		return n, err
	}
}

// again tells whether a read failed only because the lazily kept deadline
// fired early.
func (c *sock) again(err error) bool {
	return err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !c.s.expired()
}

// readErr gives the error of a read its meaning.
func (c *sock) readErr(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.s.late()
	}
	return err
}

// tcpChannel is SIP straight over TCP.
type tcpChannel struct{ *sock }

func (c *tcpChannel) conn() net.Conn { return c.TCPConn }

func (c *tcpChannel) write(batch [][]byte) error {
	bufs := net.Buffers(batch)
	_, err := bufs.WriteTo(c.TCPConn) // writev
	return err
}

func (c *tcpChannel) closeWrite(string) { _ = c.CloseWrite() }
