package sip

import (
	"net/netip"
	"strconv"
	"strings"
)

// URI is a SIP or SIPS URI (RFC 3261 §19.1), or a URI of another scheme of which only the scheme is
// understood. All parts are as they stand in the message, escapes included.
type URI struct {
	Scheme   string // lower case
	User     string // with escapes; "" if there is none
	Password string
	Host     string // name, IPv4 address, or IPv6 address in brackets
	Port     uint16 // 0 if there is none
	Params   Params // ";transport=tcp;lr"
	Headers  string // "subject=x&priority=urgent", without the "?"
	Opaque   string // other schemes: everything behind the colon
}

// ParseURI reads a URI strictly by RFC 3261 §25.1; of other schemes than sip and sips it looks only at the characters
// (and of tel at the number's form). Ports are at most 65,535; a port of 0 counts as none. The error is *Error
// with status 400.
func ParseURI(s string) (u URI, err error) {
	if !u.parse(s) {
		return URI{}, bad("Malformed URI", s)
	}
	return u, nil
}

// parse fills u, which is zero.
func (u *URI) parse(s string) bool {
	if strings.HasPrefix(s, "sip:") {
		u.Scheme = "sip"
		return u.parseSIP(s[4:])
	}
	colon := strings.IndexByte(s, ':')
	if colon <= 0 || !isAlpha(s[0]) {
		return false
	}
	scheme, rest := s[:colon], s[colon+1:]
	switch {
	case equalFold(scheme, "sip"):
		u.Scheme = "sip"
		return u.parseSIP(rest)
	case equalFold(scheme, "sips"):
		u.Scheme = "sips"
		return u.parseSIP(rest)
	}
	for i := 0; i < colon; i++ {
		if c := scheme[i]; !isAlpha(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	u.Scheme, u.Opaque = toLower(scheme), rest
	return rest != "" && inClassEscaped(rest, cURI) && (u.Scheme != "tel" || validTel(rest))
}

// validTel checks the subscriber of RFC 3966 §3: "+" and digits, or a local number, with visual separators, and parameters.
func validTel(s string) bool {
	number, params := s, ""
	if i := strings.IndexByte(s, ';'); i >= 0 {
		number, params = s[:i], s[i:]
	}
	local := true
	if number != "" && number[0] == '+' {
		local, number = false, number[1:]
	}
	digits := 0
	for i := 0; i < len(number); i++ {
		switch c := number[i]; {
		case isDigit(c), local && (c == '*' || c == '#' || unhex(c) >= 0):
			digits++
		case c == '-', c == '.', c == '(', c == ')':
		default:
			return false
		}
	}
	return digits > 0 && validURIParams(params)
}

// parseSIP reads [ userinfo ] hostport uri-parameters [ headers ].
func (u *URI) parseSIP(s string) bool {
	// RFC 3261 §25.1: "@" stands bare nowhere but behind the userinfo, and ";" and "?" may be in the user part.
	n := spanClass(s, cUser)
	if n < len(s) {
		if s[n] != '@' {
			n = strings.IndexByte(s, '@')
		}
		if n >= 0 {
			if !u.parseUserInfo(s[:n]) {
				return false
			}
			s = s[n+1:]
		}
	}
	if n = scanHost(s); n < 0 {
		return false
	}
	u.Host, s = s[:n], s[n:]
	if s != "" && s[0] == ':' {
		if u.Port, n = scanPort(s[1:]); n == 0 {
			return false
		}
		s = s[1+n:]
	}
	if s != "" && s[0] == ';' {
		if n = scanURIParams(s); n < 0 {
			return false
		}
		u.Params, s = Params(s[:n]), s[n:]
	}
	if s == "" {
		return true
	}
	u.Headers = s[1:]
	return s[0] == '?' && validURIHeaders(u.Headers)
}

func (u *URI) parseUserInfo(s string) bool {
	u.User = s
	if i := strings.IndexByte(s, ':'); i >= 0 {
		u.User, u.Password = s[:i], s[i+1:]
	}
	return u.User != "" && inClassEscaped(u.User, cUser) && inClassEscaped(u.Password, cPassword)
}

// scanURIParams finds the end of *( ";" pname [ "=" pvalue ] ) at the start of s, which is a "?" or the end of s; -1 when
// it is malformed. The parameters that say where a request goes must not stand twice (RFC 3261 §19.1.1: no
// parameter may).
func scanURIParams(s string) int {
	seen, i := 0, 0
	for i < len(s) && s[i] == ';' {
		name := i + 1
		i = scanEscaped(s, name, cParam)
		if i <= name {
			return -1
		}
		bit := uriParamBit(s[name:i])
		if seen&bit != 0 {
			return -1
		}
		seen |= bit
		if i < len(s) && s[i] == '=' {
			value := i + 1
			if i = scanEscaped(s, value, cParam); i <= value {
				return -1
			}
		}
	}
	if i < len(s) && s[i] != '?' {
		return -1
	}
	return i
}

// scanEscaped finds the first byte from i on that is neither in the class nor part of a well-formed %HH.
func scanEscaped(s string, i int, bit uint8) int {
	for i < len(s) {
		switch {
		case s[i] == '%':
			if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return -1
			}
			i += 3
		case class[s[i]]&bit != 0:
			i++
		default:
			return i
		}
	}
	return i
}

func validURIParams(s string) bool { return s == "" || s[0] == ';' && scanURIParams(s) == len(s) }

func uriParamBit(name string) int {
	switch len(name) {
	case len("lr"):
		if equalFold(name, "lr") {
			return 1
		}
	case len("ttl"):
		if equalFold(name, "ttl") {
			return 2
		}
	case len("user"):
		if equalFold(name, "user") {
			return 4
		}
	case len("maddr"):
		if equalFold(name, "maddr") {
			return 8
		}
	case len("method"):
		if equalFold(name, "method") {
			return 16
		}
	case len("transport"):
		if equalFold(name, "transport") {
			return 32
		}
	}
	return 0
}

// validURIHeaders checks hname "=" hvalue *( "&" header ).
func validURIHeaders(s string) bool {
	for {
		h, rest, more := strings.Cut(s, "&")
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" || !inClassEscaped(name, cHeader) || !inClassEscaped(value, cHeader) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

// IsSIP tells whether the scheme is sip or sips.
func (u URI) IsSIP() bool { return u.Scheme == "sip" || u.Scheme == "sips" }

// Addr is the host as an address; false when it is a name.
func (u URI) Addr() (netip.Addr, bool) { return hostAddr(u.Host) }

// String writes the URI.
func (u URI) String() string {
	b := make([]byte, 0, 96)
	b = append(b, u.Scheme...)
	b = append(b, ':')
	if !u.IsSIP() {
		return string(append(b, u.Opaque...))
	}
	if u.User != "" {
		b = append(b, u.User...)
		if u.Password != "" {
			b = append(b, ':')
			b = append(b, u.Password...)
		}
		b = append(b, '@')
	}
	b = append(b, u.Host...)
	if u.Port != 0 {
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(u.Port), 10)
	}
	b = append(b, u.Params...)
	if u.Headers != "" {
		b = append(b, '?')
		b = append(b, u.Headers...)
	}
	return string(b)
}

// AOR is the address-of-record "user@host" that the URI names: the user unescaped and then escaped no more
// than needed, so that all spellings give one text (RFC 3261 §10.3 step 5); the host in lower case; no port, password or parameters.
// "" when the URI is not sip or sips or has no user.
func (u URI) AOR() string {
	if !u.IsSIP() || u.User == "" {
		return ""
	}
	return EscapeUser(Unescape(u.User)) + "@" + toLower(strings.TrimSuffix(u.Host, "."))
}

// EscapeUser writes s as the user part of a SIP URI: what may not stand bare becomes %HH.
func EscapeUser(s string) string { return escape(s, cUser) }

// EscapeParam writes s as the name or value of a SIP URI's parameter: what may not stand bare becomes %HH.
func EscapeParam(s string) string { return escape(s, cParam) }

func escape(s string, bit uint8) string {
	if spanClass(s, bit) == len(s) {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); i++ {
		if class[s[i]]&bit != 0 {
			b = append(b, s[i])
		} else {
			b = append(b, '%', hex[s[i]>>4], hex[s[i]&15])
		}
	}
	return string(b)
}

// Unescape replaces each well-formed %HH by the byte it stands for.
func Unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0 {
			b = append(b, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}
