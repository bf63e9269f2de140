// Package stun is the small part of RFC 8489 that keep-alives on a SIP port
// need (RFC 5626 §8): Binding requests, responses and error responses without
// authentication, with XOR-MAPPED-ADDRESS and FINGERPRINT.
package stun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
)

// Message types, RFC 8489 §5.
const (
	BindingRequest    uint16 = 0x0001
	BindingIndication uint16 = 0x0011
	BindingResponse   uint16 = 0x0101
	BindingError      uint16 = 0x0111
)

const (
	cookie    = 0x2112A442
	headerLen = 20

	attrMappedAddress     = 0x0001
	attrUsername          = 0x0006
	attrIntegrity         = 0x0008
	attrErrorCode         = 0x0009
	attrUnknownAttributes = 0x000A
	attrRealm             = 0x0014
	attrNonce             = 0x0015
	attrIntegritySHA256   = 0x001C
	attrPasswordAlgorithm = 0x001D
	attrUserhash          = 0x001E
	attrXORMappedAddress  = 0x0020
	attrFingerprint       = 0x8028

	// fingerprintXOR keeps the CRC apart from one that a protocol on the same
	// port may use, RFC 8489 §14.7.
	fingerprintXOR = 0x5354554e

	// MaxLen is the longest message that Parse takes, in bytes. Keep-alives
	// are 20 to 100 bytes; anything longer is not one.
	MaxLen = 548

	familyIPv4 = 0x01
	familyIPv6 = 0x02
)

var (
	// ErrNotSTUN says that the datagram is no STUN message at all.
	ErrNotSTUN = errors.New("stun: not a STUN message")
	// ErrMalformed says that the header is STUN's but what follows is broken;
	// nothing is answered (RFC 8489 §6.3).
	ErrMalformed = errors.New("stun: malformed message")
)

// TxID is the transaction ID of a message.
type TxID [12]byte

// Message is a parsed message. Attributes that keep-alives do not use are
// skipped.
type Message struct {
	Type uint16
	TxID TxID
	// Mapped is XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS of an old server; zero
	// if there is none.
	Mapped netip.AddrPort
	// Code is the number of ERROR-CODE, 300 to 699; 0 if there is none.
	Code int
	// Fingerprint tells that a FINGERPRINT was present, and it was right.
	Fingerprint bool
	// Unknown lists at most 16 comprehension-required attributes that this
	// package does not know.
	Unknown []uint16
}

// Is tells whether a datagram on a SIP port is STUN: its first octet is 0 or
// 1, which no SIP message begins with (RFC 5626 §8), and the magic cookie is
// in its place.
func Is(b []byte) bool {
	return len(b) >= headerLen && b[0] <= 1 && binary.BigEndian.Uint32(b[4:]) == cookie
}

// Parse reads one message. Errors: ErrNotSTUN, ErrMalformed (wrapped with
// what is wrong).
func Parse(b []byte) (Message, error) {
	var m Message
	if !Is(b) {
		return m, ErrNotSTUN
	}
	// RFC 8489 §5: attributes are padded to four bytes, so the length's last
	// two bits are zero.
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n%4 != 0 || n != len(b)-headerLen || len(b) > MaxLen {
		return m, fmt.Errorf("%w: length %d of a datagram of %d", ErrMalformed, n, len(b))
	}
	m.Type = binary.BigEndian.Uint16(b)
	copy(m.TxID[:], b[8:headerLen])
	for at := headerLen; at < len(b); {
		// The total is a multiple of four, and so is every step: four bytes
		// are always there.
		kind := binary.BigEndian.Uint16(b[at:])
		size := int(binary.BigEndian.Uint16(b[at+2:]))
		end := at + 4 + size
		if end > len(b) {
			return m, fmt.Errorf("%w: attribute %#04x runs over the end", ErrMalformed, kind)
		}
		if err := m.attribute(b, at, kind, b[at+4:end]); err != nil {
			return m, err
		}
		at = at + 4 + (size+3)&^3
	}
	return m, nil
}

// attribute takes one attribute that begins at b[at].
func (m *Message) attribute(b []byte, at int, kind uint16, value []byte) error {
	switch kind {
	case attrXORMappedAddress, attrMappedAddress:
		addr, ok := address(value, kind == attrXORMappedAddress, m.TxID)
		if !ok {
			return fmt.Errorf("%w: bad address", ErrMalformed)
		}
		if kind == attrXORMappedAddress || !m.Mapped.IsValid() {
			m.Mapped = addr
		}
	case attrErrorCode:
		if len(value) < 4 || value[2]&7 < 3 || value[2]&7 > 6 || value[3] > 99 {
			return fmt.Errorf("%w: bad error code", ErrMalformed)
		}
		m.Code = int(value[2]&7)*100 + int(value[3])
	case attrFingerprint:
		// RFC 8489 §14.7: it is the last attribute, and covers all before it.
		if len(value) != 4 || at+8 != len(b) {
			return fmt.Errorf("%w: fingerprint is not last", ErrMalformed)
		}
		if binary.BigEndian.Uint32(value) != fingerprint(b[:at]) {
			return fmt.Errorf("%w: wrong fingerprint", ErrMalformed)
		}
		m.Fingerprint = true
	case attrUsername, attrIntegrity, attrUnknownAttributes, attrRealm, attrNonce,
		attrIntegritySHA256, attrPasswordAlgorithm, attrUserhash:
		// Known, and of no use here: keep-alives are not authenticated.
	default:
		// RFC 8489 §14: attributes from 0x8000 on may be ignored.
		if kind < 0x8000 && len(m.Unknown) < 16 {
			m.Unknown = append(m.Unknown, kind)
		}
	}
	return nil
}

// address decodes (XOR-)MAPPED-ADDRESS, RFC 8489 §14.1 and §14.2.
func address(v []byte, xor bool, tx TxID) (netip.AddrPort, bool) {
	if len(v) < 4 {
		return netip.AddrPort{}, false
	}
	port := binary.BigEndian.Uint16(v[2:])
	if xor {
		port ^= cookie >> 16
	}
	var pad [16]byte
	if xor {
		pad = xorPad(tx)
	}
	switch {
	case v[1] == familyIPv4 && len(v) == 8:
		var a [4]byte
		for i := range a {
			a[i] = v[4+i] ^ pad[i]
		}
		return netip.AddrPortFrom(netip.AddrFrom4(a), port), true
	case v[1] == familyIPv6 && len(v) == 20:
		var a [16]byte
		for i := range a {
			a[i] = v[4+i] ^ pad[i]
		}
		return netip.AddrPortFrom(netip.AddrFrom16(a), port), true
	}
	return netip.AddrPort{}, false
}

func xorPad(tx TxID) (pad [16]byte) {
	binary.BigEndian.PutUint32(pad[:], cookie)
	copy(pad[4:], tx[:])
	return pad
}

func fingerprint(b []byte) uint32 {
	// The length field already counts the attribute while the CRC is taken.
	return crc32.ChecksumIEEE(b) ^ fingerprintXOR
}

// Request returns a Binding request without attributes: what a client sends
// to keep a flow alive (RFC 5626 §4.4.2).
func Request(tx TxID) []byte {
	return header(make([]byte, 0, headerLen), BindingRequest, tx)
}

// Respond returns the answer to a Binding request that came from remote, or
// nil if nothing is to be sent: it was no request (an indication, a stray
// response), or it is malformed. The answer is less than three times the
// request in size.
func Respond(req []byte, remote netip.AddrPort) ([]byte, error) {
	m, err := Parse(req)
	if err != nil {
		return nil, err
	}
	if m.Type != BindingRequest {
		return nil, nil
	}
	out := make([]byte, 0, 96)
	if len(m.Unknown) > 0 {
		out = header(out, BindingError, m.TxID)
		out = appendUnknown(out, m.Unknown)
	} else {
		out = header(out, BindingResponse, m.TxID)
		out = appendXORMapped(out, remote, m.TxID)
	}
	if m.Fingerprint {
		out = appendFingerprint(out)
	}
	setLength(out)
	return out, nil
}

func header(b []byte, kind uint16, tx TxID) []byte {
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, cookie)
	return append(b, tx[:]...)
}

func setLength(b []byte) { binary.BigEndian.PutUint16(b[2:], uint16(len(b)-headerLen)) }

// appendXORMapped, RFC 8489 §14.2.
func appendXORMapped(b []byte, remote netip.AddrPort, tx TxID) []byte {
	addr := remote.Addr().Unmap()
	raw, family := addr.AsSlice(), byte(familyIPv6)
	if addr.Is4() {
		family = familyIPv4
	}
	b = binary.BigEndian.AppendUint16(b, attrXORMappedAddress)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(raw)))
	b = append(b, 0, family)
	b = binary.BigEndian.AppendUint16(b, remote.Port()^(cookie>>16))
	pad := xorPad(tx)
	for i, c := range raw {
		b = append(b, c^pad[i])
	}
	return b
}

// appendUnknown writes ERROR-CODE 420 and UNKNOWN-ATTRIBUTES, RFC 8489 §6.3.1.
func appendUnknown(b []byte, unknown []uint16) []byte {
	const reason = "Unknown Attribute"
	b = binary.BigEndian.AppendUint16(b, attrErrorCode)
	b = binary.BigEndian.AppendUint16(b, 4+uint16(len(reason)))
	b = append(b, 0, 0, 4, 20)
	b = append(b, reason...)
	b = pad4(b)
	b = binary.BigEndian.AppendUint16(b, attrUnknownAttributes)
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(unknown)))
	for _, kind := range unknown {
		b = binary.BigEndian.AppendUint16(b, kind)
	}
	return pad4(b)
}

func pad4(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// appendFingerprint, RFC 8489 §14.7.
func appendFingerprint(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-headerLen+8))
	sum := fingerprint(b)
	b = binary.BigEndian.AppendUint16(b, attrFingerprint)
	b = binary.BigEndian.AppendUint16(b, 4)
	return binary.BigEndian.AppendUint32(b, sum)
}
