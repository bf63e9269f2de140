package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// dial is the goroutine of a connection that we open, until it is open.
func (s *stream) dial(ctx context.Context) {
	d := net.Dialer{Timeout: s.limits().Dial, Control: dialControl}
	nc, err := d.DialContext(ctx, "tcp", s.remote.String())
	if err != nil {
		s.drop(dropDial)
		s.end(fmt.Errorf("transport: dial %s %s: %w", s.k, s.remote, err))
		return
	}
	c, err := newSock(nc.(*net.TCPConn))
	if err == nil && s.k == TLS {
		err = s.dialTLS(ctx, c)
	}
	if err == nil && !s.attach(c) {
		err = ErrClosed
	}
	if err != nil {
		_ = nc.Close()
		s.end(err)
		return
	}
	s.setCancel(nil)
	s.serve()
}

func (s *stream) dialTLS(ctx context.Context, c *sock) error {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	name := s.server
	if name == "" {
		name = s.remote.Addr().WithZone("").String()
	}
	// RFC 5922 §7: the certificate must be for the name we looked for.
	err := c.handshake(tls.Client(c, &tls.Config{
		ServerName: name,
		RootCAs:    s.l.options.Roots,
		MinVersion: tls.VersionTLS12,
	}), s.limits().Handshake)
	if err != nil {
		s.drop(dropHandshake)
	}
	return err
}
