package xmlpull

import (
	"strconv"
	"unicode/utf8"
)

// Header is the XML declaration that documents begin with.
const Header = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// plain marks the bytes that need no escaping.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '<' && c != '>' && c != '&' && c != '"'
	}
	return t
}()

// AppendText appends s, escaped for both content and attribute values. Characters that XML 1.0 cannot carry become
// U+FFFD, so that whatever s holds, it cannot leave its place and the document stays well-formed.
func AppendText(b []byte, s string) []byte {
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[done:i]...)
			b = appendEscaped(b, c)
			i++
			done = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !valid(r) {
			b = append(b, s[done:i]...)
			b = append(b, "\uFFFD"...)
			done = i + n
		}
		i += n
	}
	return append(b, s[done:]...)
}

func appendEscaped(b []byte, c byte) []byte {
	switch c {
	case '<':
		return append(b, "&lt;"...)
	case '>':
		return append(b, "&gt;"...)
	case '&':
		return append(b, "&amp;"...)
	case '"':
		return append(b, "&quot;"...)
	case '\t', '\n', '\r':
		b = append(b, "&#"...)
		b = strconv.AppendUint(b, uint64(c), 10)
		return append(b, ';')
	}
	return append(b, "\uFFFD"...)
}

// AppendAttr appends ` name="value"`. The name is taken as it stands.
func AppendAttr(b []byte, name, value string) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, '=', '"')
	b = AppendText(b, value)
	return append(b, '"')
}

// AppendUintAttr appends an attribute with a number.
func AppendUintAttr(b []byte, name string, n uint64) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, '=', '"')
	b = strconv.AppendUint(b, n, 10)
	return append(b, '"')
}

// AppendElement appends `<name>text</name>`. The name is taken as it stands.
func AppendElement(b []byte, name, text string) []byte {
	b = append(b, '<')
	b = append(b, name...)
	b = append(b, '>')
	b = AppendText(b, text)
	return AppendEnd(b, name)
}

// AppendEnd appends `</name>`.
func AppendEnd(b []byte, name string) []byte {
	b = append(b, '<', '/')
	b = append(b, name...)
	return append(b, '>')
}

// IsName says whether s is a name without a prefix, in ASCII: what elements and xs:ID values may be called everywhere.
func IsName(s string) bool {
	if s == "" || !nameStart(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !nameByte(s[i]) {
			return false
		}
	}
	return true
}
