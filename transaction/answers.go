package transaction

import (
	"net/netip"

	"github.com/parley-im/parley/transport"
)

// answer is what is left of a transaction over UDP other than INVITE between its final response and timer J: what a
// retransmission of the request is answered with, and where (RFC 3261 §17.2.2, "Completed"). A busy server holds those of
// 32 s, so there is no pointer in it: the garbage collector does not look at them one by one.
type answer struct {
	key           key
	end           int64 // timer J, a tick
	local, remote [16]byte
	lport, rport  uint16
	back          uint16 // wayBack.port
	size          int32  // gate.size
	chunk, at, n  uint32 // the response: n bytes from at of that chunk; 0 when there is none to repeat
}

// chunkSize is how many bytes of responses are allocated at once; a longer response gets a chunk of its own.
const chunkSize = 8 << 10

// sweepPause is how long answers whose time is over may wait for others to be let go of with them, in ticks. They are not
// used any more.
const sweepPause = 25

// answers are those of one shard, in the order of their timer J, which is that of their coming.
type answers struct {
	index  map[key]uint64 // the number of an answer
	ring   []answer       // a power of two; number n is at n modulo its length
	first  uint64         // number of the oldest
	next   uint64         // number of the next one
	chunks [][]byte
	oldest uint32 // number of chunks[0]
	timer  wheelTimer
}

// repeat is an answer on its way out of the table.
type repeat struct {
	answer
	data []byte
}

// plain says whether an address can be kept without its zone and in 16 bytes.
func plain(a netip.Addr) bool { return a.IsValid() && a.Zone() == "" && !a.Is4In6() }

// keepable says whether an answer can stand for t: it came over UDP, and nobody waits for its end.
func (t *serverTx) keepable() bool {
	return t.onDone == nil && t.from.Kind() == transport.UDP && plain(t.from.Local().Addr()) && plain(t.from.Remote().Addr())
}

// keep takes t out of the table and leaves its final response, which is nil if none is to be repeated.
func (s *serverTable) keep(t *serverTx, data []byte, end int64, w *wheel) {
	local, remote := t.from.Local(), t.from.Remote()
	a := answer{
		key: t.key, end: end, local: local.Addr().As16(), remote: remote.Addr().As16(), lport: local.Port(), rport: remote.Port(),
		back: t.back.port, size: t.gate.size,
	}
	shard := s.shard(t.key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	delete(shard.m, t.key)
	if shard.kept.push(a, data) {
		w.start(&shard.kept.timer, &sweeper{s: s, shard: shard, w: w}, end)
	}
}

// push adds an answer and says whether it is the only one.
func (k *answers) push(a answer, data []byte) (alone bool) {
	if k.index == nil {
		k.index = make(map[key]uint64)
	}
	if int(k.next-k.first) == len(k.ring) {
		ring := make([]answer, max(2*len(k.ring), 16))
		for i := k.first; i < k.next; i++ {
			ring[i%uint64(len(ring))] = k.ring[i%uint64(len(k.ring))]
		}
		k.ring = ring
	}
	if len(data) > 0 {
		last := len(k.chunks) - 1
		if last < 0 || cap(k.chunks[last])-len(k.chunks[last]) < len(data) {
			k.chunks = append(k.chunks, make([]byte, 0, max(chunkSize, len(data))))
			last++
		}
		a.at, a.n = uint32(len(k.chunks[last])), uint32(len(data))
		k.chunks[last] = append(k.chunks[last], data...)
	}
	// Without a response too: the chunks up to this one may go when this answer is the oldest.
	a.chunk = k.oldest + uint32(max(len(k.chunks)-1, 0))
	alone = k.first == k.next
	k.ring[k.next%uint64(len(k.ring))] = a
	k.index[a.key] = k.next
	k.next++
	return alone
}

// find is the answer under a key.
func (k *answers) find(id key) (repeat, bool) {
	number, ok := k.index[id]
	if !ok {
		return repeat{}, false
	}
	r := repeat{answer: k.ring[number%uint64(len(k.ring))]}
	if r.n > 0 {
		// Nobody writes there again, so the bytes may be sent as they are.
		r.data = k.chunks[r.chunk-k.oldest][r.at : r.at+r.n : r.at+r.n]
	}
	return r, true
}

// pop lets go of the oldest answer; there is one.
func (k *answers) pop() {
	a := &k.ring[k.first%uint64(len(k.ring))]
	if k.index[a.key] == k.first { // not when the key was used again after timer J
		delete(k.index, a.key)
	}
	k.first++
	if k.first == k.next {
		k.index, k.ring, k.chunks, k.oldest = nil, nil, nil, 0
		return
	}
	gone := k.ring[k.first%uint64(len(k.ring))].chunk - k.oldest
	clear(k.chunks[:gone])
	k.chunks = k.chunks[gone:]
	k.oldest += gone
}

// sweeper lets go of the answers of a shard whose timer J has come.
type sweeper struct {
	s     *serverTable
	shard *serverShard
	w     *wheel
}

func (c *sweeper) alarm(now int64) {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	k := &c.shard.kept
	for k.first < k.next {
		if end := k.ring[k.first%uint64(len(k.ring))].end; end > now {
			c.w.start(&k.timer, c, max(end, now+sweepPause))
			return
		}
		k.pop()
		c.s.count.Add(-1)
	}
}

// dropAnswers lets go of all answers.
func (s *serverTable) dropAnswers() {
	for i := range s.shards {
		shard := &s.shards[i]
		shard.mu.Lock()
		for k := &shard.kept; k.first < k.next; {
			k.pop()
			s.count.Add(-1)
		}
		shard.mu.Unlock()
	}
}

// kept is the answer to a request that was answered before and whose timer J has not come.
func (s *serverTable) kept(k key, w *wheel) (repeat, bool) {
	shard := s.shard(k)
	shard.mu.Lock()
	r, ok := shard.kept.find(k)
	shard.mu.Unlock()
	return r, ok && w.after(0) < r.end
}

// from is where the request came from.
func (a *answer) from() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.remote).Unmap(), a.rport)
}

// repeat answers a retransmission, which came over f, with the same response, at the address that the first request came
// from.
func (l *Layer) repeat(r *repeat, f transport.Flow) {
	l.metrics.retransmitted.request.Inc()
	if r.data == nil {
		return
	}
	l.metrics.retransmitted.response.Inc()
	local, remote := netip.AddrPortFrom(netip.AddrFrom16(r.local).Unmap(), r.lport), r.from()
	if f.Kind() != transport.UDP || f.Local() != local || f.Remote() != remote {
		var ok bool
		if f, ok = l.transport.UDPFlow(local, remote); !ok {
			l.metrics.transportErrors.server.Inc()
			return
		}
	}
	t := serverTx{from: f, back: wayBack{port: r.back}}
	t.gate.size = r.size
	t.gate.credit.Store(1) // a datagram came
	if err := l.sendResponse(&t, r.data); err != nil {
		l.metrics.transportErrors.server.Inc()
		l.log.Debug("transaction: response was not sent", "peer", remote, "err", err)
	}
}
