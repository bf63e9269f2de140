// Package meta is the text form of Record.Meta in the log: a flat JSON object.
package meta

import (
	"encoding/json"
	"slices"
	"strings"
)

// Append appends a flat JSON object with sorted keys.
func Append(b []byte, m map[string]string) []byte {
	var room [16]string
	keys := room[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, k)
		b = append(b, ':')
		b = appendText(b, m[k])
	}
	return append(b, '}')
}

// appendText appends a JSON string. The text is valid UTF-8, so only quotes, backslashes and controls need escapes.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		if c == '"' || c == '\\' {
			b = append(b, '\\', c)
		} else {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		start = i + 1
	}
	return append(append(b, s[start:]...), '"')
}

// Parse reads what Append wrote: by hand, because it is on the path of every reader of the log, and with the
// library where there are escapes.
func Parse(s string) (map[string]string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		if m, ok := decodePlain(s); ok {
			return m, nil
		}
	}
	var m map[string]string
	err := json.Unmarshal([]byte(s), &m)
	return m, err
}

func decodePlain(s string) (map[string]string, bool) {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return nil, false
	}
	m := make(map[string]string, 6)
	for s = s[1 : len(s)-1]; s != ""; {
		k, rest, ok := cutString(s)
		if !ok || rest == "" || rest[0] != ':' {
			return nil, false
		}
		v, rest, ok := cutString(rest[1:])
		if !ok {
			return nil, false
		}
		m[k] = v
		if rest == "" {
			return m, true
		}
		if rest[0] != ',' || len(rest) == 1 {
			return nil, false
		}
		s = rest[1:]
	}
	return m, true
}

// cutString takes a JSON string without escapes off the front.
func cutString(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	text, rest, ok = strings.Cut(s[1:], `"`)
	return text, rest, ok
}
