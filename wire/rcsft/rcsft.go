// Package rcsft reads and writes the document by which one client tells another where a file waits that was uploaded over HTTP: the
// "File Transfer via HTTP" of GSMA RCC.07, as liblinphone uses it. The same document is what an upload is answered with.
package rcsft

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/parley-im/parley/wire/xmlsafe"
)

// ContentType is the media type of the document, and xmlNS its namespace.
const (
	ContentType = "application/vnd.gsma.rcs-ft-http+xml"
	xmlNS       = "urn:gsma:params:xml:ns:rcs:rcs:fthttp"
)

// Limits of Parse.
const (
	maxBytes = 64 << 10
	maxDepth = 8
	maxInfos = 32      // file-info elements
	maxName  = 255     // bytes of a file's name
	maxType  = 127     // bytes of a media type
	maxURL   = 4 << 10 // bytes of a URL
)

// ErrFormat is wrapped by every error of Parse.
var ErrFormat = errors.New("rcsft: malformed document")

// Entry is one thing that can be fetched.
type Entry struct {
	Name  string    // of the file, without a path; empty for thumbnails, and when not told
	Type  string    // media type; empty when not told
	Size  int64     // bytes; 0 when not told
	URL   string    // http or https, absolute
	Until time.Time // how long it can be fetched; zero when not told
}

// Document tells of one file or several.
type Document struct {
	Files     []Entry // one at least
	Thumbnail *Entry  // a small picture of the first file; nil for none
	// Encrypted says that the sender's client has encrypted the file and has the key in the document (file-key of liblinphone):
	// nobody else can read what is behind the URL.
	Encrypted bool
}

type document struct {
	XMLName xml.Name `xml:"urn:gsma:params:xml:ns:rcs:rcs:fthttp file"`
	Infos   []info   `xml:"file-info"`
}

type info struct {
	Kind string `xml:"type,attr"`
	Size string `xml:"file-size,omitempty"`
	Name string `xml:"file-name,omitempty"`
	Type string `xml:"content-type,omitempty"`
	Key  string `xml:"file-key,omitempty"`
	Data data   `xml:"data"`
}

type data struct {
	URL   string `xml:"url,attr"`
	Until string `xml:"until,attr,omitempty"`
}

// Parse reads a document of at most 64 kB. Of what it holds, names lose their paths, and what is no text or a number that
// makes no sense counts as not told; a URL that is not http or https, or names a user, is an error.
func Parse(doc []byte) (*Document, error) {
	var x document
	err := xmlsafe.Unmarshal(doc, maxBytes, maxDepth, &x)
	if errors.Is(err, xmlsafe.ErrSyntax) && bytes.IndexByte(doc, '&') >= 0 { // liblinphone 5.1 writes the parameters of a URL as they are
		x = document{}
		err = xmlsafe.Unmarshal(escapeAnd(doc), 2*maxBytes, maxDepth, &x)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if len(x.Infos) > maxInfos {
		return nil, fmt.Errorf("%w: more than %d files", ErrFormat, maxInfos)
	}
	d := &Document{}
	for i := range x.Infos {
		e, err := x.Infos[i].entry()
		if err != nil {
			return nil, err
		}
		switch strings.TrimSpace(x.Infos[i].Kind) {
		case "thumbnail":
			if d.Thumbnail == nil {
				e.Name = ""
				d.Thumbnail = &e
			}
		default: // "file"; liblinphone has more words for voice recordings
			d.Files = append(d.Files, e)
			d.Encrypted = d.Encrypted || strings.TrimSpace(x.Infos[i].Key) != ""
		}
	}
	if len(d.Files) == 0 {
		return nil, fmt.Errorf("%w: no file", ErrFormat)
	}
	return d, nil
}

// escapeAnd writes each & as a reference that is not the beginning of one of the five that XML knows, or of a character's number.
func escapeAnd(doc []byte) []byte {
	out := make([]byte, 0, len(doc)+64)
	for i, c := range doc {
		out = append(out, c)
		if c == '&' && !reference.Match(doc[i:min(len(doc), i+10)]) {
			out = append(out, "amp;"...)
		}
	}
	return out
}

var reference = regexp.MustCompile(`^&(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});`)

func (x *info) entry() (Entry, error) {
	e := Entry{Name: CleanName(x.Name), Size: size(strings.TrimSpace(x.Size)), URL: strings.TrimSpace(x.Data.URL)}
	if media := strings.ToLower(strings.TrimSpace(x.Type)); isMedia(media) {
		e.Type = media
	}
	u, err := url.Parse(e.URL)
	if err != nil || len(e.URL) > maxURL || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return Entry{}, fmt.Errorf("%w: the address of a file is no http or https URL", ErrFormat)
	}
	if e.Until, err = time.Parse(time.RFC3339, strings.TrimSpace(x.Data.Until)); err != nil || !plausible(e.Until) {
		e.Until = time.Time{} // clients write times in many ways; the server of the file knows
	}
	return e, nil
}

// plausible tells whether a time can be written again (RFC 3339 §1: years of four digits).
func plausible(t time.Time) bool { return t.Year() > 1970 && t.Year() < 9998 }

// size is 0 for what is no number of bytes.
func size(s string) int64 {
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' || n > 1<<52 {
			return 0
		}
		n = 10*n + int64(c-'0')
	}
	return n
}

// isMedia tells whether s is type/subtype with parameters that are no longer than they need to be.
func isMedia(s string) bool {
	if len(s) > maxType {
		return false
	}
	major, rest, ok := strings.Cut(s, "/")
	minor, params, _ := strings.Cut(rest, ";")
	token := func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?=`, r)
		}) < 0
	}
	printable := strings.IndexFunc(params, func(r rune) bool { return r < ' ' || r >= 0x7f }) < 0
	return ok && token(major) && token(strings.TrimRight(minor, " ")) && printable
}

// CleanName is the name of a file as it may be shown and saved: without the path in front of it, control characters and marks
// that turn the direction of writing around ("exe.txt" that is none), 255 bytes at most. It is empty when nothing is left.
func CleanName(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c,
			r == 0x2028, r == 0x2029, r == utf8.RuneError, r == 0xfeff, r == 0xfffe, r == 0xffff:
			return -1
		}
		return r
	}, name)
	name = strings.TrimSpace(name)
	if len(name) > maxName { // the end says what it is
		ext := ""
		if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= 16 {
			ext = name[i:]
		}
		cut := maxName - len(ext)
		for !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = strings.TrimSpace(name[:cut]) + ext
	}
	if name == "." || name == ".." || strings.TrimFunc(name, unseen) == "" {
		return ""
	}
	return name
}

// unseen tells whether nobody sees a character: joiners and the like, which names have between others.
func unseen(r rune) bool { return unicode.In(r, unicode.Cf, unicode.Zs, unicode.Variation_Selector) }

// Bytes writes the document.
func (d *Document) Bytes() []byte {
	x := document{XMLName: xml.Name{Space: xmlNS, Local: "file"}}
	if d.Thumbnail != nil {
		x.Infos = append(x.Infos, infoOf("thumbnail", d.Thumbnail))
	}
	for i := range d.Files {
		x.Infos = append(x.Infos, infoOf("file", &d.Files[i]))
	}
	out, err := xml.Marshal(x)
	if err != nil { // only strings inside: cannot fail
		return nil
	}
	return append([]byte(xml.Header), out...)
}

func infoOf(kind string, e *Entry) info {
	x := info{Kind: kind, Name: e.Name, Type: e.Type, Data: data{URL: e.URL}}
	if e.Size > 0 || kind == "file" { // liblinphone shows no file without it
		x.Size = fmt.Sprint(e.Size)
	}
	if !e.Until.IsZero() {
		x.Data.Until = e.Until.UTC().Format(time.RFC3339)
	}
	return x
}
