package sip

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

// Message is a SIP request or response as it was received: one buffer plus offsets. It is read-only once parsed, but for SetTopVia.
type Message struct {
	data []byte // header block and body, exactly
	buf  string // the same bytes

	method string // of the request line; "" for a response
	uri    string
	reason string
	status int

	cseq   CSeq // zero when malformed or not looked at
	hdr    int  // length of the start line, header rows and empty line
	rows   int  // offset of the first header row
	err    *Error
	fields []field            // starts out as inline
	first  [numHeaders]uint16 // index+1 in fields of the first row with that id
	inline [inlineHeaders]field
}

// IsRequest tells a request from a response. Of a message that could not be read at all it says false.
func (m *Message) IsRequest() bool { return m.method != "" }

// Answerable tells whether NewResponse can make a response that finds its way back: m is a request
// other than ACK (RFC 3261 §17: an ACK is never answered) and its top Via tells transport and host. The
// Via's parameters may be malformed (RFC 4475 §3.1.2.1), so TopVia may still fail.
func (m *Message) Answerable() bool {
	if m.method == "" || m.method == ACK {
		return false
	}
	s, _, _ := cutValue(m.Get(HVia))
	var v Via
	_, ok := v.parseHead(s)
	return ok
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
