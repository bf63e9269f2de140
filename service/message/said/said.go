// Package said is the memory of what was said: a table from hashes to messages and the answers their senders got.
package said

import (
	"math/bits"

	"github.com/parley-im/parley/base/id"
)

// Said is a message that was recorded, and the answer its sender got; Status is 0 when that is not known any more.
type Said struct {
	ID     id.ID
	Status uint16
}

// Table keeps what was said under 64-bit hashes. A Go map takes twice the memory: 26 bytes are needed for each key, and
// this takes 29 to 33. The zero value is empty.
type Table struct {
	parts [256]part // by the first byte of the hash, so that growing copies little at a time
}

// part is a table with open addressing: a key is at the place that its hash names, or at the next free one behind it. Its
// places are in the order of hashes, for any number of places, so it need not double when it grows.
type part struct {
	keys     []uint64 // 0: free
	ids      []id.ID
	statuses []uint16
	used     int // keys, the removed ones as well
	removed  int
}

// removedStatus marks a key that was taken back. It keeps its place, or those behind it would not be found any more.
const removedStatus = 1<<16 - 1

// least is the number of places of the smallest table.
const least = 16

func (t *Table) part(k uint64) (*part, uint64) {
	if k == 0 {
		k = 1 // 0 is free
	}
	return &t.parts[k>>56], k
}

// Get returns what was said under a hash.
func (t *Table) Get(k uint64) (Said, bool) {
	p, k := t.part(k)
	i, ok := p.find(k)
	if !ok || p.statuses[i] == removedStatus {
		return Said{}, false
	}
	return Said{p.ids[i], p.statuses[i]}, true
}

// Set keeps v, in place of what was there.
func (t *Table) Set(k uint64, v Said) {
	p, k := t.part(k)
	i, ok := p.find(k)
	switch {
	case ok && p.statuses[i] == removedStatus:
		p.removed--
	case ok:
	default:
		if p.used+1 > len(p.keys)*9/10 {
			p.grow()
			i, _ = p.find(k)
		}
		p.used++
	}
	p.keys[i], p.ids[i], p.statuses[i] = k, v.ID, v.Status
}

// Remove forgets what was said under a hash.
func (t *Table) Remove(k uint64) {
	p, k := t.part(k)
	if i, ok := p.find(k); ok && p.statuses[i] != removedStatus {
		p.statuses[i] = removedStatus
		p.removed++
	}
}

// Len is the number of keys.
func (t *Table) Len() int {
	n := 0
	for i := range t.parts {
		n += t.parts[i].used - t.parts[i].removed
	}
	return n
}

// find returns the place of k, or the free one where it would be; with no place at all it returns 0 and false.
func (p *part) find(k uint64) (int, bool) {
	if len(p.keys) == 0 {
		return 0, false
	}
	high, _ := bits.Mul64(k<<8, uint64(len(p.keys))) // the first byte has chosen the part
	for i := int(high); ; {
		switch p.keys[i] {
		case k:
			return i, true
		case 0:
			return i, false
		}
		if i++; i == len(p.keys) {
			i = 0
		}
	}
}

// grow makes room for a tenth more, and drops what was removed.
func (p *part) grow() {
	n := max(least, len(p.keys)+len(p.keys)/10)
	old := *p
	*p = part{keys: make([]uint64, n), ids: make([]id.ID, n), statuses: make([]uint16, n)}
	for j, k := range old.keys {
		if k == 0 || old.statuses[j] == removedStatus {
			continue
		}
		i, _ := p.find(k)
		p.keys[i], p.ids[i], p.statuses[i] = k, old.ids[j], old.statuses[j]
		p.used++
	}
}
