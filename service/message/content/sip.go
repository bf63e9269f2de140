package content

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
	"github.com/parley-im/parley/wire/rcsft"
)

// ViaAPI is the MetaVia of what was said over the API.
const ViaAPI = "api"

// quoteAbout is how much of a message is quoted in a text about it, in characters.
const quoteAbout = 60

// ForSIP is the body of a MESSAGE that tells a SIP client of a record: of most messages of SIP clients, and of receipts, as it
// is. rcs says that the client knows the file transfer of RCS. A text longer than limit bytes (0: any length) is cut, and the end
// says where the whole is, with link; where the server has no link it says only that there is more. An empty contentType without
// a body means that there is nothing to tell: the empty message of a SIP client has none either, so ask Tells.
func ForSIP(r *store.Record, rcs bool, limit int, link string) (contentType string, body []byte) {
	switch r.Kind {
	case store.KindEdit:
		c := Read(r)
		return PlainType, shorten("Edited: "+c.Text, limit, link)
	case store.KindRetract:
		return PlainType, []byte("Deleted: " + about(r))
	case store.KindReaction:
		return PlainType, []byte(text(r.Body) + " to " + about(r))
	case store.KindMessage:
	default:
		return r.ContentType, r.Body
	}
	if !Changes(r, rcs, limit) {
		return r.ContentType, r.Body
	}
	if isMedia(r.ContentType, cpim.ContentType) {
		return forCPIM(r, limit, link)
	}
	c := Read(r)
	switch {
	case isMedia(r.ContentType, rcsft.ContentType) && rcs && c.Text == "":
		return r.ContentType, r.Body
	case isMedia(r.ContentType, rcsft.ContentType) && c.File != nil:
		return PlainType, shorten(join(c.Text, c.File.Line()), limit, link)
	}
	s := c.Text
	if !c.ReplyTo.IsZero() && c.Quote != "" {
		s = "> " + c.Quote + "\n\n" + s
	}
	return PlainType, shorten(s, limit, link)
}

// forCPIM changes what is inside a wrapper. Its headers stay: a receipt that its sender asked for is about the same message.
func forCPIM(r *store.Record, limit int, link string) (string, []byte) {
	m, err := cpim.Parse(r.Body)
	if err != nil {
		return r.ContentType, r.Body
	}
	c := Read(r)
	s := c.Text
	if c.File != nil {
		s = join(s, c.File.Line())
	}
	m.ContentHeaders = []cpim.Header{{Name: "Content-Type", Value: PlainType}}
	m.Content = shorten(s, limit, link)
	return cpim.ContentType, m.Bytes()
}

// join puts the words to a file above it.
func join(caption, file string) string {
	if caption == "" {
		return file
	}
	return caption + "\n" + file
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
	case isMedia(r.ContentType, rcsft.ContentType):
		return true
	case isMedia(r.ContentType, cpim.ContentType):
		return !rcs && bytes.Contains(r.Body, rcsWord) && wraps(r.Body, rcsft.ContentType)
	}
	return r.MetaValue(store.MetaVia) == ViaAPI && (r.MetaValue(store.MetaReplyTo) != "" || isMedia(r.ContentType, "text/html"))
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

// shorten cuts s to limit bytes, between words where it can, and says where the whole is.
func shorten(s string, limit int, link string) []byte {
	if limit <= 0 || len(s) <= limit {
		return []byte(s)
	}
	rest := "… (the text goes on)"
	if link != "" {
		rest = "… (whole text: " + link + ")"
	}
	const least = 40 // bytes of a beginning that say anything
	beginning := cut(s, max(limit-len(rest), least))
	if i := strings.LastIndexAny(beginning, " \n\t"); i > len(beginning)*3/4 {
		beginning = beginning[:i]
	}
	return []byte(strings.TrimRight(beginning, " \n\t") + rest)
}

// Wants tells whether a message came in a wrapper that asks to be told when it has been read (RFC 5438 §6.2), and under which
// imdn.Message-ID.
func Wants(r *store.Record) (messageID string, display bool) {
	if r.Kind != store.KindMessage || !isMedia(r.ContentType, cpim.ContentType) {
		return "", false
	}
	m, err := cpim.Parse(r.Body)
	if err != nil {
		return "", false
	}
	messageID, want := imdn.Request(m)
	for _, w := range want {
		display = display || strings.EqualFold(w, "display")
	}
	return messageID, display && messageID != ""
}
