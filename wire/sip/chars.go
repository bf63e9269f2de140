package sip

import "strings"

// The character classes of RFC 3261 §25.1, one bit each.
const (
	cToken    = 1 << iota // token
	cUser                 // user-part of a SIP URI: unreserved / user-unreserved, also telephone-subscriber
	cPassword             // password of a SIP URI
	cParam                // paramchar of a URI parameter
	cHeader               // hname and hvalue of a URI
	cHost                 // hostname
	cWord                 // word: Call-ID
	cURI                  // reserved / unreserved / "%" and brackets: anything in a URI of another scheme
)

// class holds the classes of each byte. A "%" is in no class but cToken, cWord and cURI: where
// escapes are allowed, they are checked apart.
var class [256]uint8

func init() {
	set := func(bit uint8, chars string) {
		for i := 0; i < len(chars); i++ {
			class[chars[i]] |= bit
		}
	}
	const alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	const unreserved = alnum + "-_.!~*'()"
	set(cToken, alnum+"-.!%*_+`'~")
	set(cUser, unreserved+"&=+$,;?/")
	set(cPassword, unreserved+"&=+$,")
	set(cParam, unreserved+"[]/:&+$")
	set(cHeader, unreserved+"[]/?:+$")
	set(cHost, alnum+"-._")
	set(cWord, alnum+"-.!%*_+`'~()<>:\\\"/[]?{}")
	set(cURI, unreserved+";/?:@&=+$,%[]#")
}

// isToken tells whether s is a token (RFC 3261 §25.1): not empty, ASCII, no separators.
func isToken(s string) bool { return s != "" && spanClass(s, cToken) == len(s) }

// spanClass counts the leading bytes of s that are in the class.
func spanClass(s string, bit uint8) int {
	for i := 0; i < len(s); i++ {
		if class[s[i]]&bit == 0 {
			return i
		}
	}
	return len(s)
}

// inClassEscaped tells whether every byte of s is in the class or part of a well-formed %HH.
func inClassEscaped(s string, bit uint8) bool {
	for i := 0; i < len(s); i++ {
		if class[s[i]]&bit != 0 && s[i] != '%' {
			continue
		}
		if s[i] != '%' || i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
			return false
		}
		i += 2
	}
	return true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold compares ASCII strings without regard to case; other bytes must be equal.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// toLower returns s in lower case (ASCII), s itself when it already is.
func toLower(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// toUpper returns s in upper case (ASCII), s itself when it already is.
func toUpper(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'a' && s[i] <= 'z' {
			return strings.ToUpper(s)
		}
	}
	return s
}

// trim takes linear white space off both ends.
func trim(s string) string { return trimRight(trimLeft(s)) }

func trimLeft(s string) string {
	for len(s) > 0 && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

func trimRight(s string) string {
	for len(s) > 0 && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// isSpace: folds are gone when values are read, but a value that did not come from Parse may hold CR or LF.
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// parseUint reads 1*DIGIT up to 2^32-1 (RFC 3261 §25.1: larger numbers do not fit any header).
func parseUint(s string) (uint32, bool) {
	if s == "" || len(s) > 64 {
		return 0, false
	}
	var n uint64
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + uint64(s[i]-'0')
		if n > 1<<32-1 {
			return 0, false
		}
	}
	return uint32(n), true
}

// skipQuoted returns the index after the quoted string that starts at s[0] == '"', or -1 when it never ends.
func skipQuoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// unquote takes quotes and backslashes off a quoted string; anything else comes back as it is.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// quote writes s as a quoted string. CR, LF and NUL cannot be carried and become spaces.
func quote(s string) string {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\r', '\n', 0:
			b = append(b, ' ')
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

// cutValue splits off the first of several values separated by commas; commas in quotes or in angle
// brackets do not count (RFC 3261 §7.3.1). more tells whether there was a comma.
func cutValue(s string) (value, rest string, more bool) {
	if strings.IndexByte(s, ',') < 0 {
		return trim(s), "", false
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			n := skipQuoted(s[i:])
			if n < 0 {
				return trim(s), "", false
			}
			i += n - 1
		case '<':
			n := strings.IndexByte(s[i:], '>')
			if n < 0 {
				return trim(s), "", false
			}
			i += n
		case ',':
			return trim(s[:i]), s[i+1:], true
		}
	}
	return trim(s), "", false
}
