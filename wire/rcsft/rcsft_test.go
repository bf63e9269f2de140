package rcsft

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// linphone is what liblinphone 5.1 sends after an upload, with the name and type that it was told.
const linphone = `<?xml version="1.0" encoding="UTF-8"?><file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp"><file-info type="file"><file-size>12</file-size>` +
	`<file-name>notes.txt</file-name><content-type>text/plain</content-type><data url="http://127.0.0.1:6089/dl/upload.bin" until="2030-01-01T00:00:00Z"/></file-info></file>`

// withThumbnail is the form with all that the specification has, and namespaces of others.
const withThumbnail = `<?xml version="1.0" encoding="UTF-8"?>
<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp" xmlns:am="urn:gsma:params:xml:ns:rcs:rcs:rram" xmlns:x="urn:gsma:params:xml:ns:rcs:rcs:up:fthttpext">
 <file-info type="thumbnail">
  <file-size> 2048 </file-size><content-type>image/jpeg</content-type>
  <data url="https://ft.example.com/t?a=1&amp;b=2" until="2030-01-01T00:00:00Z"/>
 </file-info>
 <file-info type="file" file-disposition="render">
  <file-size>123456</file-size><file-name>../../holiday.jpg</file-name><content-type>Image/JPEG; x=y</content-type>
  <am:playing-length>3</am:playing-length><data url="https://ft.example.com/f" until="some day"/>
  <x:branded-url>http://elsewhere.example/</x:branded-url>
 </file-info>
</file>`

func TestParse(t *testing.T) {
	day := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		in   string
		want Document
	}{
		"linphone": {linphone, Document{Files: []Entry{{Name: "notes.txt", Type: "text/plain", Size: 12, URL: "http://127.0.0.1:6089/dl/upload.bin", Until: day}}}},
		"thumbnail": {withThumbnail, Document{
			Files:     []Entry{{Name: "holiday.jpg", Type: "image/jpeg; x=y", Size: 123456, URL: "https://ft.example.com/f"}},
			Thumbnail: &Entry{Type: "image/jpeg", Size: 2048, URL: "https://ft.example.com/t?a=1&b=2", Until: day},
		}},
		"encrypted": {strings.Replace(linphone, "<data", "<file-key>AAAA</file-key><data", 1), Document{Encrypted: true,
			Files: []Entry{{Name: "notes.txt", Type: "text/plain", Size: 12, URL: "http://127.0.0.1:6089/dl/upload.bin", Until: day}}}},
		"bare &": {strings.Replace(linphone, "upload.bin", "get?a=1&b=2&amp;c=3&#38;", 1), Document{Files: []Entry{{Name: "notes.txt", Type: "text/plain", Size: 12, URL: "http://127.0.0.1:6089/dl/get?a=1&b=2&c=3&", Until: day}}}},
		"nonsense": {`<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp"><file-info type="voice-recording"><file-size>-3</file-size><file-name> </file-name><content-type>a b</content-type><data url="http://h/"/></file-info></file>`,
			Document{Files: []Entry{{URL: "http://h/"}}}},
	} {
		got, err := Parse([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, *got, c.want)
		}
		again, err := Parse(got.Bytes())
		if err != nil {
			t.Errorf("%s: what was written does not parse: %v\n%s", name, err, got.Bytes())
			continue
		}
		if again.Encrypted = got.Encrypted; !reflect.DeepEqual(again, got) {
			t.Errorf("%s: became %+v", name, again)
		}
	}
}

func TestMalformed(t *testing.T) {
	one := func(url string) string {
		return `<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp"><file-info type="file"><data url="` + url + `"/></file-info></file>`
	}
	if _, err := Parse([]byte(one("http://example.com/"))); err != nil {
		t.Fatal(err) // the others are refused for their addresses
	}
	for name, doc := range map[string]string{
		"empty":          "",
		"other root":     strings.ReplaceAll(linphone, "fthttp", "other"),
		"no file":        `<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp"/>`,
		"thumbnail only": strings.Replace(linphone, `type="file"`, `type="thumbnail"`, 1),
		"entity":         `<!DOCTYPE f [<!ENTITY e SYSTEM "file:///etc/passwd">]>` + linphone,
		"script":         one("javascript:alert(1)"),
		"data":           one("data:text/html,x"),
		"file":           one("file:///etc/passwd"),
		"relative":       one("/dl/1"),
		"no host":        one("http:///x"),
		"user":           one("http://parley.example.com@evil.example/"),
		"long":           one("http://h/" + strings.Repeat("a", maxURL)),
		"many": `<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp">` +
			strings.Repeat(`<file-info type="file"><data url="http://h/"/></file-info>`, maxInfos+1) + `</file>`,
		"deep":  `<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp">` + strings.Repeat("<a>", 10) + strings.Repeat("</a>", 10) + `</file>`,
		"large": linphone + strings.Repeat(" ", maxBytes),
	} {
		if _, err := Parse([]byte(doc)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: err = %v", name, err)
		}
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"a.txt": "a.txt", "/etc/passwd": "passwd", `C:\x\y.doc`: "y.doc", "..": "", "a/..": "", " x ": "x", "a\nb\x00c": "abc",
		"gpj.\u202eexe": "gpj.exe", "été.txt": "été.txt", "": "", "<b>.png": "<b>.png", "\u200b\u200d \u2060\ufe0f": "", "👩\u200d🚀": "👩\u200d🚀",
		strings.Repeat("x", 300) + ".tar.gz": strings.Repeat("x", 252) + ".gz",
		strings.Repeat("é", 200) + ".jpg":    strings.Repeat("é", 125) + ".jpg",
	} {
		if got := CleanName(in); got != want {
			t.Errorf("CleanName(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(linphone))
	f.Add([]byte(withThumbnail))
	f.Add([]byte(strings.Replace(linphone, "upload.bin", "get?a=1&b=2", 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(d.Bytes())
		if err != nil {
			t.Fatalf("written form of %+v does not parse: %v\n%s", d, err, d.Bytes())
		}
		if again.Encrypted = d.Encrypted; !reflect.DeepEqual(again, d) {
			t.Fatalf("%+v became %+v", d, again)
		}
		for _, e := range d.Files {
			if !utf8.ValidString(e.Name) || len(e.Name) > maxName || strings.ContainsAny(e.Name, "/\\\n") {
				t.Fatalf("name %q", e.Name)
			}
		}
	})
}
