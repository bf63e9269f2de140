package transport

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"
)

// udpQueueBytes bounds the bytes that wait to be sent on one UDP listener.
const udpQueueBytes = 16 << 20

// inlineBatches is how many batches a reader sends itself before it leaves the
// rest to the writer.
const inlineBatches = 4

type datagram struct {
	b      []byte
	local  netip.Addr
	remote netip.AddrPort
}

// udpQueue is what waits to be sent on one listener. While a reader works
// through a batch the queue is corked, so that all answers leave together, in
// one system call and without waking the writer.
type udpQueue struct {
	most int
	wake chan struct{} // 1: the writer is to flush

	mu       sync.Mutex
	ring     []datagram // grows up to most
	head, n  int
	bytes    int
	corks    int
	flushing bool // the writer or a reader is at it
	closed   bool
}

func (q *udpQueue) init(most int) {
	q.most = most
	q.wake = make(chan struct{}, 1)
}

func (q *udpQueue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

func (q *udpQueue) push(d datagram) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return ErrClosed
	}
	if q.n >= q.most || q.bytes+len(d.b) > udpQueueBytes {
		q.mu.Unlock()
		return ErrQueueFull
	}
	if q.n == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.n)%len(q.ring)] = d
	q.n++
	q.bytes += len(d.b)
	start := q.corks == 0 && !q.flushing
	q.flushing = q.flushing || start
	q.mu.Unlock()
	if start {
		q.signal()
	}
	return nil
}

// grow doubles the ring. q.mu is held.
func (q *udpQueue) grow() {
	ring := make([]datagram, min(max(2*len(q.ring), batch), q.most))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

func (q *udpQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // it is awake already
	}
}

func (q *udpQueue) cork() {
	q.mu.Lock()
	q.corks++
	q.mu.Unlock()
}

// uncork tells whether the caller is to flush.
func (q *udpQueue) uncork() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.corks--
	if q.corks > 0 || q.n == 0 || q.flushing {
		return false
	}
	q.flushing = true
	return true
}

// take moves at most len(to) datagrams out; 0 ends the flush.
func (q *udpQueue) take(to []datagram) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(q.n, len(to))
	for i := range n {
		at := (q.head + i) % len(q.ring)
		to[i] = q.ring[at]
		q.ring[at] = datagram{}
		q.bytes -= len(to[i].b)
	}
	q.n -= n
	if q.n == 0 {
		q.head = 0
		if len(q.ring) > 8*batch {
			q.ring = nil // a burst is over
		}
	} else {
		q.head = (q.head + n) % len(q.ring)
	}
	if n == 0 {
		q.flushing = false
	}
	return n
}

// end refuses what comes; the writer sends the rest and ends.
func (q *udpQueue) end() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// outBatch is what one flush works with.
type outBatch struct {
	ms    [batch]ipv4.Message
	addrs [batch]net.UDPAddr
	ips   [batch][16]byte
	bufs  [batch][1][]byte
	oob   [batch][oobSize]byte
	d     [batch]datagram
}

var outBatches = sync.Pool{New: func() any { return new(outBatch) }}

// writeLoop is the writer of a listener.
func (u *udpListener) writeLoop() {
	for range u.queue.wake {
		u.flush(u.socks[0], -1)
		if u.queue.isClosed() {
			return
		}
	}
}

// flush sends what is queued, at most so many batches if that is not negative;
// then it leaves the rest to the writer. The caller has set flushing.
func (u *udpListener) flush(s *udpSocket, batches int) {
	o := outBatches.Get().(*outBatch)
	defer outBatches.Put(o)
	for ; ; batches-- {
		if batches == 0 {
			u.queue.signal()
			return
		}
		n := u.queue.take(o.d[:])
		if n == 0 {
			return
		}
		for i := range n {
			o.set(i, u.v6)
		}
		u.write(s, o, n)
		clear(o.d[:n])
		clear(o.bufs[:n])
	}
}

// set prepares one datagram for the system.
func (o *outBatch) set(i int, v6 bool) {
	d := &o.d[i]
	a := &o.addrs[i]
	a.Port, a.Zone = int(d.remote.Port()), d.remote.Addr().Zone()
	if v6 {
		o.ips[i] = d.remote.Addr().As16()
		a.IP = o.ips[i][:]
	} else {
		ip := d.remote.Addr().As4()
		copy(o.ips[i][:], ip[:])
		a.IP = o.ips[i][:4]
	}
	o.bufs[i][0] = d.b
	m := &o.ms[i]
	m.Addr, m.Buffers, m.OOB = a, o.bufs[i][:], nil
	if d.local.IsValid() && oobSize > 0 {
		m.OOB = putLocal(o.oob[i][:], d.local, v6)
	}
}

// write sends n datagrams. One that the system refuses (no route, too large
// for the path, a filter) is counted and left out.
func (u *udpListener) write(s *udpSocket, o *outBatch, n int) {
	for at := 0; at < n; {
		sent, err := s.WriteBatch(o.ms[at:n], 0)
		for i := range max(sent, 0) {
			u.l.metrics.count(UDP, out, len(o.d[at+i].b))
		}
		at += max(sent, 0)
		if err != nil {
			u.l.metrics.drop(UDP, dropSend)
			u.l.log.Debug("cannot send a datagram", "peer", o.d[at].remote.String(), "err", err)
			at++
			if isTimeout(err) {
				return
			}
		}
	}
}
