package file

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"testing"

	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/rcsft"
)

// signIn lets in alice with her name alone, as the digest would with her password.
func signIn(r *http.Request) auth.Result {
	switch r.Header.Get("Authorization") {
	case "alice":
		return auth.Result{Identity: auth.Identity{AOR: alice}}
	case "locked":
		return auth.Result{Status: 403, Reason: "Too Many Wrong Passwords", Warning: "wait a moment", RetryAfter: 10}
	case "broken":
		return auth.Result{Status: 500}
	}
	return auth.Result{Status: 401, Challenges: []string{`Digest realm="example.com", nonce="1"`}}
}

// form is what liblinphone sends.
func form(t testing.TB, data []byte, names ...string) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, name := range names {
		h := textproto.MIMEHeader{"Content-Disposition": {name}, "Content-Type": {"text/plain"}}
		p, err := w.CreatePart(h)
		if err == nil {
			_, err = p.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.FormDataContentType()
}

const aPart = `form-data;name="File";filename="bäck up.txt"`

func TestRCS(t *testing.T) {
	r := newRig(t, func(o *Options) { o.SignIn, o.MaxSize = signIn, 100_000 })
	a := r.ask("", "POST", "/files/rcs", nil)
	if r.wantStatus(a, 401); !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Digest ") {
		t.Fatal(a.Header)
	}
	r.wantStatus(r.ask("", "POST", "/files/rcs", nil, "Authorization", "alice"), 204)
	if a := r.ask(alice, "POST", "/files/rcs", strings.NewReader("x")); a.StatusCode != 401 {
		t.Fatal("a session is enough: ", a.Status)
	}
	a = r.ask("", "POST", "/files/rcs", nil, "Authorization", "locked")
	if r.wantStatus(a, 403); a.Header.Get("Retry-After") != "10" || !strings.Contains(string(a.body), "wait a moment") {
		t.Fatal(a.Header, string(a.body))
	}
	r.wantStatus(r.ask("", "POST", "/files/rcs", nil, "Authorization", "broken"), 503)

	data := []byte("from a telephone")
	body, kind := form(t, data, `form-data;name="tid"`, `form-data;name="Thumbnail";filename="t.jpg"`, aPart)
	a = r.ask("", "POST", "/files/rcs", bytes.NewReader(body), "Authorization", "alice", "Content-Type", kind)
	if r.wantStatus(a, 200); a.Header.Get("Content-Type") != rcsft.ContentType {
		t.Fatal(a.Header)
	}
	doc, err := rcsft.Parse(a.body)
	if err != nil || len(doc.Files) != 1 {
		t.Fatal(err, string(a.body))
	}
	e := doc.Files[0]
	if e.Name != "bäck up.txt" || e.Size != int64(len(data)) || e.Type != "text/plain" || e.Until.IsZero() {
		t.Fatalf("%+v", e)
	}
	id, ok := r.Own(e.URL, alice)
	if !ok {
		t.Fatal(e.URL)
	}
	u, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	r.wantStatus(r.ask("", "GET", u.RequestURI(), nil), 404) // no message yet
	if _, ok := r.Own(e.URL, bob); ok {
		t.Fatal("bob may use alice's address")
	}
	f, err := r.Claim(t.Context(), alice, bob, id)
	if err != nil {
		t.Fatal(err)
	}
	r.Recorded(id, r.record(f))
	if a := r.ask("", "GET", u.RequestURI(), nil); !bytes.Equal(a.body, data) {
		t.Fatal(a.Status)
	}
	link, _ := r.Link(id, f.Name, bob)
	if u, err = url.Parse(link); err != nil {
		t.Fatal(err)
	}
	if a := r.ask("", "GET", u.RequestURI(), nil); !bytes.Equal(a.body, data) {
		t.Fatal(a.Status)
	}
}

// slowly gives a body without a length.
type slowly struct{ io.Reader }

func TestRCSRefuses(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.SignIn, o.MaxSize, o.MaxFiles, o.Types = signIn, 2<<20, 3, []string{"!application/x-executable"}
	})
	good, goodKind := form(t, []byte("x"), aPart)
	large, largeKind := form(t, random(2<<20+1), aPart)
	program, programKind := form(t, []byte("\x7fELF"), aPart)
	nothing, nothingKind := form(t, []byte("x"), `form-data;name="File"`)
	many, manyKind := form(t, []byte("x"), strings.Split(strings.Repeat(`form-data;name="a"|`, 30)+aPart, "|")...)
	for what, c := range map[string]struct {
		body io.Reader
		kind string
	}{
		"no form":               {strings.NewReader("x"), "text/plain"},
		"no boundary":           {strings.NewReader("x"), "multipart/form-data"},
		"another boundary":      {bytes.NewReader(good), "multipart/form-data; boundary=x"},
		"no type":               {bytes.NewReader(good), ""},
		"cut off":               {slowly{bytes.NewReader(good[:len(good)-30])}, goodKind},
		"too large":             {bytes.NewReader(large), largeKind},
		"too large, no length":  {slowly{bytes.NewReader(large)}, largeKind},
		"a program":             {bytes.NewReader(program), programKind},
		"no file":               {bytes.NewReader(nothing), nothingKind},
		"many parts":            {bytes.NewReader(many), manyKind},
		"an endless first line": {slowly{io.LimitReader(&zeros{left: 1 << 30, each: func(int) {}}, 4<<20)}, goodKind},
	} {
		a := r.ask("", "POST", "/files/rcs", c.body, "Authorization", "alice", "Content-Type", c.kind)
		if a.StatusCode != 400 {
			t.Errorf("%s: %s %s", what, a.Status, a.body)
		}
	}
	if kept, growing := r.content(); kept != 0 || growing != 0 {
		t.Errorf("%d kept, %d growing", kept, growing)
	}
	for i := range 4 {
		a := r.ask("", "POST", "/files/rcs", bytes.NewReader(good), "Authorization", "alice", "Content-Type", goodKind)
		if want := map[bool]int{true: 200, false: 429}[i < 3]; a.StatusCode != want {
			t.Errorf("upload %d: %s %s", i, a.Status, a.body)
		}
	}
	closed := newRig(t, nil)
	closed.wantStatus(closed.ask("", "POST", "/files/rcs", nil, "Authorization", "alice"), 403)
}

// TestHost: without an address of its own the door answers under the name by which it was called.
func TestHost(t *testing.T) {
	r := newRig(t, func(o *Options) { o.SignIn, o.Address = signIn, "" })
	body, kind := form(t, []byte("x"), aPart)
	a := r.ask("", "POST", "/files/rcs", bytes.NewReader(body), "Authorization", "alice", "Content-Type", kind)
	r.wantStatus(a, 200)
	if doc, err := rcsft.Parse(a.body); err != nil || !strings.HasPrefix(doc.Files[0].URL, r.web.URL+"/files/") {
		t.Fatal(err, string(a.body))
	}
}

// TestNoSpace: a full disk is said, and leaves nothing.
func TestNoSpace(t *testing.T) {
	r := newRig(t, func(o *Options) { o.SignIn, o.Blobs = signIn, fullDisk{o.Blobs} })
	id := r.begin("a", "", 10)
	a := r.ask(alice, "PUT", UploadPath(id), strings.NewReader("0123456789"))
	if r.wantStatus(a, 503); !strings.Contains(string(a.body), "no room") {
		t.Fatal(string(a.body))
	}
	r.wantStatus(r.ask(alice, "HEAD", UploadPath(id), nil), 404)
	body, kind := form(t, []byte("x"), aPart)
	a = r.ask("", "POST", "/files/rcs", bytes.NewReader(body), "Authorization", "alice", "Content-Type", kind)
	if r.wantStatus(a, 503); !strings.Contains(string(a.body), "no room") {
		t.Fatal(string(a.body))
	}
	if n, err := r.store.Files().CountOpen(t.Context()); err != nil || n != 0 {
		t.Fatal(n, err)
	}
}

// fullDisk is a folder on a disk without room.
type fullDisk struct{ store.Blobs }

func (fullDisk) Append(_ context.Context, _ string, _ int64, r io.Reader) (int64, error) {
	_, _ = io.Copy(io.Discard, r)
	return 0, fmt.Errorf("a test's: %w", store.ErrNoSpace)
}
