package sip

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seed adds every message in testdata and the texts given.
func seed(f *testing.F, texts ...string) {
	f.Helper()
	files, err := filepath.Glob("testdata/rfc*/*")
	if err != nil || len(files) == 0 {
		f.Fatal("no test data", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(typical))
	for _, text := range texts {
		f.Add([]byte(text))
	}
}

// FuzzParse: no panic on any input; what is good stays good and the same when it is written again;
// every accessor agrees with the rows; whatever can be answered gets a response that is well-formed.
func FuzzParse(f *testing.F) {
	seed(f, request("a:b\r\n c", " : x", "\t\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(bytes.Clone(data))
		e := Check(m)
		if err != nil && e == nil {
			t.Fatal("Check forgets what Parse said")
		}
		rows := 0
		for name, h := range m.Headers() {
			rows++
			if LookupHeader(name) != h.ID || strings.ContainsAny(name, "\r\n: \t") && err == nil {
				t.Fatalf("row %q %v", name, h)
			}
			if err == nil && strings.ContainsAny(h.Value, "\r\n") || h.Value != trim(h.Value) && err == nil {
				t.Fatalf("row %q %q", name, h.Value)
			}
			if !m.Has(h.ID) || h.ID != HOther && m.Count(h.ID) == 0 {
				t.Fatalf("%v is lost", h)
			}
		}
		for v := range m.Values(HVia) {
			_, _ = ParseVia(v)
		}
		_, _ = m.URI()
		_, _, _ = m.Contacts()
		_, _ = m.ContentType()
		from, fromErr := m.From()
		if fromErr == nil && from.Tag() != m.FromTag() {
			t.Fatalf("tags %q and %q", from.Tag(), m.FromTag())
		}
		if m.Answerable() {
			resp, err := Parse(NewResponse(m, 400, "").Bytes())
			if resp.Status() != 400 || err != nil && m.Err() == nil {
				t.Fatalf("response: %v\n%q", err, resp.Bytes())
			}
		}
		if err != nil {
			return
		}
		out, err := Parse(m.Edit().Bytes())
		if err != nil {
			t.Fatalf("%v\n%q", err, m.Edit().Bytes())
		}
		if rowsOf(out) != rowsOf(m) || !bytes.Equal(out.Body(), m.Body()) || out.RequestURI() != m.RequestURI() || out.Method() != m.Method() || out.Status() != m.Status() {
			t.Fatalf("%q\n%q", m.Bytes(), out.Bytes())
		}
		if (Check(out) == nil) != (e == nil) {
			t.Fatalf("%v, then %v", e, Check(out))
		}
	})
}

// FuzzFrame: Frame never runs past the buffer, says the same whatever way the stream is cut, and agrees with Parse.
func FuzzFrame(f *testing.F) {
	seed(f, typical+typical, "\r\n\r\n"+typical, "OPTIONS sip:h SIP/2.0\r\nl: 5\r\n\r\nhello")
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Frame(data, DefaultLimits())
		if n < 0 || n > len(data) {
			t.Fatalf("n = %d of %d", n, len(data))
		}
		if err != nil {
			if e := asError(err); e.Status != 400 && e.Status != 413 {
				t.Fatal(err)
			}
			m, _ := Parse(bytes.Clone(data[:n]))
			_ = m.Answerable()
			return
		}
		if n == 0 {
			return
		}
		for _, cut := range []int{n - 1, n / 2, 1} {
			if k, err := Frame(data[:cut], DefaultLimits()); k != 0 || err != nil {
				t.Fatalf("cut at %d of %d: %d, %v", cut, n, k, err)
			}
		}
		m, err := Parse(bytes.Clone(data[:n]))
		if err == nil && len(m.Body()) > 0 && !bytes.HasSuffix(data[:n], m.Body()) {
			t.Fatalf("body %q", m.Body())
		}
		if length, ok := m.Int(HContentLength); err == nil && (!ok || int(length) != len(m.Body())) {
			t.Fatalf("%d bytes of %d", len(m.Body()), length)
		}
	})
}

// FuzzURI: what is read is written so that it is read the same; equality is reflexive and symmetric; an AOR is stable.
func FuzzURI(f *testing.F) {
	for _, s := range []string{"sip:alice:pw@[::1]:5061;transport=tcp;lr?a=b&c=%20", "sips:h", "tel:+1-2;x=y", "sip:a%00;b?c@h;x=%41", "urn:x:y", "sip:a@1.2.3.4", "sip:a@[1:::1.2.3.4]"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		again, err := ParseURI(u.String())
		if err != nil || again != u {
			t.Fatalf("%q, %q: %+v, %v", s, u.String(), again, err)
		}
		if !u.Equal(u) {
			t.Fatalf("%q is not itself", s)
		}
		if v, err := ParseURI(other); err == nil && u.Equal(v) != v.Equal(u) {
			t.Fatalf("%q, %q", s, other)
		}
		if aor := u.AOR(); aor != "" {
			v, err := ParseURI("sip:" + aor)
			if err != nil || v.AOR() != aor {
				t.Fatalf("AOR %q of %q: %v", aor, s, err)
			}
		}
		_, _ = u.Addr()
	})
}

// FuzzNameAddr: as FuzzURI, with display names and parameters.
func FuzzNameAddr(f *testing.F) {
	for _, s := range []string{`"a \"b\" <x>, y" <sip:a@h;x?a=b>;tag=1;q="a;b"`, "sip:a@h;tag=x", "a b<sip:a@h>", "Jürgen <tel:+1> ; x = \"\\\x00\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNameAddr(s)
		if err != nil {
			return
		}
		if n.Tag() != tagOf(s) && !strings.ContainsAny(s, "\r\n") {
			t.Fatalf("%q: tags %q and %q", s, n.Tag(), tagOf(s))
		}
		again, err := ParseNameAddr(n.String())
		if strings.ContainsAny(n.Display, "\r\n\x00") {
			return // written as spaces
		}
		if err != nil && printable(n.Display) || err == nil && again != n {
			t.Fatalf("%q, %q: %+v, %+v, %v", s, n.String(), n, again, err)
		}
		for name := range n.Params.All() {
			if !n.Params.Has(name) || n.Params.Without(name).Has(name) {
				t.Fatalf("%q: parameter %q", s, name)
			}
			if v, _ := n.Params.With(name, "v w").Get(name); v != "v w" {
				t.Fatalf("%q: With(%q) gives %q", s, name, v)
			}
		}
	})
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// FuzzVia: what is read is written so that it is read the same.
func FuzzVia(f *testing.F) {
	for _, s := range []string{"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport;received=[::1]", "SIP / 2.0 / TCP [::1] : 5061 ; branch = x", "SIP/2.0/wss x.invalid;a=\"b;c\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkVias(s)
		v, err := ParseVia(s)
		if err != nil {
			return
		}
		again, err := ParseVia(v.String())
		if err != nil || again != v {
			t.Fatalf("%q, %q: %+v, %v", s, v.String(), again, err)
		}
		v.RPort()
		v.Received()
		if branch := "z9hG4bKnew"; (Via{Params: v.Params.With("branch", branch)}).Branch() != branch {
			t.Fatalf("%q: branch", s)
		}
	})
}

// FuzzCredentials: no panic, and nothing is read across a quote.
func FuzzCredentials(f *testing.F) {
	f.Add(`Digest username="a\"b", realm="x,y", nonce=z, uri="sip:h", response="r", nc=00000001`)
	f.Add(`NoOneKnowsThisScheme opaque-data=here`)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCredentials(s)
		if err != nil || !equalFold(c.Scheme, "Digest") {
			return
		}
		again, err := ParseCredentials(c.Scheme + " username=" + quote(c.Username) + ",realm=" + quote(c.Realm))
		if err == nil && (again.Username != clean(c.Username) || again.Realm != clean(c.Realm)) {
			t.Fatalf("%q: %+v, %+v", s, c, again)
		}
	})
}

func clean(s string) string { return strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(s) }

// FuzzDraft: an edited message parses, has what was put in, and all other rows as they were.
func FuzzDraft(f *testing.F) {
	add := func(data []byte) {
		f.Add(data, uint8(HVia), "SIP/2.0/UDP h;branch=z9hG4bKx", uint8(0))
		f.Add(data, uint8(HSubject), "a\r\nX: y", uint8(2))
	}
	add([]byte(typical))
	for _, file := range []string{"wsinv", "longreq", "intmeth", "esc02", "mpart01", "inv2543"} {
		data, err := os.ReadFile("testdata/rfc4475/" + file + ".dat")
		if err != nil {
			f.Fatal(err)
		}
		add(data)
	}
	for op := range uint8(8) {
		f.Add([]byte(request("Route: <sip:a>, <sip:b>", "l: 2")+"hi"), uint8(HRoute), "<sip:c;lr>", op)
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint8, value string, op uint8) {
		m, err := Parse(bytes.Clone(data))
		if err != nil {
			return
		}
		id := HeaderID(which%uint8(numHeaders-1)) + 1
		switch id {
		case HVia, HRoute, HRecordRoute, HContact, HSubject, HSupported, HUserAgent, HPath, HExpires:
		default:
			return // headers that Parse itself reads could be spoilt by the value
		}
		if len(value) > 1000 || len(m.fields) > 200 || m.hdr > 10000 {
			return
		}
		d := m.Edit()
		has := true
		switch op % 8 {
		case 0:
			d.Prepend(id, value)
		case 1:
			d.Add(id, value)
		case 2:
			d.Set(id, value)
		case 3:
			d.ReplaceFirst(id, value)
		case 4:
			d.Remove(id)
			has = false
		case 5:
			d.RemoveFirst(id)
			has = false
		case 6:
			d.RemoveName(id.String())
			has = false
		case 7:
			d.Body("text/plain", []byte(value)).Add(id, value)
		}
		out := d.Bytes()
		got, err := Parse(bytes.Clone(out))
		if err != nil {
			// The edit itself may break a rule: a second row of a single header, more or no Vias.
			if e := asError(err); isSingle(id) || id == HVia || e.Reason == "Line Too Long" {
				return
			}
			t.Fatalf("%v\n%q", err, out)
		}
		if has && !strings.Contains(rowsOf(got), trim(clean(value))) {
			t.Fatalf("%q is lost in\n%q", value, out)
		}
		skip := func(h Header) bool {
			return h.ID == id || h.ID == HContentLength || op%8 == 7 && (h.ID == HContentType || h.ID == HContentEncoding)
		}
		if x, y := otherRows(m, skip), otherRows(got, skip); x != y {
			t.Fatalf("other rows differ:\n%s\n---\n%s", x, y)
		}
		if op%8 != 7 && !bytes.Equal(m.Body(), got.Body()) || got.Count(HContentLength) != 1 {
			t.Fatalf("body %q\n%q", m.Body(), out)
		}
		if n, err := Frame(out, Limits{}); n != len(out) || err != nil {
			t.Fatalf("Frame = %d of %d, %v", n, len(out), err)
		}
	})
}

func otherRows(m *Message, skip func(Header) bool) string {
	var b strings.Builder
	for name, h := range m.Headers() {
		if !skip(h) {
			b.WriteString(name + "=" + h.Value + "\n")
		}
	}
	return b.String()
}
