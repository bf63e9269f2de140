// Package iscomposing reads and writes the typing indication of RFC 3994.
package iscomposing

import (
	"encoding/xml"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/wire/xmlsafe"
)

// ContentType is the media type of the document (RFC 3994 §4).
const ContentType = "application/im-iscomposing+xml"

// Limits of Parse and the longest refresh that is passed on.
const (
	maxBytes   = 4 << 10
	maxDepth   = 4
	maxRefresh = 24 * 60 * 60 // seconds
)

// ErrFormat is wrapped by every error of Parse.
var ErrFormat = errors.New("iscomposing: malformed document")

// State is all that the document may say. Nothing else survives from Parse to Bytes, so that
// no text can hide in a document that is not recorded.
type State struct {
	State       string        // "active" or "idle" (RFC 3994 §3.1)
	LastActive  time.Time     // zero when not told
	ContentType string        // media type being composed, "" when not told
	Refresh     time.Duration // whole seconds, 0 when not told
}

type document struct {
	XMLName     xml.Name `xml:"urn:ietf:params:xml:ns:im-iscomposing isComposing"`
	State       string   `xml:"state"`
	LastActive  string   `xml:"lastactive,omitempty"`
	ContentType string   `xml:"contenttype,omitempty"`
	Refresh     string   `xml:"refresh,omitempty"`
}

// Parse reads a document of at most 4 kB. A state other than active means idle (RFC 3994 §3.1).
func Parse(body []byte) (State, error) {
	if err := xmlsafe.Check(body, maxBytes, maxDepth); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	var d document
	if err := xml.Unmarshal(body, &d); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	s := State{State: "idle"}
	switch strings.TrimSpace(d.State) {
	case "":
		return State{}, fmt.Errorf("%w: no state", ErrFormat)
	case "active":
		s.State = "active"
	}
	s.LastActive, _ = time.Parse(time.RFC3339, strings.TrimSpace(d.LastActive))
	s.ContentType = mediaType(d.ContentType)
	if n, err := strconv.Atoi(strings.TrimSpace(d.Refresh)); err == nil && n > 0 {
		s.Refresh = time.Duration(min(n, maxRefresh)) * time.Second
	}
	return s, nil
}

// mediaType keeps only the general names that RFC 3994's receivers know what to do with: a free
// subtype would be room for text.
func mediaType(s string) string {
	media, _, err := mime.ParseMediaType(s)
	if err != nil {
		return ""
	}
	switch major, _, _ := strings.Cut(media, "/"); {
	case media == "text/plain", media == "text/html", media == "message/cpim":
		return media
	case major == "audio", major == "video", major == "image", major == "text", major == "application":
		return major
	}
	return ""
}

// Bytes writes the document with RFC 3994's elements alone.
func (s State) Bytes() []byte {
	d := document{State: s.State, ContentType: s.ContentType}
	if !s.LastActive.IsZero() {
		d.LastActive = s.LastActive.UTC().Format(time.RFC3339)
	}
	if s.Refresh > 0 {
		d.Refresh = strconv.Itoa(int(s.Refresh / time.Second))
	}
	out, err := xml.Marshal(d)
	if err != nil { // only strings inside: cannot fail
		return nil
	}
	return append([]byte(xml.Header), out...)
}
