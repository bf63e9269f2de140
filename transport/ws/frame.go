// Package ws is the server's side of RFC 6455, WebSocket, without extensions:
// the handshake and the frames. It reads and writes nothing itself.
package ws

import (
	"encoding/binary"
	"strings"
)

// Opcodes of RFC 6455 §5.2.
const (
	Continuation byte = 0
	Text         byte = 1
	Binary       byte = 2
	Close        byte = 8
	Ping         byte = 9
	Pong         byte = 10
)

// Reasons to close, RFC 6455 §7.4.1.
const (
	Normal   uint16 = 1000
	Protocol uint16 = 1002
	TooBig   uint16 = 1009
)

// Frame is one frame. Payload is unmasked, and part of what was parsed.
type Frame struct {
	Fin     bool
	Op      byte
	Payload []byte
}

// Error is what a peer did wrong, and the code to close with.
type Error struct {
	Code uint16
	Text string
}

func (e *Error) Error() string { return "ws: " + e.Text }

// Parse reads one frame at the start of data, RFC 6455 §5.2; n is 0 if it
// is not complete. It unmasks the payload in place. limit is the largest
// payload, in bytes.
func Parse(data []byte, limit int) (f Frame, n int, err error) {
	if len(data) < 2 {
		return f, 0, nil
	}
	f.Fin, f.Op = data[0]&0x80 != 0, data[0]&0x0f
	size, at := uint64(data[1]&0x7f), 2
	control := f.Op >= Close
	switch {
	case data[0]&0x70 != 0:
		return f, 0, &Error{Protocol, "reserved bits are set"}
	case data[1]&0x80 == 0:
		return f, 0, &Error{Protocol, "a client's frame is not masked"} // §5.1
	case f.Op > Binary && !control || f.Op > Pong:
		return f, 0, &Error{Protocol, "unknown opcode"}
	case control && (!f.Fin || size > 125):
		return f, 0, &Error{Protocol, "a control frame is long or fragmented"} // §5.5
	case size == 126:
		if at += 2; len(data) < at {
			return f, 0, nil
		}
		size = uint64(binary.BigEndian.Uint16(data[2:]))
	case size == 127:
		if at += 8; len(data) < at {
			return f, 0, nil
		}
		size = binary.BigEndian.Uint64(data[2:])
	}
	if !control && size > uint64(max(limit, 0)) {
		return f, 0, &Error{TooBig, "the message is too large"}
	}
	if uint64(len(data)) < uint64(at)+4+size {
		return f, 0, nil
	}
	key := binary.LittleEndian.Uint32(data[at:])
	at += 4
	f.Payload = data[at : at+int(size)]
	unmask(f.Payload, key)
	return f, at + int(size), nil
}

// unmask is RFC 6455 §5.3, eight bytes at a time.
func unmask(b []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key >> (8 * (i % 4)))
	}
}

// Append appends a whole unmasked frame, as a server sends it.
func Append(to []byte, op byte, payload []byte) []byte {
	to = append(to, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		to = append(to, byte(n))
	case n < 1<<16:
		to = binary.BigEndian.AppendUint16(append(to, 126), uint16(n))
	default:
		to = binary.BigEndian.AppendUint64(append(to, 127), uint64(n))
	}
	return append(to, payload...)
}

// AppendClose appends a close frame; the reason is cut to what fits.
func AppendClose(to []byte, code uint16, reason string) []byte {
	if len(reason) > 120 {
		reason = reason[:120]
	}
	return Append(to, Close, append(binary.BigEndian.AppendUint16(nil, code), strings.ToValidUTF8(reason, "")...))
}
