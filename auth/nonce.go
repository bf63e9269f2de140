package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A nonce is 24 bytes, 32 characters of base64url:
//
//	6 bytes  milliseconds since 1970, when it was issued
//	6 bytes  a counter that starts at a random value; two nonces never share it
//	12 bytes HMAC-SHA-256 over both, the source address and nothing else, cut
//
// Issuing one therefore costs no memory (RFC 7616 §5.4: a nonce may carry a time stamp
// and a private key). The key is made at start and never stored: after a restart every
// nonce is stale, so what was seen before the restart cannot be replayed after it.
const (
	nonceBytes = 24
	nonceText  = 32
	nonceBody  = 12
)

// verdict is what is known about a nonce that came back.
type verdict uint8

const (
	nonceForged  verdict = iota // not ours, or for another address
	nonceExpired                // ours, too old for this kind of answer
	nonceFresh                  // ours
)

// nonceID is the part of a nonce that is unique.
type nonceID [nonceBody]byte

func (n nonceID) issued() time.Time {
	var b [8]byte
	copy(b[2:], n[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:])))
}

// nonces issues and checks. It is safe for concurrent use.
type nonces struct {
	macs    sync.Pool // of *keyed
	counter atomic.Uint64
}

// keyed is an HMAC with our key, and room for what goes in and comes out.
type keyed struct {
	h   hash.Hash
	in  [nonceBody + 16]byte
	out [sha256.Size]byte
}

func newNonces() *nonces {
	key := make([]byte, 32)
	start := make([]byte, 8)
	rand.Read(key)   // never fails: crypto/rand ends the process instead
	rand.Read(start) // the same
	n := &nonces{}
	n.macs.New = func() any { return &keyed{h: hmac.New(sha256.New, key)} }
	n.counter.Store(binary.BigEndian.Uint64(start))
	return n
}

// issue makes a nonce for a client at addr.
func (n *nonces) issue(addr netip.Addr, now time.Time) string {
	var raw [nonceBytes]byte
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli()))
	copy(raw[:6], b[2:])
	binary.BigEndian.PutUint64(b[:], n.counter.Add(1))
	copy(raw[6:nonceBody], b[2:])
	mac := n.mac(raw[:nonceBody], addr)
	copy(raw[nonceBody:], mac[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// check tells whether text is a nonce that was issued to addr at most life ago.
func (n *nonces) check(text string, addr netip.Addr, now time.Time, life time.Duration) (nonceID, verdict) {
	var raw [nonceBytes]byte
	var id nonceID
	if len(text) != nonceText {
		return id, nonceForged
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(text)); err != nil {
		return id, nonceForged
	}
	copy(id[:], raw[:nonceBody])
	mac := n.mac(raw[:nonceBody], addr)
	if subtle.ConstantTimeCompare(mac[:], raw[nonceBody:]) != 1 {
		return id, nonceForged
	}
	// A clock that was set back makes nonces from the future; they are as good as
	// expired, and the client asks again.
	if age := now.Sub(id.issued()); age > life || age < -time.Second {
		return id, nonceExpired
	}
	return id, nonceFresh
}

func (n *nonces) mac(body []byte, addr netip.Addr) (out [nonceBytes - nonceBody]byte) {
	k := n.macs.Get().(*keyed)
	copy(k.in[:], body)
	a := addr.Unmap().As16()
	copy(k.in[nonceBody:], a[:])
	k.h.Reset()
	k.h.Write(k.in[:])
	copy(out[:], k.h.Sum(k.out[:0]))
	n.macs.Put(k)
	return out
}

const (
	usedShards = 16
	// ncWindow is how far an nc may lie behind the highest seen and still be new:
	// requests sent side by side overtake each other on UDP.
	ncWindow = 64
)

// usedNonces remembers which nc values were seen with which nonce (RFC 7616 §3.4: the
// same nc twice is a replay). It holds a bounded number of nonces. When it is full the
// oldest entry goes, and from then on nonces issued before the forgotten one are
// stale unless they are still in the table: forgetting never permits a replay.
type usedNonces struct {
	shards [usedShards]usedShard
}

type usedShard struct {
	mu    sync.Mutex
	seen  map[nonceID]ncState
	queue []nonceID // in order of first use; a ring
	head  int
	count int
	floor time.Time // nonces issued up to here count as used up, unless in seen
}

type ncState struct {
	highest uint32
	before  uint64 // bit i: highest-1-i was seen
}

func newUsedNonces(limit int) *usedNonces {
	u := &usedNonces{}
	per := max(limit/usedShards, 1)
	for i := range u.shards {
		u.shards[i].seen = make(map[nonceID]ncState)
		u.shards[i].queue = make([]nonceID, per)
	}
	return u
}

// use marks nc as seen and reports whether it was new. now and life let entries go
// whose nonces have expired.
func (u *usedNonces) use(id nonceID, nc uint32, now time.Time, life time.Duration) bool {
	s := &u.shards[id[nonceBody-1]%usedShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.seen[id]
	if !ok {
		if !id.issued().After(s.floor) {
			return false
		}
		s.drop(now.Add(-life - 2*time.Second))
		if s.count == len(s.queue) {
			s.forget()
		}
		s.queue[(s.head+s.count)%len(s.queue)] = id
		s.count++
		s.seen[id] = ncState{highest: nc}
		return true
	}
	if ok = st.use(nc); ok {
		s.seen[id] = st
	}
	return ok
}

// use marks nc as seen and reports whether it was new.
func (st *ncState) use(nc uint32) bool {
	switch {
	case nc > st.highest:
		shift := nc - st.highest
		if shift > ncWindow {
			st.before = 0
		} else {
			st.before = st.before<<shift | 1<<(shift-1)
		}
		st.highest = nc
		return true
	case nc == st.highest || st.highest-nc > ncWindow:
		return false
	}
	bit := uint64(1) << (st.highest - nc - 1)
	if st.before&bit != 0 {
		return false
	}
	st.before |= bit
	return true
}

// drop lets go of up to a few entries at the front whose nonces expired before then.
func (s *usedShard) drop(then time.Time) {
	for range 4 {
		if s.count == 0 || !s.queue[s.head].issued().Before(then) {
			return
		}
		delete(s.seen, s.queue[s.head])
		s.head = (s.head + 1) % len(s.queue)
		s.count--
	}
}

// forget lets go of the entry at the front although its nonce still lives.
func (s *usedShard) forget() {
	old := s.queue[s.head]
	delete(s.seen, old)
	s.head = (s.head + 1) % len(s.queue)
	s.count--
	if t := old.issued(); t.After(s.floor) {
		s.floor = t
	}
}

// len is the number of nonces remembered, for the gauge.
func (u *usedNonces) len() (n int) {
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		n += s.count
		s.mu.Unlock()
	}
	return n
}
