// Package content is what people see of a record: the text, formatting, quote and file in a message, whatever client made it, and
// the other way round the readable text that a SIP client gets for what it does not know. It is pure, and bounded by the size
// of what it reads.
package content

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/base/size"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
	"github.com/parley-im/parley/wire/iscomposing"
	"github.com/parley-im/parley/wire/mime"
	"github.com/parley-im/parley/wire/rcsft"
)

// The media types of what people write here.
const (
	PlainType = "text/plain;charset=utf-8"
	HTMLType  = "text/html;charset=utf-8"
)

// MaxText is the longest text that is read from a record, in bytes; what is longer ends with an ellipsis.
const MaxText = 1 << 20

// maxNested is how many wrappers may be around a text: CPIM, multipart.
const maxNested = 4

// Content is what a record says.
type Content struct {
	Text     string // plain text in UTF-8, lines ended by \n; of a file: its caption
	HTML     string // the same, when it has formatting: see Sanitise
	Subject  string
	Priority string // emergency, urgent, non-urgent; empty: normal
	// What it answers; zero for none.
	ReplyTo          id.ID
	QuoteFrom, Quote string // of whom that is, and its beginning
	File             *File  // nil for none
	Call             bool   // the start of a call
	Typing           bool   // nothing but a sign that somebody writes
}

// Read tells what is in a record: a message, an edit, a reaction (Text is the emoji) or the start of a call. Of all others there
// is nothing to see.
func Read(r *store.Record) Content {
	c := Content{Subject: line(r.MetaValue(store.MetaSubject), maxSubject), Priority: priority(r.MetaValue(store.MetaPriority))}
	switch r.Kind {
	case store.KindReaction:
		return Content{Text: text(r.Body)}
	case store.KindCallStart:
		c.Call = true
		return c
	case store.KindMessage, store.KindEdit:
	default:
		return Content{}
	}
	c.read(r.ContentType, r.Body, 0)
	if quoted, err := id.Parse(r.MetaValue(store.MetaReplyTo)); err == nil {
		c.ReplyTo, c.QuoteFrom, c.Quote = quoted, r.MetaValue(store.MetaQuoteFrom), Beginning(r.MetaValue(store.MetaQuote), MaxQuote)
	}
	if c.File != nil {
		c.File.ours(r)
	}
	if caption := r.MetaValue(store.MetaCaption); caption != "" {
		c.Text = Clean(caption)
	}
	return c
}

const maxSubject = 500 // characters

// priority is what a Priority header says (RFC 3261 §20.26).
func priority(s string) string {
	switch s = strings.ToLower(strings.TrimSpace(s)); s {
	case "emergency", "urgent", "non-urgent":
		return s
	}
	return ""
}

// read adds what is in a body.
func (c *Content) read(contentType string, body []byte, depth int) {
	media, params, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	switch {
	case media == "text/plain", media == "" && len(body) > 0:
		c.add(decode(body, params), "")
	case media == "text/html", media == "application/xhtml+xml":
		formatted := Sanitise(decode(body, params))
		c.add(Plain(formatted), Formatting(formatted))
	case media == cpim.ContentType && depth < maxNested:
		c.readCPIM(body, depth)
	case mime.IsMultipart(media) && depth < maxNested:
		c.readMultipart(contentType, body, depth)
	case media == rcsft.ContentType:
		c.readFile(body)
	case media == iscomposing.ContentType:
		c.Typing = true
	case media == imdn.ContentType, media == "":
	case strings.HasPrefix(media, "text/"):
		c.add(decode(body, params), "")
	default:
		c.add("["+line(media, 100)+", "+size.Text(int64(len(body)))+"]", "") // people shall see that there was something
	}
}

func (c *Content) readCPIM(body []byte, depth int) {
	m, err := cpim.Parse(body)
	if err != nil {
		c.add(text(body), "") // recorded as it came
		return
	}
	if c.Subject == "" {
		c.Subject = line(m.Get("", "Subject"), maxSubject)
	}
	c.read(m.ContentType(), transferred(m.Content, m.ContentHeader("Content-Transfer-Encoding")), depth+1)
}

// readMultipart shows one form of what comes in several (RFC 2046 §5.1.4), and all parts of the rest, one below the other. Parts
// inside parts come in one list; there a text whose formatted form follows is left out.
func (c *Content) readMultipart(contentType string, body []byte, depth int) {
	parts, _ := mime.Multipart(contentType, body, mime.DefaultLimits) // those before a mistake are there
	read := make([]Content, len(parts))
	for i := range parts {
		read[i].read(parts[i].ContentType, transferred(parts[i].Body, parts[i].Header.Get("Content-Transfer-Encoding")), depth+1)
	}
	if media := strings.ToLower(contentType); strings.HasPrefix(media, "multipart/alternative") && len(read) > 0 {
		best := 0 // the last one that is understood
		for i := range read {
			if !strings.HasPrefix(read[i].Text, "[") || read[i].File != nil {
				best = i
			}
		}
		read = read[best : best+1]
	}
	for i := range read {
		p := &read[i]
		if i+1 < len(read) && read[i+1].HTML != "" && p.HTML == "" && strings.TrimSpace(p.Text) == strings.TrimSpace(read[i+1].Text) {
			continue
		}
		switch {
		case p.File != nil && c.File == nil:
			c.File = p.File
			c.add(p.Text, p.HTML)
		case p.File != nil: // a page shows one file in a message, and the others as text
			c.add(p.File.Line(), "")
		default:
			c.add(p.Text, p.HTML)
		}
		if c.Subject == "" {
			c.Subject = p.Subject
		}
	}
}

// add puts a text below what is there.
func (c *Content) add(text, html string) {
	switch {
	case text == "" && html == "":
		return
	case c.Text == "" && c.HTML == "":
		c.Text, c.HTML = text, html
		return
	case c.HTML != "" || html != "":
		if c.HTML == "" {
			c.HTML = Escape(c.Text)
		}
		if html == "" {
			html = Escape(text)
		}
		c.HTML = Sanitise(c.HTML + "<br><br>" + html)
	}
	c.Text = strings.TrimRight(c.Text, "\n") + "\n\n" + text
	if len(c.Text) > MaxText {
		c.Text, c.HTML = cut(c.Text, MaxText)+"…", ""
	}
}

// transferred undoes a Content-Transfer-Encoding (RFC 2045 §6). What cannot be undone stays as it is.
func transferred(body []byte, encoding string) []byte {
	var r io.Reader
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(body))
	case "quoted-printable":
		r = quotedprintable.NewReader(bytes.NewReader(body))
	default:
		return body
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(len(body)))) // neither of them makes it longer
	if err != nil {
		return body
	}
	return out
}

// decode makes a body text. params are those of its type.
func decode(body []byte, params string) string {
	if charset := strings.ToLower(params); !utf8.Valid(body) && (strings.Contains(charset, "8859-1") || strings.Contains(charset, "windows-1252") || strings.Contains(charset, "latin1")) {
		runes := make([]rune, 0, min(len(body), MaxText+1))
		for _, b := range body[:min(len(body), MaxText+1)] {
			runes = append(runes, rune(b))
		}
		return Clean(string(runes))
	}
	return text(body)
}

func text(body []byte) string {
	if len(body) > MaxText {
		return Clean(cut(string(body[:min(len(body), MaxText+utf8.UTFMax)]), MaxText)) + "…"
	}
	return Clean(string(body))
}

// Clean is s as it may be recorded and shown as plain text: in UTF-8, with lines ended by \n and without control characters. Marks of direction stay: they are part of what was
// written, and whoever shows it keeps them from reaching beyond.
func Clean(s string) string {
	if simple(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case isControl(r):
			return -1
		}
		return r
	}, s)
}

// simple tells whether a text is ASCII without control characters, as most are: it is asked for each message.
func simple(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\n' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

func isControl(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 && r != 0x85 || r == 0xfffe || r == 0xffff
}

// cut is the beginning of s, at most n bytes, and whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n = max(n, 0)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// line is s in one line of at most n characters.
func line(s string, n int) string {
	s = strings.Join(strings.Fields(Clean(s)), " ")
	if len(s) <= n { // n characters have n bytes at least
		return s
	}
	for i := range s {
		if n == 0 {
			return strings.TrimSpace(s[:i]) + "…"
		}
		n--
	}
	return s
}
