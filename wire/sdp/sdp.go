// Package sdp reads session descriptions, RFC 4566: as much as a server needs
// that decides about them and forwards them untouched.
package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Limits of Parse.
const (
	MaxBytes = 64 << 10 // of the body
	MaxLines = 2000
	MaxMedia = 64 // m= lines
)

// ErrTooLarge tells that a limit of this package is exceeded; ErrFormat that
// the body is no session description.
var (
	ErrTooLarge = errors.New("sdp: description is larger than the limits")
	ErrFormat   = errors.New("sdp: malformed description")
)

// Description is a session description.
type Description struct {
	Origin     string // o= value
	Name       string // s= value
	Attributes []Attribute
	Media      []Media
}

// Media is one m= line with what follows it. RFC 4566 §5.14.
type Media struct {
	Type       string // lower case: "audio", "video", "message", "text" …
	Port       uint16
	Ports      uint16 // number of ports, 1 when not given
	Proto      string // as written: "RTP/AVP", "TCP/MSRP" …
	Formats    []string
	Attributes []Attribute
}

// Attribute is one a= line. RFC 4566 §5.13.
type Attribute struct {
	Name  string // as written
	Value string // "" for a flag
}

// Get finds a media attribute by name, without regard to case.
func (m Media) Get(name string) (string, bool) {
	for _, a := range m.Attributes {
		if strings.EqualFold(a.Name, name) {
			return a.Value, true
		}
	}
	return "", false
}

// Parse reads a description. Unknown lines are passed over; lines that are no
// lines of SDP at all, a NUL, and numbers out of range are errors, so that no
// client sees another description than the server did. Lone CR and lone LF end
// a line as CRLF does.
func Parse(body []byte) (*Description, error) {
	if len(body) > MaxBytes {
		return nil, ErrTooLarge
	}
	if bytes.IndexByte(body, 0) >= 0 {
		return nil, fmt.Errorf("%w: NUL", ErrFormat)
	}
	d := &Description{}
	lines := 0
	for text := string(body); text != ""; {
		line := text
		if i := strings.IndexAny(text, "\r\n"); i >= 0 {
			line, text = text[:i], text[i+1:]
		} else {
			text = ""
		}
		if line == "" {
			continue
		}
		if lines++; lines > MaxLines {
			return nil, ErrTooLarge
		}
		if len(line) < 2 || line[1] != '=' || line[0] < 'a' || line[0] > 'z' {
			return nil, fmt.Errorf("%w: line %d", ErrFormat, lines)
		}
		// RFC 4566 §5: v= comes first, and is 0.
		if (lines == 1) != (line[0] == 'v') || lines == 1 && strings.TrimSpace(line[2:]) != "0" {
			return nil, fmt.Errorf("%w: version", ErrFormat)
		}
		if err := d.line(line[0], line[2:]); err != nil {
			return nil, err
		}
	}
	if lines == 0 {
		return nil, fmt.Errorf("%w: empty", ErrFormat)
	}
	return d, nil
}

// line takes one line.
func (d *Description) line(kind byte, v string) error {
	switch kind {
	case 'o':
		d.Origin = v
	case 's':
		d.Name = v
	case 'm':
		if len(d.Media) == MaxMedia {
			return ErrTooLarge
		}
		m, err := parseMedia(v)
		if err != nil {
			return err
		}
		d.Media = append(d.Media, m)
	case 'a':
		name, value, _ := strings.Cut(v, ":")
		a := Attribute{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)}
		if n := len(d.Media); n > 0 {
			d.Media[n-1].Attributes = append(d.Media[n-1].Attributes, a)
			break
		}
		d.Attributes = append(d.Attributes, a)
	}
	return nil
}

// parseMedia reads an m= value. RFC 4566 §5.14.
func parseMedia(v string) (Media, error) {
	f := strings.Fields(v)
	if len(f) < 3 {
		return Media{}, fmt.Errorf("%w: m=", ErrFormat)
	}
	m := Media{Type: strings.ToLower(f[0]), Ports: 1, Proto: f[2], Formats: f[3:]}
	port, count, several := strings.Cut(f[1], "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Media{}, fmt.Errorf("%w: port", ErrFormat)
	}
	m.Port = uint16(n)
	if several {
		if n, err = strconv.ParseUint(count, 10, 16); err != nil {
			return Media{}, fmt.Errorf("%w: number of ports", ErrFormat)
		}
		m.Ports = uint16(n)
	}
	if strings.Contains(strings.ToUpper(m.Proto), "RTP/") {
		for _, p := range m.Formats {
			// RFC 3551 §3: payload types have 7 bits.
			if n, err := strconv.ParseUint(p, 10, 8); err != nil || n > 127 {
				return Media{}, fmt.Errorf("%w: payload type", ErrFormat)
			}
		}
	}
	return m, nil
}
