// Package resourcelist reads and writes resource lists (RFC 4826 §3): contact lists, and the list of recipients in the
// body of a SUBSCRIBE (RFC 5367 §4) with the copy control of RFC 5364 §4.
package resourcelist

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/parley-im/parley/wire/xmlpull"
)

// ContentType is the media type of a document, Disposition the Content-Disposition of a list that a request is about
// (RFC 5363 §4.1).
const (
	ContentType = "application/resource-lists+xml"
	Disposition = "recipient-list"
)

// The namespaces of RFC 4826 §3.1 and RFC 5364 §5.
const (
	Namespace     = "urn:ietf:params:xml:ns:resource-lists"
	CopyNamespace = "urn:ietf:params:xml:ns:copycontrol"
)

// The ways a list can be refused. Errors about XML wrap one of xmlsafe's.
var (
	ErrInvalid   = errors.New("resourcelist: invalid document")
	ErrTooLarge  = errors.New("resourcelist: list over the limit")
	ErrDuplicate = errors.New("resourcelist: the same entry twice in one list")
	ErrReference = errors.New("resourcelist: reference to another document")
	ErrCycle     = errors.New("resourcelist: the list contains itself")
)

// Limits bound documents and what references bring in.
type Limits struct {
	Bytes   int // of the document
	Depth   int // of lists in lists; 1 allows flat lists only
	Entries int // entries and references, over all lists
}

// DefaultLimits fit any contact list that people keep.
var DefaultLimits = Limits{Bytes: 512 << 10, Depth: 10, Entries: 2000}

// Kind is what an Item is.
type Kind uint8

// The kinds of items.
const (
	Entry     Kind = iota // a resource: URI
	Sublist               // a list in the list: List
	EntryRef              // an entry of another document, relative to the XCAP root: URI is the reference
	External              // a list of another document: URI is its absolute HTTP address
	kindNames             // how many there are
)

// Copy says how a recipient gets a request (RFC 5364 §4). Not told means Bcc.
type Copy string

// The levels of Copy.
const (
	To  Copy = "to"
	Cc  Copy = "cc"
	Bcc Copy = "bcc"
)

// rank orders levels by precedence.
func (c Copy) rank() int {
	switch c {
	case To:
		return 2
	case Cc:
		return 1
	}
	return 0
}

// Text is text for people; Lang is a language tag, "" when not told.
type Text struct{ Lang, Text string }

// Document is a whole document.
type Document struct {
	Lists []List
}

// List is one list. Name is its handle, "" for none, and unlike those of the lists beside it.
type List struct {
	Name        string
	DisplayName Text
	Items       []Item
}

// Item is one element of a list. URI and List are as Kind says. Copy and Anonymize are RFC 5364's.
type Item struct {
	Kind        Kind
	URI         string
	DisplayName Text
	Copy        Copy // "" when not told
	Anonymize   bool
	List        *List
}

// Parse reads a document. Elements and attributes that are not known are skipped. Strings are views on one copy of the
// document.
func Parse(doc []byte, lim Limits) (*Document, error) {
	p := parser{lim: lim}
	return p.document(doc)
}

func (p *parser) document(doc []byte) (*Document, error) {
	lim := p.lim
	// A list takes one level of elements, its root and the names inside entries two more.
	if err := p.r.Open(doc, xmlpull.Limits{Bytes: lim.Bytes, Depth: lim.Depth + 8, Elements: 8*lim.Entries + 100}); err != nil {
		return nil, fmt.Errorf("resourcelist: parse: %w", err)
	}
	if p.r.Space != Namespace || p.r.Local != "resource-lists" {
		return nil, fmt.Errorf("%w: the root is %q of %q", ErrInvalid, clip(p.r.Local), clip(p.r.Space))
	}
	d := &Document{}
	var names unique
	for p.r.Child(1) {
		if p.r.Space != Namespace || p.r.Local != "list" {
			continue
		}
		l, err := p.list(1, &names)
		if err != nil {
			return nil, err
		}
		d.Lists = append(d.Lists, l)
	}
	if err := p.r.Close(); err != nil {
		return nil, fmt.Errorf("resourcelist: parse: %w", err)
	}
	return d, nil
}

type parser struct {
	r       xmlpull.Reader
	lim     Limits
	entries int
	repeats bool // an entry may be there twice
}

// unique finds repeated strings.
type unique map[string]bool

func (u *unique) add(s string) bool {
	if *u == nil {
		*u = unique{}
	}
	if (*u)[s] {
		return false
	}
	(*u)[s] = true
	return true
}

// list reads the current element. names are those of the lists beside it.
func (p *parser) list(level int, names *unique) (List, error) {
	l := List{Name: p.r.Attr("", "name")}
	if level > p.lim.Depth {
		return l, fmt.Errorf("%w: lists nested more than %d deep", ErrTooLarge, p.lim.Depth)
	}
	if p.entries++; p.entries > p.lim.Entries {
		return l, fmt.Errorf("%w: more than %d entries", ErrTooLarge, p.lim.Entries)
	}
	// RFC 4826 §3.1: unique among the lists of the same parent.
	if l.Name != "" && !names.add(l.Name) {
		return l, fmt.Errorf("%w: list %q", ErrDuplicate, clip(l.Name))
	}
	var inner unique
	var uris [kindNames]unique
	depth := p.r.Depth()
	for p.r.Child(depth) {
		if p.r.Space != Namespace {
			continue
		}
		it := Item{}
		switch p.r.Local {
		case "display-name":
			l.DisplayName = p.text()
			continue
		case "list":
			sub, err := p.list(level+1, &inner)
			if err != nil {
				return l, err
			}
			l.Items = append(l.Items, Item{Kind: Sublist, List: &sub})
			continue
		case "entry":
			it.URI = p.r.Attr("", "uri")
		case "entry-ref":
			it.Kind, it.URI = EntryRef, p.r.Attr("", "ref")
		case "external":
			it.Kind, it.URI = External, p.r.Attr("", "anchor")
		default:
			continue
		}
		if p.entries++; p.entries > p.lim.Entries {
			return l, fmt.Errorf("%w: more than %d entries", ErrTooLarge, p.lim.Entries)
		}
		if it.URI = xmlpull.Trim(it.URI); it.URI == "" {
			return l, fmt.Errorf("%w: %s without an address", ErrInvalid, p.r.Local)
		}
		if !uris[it.Kind].add(it.URI) && !(p.repeats && it.Kind == Entry) {
			return l, fmt.Errorf("%w: %q", ErrDuplicate, clip(it.URI))
		}
		p.item(&it)
		l.Items = append(l.Items, it)
	}
	return l, nil
}

// item reads what entries and references have in common.
func (p *parser) item(it *Item) {
	switch c := Copy(p.r.Attr(CopyNamespace, "copyControl")); c {
	case To, Cc, Bcc:
		it.Copy = c
	}
	a := p.r.Attr(CopyNamespace, "anonymize")
	it.Anonymize = a == "true" || a == "1"
	depth := p.r.Depth()
	for p.r.Child(depth) {
		if p.r.Space == Namespace && p.r.Local == "display-name" {
			it.DisplayName = p.text()
		}
	}
}

func (p *parser) text() Text {
	t := Text{Lang: p.r.Attr(xmlpull.XMLNamespace, "lang")}
	if t.Text = p.r.Text(); t.Text == "" {
		return Text{}
	}
	return t
}

func clip(s string) string { return s[:min(len(s), 60)] }

// Append appends the document. Names may only be repeated where Parse lets them: the caller sees to that.
func (d *Document) Append(b []byte) []byte {
	b = append(b, xmlpull.Header...)
	b = append(b, `<resource-lists xmlns="`+Namespace+`"`...)
	for i := range d.Lists {
		if d.Lists[i].copies() {
			b = append(b, ` xmlns:cp="`+CopyNamespace+`"`...)
			break
		}
	}
	b = append(b, '>')
	for i := range d.Lists {
		b = d.Lists[i].append(b)
	}
	return append(b, "</resource-lists>"...)
}

// copies says whether any item tells what RFC 5364 defines.
func (l *List) copies() bool {
	for i := range l.Items {
		it := &l.Items[i]
		if it.Copy != "" || it.Anonymize || it.List != nil && it.List.copies() {
			return true
		}
	}
	return false
}

func (l *List) append(b []byte) []byte {
	b = append(b, "<list"...)
	if l.Name != "" {
		b = xmlpull.AppendAttr(b, "name", l.Name)
	}
	b = append(b, '>')
	b = l.DisplayName.append(b)
	for i := range l.Items {
		b = l.Items[i].append(b)
	}
	return append(b, "</list>"...)
}

func (it *Item) append(b []byte) []byte {
	var name, attr string
	switch it.Kind {
	case Entry:
		name, attr = "entry", "uri"
	case EntryRef:
		name, attr = "entry-ref", "ref"
	case External:
		name, attr = "external", "anchor"
	default:
		if it.List != nil {
			return it.List.append(b)
		}
		return b
	}
	b = append(append(b, '<'), name...)
	b = xmlpull.AppendAttr(b, attr, it.URI)
	if it.Copy != "" {
		b = xmlpull.AppendAttr(b, "cp:copyControl", string(it.Copy))
	}
	if it.Anonymize {
		b = xmlpull.AppendAttr(b, "cp:anonymize", strconv.FormatBool(true))
	}
	if it.DisplayName.Text == "" {
		return append(b, "/>"...)
	}
	b = append(b, '>')
	b = it.DisplayName.append(b)
	return xmlpull.AppendEnd(b, name)
}

func (t Text) append(b []byte) []byte {
	if t.Text == "" {
		return b
	}
	b = append(b, "<display-name"...)
	if t.Lang != "" {
		b = xmlpull.AppendAttr(b, "xml:lang", t.Lang)
	}
	b = append(b, '>')
	b = xmlpull.AppendText(b, t.Text)
	return append(b, "</display-name>"...)
}
