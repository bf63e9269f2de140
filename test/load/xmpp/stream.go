package xmpp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
)

// A stream cuts what a server sends into stanzas. It knows as little XML as that takes: XMPP allows no comments, no
// processing instructions and no document types, and nobody sends CDATA. What it hands out holds until the next call.
type stream struct {
	conn     net.Conn
	buf      []byte
	from, to int
}

var errClosed = errors.New("xmpp: the server has closed the stream")

// maxStanza bounds what is kept of a stanza that does not end.
const maxStanza = 1 << 20

func newStream(conn net.Conn) *stream { return &stream{conn: conn, buf: make([]byte, 4096)} }

// header reads the start of the server's stream, up to and with its start tag.
func (s *stream) header() error {
	for {
		data := s.buf[s.from:s.to]
		if start := bytes.Index(data, []byte("<stream:stream")); start >= 0 {
			if end := endOfTag(data, start+1); end > 0 {
				s.from += end
				return nil
			}
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// next reads a stanza, or another child of the stream.
func (s *stream) next() ([]byte, error) {
	for {
		for s.from < s.to && (s.buf[s.from] == ' ' || s.buf[s.from] == '\n' || s.buf[s.from] == '\r' || s.buf[s.from] == '\t') {
			s.from++ // keep-alives
		}
		n, err := element(s.buf[s.from:s.to])
		if err != nil {
			return nil, err
		}
		if n > 0 {
			stanza := s.buf[s.from : s.from+n]
			s.from += n
			return stanza, nil
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// fill reads more, and makes room for it.
func (s *stream) fill() error {
	switch {
	case s.from == s.to:
		s.from, s.to = 0, 0
	case s.to == len(s.buf) && s.from > 0:
		s.to = copy(s.buf, s.buf[s.from:s.to])
		s.from = 0
	case s.to == len(s.buf) && len(s.buf) >= maxStanza:
		return fmt.Errorf("xmpp: a stanza of more than %d bytes", maxStanza)
	case s.to == len(s.buf):
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	n, err := s.conn.Read(s.buf[s.to:])
	s.to += n
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// element is the length of the element that data begins with; 0 while it is not complete.
func element(data []byte) (int, error) {
	depth, i := 0, 0
	for {
		at := bytes.IndexByte(data[i:], '<')
		if at < 0 || i+at+1 >= len(data) {
			return 0, nil
		}
		if depth == 0 && at > 0 {
			return 0, fmt.Errorf("xmpp: text between stanzas: %.40q", data)
		}
		i += at
		end := endOfTag(data, i+1)
		switch kind := data[i+1]; {
		case kind == '!' || kind == '?':
			return 0, fmt.Errorf("xmpp: no element: %.40q", data[i:])
		case end == 0:
			return 0, nil
		case kind == '/':
			if depth--; depth < 0 {
				return 0, errClosed
			}
		case data[end-2] != '/':
			depth++
		}
		if i = end; depth == 0 {
			return i, nil
		}
	}
}

// endOfTag is the position behind the > that ends the tag at i; 0 while it is not there. A > in quotes is none.
func endOfTag(data []byte, i int) int {
	quote := byte(0)
	for ; i < len(data); i++ {
		switch c := data[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return 0
}

// tag is the start tag of a stanza.
func tag(stanza []byte) []byte { return stanza[:max(0, endOfTag(stanza, 1))] }

// attribute reads an attribute of a start tag; nil if it has none of that name. Entities stay as they are.
func attribute(tag []byte, name string) []byte {
	for i := 0; ; {
		at := bytes.Index(tag[i:], []byte(name))
		if at < 0 {
			return nil
		}
		i += at + len(name)
		before, rest := tag[i-len(name)-1], tag[i:]
		if before != ' ' || len(rest) < 3 || rest[0] != '=' {
			continue
		}
		end := bytes.IndexByte(rest[2:], rest[1])
		if end < 0 {
			return nil
		}
		return rest[2 : 2+end]
	}
}

// content is the text of the first element of that name without attributes; nil if there is none.
func content(stanza []byte, name string) []byte {
	_, rest, found := bytes.Cut(stanza, []byte("<"+name+">"))
	if !found {
		return nil
	}
	text, _, found := bytes.Cut(rest, []byte("</"+name+">"))
	if !found {
		return nil
	}
	return text
}
