package committer

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/parley-im/parley/store"
)

// What is kept of the records that were written last.
const (
	newestMost   = 1024    // records
	newestMemory = 2 << 20 // bytes of them
)

// newest are the records that were acknowledged last, so that those who follow the log need not read back what was in memory a
// moment ago.
type newest struct {
	head atomic.Int64 // highest seq that readers may see

	mu      sync.Mutex      // guards what follows
	records []*store.Record // with Seqs without a gap
	bytes   int
}

// add is told of the records of a batch, before readers may see them.
func (n *newest) add(records []*store.Record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if have := len(n.records); have > 0 && n.records[have-1].Seq+1 != records[0].Seq {
		n.records, n.bytes = nil, 0 // another node wrote between, or a batch was voided
	}
	n.records = append(n.records, records...)
	for _, r := range records {
		n.bytes += Size(r)
	}
	surplus := 0
	for len(n.records)-surplus > newestMost || n.bytes > newestMemory {
		n.bytes -= Size(n.records[surplus])
		surplus++
	}
	n.records = slices.Delete(n.records, 0, surplus)
}

// after returns those after a Seq up to a head; false when some are missing.
func (n *newest) after(seq, head int64) ([]*store.Record, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.records) == 0 {
		return nil, seq == head
	}
	first := n.records[0].Seq
	if seq+1 < first || head >= first+int64(len(n.records)) || seq > head {
		return nil, false
	}
	return slices.Clone(n.records[seq+1-first : head+1-first]), true
}

// Newest is store.Log.Newest.
func (c *Committer) Newest(after int64) ([]*store.Record, bool) {
	return c.seen.after(after, c.seen.head.Load())
}
