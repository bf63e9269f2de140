package sip

import (
	"bytes"
	"strings"
	"unsafe"
)

// Frame finds the first whole message at the start of what a stream has given so far (RFC 3261 §18.3): it returns the
// message's length, or 0 when more bytes are needed. Empty lines before a message are the
// transport's matter: buf starts with the start line.
//
// An error means that the stream cannot be followed any further: answer if possible and close the
// connection. It is *Error; n then is the length of what belongs to the bad message and is already in
// buf, so that
//
//	m, _ := Parse(buf[:n])
//	handler.Malformed(m, err, flow) // answers if m.Answerable()
//
// works, with Frame's error, not that of Parse (which would speak of the body that is cut off). So it is for a body above
// lim.Body (413), of which no byte is waited for; a header block above lim.HeaderBytes; a first line that is not SIP's; a line end without
// CR; a Content-Length that is missing, repeated or no number (all 400).
func Frame(buf []byte, lim Limits) (n int, err error) {
	lim = lim.filled()
	if len(buf) > 0 && class[buf[0]]&cToken == 0 {
		return 0, bad("Not SIP", "")
	}
	head := buf[:min(len(buf), lim.HeaderBytes)]
	for pos := 0; ; {
		nl := bytes.IndexByte(head[pos:], '\n')
		if nl < 0 {
			if len(head) == lim.HeaderBytes {
				return len(head), bad("Header Too Large", "")
			}
			return 0, nil
		}
		line := head[pos : pos+nl]
		if pos == 0 && !hasVersion(line) {
			return nl + 1, bad("Not SIP", "")
		}
		pos += nl + 1
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return pos, bad("Line Ends Without CR", "")
		}
		if len(line) == 1 {
			head = head[:pos]
			break
		}
	}
	length, found := contentLength(head)
	if found != 1 || length < 0 {
		reason := "Malformed Content-Length"
		switch found {
		case 0:
			// RFC 3261 §20.14: on a stream the header must be there.
			reason = "Missing Content-Length"
		case 1:
		default:
			reason = "Repeated Content-Length Header"
		}
		return len(head), bad(reason, "")
	}
	if length > int64(lim.Body) {
		return len(head), &Error{Status: 413, Reason: StatusText(413)}
	}
	if n = len(head) + int(length); n > len(buf) {
		return 0, nil
	}
	return n, nil
}

// hasVersion tells whether a start line looks like one of SIP, of whatever version, so that garbage and other protocols
// are known by their first line.
func hasVersion(line []byte) bool {
	const word = "SIP/"
	for i := 0; i+len(word) <= len(line); i++ {
		if line[i]|0x20 == 's' && equalFold(string(line[i:i+len(word)]), word) {
			return true
		}
	}
	return false
}

// contentLength looks for the header in a whole header block, folded lines included. length is -1 when it is no
// number up to 2^32-1; found counts the rows.
func contentLength(head []byte) (length int64, found int) {
	s := unsafe.String(unsafe.SliceData(head), len(head))
	length = -1
	for pos := bytes.IndexByte(head, '\n') + 1; pos < len(s)-2; {
		end := lineEnd(s, pos)
		line := s[pos:end]
		pos = end
		if c := line[0] | 0x20; c != 'c' && c != 'l' {
			continue
		}
		name, value, ok := cutHeader(line)
		if !ok || LookupHeader(name) != HContentLength {
			continue
		}
		found++
		length = -1
		if n, ok := parseUint(value); ok {
			length = int64(n)
		}
	}
	return length, found
}

// lineEnd finds the start of the row after the one at pos, continuation lines included.
func lineEnd(s string, pos int) int {
	for {
		nl := strings.IndexByte(s[pos:], '\n')
		if nl < 0 {
			return len(s)
		}
		if pos += nl + 1; pos == len(s) || s[pos] != ' ' && s[pos] != '\t' {
			return pos
		}
	}
}

// cutHeader splits a row at its colon and trims both parts.
func cutHeader(line string) (name, value string, ok bool) {
	for i := 0; i < len(line); i++ {
		if line[i] == ':' {
			return trimRight(line[:i]), trim(line[i+1:]), true
		}
	}
	return "", "", false
}
