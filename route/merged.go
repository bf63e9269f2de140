package route

import (
	"container/list"
	"hash/maphash"
	"sync"
	"time"

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

	mu    sync.Mutex
	seen  map[uint64]*list.Element
	order list.List // of *mergeEntry, oldest first
}

func newMergeTable(size int) *mergeTable {
	return &mergeTable{size: size, seen: map[uint64]*list.Element{}, seed: maphash.MakeSeed()}
}

type mergeEntry struct {
	key    uint64
	branch uint64
	at     time.Time
	tx     interface{ Answered() bool }
}

// merged tells whether a request with the same identity but another branch is
// still being answered, and remembers this one otherwise.
func (t *mergeTable) merged(r *Request) bool {
	m := r.Msg
	var h maphash.Hash
	h.SetSeed(t.seed)
	for _, s := range []string{m.CallID(), m.FromTag(), m.Get(sip.HCSeq)} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	key := h.Sum64()
	via, _ := m.TopVia()
	branch := maphash.String(t.seed, via.Host+"|"+via.Branch())
	now := r.Tx.Received()

	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		old := e.Value.(*mergeEntry)
		// What was answered can merge with nothing any more, but would keep its transaction and its message alive.
		if t.order.Len() < t.size && now.Sub(old.at) < mergedLife && !old.tx.Answered() {
			break
		}
		t.order.Remove(e)
		delete(t.seen, old.key)
	}
	if e := t.seen[key]; e != nil {
		old := e.Value.(*mergeEntry)
		if old.branch != branch && !old.tx.Answered() {
			return true
		}
		t.order.Remove(e)
	}
	t.seen[key] = t.order.PushBack(&mergeEntry{key: key, branch: branch, at: now, tx: r.Tx})
	return false
}
