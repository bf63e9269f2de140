package route

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/sip"
)

// Merged refuses a request that reached us twice over different paths.
// RFC 3261 §8.2.2.2: no To tag, and From tag, Call-ID and CSeq of a request
// that is still being answered, but another transaction. A proxy must not do
// this (§16.3), so it is for the methods of which we are the end; MESSAGE needs
// no place in the list, its service recognises repeats itself.
//
// It remembers at most size requests (default 10,000), the oldest is forgotten
// first, none for longer than 32 s, and soon those that were answered.
func Merged(size int, methods ...string) Step {
	if size <= 0 {
		size = 10_000
	}
	t := newMergeTable(size)
	return Step{
		Name: "merged",
		Why:  "before authentication: the same request over two paths is one request",
		Handler: HandlerFunc(func(r *Request) {
			if r.IsACK() || r.InDialog() || !containsFold(methods, r.Msg.Method()) {
				r.Next()
				return
			}
			if t.merged(r) {
				r.Reply(482, "Merged Request")
				return
			}
			r.Next()
		}),
	}
}

// mergedLife is 64*T1, the life of a non-INVITE transaction.
const mergedLife = 32 * time.Second

// mergeTable remembers requests in the order of their arrival.
type mergeTable struct {
	size int
	seed maphash.Seed

	mu          sync.Mutex
	seen        map[uint64]uint64 // by key the number of the latest request with it
	ring        []mergeEntry      // number n is at n modulo its length
	first, next uint64            // numbers
}

func newMergeTable(size int) *mergeTable {
	return &mergeTable{size: size, seen: map[uint64]uint64{}, seed: maphash.MakeSeed()}
}

type mergeEntry struct {
	key    uint64
	branch uint64
	at     time.Time
	tx     *transaction.Server
}

func (t *mergeTable) entry(number uint64) *mergeEntry { return &t.ring[number%uint64(len(t.ring))] }

// merged tells whether a request with the same identity but another branch is
// still being answered, and remembers this one otherwise.
func (t *mergeTable) merged(r *Request) bool {
	m := r.Msg
	key := t.hash(m.CallID(), m.FromTag(), m.Get(sip.HCSeq))
	via, _ := m.TopVia()
	branch := t.hash(via.Host, via.Branch(), "")
	now := r.Tx.Received()

	t.mu.Lock()
	defer t.mu.Unlock()
	for t.first < t.next {
		old := t.entry(t.first)
		// What was answered can merge with nothing any more, but would keep its transaction and its message alive.
		if int(t.next-t.first) < t.size && now.Sub(old.at) < mergedLife && !old.tx.Answered() {
			break
		}
		if t.seen[old.key] == t.first {
			delete(t.seen, old.key)
		}
		*old = mergeEntry{}
		t.first++
	}
	if number, ok := t.seen[key]; ok {
		if old := t.entry(number); old.branch != branch && !old.tx.Answered() {
			return true
		}
	}
	if int(t.next-t.first) == len(t.ring) {
		t.grow()
	}
	*t.entry(t.next) = mergeEntry{key: key, branch: branch, at: now, tx: r.Tx}
	t.seen[key] = t.next
	t.next++
	return false
}

// hash takes three strings together.
func (t *mergeTable) hash(a, b, c string) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	for _, s := range [...]string{a, b, c} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	return h.Sum64()
}

// grow doubles the ring. t.mu is held.
func (t *mergeTable) grow() {
	old := t.ring
	t.ring = make([]mergeEntry, min(max(2*len(old), 16), max(t.size, 1)))
	for n := t.first; n < t.next; n++ {
		*t.entry(n) = old[n%uint64(len(old))]
	}
}
