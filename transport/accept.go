package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"
)

// tcpListener is one TCP or TLS listener.
type tcpListener struct {
	net.Listener
	k     Kind
	name  string // "tcp:0.0.0.0:5060"
	bound netip.AddrPort
}

// acceptLoop takes connections until the listener is closed. Running out of
// file descriptors and other troubles pass; it waits and goes on.
func (l *Layer) acceptLoop(ln *tcpListener) {
	pause := time.Duration(0)
	for {
		c, err := ln.Accept()
		if err == nil {
			pause = 0
			l.accept(ln, c)
			continue
		}
		if errors.Is(err, net.ErrClosed) || l.draining() {
			return
		}
		l.metrics.acceptError.Inc()
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		l.log.Warn("cannot accept connections, trying again", "listener", ln.name, "err", err)
		select {
		case <-time.After(pause):
		case <-l.stop:
			return
		}
	}
}

// accept admits one connection.
func (l *Layer) accept(ln *tcpListener, nc net.Conn) {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		_ = nc.Close()
		return
	}
	s, err := l.admit(ln.k, ln.name, addrPort(tc.RemoteAddr()))
	if err != nil {
		refuse(tc)
		return
	}
	c, err := newSock(tc)
	switch {
	case err != nil:
	case ln.k == TCP:
		s.begin(c)
		return
	case l.start(func() { s.secure(c) }):
		return
	}
	l.dismiss(s)
	refuse(tc)
}

// refuse closes a connection without leaving a TIME_WAIT behind.
func refuse(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// secure shakes hands, on a goroutine that ends with it: crypto/tls needs a
// large stack. A connection that fails it was never known to the handler, so
// Closed is not called.
func (s *stream) secure(c *sock) {
	s.setCancel(func() { _ = c.Close() })
	if err := c.handshake(tls.Server(c, s.l.options.TLSConfig), s.limits().Handshake); err != nil {
		s.drop(dropHandshake)
		s.l.log.Debug("no TLS handshake", "peer", s.remote.String(), "err", err)
		refuse(c.TCPConn)
		s.l.dismiss(s)
		return
	}
	s.setCancel(nil)
	s.begin(c)
}

// begin opens an accepted connection. The caller is counted in the layer's
// wait group.
func (s *stream) begin(c *sock) {
	if !s.attach(c) {
		_ = c.Close()
		s.l.dismiss(s)
		return
	}
	s.l.index(s)
	s.serve()
}

// setCancel says how to interrupt what comes before a connection is open.
func (s *stream) setCancel(f func()) {
	s.mu.Lock()
	s.cancel = f
	s.mu.Unlock()
}
