package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"mime/multipart"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/icholy/digest"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/rcsft"
	"github.com/parley-im/parley/wire/sip"
)

// download fetches a file with a session; it returns the code of the refusal, 0 for none.
func download(t *testing.T, c *parley.Client, f *v1.File, want []byte) connect.Code {
	t.Helper()
	var got bytes.Buffer
	if err := c.Download(t.Context(), f, &got); err != nil {
		return connect.CodeOf(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("%d bytes came, %d were sent", got.Len(), len(want))
	}
	return 0
}

// fetch reads a URL without a session.
func fetch(t *testing.T, url string) []byte {
	t.Helper()
	status, body := get(t, url)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", url, status, body)
	}
	return []byte(body)
}

var urlIn = regexp.MustCompile(`http://[^\s"<]+`)

// A file from page to page, with the server killed between its steps: nobody fetches it before the message is recorded, its two sides do
// from then on, and others never.
func TestFileOverCrashes(t *testing.T) {
	t.Parallel()
	s := StartProcess(t, SamePorts(t))
	alice, bob, carol := s.signedInOver(t, "alice"), s.signedInOver(t, "bob"), s.signedInOver(t, "carol")
	data := bytes.Repeat([]byte("0123456789"), 50_000)
	up, err := alice.Files.CreateUpload(t.Context(), connect.NewRequest(&v1.CreateUploadRequest{Conversation: AOR("bob"), Name: "../évil \"name\".txt", Size: int64(len(data))}))
	if err != nil {
		t.Fatal(err)
	}
	put := func(from, to int) answer {
		return s.ask(t, http.MethodPut, up.Msg.Url, bytes.NewReader(data[from:to]), "Authorization", "Bearer "+alice.Token(), "Upload-Offset", strconv.Itoa(from))
	}
	if a := put(0, 200_000); a.status != http.StatusNoContent {
		t.Fatal(a)
	}
	s.Kill()
	s.Again()
	if a := put(0, 1); a.status != http.StatusConflict || a.header.Get("Upload-Offset") != "200000" {
		t.Fatal(a)
	}
	if a := put(200_000, len(data)); a.status != http.StatusNoContent {
		t.Fatal(a)
	}
	sum := sha256.Sum256(data)
	complete := connect.NewRequest(&v1.CompleteUploadRequest{Id: up.Msg.Id, Sha256: hex.EncodeToString(sum[:])})
	done, err := alice.Files.CompleteUpload(t.Context(), complete)
	if err != nil || done.Msg.File.Name != `évil "name".txt` || done.Msg.File.Type != "text/plain" || done.Msg.File.Sha256 != hex.EncodeToString(sum[:]) {
		t.Fatal(done, err)
	}
	f := done.Msg.File
	s.Kill()
	s.Again()
	for who, c := range map[string]*parley.Client{"alice": alice, "bob": bob, "carol": carol} {
		if code := download(t, c, f, data); code != connect.CodeNotFound {
			t.Errorf("%s before the message: %v", who, code)
		}
	}
	if m := sent(t, alice, &v1.SendRequest{File: f.Id, Text: "here it is", RequestId: "once"}); m.File.GetId() != f.Id || m.File.GetUrl() != f.Url || m.Text != "here it is" {
		t.Fatalf("%+v", m)
	}
	s.Kill()
	s.Again()
	for who, c := range map[string]struct {
		*parley.Client
		code connect.Code
	}{"alice": {alice, 0}, "bob": {bob, 0}, "carol": {carol, connect.CodeNotFound}} {
		if code := download(t, c.Client, f, data); code != c.code {
			t.Errorf("%s after the message: %v", who, code)
		}
	}
	if _, err := carol.Messages.Send(t.Context(), connect.NewRequest(&v1.SendRequest{Conversation: AOR("bob"), File: f.Id})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("carol sends alice's file: %v", err)
	}
}

// A page sends to SIP clients: one that knows the file transfer of RCS gets its document, another one a line with the address; both fetch
// without a session.
func TestFileToSIP(t *testing.T) {
	t.Parallel()
	s := Start(t, SamePorts(t))
	alice := s.signedInOver(t, "alice")
	phone := s.UA("bob", transport.TCP).Instance("phone")
	phone.Extra = func(d *sip.Draft) { d.Set(sip.HUserAgent, "LinphoneAndroid/5.2.5 (realme Note 50) LinphoneSDK/5.3.47") }
	phone.Register()
	desk := s.SignedIn("bob", transport.UDP)
	data := []byte("the content of the file")
	f, err := alice.Upload(t.Context(), AOR("bob"), "notes.txt", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	sent(t, alice, &v1.SendRequest{File: f.Id})
	toPhone, toDesk := string(phone.Expect(sip.MESSAGE).Body()), string(desk.Expect(sip.MESSAGE).Body())
	if !strings.Contains(toPhone, "urn:gsma:params:xml:ns:rcs:rcs:fthttp") || !strings.Contains(toPhone, "notes.txt") {
		t.Errorf("the phone got\n%s", toPhone)
	}
	if !strings.Contains(toDesk, "📎 notes.txt (23 bytes)\n") {
		t.Errorf("the desk got\n%s", toDesk)
	}
	for _, text := range []string{toPhone, toDesk} {
		if got := fetch(t, urlIn.FindString(text)); !bytes.Equal(got, data) {
			t.Errorf("%q from %s", got, text)
		}
	}
}

// A SIP client uploads with its own password, and its message becomes a file that the page fetches with its session. An address of
// somebody else's stays a text.
func TestFileFromSIP(t *testing.T) {
	t.Parallel()
	s := Start(t, SamePorts(t))
	alice, bob := s.SignedIn("alice", transport.TCP), s.signedInOver(t, "bob")
	data := bytes.Repeat([]byte("from a phone "), 10_000)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	p, err := w.CreateFormFile("File", "photo.txt")
	if err == nil {
		_, err = p.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	upload := func(password string) (int, []byte) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.web()+"/files/rcs", bytes.NewReader(form.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", w.FormDataContentType())
		q.Header.Set("From", "sip:"+AOR("alice"))
		resp, err := (&http.Client{Transport: &digest.Transport{Username: "alice", Password: password}}).Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	if status, body := upload("wrong"); status != http.StatusUnauthorized {
		t.Fatalf("%d %s", status, body)
	}
	status, doc := upload(Password("alice"))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, doc)
	}
	if m := alice.Do(alice.Request(sip.MESSAGE, "bob").Body(rcsft.ContentType, doc)); m.Status() != 202 && m.Status() != 200 {
		t.Fatal(Line(m))
	}
	list := s.Records("message")
	id := list[len(list)-1].Meta["file"]
	if id == "" {
		t.Fatalf("the message names no file: %+v", list[len(list)-1])
	}
	if code := download(t, bob, &v1.File{Url: "/files/" + id + "/photo.txt", Size: int64(len(data))}, data); code != 0 {
		t.Fatal(code)
	}
	carol := s.SignedIn("carol", transport.TCP)
	if m := carol.Do(carol.Request(sip.MESSAGE, "bob").Body(rcsft.ContentType, doc)); m.Status() != 202 && m.Status() != 200 {
		t.Fatal(Line(m))
	}
	if list := s.Records("message"); list[len(list)-1].Meta["file"] != "" {
		t.Fatal("carol has sent alice's file")
	}
}

// Whoever sends a large file hears before that the line of the other side is slow, as its device says; a page beside it is not.
func TestSlowLine(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice, bob := s.signedInOver(t, "alice"), s.UA("bob", transport.TCP).Instance("phone")
	bob.Register()
	check := func() *v1.CheckLineResponse {
		t.Helper()
		resp, err := alice.Files.CheckLine(t.Context(), connect.NewRequest(&v1.CheckLineRequest{Conversation: AOR("bob"), Size: 1_600_000}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg
	}
	if c := check(); c.Slow {
		t.Fatalf("nobody has said so: %v", c)
	}
	const doc = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com"><tuple id="t1"><status><basic>open</basic></status>` +
		`<p:line xmlns:p="urn:parley:presence" throughput="slow"/></tuple></presence>`
	if m := bob.Publish("", 600, doc); m.Status() != 200 {
		t.Fatal(Line(m))
	}
	s.Eventually("a slow line", func() bool { c := check(); return c.Slow && c.Seconds == 100 })
	listening(t, s.signedInOver(t, "bob"), parley.Handlers{})
	if c := check(); c.Slow || c.Seconds != 0 {
		t.Fatalf("with a page beside it: %v", c)
	}
}
