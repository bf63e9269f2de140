package sip

import "strings"

// Equal compares two URIs by RFC 3261 §19.1.4. URIs of other schemes are equal when their text is.
// The relation is not transitive: parameters that only one side has are mostly ignored.
func (u URI) Equal(v URI) bool {
	if u == v {
		return true
	}
	if u.Scheme != v.Scheme {
		return false
	}
	if !u.IsSIP() {
		return u.Opaque == v.Opaque
	}
	return sameText(u.User, v.User, false) && sameText(u.Password, v.Password, false) &&
		sameHost(u.Host, v.Host) && u.Port == v.Port &&
		sameParams(u.Params, v.Params) && sameParams(v.Params, u.Params) &&
		sameHeaders(u.Headers, v.Headers) && sameHeaders(v.Headers, u.Headers)
}

func sameHost(a, b string) bool {
	if equalFold(a, b) {
		return true
	}
	// Two spellings of one IPv6 address are one host (RFC 5118 §4.5 shows how many there are).
	x, ok1 := hostAddr(a)
	y, ok2 := hostAddr(b)
	return ok1 && ok2 && x == y
}

// sameParams checks a's parameters against b's: those in both must match; user, ttl, method, maddr
// and transport in one alone never match.
func sameParams(a, b Params) bool {
	for {
		name, value, _, rest, ok := a.next()
		if !ok {
			return true
		}
		a = rest
		other, found := b.unescapedRaw(name)
		if found {
			if !sameText(value, other, true) {
				return false
			}
			continue
		}
		for _, strict := range [...]string{"user", "ttl", "method", "maddr", "transport"} {
			if sameText(name, strict, true) {
				return false
			}
		}
	}
}

// unescapedRaw is raw for a URI's parameters, whose names may hold escapes.
func (p Params) unescapedRaw(name string) (string, bool) {
	for {
		n, v, _, rest, ok := p.next()
		if !ok {
			return "", false
		}
		if sameText(n, name, true) {
			return v, true
		}
		p = rest
	}
}

// sameText compares two parts of URIs. An escape is the same as the character that it stands for, unless
// that is one of the reserved set (RFC 3261 §19.1.4).
func sameText(a, b string, fold bool) bool {
	for a != "" && b != "" {
		x, xEscaped, n := nextChar(a)
		y, yEscaped, k := nextChar(b)
		if fold {
			x, y = lower(x), lower(y)
		}
		if x != y || xEscaped != yEscaped && strings.IndexByte(";/?:@&=+$,", x) >= 0 {
			return false
		}
		a, b = a[n:], b[k:]
	}
	return a == b
}

// nextChar decodes the first character of s, which is not empty, and tells how long its text is.
func nextChar(s string) (c byte, escaped bool, n int) {
	if s[0] == '%' && len(s) > 2 && unhex(s[1]) >= 0 && unhex(s[2]) >= 0 {
		return byte(unhex(s[1])<<4 | unhex(s[2])), true, 3
	}
	return s[0], false, 1
}

// sameHeaders checks that each header of a is in b, in any order. Values are compared as text, names without regard to case.
func sameHeaders(a, b string) bool {
	for a != "" {
		var h string
		h, a, _ = strings.Cut(a, "&")
		name, value, _ := strings.Cut(h, "=")
		if !hasURIHeader(b, name, value) {
			return false
		}
	}
	return true
}

func hasURIHeader(s, name, value string) bool {
	for s != "" {
		var h string
		h, s, _ = strings.Cut(s, "&")
		n, v, _ := strings.Cut(h, "=")
		if sameText(n, name, true) && sameText(v, value, false) {
			return true
		}
	}
	return false
}
