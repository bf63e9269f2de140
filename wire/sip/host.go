package sip

import (
	"net/netip"
	"strings"
)

// splitHostPort reads "host [ COLON port ]" where host is a name, an IPv4 address or an IPv6
// address in brackets, which stay in the host. A port of 0 counts as none.
func splitHostPort(s string) (host string, port uint16, ok bool) {
	if s == "" {
		return "", 0, false
	}
	end := 0
	if s[0] == '[' {
		end = strings.IndexByte(s, ']') + 1
		if end == 0 || !validIPv6(s[1:end-1]) {
			return "", 0, false
		}
	} else {
		end = spanClass(s, cHost)
		if !(isDigit(s[0]) && validIPv4(s[:end])) && !validHost(s[:end]) {
			return "", 0, false
		}
	}
	host, s = s[:end], trimLeft(s[end:])
	if s == "" {
		return host, 0, true
	}
	if s[0] != ':' {
		return "", 0, false
	}
	n, ok := parseUint(trim(s[1:]))
	if !ok || n > 65535 {
		return "", 0, false
	}
	return host, uint16(n), true
}

// validHost checks hostname and IPv4address (RFC 3261 §25.1). Underscores are let through: they are
// in names of deployed machines. A last label of digits alone means that the whole must be an IPv4 address.
func validHost(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	start, digits := 0, false
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			continue
		}
		label := s[start:i]
		if label == "" {
			// One dot at the end makes a name absolute.
			return i == len(s) && start > 0 && !digits
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		digits = allDigits(label)
		start = i + 1
	}
	return !digits || validIPv4(s)
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
