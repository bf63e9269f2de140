package xmlpull

import (
	"encoding/xml"
	"strings"
	"unicode/utf8"

	"github.com/parley-im/parley/wire/xmlsafe"
)

// name reads a name, prefix included.
func (r *Reader) name() (prefix, local, full string, ok bool) {
	start, colon, wide := r.pos, -1, false
loop:
	for ; r.pos < len(r.doc); r.pos++ {
		switch c := r.doc[r.pos]; {
		case c == ':':
			if colon >= 0 {
				r.fail("name with two colons")
				return "", "", "", false
			}
			colon = r.pos - start
		case c >= utf8.RuneSelf:
			wide = true
		case !nameByte(c):
			break loop
		}
	}
	full = r.doc[start:r.pos]
	switch {
	case len(full) > xmlsafe.MaxName:
		r.failAs(xmlsafe.ErrTooMany, "name too long")
		return "", "", "", false
	case full == "" || full[0] < utf8.RuneSelf && !nameStart(full[0]):
		r.fail("no name")
		return "", "", "", false
	case wide && !wideName(full):
		r.fail("illegal name")
		return "", "", "", false
	}
	local = full
	if colon >= 0 {
		prefix, local = full[:colon], full[colon+1:]
		if local == "" || local[0] < utf8.RuneSelf && !nameStart(local[0]) {
			r.fail("illegal name")
			return "", "", "", false
		}
	}
	return prefix, local, full, true
}

func nameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

func nameByte(c byte) bool {
	return nameStart(c) || c >= '0' && c <= '9' || c == '-' || c == '.'
}

// wideName says whether a name with characters outside ASCII is one. Such names are so rare that encoding/xml, which has
// the tables, is asked.
func wideName(s string) bool {
	t, err := xml.NewDecoder(strings.NewReader("<" + s + "/>")).RawToken()
	if err != nil {
		return false
	}
	_, ok := t.(xml.StartElement)
	return ok
}

// startTag reads a start tag and its attributes.
func (r *Reader) startTag() Kind {
	if r.elements++; r.elements > r.lim.Elements {
		return r.failAs(xmlsafe.ErrTooMany, "more than %d elements", r.lim.Elements)
	}
	if len(r.open) >= r.lim.Depth {
		return r.failAs(xmlsafe.ErrTooDeep, "more than %d levels", r.lim.Depth)
	}
	r.pos++
	prefix, local, full, ok := r.name()
	if !ok {
		return EOF
	}
	r.open = append(r.open, frame{full, len(r.binds)})
	r.raw = r.raw[:0]
	for {
		before := r.pos
		r.space()
		if r.pos >= len(r.doc) {
			return r.fail("open tag")
		}
		c := r.doc[r.pos]
		if c == '>' {
			r.pos++
			break
		}
		if c == '/' {
			if !strings.HasPrefix(r.doc[r.pos:], "/>") {
				return r.fail("illegal tag")
			}
			r.pos += 2
			r.empty = true
			break
		}
		if before == r.pos {
			return r.fail("no space before an attribute")
		}
		if !r.attribute() {
			return EOF
		}
	}
	return r.resolve(prefix, local)
}

// attribute reads one attribute as written; a namespace declaration takes effect.
func (r *Reader) attribute() bool {
	prefix, local, _, ok := r.name()
	if !ok {
		return false
	}
	r.space()
	if r.pos >= len(r.doc) || r.doc[r.pos] != '=' {
		r.fail("attribute without a value")
		return false
	}
	r.pos++
	r.space()
	if r.pos >= len(r.doc) || r.doc[r.pos] != '"' && r.doc[r.pos] != '\'' {
		r.fail("attribute without quotes")
		return false
	}
	quote := r.doc[r.pos]
	r.pos++
	if !r.value(quote) {
		return false
	}
	r.pos++
	if len(r.raw) >= xmlsafe.MaxAttributes {
		r.failAs(xmlsafe.ErrTooMany, "more than %d attributes on one element", xmlsafe.MaxAttributes)
		return false
	}
	for i := range r.raw {
		if r.raw[i].local == local && r.raw[i].prefix == prefix {
			r.fail("repeated attribute")
			return false
		}
	}
	r.raw = append(r.raw, rawAttr{prefix, local, r.Content})
	if len(r.binds) >= MaxBindings && (prefix == "xmlns" || prefix == "" && local == "xmlns") {
		r.failAs(xmlsafe.ErrTooMany, "more than %d namespaces", MaxBindings)
		return false
	}
	switch {
	case prefix == "xmlns":
		if r.Content == "" {
			r.fail("prefix without a namespace")
			return false
		}
		r.binds = append(r.binds, binding{local, r.Content})
	case prefix == "" && local == "xmlns":
		r.binds = append(r.binds, binding{"", r.Content})
	}
	return true
}

// value reads an attribute's value into Content and stops at the closing quote.
func (r *Reader) value(quote byte) bool {
	start, plain := r.pos, true
	for r.pos < len(r.doc) {
		switch c := r.doc[r.pos]; {
		case c == quote:
			r.finish(start, plain)
			return r.err == nil
		case c == '<':
			r.fail("< in an attribute")
			return false
		case c == '&' || c == '\r':
			plain = false
		case c >= utf8.RuneSelf:
			n := r.wide(r.doc[r.pos:])
			if n == 0 {
				return false
			}
			r.pos += n
			continue
		case c < ' ' && !isSpace(c):
			r.fail("illegal character")
			return false
		}
		r.pos++
	}
	r.fail("open attribute")
	return false
}

// resolve gives the element and its attributes their namespaces. It comes after the whole tag was read, because a
// declaration may stand behind the names that need it.
func (r *Reader) resolve(prefix, local string) Kind {
	r.Space, _ = r.Lookup(prefix)
	r.Local = local
	if len(r.Space)+len(local) > 2*xmlsafe.MaxName {
		return r.failAs(xmlsafe.ErrTooMany, "element name too long")
	}
	r.Attrs = r.Attrs[:0]
	for i := range r.raw {
		a := &r.raw[i]
		if a.prefix == "xmlns" || a.prefix == "" && a.local == "xmlns" {
			continue
		}
		space := ""
		if a.prefix != "" {
			space, _ = r.Lookup(a.prefix)
		}
		// Two prefixes may mean one namespace: still the same attribute twice.
		for j := range r.Attrs {
			if a.prefix != "" && r.Attrs[j].Local == a.local && r.Attrs[j].Space == space {
				return r.fail("repeated attribute")
			}
		}
		r.Attrs = append(r.Attrs, Attr{space, a.local, a.value})
	}
	return Start
}

// endTag reads an end tag.
func (r *Reader) endTag() Kind {
	r.pos += 2
	_, _, full, ok := r.name()
	if !ok {
		return EOF
	}
	r.space()
	if r.pos >= len(r.doc) || r.doc[r.pos] != '>' {
		return r.fail("open tag")
	}
	if len(r.open) == 0 || r.open[len(r.open)-1].name != full {
		return r.fail("end of an element that is not open")
	}
	r.pos++
	return r.pop()
}
