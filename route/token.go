package route

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// A flow token is the user part of the URIs that we put into Record-Route. It
// names the flow to one side of a dialog and carries a MAC over itself and the
// Call-ID, so that it is good for that dialog only. RFC 5626 §5.2.

const (
	tokenMark = "~"
	tokenConn = 1 // connection ID
	tokenUDP  = 2 // local and remote address
	macLen    = 12
)

var errToken = errors.New("route: flow token was changed or belongs to another dialog")

// token is what a flow token says. The zero token says nothing.
type token struct {
	kind          byte
	id            uint64
	local, remote netip.AddrPort
}

// tokenOf names a flow.
func tokenOf(f transport.Flow) token {
	if f.Kind() == transport.UDP {
		return token{kind: tokenUDP, local: f.Local(), remote: f.Remote()}
	}
	return token{kind: tokenConn, id: f.ID()}
}

// encode gives the user part for one dialog.
func (t token) encode(key []byte, callID string) string {
	b := make([]byte, 1, 64)
	b[0] = t.kind
	if t.kind == tokenConn {
		b = binary.BigEndian.AppendUint64(b, t.id)
	} else {
		b = appendAddr(appendAddr(b, t.local), t.remote)
	}
	b = append(b, tokenMAC(key, b, callID)...)
	return tokenMark + base64.RawURLEncoding.EncodeToString(b)
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	ip := a.Addr().Unmap().AsSlice()
	b = append(b, byte(len(ip)))
	b = append(b, ip...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

func tokenMAC(key, b []byte, callID string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	mac.Write([]byte(callID))
	return mac.Sum(nil)[:macLen]
}

// decodeToken reads and verifies a token.
func decodeToken(key []byte, user, callID string) (token, error) {
	s, ok := strings.CutPrefix(user, tokenMark)
	if !ok || len(s) > 128 {
		return token{}, errToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 1+macLen {
		return token{}, errToken
	}
	b, mac := b[:len(b)-macLen], b[len(b)-macLen:]
	if !hmac.Equal(mac, tokenMAC(key, b, callID)) {
		return token{}, errToken
	}
	t := token{kind: b[0]}
	b = b[1:]
	switch {
	case t.kind == tokenConn && len(b) == 8:
		t.id = binary.BigEndian.Uint64(b)
		return t, nil
	case t.kind == tokenUDP:
		if t.local, b, ok = cutAddr(b); !ok {
			return token{}, errToken
		}
		if t.remote, b, ok = cutAddr(b); !ok || len(b) != 0 {
			return token{}, errToken
		}
		return t, nil
	}
	return token{}, errToken
}

func cutAddr(b []byte) (netip.AddrPort, []byte, bool) {
	if len(b) < 1 || len(b) < 1+int(b[0])+2 {
		return netip.AddrPort{}, nil, false
	}
	n := int(b[0])
	ip, ok := netip.AddrFromSlice(b[1 : 1+n])
	if !ok && n != 0 {
		return netip.AddrPort{}, nil, false
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[1+n:])), b[3+n:], true
}

// flow finds the live flow of a token. A connection that is gone is not found.
func (t token) flow(tr Transport) (transport.Flow, bool) {
	switch t.kind {
	case tokenConn:
		f, ok := tr.Lookup(t.id)
		return f, ok && f.Alive()
	case tokenUDP:
		return tr.UDPFlow(t.local, t.remote)
	}
	return transport.Flow{}, false
}

// recordRoute is the Record-Route value towards the peer on flow f. The URI's
// host is the listener the peer already talks to.
func recordRoute(key []byte, tr Transport, f transport.Flow, callID string, secure bool) string {
	_, sentBy := tr.Via(f)
	user := tokenOf(f).encode(key, callID)
	if port := defaultPort(f.Kind()); port != 5060 && portless(sentBy) {
		// Said aloud: clients differ about the default port of these.
		sentBy += ":" + strconv.Itoa(int(port))
	}
	scheme, param := "sip", ""
	switch f.Kind() {
	case transport.TCP:
		param = ";transport=tcp"
	case transport.TLS:
		param = ";transport=tls"
		if secure {
			scheme, param = "sips", ";transport=tcp"
		}
	case transport.WS:
		param = ";transport=ws"
	case transport.WSS:
		param = ";transport=wss"
		if secure {
			scheme, param = "sips", ";transport=ws"
		}
	}
	return "<" + scheme + ":" + user + "@" + sentBy + param + ";lr>"
}

// portless tells whether host[:port] has no port.
func portless(hostport string) bool {
	return strings.LastIndexByte(hostport, ':') <= strings.LastIndexByte(hostport, ']') && strings.Count(hostport, ":") != 1
}

// isToken tells whether a URI looks like one of our Record-Route values.
func isToken(u sip.URI) bool {
	if !strings.HasPrefix(u.User, tokenMark) {
		return false
	}
	_, lr := u.Params.Get("lr")
	return lr
}
