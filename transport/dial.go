package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// dial is the first main goroutine of a connection that we open.
func (s *stream) dial(ctx context.Context) {
	d := net.Dialer{Timeout: s.limits().Dial, Control: dialControl}
	nc, err := d.DialContext(ctx, "tcp", s.remote.String())
	if err != nil {
		s.drop(dropDial)
		s.end(fmt.Errorf("transport: dial %s %s: %w", s.k, s.remote, err))
		return
	}
	c := nc.(*net.TCPConn)
	ch, err := s.channel(ctx, c)
	if err != nil {
		_ = c.Close()
		s.end(err)
		return
	}
	if !s.attach(ch) {
		_ = c.Close()
		s.end(ErrClosed)
		return
	}
	s.opened()
	if !s.l.start(s.run) { // a fresh stack, see secure
		s.end(ErrClosed)
	}
}

// channel makes a dialled connection speak its protocol.
func (s *stream) channel(ctx context.Context, c *net.TCPConn) (channel, error) {
	if s.k == TCP {
		sk, err := newSock(s, c)
		if err != nil {
			return nil, err
		}
		return &tcpChannel{sk}, nil
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	name := s.server
	if name == "" {
		name = s.remote.Addr().WithZone("").String()
	}
	return s.handshake(c, func(nc net.Conn) *tls.Conn {
		// RFC 5922 §7: the certificate must be for the name we looked for.
		return tls.Client(nc, &tls.Config{
			ServerName: name,
			RootCAs:    s.l.options.Roots,
			MinVersion: tls.VersionTLS12,
		})
	})
}
