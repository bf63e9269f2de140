package sip

import (
	"strconv"
	"strings"
)

// Draft is a message being written: new, or a spliced copy of one received. It is not for
// concurrent use. Methods that change it return it, so that calls can be chained.
//
// CR, LF and NUL in values become spaces, so that no value can start a row of its own.
type Draft struct {
	base *Message // nil for a new message; rows may point into it

	method  string
	uri     string
	status  int
	reason  string
	newLine bool // the start line is not that of base

	rows    []row
	names   []string // of rows that are not written under the name of their id
	inline  [24]row
	body    []byte
	newBody bool // body is not that of base
}

// row is a row of base, when base >= 0, or a value under the name of id, when base is fresh, or under another name: that of
// index named-base.
type row struct {
	base  int32
	id    HeaderID
	value string
}

const (
	fresh = -1
	named = -2
)

// named is the base of a row with a name of its own.
func (d *Draft) named(name string) int32 {
	d.names = append(d.names, name)
	return named - int32(len(d.names)-1)
}

// NewRequest starts a request with nothing but its request line.
func NewRequest(method, uri string) *Draft {
	d := &Draft{method: method, uri: uri, newLine: true}
	d.rows = d.inline[:0]
	return d
}

// NewResponse starts the response to req (RFC 3261 §8.2.6): all Vias, From, To, Call-ID and CSeq are copied, in a 100 also
// Timestamp. No To tag is added. reason "" means the standard text. Of a malformed request it copies what was found,
// of headers that stand twice the first.
func NewResponse(req *Message, status int, reason string) *Draft {
	if reason == "" {
		reason = StatusText(status)
	}
	d := &Draft{status: status, reason: reason, newLine: true}
	d.rows = d.inline[:0]
	// Rows are copied as they are, unless the request is not well-formed: then each value is cleaned.
	if req.err == nil {
		d.base = req
		d.newBody = true
	}
	for i := req.first[HVia]; i != 0; i = req.nextRow(i, HVia) {
		d.copyRow(req, i)
	}
	for _, id := range [...]HeaderID{HFrom, HTo, HCallID, HCSeq} {
		if i := req.first[id]; i != 0 {
			d.copyRow(req, i)
		}
	}
	// RFC 3261 §8.2.6.1
	if i := req.first[HTimestamp]; status == 100 && i != 0 {
		d.copyRow(req, i)
	}
	return d
}

func (d *Draft) copyRow(m *Message, i uint16) {
	f := m.fields[i-1]
	if d.base == m {
		d.rows = append(d.rows, row{base: int32(i - 1), id: f.id})
		return
	}
	d.rows = append(d.rows, row{base: d.named(m.name(f)), id: f.id, value: m.value(f)})
}

// Edit starts a copy of m. The rows that are not touched are later copied as they are.
func (m *Message) Edit() *Draft {
	d := &Draft{method: m.method, uri: m.uri, status: m.status, reason: m.reason, body: m.Body()}
	d.rows = d.inline[:0]
	if m.err == nil {
		d.base = m
	} else {
		d.newLine, d.newBody = true, true
	}
	for i := range m.fields {
		d.copyRow(m, uint16(i+1))
	}
	return d
}

// Status is the status code of a response; 0 for a request.
func (d *Draft) Status() int { return d.status }

// SetReason replaces the reason phrase of a response; "" means the standard text.
func (d *Draft) SetReason(reason string) *Draft {
	if d.status != 0 {
		if reason == "" {
			reason = StatusText(d.status)
		}
		d.reason, d.newLine = reason, true
	}
	return d
}

// Method is the method of a request; "" for a response.
func (d *Draft) Method() string { return d.method }

// URI is the Request-URI; "" for a response.
func (d *Draft) URI() string { return d.uri }

// SetURI replaces the Request-URI.
func (d *Draft) SetURI(uri string) *Draft {
	d.uri, d.newLine = uri, true
	return d
}

func (d *Draft) value(r row) string {
	if r.base >= 0 {
		return d.base.value(d.base.fields[r.base])
	}
	return r.value
}

func (d *Draft) find(id HeaderID) int {
	for i := range d.rows {
		if d.rows[i].id == id {
			return i
		}
	}
	return -1
}

// Get is the value of the header's first row; "" if there is none.
func (d *Draft) Get(id HeaderID) string {
	if i := d.find(id); i >= 0 {
		return d.value(d.rows[i])
	}
	return ""
}

// Has tells whether the header is there.
func (d *Draft) Has(id HeaderID) bool { return d.find(id) >= 0 }

// Add appends a row.
func (d *Draft) Add(id HeaderID, value string) *Draft {
	d.rows = append(d.rows, row{base: fresh, id: id, value: value})
	return d
}

// AddName appends a row of any header. A name that is no token is refused: nothing is added.
func (d *Draft) AddName(name, value string) *Draft {
	if !isToken(name) {
		return d
	}
	d.rows = append(d.rows, row{base: d.named(name), id: LookupHeader(name), value: value})
	return d
}

// Prepend puts a row before the first row of that header; in front of all rows when there is none.
func (d *Draft) Prepend(id HeaderID, value string) *Draft {
	i := max(d.find(id), 0)
	d.rows = append(d.rows, row{})
	copy(d.rows[i+1:], d.rows[i:])
	d.rows[i] = row{base: fresh, id: id, value: value}
	return d
}

// Set replaces all rows of the header by one, in the place of the first; it is appended when there was none.
func (d *Draft) Set(id HeaderID, value string) *Draft {
	i := d.find(id)
	if i < 0 {
		return d.Add(id, value)
	}
	d.rows[i] = row{base: fresh, id: id, value: value}
	d.removeFrom(i+1, func(r row) bool { return r.id == id })
	return d
}

// Remove takes all rows of the header out, whatever their spelling was.
func (d *Draft) Remove(id HeaderID) *Draft {
	d.removeFrom(0, func(r row) bool { return r.id == id })
	return d
}

// RemoveName is Remove for any header, by its long or compact name in any case.
func (d *Draft) RemoveName(name string) *Draft {
	if id := LookupHeader(name); id != HOther {
		return d.Remove(id)
	}
	d.removeFrom(0, func(r row) bool { return r.id == HOther && equalFold(d.name(r), name) })
	return d
}

func (d *Draft) name(r row) string {
	switch {
	case r.base >= 0:
		return d.base.name(d.base.fields[r.base])
	case r.base <= named:
		return d.names[named-r.base]
	}
	return r.id.String()
}

func (d *Draft) removeFrom(i int, drop func(row) bool) {
	w := i
	for ; i < len(d.rows); i++ {
		if !drop(d.rows[i]) {
			d.rows[w] = d.rows[i]
			w++
		}
	}
	d.rows = d.rows[:w]
}

// RemoveFirst takes the header's first value out, and the row with it when it held no other.
func (d *Draft) RemoveFirst(id HeaderID) *Draft {
	i := d.find(id)
	if i < 0 {
		return d
	}
	if isList(id) {
		if _, rest, more := cutValue(d.value(d.rows[i])); more {
			d.rows[i] = row{base: fresh, id: id, value: trim(rest)}
			return d
		}
	}
	d.rows = append(d.rows[:i], d.rows[i+1:]...)
	return d
}

// ReplaceFirst puts value in the place of the header's first value; it is appended when there is none.
func (d *Draft) ReplaceFirst(id HeaderID, value string) *Draft {
	i := d.find(id)
	if i < 0 {
		return d.Add(id, value)
	}
	if isList(id) {
		if _, rest, more := cutValue(d.value(d.rows[i])); more {
			value += ", " + trim(rest)
		}
	}
	d.rows[i] = row{base: fresh, id: id, value: value}
	return d
}

// SetToTag adds a tag to To if it has none.
func (d *Draft) SetToTag(tag string) *Draft {
	i := d.find(HTo)
	if i < 0 {
		return d
	}
	if v := d.value(d.rows[i]); tagOf(v) == "" {
		d.rows[i] = row{base: fresh, id: HTo, value: v + ";tag=" + tag}
	}
	return d
}

// Body sets the body and its Content-Type and removes Content-Encoding. An empty contentType removes Content-Type too.
// The draft keeps body until Bytes.
func (d *Draft) Body(contentType string, body []byte) *Draft {
	d.body, d.newBody = body, true
	d.Remove(HContentEncoding)
	if contentType == "" {
		return d.Remove(HContentType)
	}
	return d.Set(HContentType, contentType)
}

// Bytes renders the message into a new buffer. Content-Length is always there, once, and right.
func (d *Draft) Bytes() []byte {
	b := make([]byte, 0, d.size())
	b = d.appendStart(b)
	// The base's own Content-Length row is good as long as the body is the base's.
	keep := d.base != nil && !d.newBody && d.base.Count(HContentLength) == 1
	written := false
	for i := 0; i < len(d.rows); {
		r := d.rows[i]
		if r.id == HContentLength && (r.base < 0 || !keep || written) {
			i++
			continue
		}
		if r.base < 0 {
			b = d.appendRow(b, r)
			i++
			continue
		}
		// Neighbours in base are copied in one piece.
		j := i
		for {
			written = written || d.rows[j].id == HContentLength
			if j+1 == len(d.rows) || d.rows[j+1].base != d.rows[j].base+1 || d.rows[j+1].id == HContentLength && (!keep || written) {
				break
			}
			j++
		}
		b = append(b, d.base.buf[d.base.fields[r.base].start:d.base.rowEnd(int(d.rows[j].base))]...)
		i = j + 1
	}
	if !written {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(d.body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, d.body...)
}

// rowEnd is the offset behind the row's line end.
func (m *Message) rowEnd(i int) int {
	if i+1 < len(m.fields) {
		return int(m.fields[i+1].start)
	}
	return m.hdr - 2
}

func (d *Draft) size() int {
	n := len(d.method) + len(d.uri) + len(d.reason) + len(d.body) + 64
	for _, r := range d.rows {
		if r.base >= 0 {
			n += d.base.rowEnd(int(r.base)) - int(d.base.fields[r.base].start)
		} else {
			n += len(r.value) + len(d.name(r)) + 4
		}
	}
	return n
}

func (d *Draft) appendStart(b []byte) []byte {
	if !d.newLine {
		return append(b, d.base.buf[:d.base.rows]...)
	}
	if d.status == 0 {
		for i := 0; i < len(d.method); i++ {
			if class[d.method[i]]&cToken != 0 {
				b = append(b, d.method[i])
			}
		}
		b = append(b, ' ')
		for i := 0; i < len(d.uri); i++ {
			if c := d.uri[i]; c > ' ' && c != 0x7f {
				b = append(b, c)
			} else {
				const hex = "0123456789ABCDEF"
				b = append(b, '%', hex[c>>4], hex[c&15])
			}
		}
		return append(b, " SIP/2.0\r\n"...)
	}
	b = append(b, "SIP/2.0 "...)
	b = strconv.AppendInt(b, int64(d.status), 10)
	b = append(b, ' ')
	b = appendClean(b, d.reason)
	return append(b, "\r\n"...)
}

func (d *Draft) appendRow(b []byte, r row) []byte {
	b = append(b, d.name(r)...)
	b = append(b, ": "...)
	b = appendClean(b, r.value)
	return append(b, "\r\n"...)
}

// appendClean appends a value without what could end its line.
func appendClean(b []byte, s string) []byte {
	if strings.IndexByte(s, '\r') < 0 && strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, 0) < 0 {
		return append(b, s...)
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\r', '\n', 0:
			b = append(b, ' ')
		default:
			b = append(b, s[i])
		}
	}
	return b
}

// Message renders the draft and parses it. The error is that of Parse.
func (d *Draft) Message() (*Message, error) { return Parse(d.Bytes()) }
