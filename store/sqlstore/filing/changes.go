package filing

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// Change is what somebody did to a record, as it stands now: a later record takes the place of this one.
type Change struct {
	About int64 // Changes of the record
	What  int64 // Same of the change
	Gone  bool  // a reaction that was taken back
	Seq   int64
}

// place is where a change stands.
type place struct{ about, what int64 }

// Changes is under what changes of a record are kept, and the end of a call: in the order of the records, as Fates.
func Changes(rid id.ID) int64 { return moment(rid) }

// Same is the same for changes of which only the latest counts: the edits of one person, the retractions, the reactions with
// one emoji. Nothing looks at the records to find out whether it is right, so it is a hash for which nobody finds two.
func Same(r *store.Record) int64 {
	b := make([]byte, 0, 256)
	b = append(append(b, r.Ref[:]...), r.Kind...)
	b = append(append(append(b, 0), r.From...), 0)
	if r.Kind == store.KindReaction {
		b = append(b, r.Body...)
	}
	sum := sha256.Sum256(b)
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// change files what was done to a record. The edits and reactions that came before are found by About.
func (b *Batch) change(r *store.Record) {
	if r.Ref.IsZero() {
		return
	}
	if r.Kind == store.KindEdit || r.Kind == store.KindReaction {
		b.file(About(r.Ref), r.Seq)
	}
	if b.changes == nil {
		b.changes = map[place]Change{}
	}
	c := Change{About: Changes(r.Ref), What: Same(r), Gone: r.Kind == store.KindReaction && r.Meta[store.MetaRemoved] != "", Seq: r.Seq}
	if k := (place{c.About, c.What}); b.changes[k].Seq < c.Seq {
		b.changes[k] = c
	}
}
