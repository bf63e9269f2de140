package filing

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/parley-im/parley/base/id"
)

// What records are filed under. The number is part of the hash.
const (
	mailbox = 1
	others  = 2
	said    = 3
	named   = 4
	about   = 5
)

// Mailbox is the key of messages, edits, retractions, reactions and receipts to an address.
func Mailbox(aor string) int64 { return hash(mailbox, aor, "") }

// Others is the key of the other records of an address, but for deliveries.
func Others(aor string) int64 { return hash(others, aor, "") }

// Said is the key of messages and calls of one address to another. The newest entry under it is taken for what was said last
// without a look at the record, so it is a hash for which nobody finds two addresses.
func Said(from, to string) int64 {
	var room [128]byte
	b := append(room[:0], said)
	b = append(b, from...)
	b = append(b, 0)
	sum := sha256.Sum256(append(b, to...))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// Named is the key of messages of a sender with an imdn.Message-ID.
func Named(from, messageID string) int64 { return hash(named, from, messageID) }

// About is the key of all edits of a record and reactions to it. What of them counts now is in Batch.Changes.
func About(rid id.ID) int64 { return hash(about, string(rid[:]), "") }

// Fates is the key of deliveries and receipts about a record. It is no hash but the beginning of the id, which is the time
// when it was made: there is one for nearly every message, mostly within a second of it, and this way a page of the table
// takes hundreds of them.
func Fates(rid id.ID) int64 { return moment(rid) }

func moment(rid id.ID) int64 { return int64(binary.BigEndian.Uint64(rid[:8])) }

// hash is FNV-1a with 64 bits over what, a, a zero byte and b. The keys of an index are made by it, so it stays as it is.
func hash(what byte, a, b string) int64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	h = (h ^ uint64(what)) * prime
	for i := range len(a) {
		h = (h ^ uint64(a[i])) * prime
	}
	h *= prime // the zero byte
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * prime
	}
	return int64(h)
}
