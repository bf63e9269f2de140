package content

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/mime"
	"github.com/parley-im/parley/wire/rcsft"
)

const aFile = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
	`<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp"><file-info type="file"><file-size>1234567</file-size><file-name>cat.png</file-name>` +
	`<content-type>image/png</content-type><data url="https://files.example.com/1"></data></file-info></file>`

func message(contentType, body string, meta ...string) *store.Record {
	r := &store.Record{Kind: store.KindMessage, ContentType: contentType, Body: []byte(body), Meta: map[string]string{}}
	for i := 0; i < len(meta); i += 2 {
		r.Meta[meta[i]] = meta[i+1]
	}
	return r
}

func TestRead(t *testing.T) {
	quoted := id.New()
	cat := &File{Name: "cat.png", Type: "image/png", Size: 1234567, URL: "https://files.example.com/1"}
	ours := *cat
	ours.ID = "f1"
	for name, c := range map[string]struct {
		r    *store.Record
		want Content
	}{
		"plain":      {message("text/plain", "a\r\nb\x00\r"), Content{Text: "a\nb\n"}},
		"no UTF-8":   {message("text/plain", "caf\xe9"), Content{Text: "caf\uFFFD"}},
		"latin":      {message("text/plain; charset=ISO-8859-1", "caf\xe9"), Content{Text: "café"}},
		"subject":    {message("text/plain", "a", "subject", "x\ny", "priority", "Urgent"), Content{Text: "a", Subject: "x y", Priority: "urgent"}},
		"html":       {message("Text/HTML", "<html><body><b>a</b><script>x</script></body></html>"), Content{Text: "a", HTML: "<strong>a</strong>"}},
		"plain html": {message("text/html", "<p>a</p><p>b"), Content{Text: "a\n\nb"}},
		"cpim": {message("message/cpim", "From: <sip:a@x>\r\nSubject: s\r\n\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8="),
			Content{Text: "hello", Subject: "s"}},
		"broken cpim": {message("message/cpim", "hello"), Content{Text: "hello"}},
		"alternative": {message("multipart/alternative;boundary=b", "--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b\r\nContent-Type: text/html\r\n\r\n<i>html</i>\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--"),
			Content{Text: "html", HTML: "<em>html</em>"}},
		"mixed": {message("multipart/mixed;boundary=b", "--b\r\nContent-Type: text/plain\r\n\r\na < b\r\n--b\r\nContent-Type: text/html\r\n\r\n<i>c</i>\r\n--b\r\nContent-Type: image/png\r\n\r\nxxx\r\n--b--"),
			Content{Text: "a < b\n\nc\n\n[image/png, 3 bytes]", HTML: "a &lt; b<br><br><em>c</em><br><br>[image/png, 3 bytes]"}},
		"the same twice": {message("multipart/mixed;boundary=b", "--b\r\nContent-Type: text/plain\r\n\r\nc\r\n--b\r\nContent-Type: text/html\r\n\r\n<i>c</i>\r\n--b--"),
			Content{Text: "c", HTML: "<em>c</em>"}},
		"a picture": {message("image/png", "xxx"), Content{Text: "[image/png, 3 bytes]"}},
		"empty":     {message("", ""), Content{}},
		"typing":    {message("application/im-iscomposing+xml", "<isComposing/>"), Content{Typing: true}},
		"file":      {message("application/vnd.gsma.rcs-ft-http+xml", aFile), Content{File: cat}},
		"our file":  {message("application/vnd.gsma.rcs-ft-http+xml", aFile, "file", "f1", "caption", "my\ncat"), Content{File: &ours, Text: "my\ncat"}},
		"bad file":  {message("application/vnd.gsma.rcs-ft-http+xml", strings.Replace(aFile, "https:", "javascript:", 1)), Content{Text: "[a file that cannot be read]"}},
		"file and words": {message("multipart/mixed;boundary=b", "--b\r\nContent-Type: text/plain\r\n\r\nlook\r\n--b\r\nContent-Type: application/vnd.gsma.rcs-ft-http+xml\r\n\r\n"+aFile+"\r\n--b--"),
			Content{Text: "look", File: cat}},
		"two files": {message("multipart/mixed;boundary=b", strings.Repeat("--b\r\nContent-Type: application/vnd.gsma.rcs-ft-http+xml\r\n\r\n"+aFile+"\r\n", 2)+"--b--"),
			Content{Text: "📎 cat.png (1.2 MB)\nhttps://files.example.com/1", File: cat}},
		"reply":     {message("text/plain", "yes", "reply_to", quoted.String(), "quote_from", "a@x", "quote", "really?"), Content{Text: "yes", ReplyTo: quoted, QuoteFrom: "a@x", Quote: "really?"}},
		"bad quote": {message("text/plain", "yes", "reply_to", "x", "quote", "really?"), Content{Text: "yes"}},
		"edit":      {&store.Record{Kind: store.KindEdit, ContentType: HTMLType, Body: []byte("<em>a</em>")}, Content{Text: "a", HTML: "<em>a</em>"}},
		"reaction":  {&store.Record{Kind: store.KindReaction, Body: []byte("👍")}, Content{Text: "👍"}},
		"call":      {&store.Record{Kind: store.KindCallStart, ContentType: "application/sdp", Body: []byte("v=0"), Meta: map[string]string{"subject": "s"}}, Content{Call: true, Subject: "s"}},
		"receipt":   {&store.Record{Kind: store.KindReceipt, Body: []byte("x")}, Content{}},
	} {
		if got := Read(c.r); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v (file %+v)", name, got, c.want, got.File)
		}
	}
}

// Wrappers in wrappers end somewhere.
func TestNested(t *testing.T) {
	r := message("text/plain", "deep")
	for range 20 {
		r.ContentType, r.Body = "message/cpim", []byte("From: <sip:a@x>\r\n\r\nContent-Type: "+r.ContentType+"\r\n\r\n"+string(r.Body))
	}
	if c := Read(r); strings.Contains(c.Text, "deep") || !strings.HasPrefix(c.Text, "[message/cpim") {
		t.Errorf("%q", c.Text)
	}
	for n := MaxText - 1; n <= MaxText+utf8.UTFMax; n++ {
		body := make([]byte, n) // there is nothing behind it
		for i := range body {
			body[i] = 'x'
		}
		r := message("text/plain", "")
		if r.Body = body[:n:n]; len(Read(r).Text) > MaxText+len("…") {
			t.Errorf("%d bytes: %d are read", n, len(Read(r).Text))
		}
	}
	if c := Read(message("text/plain", strings.Repeat("é", MaxText))); len(c.Text) > MaxText+3 || !utf8.ValidString(c.Text) {
		t.Errorf("%d bytes", len(c.Text))
	}
}

// What SIP clients see, for each kind.
func TestForSIP(t *testing.T) {
	ref := id.New().String()
	cpimOf := func(contentType, body string) string {
		return "From: <sip:a@x>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: m1\r\n\r\nContent-Type: " + contentType + "\r\n\r\n" + body
	}
	long := strings.TrimSpace(strings.Repeat("words ", 100))
	for name, c := range map[string]struct {
		r        *store.Record
		rcs      bool
		limit    int
		typ, out string
	}{
		"plain":        {message("text/plain", "hello"), false, 0, "text/plain", "hello"},
		"foreign html": {message("text/html", "<b>a"), false, 0, "text/html", "<b>a"}, // as its sender's client made it
		"our html":     {message(HTMLType, "<p>a</p><p><em>b</em></p>", "via", "api"), false, 0, PlainType, "a\n\nb"},
		"reply":        {message(PlainType, "yes", "via", "api", "reply_to", ref, "quote", "really?"), false, 0, PlainType, "> really?\n\nyes"},
		"edit":         {&store.Record{Kind: store.KindEdit, ContentType: HTMLType, Body: []byte("a<br><em>b</em>")}, false, 0, PlainType, "Edited: a\nb"},
		"retract":      {&store.Record{Kind: store.KindRetract, Meta: map[string]string{"quote": strings.Repeat("0123456789", 8)}}, false, 0, PlainType, "Deleted: “" + strings.Repeat("0123456789", 6) + "…”"},
		"reaction":     {&store.Record{Kind: store.KindReaction, Body: []byte("👍"), Meta: map[string]string{"quote": "see you"}}, false, 0, PlainType, "👍 to “see you”"},
		"file":         {message("application/vnd.gsma.rcs-ft-http+xml", aFile), false, 0, PlainType, "📎 cat.png (1.2 MB)\nhttps://files.example.com/1"},
		"file, rcs":    {message("application/vnd.gsma.rcs-ft-http+xml", aFile), true, 0, "application/vnd.gsma.rcs-ft-http+xml", aFile},
		"caption":      {message("application/vnd.gsma.rcs-ft-http+xml", aFile, "caption", "look"), false, 0, PlainType, "look\n📎 cat.png (1.2 MB)\nhttps://files.example.com/1"},
		"cpim":         {message("message/cpim", cpimOf("text/plain", "hello")), false, 0, "message/cpim", cpimOf("text/plain", "hello")},
		"cpim, file, rcs": {message("message/cpim", cpimOf("application/vnd.gsma.rcs-ft-http+xml", aFile)), true, 0, "message/cpim",
			cpimOf("application/vnd.gsma.rcs-ft-http+xml", aFile)},
		"receipt": {&store.Record{Kind: store.KindReceipt, ContentType: "message/imdn+xml", Body: []byte("<imdn/>")}, false, 10, "message/imdn+xml", "<imdn/>"},
		"short":   {message("text/plain", long), false, len(long), "text/plain", long},
		"long":    {message("text/plain", long), false, 100, PlainType, strings.TrimSpace(strings.Repeat("words ", 13)) + "… (the text goes on)"},
	} {
		typ, out := ForSIP(c.r, Device{RCS: c.rcs, Limit: c.limit})
		if typ != c.typ || string(out) != c.out {
			t.Errorf("%s: %s %q, want %s %q", name, typ, out, c.typ, c.out)
		}
	}
	link := "https://chat.example.com/m/0199"
	if _, out := ForSIP(message("text/plain", long), Device{Limit: 120, Link: link}); len(out) > 120 || !strings.HasSuffix(string(out), "words… (whole text: "+link+")") {
		t.Errorf("with a link: %q", out)
	}
	if _, out := ForSIP(message("text/plain", long), Device{Limit: 10, Link: link}); !strings.HasPrefix(string(out), "words words") || !strings.HasSuffix(string(out), link+")") {
		t.Errorf("for a device that takes next to nothing: %q", out)
	}
	if typ, out := ForSIP(message("message/cpim", cpimOf("text/plain", long)), Device{Limit: 100, Link: link}); typ != "message/cpim" || !strings.Contains(string(out), "imdn.Message-ID: m1\r\n") || !strings.HasSuffix(string(out), link+")") {
		t.Errorf("in a wrapper: %s %q", typ, out)
	}
	if typ, out := ForSIP(message("message/cpim", cpimOf("application/vnd.gsma.rcs-ft-http+xml", aFile)), Device{}); typ != "message/cpim" || !strings.HasSuffix(string(out), "\r\n\r\n📎 cat.png (1.2 MB)\nhttps://files.example.com/1") {
		t.Errorf("a file in a wrapper: %s %q", typ, out)
	}
}

// A file of ours is told with the address that is for this device.
func TestOwnFile(t *testing.T) {
	const fresh = "https://chat.example.com/files/1/cat.png?k=1&x=2"
	r := message("application/vnd.gsma.rcs-ft-http+xml", strings.Replace(aFile, "<data", "<file-key>AAAA</file-key><data", 1))
	f := File{ID: "f1", Name: "tom.png", Type: "image/png", Size: 5000, Width: 20, Height: 10, SHA256: "aa", Small: true}
	SetFile(r, &f)
	want := f
	want.URL, want.Encrypted = "https://files.example.com/1", true
	if got := Read(r).File; !reflect.DeepEqual(got, &want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, out := ForSIP(r, Device{File: fresh}); string(out) != "📎 tom.png (5 kB)\n"+fresh {
		t.Errorf("as text: %q", out)
	}
	_, out := ForSIP(r, Device{RCS: true, File: fresh})
	if d, err := rcsft.Parse(out); err != nil || d.Files[0].URL != fresh || !strings.Contains(string(out), "<file-key>AAAA</file-key>") {
		t.Errorf("as a document: %v %q", err, out)
	}
}

// The words to a file are a part of their own, where a client knows documents.
func TestCaption(t *testing.T) {
	r := message("application/vnd.gsma.rcs-ft-http+xml", aFile, "caption", "look\n--parley-")
	r.ID = id.New()
	typ, out := ForSIP(r, Device{RCS: true})
	parts, err := mime.Multipart(typ, out, mime.DefaultLimits)
	if err != nil || len(parts) != 2 || string(parts[0].Body) != "look\n--parley-" || parts[0].ContentType != PlainType || parts[1].ContentType != r.ContentType || string(parts[1].Body) != aFile {
		t.Errorf("%v %s\n%s", err, typ, out)
	}
	if c := Read(message(typ, string(out))); c.Text != "look\n--parley-" || c.File == nil { // as a page would read it
		t.Errorf("%+v", c)
	}
}

func TestTells(t *testing.T) {
	for name, c := range map[string]struct {
		r    *store.Record
		want bool
	}{
		"message":        {message("", ""), true},
		"reaction":       {&store.Record{Kind: store.KindReaction, Body: []byte("👍")}, true},
		"one taken away": {&store.Record{Kind: store.KindReaction, Body: []byte("👍"), Meta: map[string]string{"removed": "1"}}, false},
		"receipt":        {&store.Record{Kind: store.KindReceipt, Body: []byte("<imdn/>")}, true},
		"having read it": {&store.Record{Kind: store.KindReceipt}, false},
	} {
		if got := Tells(c.r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestIsEmoji(t *testing.T) {
	for _, s := range []string{"👍", "❤️", "❤", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "1️⃣", "🏴‍☠️", "🏳️‍🌈", "🏴\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F", "☺️", "©️", "🫠"} {
		if !IsEmoji(s) {
			t.Errorf("%q is one emoji", s)
		}
	}
	for _, s := range []string{"", "a", "1", "👍👍", "👍 ", "👍\u202e", "<b>", "🇩", "🇩🇪🇫🇷", "1️", "\u200d", "👍\u200d", "\u200d👍", "👍\u200d\u200d👍", "\ufe0f", "\xff", "❤️\ufe0f", strings.Repeat("👍\u200d", 10) + "👍"} {
		if IsEmoji(s) {
			t.Errorf("%q is not one emoji", s)
		}
	}
}

func TestBeginning(t *testing.T) {
	if got := Beginning(" a\n\n b ", 10); got != "a b" {
		t.Errorf("%q", got)
	}
	if got := Beginning(strings.Repeat("é", 1000), 5); got != "ééééé…" {
		t.Errorf("%q", got)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"text/plain", "text/html", "message/cpim", "multipart/mixed;boundary=b", "application/vnd.gsma.rcs-ft-http+xml", "image/png"} {
		f.Add(s, []byte("--b\r\nContent-Type: text/plain\r\n\r\nc\r\n--b--"))
		f.Add(s, []byte("From: <sip:a@x>\r\n\r\nContent-Type: text/html\r\n\r\n<p>x"))
		f.Add(s, []byte(aFile))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		r := &store.Record{Kind: store.KindMessage, ContentType: contentType, Body: body, Meta: map[string]string{"via": "api"}}
		c := Read(r)
		if !utf8.ValidString(c.Text) || !utf8.ValidString(c.Subject) || !safe.MatchString(c.HTML) {
			t.Fatalf("%q %q: %+v", contentType, body, c)
		}
		if c.File != nil && !strings.HasPrefix(c.File.URL, "http") {
			t.Fatalf("%q %q: %+v", contentType, body, c.File)
		}
		for _, rcs := range []bool{false, true} {
			ForSIP(r, Device{RCS: rcs, Limit: 50, Link: "https://h/m/1", File: "https://h/f/1"})
		}
	})
}

// BenchmarkChanges is what each delivery of a message of a SIP client pays.
func BenchmarkChanges(b *testing.B) {
	r := message("text/plain;charset=utf-8", strings.Repeat("x", 200), "call_id", "1", "from_tag", "2", "cseq", "3")
	b.ReportAllocs()
	for b.Loop() {
		if Changes(r, false, 1000) {
			b.Fatal("it does")
		}
	}
}
