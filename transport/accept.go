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

// accept admits one connection and starts its main goroutine.
func (l *Layer) accept(ln *tcpListener, nc net.Conn) {
	c, ok := nc.(*net.TCPConn)
	if !ok {
		_ = nc.Close()
		return
	}
	s, err := l.admit(ln.k, ln.name, addrPort(c.RemoteAddr()))
	if err != nil {
		refuse(c)
		return
	}
	start := s.plain
	if ln.k == TLS {
		start = s.secure
	}
	if !l.start(func() { start(c) }) {
		l.dismiss(s)
		refuse(c)
	}
}

// refuse closes a connection without leaving a TIME_WAIT behind.
func refuse(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// plain is the main goroutine of an accepted TCP connection.
func (s *stream) plain(c *net.TCPConn) {
	sk, err := newSock(s, c)
	if err != nil {
		_ = c.Close()
		s.l.dismiss(s)
		return
	}
	s.begin(&tcpChannel{sk})
}

// secure shakes hands on a goroutine of its own, and goes on with a fresh
// stack: the handshake's would stay large. A connection that fails it was
// never known to the handler, so Closed is not called.
func (s *stream) secure(c *net.TCPConn) {
	s.setCancel(func() { _ = c.Close() })
	ch, err := s.handshake(c, func(nc net.Conn) *tls.Conn { return tls.Server(nc, s.l.options.TLSConfig) })
	if err != nil {
		s.l.log.Debug("no TLS handshake", "peer", s.remote.String(), "err", err)
		refuse(c)
		s.l.dismiss(s)
		return
	}
	if !s.l.start(func() { s.begin(ch) }) {
		_ = c.Close()
		s.l.dismiss(s)
	}
}

// begin opens an accepted connection and serves it to its end.
func (s *stream) begin(ch channel) {
	if !s.attach(ch) {
		_ = ch.conn().Close()
		s.l.dismiss(s)
		return
	}
	s.l.index(s)
	s.opened()
	s.run()
}

// setCancel says how to interrupt what comes before a connection is open.
func (s *stream) setCancel(f func()) {
	s.mu.Lock()
	s.cancel = f
	s.mu.Unlock()
}
