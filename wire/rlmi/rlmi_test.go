package rlmi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/wire/xmlsafe"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of RFC 4662 §5.1 and §6. In the second one the RFC has a stray quotation mark, which the file has not.
func TestExamples(t *testing.T) {
	want := &List{
		URI: "sip:adam-friends@lists.vancouver.example.com", Version: 7, Full: true,
		Names: []Name{{"en", "Buddy List"}, {"fr", "Liste d'amis"}},
		Resources: []Resource{
			{"sip:bob@vancouver.example.com", []Name{{"", "Bob Smith"}}, []Instance{{"juwigmtboe", Active, "", "12345.aaa@vancouver.example.com"}}},
			{"sip:dave@vancouver.example.com", []Name{{"", "Dave Jones"}}, []Instance{{"hqzsuxtfyq", Active, "", "12345.aab@vancouver.example.com"}}},
			{"sip:jim@vancouver.example.com", []Name{{"", "Jim"}}, []Instance{{"oflzxqzuvg", Terminated, "rejected", ""}}},
			{"sip:ed@vancouver.example.com", []Name{{"", "Ed"}}, []Instance{{"grqhzsppxb", Pending, "", ""}}},
		},
	}
	got, err := ParseList(read(t, "rfc4662-5.1.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	got, err = ParseList(want.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("written and read again (-want +got):\n%s", d)
	}

	m, err := Parse(`multipart/related;type="application/rlmi+xml";
       start="<nXYxAE@pres.vancouver.example.com>";
       boundary="50UBfW7LSCVLtggUPe5z"`, read(t, "rfc4662-6.multipart"), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if m.List.URI != "sip:adam-friends@pres.vancouver.example.com" || len(m.List.Resources) != 4 || len(m.List.Resources[2].Instances) != 0 || len(m.Parts) != 2 {
		t.Errorf("got %+v", m.List)
	}
	for i, uri := range []string{"sip:bob@vancouver.example.com", "sip:dave@vancouver.example.com"} {
		p, ok := m.Part(m.List.Resources[i].Instances[0].CID)
		if !ok || p.ContentType != `application/pidf+xml;charset="UTF-8"` || !bytes.Contains(p.Body, []byte(`entity="`+uri+`"`)) || !bytes.HasSuffix(bytes.TrimSpace(p.Body), []byte("</presence>")) {
			t.Errorf("%s: %v %+v\n%s", uri, ok, p.ContentType, p.Body)
		}
	}
}

// compose writes a list of n contacts, all with a state.
func compose(b []byte, boundary string, n int, part []byte) ([]byte, string, error) {
	w := NewWriter(b, boundary, "pres.example.org")
	w.Start("sip:alice-contacts@example.org", 3, false, Name{"en", "Contacts"})
	for i := range n {
		w.Resource("sip:user@example.org", "Some Body")
		w.Instance("1", Active, "", i+1)
	}
	w.Resource("sip:gone@example.org", "")
	w.Instance("x", Terminated, "", 0)
	w.Instance("y", Pending, "", 0)
	for range n {
		w.PartBytes("application/pidf+xml", part)
	}
	b, err := w.Close()
	return b, w.Type(), err
}

func TestWriter(t *testing.T) {
	boundary := Boundary([]byte{1, 2, 3, 0xff})
	b, contentType, err := compose([]byte("before"), boundary, 2, []byte("<presence/>"))
	if err != nil {
		t.Fatal(err)
	}
	b = b[len("before"):]
	m, err := Parse(contentType, b, DefaultLimits)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	cid := func(n int) string { return fmt.Sprintf("%d.parley-010203ff@pres.example.org", n) }
	want := &Message{
		List: List{URI: "sip:alice-contacts@example.org", Version: 3, Names: []Name{{"en", "Contacts"}}, Resources: []Resource{
			{"sip:user@example.org", []Name{{"", "Some Body"}}, []Instance{{"1", Active, "", cid(1)}}},
			{"sip:user@example.org", []Name{{"", "Some Body"}}, []Instance{{"1", Active, "", cid(2)}}},
			{"sip:gone@example.org", nil, []Instance{{"x", Terminated, "noresource", ""}, {"y", Pending, "", ""}}},
		}},
		Parts: []Part{{cid(1), "application/pidf+xml", []byte("<presence/>")}, {cid(2), "application/pidf+xml", []byte("<presence/>")}},
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// A reader that is not ours sees the same parts.
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["start"] != "<"+cid(0)+">" || params["type"] != ContentType {
		t.Fatal(params, err)
	}
	r := multipart.NewReader(bytes.NewReader(b), params["boundary"])
	for i := range 3 {
		p, err := r.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil || p.Header.Get("Content-Id") != "<"+cid(i)+">" || i > 0 && string(body) != "<presence/>" {
			t.Errorf("part %d: %v\n%s", i, p.Header, body)
		}
		if i == 0 && xmlsafe.Check(body, 10000, 4) != nil {
			t.Errorf("the root: %s", body)
		}
	}
}

// Names and addresses are text of users, and bodies are too.
func TestWriterIsSafe(t *testing.T) {
	const evil = "\"/><x>&\r\n--b--\x00"
	w := NewWriter(nil, "b", "h")
	w.Start(evil, 0, true, Name{evil, evil})
	w.Instance("lost", Active, "", 1) // no resource to stand in
	w.Resource(evil, evil)
	w.Instance(evil, Terminated, evil, 0)
	if n := w.Part("text/plain", func(b []byte) []byte { return append(b, "-- b --x"...) }); n != 1 {
		t.Errorf("part %d", n)
	}
	b, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(w.Type(), b, DefaultLimits)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if l := m.List; len(l.Resources) != 1 || len(l.Resources[0].Instances) != 1 || l.Resources[0].Instances[0].Reason != "\"/><x>&\r\n--b--\ufffd" || len(m.Parts) != 1 {
		t.Errorf("got %+v", m)
	}
	for body, want := range map[string]error{"--b": ErrBoundary, "x\r\n--b--": ErrBoundary, "---b": ErrBoundary, "-b": nil, "--": nil, "": nil, "-": nil} {
		w := NewWriter(nil, "b", "h")
		w.Start("sip:a@b", 0, true)
		w.PartBytes("text/plain", []byte(body))
		if _, err := w.Close(); !errors.Is(err, want) {
			t.Errorf("%q: %v", body, err)
		}
		w = NewWriter(nil, "b", "h")
		w.Start("sip:a@b", 0, true)
		w.Part("text/plain", func(b []byte) []byte { return append(b, body...) })
		if _, err := w.Close(); !errors.Is(err, want) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// A list in the list: the part is a body of its own (RFC 4662 §5.5).
func TestNested(t *testing.T) {
	inner, innerType, err := compose(nil, "inner", 1, []byte("<presence/>"))
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(nil, "outer", "h")
	w.Start("sip:l@h", 0, true)
	w.Resource("sip:m@h", "")
	w.Instance("1", Active, "", 1)
	w.PartBytes(innerType, inner)
	b, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(w.Type(), b, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := m.Part(m.List.Resources[0].Instances[0].CID)
	if !ok {
		t.Fatal("the part is not there")
	}
	if m, err = Parse(p.ContentType, p.Body, DefaultLimits); err != nil || len(m.Parts) != 1 || m.List.URI != "sip:alice-contacts@example.org" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, ok := m.Part(""); ok {
		t.Error("no cid finds a part")
	}
}

func TestRefuses(t *testing.T) {
	const list = `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="0" fullState="true">`
	for doc, want := range map[string]error{
		`<!DOCTYPE list>` + list + `</list>`: xmlsafe.ErrForbidden,
		list:                                 xmlsafe.ErrSyntax,
		`<list uri="sip:a@b" version="0" fullState="true"/>`:                                    ErrInvalid,
		strings.Replace(list, `"0"`, `"-1"`, 1) + `</list>`:                                     ErrInvalid,
		strings.Replace(list, `"0"`, `"4294967296"`, 1) + `</list>`:                             ErrInvalid,
		strings.Replace(list, `"true"`, `"x"`, 1) + `</list>`:                                   ErrInvalid,
		strings.Replace(list, `sip:a@b`, ``, 1) + `</list>`:                                     ErrInvalid,
		list + `<resource/></list>`:                                                             ErrInvalid,
		list + `<resource uri="x"><instance id="1"/></resource></list>`:                         ErrInvalid,
		list + `<resource uri="x"><instance state="active"/></resource></list>`:                 ErrInvalid,
		list + strings.Repeat("<a>", 20) + strings.Repeat("</a>", 20) + `</list>`:               xmlsafe.ErrTooDeep,
		list + strings.Repeat("<a/>", 30000) + `</list>`:                                        xmlsafe.ErrTooMany,
		list + `<x:y xmlns:x="urn:x"><resource/></x:y><resource uri="x"><x/></resource></list>`: nil,
	} {
		if _, err := ParseList([]byte(doc)); !errors.Is(err, want) {
			t.Errorf("%.150s: got %v, want %v", doc, err, want)
		}
	}
	const related = "multipart/related;boundary=b"
	root := "--b\r\nContent-Type: application/rlmi+xml\r\n\r\n" + list + "</list>\r\n"
	for _, r := range []struct {
		name, contentType, body string
		want                    error
	}{
		{"least", related, root + "--b--", nil},
		{"line feeds, preamble, folded headers, a longer boundary inside", related, strings.ReplaceAll("preamble\r\n"+root+"--b\r\nContent-Type:\r\n text/plain\r\n\r\n\r\n--bb\r\n x --b\r\n--b--\r\nend", "\r\n", "\n"), nil},
		{"space behind the boundary", related, "--b \r\n" + root[5:] + "--b--", nil},
		{"other type", "multipart/mixed;boundary=b", root + "--b--", ErrFormat},
		{"no type", "", root + "--b--", ErrFormat},
		{"no boundary parameter", "multipart/related", root + "--b--", ErrFormat},
		{"long boundary", "multipart/related;boundary=" + strings.Repeat("b", 71), root + "--b--", ErrFormat},
		{"no closing boundary", related, root, ErrFormat},
		{"no part", related, "--b--", ErrFormat},
		{"empty", related, "", ErrFormat},
		{"start is not there", related + `;start="<x>"`, root + "--b--", ErrFormat},
		{"root of another type", related, "--b\r\n\r\nx\r\n--b--", ErrFormat},
		{"base64", related, root + "--b\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--", ErrFormat},
		{"headers without an end", related, root + "--b\r\n" + strings.Repeat("a: b\r\n", 1000) + "\r\n\r\n--b--", ErrFormat},
		{"folding without an end", related, root + "--b\r\na: b" + strings.Repeat("\r\n c", 2000) + "\r\n\r\n\r\n--b--", ErrFormat},
		{"parts at the limit", related, root + strings.Repeat("--b\r\n\r\nx\r\n", 9) + "--b--", nil},
		{"parts over the limit", related, root + strings.Repeat("--b\r\n\r\nx\r\n", 10) + "--b--", ErrTooLarge},
		{"bytes over the limit", related, root + "--b--" + strings.Repeat(" ", 20000), ErrTooLarge},
		{"xml", related, "--b\r\nContent-Type: application/rlmi+xml\r\n\r\n<!DOCTYPE x><x/>\r\n--b--", xmlsafe.ErrForbidden},
	} {
		_, err := Parse(r.contentType, []byte(r.body), Limits{Bytes: 20000, Parts: 10})
		if !errors.Is(err, r.want) {
			t.Errorf("%s: got %v, want %v", r.name, err, r.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`multipart/related;boundary="50UBfW7LSCVLtggUPe5z"`, read(f, "rfc4662-6.multipart"))
	b, contentType, err := compose(nil, "b", 2, []byte("<presence/>"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(contentType, b)
	f.Add("multipart/related;boundary=b", []byte("--b\nContent-Type:\n application/rlmi+xml\n\n<list xmlns=\"urn:ietf:params:xml:ns:rlmi\" uri=\"a\" version=\"0\" fullState=\"1\"/>\n--b--"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		m, err := Parse(contentType, body, Limits{Bytes: 100000, Parts: 10})
		if err != nil {
			return
		}
		if len(m.Parts) >= 10 {
			t.Fatalf("%d parts", len(m.Parts))
		}
		again, err := ParseList(m.List.Append(nil))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if d := cmp.Diff(&m.List, again); d != "" {
			t.Fatal(d)
		}
	})
}

// 50 contacts; the bodies of the parts are there already.
func BenchmarkWriter(b *testing.B) {
	part := []byte("<presence/>")
	var room []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if room, _, err = compose(room[:0], "parley-0123456789abcdef0123456789abcdef", 50, part); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	body, contentType, err := compose(nil, "parley-0123456789abcdef0123456789abcdef", 50, []byte("<presence/>"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(contentType, body, DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}

// What Linphone compares letter by letter: the cid and the value of the header named "Content-Id".
func TestAngled(t *testing.T) {
	w := NewWriter(nil, "b", "h")
	w.Angled = true
	w.Start("sip:a@h", 0, true)
	w.Resource("sip:b@h", "")
	w.Instance("1", Active, "", 1)
	w.PartBytes("text/plain", []byte("x"))
	body, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`cid="&lt;1.b@h&gt;"`, "\r\nContent-Id: <1.b@h>\r\n"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if want := ";boundary=b"; !strings.HasSuffix(w.Type(), want) {
		t.Errorf("%s does not end with %s", w.Type(), want)
	}
}
