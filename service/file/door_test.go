package file

import (
	"bytes"
	"mime"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestRanges(t *testing.T) {
	r := newRig(t, nil)
	data := random(10_000)
	f := r.send("a.bin", "", data)
	path := Path(f.ID, f.Name)
	a := r.ask(bob, "GET", path, nil, "Range", "bytes=100-199")
	if r.wantStatus(a, 206); !bytes.Equal(a.body, data[100:200]) || a.Header.Get("Content-Range") != "bytes 100-199/10000" {
		t.Fatal(a.Header)
	}
	a = r.ask(bob, "GET", path, nil, "Range", "bytes=-5")
	if r.wantStatus(a, 206); !bytes.Equal(a.body, data[9995:]) {
		t.Fatal(len(a.body))
	}
	r.wantStatus(r.ask(bob, "GET", path, nil, "Range", "bytes=20000-"), 416)
	tag := `"` + hexSum(data) + `"`
	if a := r.ask(bob, "GET", path, nil, "If-None-Match", tag); a.StatusCode != 304 {
		t.Fatal(a.Status)
	}
	a = r.ask(bob, "GET", path, nil, "Range", "bytes=0-1", "If-Range", `"other"`)
	if r.wantStatus(a, 200); len(a.body) != len(data) {
		t.Fatal(len(a.body))
	}
	a = r.ask(bob, "HEAD", path, nil)
	if r.wantStatus(a, 200); a.Header.Get("Content-Length") != "10000" || a.Header.Get("ETag") != tag || a.Header.Get("Accept-Ranges") != "bytes" {
		t.Fatal(a.Header)
	}
	// Who may not has no use for a tag.
	r.wantStatus(r.ask(carol, "GET", path, nil, "If-None-Match", tag), 404)
	r.wantStatus(r.ask(bob, "DELETE", path, nil), 405)
	r.wantStatus(r.ask(alice, "PUT", UploadPath(newID()), nil, offsetHeader, "-1"), 400)
	r.wantStatus(r.ask(alice, "PUT", UploadPath(newID()), nil, offsetHeader, "x"), 400)
	r.wantStatus(r.ask(bob, "GET", "/files/"+f.ID+"/thumbnail", nil), 404)
}

// TestNames: whatever a file is called, it is saved under a name without a path, and headers stay headers.
func TestNames(t *testing.T) {
	r := newRig(t, nil)
	for given, want := range map[string]string{
		"report.pdf":                             "report.pdf",
		"../../etc/passwd":                       "passwd",
		`C:\Users\alice\x.txt`:                   "x.txt",
		"a\r\nSet-Cookie: x=1":                   "aSet-Cookie: x=1",
		"gpj.\u202eexe":                          "gpj.exe",
		"":                                       "file",
		"..":                                     "file",
		`"; filename=evil.html; x="`:             `"; filename=evil.html; x="`,
		"bäckup 100% (new)*'.txt":                "bäckup 100% (new)*'.txt",
		"thumbnail":                              "thumbnail",
		strings.Repeat("ä", 200) + ".tar":        strings.Repeat("ä", 125) + ".tar",
		"<img src=x onerror=alert(1)>?#&k=1.txt": "<img src=x onerror=alert(1)>?#&k=1.txt",
	} {
		f := r.send(given, "", []byte("text"))
		if f.Name != want || len(f.Name) > 255 {
			t.Errorf("%q became %q", given, f.Name)
			continue
		}
		a := r.ask(bob, "GET", Path(f.ID, f.Name), nil)
		if r.wantStatus(a, 200); string(a.body) != "text" || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%q: %q", given, a.Header)
		}
		kind, params, err := mime.ParseMediaType(a.Header.Get("Content-Disposition"))
		if err != nil || kind != "attachment" || params["filename"] != want {
			t.Errorf("%q: %q: %v %q", given, a.Header.Get("Content-Disposition"), err, params["filename"])
		}
	}
}

// TestNothingRuns: what a browser could run is saved, under a type that is none, in a box.
func TestNothingRuns(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct{ data, said, kind, served, how string }{
		{"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image/png", "image/svg+xml", octets, "attachment"},
		{"<?xml version='1.0'?>\n<!-- " + strings.Repeat("x", 3000) + " --><svg/>", "image/svg+xml", "image/svg+xml", octets, "attachment"},
		{"<html><body>hi", "image/gif", "text/html", octets, "attachment"},
		{"hello <script>alert(1)</script>", "text/plain", "text/html", octets, "attachment"},
		{"<?xml version='1.0'?><x/>", "application/xhtml+xml", "text/xml", octets, "attachment"},
		{"plain text", "text/html", "text/plain", "text/plain; charset=utf-8", "attachment"},
		{"a,b\n1,2\n", "text/csv", "text/csv", octets, "attachment"},
		{"%PDF-1.7\n", "", "application/pdf", "application/pdf", "attachment"},
		{"PK\x03\x04....", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
			"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "attachment"},
		{"PK\x03\x04....", "image/png", "application/zip", "application/zip", "attachment"},
		{"#!/bin/sh\n", "image/png", "text/x-shellscript", octets, "attachment"},
		{string(tinyPNG), "text/html", "image/png", "image/png", "inline"},
		{"GIF89a\x01\x00\x01\x00<script>", "", "image/gif", "image/gif", "inline"},
		{"RIFF\x24\x00\x00\x00WEBPVP8 ", "", "image/webp", "image/webp", "inline"},
		{"OggS\x00\x02", "audio/ogg", "audio/ogg", "audio/ogg", "inline"},
		{"\x00\x01\x02\x03", "text/html", octets, octets, "attachment"},
		{"\x00\x01\x02\x03", "nonsense", octets, octets, "attachment"},
	} {
		f := r.send("x", c.said, []byte(c.data))
		a := r.ask(bob, "GET", Path(f.ID, "x.html"), nil)
		how, _, _ := strings.Cut(a.Header.Get("Content-Disposition"), ";")
		if f.Type != c.kind || a.Header.Get("Content-Type") != c.served || how != c.how {
			t.Errorf("%.30q said to be %s: %s, served as %s %s", c.data, c.said, f.Type, a.Header.Get("Content-Type"), how)
		}
		if a.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "sandbox") ||
			!strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") || a.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%.30q: %v", c.data, a.Header)
		}
	}
}

// TestLinks: an address without a session opens one file to one person, for a while.
func TestLinks(t *testing.T) {
	r := newRig(t, nil)
	f, other := r.send("my file.txt", "", []byte("one")), r.send("b", "", []byte("two"))
	link, until := r.Link(f.ID, f.Name, bob)
	if d := time.Until(until); d < linkLife-2*time.Hour || d > linkLife {
		t.Fatal(until)
	}
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "https" || u.Host != "chat.example.com" || strings.ContainsAny(link, "& <>\"'") {
		t.Fatal(link, err)
	}
	if a := r.ask("", "GET", u.RequestURI(), nil); string(a.body) != "one" {
		t.Fatal(a.Status)
	}
	k := u.Query().Get("k")
	flipped := []byte(k)
	flipped[10] ^= 1
	forCarol, _ := r.Link(f.ID, f.Name, carol)
	_, carols, _ := strings.Cut(forCarol, "?k=")
	for what, path := range map[string]string{
		"another file":     "/files/" + other.ID + "/b?k=" + k,
		"a changed token":  u.Path + "?k=" + string(flipped),
		"half a token":     u.Path + "?k=" + k[:20],
		"no token":         u.Path + "?k=%00",
		"carol's":          "/files/" + f.ID + "/x?k=" + carols,
		"an expired token": "/files/" + f.ID + "/x?k=" + r.token(f.ID, bob, time.Now().Add(-2*time.Hour)),
	} {
		a := r.ask("", "GET", strings.ReplaceAll(path, " ", "%20"), nil)
		if a.StatusCode != 404 {
			t.Errorf("%s: %s", what, a.Status)
		}
	}
	for link, want := range map[string]bool{
		link: true,
		strings.Replace(link, "chat.example.com", "192.0.2.1:8443", 1): true, // by another name of this server
		strings.Replace(link, k, string(flipped), 1):                   false,
		forCarol: false, "https://example.com/": false, "": false, "%": false,
		"https://example.com/files/" + f.ID + "/x": false,
	} {
		if id, ok := r.Own(link, bob); ok != want || ok && id != f.ID {
			t.Errorf("%s: %v %v", link, id, ok)
		}
	}
	// It holds as long as the file is kept.
	short := newRig(t, func(o *Options) { o.Keep = 2 * time.Hour })
	if _, until := short.Link(newID(), "x", bob); time.Until(until) > 2*time.Hour {
		t.Error(until)
	}
	none := newRig(t, func(o *Options) { o.Address = "" })
	if link, _ := none.Link(newID(), "x", bob); link != "" {
		t.Error(link)
	}
}

func TestTypes(t *testing.T) {
	for _, bad := range []string{"", "image", "image/", "/png", "Image/png", "image/*/x", "*mage/png", "!!a/b", "a/b;c", "a/b c"} {
		if _, err := ParseTypes([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for _, c := range []struct {
		list []string
		kind string
		want bool
	}{
		{nil, "text/html", true},
		{[]string{"image/*"}, "image/png", true},
		{[]string{"image/*"}, "IMAGE/PNG; x=y", true},
		{[]string{"image/*"}, "text/plain", false},
		{[]string{"image/*", "!image/svg+xml"}, "image/svg+xml", false},
		{[]string{"!application/zip"}, "application/zip", false},
		{[]string{"!application/zip"}, "application/pdf", true},
		{[]string{"application/vnd.ms-*"}, "application/vnd.ms-excel", true},
	} {
		types, err := ParseTypes(c.list)
		if err != nil || types.take(c.kind) != c.want {
			t.Errorf("%v %s: %v", c.list, c.kind, err)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a service of nothing")
	}
}
