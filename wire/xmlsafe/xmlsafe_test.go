package xmlsafe

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	attrs := func(n int) string {
		var b strings.Builder
		b.WriteString("<a")
		for i := range n {
			fmt.Fprintf(&b, ` a%d="x"`, i)
		}
		return b.String() + "/>"
	}
	nest := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	laughs := `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]><lolz>&lol2;</lolz>`
	rows := []struct {
		name, doc string
		want      error
	}{
		{"plain", `<?xml version="1.0" encoding="UTF-8"?><a><b c="d">&lt;&#x41;&amp;</b></a>`, nil},
		{"namespaces", `<p:a xmlns:p="urn:x" xmlns="urn:y"><b p:c="1" c="2"/></p:a>`, nil},
		{"doctype in comment", `<a><!-- <!DOCTYPE x> --></a>`, nil},
		{"doctype in cdata", `<a><![CDATA[<!DOCTYPE x>]]></a>`, nil},
		{"doctype after comment", `<!-- c --><!DOCTYPE x><a/>`, ErrForbidden},
		{"billion laughs", laughs, ErrForbidden},
		{"external entity", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, ErrForbidden},
		{"lower case doctype", `<!doctype a><a/>`, ErrForbidden},
		{"entity without declaration", `<a>&x;</a>`, ErrSyntax},
		{"entity in attribute", `<a b="&x;"/>`, ErrSyntax},
		{"declaration inside", `<a><!ELEMENT b></a>`, ErrForbidden},
		{"processing instruction", `<?xml-stylesheet href="x"?><a/>`, ErrForbidden},
		{"late xml declaration", `<a/><?xml version="1.0"?>`, ErrForbidden},
		{"utf-16 by name", `<?xml version="1.0" encoding="UTF-16"?><a/>`, ErrSyntax},
		{"not utf-8", "<a>\xff\xfe</a>", ErrSyntax},
		{"nul", "<a>\x00</a>", ErrSyntax},
		{"two roots", `<a/><b/>`, ErrSyntax},
		{"text after root", `<a/>x`, ErrSyntax},
		{"open", `<a><b></b>`, ErrSyntax},
		{"mismatch", `<a></b>`, ErrSyntax},
		{"empty", ``, ErrSyntax},
		{"repeated attribute", `<a b="1" b="2"/>`, ErrSyntax},
		{"depth at limit", nest(16), nil},
		{"depth over limit", nest(17), ErrTooDeep},
		{"depth 1000", nest(1000), ErrTooDeep},
		{"attributes at limit", attrs(MaxAttributes), nil},
		{"attributes over limit", attrs(MaxAttributes + 1), ErrTooMany},
		{"attribute flood", attrs(2000), ErrTooMany},
		{"element flood", "<r>" + strings.Repeat("<a/>", MaxElements) + "</r>", ErrTooMany},
		{"bytes at limit", "<a>" + strings.Repeat("x", 100000-7) + "</a>", nil},
		{"bytes over limit", "<a>" + strings.Repeat("x", 100000-6) + "</a>", ErrTooLarge},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if err := Check([]byte(r.doc), 100000, 16); !errors.Is(err, r.want) {
				t.Errorf("got %v, want %v", err, r.want)
			}
		})
	}
}

func TestUnmarshal(t *testing.T) {
	var v struct {
		XMLName xml.Name `xml:"a"`
		B       string   `xml:"b"`
	}
	if err := Unmarshal([]byte(`<a><b>c</b></a>`), 100, 4, &v); err != nil || v.B != "c" {
		t.Fatalf("got %q, %v", v.B, err)
	}
	if err := Unmarshal([]byte(`<x/>`), 100, 4, &v); !errors.Is(err, ErrSyntax) {
		t.Fatalf("a foreign root gave %v", err)
	}
}

// What Check lets through, encoding/xml can read, and it is within the limits.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><a b="c">d<!-- e --><![CDATA[f]]></a>`))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if Check(doc, 10000, 8) != nil {
			return
		}
		if len(doc) > 10000 {
			t.Fatal("a document over the limit passed")
		}
		var v struct {
			Inner []byte `xml:",innerxml"`
		}
		if err := xml.Unmarshal(doc, &v); err != nil {
			t.Fatalf("passed, but cannot be read: %v", err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	doc := []byte(`<?xml version="1.0" encoding="UTF-8"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state><contenttype>text/plain</contenttype><refresh>90</refresh></isComposing>`)
	b.ReportAllocs()
	for b.Loop() {
		if err := Check(doc, 8192, 8); err != nil {
			b.Fatal(err)
		}
	}
}
