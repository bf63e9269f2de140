package sip

import "strings"

// Equal compares two URIs by RFC 3261 §19.1.4. URIs of other schemes are equal when their text is.
// The relation is not transitive: parameters that only one side has are mostly ignored.
func (u URI) Equal(v URI) bool {
	if u.Scheme != v.Scheme {
		return false
	}
	if !u.IsSIP() {
		return u.Opaque == v.Opaque
	}
	return Unescape(u.User) == Unescape(v.User) && Unescape(u.Password) == Unescape(v.Password) &&
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
			if !equalFold(Unescape(value), Unescape(other)) {
				return false
			}
			continue
		}
		switch toLower(Unescape(name)) {
		case "user", "ttl", "method", "maddr", "transport":
			return false
		}
	}
}

// unescapedRaw is raw for a URI's parameters, whose names may hold escapes.
func (p Params) unescapedRaw(name string) (string, bool) {
	name = Unescape(name)
	for {
		n, v, _, rest, ok := p.next()
		if !ok {
			return "", false
		}
		if equalFold(Unescape(n), name) {
			return v, true
		}
		p = rest
	}
}

// sameHeaders checks that each header of a is in b, in any order. Values are compared as text, names without regard to case.
func sameHeaders(a, b string) bool {
	for a != "" {
		var h string
		h, a, _ = strings.Cut(a, "&")
		name, value, _ := strings.Cut(h, "=")
		if !hasURIHeader(b, Unescape(name), Unescape(value)) {
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
		if equalFold(Unescape(n), name) && Unescape(v) == value {
			return true
		}
	}
	return false
}
