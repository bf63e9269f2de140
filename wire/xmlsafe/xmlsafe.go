// Package xmlsafe decides whether an XML document from a peer may be parsed at all.
//
// SIP carries XML in presence (RFC 3863), resource lists (RFC 4826), registration
// information (RFC 3680), receipts (RFC 5438) and is-composing bodies (RFC 3994).
// None of them needs a document type definition, an entity of its own or deep
// nesting; all of the classic attacks (external entities, entity expansion, depth
// and attribute floods) do. Every reader of peer XML calls Check first.
package xmlsafe

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
)

// Limits that are the same for every caller. Size and depth are the caller's.
const (
	// MaxAttributes is how many attributes one element may carry.
	MaxAttributes = 64
	// MaxElements is how many elements one document may hold.
	MaxElements = 20000
	// MaxName is the longest element or attribute name, prefix included, in bytes.
	MaxName = 256
)

// The ways a document can be refused. Errors of Check wrap one of them.
var (
	ErrTooLarge  = errors.New("xmlsafe: document too large")
	ErrTooDeep   = errors.New("xmlsafe: elements nested too deep")
	ErrTooMany   = errors.New("xmlsafe: too many elements or attributes")
	ErrForbidden = errors.New("xmlsafe: document type definitions, entities and processing instructions are not accepted")
	ErrSyntax    = errors.New("xmlsafe: not well-formed")
)

// Check reads doc once and reports why it must not be parsed further, or nil.
// maxBytes bounds the size of the document in bytes, maxDepth the nesting of its
// elements (the root has depth 1). Only UTF-8 is accepted. It allocates in
// proportion to maxBytes at most.
func Check(doc []byte, maxBytes, maxDepth int) error {
	if len(doc) > maxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d are accepted", ErrTooLarge, len(doc), maxBytes)
	}
	// A declaration is the only thing for which "<!" may stand outside comments and
	// CDATA. The decoder below reports it as a Directive, but it first collects the
	// whole of it; asking the raw bytes first refuses it without reading on.
	if i := bytes.Index(doc, []byte("<!DOCTYPE")); i >= 0 && !hidden(doc[:i]) {
		return fmt.Errorf("%w: DOCTYPE at byte %d", ErrForbidden, i)
	}
	// strict: unknown entities, undeclared charsets and mismatched tags are errors.
	d := xml.NewDecoder(bytes.NewReader(doc))
	depth, elements, roots := 0, 0, 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %v", ErrSyntax, err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			depth++
			elements++
			if depth == 1 {
				roots++
			}
			switch {
			case depth > maxDepth:
				return fmt.Errorf("%w: more than %d levels", ErrTooDeep, maxDepth)
			case elements > MaxElements:
				return fmt.Errorf("%w: more than %d elements", ErrTooMany, MaxElements)
			case roots > 1:
				return fmt.Errorf("%w: more than one root element", ErrSyntax)
			}
			if err := attributes(t); err != nil {
				return err
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && len(bytes.Trim(t, " \t\r\n\ufeff")) > 0 {
				return fmt.Errorf("%w: text outside the root element", ErrSyntax)
			}
		case xml.Directive:
			return fmt.Errorf("%w: declaration", ErrForbidden)
		case xml.ProcInst:
			if t.Target != "xml" || roots > 0 {
				return fmt.Errorf("%w: processing instruction", ErrForbidden)
			}
		}
	}
	if roots == 0 {
		return fmt.Errorf("%w: no element", ErrSyntax)
	}
	return nil
}

// attributes bounds the attributes of one element and refuses repeated ones, which
// two parsers could read in two ways.
func attributes(t xml.StartElement) error {
	if len(t.Attr) > MaxAttributes {
		return fmt.Errorf("%w: more than %d attributes on one element", ErrTooMany, MaxAttributes)
	}
	if len(t.Name.Local)+len(t.Name.Space) > 2*MaxName {
		return fmt.Errorf("%w: element name too long", ErrTooMany)
	}
	for i, a := range t.Attr {
		if len(a.Name.Local) > MaxName {
			return fmt.Errorf("%w: attribute name too long", ErrTooMany)
		}
		for _, b := range t.Attr[:i] {
			if a.Name == b.Name {
				return fmt.Errorf("%w: repeated attribute", ErrSyntax)
			}
		}
	}
	return nil
}

// hidden tells whether the byte after before lies inside a comment or CDATA section,
// where "<!DOCTYPE" is text.
func hidden(before []byte) bool {
	for {
		c, s := bytes.Index(before, []byte("<!--")), bytes.Index(before, []byte("<![CDATA["))
		var end string
		switch {
		case c < 0 && s < 0:
			return false
		case s < 0 || c >= 0 && c < s:
			before, end = before[c+4:], "-->"
		default:
			before, end = before[s+9:], "]]>"
		}
		i := bytes.Index(before, []byte(end))
		if i < 0 {
			return true
		}
		before = before[i+3:]
	}
}

// Unmarshal is Check followed by xml.Unmarshal into v.
func Unmarshal(doc []byte, maxBytes, maxDepth int, v any) error {
	if err := Check(doc, maxBytes, maxDepth); err != nil {
		return err
	}
	if err := xml.Unmarshal(doc, v); err != nil {
		return fmt.Errorf("%w: %v", ErrSyntax, err)
	}
	return nil
}
