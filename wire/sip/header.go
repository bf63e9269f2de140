package sip

import (
	"iter"
	"strings"
)

func (m *Message) value(f field) string { return m.buf[f.value:f.end] }

func (m *Message) name(f field) string { return m.buf[f.start:f.nameEnd] }

// Get is the value of the header's first row, without the white space around it; "" if there is none.
// All values that share the row are in it: for a list see Values.
func (m *Message) Get(id HeaderID) string {
	i := m.first[id]
	if i == 0 {
		return ""
	}
	return m.value(m.fields[i-1])
}

// Has tells whether the header is there, be it empty.
func (m *Message) Has(id HeaderID) bool { return m.first[id] != 0 }

// Count is the number of rows of the header.
func (m *Message) Count(id HeaderID) int {
	n := 0
	for i := m.first[id]; i != 0; i = m.nextRow(i, id) {
		n++
	}
	return n
}

// nextRow returns the index+1 of the next row with that id after the row i (also index+1), 0 if there is none.
func (m *Message) nextRow(i uint16, id HeaderID) uint16 {
	for j := int(i); j < len(m.fields); j++ {
		if m.fields[j].id == id {
			return uint16(j + 1)
		}
	}
	return 0
}

// GetName is Get for any header, by its long or compact name in any case.
func (m *Message) GetName(name string) string {
	if id := LookupHeader(name); id != HOther {
		return m.Get(id)
	}
	for _, f := range m.fields {
		if f.id == HOther && equalFold(m.name(f), name) {
			return m.value(f)
		}
	}
	return ""
}

// Each gives the value of each row of the header in order.
func (m *Message) Each(id HeaderID) iter.Seq[string] {
	// The closure is small so that both are inlined and the range loop allocates nothing.
	return func(yield func(string) bool) { m.each(id, yield) }
}

func (m *Message) each(id HeaderID, yield func(string) bool) {
	for i := m.first[id]; i != 0; i = m.nextRow(i, id) {
		if !yield(m.value(m.fields[i-1])) {
			return
		}
	}
}

// Headers gives the name as it came, the id and the value of every row in order.
func (m *Message) Headers() iter.Seq2[string, Header] {
	return func(yield func(string, Header) bool) { m.eachHeader(yield) }
}

func (m *Message) eachHeader(yield func(string, Header) bool) {
	for _, f := range m.fields {
		if !yield(m.name(f), Header{f.id, m.value(f)}) {
			return
		}
	}
}

// Header is one row of a message.
type Header struct {
	ID    HeaderID
	Value string
}

// Values gives the comma-separated values of all rows of the header in order, white space taken off. Commas in quotes or
// angle brackets do not separate. It makes sense for headers that are lists; others are given row by row.
// Empty values (", ,") are left out.
func (m *Message) Values(id HeaderID) iter.Seq[string] {
	return func(yield func(string) bool) { m.eachValue(id, yield) }
}

func (m *Message) eachValue(id HeaderID, yield func(string) bool) {
	if !isList(id) {
		m.each(id, yield)
		return
	}
	for i := m.first[id]; i != 0; i = m.nextRow(i, id) {
		for rest, more := m.value(m.fields[i-1]), true; more; {
			var v string
			v, rest, more = cutValue(rest)
			if v != "" && !yield(v) {
				return
			}
		}
	}
}

// HasToken tells whether the list (Supported, Require, Allow …) holds the token, whatever its case.
func (m *Message) HasToken(id HeaderID, token string) bool {
	for i := m.first[id]; i != 0; i = m.nextRow(i, id) {
		for rest, more := m.value(m.fields[i-1]), true; more; {
			var v string
			if v, rest, more = cutValue(rest); equalFold(v, token) {
				return true
			}
		}
	}
	return false
}

// Int reads a header that is a number: digits only, at most 2^32-1. ok is false when the header is missing
// or anything else. Headers whose number may be followed by parameters or a comment (Session-Expires, Min-SE,
// Retry-After) are cut there.
func (m *Message) Int(id HeaderID) (n uint32, ok bool) {
	v := m.Get(id)
	switch id {
	case HSessionExpires, HMinSE, HRetryAfter:
		if i := strings.IndexAny(v, ";( \t"); i >= 0 {
			v = v[:i]
		}
	}
	return parseUint(v)
}

// CallID is the Call-ID; "" if there is none.
func (m *Message) CallID() string { return m.Get(HCallID) }

// TopVia parses the first Via value.
func (m *Message) TopVia() (Via, error) {
	v, _, _ := cutValue(m.Get(HVia))
	return ParseVia(v)
}

// From parses the From header.
func (m *Message) From() (NameAddr, error) { return ParseNameAddr(m.Get(HFrom)) }

// To parses the To header.
func (m *Message) To() (NameAddr, error) { return ParseNameAddr(m.Get(HTo)) }

// FromTag is the tag of From; "" if it has none.
func (m *Message) FromTag() string { return tagOf(m.Get(HFrom)) }

// ToTag is the tag of To; "" if it has none.
func (m *Message) ToTag() string { return tagOf(m.Get(HTo)) }

// CSeq is a sequence number, below 2^31, and its method (RFC 3261 §8.1.1.5).
type CSeq struct {
	Seq    uint32
	Method string
}

// CSeq parses the CSeq header.
func (m *Message) CSeq() (CSeq, error) {
	if m.cseq.Method != "" {
		return m.cseq, nil
	}
	return ParseCSeq(m.Get(HCSeq))
}

// ParseCSeq reads "1*DIGIT LWS Method". The number is below 2^31 (RFC 3261 §8.1.1.5).
func ParseCSeq(s string) (CSeq, error) {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	n, ok := parseUint(s[:i])
	method := trimLeft(s[i:])
	if !ok || n > 1<<31-1 || len(method) == len(s)-i || !isToken(method) {
		return CSeq{}, bad("Malformed CSeq Header", s)
	}
	return CSeq{n, method}, nil
}

// Contacts parses all Contact values. star is true for "Contact: *", which stands alone (RFC 3261 §10.2.2).
func (m *Message) Contacts() (list []NameAddr, star bool, err error) {
	for v := range m.Values(HContact) {
		if v == "*" {
			star = true
			continue
		}
		c, err := ParseNameAddr(v)
		if err != nil {
			return nil, false, err
		}
		list = append(list, c)
	}
	if star && len(list) > 0 {
		return nil, false, bad("Malformed Contact Header", "* beside other contacts")
	}
	return list, star, nil
}

// ContentType is the media type in lower case, without white space, and its parameters; "" if there is none.
func (m *Message) ContentType() (mediaType string, params Params) {
	return SplitMediaType(m.Get(HContentType))
}

// SplitMediaType reads "type/subtype;params" into the type in lower case and the parameters.
func SplitMediaType(v string) (mediaType string, params Params) {
	if i := strings.IndexByte(v, ';'); i >= 0 {
		v, params = trimRight(v[:i]), Params(v[i:])
	}
	if strings.ContainsAny(v, " \t") {
		v = strings.NewReplacer(" ", "", "\t", "").Replace(v)
	}
	return toLower(v), params
}
