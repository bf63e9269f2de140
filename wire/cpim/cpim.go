// Package cpim reads and writes the Message/CPIM format of RFC 3862.
package cpim

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ContentType is the media type of a CPIM message (RFC 3862 §4.1).
const ContentType = "message/cpim"

// Limits of Parse: more headers or a longer line than any client sends.
const (
	maxHeaders = 64
	maxLine    = 8 << 10 // bytes
)

// ErrFormat is wrapped by every error of Parse.
var ErrFormat = errors.New("cpim: malformed message")

// Header is one message header. NS is the URI of the header's namespace, empty for
// the core headers (RFC 3862 §3.4). Params are kept as written, without the leading semicolon.
type Header struct {
	NS, Name, Params, Value string
}

// Address is the value of From, To or cc: an optional name and a URI.
type Address struct {
	Name, URI string
}

// String writes the address in the form of RFC 3862 §4.1.
func (a Address) String() string {
	if a.Name == "" {
		return "<" + a.URI + ">"
	}
	return `"` + escapeString(a.Name) + `" <` + a.URI + ">"
}

// Message is a parsed CPIM message: headers, then one MIME entity.
type Message struct {
	Headers        []Header // in order, NS declarations resolved and left out
	ContentHeaders []Header // of the MIME entity
	Content        []byte   // the entity's body, a view on the parsed bytes
}

// Parse reads a CPIM body. Content is a view on body. The examples of RFC 5438 §6 leave out the empty
// line between the message headers and those of the entity; that form is understood as well.
func Parse(body []byte) (*Message, error) {
	m := &Message{}
	spaces := map[string]string{}
	inEntity := false
	content := func(line string) error {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return fmt.Errorf("%w: content header %q has no name", ErrFormat, cut(line))
		}
		return appendHeader(&m.ContentHeaders, Header{Name: name, Value: strings.TrimSpace(value)})
	}
	rest, err := readBlock(body, func(line string) error {
		if inEntity = inEntity || isContentType(line); inEntity {
			return content(line)
		}
		h, err := parseHeader(line)
		if err != nil {
			return err
		}
		if h.Name == "NS" {
			return declare(spaces, h.Value)
		}
		if err := resolve(spaces, &h); err != nil {
			return err
		}
		return appendHeader(&m.Headers, h)
	})
	if err == nil && !inEntity {
		rest, err = readBlock(rest, content)
	}
	if err != nil {
		return nil, err
	}
	m.Content = rest
	return m, nil
}

func isContentType(line string) bool {
	const name = "content-type:"
	return len(line) >= len(name) && strings.EqualFold(line[:len(name)], name)
}

// Get returns the first header of that name in the namespace ns ("" for the core ones).
// Names are case-sensitive (RFC 3862 §3.2).
func (m *Message) Get(ns, name string) string {
	for _, h := range m.Headers {
		if h.NS == ns && h.Name == name {
			return h.Value
		}
	}
	return ""
}

// ContentHeader returns a header of the enclosed MIME entity; names ignore case.
func (m *Message) ContentHeader(name string) string {
	for _, h := range m.ContentHeaders {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// ContentType is the media type of the enclosed entity with its parameters.
// A missing one is text/plain (RFC 2045 §5.2).
func (m *Message) ContentType() string {
	if t := m.ContentHeader("Content-Type"); t != "" {
		return t
	}
	return "text/plain"
}

// From is the sender named inside the message; the zero Address when there is none.
func (m *Message) From() Address {
	a, _ := parseAddress(m.Get("", "From"))
	return a
}

// Senders are all the addresses under From, in whatever case and namespace: a lenient reader may show any of them. One
// that cannot be read is the zero Address.
func (m *Message) Senders() []Address {
	var list []Address
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, "From") {
			a, _ := parseAddress(h.Value)
			list = append(list, a)
		}
	}
	return list
}

// To lists the receivers named inside the message.
func (m *Message) To() []Address {
	var list []Address
	for _, h := range m.Headers {
		if h.NS == "" && h.Name == "To" {
			if a, ok := parseAddress(h.Value); ok {
				list = append(list, a)
			}
		}
	}
	return list
}

// DateTime is the time inside the message; zero when missing or malformed.
func (m *Message) DateTime() time.Time {
	t, err := time.Parse(time.RFC3339, m.Get("", "DateTime"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Bytes writes the message. Namespaces get the prefixes "imdn" for RFC 5438's and n1, n2 … for others.
func (m *Message) Bytes() []byte {
	var b bytes.Buffer
	prefixes := map[string]string{}
	for _, h := range m.Headers {
		if h.NS == "" || prefixes[h.NS] != "" {
			continue
		}
		p := fmt.Sprintf("n%d", len(prefixes)+1)
		if h.NS == "urn:ietf:params:imdn" {
			p = "imdn"
		}
		prefixes[h.NS] = p
		fmt.Fprintf(&b, "NS: %s <%s>\r\n", p, h.NS)
	}
	for _, h := range m.Headers {
		if h.NS != "" {
			b.WriteString(prefixes[h.NS] + ".")
		}
		b.WriteString(h.Name + ":")
		if h.Params != "" {
			b.WriteString(";" + h.Params)
		}
		b.WriteString(" " + escapeHeader(h.Value) + "\r\n")
	}
	b.WriteString("\r\n")
	for _, h := range m.ContentHeaders {
		b.WriteString(h.Name + ": " + h.Value + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(m.Content)
	return b.Bytes()
}

// readBlock hands every line up to the next empty one to line and returns what follows it.
func readBlock(body []byte, line func(string) error) ([]byte, error) {
	for {
		i := bytes.IndexByte(body, '\n')
		if i < 0 {
			return nil, fmt.Errorf("%w: no empty line after the headers", ErrFormat)
		}
		if i > maxLine {
			return nil, fmt.Errorf("%w: a header line is longer than %d bytes", ErrFormat, maxLine)
		}
		text := string(bytes.TrimSuffix(body[:i], []byte("\r")))
		body = body[i+1:]
		if text == "" {
			return body, nil
		}
		if err := line(text); err != nil {
			return nil, err
		}
	}
}

// parseHeader reads `Name:;params value` (RFC 3862 §3.2).
func parseHeader(line string) (Header, error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return Header{}, fmt.Errorf("%w: header %q has no name", ErrFormat, cut(line))
	}
	h := Header{Name: name}
	if strings.HasPrefix(value, ";") {
		h.Params, value, _ = strings.Cut(value[1:], " ")
	}
	h.Value = unescape(strings.TrimSpace(value))
	return h, nil
}

func appendHeader(list *[]Header, h Header) error {
	if len(*list) >= maxHeaders {
		return fmt.Errorf("%w: more than %d headers", ErrFormat, maxHeaders)
	}
	*list = append(*list, h)
	return nil
}

// declare reads `prefix <uri>` or `<uri>`, which sets the default namespace (RFC 3862 §3.4).
func declare(spaces map[string]string, value string) error {
	prefix, uri, ok := strings.Cut(value, "<")
	uri, closed := strings.CutSuffix(strings.TrimSpace(uri), ">")
	if !ok || !closed || uri == "" {
		return fmt.Errorf("%w: NS %q names no URI", ErrFormat, cut(value))
	}
	spaces[strings.TrimSpace(prefix)] = uri
	return nil
}

func resolve(spaces map[string]string, h *Header) error {
	prefix, name, ok := strings.Cut(h.Name, ".")
	if !ok {
		h.NS = spaces[""]
		return nil
	}
	ns, known := spaces[prefix]
	if !known || !isToken(name) {
		return fmt.Errorf("%w: header prefix %q is not declared by NS", ErrFormat, cut(prefix))
	}
	h.NS, h.Name = ns, name
	return nil
}

func parseAddress(v string) (Address, bool) {
	i, j := strings.LastIndexByte(v, '<'), strings.LastIndexByte(v, '>')
	if i < 0 || j < i {
		return Address{}, false
	}
	name := strings.TrimSpace(v[:i])
	if len(name) >= 2 && name[0] == '"' && name[len(name)-1] == '"' {
		name = name[1 : len(name)-1]
	}
	return Address{Name: name, URI: strings.TrimSpace(v[i+1 : j])}, true
}

func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// cut keeps what a peer sent short enough for an error text.
func cut(s string) string {
	return s[:min(len(s), 40)]
}
