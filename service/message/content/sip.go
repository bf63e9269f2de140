package content

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"strings"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/rcsft"
)

// ViaAPI is the MetaVia of what was said over the API.
const ViaAPI = "api"

// quoteAbout is how much of a message is quoted in a text about it, in characters.
const quoteAbout = 60

// Device is what matters of a SIP device.
type Device struct {
	RCS   bool   // it knows the file transfer of RCS
	Limit int    // bytes of text that it takes; 0: any
	Link  string // where people read the whole of a text that is longer; "" for nowhere
	File  string // URL by which the device fetches the file in the message, when that is one of ours; "": the one in the message
}

// ForSIP is the body of a MESSAGE that tells a SIP client of a record: of most messages of SIP clients, and of receipts, as it
// is. A text longer than the device takes is cut, and its end says where the whole is. Of some records there is nothing to tell:
// see Tells.
func ForSIP(r *store.Record, d Device) (contentType string, body []byte) {
	switch r.Kind {
	case store.KindEdit:
		c := Read(r)
		return PlainType, d.shorten("Edited: " + c.Text)
	case store.KindRetract:
		return PlainType, []byte("Deleted: " + about(r))
	case store.KindReaction:
		return PlainType, []byte(text(r.Body) + " to " + about(r))
	case store.KindMessage:
	default:
		return r.ContentType, r.Body
	}
	if !Changes(r, d.RCS, d.Limit) {
		return r.ContentType, r.Body
	}
	c := Read(r)
	if d.RCS && HasFile(r) {
		return document(r, &c, d)
	}
	if c.File != nil && c.File.ID != "" && d.File != "" {
		c.File.URL = d.File
	}
	switch {
	case isMedia(r.ContentType, cpim.ContentType):
		return forCPIM(r, &c, d)
	case c.File != nil:
		return PlainType, d.shorten(c.Text + join(c.Text) + c.File.Line())
	}
	s := c.Text
	if !c.ReplyTo.IsZero() && c.Quote != "" {
		s = "> " + c.Quote + "\n\n" + s
	}
	return PlainType, d.shorten(s)
}

// document is a message with a file for a client that knows what RCS tells of one. Whatever else is in it stays: the key of an encrypted
// file. The words to it, for which RCS has no place, are another part, which liblinphone shows above it.
func document(r *store.Record, c *Content, d Device) (string, []byte) {
	body := r.Body
	if c.File != nil && c.File.ID != "" && d.File != "" {
		body = bytes.ReplaceAll(body, []byte(c.File.URL), escaped(d.File))
	}
	caption := r.MetaValue(store.MetaCaption)
	if caption == "" {
		return r.ContentType, body
	}
	boundary := "parley-" + r.ID.String() // nobody knew it when the words were written
	var b bytes.Buffer
	for _, part := range [...]struct {
		typ  string
		body []byte
	}{{PlainType, []byte(caption)}, {r.ContentType, body}} {
		b.WriteString("--" + boundary + "\r\nContent-Type: " + part.typ + "\r\n\r\n")
		b.Write(part.body)
		b.WriteString("\r\n")
	}
	b.WriteString("--" + boundary + "--\r\n")
	return "multipart/mixed;boundary=" + boundary, b.Bytes()
}

// escaped is a URL as it stands in XML.
func escaped(url string) []byte {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(url)) // a buffer takes everything
	return b.Bytes()
}

// forCPIM changes what is inside a wrapper. Its headers stay: a receipt that its sender asked for is about the same message.
func forCPIM(r *store.Record, c *Content, d Device) (string, []byte) {
	m, err := cpim.Parse(r.Body)
	if err != nil {
		return r.ContentType, r.Body
	}
	s := c.Text
	if c.File != nil {
		s += join(s) + c.File.Line()
	}
	m.ContentHeaders = []cpim.Header{{Name: "Content-Type", Value: PlainType}}
	m.Content = d.shorten(s)
	return cpim.ContentType, m.Bytes()
}

// join is what stands between the words to a file and the file.
func join(caption string) string {
	if caption == "" {
		return ""
	}
	return "\n"
}

// Tells says whether there is anything in r for a SIP client: of a reaction that was taken away, and of having read what asked for
// no receipt, there is not.
func Tells(r *store.Record) bool {
	switch r.Kind {
	case store.KindReaction:
		return r.MetaValue(store.MetaRemoved) == ""
	case store.KindReceipt:
		return len(r.Body) > 0
	}
	return true
}

// Changes says whether a SIP client is sent something else than the body of a message as it was recorded.
func Changes(r *store.Record, rcs bool, limit int) bool {
	switch {
	case r.Kind != store.KindMessage:
		return r.Kind == store.KindEdit || r.Kind == store.KindRetract || r.Kind == store.KindReaction
	case limit > 0 && len(r.Body) > limit && (isMedia(r.ContentType, "text/plain") || isMedia(r.ContentType, cpim.ContentType) && wraps(r.Body, "text/plain")):
		return true
	case HasFile(r):
		return true
	}
	return r.MetaValue(store.MetaVia) == ViaAPI && (r.MetaValue(store.MetaReplyTo) != "" || isMedia(r.ContentType, "text/html"))
}

// HasFile tells whether a message is, or wraps, the document by which RCS tells of a file.
func HasFile(r *store.Record) bool {
	if isMedia(r.ContentType, cpim.ContentType) {
		return bytes.Contains(r.Body, rcsWord) && wraps(r.Body, rcsft.ContentType)
	}
	return isMedia(r.ContentType, rcsft.ContentType)
}

// rcsWord is in every wrapper around a document that tells of a file; looking for it costs less than opening each.
var rcsWord = []byte("vnd.gsma.rcs-ft-http+xml")

func wraps(body []byte, media string) bool {
	m, err := cpim.Parse(body)
	return err == nil && isMedia(m.ContentType(), media)
}

// isMedia compares a media type with one in lower case, without its parameters. It does not allocate.
func isMedia(contentType, media string) bool {
	contentType, _, _ = strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(contentType), media)
}

// about names the message that a record is about.
func about(r *store.Record) string {
	return "“" + cmp.Or(Beginning(r.MetaValue(store.MetaQuote), quoteAbout), "…") + "”"
}

// shorten cuts s to what the device takes, between words where it can, and says where the whole is.
func (d Device) shorten(s string) []byte {
	if d.Limit <= 0 || len(s) <= d.Limit {
		return []byte(s)
	}
	rest := "… (the text goes on)"
	if d.Link != "" {
		rest = "… (whole text: " + d.Link + ")"
	}
	const least = 40 // bytes of a beginning that say anything
	beginning := cut(s, max(d.Limit-len(rest), least))
	if i := strings.LastIndexAny(beginning, " \n\t"); i > len(beginning)*3/4 {
		beginning = beginning[:i]
	}
	return []byte(strings.TrimRight(beginning, " \n\t") + rest)
}
