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
// (and of tel at the number's form). Ports are at most 65,535. The error is *Error with status 400.
func ParseURI(s string) (URI, error) {
	colon := strings.IndexByte(s, ':')
	if colon <= 0 || !isAlpha(s[0]) {
		return URI{}, bad("Malformed URI", s)
	}
	scheme := s[:colon]
	rest := s[colon+1:]
	switch {
	case scheme == "sip" || equalFold(scheme, "sip"):
		return parseSIPURI("sip", rest, s)
	case equalFold(scheme, "sips"):
		return parseSIPURI("sips", rest, s)
	}
	for i := 0; i < colon; i++ {
		if c := scheme[i]; !isAlpha(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return URI{}, bad("Malformed URI", s)
		}
	}
	if rest == "" || !inClassEscaped(rest, cURI) || equalFold(scheme, "tel") && !validTel(rest) {
		return URI{}, bad("Malformed URI", s)
	}
	return URI{Scheme: toLower(scheme), Opaque: rest}, nil
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

func parseSIPURI(scheme, rest, whole string) (URI, error) {
	u := URI{Scheme: scheme}
	// RFC 3261 §25.1: "@" stands bare nowhere but behind the userinfo, and ";" and "?" may be in the user part.
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		u.User = rest[:at]
		rest = rest[at+1:]
		hasPassword := false
		if i := strings.IndexByte(u.User, ':'); i >= 0 {
			u.User, u.Password, hasPassword = u.User[:i], u.User[i+1:], true
		}
		if u.User == "" || !inClassEscaped(u.User, cUser) || hasPassword && !inClassEscaped(u.Password, cPassword) {
			return URI{}, bad("Malformed URI", whole)
		}
	}
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		u.Headers = rest[i+1:]
		rest = rest[:i]
		if !validURIHeaders(u.Headers) {
			return URI{}, bad("Malformed URI", whole)
		}
	}
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		u.Params = Params(rest[i:])
		rest = rest[:i]
		if !validURIParams(string(u.Params)) {
			return URI{}, bad("Malformed URI", whole)
		}
	}
	var ok bool
	u.Host, u.Port, ok = splitHostPort(rest)
	if !ok || strings.IndexByte(rest, ' ') >= 0 || strings.IndexByte(rest, '\t') >= 0 {
		return URI{}, bad("Malformed URI", whole)
	}
	return u, nil
}

// validURIParams checks *( ";" pname [ "=" pvalue ] ). The parameters that say where a request goes must not
// stand twice (RFC 3261 §19.1.1: no parameter may).
func validURIParams(s string) bool {
	seen := 0
	for s != "" {
		s = s[1:]
		end := strings.IndexByte(s, ';')
		if end < 0 {
			end = len(s)
		}
		name, value, hasValue := strings.Cut(s[:end], "=")
		if name == "" || !inClassEscaped(name, cParam) || hasValue && (value == "" || !inClassEscaped(value, cParam)) {
			return false
		}
		bit := uriParamBit(name)
		if seen&bit != 0 {
			return false
		}
		seen |= bit
		s = s[end:]
	}
	return true
}

func uriParamBit(name string) int {
	switch {
	case equalFold(name, "lr"):
		return 1
	case equalFold(name, "transport"):
		return 2
	case equalFold(name, "maddr"):
		return 4
	case equalFold(name, "ttl"):
		return 8
	case equalFold(name, "user"):
		return 16
	case equalFold(name, "method"):
		return 32
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
