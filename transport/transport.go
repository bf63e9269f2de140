// Package transport is the transport layer of RFC 3261 §18: UDP, TCP, TLS and
// WebSocket (RFC 7118) sockets, their connections and flows (RFC 5626), and
// the limits that keep a silent, slow or hostile peer from harming another.
//
// It frames and parses, and knows nothing of transactions. Everything it
// starts ends with Serve. Sending never blocks: each connection and each UDP
// listener has a bounded queue.
package transport

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// Kind is a transport protocol. The zero Kind is none.
type Kind uint8

// The transports of RFC 3261 §18 and RFC 7118 §5.
const (
	UDP Kind = iota + 1
	TCP
	TLS
	WS
	WSS

	kinds = iota + 1 // size of an array indexed by Kind
)

var kindNames = [kinds]string{"none", "udp", "tcp", "tls", "ws", "wss"}

var viaNames = [kinds]string{"NONE", "UDP", "TCP", "TLS", "WS", "WSS"}

// String is the name in configuration, logs and transport parameters: "udp".
func (k Kind) String() string {
	if int(k) < kinds {
		return kindNames[k]
	}
	return kindNames[0]
}

// ViaName is the name in a Via header field: "UDP" (RFC 3261 §20.42, RFC 7118 §5.1).
func (k Kind) ViaName() string {
	if int(k) < kinds {
		return viaNames[k]
	}
	return viaNames[0]
}

// Reliable tells whether the transport retransmits by itself, so that
// transactions do not (RFC 3261 §17).
func (k Kind) Reliable() bool { return k >= TCP && k <= WSS }

// Secure tells whether the transport is encrypted on this hop.
func (k Kind) Secure() bool { return k == TLS || k == WSS }

// ParseKind reads a name in any case. A ws URI parameter names both WS and
// WSS (RFC 7118 §5.2); it gives WS.
func ParseKind(s string) (Kind, bool) {
	for k := UDP; k < kinds; k++ {
		if strings.EqualFold(s, kindNames[k]) {
			return k, true
		}
	}
	return 0, false
}

// Target is where a request goes when no flow to it is known: the result of
// RFC 3263, or an address from a Via.
type Target struct {
	Kind Kind
	Addr netip.AddrPort
	// ServerName is the name that a TLS peer must prove (RFC 5922 §7); empty:
	// the address itself.
	ServerName string
}

// Handler takes what arrives. Its methods must not block: for a connection
// they run on its own reader, for UDP on a socket that many peers share. A
// panic is recovered and counted; it ends the connection it happened on.
type Handler interface {
	// Message takes a well-formed message, in arrival order per connection
	// and per UDP peer. m and its buffer belong to the handler.
	Message(m *sip.Message, f Flow)
	// Malformed takes what could be framed but not parsed; err.Status says how
	// to answer, if m.Answerable. On a stream that can no longer be framed the
	// connection is closed after what Malformed sends.
	Malformed(m *sip.Message, err *sip.Error, f Flow)
	// Closed tells that a connection is gone, or could not be dialled. It is
	// called once for each connection, after its last Message, and never for UDP.
	Closed(f Flow, err error)
}

// Errors that callers tell apart; they come wrapped.
var (
	// ErrClosed: the connection, or the layer, is closed or closing.
	ErrClosed = errors.New("transport: closed")
	// ErrQueueFull: the peer takes less than we send. A connection is closed
	// by it; on UDP the datagram is dropped.
	ErrQueueFull = errors.New("transport: write queue is full")
	// ErrTooLarge: the message does not fit into a UDP datagram.
	ErrTooLarge = errors.New("transport: message is too large for a datagram")
	// ErrUnreachable: no listener or connection can reach the target: no
	// socket of its address family, or a WebSocket that is gone (nobody can be
	// dialled over WebSocket).
	ErrUnreachable = errors.New("transport: target is not reachable")
	// ErrLimit: a limit on connections is reached.
	ErrLimit = errors.New("transport: too many connections")
	// ErrIdle: the peer was silent for too long.
	ErrIdle = errors.New("transport: idle connection")
	// ErrSlow: a message or handshake was not complete in time.
	ErrSlow = errors.New("transport: peer is too slow")
	// ErrGarbage: what came is no SIP, or can no longer be framed.
	ErrGarbage = errors.New("transport: not SIP")
	// ErrPanic: the handler panicked.
	ErrPanic = errors.New("transport: handler panicked")
)
