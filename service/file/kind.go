package file

import (
	"bytes"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parley-im/parley/base/errs"
)

// sniffed is how many bytes of a file are looked at.
const sniffed = 8 << 10

// octets is what nobody knows.
const octets = "application/octet-stream"

// magic are the beginnings of files that package http does not know. What runs is known, so that it can be refused.
var magic = []struct{ begin, kind string }{
	{"MZ", "application/vnd.microsoft.portable-executable"},
	{"\x7fELF", "application/x-executable"},
	{"\xcf\xfa\xed\xfe", "application/x-mach-binary"},
	{"\xce\xfa\xed\xfe", "application/x-mach-binary"},
	{"\xca\xfe\xba\xbe", "application/x-mach-binary"}, // or a class of Java, which runs as well
	{"#!", "text/x-shellscript"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"}, // documents and installers of before 2007
	{"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"},
	{"\xfd7zXZ\x00", "application/x-xz"},
	{"\x28\xb5\x2f\xfd", "application/zstd"},
	{"BZh", "application/x-bzip2"},
	{"SQLite format 3\x00", "application/vnd.sqlite3"},
	{"{\\rtf", "application/rtf"},
}

// refines are announced types that say more than what bytes of a kind show; a * is any.
var refines = map[string][]string{
	"application/zip": {"application/vnd.openxmlformats-officedocument.*", "application/vnd.oasis.opendocument.*", "application/epub+zip",
		"application/java-archive", "application/vnd.android.package-archive"},
	"application/x-ole-storage": {"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint", "application/vnd.ms-outlook", "application/x-msi"},
	"text/plain":                {"text/csv", "text/markdown", "text/calendar", "text/vcard", "text/x-*", "application/json", "application/x-yaml", "application/toml", "message/rfc822"},
	"video/mp4":                 {"audio/mp4", "audio/aac", "audio/x-m4a", "video/quicktime", "video/3gpp", "audio/3gpp", "image/heic", "image/heif", "image/avif"},
	"video/webm":                {"audio/webm", "video/x-matroska", "audio/x-matroska"},
	"application/ogg":           {"audio/ogg", "video/ogg", "audio/opus"},
	octets: {"audio/aac", "audio/mpeg", "audio/flac", "audio/amr", "audio/x-wav", "image/heic", "image/heif", "image/avif", "image/tiff", "video/quicktime", "video/3gpp",
		"application/pgp-encrypted", "application/pkcs7-mime", "application/x-iso9660-image"},
}

// announced is a media type as it was said, without parameters; octets when it is none.
func announced(text string) string {
	kind, _, err := mime.ParseMediaType(text)
	if err != nil || !strings.Contains(kind, "/") || len(kind) > 127 {
		return octets
	}
	return strings.ToLower(kind)
}

// kindOf tells what a file is by its first bytes. What was announced, or what the name ends with, counts only where it says more
// than the bytes do, and nothing else.
func kindOf(head []byte, said, name string) string {
	kind := seen(head)
	for _, hint := range []string{announced(said), announced(mime.TypeByExtension(strings.ToLower(path.Ext(name))))} {
		for _, r := range refines[kind] {
			if matches(r, hint) {
				return hint
			}
		}
	}
	return kind
}

// seen is what the bytes alone show.
func seen(head []byte) string {
	for _, m := range magic {
		if bytes.HasPrefix(head, []byte(m.begin)) {
			return m.kind
		}
	}
	kind, _, _ := strings.Cut(http.DetectContentType(head), ";")
	switch kind {
	case "text/plain", "text/xml":
		if markup := markupOf(head); markup != "" {
			return markup
		}
	case octets: // a text with a control character somewhere, which browsers still read as a page
		if markup := markupOf(head); markup != "" {
			return markup
		}
	case "application/vnd.ms-fontobject":
		return octets // many files look like that
	}
	return kind
}

// markupOf tells pages and pictures that are programs: a browser finds them further down than package http looks. "" for none.
func markupOf(head []byte) string {
	text := strings.ToLower(string(bytes.ToValidUTF8(unwide(head), nil)))
	switch {
	case strings.Contains(text, "<svg"):
		return "image/svg+xml"
	case strings.Contains(text, "<html"), strings.Contains(text, "<script"), strings.Contains(text, "<!doctype html"), strings.Contains(text, "<body"), strings.Contains(text, "<iframe"):
		return "text/html"
	case strings.HasPrefix(strings.TrimLeft(text, "\ufeff \t\r\n"), "<?xml"):
		return "text/xml"
	}
	return ""
}

// unwide makes one byte of each character of UTF-16 that has one, so that tags are found in it.
func unwide(b []byte) []byte {
	if len(b) < 2 || !(b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff) {
		return b
	}
	return bytes.ReplaceAll(b[2:], []byte{0}, nil)
}

// types are what is taken.
type types struct {
	allowed, refused []string // nothing allowed: all
}

// ParseTypes checks a list of patterns: "image/*" is taken, "!application/x-executable" is not, and who lists only what is not
// takes all the rest.
func ParseTypes(list []string) (t types, err error) {
	for _, p := range list {
		pattern, not := strings.CutPrefix(p, "!")
		major, minor, ok := strings.Cut(pattern, "/")
		if !ok || major == "" || minor == "" || strings.ContainsAny(pattern, " ;,!") || pattern != strings.ToLower(pattern) || !utf8.ValidString(pattern) ||
			strings.Contains(strings.TrimSuffix(pattern, "*"), "*") {
			return types{}, errs.New(errs.Invalid, `file: %q is no type of files: write "image/*", "application/pdf" or, for what is not taken, "!application/zip"`, p)
		}
		if not {
			t.refused = append(t.refused, pattern)
		} else {
			t.allowed = append(t.allowed, pattern)
		}
	}
	return t, nil
}

// matches compares a pattern, which may end in "*", with a type.
func matches(pattern, kind string) bool {
	if begin, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(kind, begin)
	}
	return pattern == kind
}

func (t types) take(said string) bool {
	kind := announced(said)
	is := func(p string) bool { return matches(p, kind) }
	return !slices.ContainsFunc(t.refused, is) && (len(t.allowed) == 0 || slices.ContainsFunc(t.allowed, is))
}

// shown are the types that a browser may show in its place; they cannot run anything. All else is saved.
var shown = []string{"image/png", "image/jpeg", "image/gif", "image/webp", "audio/*", "video/*"}

// served is how a type is told to a browser. What it could run is told as nothing it knows.
func served(kind string) (contentType string, inline bool) {
	if slices.ContainsFunc(shown, func(p string) bool { return matches(p, kind) }) {
		return kind, true
	}
	switch {
	case kind == "text/plain":
		return "text/plain; charset=utf-8", false
	case strings.HasPrefix(kind, "text/"), strings.Contains(kind, "xml") && !strings.HasPrefix(kind, "application/vnd.openxmlformats"),
		strings.Contains(kind, "html"), strings.Contains(kind, "script"), strings.Contains(kind, "svg"), kind == "message/rfc822", strings.HasPrefix(kind, "multipart/"):
		return octets, false
	}
	return kind, false
}
