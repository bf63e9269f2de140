package sip

// SetTopVia puts value in the place of the first Via value; what shares its row stays. It is the one thing that changes a
// message, for who has just received it and has not handed it on: the received and rport parameters that a server adds
// (RFC 3261 §18.2.1, RFC 3581 §4). Nothing is parsed again. The message gets a new buffer, so strings that were taken from
// it before stay as they are. value is not empty and has no white space at its ends; CR, LF and NUL in it become spaces.
// It fails, and changes nothing, when m was not read without error, and when the header block would pass 65,535 bytes.
func (m *Message) SetTopVia(value string) error {
	if m.err != nil {
		return m.err
	}
	row := int(m.first[HVia]) - 1
	f := m.fields[row]
	old, _, _ := cutValue(m.value(f))
	delta := len(value) - len(old)
	if m.hdr+delta > maxOffset {
		return bad("Header Too Large", "")
	}
	data := make([]byte, 0, len(m.data)+delta)
	data = append(data, m.data[:f.value]...)
	data = appendClean(data, value)
	data = append(data, m.data[int(f.value)+len(old):]...)
	m.setData(data)
	m.hdr += delta
	// The subtraction of a larger old value wraps around and comes out right.
	shift := uint16(delta)
	m.fields[row].end += shift
	for i := row + 1; i < len(m.fields); i++ {
		f := &m.fields[i]
		f.start += shift
		f.nameEnd += shift
		f.value += shift
		f.end += shift
	}
	// The start line is where it was.
	if m.method != "" {
		m.method = m.buf[:len(m.method)]
		m.uri = m.buf[len(m.method)+1:][:len(m.uri)]
	} else {
		m.reason = m.buf[m.rows-2-len(m.reason) : m.rows-2]
	}
	m.cseq, _ = ParseCSeq(m.Get(HCSeq))
	return nil
}
