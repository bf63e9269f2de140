// Package xmlpull reads the XML of SIP bodies (RFC 3863, RFC 4662, RFC 4826, RFC 3858) in one pass, with namespaces and
// limits, and writes it.
//
// It accepts a subset of what xmlsafe.Check accepts, with the same errors: UTF-8 only, no document type definitions,
// no entities but XML's five, no processing instructions, no element, attribute or depth floods. Checking and reading
// are one pass here, and text is handed out as views on one copy of the document; presence is composed and read too
// often for two passes of encoding/xml.
//
// A Reader stands on an element. Child steps to its children one by one and skips what nobody asked for:
//
//	depth := r.Depth()
//	for r.Child(depth) {
//		switch r.Local {
//		case "note":
//			note = r.Text()
//		}
//	}
//
// Errors are sticky: Child says false and Close tells why.
package xmlpull

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/parley-im/parley/wire/xmlsafe"
)

// XMLNamespace is what the prefix "xml" stands for, as in xml:lang.
const XMLNamespace = "http://www.w3.org/XML/1998/namespace"

// MaxBindings is how many namespace declarations may be in force at one place: every name has to be looked up among them.
const MaxBindings = 128

// Limits bound a document. The limits of xmlsafe on attributes and names always hold.
type Limits struct {
	Bytes    int // of the document
	Depth    int // nesting of elements; the root has depth 1
	Elements int // in the whole document; 0 means xmlsafe.MaxElements
}

// Attr is an attribute of the current element. Namespace declarations are not among them.
type Attr struct {
	Space, Local, Value string
}

// Kind is what Next found.
type Kind int

// The kinds. Comments and the XML declaration are passed over.
const (
	EOF   Kind = iota // the end of the document, or an error: see Close
	Start             // an element: Space, Local and Attrs are about it
	End               // the end of an element
	Text              // a piece of text: see Content
)

// Reader reads one document. Open it first.
type Reader struct {
	Space, Local string // of the element that started last; an undeclared prefix stands for itself in Space
	Attrs        []Attr // of that element, valid until the next one
	Content      string // of the Text that Next found

	doc      string
	pos      int
	lim      Limits
	err      error
	elements int
	empty    bool // the current element ended itself: <a/>
	open     []frame
	binds    []binding
	raw      []rawAttr

	openRoom [12]frame
	bindRoom [12]binding
	attrRoom [8]Attr
	rawRoom  [12]rawAttr
}

// frame is an open element: its name as written, and how many bindings were there before it.
type frame struct {
	name  string
	binds int
}

type binding struct{ prefix, uri string }

// rawAttr is an attribute as written. The value is unescaped.
type rawAttr struct{ prefix, local, value string }

// Open reads up to the start of the root element.
func (r *Reader) Open(doc []byte, lim Limits) error {
	if lim.Elements == 0 {
		lim.Elements = xmlsafe.MaxElements
	}
	*r = Reader{lim: lim}
	if len(doc) > lim.Bytes {
		r.err = fmt.Errorf("%w: %d bytes, at most %d are accepted", xmlsafe.ErrTooLarge, len(doc), lim.Bytes)
		return r.err
	}
	r.open, r.binds, r.raw, r.Attrs = r.openRoom[:0], r.bindRoom[:0], r.rawRoom[:0], r.attrRoom[:0]
	r.doc = strings.TrimPrefix(string(doc), "\ufeff")
	r.declaration()
	if r.err == nil && r.Next() != Start && r.err == nil {
		r.fail("no element")
	}
	return r.err
}

// Depth is the nesting of the current element, 1 for the root.
func (r *Reader) Depth() int { return len(r.open) }

// Err is the error so far.
func (r *Reader) Err() error { return r.err }

// Close reads what is left of the document, so that no document is accepted that is broken further on.
func (r *Reader) Close() error {
	for r.Next() != EOF {
	}
	return r.err
}

// Child steps to the next child of the element that was current when Depth said depth. It says false at the end of
// that element and after an error. Whatever is left of the child before is skipped.
func (r *Reader) Child(depth int) bool {
	for len(r.open) >= depth {
		switch r.Next() {
		case Start:
			if len(r.open) == depth+1 {
				return true
			}
		case EOF:
			return false
		}
	}
	return false
}

// Text reads to the end of the current element and returns its text, trimmed. Text inside its children is not part of
// it. The result is a view on the document where that is possible.
func (r *Reader) Text() string {
	depth := len(r.open)
	var one string
	var more []byte
	for len(r.open) >= depth {
		switch r.Next() {
		case Text:
			switch {
			case len(r.open) != depth:
			case one == "" && more == nil:
				one = r.Content
			case more == nil:
				more = append(append(more, one...), r.Content...)
			default:
				more = append(more, r.Content...)
			}
		case EOF:
			return ""
		}
	}
	if more != nil {
		one = string(more)
	}
	return Trim(one)
}

// Attr is the value of an attribute of the current element, "" if it is not there. Unprefixed attributes have no
// namespace.
func (r *Reader) Attr(space, local string) string {
	for i := range r.Attrs {
		if a := &r.Attrs[i]; a.Local == local && a.Space == space {
			return a.Value
		}
	}
	return ""
}

// Lookup tells the namespace that a prefix stands for at the current element; "" is the default namespace.
func (r *Reader) Lookup(prefix string) (uri string, ok bool) {
	if prefix == "xml" {
		return XMLNamespace, true
	}
	for i := len(r.binds) - 1; i >= 0; i-- {
		if r.binds[i].prefix == prefix {
			return r.binds[i].uri, true
		}
	}
	return prefix, prefix == ""
}

// Trim removes XML's white space at both ends.
func Trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func (r *Reader) fail(format string, args ...any) Kind {
	return r.failAs(xmlsafe.ErrSyntax, format, args...)
}

func (r *Reader) failAs(kind error, format string, args ...any) Kind {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s at byte %d", kind, fmt.Sprintf(format, args...), r.pos)
	}
	return EOF
}

// declaration reads the XML declaration, if there is one.
func (r *Reader) declaration() {
	r.space()
	rest := r.doc[r.pos:]
	if !strings.HasPrefix(rest, "<?xml") || len(rest) > 5 && !isSpace(rest[5]) && rest[5] != '?' {
		return
	}
	end := strings.Index(rest, "?>")
	if end < 0 {
		r.fail("open declaration")
		return
	}
	// XML 1.0 §2.8: version first, then encoding and standalone if they are there.
	rest = rest[5:end]
	for i, name := range [...]string{"version", "encoding", "standalone"} {
		value, more, ok := pseudo(rest, name)
		switch {
		case !ok && i == 0, ok && i == 0 && value != "1.0", ok && i == 1 && !strings.EqualFold(value, "utf-8"):
			r.fail("the declaration is not one of XML 1.0 in UTF-8:")
			return
		case ok:
			rest = more
		}
	}
	if Trim(rest) != "" {
		r.fail("illegal declaration")
		return
	}
	r.pos += end + 2
}

// pseudo splits ` name="value"` off the front of s.
func pseudo(s, name string) (value, rest string, ok bool) {
	rest, ok = strings.CutPrefix(Trim(s), name)
	rest = Trim(rest)
	if !ok || rest == "" || rest[0] != '=' {
		return "", s, false
	}
	rest = Trim(rest[1:])
	if rest == "" || rest[0] != '"' && rest[0] != '\'' {
		return "", s, false
	}
	value, rest, ok = strings.Cut(rest[1:], rest[:1])
	if !IsName("_" + value) {
		return "", s, false
	}
	return value, rest, ok
}

func (r *Reader) space() {
	for r.pos < len(r.doc) && isSpace(r.doc[r.pos]) {
		r.pos++
	}
}

// Next steps to the next start, end or piece of text.
func (r *Reader) Next() Kind {
	if r.err != nil {
		return EOF
	}
	if r.empty {
		r.empty = false
		return r.pop()
	}
	for {
		if len(r.open) == 0 {
			r.space()
		}
		if r.pos >= len(r.doc) {
			switch {
			case len(r.open) > 0:
				return r.fail("unexpected end")
			case r.elements == 0:
				return r.fail("no element")
			}
			return EOF
		}
		rest := r.doc[r.pos:]
		switch {
		case rest[0] != '<':
			if len(r.open) == 0 {
				return r.fail("text outside the root element")
			}
			if r.text(); r.err != nil {
				return EOF
			}
			return Text
		case strings.HasPrefix(rest, "</"):
			return r.endTag()
		case strings.HasPrefix(rest, "<?"):
			return r.failAs(xmlsafe.ErrForbidden, "processing instruction")
		case strings.HasPrefix(rest, "<!--"):
			if !r.comment() {
				return EOF
			}
		case strings.HasPrefix(rest, "<![CDATA[") && len(r.open) > 0:
			return r.cdata()
		case strings.HasPrefix(rest, "<!"):
			return r.failAs(xmlsafe.ErrForbidden, "declaration")
		case len(r.open) == 0 && r.elements > 0:
			return r.fail("more than one root element")
		default:
			return r.startTag()
		}
	}
}

func (r *Reader) pop() Kind {
	top := r.open[len(r.open)-1]
	r.open = r.open[:len(r.open)-1]
	r.binds = r.binds[:top.binds]
	return End
}

// comment passes over a comment. Two hyphens may not stand inside.
func (r *Reader) comment() bool {
	body := r.doc[r.pos+4:]
	end := strings.Index(body, "--")
	if end < 0 || end+2 >= len(body) || body[end+2] != '>' {
		r.fail("open comment")
		return false
	}
	if !r.characters(body[:end]) {
		return false
	}
	r.pos += 4 + end + 3
	return true
}

func (r *Reader) cdata() Kind {
	body := r.doc[r.pos+9:]
	end := strings.Index(body, "]]>")
	if end < 0 {
		return r.fail("open CDATA section")
	}
	if !r.characters(body[:end]) {
		return EOF
	}
	r.pos += 9 + end + 3
	r.Content = lines(body[:end])
	return Text
}

// characters checks that s holds only what XML 1.0 allows.
func (r *Reader) characters(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' && !isSpace(c) {
				r.fail("illegal character")
				return false
			}
			i++
			continue
		}
		n := r.wide(s[i:])
		if n == 0 {
			return false
		}
		i += n
	}
	return true
}

// wide checks one character outside ASCII and returns its length, 0 after an error.
func (r *Reader) wide(s string) int {
	c, n := utf8.DecodeRuneInString(s)
	if c == utf8.RuneError && n == 1 || c == 0xFFFE || c == 0xFFFF {
		r.fail("illegal character")
		return 0
	}
	return n
}

// lines turns every line end into a line feed (XML 1.0 §2.11).
func lines(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// text reads text up to the next tag into Content.
func (r *Reader) text() {
	start, plain := r.pos, true
	for r.pos < len(r.doc) {
		switch c := r.doc[r.pos]; {
		case c == '<':
			r.finish(start, plain)
			return
		case c == '&' || c == '\r':
			plain = false
		case c == '>' && r.pos >= start+2 && r.doc[r.pos-2:r.pos] == "]]":
			r.fail("]]> in text")
			return
		case c >= utf8.RuneSelf:
			n := r.wide(r.doc[r.pos:])
			if n == 0 {
				return
			}
			r.pos += n
			continue
		case c < ' ' && !isSpace(c):
			r.fail("illegal character")
			return
		}
		r.pos++
	}
	r.fail("unexpected end")
}

func (r *Reader) finish(start int, plain bool) {
	r.Content = r.doc[start:r.pos]
	if !plain {
		r.Content = r.unescape(r.Content)
	}
}

// unescape resolves references and line ends.
func (r *Reader) unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\r':
			if i+1 < len(s) && s[i+1] == '\n' {
				i++
			}
			b = append(b, '\n')
		case '&':
			end := strings.IndexByte(s[i:min(len(s), i+16)], ';')
			c, ok := rune(0), false
			if end > 0 {
				c, ok = reference(s[i+1 : i+end])
			}
			if !ok {
				r.fail("unknown entity")
				return ""
			}
			b = utf8.AppendRune(b, c)
			i += end
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// reference is the character that a reference without its & and ; stands for.
func reference(s string) (rune, bool) {
	switch s {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := strings.CutPrefix(s, "#")
	base := rune(10)
	if hex, isHex := strings.CutPrefix(digits, "x"); isHex {
		digits, base = hex, 16
	}
	if !ok || digits == "" {
		return 0, false
	}
	var c rune
	for i := range len(digits) {
		d := rune(digits[i])
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case base == 16 && d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case base == 16 && d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, false
		}
		if c = c*base + d; c > utf8.MaxRune {
			return 0, false
		}
	}
	return c, valid(c)
}

// valid says whether XML 1.0 can carry a character (§2.2).
func valid(c rune) bool {
	switch {
	case c < ' ':
		return c == '\t' || c == '\n' || c == '\r'
	case c == 0xFFFE || c == 0xFFFF:
		return false
	}
	return utf8.ValidRune(c)
}
