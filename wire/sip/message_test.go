package sip

import (
	"strings"
	"testing"
)

// typical is the 660-byte MESSAGE of the benchmark.
var typical = strings.ReplaceAll(`MESSAGE sip:bob@example.com;transport=tcp SIP/2.0
Via: SIP/2.0/TCP 192.0.2.17:50412;branch=z9hG4bK.Zk2Xb9vQe;rport
From: "Alice Example" <sip:alice@example.com>;tag=q7Bn3kLm2
To: <sip:bob@example.com>
CSeq: 21 MESSAGE
Call-ID: 8mZ4kVq1xT-3fG9hJ2kL5nP7rS
Max-Forwards: 70
Supported: replaces, outbound, gruu
Route: <sip:proxy.example.com;transport=tcp;lr>
Date: Sat, 13 Nov 2010 23:29:00 GMT
User-Agent: Example-Client/5.2.0
Contact: <sip:alice@192.0.2.17:50412;transport=tcp>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"
Content-Type: text/plain;charset=UTF-8
Content-Length: 50

Watson, come here; bring the notes from Tuesday.
`, "\n", "\r\n")

func TestParseTypical(t *testing.T) {
	m, err := Parse([]byte(typical))
	if err != nil {
		t.Fatal(err)
	}
	via, err := m.TopVia()
	if err != nil || via.Branch() != "z9hG4bK.Zk2Xb9vQe" || via.Host != "192.0.2.17" || via.Port != 50412 {
		t.Errorf("TopVia = %+v, %v", via, err)
	}
	if m.FromTag() != "q7Bn3kLm2" || m.ToTag() != "" || m.CallID() != "8mZ4kVq1xT-3fG9hJ2kL5nP7rS" {
		t.Errorf("tags %q %q, Call-ID %q", m.FromTag(), m.ToTag(), m.CallID())
	}
	if e := Check(m); e != nil {
		t.Errorf("Check = %v", e)
	}
	d := m.Edit().Prepend(HVia, "SIP/2.0/UDP h;branch=z9hG4bKx").RemoveFirst(HRoute).Set(HMaxForwards, "69")
	out := string(d.Bytes())
	want := strings.Replace(typical, "Via:", "Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\nVia:", 1)
	want = strings.Replace(want, "Route: <sip:proxy.example.com;transport=tcp;lr>\r\n", "", 1)
	want = strings.Replace(want, "Forwards: 70", "Forwards: 69", 1)
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}
