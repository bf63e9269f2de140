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
	var v Via
	rest, ok := viaProtocol(s)
	if !ok {
		return v, bad("Malformed Via Header", s)
	}
	n := spanClass(rest, cToken)
	if n == 0 || n == len(rest) || !isSpace(rest[n]) {
		return v, bad("Malformed Via Header", s)
	}
	v.Transport = toUpper(rest[:n])
	rest = trimLeft(rest[n:])
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		v.Params = Params(rest[i:])
		rest = rest[:i]
	}
	v.Host, v.Port, ok = splitHostPort(trimRight(rest))
	if !ok || v.Params != "" && !v.Params.valid() {
		return v, bad("Malformed Via Header", s)
	}
	return v, nil
}

// viaProtocol takes "SIP SLASH 2.0 SLASH" off the front.
func viaProtocol(s string) (rest string, ok bool) {
	const usual = "SIP/2.0/"
	if strings.HasPrefix(s, usual) {
		return trimLeft(s[len(usual):]), true
	}
	for _, word := range [...]string{"SIP", "/", "2.0", "/"} {
		s = trimLeft(s)
		if len(s) < len(word) || !equalFold(s[:len(word)], word) {
			return "", false
		}
		s = s[len(word):]
	}
	return trimLeft(s), true
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
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
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
