package sip

import (
	"net/netip"
	"strconv"
	"strings"
)

// Via is one value of a Via header (RFC 3261 §20.42).
type Via struct {
	Transport string // upper case: UDP, TCP, TLS, WS, WSS …
	Host      string // of sent-by: name, IPv4 address, or IPv6 address in brackets
	Port      uint16 // of sent-by; 0 if there is none
	Params    Params
}

// ParseVia reads one Via value. The protocol must be SIP/2.0. The error is *Error with status 400.
func ParseVia(s string) (Via, error) {
	v, protocol, ok := viaHead(s)
	if !ok || !protocol || v.Params != "" && !v.Params.valid() {
		return Via{}, bad("Malformed Via Header", s)
	}
	return v, nil
}

// viaHead reads a Via value without looking into its parameters. protocol tells whether it says SIP/2.0.
func viaHead(s string) (v Via, protocol, ok bool) {
	rest := s
	if protocol = strings.HasPrefix(s, "SIP/2.0/"); protocol {
		rest = trimLeft(s[len("SIP/2.0/"):])
	} else if rest, protocol, ok = viaProtocol(s); !ok {
		return v, false, false
	}
	n := spanClass(rest, cToken)
	if n == 0 || n == len(rest) || !isSpace(rest[n]) {
		return v, false, false
	}
	v.Transport = toUpper(rest[:n])
	rest = trimLeft(rest[n:])
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		v.Params = Params(rest[i:])
		rest = rest[:i]
	}
	v.Host, v.Port, ok = splitHostPort(trimRight(rest))
	return v, protocol, ok
}

// viaProtocol reads protocol-name SLASH protocol-version SLASH, with white space around each.
func viaProtocol(s string) (rest string, protocol, ok bool) {
	protocol = true
	for _, want := range [...]string{"SIP", "2.0"} {
		s = trimLeft(s)
		n := spanClass(s, cToken)
		if n == 0 {
			return "", false, false
		}
		protocol = protocol && equalFold(s[:n], want)
		s = trimLeft(s[n:])
		if s == "" || s[0] != '/' {
			return "", false, false
		}
		s = s[1:]
	}
	return trimLeft(s), protocol, true
}

// Branch is the branch parameter; "" if there is none.
func (v Via) Branch() string {
	b, _ := v.Params.Get("branch")
	return b
}

// Received is the received parameter (RFC 3261 §18.2.1); the zero Addr if it is missing or no address.
// IPv6 addresses are understood with and without brackets (RFC 5118 §4.5).
func (v Via) Received() netip.Addr {
	s, _ := v.Params.Get("received")
	a, _ := parseReceived(s)
	return a
}

// RPort is the rport parameter (RFC 3581): present tells whether it is there, port is 0 while it has no value.
func (v Via) RPort() (port uint16, present bool) {
	s, ok := v.Params.Get("rport")
	if !ok {
		return 0, false
	}
	n, ok := parseUint(s)
	if !ok || n > 65535 {
		return 0, true
	}
	return uint16(n), true
}

// Addr is the sent-by host as an address; false when it is a name.
func (v Via) Addr() (netip.Addr, bool) { return hostAddr(v.Host) }

// String writes the value.
func (v Via) String() string {
	b := make([]byte, 0, 128)
	b = append(b, "SIP/2.0/"...)
	b = append(b, v.Transport...)
	b = append(b, ' ')
	b = append(b, v.Host...)
	if v.Port != 0 {
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(v.Port), 10)
	}
	return string(append(b, v.Params...))
}
