package route

import (
	"net/netip"
	"testing"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

func TestPortless(t *testing.T) {
	for s, want := range map[string]bool{"192.0.2.1": true, "192.0.2.1:5060": false, "[2001:db8::1]": true, "[2001:db8::1]:443": false, "a.example": true, "a.example:1": false} {
		if got := portless(s); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}

// A Record-Route value is a URI that leads back to the flow it was made for,
// over every transport and both families.
func TestRecordRoute(t *testing.T) {
	key := []byte("0123456789abcdef")
	for _, row := range []struct {
		kind   transport.Kind
		sentBy string
		secure bool
		scheme string
		host   string
		port   uint16
		tr     string
	}{
		{transport.UDP, "192.0.2.1:5062", false, "sip", "192.0.2.1", 5062, ""},
		{transport.UDP, "192.0.2.1", false, "sip", "192.0.2.1", 0, ""},
		{transport.TCP, "[2001:db8::1]:5060", false, "sip", "[2001:db8::1]", 5060, "tcp"},
		{transport.TLS, "192.0.2.1", false, "sip", "192.0.2.1", 5061, "tls"},
		{transport.TLS, "192.0.2.1:5071", true, "sips", "192.0.2.1", 5071, "tcp"},
		{transport.WS, "192.0.2.1:8080", false, "sip", "192.0.2.1", 8080, "ws"},
		{transport.WSS, "[2001:db8::1]", false, "sip", "[2001:db8::1]", 443, "wss"},
		{transport.WSS, "192.0.2.1:8443", true, "sips", "192.0.2.1", 8443, "ws"},
	} {
		f := transport.Pipe(transport.PipeOptions{Kind: row.kind, Local: netip.MustParseAddrPort("[2001:db8::1]:5060"), Remote: netip.MustParseAddrPort("192.0.2.9:1024"),
			Send: func([]byte) error { return nil }})
		v := recordRoute(key, fakeVia{row.sentBy, f}, f, "call", row.secure)
		n, err := sip.ParseNameAddr(v)
		if err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		tr, _ := n.URI.Params.Get("transport")
		if n.URI.Scheme != row.scheme || n.URI.Host != row.host || n.URI.Port != row.port || tr != row.tr || !isToken(n.URI) {
			t.Errorf("%s", v)
		}
		tok, err := decodeToken(key, n.URI.User, "call")
		if err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		if got, ok := tok.flow(fakeVia{row.sentBy, f}); !ok || got != f {
			t.Errorf("%s leads to another flow", v)
		}
		if _, err := decodeToken([]byte("another key 6789"), n.URI.User, "call"); err == nil {
			t.Error("verified with another key")
		}
	}
}

// fakeVia is a transport with one flow.
type fakeVia struct {
	sentBy string
	f      transport.Flow
}

func (v fakeVia) Via(transport.Flow) (string, string)           { return "X", v.sentBy }
func (v fakeVia) Flow(transport.Target) (transport.Flow, error) { return v.f, nil }
func (v fakeVia) Lookup(id uint64) (transport.Flow, bool)       { return v.f, v.f.ID() == id }
func (v fakeVia) UDPFlow(l, r netip.AddrPort) (transport.Flow, bool) {
	return v.f, l == v.f.Local() && r == v.f.Remote()
}

// FuzzToken feeds whatever somebody writes into a Route.
func FuzzToken(f *testing.F) {
	key := []byte("0123456789abcdef")
	f.Add("~AQAAAAAAAAAB", "call")
	f.Add(token{kind: tokenConn, id: 7}.encode(key, "call"), "call")
	f.Add(token{kind: tokenUDP, local: netip.MustParseAddrPort("192.0.2.1:1"), remote: netip.MustParseAddrPort("[::1]:2")}.encode(key, "x"), "x")
	f.Fuzz(func(t *testing.T, user, callID string) {
		tok, err := decodeToken(key, user, callID)
		if err == nil && tok.encode(key, callID) != user {
			t.Fatalf("%q verified, but is %q", user, tok.encode(key, callID))
		}
	})
}
