package stun

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
)

// The two sample responses and the request of RFC 5769 §2.1 to §2.3, which
// RFC 8489 keeps (its Appendix B). Username and integrity are skipped over by
// this package, so only the rest is compared.
const (
	rfc5769Request = "000100582112a442b7e7a701bc34d686fa87dfae" +
		"80220010" + "5354554e207465737420636c69656e74" + // SOFTWARE
		"00240004" + "6e0001ff" + // PRIORITY
		"80290008" + "932ff9b151263b36" + // ICE-CONTROLLED
		"00060009" + "6576746a3a68367659202020" + // USERNAME
		"00080014" + "9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2" + // MESSAGE-INTEGRITY
		"80280004" + "e57a3bcf"
	rfc5769IPv4 = "0101003c2112a442b7e7a701bc34d686fa87dfae" +
		"8022000b" + "7465737420766563746f7220" +
		"00200008" + "0001a147e112a643" +
		"00080014" + "2b91f599fd9e90c38c7489f92af9ba53f06be7d7" +
		"80280004" + "c07d4c96"
	rfc5769IPv6 = "010100482112a442b7e7a701bc34d686fa87dfae" +
		"8022000b" + "7465737420766563746f7220" +
		"00200014" + "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9" +
		"00080014" + "a382954e4be67bf11784c97c8292c275bfe3ed41" +
		"80280004" + "c8fb0b4c"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseSamples(t *testing.T) {
	for _, row := range []struct {
		name, raw string
		kind      uint16
		mapped    string
		unknown   int
	}{
		{"request", rfc5769Request, BindingRequest, "", 1}, // PRIORITY is ICE's, which we do not speak
		{"IPv4 response", rfc5769IPv4, BindingResponse, "192.0.2.1:32853", 0},
		{"IPv6 response", rfc5769IPv6, BindingResponse, "[2001:db8:1234:5678:11:2233:4455:6677]:32853", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, err := Parse(unhex(t, row.raw))
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != row.kind || !m.Fingerprint || len(m.Unknown) != row.unknown {
				t.Errorf("got type %#x, fingerprint %v, unknown %v", m.Type, m.Fingerprint, m.Unknown)
			}
			if row.mapped != "" && m.Mapped != netip.MustParseAddrPort(row.mapped) {
				t.Errorf("mapped %v, want %v", m.Mapped, row.mapped)
			}
		})
	}
}

func TestRespond(t *testing.T) {
	tx := TxID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	for _, remote := range []string{"192.0.2.7:1", "127.0.0.1:65535", "[2001:db8::7]:5060", "[::ffff:192.0.2.7]:5060"} {
		addr := netip.MustParseAddrPort(remote)
		for _, marked := range []bool{false, true} {
			req := Request(tx)
			if marked {
				req = appendFingerprint(req)
			}
			out, err := Respond(req, addr)
			if err != nil {
				t.Fatal(err)
			}
			m, err := Parse(out)
			if err != nil {
				t.Fatalf("our own answer: %v", err)
			}
			want := netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
			if m.Type != BindingResponse || m.TxID != tx || m.Mapped != want || m.Fingerprint != marked {
				t.Errorf("%s: got %+v", remote, m)
			}
			if len(out) >= 3*len(req) {
				t.Errorf("%s: %d bytes answer %d", remote, len(out), len(req))
			}
		}
	}
}

func TestRespondRefusals(t *testing.T) {
	tx := TxID{9}
	unknown := header(nil, BindingRequest, tx)
	unknown = append(unknown, 0x00, 0x24, 0, 4, 1, 2, 3, 4)
	setLength(unknown)
	out, err := Respond(unknown, netip.MustParseAddrPort("192.0.2.1:5"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(out)
	if err != nil || m.Type != BindingError || m.Code != 420 || m.TxID != tx {
		t.Errorf("unknown attribute: got %+v, %v", m, err)
	}
	if len(out) >= 3*len(unknown) {
		t.Errorf("%d bytes answer %d", len(out), len(unknown))
	}

	indication := header(nil, BindingIndication, tx)
	if out, err := Respond(indication, netip.AddrPort{}); out != nil || err != nil {
		t.Errorf("indication: got %x, %v", out, err)
	}
	for name, b := range map[string][]byte{
		"short":             Request(tx)[:19],
		"no cookie":         bytes.Repeat([]byte{0}, 20),
		"length lies":       append(Request(tx), 0, 0, 0, 0),
		"length odd":        append(Request(tx), 0),
		"attribute runs on": unhex(t, "000100042112a442000000000000000000000000"+"80220010"),
		"wrong fingerprint": unhex(t, "000100082112a442000000000000000000000000"+"8028000400000000"),
		"SIP":               []byte("OPTIONS sip:a@b SIP/2.0\r\n\r\n"),
	} {
		if _, err := Respond(b, netip.AddrPort{}); !errors.Is(err, ErrNotSTUN) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	long := append(Request(tx), make([]byte, MaxLen)...)
	setLength(long)
	if _, err := Parse(long); !errors.Is(err, ErrMalformed) {
		t.Errorf("too long: got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, rfc5769Request))
	f.Add(unhex(f, rfc5769IPv4))
	f.Add(unhex(f, rfc5769IPv6))
	f.Add(Request(TxID{1}))
	f.Add(appendFingerprint(Request(TxID{2})))
	remote := netip.MustParseAddrPort("[2001:db8::1]:5060")
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := Respond(b, remote)
		if err != nil || out == nil {
			return
		}
		if len(out) >= 3*len(b) {
			t.Fatalf("%d bytes answer %d", len(out), len(b))
		}
		m, err := Parse(out)
		if err != nil {
			t.Fatalf("our own answer does not parse: %v", err)
		}
		if m.Type == BindingResponse && m.Mapped != remote {
			t.Fatalf("mapped %v", m.Mapped)
		}
	})
}
