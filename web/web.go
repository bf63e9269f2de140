// Package web is the web client: its sources are in client/, and the built files, which are committed, are part of the program.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed all:client/dist
var built embed.FS

// asset is one file, ready to be sent.
type asset struct {
	kind    string // media type
	tag     string // of the plain form, without quotes
	plain   []byte
	gzipped []byte // nil when it is not smaller
	keep    bool   // its name changes with its content
}

// types are the media types of what the build makes, whatever the machine's own table says.
var types = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".png": "image/png", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json", ".woff2": "font/woff2",
}

// Handler serves the client. A path that is no file gets the page, because the client has paths of its own
// ("/c/bob@example.com"); a name in /assets/ or at the top that looks like a file's and is none gets 404. Files in /assets/
// have names that change with their content and may be kept for a year (RFC 8246); everything else is asked for again each
// time and is mostly answered with 304 (RFC 9110 §13.1.2).
func Handler() http.Handler {
	dist, err := fs.Sub(built, "client/dist")
	if err != nil {
		panic("web: " + err.Error()) // the name is a constant: it cannot fail
	}
	h, err := newHandler(dist)
	if err != nil {
		panic("web: " + err.Error()) // the files are part of the program
	}
	return h
}

type handler struct {
	assets map[string]*asset // by path
	page   *asset
}

func newHandler(dist fs.FS) (*handler, error) {
	h := &handler{assets: map[string]*asset{}}
	err := fs.WalkDir(dist, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(dist, name)
		if err != nil {
			return err
		}
		a, err := newAsset(name, body)
		h.assets["/"+name] = a
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the client: %w", err)
	}
	if h.page = h.assets["/index.html"]; h.page == nil {
		return nil, fmt.Errorf("the client has no index.html: make web")
	}
	return h, nil
}

func newAsset(name string, body []byte) (*asset, error) {
	ext := path.Ext(name)
	a := &asset{plain: body, keep: strings.HasPrefix(name, "assets/"), kind: types[ext]}
	if a.kind == "" {
		if a.kind = mime.TypeByExtension(ext); a.kind == "" {
			a.kind = "application/octet-stream"
		}
	}
	sum := sha256.Sum256(body)
	a.tag = base64.RawURLEncoding.EncodeToString(sum[:12])
	if ext == ".png" || ext == ".woff2" {
		return a, nil // compressed already
	}
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if buf.Len() < len(body) {
		a.gzipped = buf.Bytes()
	}
	return a, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	a := h.find(r.URL.Path)
	if a == nil {
		http.NotFound(w, r)
		return
	}
	a.serve(w, r)
}

// find is the file for a path, or the page.
func (h *handler) find(p string) *asset {
	if a := h.assets[p]; a != nil {
		return a
	}
	// An address has dots, too, but is never at the top.
	top := strings.Count(p, "/") == 1 && strings.Contains(p, ".")
	if top || strings.HasPrefix(p, "/assets/") {
		return nil
	}
	return h.page
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	body, tag := a.plain, a.tag
	if a.gzipped != nil {
		head.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Values("Accept-Encoding")) {
			body, tag = a.gzipped, a.tag+"-gz"
			head.Set("Content-Encoding", "gzip")
		}
	}
	head.Set("Etag", `"`+tag+`"`)
	head.Set("X-Content-Type-Options", "nosniff")
	if a.keep {
		head.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		head.Set("Cache-Control", "no-cache")
	}
	if matches(r.Header.Values("If-None-Match"), tag) {
		head.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	head.Set("Content-Type", a.kind)
	head.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // whoever has gone away has gone away
	}
}

// matches compares weakly, as If-None-Match wants (RFC 9110 §13.1.2).
func matches(values []string, tag string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == "*" || one == `"`+tag+`"` {
				return true
			}
		}
	}
	return false
}

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3): gzip or anything, unless its weight is 0.
func acceptsGzip(values []string) bool {
	anything := false
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			name, weight, _ := strings.Cut(one, ";")
			wanted := true
			if _, q, ok := strings.Cut(weight, "="); ok {
				f, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
				wanted = err == nil && f > 0
			}
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "gzip", "x-gzip":
				return wanted
			case "*":
				anything = wanted
			}
		}
	}
	return anything
}
