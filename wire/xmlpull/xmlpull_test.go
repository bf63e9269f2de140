package xmlpull

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/parley-im/parley/wire/xmlsafe"
)

var testLimits = Limits{Bytes: 100000, Depth: 16}

// drain reads a whole document and writes down what it found, a line each.
func drain(doc []byte, lim Limits) (string, error) {
	var r Reader
	if err := r.Open(doc, lim); err != nil {
		return "", err
	}
	var b, text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			fmt.Fprintf(&b, "%q\n", text.String())
			text.Reset()
		}
	}
	for k := Start; k != EOF; k = r.Next() {
		switch k {
		case Start:
			flush()
			fmt.Fprintf(&b, "<%q %q", r.Space, r.Local)
			for _, a := range r.Attrs {
				fmt.Fprintf(&b, " %q %q=%q", a.Space, a.Local, a.Value)
			}
			b.WriteString("\n")
		case End:
			flush()
			b.WriteString("/\n")
		case Text:
			text.WriteString(r.Content)
		}
	}
	return b.String(), r.Close()
}

// standard does the same with encoding/xml.
func standard(doc []byte) (string, error) {
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(string(doc), "\ufeff")))
	var b, text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			fmt.Fprintf(&b, "%q\n", text.String())
			text.Reset()
		}
	}
	depth := 0
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.StartElement:
			flush()
			depth++
			fmt.Fprintf(&b, "<%q %q", t.Name.Space, t.Name.Local)
			for _, a := range t.Attr {
				if a.Name.Space != "xmlns" && (a.Name.Space != "" || a.Name.Local != "xmlns") {
					fmt.Fprintf(&b, " %q %q=%q", a.Name.Space, a.Name.Local, a.Value)
				}
			}
			b.WriteString("\n")
		case xml.EndElement:
			flush()
			depth--
			b.WriteString("/\n")
		case xml.CharData:
			if depth > 0 {
				text.Write(t)
			}
		}
	}
}

func nest(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }

func attrs(n int) string {
	var b strings.Builder
	b.WriteString("<a")
	for i := range n {
		fmt.Fprintf(&b, ` a%d="x"`, i)
	}
	return b.String() + "/>"
}

// spaces has n namespaces in force in its innermost element, and forgot as many outside of it.
func spaces(n int) string {
	inner, tail := "", ""
	for i := range n {
		if i%32 == 0 {
			inner += "<a"
			tail += "</a>"
		}
		inner += fmt.Sprintf(` xmlns:p%d="u"`, i)
		if i%32 == 31 || i == n-1 {
			inner += ">"
		}
	}
	return "<r>" + strings.Repeat(`<a xmlns="u"/>`, n) + inner + tail + "</r>"
}

var documents = []struct {
	name, doc string
	want      error
}{
	{"plain", `<?xml version="1.0" encoding="UTF-8"?><a><b c="d">&lt;&#x41;&amp;&#66;&quot;&apos;</b></a>`, nil},
	{"standalone", `<?xml version='1.0' encoding='utf-8' standalone='yes' ?>` + "\r\n<a/>\r\n", nil},
	{"bom", "\ufeff<?xml version=\"1.0\"?><a/>", nil},
	{"space before all", "\r\n <?xml version=\"1.0\"?><a/>", nil},
	{"namespaces", `<p:a xmlns:p="urn:x" xmlns="urn:y"><b p:c="1" c="2" xml:lang="en"/><p:c xmlns:p="urn:z"><p:d/></p:c><p:e/></p:a>`, nil},
	{"declared behind", `<p:a p:b="1" xmlns:p="urn:x"/>`, nil},
	{"prefix without declaration", `<p:a q:b="c"/>`, nil},
	{"line ends", "<a b=\"c\r\nd\re\">\r\n1\r2&#13;</a>", nil},
	{"cdata", `<a>x<![CDATA[<b>&amp;]]>y</a>`, nil},
	{"comments", `<!-- a --><a>x<!-- <!DOCTYPE x> -->y</a><!-- b -->`, nil},
	{"letters", "<größe länge='ü'>日本</größe>", nil},
	{"doctype", `<!DOCTYPE a><a/>`, xmlsafe.ErrForbidden},
	{"doctype after comment", `<!-- c --><!DOCTYPE x><a/>`, xmlsafe.ErrForbidden},
	{"billion laughs", `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l "l"><!ENTITY m "&l;&l;">]><l>&m;</l>`, xmlsafe.ErrForbidden},
	{"external entity", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, xmlsafe.ErrForbidden},
	{"lower case doctype", `<!doctype a><a/>`, xmlsafe.ErrForbidden},
	{"declaration inside", `<a><!ELEMENT b></a>`, xmlsafe.ErrForbidden},
	{"cdata outside", `<![CDATA[x]]><a/>`, xmlsafe.ErrForbidden},
	{"processing instruction", `<?xml-stylesheet href="x"?><a/>`, xmlsafe.ErrForbidden},
	{"processing instruction inside", `<a><?php ?></a>`, xmlsafe.ErrForbidden},
	{"late xml declaration", `<a/><?xml version="1.0"?>`, xmlsafe.ErrForbidden},
	{"entity without declaration", `<a>&x;</a>`, xmlsafe.ErrSyntax},
	{"entity in attribute", `<a b="&x;"/>`, xmlsafe.ErrSyntax},
	{"entity without end", `<a>&lt</a>`, xmlsafe.ErrSyntax},
	{"nul by reference", `<a>&#0;</a>`, xmlsafe.ErrSyntax},
	{"surrogate by reference", `<a>&#xD800;</a>`, xmlsafe.ErrSyntax},
	{"reference past unicode", `<a>&#x110000;</a>`, xmlsafe.ErrSyntax},
	{"reference past 64 bit", `<a>&#99999999999;</a>`, xmlsafe.ErrSyntax},
	{"utf-16 by name", `<?xml version="1.0" encoding="UTF-16"?><a/>`, xmlsafe.ErrSyntax},
	{"xml 1.1", `<?xml version="1.1"?><a/>`, xmlsafe.ErrSyntax},
	{"utf-16", "\xff\xfe<\x00a\x00/\x00>\x00", xmlsafe.ErrSyntax},
	{"not utf-8", "<a>\xff\xfe</a>", xmlsafe.ErrSyntax},
	{"not utf-8 in comment", "<a><!-- \xff --></a>", xmlsafe.ErrSyntax},
	{"nul", "<a>\x00</a>", xmlsafe.ErrSyntax},
	{"two roots", `<a/><b/>`, xmlsafe.ErrSyntax},
	{"text after root", `<a/>x`, xmlsafe.ErrSyntax},
	{"text before root", `x<a/>`, xmlsafe.ErrSyntax},
	{"open", `<a><b></b>`, xmlsafe.ErrSyntax},
	{"open tag", `<a`, xmlsafe.ErrSyntax},
	{"open comment", `<a><!-- x`, xmlsafe.ErrSyntax},
	{"two hyphens", `<a><!-- x -- y --></a>`, xmlsafe.ErrSyntax},
	{"open cdata", `<a><![CDATA[x`, xmlsafe.ErrSyntax},
	{"end of cdata", `<a>]]></a>`, xmlsafe.ErrSyntax},
	{"mismatch", `<a></b>`, xmlsafe.ErrSyntax},
	{"end first", `</a>`, xmlsafe.ErrSyntax},
	{"mismatch by prefix", `<p:a xmlns:p="u" xmlns:q="u"></q:a>`, xmlsafe.ErrSyntax},
	{"two colons", `<a:b:c/>`, xmlsafe.ErrSyntax},
	{"colon first", `<:a/>`, xmlsafe.ErrSyntax},
	{"number first", `<1a/>`, xmlsafe.ErrSyntax},
	{"attribute without quotes", `<a b=c/>`, xmlsafe.ErrSyntax},
	{"attribute without value", `<a b/>`, xmlsafe.ErrSyntax},
	{"< in attribute", `<a b="<"/>`, xmlsafe.ErrSyntax},
	{"empty", ``, xmlsafe.ErrSyntax},
	{"only space", " \n", xmlsafe.ErrSyntax},
	{"repeated attribute", `<a b="1" b="2"/>`, xmlsafe.ErrSyntax},
	{"repeated by two prefixes", `<a xmlns:p="u" xmlns:q="u" p:b="1" q:b="2"/>`, xmlsafe.ErrSyntax},
	{"prefix for no namespace", `<p:a xmlns:p=""><b p:c="" c=""/></p:a>`, xmlsafe.ErrSyntax},
	{"depth at limit", nest(16), nil},
	{"depth over limit", nest(17), xmlsafe.ErrTooDeep},
	{"depth 1000", nest(1000), xmlsafe.ErrTooDeep},
	{"attributes at limit", attrs(xmlsafe.MaxAttributes), nil},
	{"attributes over limit", attrs(xmlsafe.MaxAttributes + 1), xmlsafe.ErrTooMany},
	{"attribute flood", attrs(2000), xmlsafe.ErrTooMany},
	{"namespaces at limit", spaces(MaxBindings), nil},
	{"namespaces over limit", spaces(MaxBindings + 1), xmlsafe.ErrTooMany},
	{"name at limit", "<" + strings.Repeat("a", xmlsafe.MaxName) + "/>", nil},
	{"name over limit", "<" + strings.Repeat("a", xmlsafe.MaxName+1) + "/>", xmlsafe.ErrTooMany},
	{"element flood", "<r>" + strings.Repeat("<a/>", xmlsafe.MaxElements) + "</r>", xmlsafe.ErrTooMany},
	{"bytes at limit", "<a>" + strings.Repeat("x", 100000-7) + "</a>", nil},
	{"bytes over limit", "<a>" + strings.Repeat("x", 100000-6) + "</a>", xmlsafe.ErrTooLarge},
}

// What is accepted passes xmlsafe as well and reads as encoding/xml reads it.
func TestRead(t *testing.T) {
	for _, d := range documents {
		t.Run(d.name, func(t *testing.T) {
			got, err := drain([]byte(d.doc), testLimits)
			if !errors.Is(err, d.want) {
				t.Fatalf("got %v, want %v", err, d.want)
			}
			if err != nil {
				if len(err.Error()) > 600 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
				return
			}
			if err := xmlsafe.Check([]byte(d.doc), testLimits.Bytes, testLimits.Depth); err != nil {
				t.Errorf("xmlsafe: %v", err)
			}
			want, err := standard([]byte(d.doc))
			if err != nil || got != want {
				t.Errorf("got\n%swant\n%s%v", got, want, err)
			}
		})
	}
}

func TestWalk(t *testing.T) {
	var r Reader
	if err := r.Open([]byte(`<a x="1"><skip><b>no</b></skip> <b> t<c>in</c>&amp;<!-- c -->u </b><b/><d xml:lang="de"/></a>`), testLimits); err != nil {
		t.Fatal(err)
	}
	got := r.Local + r.Attr("", "x") + r.Attr("", "y")
	depth := r.Depth()
	for r.Child(depth) {
		got += " " + r.Local + r.Attr(XMLNamespace, "lang")
		if r.Local == "b" {
			got += "=" + r.Text()
			if r.Child(depth + 1) {
				t.Error("an element that was read to its end has a child")
			}
		}
	}
	if want := "a1 skip b=t&u b= dde"; got != want || r.Close() != nil {
		t.Errorf("got %q, want %q, %v", got, want, r.Err())
	}
}

func TestElementsLimit(t *testing.T) {
	for n, want := range map[int]error{9: nil, 10: xmlsafe.ErrTooMany} {
		if _, err := drain([]byte("<r>"+strings.Repeat("<a/>", n)+"</r>"), Limits{Bytes: 1000, Depth: 2, Elements: 10}); !errors.Is(err, want) {
			t.Errorf("%d elements: %v", n+1, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, d := range documents {
		if len(d.doc) < 1000 {
			f.Add([]byte(d.doc))
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := drain(doc, testLimits)
		if err != nil {
			return
		}
		if err := xmlsafe.Check(doc, testLimits.Bytes, testLimits.Depth); err != nil {
			t.Fatalf("accepted, but xmlsafe says %v", err)
		}
		want, err := standard(doc)
		if err != nil || got != want {
			t.Fatalf("got\n%swant\n%s%v", got, want, err)
		}
	})
}

// Whatever is written comes back, in content and in an attribute.
func FuzzAppendText(f *testing.F) {
	f.Add("a<>&\"'\t\r\n\x00\x1b]]>\ufffe\ufffd\xff\u00e9\U0001F600")
	f.Fuzz(func(t *testing.T, s string) {
		var want strings.Builder
		for _, c := range s {
			if !valid(c) {
				c = 0xFFFD
			}
			want.WriteRune(c)
		}
		b := AppendAttr([]byte("<a"), "b", s)
		b = append(AppendElement(append(b, '>'), "c", s), "</a>"...)
		var r Reader
		if err := r.Open(b, Limits{Bytes: len(b), Depth: 2}); err != nil {
			t.Fatal(err)
		}
		if got := r.Attr("", "b"); got != want.String() {
			t.Fatalf("attribute: %q, want %q", got, want.String())
		}
		if !r.Child(1) || r.Text() != Trim(want.String()) || r.Close() != nil {
			t.Fatalf("text: %v\n%s", r.Err(), b)
		}
	})
}

func TestIsName(t *testing.T) {
	for s, want := range map[string]bool{"a": true, "_1-.x": true, "": false, "1a": false, "-": false, "a:b": false, "a b": false, "ü": false} {
		if IsName(s) != want {
			t.Errorf("%q", s)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	doc := []byte(`<?xml version="1.0" encoding="UTF-8"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state><contenttype>text/plain</contenttype><refresh>90</refresh></isComposing>`)
	b.ReportAllocs()
	for b.Loop() {
		var r Reader
		if err := r.Open(doc, testLimits); err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
