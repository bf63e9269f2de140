package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// page is a client as the build makes one, with text long enough to be worth compressing.
var page = "<!doctype html><title>Parley</title>" + strings.Repeat("<p>hello</p>", 100)

func client(t *testing.T) http.Handler {
	t.Helper()
	h, err := newHandler(fstest.MapFS{
		"index.html":            {Data: []byte(page)},
		"assets/main-1a2b.js":   {Data: []byte(strings.Repeat("export const x = 1;\n", 100))},
		"assets/style-3c4d.css": {Data: []byte("a{b:c}")},
		"icon-192.png":          {Data: []byte("\x89PNG")},
		"sw.js":                 {Data: []byte("self")},
		"manifest.webmanifest":  {Data: []byte("{}")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(h http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestPaths(t *testing.T) {
	const kept, asked = "public, max-age=31536000, immutable", "no-cache"
	for _, c := range []struct {
		path, kind, cache string
		code              int
	}{
		{"/", "text/html; charset=utf-8", asked, 200},
		{"/index.html", "text/html; charset=utf-8", asked, 200},
		{"/c/bob@example.com", "text/html; charset=utf-8", asked, 200},
		{"/c/bob@example.com?at=17", "text/html; charset=utf-8", asked, 200},
		{"/settings/devices", "text/html; charset=utf-8", asked, 200},
		{"/m/01HXYZ", "text/html; charset=utf-8", asked, 200},
		{"/search", "text/html; charset=utf-8", asked, 200},
		{"/assets/main-1a2b.js", "text/javascript; charset=utf-8", kept, 200},
		{"/assets/style-3c4d.css", "text/css; charset=utf-8", kept, 200},
		{"/sw.js", "text/javascript; charset=utf-8", asked, 200},
		{"/icon-192.png", "image/png", asked, 200},
		{"/manifest.webmanifest", "application/manifest+json", asked, 200},
		{"/assets/main-old.js", "", "", 404},
		{"/assets/", "", "", 404},
		{"/favicon.ico", "", "", 404},
		{"/.env", "", "", 404},
	} {
		resp := get(client(t), "GET", c.path)
		if resp.StatusCode != c.code {
			t.Errorf("%s: %d, want %d", c.path, resp.StatusCode, c.code)
			continue
		}
		if c.code != 200 {
			continue
		}
		if got := resp.Header.Get("Content-Type"); got != c.kind {
			t.Errorf("%s: Content-Type %q, want %q", c.path, got, c.kind)
		}
		if got := resp.Header.Get("Cache-Control"); got != c.cache {
			t.Errorf("%s: Cache-Control %q, want %q", c.path, got, c.cache)
		}
	}
}

func TestGzip(t *testing.T) {
	h := client(t)
	for accept, want := range map[string]bool{
		"gzip, deflate, br": true, "br;q=1.0, GZIP;q=0.5": true, "*": true, "": false, "identity": false,
		"gzip;q=0": false, "gzip;q=0, *": false, "*;q=0": false, "deflate": false,
	} {
		resp := get(h, "GET", "/", "Accept-Encoding", accept)
		if got := resp.Header.Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("Accept-Encoding %q: compressed is %v", accept, got)
		}
		if resp.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: Vary is %q", accept, resp.Header.Get("Vary"))
		}
		body, _ := io.ReadAll(resp.Body)
		if want {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			body, _ = io.ReadAll(z)
		}
		if string(body) != page {
			t.Errorf("Accept-Encoding %q: another page", accept)
		}
	}
	if resp := get(h, "GET", "/icon-192.png", "Accept-Encoding", "gzip"); resp.Header.Get("Content-Encoding") != "" {
		t.Error("a picture was compressed again")
	}
}

func TestNotModified(t *testing.T) {
	h := client(t)
	plain, small := get(h, "GET", "/").Header.Get("Etag"), get(h, "GET", "/", "Accept-Encoding", "gzip").Header.Get("Etag")
	if plain == "" || plain == small {
		t.Fatalf("the tags of two forms are %q and %q", plain, small)
	}
	for match, want := range map[string]int{
		plain: 304, "W/" + plain: 304, `"x", ` + plain: 304, "*": 304, `"x"`: 200, small: 200, "": 200,
	} {
		resp := get(h, "GET", "/", "If-None-Match", match)
		if resp.StatusCode != want {
			t.Errorf("If-None-Match %s: %d, want %d", match, resp.StatusCode, want)
		}
		if body, _ := io.ReadAll(resp.Body); (len(body) == 0) != (want == 304) {
			t.Errorf("If-None-Match %s: %d bytes", match, len(body))
		}
	}
}

func TestMethods(t *testing.T) {
	h := client(t)
	head, full := get(h, "HEAD", "/"), get(h, "GET", "/")
	if body, _ := io.ReadAll(head.Body); len(body) != 0 || head.Header.Get("Content-Length") != full.Header.Get("Content-Length") {
		t.Errorf("HEAD: %d bytes, length %s", len(body), head.Header.Get("Content-Length"))
	}
	if resp := get(h, "POST", "/"); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

func TestNoPage(t *testing.T) {
	if _, err := newHandler(fstest.MapFS{"sw.js": {Data: []byte("self")}}); err == nil {
		t.Error("a client without a page was taken")
	}
}

// TestBuilt looks at what is committed: the page and all that it names are there, and nothing in it is inline or from elsewhere.
func TestBuilt(t *testing.T) {
	h := Handler()
	body, _ := io.ReadAll(get(h, "GET", "/").Body)
	named := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllSubmatch(body, -1)
	if len(named) < 3 {
		t.Fatalf("the page names %d files", len(named))
	}
	for _, m := range named {
		p := string(m[1])
		if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
			t.Errorf("the page loads %s from elsewhere", p)
			continue
		}
		if resp := get(h, "GET", p); resp.StatusCode != 200 {
			t.Errorf("%s: %d", p, resp.StatusCode)
		}
	}
	for _, inline := range []string{"<style", " style=", " onload=", " onclick="} {
		if bytes.Contains(body, []byte(inline)) {
			t.Errorf("the page has %q, which its content security policy forbids", inline)
		}
	}
	if bytes.Contains(body, []byte("<script>")) {
		t.Error("the page has an inline script")
	}
	for _, p := range []string{"/sw.js", "/manifest.webmanifest", "/icon.svg", "/icon-192.png", "/icon-512.png"} {
		if resp := get(h, "GET", p); resp.StatusCode != 200 {
			t.Errorf("%s: %d", p, resp.StatusCode)
		}
	}
}
