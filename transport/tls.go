package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// tlsChannel is SIP over TLS. Between records it waits on the socket below, so
// that an idle connection keeps neither a buffer nor the stack of crypto/tls.
type tlsChannel struct {
	*sock
	tls *tls.Conn
}

// conn is the socket below: closing it never waits for the peer.
func (c *tlsChannel) conn() net.Conn { return c.TCPConn }

func (c *tlsChannel) serve(s *stream) error {
	c.direct = true
	for {
		if err := c.drain(s); err != nil {
			return err
		}
		if err := c.await(); err != nil {
			return err
		}
	}
}

// drain takes what has arrived.
func (c *tlsChannel) drain(s *stream) error {
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	for {
		n, err := c.tls.Read(buf[:])
		if n > 0 {
			if err := s.feed(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.As(err, new(errAgain)):
			return nil
		case err != nil:
			return c.readErr(err)
		}
	}
}

// write puts small messages together, so that they share a record.
func (c *tlsChannel) write(batch [][]byte) error {
	if len(batch) == 1 {
		_, err := c.tls.Write(batch[0])
		return err
	}
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	n := 0
	for _, b := range batch {
		for len(b) > 0 {
			m := copy(buf[n:], b)
			b = b[m:]
			if n += m; n < len(buf) {
				continue
			}
			if _, err := c.tls.Write(buf[:n]); err != nil {
				return err
			}
			n = 0
		}
	}
	if n == 0 {
		return nil
	}
	_, err := c.tls.Write(buf[:n])
	return err
}

func (c *tlsChannel) closeWrite(string) {
	_ = c.tls.CloseWrite()
	_ = c.TCPConn.CloseWrite()
}

// handshake makes a TLS channel; it takes Limits.Handshake at most. It needs a
// deep stack, so it does not run on the goroutine that will read.
func (s *stream) handshake(c *net.TCPConn, wrap func(net.Conn) *tls.Conn) (*tlsChannel, error) {
	sk, err := newSock(s, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.limits().Handshake)
	defer cancel()
	t := wrap(sk)
	if err := t.HandshakeContext(ctx); err != nil {
		s.drop(dropHandshake)
		if ctx.Err() != nil {
			err = ErrSlow
		}
		return nil, fmt.Errorf("transport: TLS handshake: %w", err)
	}
	_ = c.SetDeadline(time.Time{})
	return &tlsChannel{sock: sk, tls: t}, nil
}
