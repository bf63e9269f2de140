package sip

import (
	"os"
	"testing"
)

// routable does what it takes to route a message: see BenchmarkParseMessage.
func routable(m *Message, data []byte) bool {
	if m.Parse(data) != nil {
		return false
	}
	via, err := m.TopVia()
	if err != nil || via.Branch() == "" {
		return false
	}
	cseq, err := m.CSeq()
	if err != nil || cseq.Method != m.Method() || m.FromTag() == "" || m.ToTag() != "" || m.CallID() == "" {
		return false
	}
	u, err := m.URI()
	return err == nil && u.Host == "example.com"
}

// BenchmarkParseMessage takes a typical MESSAGE from bytes to "routable": start line, header index, mandatory headers
// checked, top Via with branch, CSeq, From and To tags, Call-ID, host of the Request-URI.
func BenchmarkParseMessage(b *testing.B) {
	data := []byte(typical)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	m := new(Message)
	for b.Loop() {
		if !routable(m, data) {
			b.Fatal("not routable")
		}
	}
}

// BenchmarkParseFolded reads the RFC 4475 message that is folded and spaced everywhere.
func BenchmarkParseFolded(b *testing.B) {
	original, err := os.ReadFile("testdata/rfc4475/wsinv.dat")
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, len(original))
	b.ReportAllocs()
	m := new(Message)
	for b.Loop() {
		copy(data, original)
		if m.Parse(data) != nil {
			b.Fatal("does not parse")
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	m := mustParse(b, typical)
	b.ReportAllocs()
	for b.Loop() {
		if e := Check(m); e != nil {
			b.Fatal(e)
		}
	}
}

func BenchmarkFrame(b *testing.B) {
	data := []byte(typical + typical)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := Frame(data, Limits{}); n != len(typical) || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkForward splices a message for its next hop: our Via in front, our Route off, Max-Forwards one less.
func BenchmarkForward(b *testing.B) {
	m := mustParse(b, typical)
	b.ReportAllocs()
	for b.Loop() {
		d := m.Edit().Prepend(HVia, "SIP/2.0/TCP proxy.example.com:5060;branch=z9hG4bK0123456789abcdef").RemoveFirst(HRoute).Set(HMaxForwards, "69")
		if len(d.Bytes()) < len(typical) {
			b.Fatal("too short")
		}
	}
}

func BenchmarkResponse(b *testing.B) {
	m := mustParse(b, typical)
	b.ReportAllocs()
	for b.Loop() {
		if len(NewResponse(m, 200, "").SetToTag("0123456789").Bytes()) < 100 {
			b.Fatal("too short")
		}
	}
}

// TestAllocations: reading and checking a good message allocates nothing.
func TestAllocations(t *testing.T) {
	data := []byte(typical)
	m := new(Message)
	uri, _ := ParseURI("sip:BOB@example.com;transport=tcp")
	for name, f := range map[string]func() bool{
		"parse":  func() bool { return routable(m, data) },
		"check":  func() bool { return Check(m) == nil },
		"frame":  func() bool { n, err := Frame(data, Limits{}); return n == len(data) && err == nil },
		"from":   func() bool { n, err := m.From(); return err == nil && n.Display == "Alice Example" },
		"tokens": func() bool { return m.HasToken(HSupported, "GRUU") && !m.HasToken(HRequire, "x") },
		"int":    func() bool { n, ok := m.Int(HMaxForwards); return n == 70 && ok },
		"values": func() bool {
			n := 0
			for range m.Values(HSupported) {
				n++
			}
			for range m.Values(HRoute) {
				n++
			}
			return n == 4
		},
		"type":  func() bool { s, p := m.ContentType(); return s == "text/plain" && p.Has("charset") },
		"equal": func() bool { u, err := m.URI(); return err == nil && !u.Equal(uri) },
		"name":  func() bool { return m.GetName("user-agent") != "" && m.GetName("X-None") == "" },
	} {
		if !routable(m, data) {
			t.Fatal("not routable")
		}
		if n := testing.AllocsPerRun(100, func() {
			if !f() {
				t.Fatalf("%s is wrong", name)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
