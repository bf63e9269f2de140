package transport

import (
	"net/netip"
	"time"
)

// Flow is a way back to a peer: one connection, or a UDP listener with a local
// and a remote address (RFC 5626 §2.1). It is a comparable value; the zero
// Flow is none.
type Flow struct {
	link link
	// local and remote are set for UDP only. local is the address that the
	// peer sent to; zero when the listener is bound to one address, or when
	// the system is to choose.
	local  netip.Addr
	remote netip.AddrPort
}

// link is what a Flow sends through: a UDP listener or a connection. Whether a
// connection has a goroutine or sits in an event loop is its own matter.
type link interface {
	flowID(f Flow) uint64
	kind() Kind
	addrs(f Flow) (local, remote netip.AddrPort)
	alive() bool
	established() bool
	send(f Flow, b []byte) error
	close(reason string)
	setIdle(d time.Duration)
	listener() string
}

// IsZero tells whether f is no flow.
func (f Flow) IsZero() bool { return f.link == nil }

// Kind is the transport protocol, 0 for the zero Flow.
func (f Flow) Kind() Kind {
	if f.link == nil {
		return 0
	}
	return f.link.kind()
}

// Local is our end. Its address is unspecified for a UDP flow on a wildcard
// listener that nothing was received on yet.
func (f Flow) Local() netip.AddrPort {
	if f.link == nil {
		return netip.AddrPort{}
	}
	local, _ := f.link.addrs(f)
	return local
}

// Remote is the peer's end, an IPv4 address never in its IPv6 mapped form.
func (f Flow) Remote() netip.AddrPort {
	if f.link == nil {
		return netip.AddrPort{}
	}
	_, remote := f.link.addrs(f)
	return remote
}

// ID is unique in this process, and differs from those of earlier processes:
// for a connection it is never used again, for UDP it is the same for the same
// listener, local and remote address. 0 is the zero Flow's.
func (f Flow) ID() uint64 {
	if f.link == nil {
		return 0
	}
	return f.link.flowID(f)
}

// Alive tells whether a new request may be sent over f. For UDP it is true
// until the layer is closed.
func (f Flow) Alive() bool { return f.link != nil && f.link.alive() }

// Established tells whether the connection, and its TLS handshake, is done:
// false while we dial. For UDP it is true.
func (f Flow) Established() bool { return f.link != nil && f.link.established() }

// Send queues one message and returns at once. It takes ownership of b, but
// only ever reads it, so that the same bytes may be sent again.
// Errors: ErrClosed, ErrQueueFull (a connection is then closed), ErrTooLarge.
func (f Flow) Send(b []byte) error {
	if f.link == nil {
		return ErrClosed
	}
	return f.link.send(f, b)
}

// Close closes a connection after what is queued has been written, which is
// given a second. It returns at once. For UDP it does nothing. The reason is
// for the log and for a WebSocket's close frame.
func (f Flow) Close(reason string) {
	if f.link != nil {
		f.link.close(reason)
	}
}

// SetIdle sets how long the peer of a connection may send nothing, for one
// that registered; 0 restores the limit of the layer. For UDP it does nothing.
func (f Flow) SetIdle(d time.Duration) {
	if f.link != nil {
		f.link.setIdle(d)
	}
}

// Listener is the configured name, "tcp:0.0.0.0:5060", of the listener or
// socket that f belongs to; "tcp:out" for a connection that we dialled,
// "wss:http" for a WebSocket.
func (f Flow) Listener() string {
	if f.link == nil {
		return ""
	}
	return f.link.listener()
}
