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
func ParseVia(s string) (v Via, err error) {
	if protocol, ok := v.parseHead(s); !ok || !protocol || v.Params != "" && !v.Params.valid() {
		return Via{}, bad("Malformed Via Header", s)
	}
	return v, nil
}

// parseHead reads a Via value into v, which is zero, without looking into its parameters. protocol tells
// whether it says SIP/2.0.
func (v *Via) parseHead(s string) (protocol, ok bool) {
	if protocol = strings.HasPrefix(s, "SIP/2.0/"); protocol {
		s = trimLeft(s[len("SIP/2.0/"):])
	} else if s, protocol, ok = viaProtocol(s); !ok {
		return false, false
	}
	n := spanClass(s, cToken)
	if n == 0 || n == len(s) || !isSpace(s[n]) {
		return false, false
	}
	v.Transport, s = toUpper(s[:n]), trimLeft(s[n:])
	if n = scanHost(s); n < 0 {
		return false, false
	}
	v.Host, s = s[:n], trimLeft(s[n:])
	if s != "" && s[0] == ':' {
		s = trimLeft(s[1:])
		if v.Port, n = scanPort(s); n == 0 {
			return false, false
		}
		s = trimLeft(s[n:])
	}
	v.Params = Params(s)
	return protocol, s == "" || s[0] == ';'
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
