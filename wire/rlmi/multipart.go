package rlmi

import (
	"bytes"
	"fmt"
	"mime"
	"strings"

	"github.com/parley-im/parley/wire/xmlpull"
)

// Part is one part beside the document about the list. ID is its Content-ID without brackets, Body a view on what was
// parsed. A part may itself be a multipart/related body about a list in the list: Parse it in turn.
type Part struct {
	ID, ContentType string
	Body            []byte
}

// Message is a whole body.
type Message struct {
	List  List
	Parts []Part
}

// Part is the part that a cid names: only those at the top of the message count (RFC 4662 §5.5).
func (m *Message) Part(cid string) (Part, bool) {
	for i := range m.Parts {
		if cid != "" && m.Parts[i].ID == cid {
			return m.Parts[i], true
		}
	}
	return Part{}, false
}

// Parse reads a multipart/related body whose root is about a list. contentType is the value of the header.
func Parse(contentType string, body []byte, lim Limits) (*Message, error) {
	if len(body) > lim.Bytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are accepted", ErrTooLarge, len(body), lim.Bytes)
	}
	media, params, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	case media != MultipartType:
		return nil, fmt.Errorf("%w: it is %q", ErrFormat, clip(media))
	}
	// RFC 2046 §5.1.1: 1 to 70 characters.
	boundary := params["boundary"]
	if boundary == "" || len(boundary) > 70 {
		return nil, fmt.Errorf("%w: no boundary, or one of more than 70 characters", ErrFormat)
	}
	parts, err := split(body, boundary, lim.Parts)
	if err != nil {
		return nil, err
	}
	// RFC 2387 §3.2: the root is the part that start names, else the first.
	root := 0
	if start := contentID(params["start"]); start != "" {
		for root = 0; root < len(parts) && parts[root].ID != start; root++ {
		}
	}
	if root >= len(parts) {
		return nil, fmt.Errorf("%w: it has no root", ErrFormat)
	}
	if t, _, err := mime.ParseMediaType(parts[root].ContentType); err != nil || t != ContentType {
		return nil, fmt.Errorf("%w: the root is %q", ErrFormat, clip(parts[root].ContentType))
	}
	l, err := ParseList(parts[root].Body)
	if err != nil {
		return nil, err
	}
	return &Message{List: *l, Parts: append(parts[:root:root], parts[root+1:]...)}, nil
}

// split cuts a multipart body into its parts (RFC 2046 §5.1.1). Lines may end with a line feed alone.
func split(body []byte, boundary string, most int) ([]Part, error) {
	delimiter := []byte("--" + boundary)
	var parts []Part
	begin := -1 // of the part that is open
	for at := 0; ; {
		i := bytes.Index(body[at:], delimiter)
		if i < 0 {
			return nil, fmt.Errorf("%w: no closing boundary", ErrFormat)
		}
		i += at
		at = i + len(delimiter)
		rest := body[at:]
		last := bytes.HasPrefix(rest, []byte("--"))
		line := bytes.TrimLeft(rest, " \t")
		if i > 0 && body[i-1] != '\n' || !last && !bytes.HasPrefix(line, []byte("\n")) && !bytes.HasPrefix(line, []byte("\r\n")) {
			continue // it only looks like one
		}
		if begin >= 0 {
			if len(parts) >= most {
				return nil, fmt.Errorf("%w: more than %d parts", ErrTooLarge, most)
			}
			// The line end before a delimiter belongs to the delimiter.
			content := body[begin:i]
			content = bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
			p, err := part(content)
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
		}
		if last {
			return parts, nil
		}
		at += bytes.IndexByte(rest, '\n') + 1
		begin = at
	}
}

// maxHead bounds the headers of one part, in bytes.
const maxHead = 4 << 10

// part reads the headers of one part.
func part(content []byte) (Part, error) {
	p := Part{ContentType: "text/plain"} // RFC 2045 §5.2
	size := len(content)
	for {
		line, rest, ok := bytes.Cut(content, []byte("\n"))
		if !ok && len(line) > 0 || size-len(rest) > maxHead {
			return p, fmt.Errorf("%w: a part without an end of its headers", ErrFormat)
		}
		// A line that begins with space belongs to the one before.
		filled := len(bytes.TrimSpace(line)) > 0
		for folded := false; filled && len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t'); folded = true {
			if !folded {
				line = bytes.Clone(line)
			}
			var more []byte
			more, rest, _ = bytes.Cut(rest, []byte("\n"))
			if size-len(rest) > maxHead {
				return p, fmt.Errorf("%w: a part without an end of its headers", ErrFormat)
			}
			line = append(append(line, ' '), more...)
		}
		content = rest
		text := string(bytes.TrimSpace(line))
		if text == "" {
			p.Body = content
			return p, nil
		}
		name, value, _ := strings.Cut(text, ":")
		value = xmlpull.Trim(value)
		switch name = xmlpull.Trim(name); {
		case strings.EqualFold(name, "Content-Type"):
			p.ContentType = value
		case strings.EqualFold(name, "Content-ID"):
			p.ID = contentID(value)
		case strings.EqualFold(name, "Content-Transfer-Encoding"):
			switch strings.ToLower(value) {
			case "binary", "8bit", "7bit":
			default:
				return p, fmt.Errorf("%w: transfer encoding %q", ErrFormat, clip(value))
			}
		}
	}
}
