package rlmi

import (
	"bytes"
	"encoding/hex"
	"strconv"

	"github.com/parley-im/parley/wire/xmlpull"
)

// Writer appends one multipart/related body, first the document about the list, then the parts:
//
//	w := rlmi.NewWriter(b, rlmi.Boundary(random[:]), "example.org")
//	w.Start("sip:alice-contacts@example.org", 0, true)
//	w.Resource("sip:bob@example.org", "Bob")
//	w.Instance("1", rlmi.Active, "", 1)
//	w.Part("application/pidf+xml", presence.Append)
//	b, err := w.Close()
//
// Instances name their part by its number, counted from 1 in the order of the calls of Part; the Content-IDs are made of
// that number, the boundary and the host. Writer allocates nothing but what b has to grow.
type Writer struct {
	// Angled writes the cid of each instance in angle brackets, against RFC 4662 §5.5: Linphone compares it letter by
	// letter with the header, which it looks for as "Content-Id".
	Angled bool

	b              []byte
	boundary, host string
	resource       bool // one is open
	document       bool // the document about the list is not finished
	parts          int
	clash          bool
}

// Boundary makes a boundary of random bytes. With 12 or more of them nobody who writes a part can guess it.
func Boundary(random []byte) string {
	return "parley-" + hex.EncodeToString(random[:min(len(random), 24)])
}

// NewWriter begins a body at the end of b. The boundary must consist of letters, digits and hyphens, as Boundary makes
// it; host is the right side of the Content-IDs, a name or address of the server.
func NewWriter(b []byte, boundary, host string) Writer {
	w := Writer{b: b, boundary: boundary, host: host}
	w.head(ContentType + `;charset="UTF-8"`)
	return w
}

// Type is the value of the Content-Type header for the body. The boundary stands there without quotes, which it does not
// need: some clients take them for a part of it.
func (w *Writer) Type() string {
	b := append(make([]byte, 0, 192), MultipartType+`;type="`+ContentType+`";start="<`...)
	b = w.appendID(b, 0)
	return string(append(append(b, `>";boundary=`...), w.boundary...))
}

// head writes the delimiter and the headers of a part.
func (w *Writer) head(contentType string) {
	w.raw("--")
	w.raw(w.boundary)
	w.raw("\r\nContent-Transfer-Encoding: binary\r\nContent-Id: <")
	w.b = w.appendID(w.b, w.parts)
	w.raw(">\r\nContent-Type: ")
	w.raw(contentType)
	w.raw("\r\n\r\n")
}

func (w *Writer) raw(s string) { w.b = append(w.b, s...) }

func (w *Writer) appendID(b []byte, part int) []byte {
	b = strconv.AppendInt(b, int64(part), 10)
	b = append(b, '.')
	b = append(b, w.boundary...)
	b = append(b, '@')
	return append(b, w.host...)
}

// Start begins the document about the list. See List for version and full.
func (w *Writer) Start(uri string, version uint32, full bool, names ...Name) {
	w.document = true
	w.raw(xmlpull.Header)
	w.raw(`<list xmlns="` + Namespace + `"`)
	w.b = xmlpull.AppendAttr(w.b, "uri", uri)
	w.b = xmlpull.AppendUintAttr(w.b, "version", uint64(version))
	if full {
		w.raw(` fullState="true">`)
	} else {
		w.raw(` fullState="false">`)
	}
	w.names(names)
}

// Resource begins the next resource. name is left out when it is empty.
func (w *Writer) Resource(uri, name string) {
	w.endResource()
	w.resource = true
	w.raw("<resource")
	w.b = xmlpull.AppendAttr(w.b, "uri", uri)
	w.raw(">")
	if name != "" {
		w.b = xmlpull.AppendElement(w.b, "name", name)
	}
}

// Instance adds an instance to the resource. A reason is written if it is not empty; the RFC wants one with Terminated,
// and without one "noresource" is said. part is the number of the part that holds its state, 0 for none.
func (w *Writer) Instance(id string, state State, reason string, part int) {
	if !w.resource {
		return
	}
	if state == Terminated && reason == "" {
		reason = "noresource" // RFC 4662 §5.5
	}
	w.instance(id, state, reason)
	if part > 0 {
		open, end := ` cid="`, `"`
		if w.Angled {
			open, end = ` cid="&lt;`, `&gt;"`
		}
		w.raw(open)
		w.b = w.appendID(w.b, part)
		w.raw(end)
	}
	w.raw("/>")
}

func (w *Writer) instance(id string, state State, reason string) {
	w.raw("<instance")
	w.b = xmlpull.AppendAttr(w.b, "id", id)
	w.b = xmlpull.AppendAttr(w.b, "state", string(state))
	if reason != "" {
		w.b = xmlpull.AppendAttr(w.b, "reason", reason)
	}
}

func (w *Writer) names(names []Name) {
	for i := range names {
		w.raw("<name")
		if names[i].Lang != "" {
			w.b = xmlpull.AppendAttr(w.b, "xml:lang", names[i].Lang)
		}
		w.raw(">")
		w.b = xmlpull.AppendText(w.b, names[i].Text)
		w.raw("</name>")
	}
}

func (w *Writer) endResource() {
	if w.resource {
		w.raw("</resource>")
		w.resource = false
	}
}

func (w *Writer) endDocument() {
	if w.document {
		w.endResource()
		w.raw("</list>")
		w.document = false
	}
}

// Part appends the next part and returns its number. body appends the content to what it is given, such as
// (*pidf.Presence).Append.
func (w *Writer) Part(contentType string, body func([]byte) []byte) int {
	w.endDocument()
	w.parts++
	w.raw("\r\n")
	w.head(contentType)
	start := len(w.b)
	w.b = body(w.b)
	w.check(w.b[start:])
	return w.parts
}

// PartBytes is Part with content that is there already.
func (w *Writer) PartBytes(contentType string, body []byte) int {
	w.endDocument()
	w.parts++
	w.raw("\r\n")
	w.head(contentType)
	w.check(body)
	w.b = append(w.b, body...)
	return w.parts
}

// check looks for the boundary in a part. A part that held it could pass for several.
func (w *Writer) check(body []byte) {
	for {
		i := bytes.IndexByte(body, '-')
		if i < 0 || i+2 > len(body) {
			return
		}
		body = body[i+1:]
		if n := len(w.boundary); body[0] == '-' && len(body) > n && string(body[1:1+n]) == w.boundary {
			w.clash = true
		}
	}
}

// Close ends the body. After ErrBoundary what was written is worthless.
func (w *Writer) Close() ([]byte, error) {
	w.endDocument()
	w.raw("\r\n--")
	w.raw(w.boundary)
	w.raw("--\r\n")
	if w.clash {
		return nil, ErrBoundary
	}
	return w.b, nil
}

// Append appends the document alone, Content-Type application/rlmi+xml.
func (l *List) Append(b []byte) []byte {
	w := Writer{b: b}
	w.raw(xmlpull.Header)
	w.raw(`<list xmlns="` + Namespace + `"`)
	w.b = xmlpull.AppendAttr(w.b, "uri", l.URI)
	w.b = xmlpull.AppendUintAttr(w.b, "version", uint64(l.Version))
	w.b = xmlpull.AppendAttr(w.b, "fullState", strconv.FormatBool(l.Full))
	if l.CID != "" {
		w.b = xmlpull.AppendAttr(w.b, "cid", l.CID)
	}
	w.raw(">")
	w.names(l.Names)
	for i := range l.Resources {
		r := &l.Resources[i]
		w.Resource(r.URI, "")
		w.names(r.Names)
		for _, n := range r.Instances {
			w.instance(n.ID, n.State, n.Reason)
			if n.CID != "" {
				w.b = xmlpull.AppendAttr(w.b, "cid", n.CID)
			}
			w.raw("/>")
		}
	}
	w.endResource()
	w.raw("</list>")
	return w.b
}
