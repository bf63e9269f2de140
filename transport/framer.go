package transport

import (
	"bytes"
	"cmp"

	"github.com/parley-im/parley/wire/sip"
)

// framer cuts a byte stream into messages (RFC 3261 §18.3) and finds the
// keep-alives between them (RFC 5626 §3.5.1). It holds memory only for a
// message that is not complete, and looks at each byte a bounded number of
// times, however finely the peer slices its stream.
type framer struct {
	buf  []byte // of an incomplete message, from its first byte
	scan int    // bytes of buf that are known to complete nothing
	need int    // length of the whole message, once its header block is there
	crlf int    // bytes of a double CRLF seen
}

// framing is what feed found besides whole messages.
type framing struct {
	pings int
	// bad is set when the stream cannot be followed any further: what belongs
	// to the bad message, and why; bytes nil if it is no SIP at all.
	bad   *sip.Error
	bytes []byte
}

const ping = "\r\n\r\n"

// feed takes what was read and calls emit for each whole message with a buffer
// of its own. It stops early if emit returns false.
func (fr *framer) feed(data []byte, lim sip.Limits, emit func(msg []byte) bool) (f framing) {
	held := len(fr.buf) > 0
	if held {
		fr.buf = append(fr.buf, data...)
		data = fr.buf
	}
	for len(data) > 0 {
		if c := data[0]; c == '\r' || c == '\n' {
			if fr.blank(c) {
				f.pings++
			}
			data = data[1:]
			continue
		}
		fr.crlf = 0
		if !tokenStart(data[0]) {
			f.bad = &sip.Error{Status: 400, Reason: "Not SIP"}
			return f
		}
		n, bad := fr.next(data, lim)
		if bad != nil {
			f.bad, f.bytes = bad, bytes.Clone(data[:n])
			return f
		}
		if n == 0 {
			break
		}
		msg := bytes.Clone(data[:n])
		data = data[n:]
		fr.scan, fr.need = 0, 0
		if !emit(msg) {
			return f
		}
	}
	switch {
	case len(data) == 0:
		fr.buf = nil
	case held && len(data) == len(fr.buf): // nothing was taken off: it lies where it did
	case held:
		fr.buf = append(fr.buf[:0], data...)
	default:
		fr.buf = bytes.Clone(data)
	}
	return f
}

// partial tells whether a message has begun and is not complete.
func (fr *framer) partial() bool { return len(fr.buf) > 0 }

// blank takes a CR or LF between messages; true when it completes a ping.
func (fr *framer) blank(c byte) bool {
	switch {
	case c == ping[fr.crlf]:
		fr.crlf++
	case c == '\r':
		fr.crlf = 1
	default:
		fr.crlf = 0
	}
	if fr.crlf < len(ping) {
		return false
	}
	fr.crlf = 0
	return true
}

// next is sip.Frame, spared as long as nothing new can be said.
func (fr *framer) next(data []byte, lim sip.Limits) (int, *sip.Error) {
	if fr.need > len(data) || fr.need == 0 && fr.scan > 0 && !fr.telling(data, lim) {
		fr.scan = len(data)
		return 0, nil
	}
	n, err := sip.Frame(data, lim)
	if err != nil {
		bad, ok := err.(*sip.Error)
		if !ok {
			bad = &sip.Error{Status: 400, Detail: err.Error()}
		}
		return n, bad
	}
	if n > 0 {
		return n, nil
	}
	fr.scan = len(data)
	if head := bytes.Index(data, []byte(ping)); head >= 0 {
		// The header block is whole and Frame has accepted its Content-Length,
		// so only the body is missing. Parsing unfolds lines in place, so it
		// gets a copy; it fails as the body is not there, and finds the length.
		var m sip.Message
		_ = m.ParseLimits(bytes.Clone(data[:head+len(ping)]), lim)
		size, _ := m.Int(sip.HContentLength)
		fr.need = head + len(ping) + int(size)
	}
	return 0, nil
}

// telling says whether the bytes since the last look can end the header block
// or break it: the end of the start line, an empty line, a line feed without
// CR, or too many bytes.
func (fr *framer) telling(data []byte, lim sip.Limits) bool {
	if len(data) >= cmp.Or(lim.HeaderBytes, sip.DefaultHeaderBytes) {
		return true
	}
	if bytes.IndexByte(data, '\n') >= fr.scan || bytes.Contains(data[max(fr.scan-len(ping)+1, 0):], []byte(ping)) {
		return true
	}
	for at := fr.scan; ; {
		nl := bytes.IndexByte(data[at:], '\n')
		if nl < 0 {
			return false
		}
		at += nl + 1
		if at < 2 || data[at-2] != '\r' {
			return true
		}
	}
}

// tokenStart tells whether a start line can begin with c: a method is a token
// (RFC 3261 §25.1), and "SIP/2.0" begins like one.
func tokenStart(c byte) bool {
	switch {
	case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return true
	}
	return bytes.IndexByte([]byte("-.!%*_+`'~"), c) >= 0
}
