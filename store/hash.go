package store

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
)

// hashPrefix separates these hashes from any other use of SHA-256 and names the version of the encoding.
const hashPrefix = "parley record 1\n"

// scratch holds buffers for the canonical encoding.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// Sum is the SHA-256 of the record's canonical encoding:
//
//	"parley record 1\n"
//	ID                                              16 bytes
//	At, microseconds since 1970-01-01 UTC           8 bytes, big endian, two's complement
//	Ref                                             16 bytes, zeros for none
//	Kind, From, To, Device, ContentType, Body       each: length as 8 bytes big endian, then the bytes
//	number of entries of Meta                       8 bytes, big endian
//	each entry, keys in ascending byte order        key and value, each with its length as above
//
// Seq is not part of it, because it is given when the record is committed; Hash is not part of itself. The encoding is
// injective: two different records have two different encodings.
func (r *Record) Sum() [32]byte {
	bp := scratch.Get().(*[]byte)
	b := r.encode((*bp)[:0])
	sum := sha256.Sum256(b)
	if cap(b) <= 1<<20 { // a rare large body shall not stay in the pool
		*bp = b
		scratch.Put(bp)
	}
	return sum
}

// encode appends the canonical encoding to b.
func (r *Record) encode(b []byte) []byte {
	b = append(b, hashPrefix...)
	b = append(b, r.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.UnixMicro()))
	b = append(b, r.Ref[:]...)
	for _, s := range [...]string{r.Kind, r.From, r.To, r.Device, r.ContentType} {
		b = appendSized(b, s)
	}
	b = appendSized(b, r.Body)
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.Meta)))
	var room [16]string
	keys := room[:0]
	for k := range r.Meta {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		b = appendSized(appendSized(b, k), r.Meta[k])
	}
	return b
}

func appendSized[T string | []byte](b []byte, s T) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
