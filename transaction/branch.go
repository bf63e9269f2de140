package transaction

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// cookie begins every branch made according to RFC 3261 (§8.1.1.7).
const cookie = "z9hG4bK"

// branchLen is the length of our own branches: the cookie and 16 bytes in hexadecimal.
const branchLen = len(cookie) + 32

// sealer makes and checks what we hand out and get back: branches and the To tags of responses that we make ourselves.
// One block of AES under a key that lives as long as the process is a pseudorandom function of 16 bytes, so half a block
// is a 64-bit MAC of anything that fits in the other half, at a fraction of the price of HMAC.
type sealer struct {
	branch, tag cipher.Block
}

func newSealer() *sealer { return &sealer{branch: newCipher(), tag: newCipher()} }

// newCipher is AES-128 under a fresh key. Neither step can fail: rand.Read ends the process rather than return an error,
// and 16 bytes are a good length.
func newCipher() cipher.Block {
	var secret [16]byte
	rand.Read(secret[:])
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic(err)
	}
	return block
}

// slotID says where a client transaction lies: a place in the table and how often that place had been used before, so
// that a late response does not meet the next transaction in the same place.
type slotID struct {
	index, generation uint32
}

// mac fills out[8:] with the MAC of out[:8].
func (s *sealer) mac(out *[16]byte) {
	var block [16]byte
	copy(block[:8], out[:8])
	s.branch.Encrypt(block[:], block[:])
	copy(out[8:], block[:8])
}

// makeBranch is the branch that carries id. RFC 3261 §8.1.1.7: unique across space and time, which index and generation
// are within the process and the MAC's key beyond it.
func (s *sealer) makeBranch(id slotID) string {
	var text [branchLen]byte
	return string(s.appendBranch(text[:0], id))
}

// appendBranch writes that branch behind b.
func (s *sealer) appendBranch(b []byte, id slotID) []byte {
	var raw [16]byte
	binary.BigEndian.PutUint32(raw[0:], id.index)
	binary.BigEndian.PutUint32(raw[4:], id.generation)
	s.mac(&raw)
	return hex.AppendEncode(append(b, cookie...), raw[:])
}

// openBranch reads a branch that makeBranch wrote; false for any other. Tokens are case-insensitive (RFC 3261 §7.3.1), so
// is the reading. The MAC is compared in constant time.
func (s *sealer) openBranch(branch string) (slotID, bool) {
	if len(branch) != branchLen || !hasCookie(branch) {
		return slotID{}, false
	}
	var raw, want [16]byte
	for i := range raw {
		hi, lo := unhex(branch[len(cookie)+2*i]), unhex(branch[len(cookie)+2*i+1])
		if hi|lo > 15 {
			return slotID{}, false
		}
		raw[i] = hi<<4 | lo
	}
	copy(want[:8], raw[:8])
	s.mac(&want)
	if subtle.ConstantTimeCompare(raw[:], want[:]) != 1 {
		return slotID{}, false
	}
	return slotID{binary.BigEndian.Uint32(raw[0:]), binary.BigEndian.Uint32(raw[4:])}, true
}

// derivedBranch is the branch of a request that is sent without a transaction. RFC 3261 §16.11: a retransmission gets the
// same branch again, so it is a function of what distinguishes the request.
func (s *sealer) derivedBranch(k key) string {
	raw := s.seal(k, 0xB)
	var text [branchLen]byte
	copy(text[:], cookie)
	hex.Encode(text[len(cookie):], raw[:])
	return string(text[:])
}

// toTag is the To tag of the responses that we make to the transaction k. It is a function of the key, so a response that
// was made without a transaction has the same tag again (RFC 3261 §8.2.7), as has the answer to a CANCEL (§9.2), and an
// ACK that brings it back proves that its sender receives what we send there.
func (s *sealer) toTag(k key) string {
	raw := s.seal(k, 0xA)
	var text [16]byte
	hex.Encode(text[:], raw[:8])
	return string(text[:])
}

func (s *sealer) seal(k key, purpose byte) [16]byte {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[0:], k.hi)
	binary.BigEndian.PutUint64(raw[8:], k.lo)
	raw[15] ^= purpose
	s.tag.Encrypt(raw[:], raw[:])
	return raw
}

// hasCookie says whether a branch was made by the rules of RFC 3261. Tokens are case-insensitive. RFC 4475 §3.2.1: the
// cookie alone identifies nothing.
func hasCookie(branch string) bool {
	return len(branch) > len(cookie) && strings.EqualFold(branch[:len(cookie)], cookie)
}

// unhex is the value of a hexadecimal digit, or 255.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
