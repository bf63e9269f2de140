package mime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	stdmime "mime"
	"mime/multipart"
	"net/textproto"
	"strings"
)

// Limits bound Multipart.
type Limits struct {
	Depth int // multiparts inside multiparts
	Parts int // leaves, over all levels
}

// DefaultLimits is more than any SIP client sends.
var DefaultLimits = Limits{Depth: 4, Parts: 32}

// Part is a leaf of a multipart body.
type Part struct {
	ContentType string
	Header      textproto.MIMEHeader
	Body        []byte
}

// IsMultipart tells whether a media type is one that Multipart opens.
func IsMultipart(contentType string) bool {
	return len(contentType) > 10 && strings.EqualFold(contentType[:10], "multipart/")
}

// Multipart returns the leaves of a multipart body (RFC 2046 §5.1, RFC 5621). A missing boundary
// parameter or closing boundary is ErrFormat; more depth or parts than lim is ErrTooLarge.
func Multipart(contentType string, body []byte, lim Limits) ([]Part, error) {
	var parts []Part
	err := walk(contentType, body, lim, 0, &parts)
	return parts, err
}

func walk(contentType string, body []byte, lim Limits, depth int, parts *[]Part) error {
	if depth >= lim.Depth {
		return fmt.Errorf("%w: multipart inside multipart more than %d deep", ErrTooLarge, lim.Depth)
	}
	_, params, err := stdmime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return fmt.Errorf("%w: multipart without a boundary parameter", ErrFormat)
	}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			// The reader also reports a plain end of input as EOF.
			if !bytes.Contains(body, []byte("--"+params["boundary"]+"--")) {
				return fmt.Errorf("%w: multipart without its closing boundary", ErrFormat)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if err := leaf(p.Header, content, lim, depth, parts); err != nil {
			return err
		}
	}
}

func leaf(h textproto.MIMEHeader, content []byte, lim Limits, depth int, parts *[]Part) error {
	ct := h.Get("Content-Type")
	if ct == "" {
		ct = "text/plain" // RFC 2045 §5.2
	}
	if IsMultipart(ct) {
		return walk(ct, content, lim, depth+1, parts)
	}
	if len(*parts) >= lim.Parts {
		return fmt.Errorf("%w: more than %d parts", ErrTooLarge, lim.Parts)
	}
	*parts = append(*parts, Part{ContentType: ct, Header: h, Body: content})
	return nil
}
