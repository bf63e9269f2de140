package sip

import (
	"net/netip"
	"strings"
)

// splitHostPort reads "host [ COLON port ]" where host is a name, an IPv4 address or an IPv6
// address in brackets, which stay in the host. A port of 0 counts as none.
func splitHostPort(s string) (host string, port uint16, ok bool) {
	n := scanHost(s)
	if n < 0 {
		return "", 0, false
	}
	host, s = s[:n], trimLeft(s[n:])
	if s == "" {
		return host, 0, true
	}
	if s[0] != ':' {
		return "", 0, false
	}
	s = trimLeft(s[1:])
	port, n = scanPort(s)
	return host, port, n > 0 && n == len(s)
}

// scanPort reads the digits at the start of s and tells how many there are; 0 when there are none or they
// make more than 65,535.
func scanPort(s string) (port uint16, n int) {
	v := 0
	for n < len(s) && isDigit(s[n]) {
		if v = v*10 + int(s[n]-'0'); v > 65535 {
			return 0, 0
		}
		n++
	}
	return uint16(v), n
}

// scanHost finds the end of the host at the start of s: hostname, IPv4address or IPv6reference (RFC 3261 §25.1). It
// returns -1 when there is none. Underscores are let through: they are in names of deployed machines. A last
// label of digits alone means that the whole must be an IPv4 address.
func scanHost(s string) int {
	if s != "" && s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 || !validIPv6(s[1:end]) {
			return -1
		}
		return end + 1
	}
	label, digits, numeric := 0, true, false
	i := 0
	for ; i < len(s) && class[s[i]]&cHost != 0; i++ {
		switch c := s[i]; {
		case c == '.':
			if i == label || s[i-1] == '-' {
				return -1
			}
			label, digits, numeric = i+1, true, digits
		case c < '0' || c > '9':
			if c == '-' && i == label {
				return -1
			}
			digits = false
		}
	}
	switch {
	case i == 0 || i > 255 || s[i-1] == '-':
		return -1
	case i == label:
		// One dot at the end makes a name absolute.
		if numeric {
			return -1
		}
	case digits && !validIPv4(s[:i]):
		return -1
	}
	return i
}

func validIPv4(s string) bool {
	part, digits, n := 0, 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			if n = n*10 + int(c-'0'); digits == 3 || n > 255 {
				return false
			}
			digits++
		case c == '.' && digits > 0 && part < 3:
			part, digits, n = part+1, 0, 0
		default:
			return false
		}
	}
	return part == 3 && digits > 0
}

// validIPv6 checks the inside of an IPv6reference; zones are not part of it.
func validIPv6(s string) bool {
	if strings.IndexByte(s, ':') < 0 || strings.IndexByte(s, '%') >= 0 {
		return false
	}
	_, ok := parseAddr(s)
	return ok
}

// parseAddr reads an address without brackets. A grammar error of RFC 3261 allows a third colon
// before the IPv4 part of an IPv6 address; it is tolerated (RFC 5118 §4.10).
func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err == nil {
		return a, true
	}
	i := strings.Index(s, ":::")
	if i < 0 || strings.IndexByte(s, '.') < 0 {
		return netip.Addr{}, false
	}
	a, err = netip.ParseAddr(s[:i] + s[i+1:])
	return a, err == nil
}

// hostAddr is the address that a host stands for, if it is no name.
func hostAddr(host string) (netip.Addr, bool) {
	if len(host) > 2 && host[0] == '[' {
		return parseAddr(host[1 : len(host)-1])
	}
	if host == "" || !isDigit(host[len(host)-1]) {
		return netip.Addr{}, false
	}
	return parseAddr(host)
}
