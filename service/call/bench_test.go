package call

import (
	"testing"

	"github.com/parley-im/parley/wire/sip"
)

// BenchmarkListen is what the rule costs for a response that says nothing new.
func BenchmarkListen(b *testing.B) {
	m, err := sip.Parse([]byte("SIP/2.0 200 OK\r\n" +
		"Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK00000022244438533a0aad831275932b.L1j5et2s\r\n" +
		"Via: SIP/2.0/TCP 198.51.100.7:52329;branch=z9hG4bKtest32702;rport=52329;received=198.51.100.7\r\n" +
		"Record-Route: <sip:~ARUkoLBevyLKS83gYNXC7edoOrv@192.0.2.1:5060;transport=tcp;lr>\r\n" +
		"Record-Route: <sip:~ARUkoLBevyLKS83gYNXC7edoOrv@192.0.2.1:5060;transport=tcp;lr>\r\n" +
		"From: \"Alice\" <sip:alice@example.com>;tag=a73kszlfl\r\nTo: <sip:bob@example.com>;tag=b83kszlfl\r\n" +
		"Call-ID: a84b4c76e66710@pc33.example.com\r\nCSeq: 314159 INVITE\r\nContact: <sip:bob@198.51.100.8:5060;transport=tcp>\r\n" +
		"Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, INFO, MESSAGE, UPDATE, REFER\r\nSupported: gruu, outbound, timer, replaces\r\n" +
		"Session-Expires: 1800;refresher=uac\r\nServer: baresip v1.0.0 (x86_64/linux)\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		b.Fatal(err)
	}
	ear := newEar()
	known := memory{}
	known.add(ear.listen(m, known, false).sums)
	b.ReportAllocs()
	for b.Loop() {
		if p := ear.listen(m, known, false); !p.empty() {
			b.Fatal(p.rows)
		}
	}
}
