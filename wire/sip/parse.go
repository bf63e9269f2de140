package sip

import (
	"bytes"
	"slices"
	"strings"
	"unsafe"
)

// Parse reads one datagram or one framed message with the default limits. It takes ownership of
// data and may rearrange it: continuation lines are unfolded in place.
//
// The error is always *Error. The message returned beside it still holds whatever was found; ask Answerable
// whether a response can be made from it.
func Parse(data []byte) (*Message, error) {
	m := new(Message)
	return m, m.Parse(data)
}

// Parse reads data into m, whose earlier content is forgotten; strings taken from m before stay
// valid as long as their buffer is left alone. It allocates nothing for messages of up to 40 header rows.
func (m *Message) Parse(data []byte) error { return m.parse(data, DefaultLimits()) }

// ParseLimits is Parse with other limits.
//
// It answers for what a message needs to be routed: a well-formed start line (400, 505), rows that
// have a name (400), one each of From, To, Call-ID and a well-formed CSeq and at least one Via (400), no second
// row of a header that may be there once (400), a Content-Length that is a number and is covered by
// data (400), the limits (400, 413). Bytes behind the body are dropped (RFC 3261 §18.3). Check looks at the rest.
func (m *Message) ParseLimits(data []byte, lim Limits) error { return m.parse(data, lim.filled()) }

func (m *Message) parse(data []byte, lim Limits) error {
	if cap(m.fields) == 0 {
		m.fields = m.inline[:0]
	}
	m.fields = m.fields[:0]
	m.first = [numHeaders]uint16{}
	m.method, m.uri, m.reason, m.status, m.err = "", "", "", 0, nil
	m.hdr, m.rows, m.cseq = 0, 0, CSeq{}
	// RFC 3261 §7.5: empty lines before the start line are ignored.
	for len(data) > 2 && data[0] == '\r' && data[1] == '\n' {
		data = data[2:]
	}
	m.setData(data)

	if next := m.startLine(lim); next > 0 {
		m.rows = next
		m.index(lim)
		if m.err == nil {
			m.require()
		}
		m.cutBody(lim)
	}
	if m.err != nil {
		return m.err
	}
	return nil
}

func (m *Message) setData(data []byte) {
	m.data = data
	m.buf = unsafe.String(unsafe.SliceData(data), len(data))
}

// fail notes the first thing that is wrong.
func (m *Message) fail(e *Error) {
	if m.err == nil {
		m.err = e
	}
}

// startLine reads the first line and returns the offset of the line after it; 0 when nothing can be made of it.
// RFC 3261 §7.1, §7.2.
func (m *Message) startLine(lim Limits) int {
	// Looking no further than the limits keeps a large garbage datagram cheap.
	head := m.buf[:min(len(m.buf), lim.HeaderBytes)]
	nl := strings.IndexByte(head, '\n')
	if nl < 0 {
		m.fail(bad("Missing Line End", ""))
		return 0
	}
	line := head[:nl]
	if nl > 0 && line[nl-1] == '\r' {
		line = line[:nl-1]
	} else {
		m.fail(bad("Line Ends Without CR", ""))
	}
	if len(line) > lim.Line {
		m.fail(bad("Line Too Long", ""))
	}
	if len(line) >= 4 && equalFold(line[:4], "SIP/") {
		return m.statusLine(line, nl+1)
	}
	return m.requestLine(line, nl+1)
}

// requestLine reads Method SP Request-URI SP SIP-Version.
func (m *Message) requestLine(line string, next int) int {
	sp := strings.IndexByte(line, ' ')
	if sp <= 0 || spanClass(line[:sp], cToken) != sp {
		m.fail(bad("Malformed Request Line", line))
		return 0
	}
	m.method = line[:sp]
	rest := line[sp+1:]
	last := strings.LastIndexByte(rest, ' ')
	if last < 0 {
		m.fail(bad("Malformed Request Line", line))
		return next
	}
	version := rest[last+1:]
	m.uri = rest[:last]
	switch {
	case version == Version || equalFold(version, Version):
	case isVersion(version):
		m.fail(&Error{Status: 505, Reason: StatusText(505), Detail: version})
	default:
		m.fail(bad("Malformed Request Line", line))
	}
	if m.uri == "" || strings.IndexByte(m.uri, ' ') >= 0 || strings.IndexByte(m.uri, '\t') >= 0 {
		m.fail(bad("Malformed Request-URI", m.uri))
	}
	return next
}

// statusLine reads SIP-Version SP Status-Code SP Reason-Phrase. A missing last SP is forgiven.
func (m *Message) statusLine(line string, next int) int {
	sp := strings.IndexByte(line, ' ')
	if sp < 0 || !isVersion(line[:sp]) {
		m.fail(bad("Malformed Status Line", line))
		return 0
	}
	if !equalFold(line[:sp], Version) {
		m.fail(&Error{Status: 505, Reason: StatusText(505), Detail: line[:sp]})
		return 0
	}
	code := line[sp+1:]
	if end := strings.IndexByte(code, ' '); end >= 0 {
		code, m.reason = code[:end], code[end+1:]
	}
	n, ok := parseUint(code)
	if !ok || len(code) != 3 || n < 100 || n > 699 {
		m.fail(bad("Malformed Status Line", line))
		return 0
	}
	m.status = int(n)
	return next
}

// isVersion recognises SIP/1*DIGIT.1*DIGIT.
func isVersion(s string) bool {
	if len(s) < 7 || !equalFold(s[:4], "SIP/") {
		return false
	}
	major, minor, ok := strings.Cut(s[4:], ".")
	return ok && allDigits(major) && allDigits(minor)
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// index finds the header rows from m.rows on. RFC 3261 §7.3.1.
func (m *Message) index(lim Limits) {
	buf := m.buf[:min(len(m.buf), lim.HeaderBytes)]
	pos, lines, unfolded := m.rows, 1, false
	for {
		nl := strings.IndexByte(buf[pos:], '\n')
		if nl < 0 {
			m.noHeaderEnd(pos, lim)
			return
		}
		next := pos + nl + 1
		if next < len(m.buf) && (m.buf[next] == ' ' || m.buf[next] == '\t') && nl > 1 {
			// One pass unfolds all there is below the limit, so a second need means that the limit is passed.
			if unfolded {
				m.fail(bad("Header Too Large", ""))
				m.noHeaderEnd(pos, lim)
				return
			}
			unfolded = true
			m.unfold(pos, lim)
			buf = m.buf[:min(len(m.buf), lim.HeaderBytes)]
			continue
		}
		line := buf[pos : pos+nl]
		if nl > 0 && line[nl-1] == '\r' {
			line = line[:nl-1]
		} else {
			m.fail(bad("Line Ends Without CR", ""))
		}
		lines++
		if line == "" {
			m.hdr = next
			break
		}
		if len(line) > lim.Line {
			m.fail(bad("Line Too Long", ""))
		}
		if len(m.fields) >= lim.Headers {
			m.fail(bad("Too Many Headers", ""))
			m.noHeaderEnd(pos, lim)
			return
		}
		m.row(pos, line)
		pos = next
	}
	if bytes.Count(m.data[:m.hdr], crByte) != lines {
		m.fail(bad("CR Without LF", ""))
	}
	if m.first[HVia] != 0 {
		m.countVias(lim)
	}
}

var crByte = []byte{'\r'}

// noHeaderEnd notes that the header block does not end; what was read counts as the whole message.
func (m *Message) noHeaderEnd(pos int, lim Limits) {
	if len(m.buf) >= lim.HeaderBytes {
		m.fail(bad("Header Too Large", ""))
	}
	m.fail(bad("Missing End of Headers", ""))
	m.setData(m.data[:pos:pos])
	m.hdr = pos
}

// row notes the header row that is line, at pos.
func (m *Message) row(pos int, line string) {
	colon := 0
	for colon < len(line) && line[colon] != ':' {
		colon++
	}
	if colon == 0 || colon == len(line) {
		m.fail(bad("Header Without Name or Colon", line))
		return
	}
	// RFC 3261 §25.1 HCOLON: white space may stand before the colon, and the name is the same.
	name := line[:colon]
	for len(name) > 0 && (name[len(name)-1] == ' ' || name[len(name)-1] == '\t') {
		name = name[:len(name)-1]
	}
	// A CR in the name is found by index when it counts them.
	id := lookup(name)
	if id == HOther && !isToken(name) {
		m.fail(bad("Malformed Header Name", name))
	}
	value := colon + 1
	for value < len(line) && (line[value] == ' ' || line[value] == '\t') {
		value++
	}
	for len(line) > value && (line[len(line)-1] == ' ' || line[len(line)-1] == '\t') {
		line = line[:len(line)-1]
	}
	if len(m.fields) == cap(m.fields) {
		m.fields = slices.Grow(m.fields, len(m.fields))
	}
	m.fields = m.fields[:len(m.fields)+1]
	// Filled in place: a literal would be put together elsewhere and copied, which costs as much as all the rest here.
	f := &m.fields[len(m.fields)-1]
	f.start, f.nameEnd = uint16(pos), uint16(pos+len(name))
	f.value, f.end, f.id = uint16(pos+value), uint16(pos+len(line)), id
	if m.first[id] == 0 {
		m.first[id] = uint16(len(m.fields))
	} else if isSingle(id) {
		m.fail(bad("Repeated "+id.String()+" Header", ""))
	}
}

// countVias holds the number of Via values, not rows, to the limit.
func (m *Message) countVias(lim Limits) {
	vias := 0
	for i := range m.fields {
		if m.fields[i].id != HVia {
			continue
		}
		for rest, more := m.value(m.fields[i]), true; more; vias++ {
			_, rest, more = cutValue(rest)
		}
	}
	if vias > lim.Vias {
		m.fail(bad("Too Many Vias", ""))
	}
}

// unfold rewrites the header block from pos on so that each row is one line: a line end followed by white
// space means a single space (RFC 3261 §7.3.1, §25.1 LWS). The bytes behind move up.
func (m *Message) unfold(pos int, lim Limits) {
	d := m.data
	end := min(len(d), lim.HeaderBytes)
	ended, w, r := false, pos, pos
	for r < end {
		c := d[r]
		d[w] = c
		w, r = w+1, r+1
		if c != '\n' || r == len(d) {
			continue
		}
		if d[r] != ' ' && d[r] != '\t' {
			// The empty line ends the header block.
			if d[r] == '\n' || d[r] == '\r' && r+1 < end && d[r+1] == '\n' {
				ended = true
				break
			}
			continue
		}
		w--
		if w > pos && d[w-1] == '\r' {
			w--
		} else {
			m.fail(bad("Line Ends Without CR", ""))
		}
		for w > pos && (d[w-1] == ' ' || d[w-1] == '\t') {
			w--
		}
		for r < end && (d[r] == ' ' || d[r] == '\t') {
			r++
		}
		d[w] = ' '
		w++
	}
	if !ended && end < len(d) {
		m.fail(bad("Header Too Large", ""))
	}
	w += copy(d[w:], d[r:])
	m.setData(d[:w:w])
}

// require checks that the headers are there without which nothing can be routed or answered (RFC 3261
// §8.1.1), and CSeq, by which requests and responses are matched.
func (m *Message) require() {
	for _, id := range [...]HeaderID{HVia, HFrom, HTo, HCallID, HCSeq} {
		if m.first[id] == 0 {
			m.fail(bad("Missing "+id.String()+" Header", ""))
			return
		}
	}
	c, err := ParseCSeq(m.Get(HCSeq))
	if err != nil {
		m.fail(asError(err))
	}
	m.cseq = c
}

// cutBody gives the message the length that Content-Length says (RFC 3261 §18.3, §20.14).
func (m *Message) cutBody(lim Limits) {
	have := len(m.data) - m.hdr
	length := have
	if m.first[HContentLength] != 0 {
		n, ok := m.Int(HContentLength)
		switch {
		case !ok:
			m.fail(bad("Malformed Content-Length", m.Get(HContentLength)))
		case uint64(n) > uint64(have):
			if int64(n) > int64(lim.Body) {
				m.fail(&Error{Status: 413, Reason: StatusText(413)})
			}
			m.fail(bad("Body Shorter Than Content-Length", ""))
		default:
			length = int(n)
		}
	}
	if length > lim.Body {
		m.fail(&Error{Status: 413, Reason: StatusText(413)})
	}
	m.setData(m.data[: m.hdr+length : m.hdr+length])
}
