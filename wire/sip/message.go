package sip

import (
	"bytes"
	"strings"
	"unsafe"
)

// inlineHeaders is the number of header rows that a Message holds without a second allocation.
const inlineHeaders = 40

// field is one header row: offsets into the message's buffer. The row ends where the next one starts.
type field struct {
	start   uint16 // first byte of the name
	nameEnd uint16 // after the name, white space before the colon not counted
	value   uint16 // first byte of the value, white space not counted
	end     uint16 // after the value, trailing white space and line end not counted
	id      HeaderID
}

// Message is a SIP request or response as it was received: one buffer plus offsets. It is read-only once parsed.
type Message struct {
	data []byte // header block and body, exactly
	buf  string // the same bytes

	method string // of the request line; "" for a response
	uri    string
	reason string
	status int

	hdr    int // length of the start line, header rows and empty line
	rows   int // offset of the first header row
	err    *Error
	fields []field            // starts out as inline
	first  [numHeaders]uint16 // index+1 in fields of the first row with that id
	inline [inlineHeaders]field
}

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
func (m *Message) Parse(data []byte) error { return m.ParseLimits(data, DefaultLimits()) }

// ParseLimits is Parse with other limits.
//
// It answers for what a message needs to be routed: a well-formed start line (400, 505), rows that
// have a name (400), one each of From, To, Call-ID and CSeq and at least one Via (400), no second
// row of a header that may be there once (400), a Content-Length that is a number and is covered by
// data (400), the limits (400, 413). Bytes behind the body are dropped (RFC 3261 §18.3). Check looks at the rest.
func (m *Message) ParseLimits(data []byte, lim Limits) error {
	lim = lim.filled()
	if cap(m.fields) == 0 {
		m.fields = m.inline[:0]
	}
	m.fields = m.fields[:0]
	m.first = [numHeaders]uint16{}
	m.method, m.uri, m.reason, m.status, m.err = "", "", "", 0, nil
	m.hdr, m.rows = 0, 0
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
	pos, lines, vias := m.rows, 1, 0
	for {
		end := min(len(m.buf), lim.HeaderBytes)
		if pos >= end {
			m.noHeaderEnd(pos, lim)
			return
		}
		nl := strings.IndexByte(m.buf[pos:end], '\n')
		if nl < 0 {
			m.noHeaderEnd(end, lim)
			return
		}
		next := pos + nl + 1
		stop := next - 1
		if stop > pos && m.buf[stop-1] == '\r' {
			stop--
		} else {
			m.fail(bad("Line Ends Without CR", ""))
		}
		lines++
		if stop == pos {
			m.hdr = next
			break
		}
		if next < len(m.buf) && (m.buf[next] == ' ' || m.buf[next] == '\t') {
			m.unfold(pos, lim)
			if m.err != nil && m.hdr < 0 {
				m.hdr = 0
			}
			continue
		}
		if stop-pos > lim.Line {
			m.fail(bad("Line Too Long", ""))
		}
		if len(m.fields) >= lim.Headers {
			m.fail(bad("Too Many Headers", ""))
			m.noHeaderEnd(pos, lim)
			return
		}
		if m.row(pos, stop) == HVia {
			vias++
			if vias > lim.Vias {
				m.fail(bad("Too Many Vias", ""))
			}
		}
		pos = next
	}
	if bytes.Count(m.data[:m.hdr], crByte) != lines {
		m.fail(bad("CR Without LF", ""))
	}
}

var crByte = []byte{'\r'}

// noHeaderEnd notes that the header block does not end; what was read counts as the whole message.
func (m *Message) noHeaderEnd(pos int, lim Limits) {
	if pos >= lim.HeaderBytes {
		m.fail(bad("Header Too Large", ""))
	}
	m.fail(bad("Missing End of Headers", ""))
	m.hdr = pos
}

// row notes the header row at [pos, stop).
func (m *Message) row(pos, stop int) HeaderID {
	line := m.buf[pos:stop]
	colon := strings.IndexByte(line, ':')
	if colon < 0 {
		m.fail(bad("Header Without Colon", line))
		return HOther
	}
	// RFC 3261 §25.1 HCOLON: white space may stand before the colon.
	name := line[:colon]
	for len(name) > 0 && (name[len(name)-1] == ' ' || name[len(name)-1] == '\t') {
		name = name[:len(name)-1]
	}
	id := LookupHeader(name)
	if id == HOther && !isToken(name) {
		m.fail(bad("Malformed Header Name", name))
	}
	value := pos + colon + 1
	for value < stop && (m.buf[value] == ' ' || m.buf[value] == '\t') {
		value++
	}
	end := stop
	for end > value && (m.buf[end-1] == ' ' || m.buf[end-1] == '\t') {
		end--
	}
	m.fields = append(m.fields, field{
		start: uint16(pos), nameEnd: uint16(pos + len(name)),
		value: uint16(value), end: uint16(end), id: id,
	})
	switch {
	case m.first[id] == 0:
		m.first[id] = uint16(len(m.fields))
	case isSingle(id):
		m.fail(bad("Repeated "+id.String()+" Header", ""))
	}
	return id
}

// unfold rewrites the header block from pos on so that each row is one line: a line end followed by white
// space means a single space (RFC 3261 §7.3.1, §25.1 LWS). The bytes behind move up.
func (m *Message) unfold(pos int, lim Limits) {
	d := m.data
	w, r := pos, pos
	for r < len(d) && r < lim.HeaderBytes {
		if d[r] != '\n' || r+1 >= len(d) {
			d[w] = d[r]
			w, r = w+1, r+1
			continue
		}
		if d[r+1] != ' ' && d[r+1] != '\t' {
			d[w] = '\n'
			w, r = w+1, r+1
			// An empty line ends the header block.
			if r+1 < len(d) && d[r] == '\r' && d[r+1] == '\n' || d[r] == '\n' {
				break
			}
			continue
		}
		if w > pos && d[w-1] == '\r' {
			w--
		}
		for w > pos && (d[w-1] == ' ' || d[w-1] == '\t') {
			w--
		}
		for r++; r < len(d) && (d[r] == ' ' || d[r] == '\t'); r++ {
		}
		d[w] = ' '
		w++
	}
	if w == r {
		return
	}
	w += copy(d[w:], d[r:])
	m.setData(d[:w])
}

// require checks that the headers are there without which nothing can be routed or answered (RFC 3261 §8.1.1).
func (m *Message) require() {
	for _, id := range [...]HeaderID{HVia, HFrom, HTo, HCallID, HCSeq} {
		if m.first[id] == 0 {
			m.fail(bad("Missing "+id.String()+" Header", ""))
			return
		}
	}
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

// IsRequest tells a request from a response. Of a message that could not be read at all it says false.
func (m *Message) IsRequest() bool { return m.method != "" }

// Answerable tells whether NewResponse can make a response that finds its way back: m is a request
// other than ACK (RFC 3261 §17: an ACK is never answered) and its top Via can be read.
func (m *Message) Answerable() bool {
	if m.method == "" || m.method == ACK {
		return false
	}
	_, err := m.TopVia()
	return err == nil
}

// Err is what Parse returned, nil for a message that was read in full.
func (m *Message) Err() *Error { return m.err }

// Method is the method of the request line; for a response that of CSeq, "" if it has none.
func (m *Message) Method() string {
	if m.method != "" {
		return m.method
	}
	c, err := m.CSeq()
	if err != nil {
		return ""
	}
	return c.Method
}

// RequestURI is the Request-URI as it came; "" for a response.
func (m *Message) RequestURI() string { return m.uri }

// URI parses the Request-URI.
func (m *Message) URI() (URI, error) { return ParseURI(m.uri) }

// Status is the status code of a response, 100 to 699; 0 for a request.
func (m *Message) Status() int { return m.status }

// Reason is the reason phrase of a response.
func (m *Message) Reason() string { return m.reason }

// Bytes is the whole message, start line to body. It is the message's own buffer: not to be written to.
func (m *Message) Bytes() []byte { return m.data }

// Body is the body, nil when there is none. It is the message's own buffer: not to be written to.
func (m *Message) Body() []byte {
	if len(m.data) == m.hdr {
		return nil
	}
	return m.data[m.hdr:]
}

// HeaderLen is the length of the start line and the header rows with the empty line, in bytes.
func (m *Message) HeaderLen() int { return m.hdr }
