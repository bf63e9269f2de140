package transport

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/parley-im/parley/transport/stun"
	"github.com/parley-im/parley/wire/sip"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// maxDatagram is what fits into a UDP datagram, in bytes, before the
	// headers that the system puts in front.
	maxDatagram = 65_535
	// batch is how many datagrams one system call reads or writes.
	batch = 32
	// socketBuffer is what the system is asked to hold for one socket.
	socketBuffer = 4 << 20
)

// batchConn is recvmmsg and sendmmsg; ipv4.Message and ipv6.Message are the
// same type.
type batchConn interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

type udpSocket struct {
	*net.UDPConn
	batchConn
}

// udpListener is one configured UDP address: several sockets (the system keeps
// each peer on one of them, so its datagrams stay in order) and one queue.
type udpListener struct {
	l        *Layer
	name     string // "udp:0.0.0.0:5060"
	bound    netip.AddrPort
	v6       bool // the sockets are IPv6's, maybe with the IPv4 half
	v4       bool // IPv4 peers are reached
	wildcard bool
	socks    []*udpSocket
	queue    udpQueue
}

func newUDPListener(l *Layer, name string, bound netip.AddrPort, network string, conns []*net.UDPConn) *udpListener {
	u := &udpListener{
		l: l, name: name, bound: bound,
		v6:       network != "4",
		v4:       network != "6",
		wildcard: bound.Addr().IsUnspecified(),
	}
	u.queue.init(l.limits.Datagrams)
	for _, c := range conns {
		_ = c.SetReadBuffer(socketBuffer)
		_ = c.SetWriteBuffer(socketBuffer)
		s := &udpSocket{UDPConn: c}
		if u.v6 {
			s.batchConn = ipv6.NewPacketConn(c)
		} else {
			s.batchConn = ipv4.NewPacketConn(c)
		}
		if raw, err := c.SyscallConn(); err == nil && u.wildcard {
			if err := wantLocal(raw, u.v6); err != nil {
				l.log.Warn("answers may leave from another address than was asked", "listener", name, "err", err)
			}
		}
		u.socks = append(u.socks, s)
	}
	return u
}

func (u *udpListener) kind() Kind            { return UDP }
func (u *udpListener) alive() bool           { return !u.queue.isClosed() }
func (u *udpListener) established() bool     { return true }
func (u *udpListener) close(string)          {}
func (u *udpListener) setIdle(time.Duration) {}
func (u *udpListener) listener() string      { return u.name }

func (u *udpListener) addrs(f Flow) (local, remote netip.AddrPort) {
	if f.local.IsValid() {
		return netip.AddrPortFrom(f.local, u.bound.Port()), f.remote
	}
	return u.bound, f.remote
}

// flowID is a hash under a secret seed: who could find two flows of one ID
// would gain nothing but its own confusion.
func (u *udpListener) flowID(f Flow) uint64 {
	var h maphash.Hash
	h.SetSeed(u.l.seed)
	maphash.WriteComparable(&h, u.bound)
	maphash.WriteComparable(&h, f.local)
	maphash.WriteComparable(&h, f.remote)
	return h.Sum64() | 1<<63
}

func (u *udpListener) send(f Flow, b []byte) error {
	if len(b) > maxDatagram-28 { // IPv4 and UDP headers
		return ErrTooLarge
	}
	err := u.queue.push(datagram{b: b, local: f.local, remote: f.remote})
	if errors.Is(err, ErrQueueFull) {
		u.l.metrics.queueFull[UDP].Inc()
	}
	return err
}

// reaches tells whether the sockets can send to a.
func (u *udpListener) reaches(a netip.Addr) bool {
	if a.Is4() {
		return u.v4
	}
	return u.v6
}

// udpTo finds the listener for a new UDP flow: one that is bound to an address
// of the same scope, else a wildcard one, else any of the family.
func (l *Layer) udpTo(remote netip.AddrPort) (Flow, error) {
	var best *udpListener
	rank := 0
	for _, u := range l.udp {
		r := 1
		switch {
		case !u.reaches(remote.Addr()) || !u.alive():
			continue
		case u.wildcard:
			r = 2
		case u.bound.Addr().IsLoopback() == remote.Addr().IsLoopback():
			r = 3
		}
		if r > rank {
			best, rank = u, r
		}
	}
	if best == nil {
		return Flow{}, fmt.Errorf("%w: no UDP listener for %s", ErrUnreachable, remote)
	}
	return Flow{link: best, remote: remote}, nil
}

// UDPFlow makes the flow between two addresses again, from a binding or a
// token. False if no listener has the local one, or cannot reach the other.
func (l *Layer) UDPFlow(local, remote netip.AddrPort) (Flow, bool) {
	local, remote = unmap(local), unmap(remote)
	if !remote.IsValid() || remote.Port() == 0 {
		return Flow{}, false
	}
	for _, u := range l.udp {
		if u.bound.Port() != local.Port() || !u.reaches(remote.Addr()) || !u.alive() {
			continue
		}
		switch {
		case u.bound.Addr() == local.Addr():
			return Flow{link: u, remote: remote}, true
		case u.wildcard && local.Addr().IsValid() && l.names.isOwn(local.Addr().WithZone("")):
			return Flow{link: u, local: local.Addr(), remote: remote}, true
		}
	}
	return Flow{}, false
}

// readLoop takes datagrams from one socket until draining begins.
func (u *udpListener) readLoop(s *udpSocket) {
	ms := make([]ipv4.Message, batch)
	slab := make([]byte, batch*(maxDatagram+oobSize))
	for i := range ms {
		ms[i].Buffers = [][]byte{slab[:maxDatagram:maxDatagram]}
		slab = slab[maxDatagram:]
		if u.wildcard && oobSize > 0 {
			ms[i].OOB = slab[:oobSize:oobSize]
		}
		slab = slab[oobSize:]
	}
	for {
		n, err := s.ReadBatch(ms, 0)
		if err != nil {
			if u.l.draining() {
				return
			}
			if !u.readTrouble(err) {
				return
			}
			continue
		}
		now := u.l.now()
		u.queue.cork()
		for i := range ms[:n] {
			u.received(&ms[i], now)
		}
		if u.queue.uncork() {
			u.flush(s, inlineBatches)
		}
	}
}

// readTrouble waits a moment after a failed read; false when it is over.
func (u *udpListener) readTrouble(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EINTR) {
		return true // an ICMP error of something sent before
	}
	u.l.metrics.acceptError.Inc()
	u.l.log.Warn("cannot read from a UDP socket, trying again", "listener", u.name, "err", err)
	select {
	case <-time.After(100 * time.Millisecond):
		return true
	case <-u.l.stop:
		return false
	}
}

// received takes one datagram out of the batch.
func (u *udpListener) received(m *ipv4.Message, now int64) {
	from, ok := m.Addr.(*net.UDPAddr)
	if !ok {
		return
	}
	f := Flow{link: u, remote: unmap(from.AddrPort())}
	if u.wildcard {
		f.local = localOf(m.OOB[:m.NN])
	}
	u.datagram(m.Buffers[0][:m.N], f, now)
}

// datagram takes one datagram; b is only lent.
func (u *udpListener) datagram(b []byte, f Flow, now int64) {
	mt := u.l.metrics
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n' || b[0] == 0 && blanks(b)) {
		b = b[1:]
	}
	if len(b) == 0 {
		mt.drop(UDP, dropEmpty)
		return
	}
	isSTUN := stun.Is(b)
	response := len(b) > 4 && string(b[:4]) == "SIP/"
	// Responses cause no answer, so that nobody else can be hit by ours.
	if !response && !u.l.sources.allow(f.remote, now) {
		mt.drop(UDP, dropRate)
		return
	}
	switch {
	case isSTUN:
		u.stun(b, f)
	case !tokenStart(b[0]):
		mt.malformed[UDP].Inc()
		mt.drop(UDP, dropMalformed)
	default:
		mt.count(UDP, in, len(b))
		u.sip(append(make([]byte, 0, len(b)), b...), f)
	}
}

// blanks tells whether a datagram holds nothing but zeros and line ends, as
// some clients send to keep a NAT binding.
func blanks(b []byte) bool {
	for _, c := range b {
		if c != 0 && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// stun answers a Binding request on the SIP port, RFC 5626 §8.
func (u *udpListener) stun(b []byte, f Flow) {
	answer, err := stun.Respond(b, f.remote)
	if err != nil {
		u.l.metrics.malformed[UDP].Inc()
		u.l.metrics.drop(UDP, dropMalformed)
		return
	}
	if answer == nil {
		return
	}
	u.l.metrics.keepalives[UDP].Inc()
	_ = u.send(f, answer)
}

// sip parses a message and hands it up. The handler's panic is recovered here:
// the socket has other peers.
func (u *udpListener) sip(b []byte, f Flow) {
	defer func() {
		if p := recover(); p != nil {
			u.l.panicked(p, UDP, f.remote)
		}
	}()
	m := new(sip.Message)
	err := m.ParseLimits(b, u.l.limits.SIP)
	if err == nil && len(b) > u.l.limits.Datagram {
		u.l.metrics.drop(UDP, dropOversize)
		err = &sip.Error{Status: 413, Reason: sip.StatusText(413)}
	}
	if err == nil {
		u.l.handler.Message(m, f)
		return
	}
	u.l.metrics.malformed[UDP].Inc()
	if !m.Answerable() {
		u.l.metrics.drop(UDP, dropMalformed)
	}
	u.l.handler.Malformed(m, sipError(err), f)
}

// stopReading wakes the readers, which end as the layer is draining.
func (u *udpListener) stopReading() {
	for _, s := range u.socks {
		_ = s.SetReadDeadline(time.Unix(1, 0))
		_ = s.SetWriteDeadline(time.Now().Add(linger))
	}
	u.queue.end()
}

// shut closes the sockets.
func (u *udpListener) shut() {
	u.queue.end()
	for _, s := range u.socks {
		_ = s.UDPConn.Close()
	}
}

// isTimeout tells whether a write failed because draining took too long.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
