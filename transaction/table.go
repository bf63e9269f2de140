package transaction

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

const (
	serverShards = 64 // powers of two
	clientShards = 16
	flowShards   = 16
)

// serverTable finds server transactions by their key. An INVITE from a client of RFC 2543 has a second key for its ACK.
// Each shard also lists those that are answered and only wait for retransmissions, oldest first.
type serverTable struct {
	shards [serverShards]serverShard
	count  atomic.Int64 // transactions, not keys
}

type serverShard struct {
	mu             sync.Mutex
	m              map[key]*serverTx
	oldest, newest *serverTx // retired ones
	kept           answers
}

func newServerTable() *serverTable {
	t := &serverTable{}
	for i := range t.shards {
		t.shards[i].m = make(map[key]*serverTx)
	}
	return t
}

func (s *serverTable) shard(k key) *serverShard { return &s.shards[k.lo%serverShards] }

func (s *serverTable) get(k key) *serverTx {
	shard := s.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.m[k]
}

// put adds t unless there is a transaction with that key, which it returns then, or an answer for it.
func (s *serverTable) put(k key, t *serverTx, w *wheel) (old *serverTx, answered repeat, ok bool) {
	shard := s.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if old = shard.m[k]; old != nil {
		return old, answered, false
	}
	if answered, ok = shard.kept.find(k); ok && w.after(0) < answered.end {
		return nil, answered, false
	}
	shard.m[k] = t
	return nil, answered, true
}

// remove takes t out, if it is t that is there.
func (s *serverTable) remove(k key, t *serverTx) {
	shard := &s.shards[k.lo%serverShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.m[k] == t {
		delete(shard.m, k)
	}
	if t.retired && k == t.key {
		shard.unlist(t)
	}
}

// retire puts t on the list of those that may be ended early.
func (s *serverTable) retire(t *serverTx) {
	shard := &s.shards[t.key.lo%serverShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	t.retired, t.older, t.newer = true, shard.newest, nil
	if shard.newest != nil {
		shard.newest.newer = t
	} else {
		shard.oldest = t
	}
	shard.newest = t
}

// oldest lets go of the oldest answer, or takes the transaction that was retired first off its list: in the shard of k,
// where the new one will be, or else in the next shard that has one.
func (s *serverTable) oldest(k key) (t *serverTx, found bool) {
	for i := range uint64(serverShards) {
		shard := &s.shards[(k.lo+i)%serverShards]
		shard.mu.Lock()
		if found = shard.kept.first < shard.kept.next; found {
			shard.kept.pop()
			s.count.Add(-1)
		} else if t = shard.oldest; t != nil {
			shard.unlist(t)
			found = true
		}
		shard.mu.Unlock()
		if found {
			return t, true
		}
	}
	return nil, false
}

// unlist takes t off the list. shard.mu is held.
func (shard *serverShard) unlist(t *serverTx) {
	if t.older != nil {
		t.older.newer = t.newer
	} else {
		shard.oldest = t.newer
	}
	if t.newer != nil {
		t.newer.older = t.older
	} else {
		shard.newest = t.older
	}
	t.retired, t.older, t.newer = false, nil, nil
}

// all is every transaction at this moment.
func (s *serverTable) all() []*serverTx {
	var list []*serverTx
	for i := range s.shards {
		shard := &s.shards[i]
		shard.mu.Lock()
		for _, t := range shard.m {
			list = append(list, t)
		}
		shard.mu.Unlock()
	}
	return list
}

// clientTable finds client transactions by the place that their branch names, without hashing a string. Places are used
// again; the table is as large as the greatest number of transactions there ever was at once, at 24 bytes each.
//
// A place rests after its transaction has been answered over UDP: for the time of timer K there is nothing to keep but that
// a response with this branch is to be absorbed, so the transaction itself is let go. All rest equally long, hence the queue
// is in the order of time and needs no timer.
type clientTable struct {
	shards [clientShards]struct {
		mu          sync.Mutex
		slots       []clientSlot
		free        []uint32
		first, last uint32 // of the places that rest, plus one; 0: none does
		resting     int
	}
	most  int // places that may rest in one shard; beyond it the first one is used again
	turn  atomic.Uint32
	count atomic.Int64
}

type clientSlot struct {
	generation uint32
	next       uint32 // the one that rests behind it, plus one
	until      int64  // the tick at which it has rested; 0: it does not rest
	c          *Client
}

// put finds a place for c. now is the present tick.
func (t *clientTable) put(c *Client, now int64) slotID {
	number := t.turn.Add(1) % clientShards
	shard := &t.shards[number]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	var at uint32
	if first := shard.first; first != 0 && (shard.slots[first-1].until <= now || shard.resting > t.most) {
		at = first - 1
		slot := &shard.slots[at]
		shard.first, slot.next, slot.until = slot.next, 0, 0
		if shard.first == 0 {
			shard.last = 0
		}
		shard.resting--
		slot.generation++
	} else if n := len(shard.free); n > 0 {
		at, shard.free = shard.free[n-1], shard.free[:n-1]
	} else {
		at = uint32(len(shard.slots))
		shard.slots = append(shard.slots, clientSlot{generation: rand.Uint32()})
	}
	shard.slots[at].c = c
	return slotID{at*clientShards + number, shard.slots[at].generation}
}

// get finds a transaction; or the tick until which what comes for its place is absorbed.
func (t *clientTable) get(id slotID) (c *Client, until int64) {
	shard := &t.shards[id.index%clientShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	at := id.index / clientShards
	if int(at) >= len(shard.slots) || shard.slots[at].generation != id.generation {
		return nil, 0
	}
	return shard.slots[at].c, shard.slots[at].until
}

// rest lets a transaction go whose place rests until a tick.
func (t *clientTable) rest(id slotID, until int64) {
	shard := &t.shards[id.index%clientShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	at := id.index / clientShards
	if int(at) >= len(shard.slots) || shard.slots[at].generation != id.generation {
		return
	}
	shard.slots[at].c, shard.slots[at].until = nil, until
	if shard.last == 0 {
		shard.first = at + 1
	} else {
		shard.slots[shard.last-1].next = at + 1
	}
	shard.last = at + 1
	shard.resting++
}

func (t *clientTable) remove(id slotID) {
	shard := &t.shards[id.index%clientShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	at := id.index / clientShards
	if int(at) >= len(shard.slots) || shard.slots[at].generation != id.generation {
		return
	}
	shard.slots[at].generation++
	shard.slots[at].c = nil
	shard.free = append(shard.free, at)
}

func (t *clientTable) all() []*Client {
	var list []*Client
	for i := range t.shards {
		shard := &t.shards[i]
		shard.mu.Lock()
		for _, slot := range shard.slots {
			if slot.c != nil {
				list = append(list, slot.c)
			}
		}
		shard.mu.Unlock()
	}
	return list
}

// flowTable lists the client transactions that wait on each connection, so that the end of a connection is told to them
// alone. Datagram flows do not end and are not listed.
type flowTable struct {
	shards [flowShards]struct {
		mu sync.Mutex
		m  map[uint64]*Client
	}
}

func newFlowTable() *flowTable {
	t := &flowTable{}
	for i := range t.shards {
		t.shards[i].m = make(map[uint64]*Client)
	}
	return t
}

func (t *flowTable) add(id uint64, c *Client) {
	shard := &t.shards[id%flowShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	first := shard.m[id]
	c.onFlow, c.flowPrev, c.flowNext = id, nil, first
	if first != nil {
		first.flowPrev = c
	}
	shard.m[id] = c
}

// remove takes c off the list it is on. id is c.onFlow as the owner of c knows it; 0 means that it is on none.
func (t *flowTable) remove(id uint64, c *Client) {
	if id == 0 {
		return
	}
	shard := &t.shards[id%flowShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if c.onFlow != id {
		return
	}
	if c.flowPrev != nil {
		c.flowPrev.flowNext = c.flowNext
	} else if c.flowNext != nil {
		shard.m[id] = c.flowNext
	} else {
		delete(shard.m, id)
	}
	if c.flowNext != nil {
		c.flowNext.flowPrev = c.flowPrev
	}
	c.onFlow, c.flowPrev, c.flowNext = 0, nil, nil
}

// waiting is the list for one connection at this moment.
func (t *flowTable) waiting(id uint64) []*Client {
	shard := &t.shards[id%flowShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	var list []*Client
	for c := shard.m[id]; c != nil; c = c.flowNext {
		list = append(list, c)
	}
	return list
}

func (t *flowTable) len() int {
	n := 0
	for i := range t.shards {
		t.shards[i].mu.Lock()
		n += len(t.shards[i].m)
		t.shards[i].mu.Unlock()
	}
	return n
}
