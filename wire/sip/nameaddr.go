package sip

import "strings"

// NameAddr is a URI with a display name and header parameters: From, To, Contact, Route and the like (RFC 3261 §20.10).
type NameAddr struct {
	Display string // unquoted; "" if there is none
	URI     URI
	Params  Params // of the header, not of the URI
}

// Contact is a value of a Contact header.
type Contact = NameAddr

// ParseNameAddr reads name-addr or addr-spec with parameters. Without angle brackets everything from the first ";" on
// belongs to the header, and a URI with "?" or "," is refused (RFC 3261 §20). The error is *Error with status 400.
func ParseNameAddr(s string) (n NameAddr, err error) {
	rest := trim(s)
	bracket := -1
	switch {
	case rest == "":
		return n, bad("Malformed Address", s)
	case rest[0] == '"':
		end := skipQuoted(rest)
		if end < 0 || !validQuoted(rest[:end]) {
			return n, bad("Malformed Address", s)
		}
		n.Display = unquote(rest[:end])
		rest = trimLeft(rest[end:])
		if rest == "" || rest[0] != '<' {
			return n, bad("Malformed Address", s)
		}
		bracket = 0
	default:
		bracket = strings.IndexByte(rest, '<')
		if bracket > 0 {
			n.Display = trimRight(rest[:bracket])
			if !validDisplay(n.Display) {
				return n, bad("Malformed Address", s)
			}
		}
	}
	var spec string
	if bracket >= 0 {
		rest = rest[bracket+1:]
		end := strings.IndexByte(rest, '>')
		if end < 0 {
			return n, bad("Malformed Address", s)
		}
		spec, n.Params = rest[:end], Params(trim(rest[end+1:]))
	} else {
		spec = rest
		if i := strings.IndexByte(rest, ';'); i >= 0 {
			spec, n.Params = trimRight(rest[:i]), Params(rest[i:])
		}
		if strings.IndexByte(spec, '?') >= 0 || strings.IndexByte(spec, ',') >= 0 {
			return n, bad("Malformed Address", s)
		}
	}
	if !n.URI.parse(spec) {
		return NameAddr{}, bad("Malformed URI", s)
	}
	if n.Params != "" && !n.Params.valid() {
		return n, bad("Malformed Address Parameters", s)
	}
	return n, nil
}

// validDisplay checks *( token LWS ). Words of UTF-8 and the like are let through: clients write names bare.
func validDisplay(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; class[c]&cToken == 0 && c != ' ' && c != '\t' && c < 0x80 {
			return false
		}
	}
	return true
}

// validQuoted checks a quoted string with its quotes: no bare control characters but HT, escapes of
// one ASCII character other than CR and LF (RFC 3261 §25.1).
func validQuoted(s string) bool {
	for i := 1; i < len(s)-1; i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
			if s[i] >= 0x80 || s[i] == '\r' || s[i] == '\n' {
				return false
			}
		case c < ' ' && c != '\t' || c == 0x7f:
			return false
		}
	}
	return true
}

// Tag is the tag parameter; "" if there is none.
func (n NameAddr) Tag() string {
	tag, _ := n.Params.Get("tag")
	return tag
}

// String writes the address in angle brackets, the display name quoted.
func (n NameAddr) String() string {
	u := "<" + n.URI.String() + ">" + string(n.Params)
	if n.Display == "" {
		return u
	}
	return quote(n.Display) + " " + u
}

// tagOf finds the tag of a From or To value without looking at the rest.
func tagOf(s string) string {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ';':
			tag, _ := Params(s[i:]).Get("tag")
			return tag
		case '"':
			n := skipQuoted(s[i:])
			if n < 0 {
				return ""
			}
			i += n - 1
		case '<':
			n := strings.IndexByte(s[i:], '>')
			if n < 0 {
				return ""
			}
			i += n
		}
	}
	return ""
}
