package sip

import (
	"net/netip"
	"strings"
)

// eachValue splits a row at its commas and checks every value; there is at least one and none is empty.
func eachValue(row string, check func(string) bool) bool {
	for more := true; more; {
		var v string
		v, row, more = cutValue(row)
		if v == "" || !check(v) {
			return false
		}
	}
	return true
}

func checkVias(v string) bool { return eachValue(v, checkVia) }

// checkVia: RFC 3261 §20.42. Parameters that decide where a response goes must be there once and make sense.
func checkVia(s string) bool {
	v, err := ParseVia(s)
	if err != nil {
		return false
	}
	for p := v.Params; ; {
		name, value, hasValue, rest, ok := p.next()
		if !ok {
			return true
		}
		p = rest
		switch {
		case equalFold(name, "branch"):
			// RFC 4475 §3.2.1: the cookie alone identifies nothing.
			if !isToken(value) || equalFold(value, MagicCookie) {
				return false
			}
		case equalFold(name, "received"):
			if !validReceived(value) {
				return false
			}
		case equalFold(name, "rport"):
			if n, ok := parseUint(value); hasValue && (!ok || n > 65535) {
				return false
			}
		case equalFold(name, "maddr"):
			if _, _, ok := splitHostPort(value); !ok {
				return false
			}
		case equalFold(name, "ttl"):
			if n, ok := parseUint(value); !ok || n > 255 {
				return false
			}
		default:
			continue
		}
		if rest.Has(name) {
			return false
		}
	}
}

// validReceived accepts IPv6 addresses with and without brackets (RFC 5118 §4.5).
func validReceived(s string) bool {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		return validIPv6(s[1 : len(s)-1])
	}
	if strings.IndexByte(s, ':') >= 0 {
		return validIPv6(s)
	}
	return validIPv4(s)
}

// checkFromTo: RFC 3261 §20.20, §20.39. A missing From tag is RFC 2543's way and passes (RFC 4475 §3.4.1).
func checkFromTo(s string) bool {
	a, err := ParseNameAddr(s)
	if err != nil || a.Params.duplicate("tag") {
		return false
	}
	tag, ok := a.Params.raw("tag")
	return !ok || isToken(tag)
}

func checkAddress(s string) bool {
	_, err := ParseNameAddr(s)
	return err == nil
}

func checkNameAddrs(v string) bool { return eachValue(v, checkNameAddr) }

// checkNameAddr is for headers that must have angle brackets: Route and the like (RFC 3261 §20.34).
func checkNameAddr(s string) bool {
	return strings.IndexByte(s, '<') >= 0 && checkAddress(s)
}

func checkContactRow(v string) bool { return v == "*" || eachValue(v, checkContact) }

// checkContact: RFC 3261 §20.10.
func checkContact(s string) bool {
	c, err := ParseNameAddr(s)
	if err != nil {
		return false
	}
	for p := c.Params; ; {
		name, value, _, rest, ok := p.next()
		if !ok {
			return true
		}
		p = rest
		switch {
		case equalFold(name, "q"):
			if !validQ(value) {
				return false
			}
		case equalFold(name, "expires"), equalFold(name, "reg-id"):
			if !checkNumber(value) {
				return false
			}
		case equalFold(name, "+sip.instance"):
		default:
			continue
		}
		if rest.Has(name) {
			return false
		}
	}
}

// checkContacts: "*" stands alone (RFC 3261 §10.2.2).
func checkContacts(m *Message) *Error {
	i := m.first[HContact]
	if i == 0 {
		return nil
	}
	if second := m.nextRow(i, HContact); second == 0 {
		return nil
	}
	for ; i != 0; i = m.nextRow(i, HContact) {
		if m.value(m.fields[i-1]) == "*" {
			return bad("Malformed Contact Header", "* beside other contacts")
		}
	}
	return nil
}

// validQ: qvalue of RFC 3261 §25.1, from 0 to 1 with up to three digits.
func validQ(s string) bool {
	if s == "" || s[0] != '0' && s[0] != '1' || len(s) > 5 {
		return false
	}
	if len(s) == 1 {
		return true
	}
	if s[1] != '.' {
		return false
	}
	for i := 2; i < len(s); i++ {
		if !isDigit(s[i]) || s[0] == '1' && s[i] != '0' {
			return false
		}
	}
	return true
}

func checkInfoURIs(v string) bool { return eachValue(v, checkInfoURI) }

// checkInfoURI: LAQUOT absoluteURI RAQUOT *( SEMI generic-param ), RFC 3261 §20.4, §20.9, §20.18.
func checkInfoURI(s string) bool {
	end := strings.IndexByte(s, '>')
	if s[0] != '<' || end < 0 {
		return false
	}
	_, err := ParseURI(s[1:end])
	return err == nil && Params(s[end+1:]).valid()
}

func checkCallerPrefs(v string) bool { return eachValue(v, checkCallerPref) }

// checkCallerPref: RFC 3841 §9.2; the older form with a URI passes too.
func checkCallerPref(s string) bool {
	if s[0] == '*' {
		return Params(trimLeft(s[1:])).valid()
	}
	return checkAddress(s)
}

// parseReceived reads an address with or without brackets.
func parseReceived(s string) (netip.Addr, bool) {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	return parseAddr(s)
}
