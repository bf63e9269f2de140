package filing

import "hash/maphash"

// knownMost is how many conversations are remembered, twice: about 5 MB.
const knownMost = 1 << 16

// Known remembers conversations that are in the index, so that they are not written again with every message. It may forget any.
type Known struct {
	seed        maphash.Seed
	now, before map[uint64]struct{} // hashes under a seed that nobody knows
	most        int                 // in each
}

// NewKnown makes one that knows nothing.
func NewKnown() *Known { return &Known{seed: maphash.MakeSeed(), most: knownMost} }

// Forget forgets everything: the index begins anew.
func (k *Known) Forget() { k.now, k.before = nil, nil }

// Learn remembers the conversations of a batch that was written, if both sides of them were.
func (k *Known) Learn(b *Batch) {
	for i := range b.Talks {
		t := &b.Talks[i]
		if t.Owner > t.Peer || b.talks[pair{t.Peer, t.Owner}] == nil {
			continue
		}
		if len(k.now) >= k.most {
			k.before, k.now = k.now, nil
		}
		if k.now == nil {
			k.now = make(map[uint64]struct{})
		}
		k.now[k.hash(t.Owner, t.Peer)] = struct{}{}
	}
}

func (k *Known) has(a, b string) bool {
	if k == nil {
		return false
	}
	h := k.hash(a, b)
	_, ok := k.now[h]
	if !ok {
		_, ok = k.before[h]
	}
	return ok
}

// hash is the same from both sides.
func (k *Known) hash(a, b string) uint64 {
	if b < a {
		a, b = b, a
	}
	return maphash.Comparable(k.seed, pair{a, b})
}
