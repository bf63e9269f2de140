package transport

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"runtime"
	"time"

	"github.com/parley-im/parley/wire/sip"
	"github.com/prometheus/client_golang/prometheus"
)

// Options says where to listen and what to allow. The zero value of each
// field is a working default; no listener at all is allowed (WebSocket only).
type Options struct {
	// UDP, TCP and TLS list addresses, "0.0.0.0:5060", "[::]:5060" (IPv6, and
	// IPv4 too unless 0.0.0.0 with that port is listed as well) or ":5060"
	// (the same as [::]). Port 0 takes a free port. An address is an IP
	// address, not a name.
	UDP, TCP, TLS []string
	// TLSConfig serves TLS listeners; needed if TLS is not empty.
	TLSConfig *tls.Config
	// Roots verify TLS peers that are dialled; nil means the system's.
	Roots *x509.CertPool
	// Advertise is the host (name or address, no port) in our Via; empty means
	// the local address that the peer sees.
	Advertise string
	// Names are further host names that are ours, for IsLocal.
	Names []string

	Limits Limits
	// Log may be nil; then nothing is logged.
	Log *slog.Logger
	// Registerer takes the metrics; nil means they are counted but not shown.
	Registerer prometheus.Registerer
}

// Limits bound what a peer can make us hold. Zero means the default in
// brackets.
type Limits struct {
	// SIP limits header block, body and so on of a message [sip.DefaultLimits].
	SIP sip.Limits
	// Datagram is the largest UDP payload taken, in bytes [65,535].
	Datagram int
	// Connections is the number of connections in all [20,000].
	Connections int
	// PerAddress is the number of accepted connections from one address, or
	// from one /64 of IPv6 [512].
	PerAddress int
	// Greeting is how long a new connection may live without one whole SIP
	// message [30 s].
	Greeting time.Duration
	// Idle is how long a connection may send nothing [5 min]; Flow.SetIdle
	// changes it for one connection.
	Idle time.Duration
	// Partial is how long a message may take from its first byte to its last
	// [15 s].
	Partial time.Duration
	// Handshake is how long a TLS handshake may take [10 s].
	Handshake time.Duration
	// Dial is how long a TCP connection attempt may take [5 s].
	Dial time.Duration
	// Write is how long a peer may take for 64 kB of what is queued for it [15 s].
	Write time.Duration
	// Ping is the pause after which an otherwise silent WebSocket peer is
	// pinged; without a pong within half of it the connection is closed [30 s].
	Ping time.Duration
	// QueueBytes and QueueMessages bound what waits to be written on one
	// connection [1 MiB, 1,024].
	QueueBytes, QueueMessages int
	// Datagrams bounds what waits to be written on one UDP listener [4,096];
	// the bytes are bounded by 16 MiB.
	Datagrams int
	// Sockets is the number of sockets per UDP listener (SO_REUSEPORT, Linux)
	// [the number of CPUs, at most 4].
	Sockets int
	// Rate and Burst bound the requests per second taken over UDP from one
	// address (or /64) as long as it is not proven [500, 1,000].
	Rate, Burst int
	// Sources is the number of UDP sources remembered, both proven ones and
	// rated ones [65,536]. Beyond it the oldest are forgotten.
	Sources int
}

func (l Limits) withDefaults() Limits {
	l.Datagram = cmp.Or(l.Datagram, maxDatagram)
	l.Connections = cmp.Or(l.Connections, 20_000)
	l.PerAddress = cmp.Or(l.PerAddress, 512)
	l.Greeting = cmp.Or(l.Greeting, 30*time.Second)
	l.Idle = cmp.Or(l.Idle, 5*time.Minute)
	l.Partial = cmp.Or(l.Partial, 15*time.Second)
	l.Handshake = cmp.Or(l.Handshake, 10*time.Second)
	l.Dial = cmp.Or(l.Dial, 5*time.Second)
	l.Write = cmp.Or(l.Write, 15*time.Second)
	l.Ping = cmp.Or(l.Ping, 30*time.Second)
	l.QueueBytes = cmp.Or(l.QueueBytes, 1<<20)
	l.QueueMessages = cmp.Or(l.QueueMessages, 1024)
	l.Datagrams = cmp.Or(l.Datagrams, 4096)
	l.Sockets = cmp.Or(l.Sockets, min(runtime.GOMAXPROCS(0), 4))
	l.Rate = cmp.Or(l.Rate, 500)
	l.Burst = cmp.Or(l.Burst, 1000)
	l.Sources = cmp.Or(l.Sources, 65_536)
	return l
}
