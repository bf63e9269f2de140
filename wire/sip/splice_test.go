package sip

import (
	"strings"
	"testing"
)

// TestSetTopVia compares the splice with an edit that is parsed again.
func TestSetTopVia(t *testing.T) {
	many := request(strings.Repeat("X-Many: 1\r\n", 60) + "X-Last: 2")
	response := string(NewResponse(mustParse(t, typical), 200, "All is well").Bytes())
	shared := strings.Replace(typical, "z9hG4bK.Zk2Xb9vQe;rport", "z9hG4bK1 , SIP/2.0/UDP second;branch=z9hG4bK2", 1)
	folded := strings.Replace(typical, ";rport", "\r\n ;rport\r\n , SIP/2.0/UDP second", 1)
	late := request("v: SIP/2.0/UDP last")
	for _, text := range []string{typical, many, response, shared, folded, late, request() + strings.Repeat("x", 3000)} {
		for _, value := range []string{"x", "SIP/2.0/TCP 192.0.2.17:50412;branch=z9hG4bK.Zk2Xb9vQe;rport=50412;received=192.0.2.200", "a\r\nb", strings.Repeat("y", 5000)} {
			m := mustParse(t, text)
			buffer, before := m.Bytes(), string(m.Bytes())
			want, _ := Parse(m.Edit().ReplaceFirst(HVia, value).Bytes())
			got := m
			if err := m.SetTopVia(value); err != nil {
				t.Fatal(err)
			}
			if strings.ReplaceAll(rowsOf(got), " , ", ", ") != rowsOf(want) || string(got.Body()) != string(want.Body()) || got.HeaderLen() != len(got.Bytes())-len(got.Body()) {
				t.Errorf("got\n%.999s\nwant\n%.999s", got.Bytes(), want.Bytes())
			}
			if got.Method() != want.Method() || got.RequestURI() != want.RequestURI() || got.Status() != want.Status() || got.Reason() != want.Reason() || got.IsRequest() != want.IsRequest() {
				t.Errorf("start line of\n%s", got.Bytes())
			}
			// Every row is where a parser finds it.
			again := mustParse(t, string(got.Bytes()))
			if rowsOf(again) != rowsOf(got) {
				t.Errorf("got\n%.999s\nwant\n%.999s", rowsOf(again), rowsOf(got))
			}
			if a, b := string(got.Edit().Bytes()), string(again.Edit().Bytes()); a != b {
				t.Errorf("%q\n%q", a, b)
			}
			if string(buffer) != before {
				t.Error("the old buffer changed")
			}
		}
	}
	bad, _ := Parse([]byte(request("To: x")))
	if err := bad.SetTopVia("x"); err == nil {
		t.Error("a malformed message is spliced")
	}
	long := mustParse(t, typical)
	if err := long.SetTopVia(strings.Repeat("x", 65536)); statusOf(err) != 400 {
		t.Error("the header block passes its limit")
	}
	if string(long.Bytes()) != typical {
		t.Error("a splice that failed changed the message")
	}
}

func BenchmarkSetTopVia(b *testing.B) {
	m := mustParse(b, typical)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.SetTopVia("SIP/2.0/TCP 192.0.2.17:50412;branch=z9hG4bK.Zk2Xb9vQe;rport=50412;received=192.0.2.200"); err != nil {
			b.Fatal(err)
		}
	}
}
