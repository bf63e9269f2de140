package sip

// WithTopVia makes a copy of m in which value stands in the place of the first Via value; what shares its row
// stays. Nothing is parsed again: it is for the received and rport parameters that a server adds to what
// it got (RFC 3261 §18.2.1, RFC 3581 §4). value is not empty and has no white space at its
// ends; CR, LF and NUL in it become spaces. It fails when m was not read
// without error, and when the header block would pass 65,535 bytes.
func (m *Message) WithTopVia(value string) (*Message, error) {
	if m.err != nil {
		return nil, m.err
	}
	row := int(m.first[HVia]) - 1
	f := m.fields[row]
	old, _, _ := cutValue(m.value(f))
	delta := len(value) - len(old)
	if m.hdr+delta > maxOffset {
		return nil, bad("Header Too Large", "")
	}
	data := make([]byte, 0, len(m.data)+delta)
	data = append(data, m.data[:f.value]...)
	data = appendClean(data, value)
	data = append(data, m.data[int(f.value)+len(old):]...)

	n := &Message{status: m.status, hdr: m.hdr + delta, rows: m.rows, first: m.first}
	n.setData(data)
	n.fields = append(n.inline[:0], m.fields...)
	// The subtraction of a larger old value wraps around and comes out right.
	shift := uint16(delta)
	n.fields[row].end += shift
	for i := row + 1; i < len(n.fields); i++ {
		f := &n.fields[i]
		f.start += shift
		f.nameEnd += shift
		f.value += shift
		f.end += shift
	}
	// The start line is where it was.
	if m.method != "" {
		n.method = n.buf[:len(m.method)]
		n.uri = n.buf[len(m.method)+1:][:len(m.uri)]
	} else {
		n.reason = n.buf[m.rows-2-len(m.reason) : m.rows-2]
	}
	n.cseq, _ = ParseCSeq(n.Get(HCSeq))
	return n, nil
}
