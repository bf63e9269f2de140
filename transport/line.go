package transport

import "github.com/parley-im/parley/transport/tcpinfo"

// Line is what the system has seen of the network below a connection: round trip and throughput.
type Line = tcpinfo.Line

// Line asks the system about the connection of f; it does so now, and nothing is kept or done for it otherwise. It costs
// a system call: ask when a device registers, not for each message. Any goroutine may call it.
//
// ok is false when nothing is known: f is closed or not yet open; it is UDP, where the system measures nothing, and only
// who sends requests knows how long their responses take; TLS is done by a proxy in front (of a secure WebSocket), so the
// connection is not the device's; or the system does not tell, as outside of Linux. A proxy that hides itself, such as
// one in front of a plain WebSocket, is taken for the device.
func (f Flow) Line() (line Line, ok bool) {
	l, ok := f.link.(interface{ line() (Line, bool) })
	if !ok {
		return Line{}, false
	}
	return l.line()
}

func (s *stream) line() (Line, bool) {
	s.mu.Lock()
	c := s.sock
	state := s.state.Load()
	s.mu.Unlock()
	if c == nil || state != open && state != halfClosed || s.k == WSS && c.tls == nil {
		return Line{}, false
	}
	return tcpinfo.Read(c.TCPConn)
}

func (p *pipe) line() (Line, bool) {
	if p.o.Line == nil || p.closed.Load() {
		return Line{}, false
	}
	return p.o.Line()
}
