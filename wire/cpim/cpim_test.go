package cpim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

func TestRFC3862Example(t *testing.T) { // RFC 3862 §3.5
	m, err := Parse(read(t, "rfc3862-3.5.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.From(); got != (Address{"MR SANDERS", "im:piglet@100akerwood.com"}) {
		t.Errorf("From = %+v", got)
	}
	if to := m.To(); len(to) != 1 || to[0].URI != "im:eeyore@100akerwood.com" {
		t.Errorf("To = %+v", to)
	}
	want := time.Date(2000, 12, 13, 13, 40, 0, 0, time.FixedZone("", -8*3600))
	if !m.DateTime().Equal(want) {
		t.Errorf("DateTime = %v", m.DateTime())
	}
	if got := m.Get("mid:MessageFeatures@id.foo.com", "WackyMessageOption"); got != "Use-silly-font" {
		t.Errorf("namespaced header = %q", got)
	}
	if m.Headers[3].Params != "" || m.Headers[4].Params != "lang=fr" {
		t.Errorf("subject parameters: %+v", m.Headers[3:5])
	}
	if got := m.ContentType(); got != "text/xml; charset=utf-8" {
		t.Errorf("content type = %q", got)
	}
	if !bytes.Contains(m.Content, []byte("Here is the text of my message.")) {
		t.Errorf("content = %q", m.Content)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"rfc3862-3.5.txt", "rfc5438-request.txt"} {
		first, err := Parse(read(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		second, err := Parse(first.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(second.Headers) != len(first.Headers) || !bytes.Equal(second.Content, first.Content) {
			t.Errorf("%s: %+v became %+v", name, first, second)
		}
		for i := range first.Headers {
			if first.Headers[i] != second.Headers[i] {
				t.Errorf("%s: header %d: %+v became %+v", name, i, first.Headers[i], second.Headers[i])
			}
		}
	}
}

func TestEscapes(t *testing.T) { // RFC 3862 §2.3.1
	cases := map[string]string{
		`a\\b`: `a\b`, `caf\u00e9`: "café", `\ud83d\ude00`: "😀", `x\ny`: "x\ny", `\"q\"`: `"q"`, `end\`: `end\`, `\u12`: "u12",
	}
	for in, want := range cases {
		if got := unescape(in); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, in := range map[string]string{
		"empty":             "",
		"no blank line":     "From: <im:a@b>\r\n",
		"no content block":  "From: <im:a@b>\r\n\r\nContent-Type: text/plain\r\n",
		"no colon":          "From\r\n\r\n\r\n",
		"undeclared prefix": "imdn.Message-ID: x\r\n\r\n\r\n",
		"bad NS":            "NS: imdn urn:x\r\n\r\n\r\n",
		"many headers":      strings.Repeat("Subject: x\r\n", maxHeaders+1) + "\r\n\r\n",
		"long line":         "Subject: " + strings.Repeat("x", maxLine) + "\r\n\r\n\r\n",
	} {
		if _, err := Parse([]byte(in)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: err = %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(read(f, "rfc3862-3.5.txt"))
	f.Add(read(f, "rfc5438-request.txt"))
	f.Add([]byte("NS: <u>\r\nA.B: \\uD800\r\n\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		m.From()
		m.To()
		m.DateTime()
		again, err := Parse(m.Bytes())
		if err != nil {
			t.Fatalf("written form does not parse: %v\n%q", err, m.Bytes())
		}
		if !bytes.Equal(again.Content, m.Content) {
			t.Fatalf("content changed: %q, %q", m.Content, again.Content)
		}
	})
}
