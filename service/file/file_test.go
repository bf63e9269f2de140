package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// TestUpload is the whole way of a file, with the line cut in the middle and the server started anew.
func TestUpload(t *testing.T) {
	r := newRig(t, nil)
	data := random(3_000_000)
	id := r.begin("report.pdf", "application/pdf", len(data))
	path := UploadPath(id)
	a := r.ask(alice, "HEAD", path, nil)
	if r.wantStatus(a, 200); a.Header.Get(offsetHeader) != "0" {
		t.Fatal(a.Header)
	}
	// A line that is cut: the body ends before its length.
	broken := io.MultiReader(bytes.NewReader(data[:1_000_000]), errReader{})
	q, err := http.NewRequestWithContext(t.Context(), "PUT", r.web.URL+path, broken)
	if err != nil {
		t.Fatal(err)
	}
	q.ContentLength = int64(len(data))
	q.Header.Set("Who", alice)
	if resp, err := r.web.Client().Do(q); err == nil {
		resp.Body.Close()
		t.Fatal("the line was not cut")
	}
	before := r.offset(path) // it may still be reading what came
	r.again(nil)
	offset := r.offset(path)
	if offset < before || offset > 1_000_000 {
		t.Fatalf("%d bytes before the restart, %d after", before, offset)
	}
	if a := r.ask(alice, "PUT", path, strings.NewReader("x"), offsetHeader, "2999999"); a.StatusCode != 409 || a.Header.Get(offsetHeader) != fmt.Sprint(offset) {
		t.Fatal(a.Status, a.Header)
	}
	if _, err := r.CompleteUpload(t.Context(), alice, id, ""); !errors.Is(err, ErrMissing) {
		t.Fatal(err)
	}
	a = r.ask(alice, "PUT", path, bytes.NewReader(data[offset:]), offsetHeader, fmt.Sprint(offset))
	if r.wantStatus(a, 204); a.Header.Get(offsetHeader) != fmt.Sprint(len(data)) {
		t.Fatal(a.Header)
	}
	f, err := r.CompleteUpload(t.Context(), alice, id, hexSum(data))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.CompleteUpload(t.Context(), alice, id, hexSum(data)); err != nil || again.SHA256 != f.SHA256 {
		t.Fatal(again, err)
	}
	if f.SHA256.String() != hexSum(data) || f.Size != int64(len(data)) {
		t.Fatal(f)
	}

	// Nobody can fetch it before a message with it is in the log.
	link := Path(f.ID, f.Name)
	for _, who := range []string{alice, bob, carol} {
		r.wantStatus(r.ask(who, "GET", link, nil), 404)
	}
	if f, err = r.Claim(t.Context(), alice, bob, id); err != nil {
		t.Fatal(err)
	}
	r.wantStatus(r.ask(bob, "GET", link, nil), 404)
	r.Recorded(f.ID, r.record(f))
	for _, who := range []string{alice, bob} {
		a := r.ask(who, "GET", link, nil)
		if r.wantStatus(a, 200); !bytes.Equal(a.body, data) {
			t.Fatalf("%s got %d bytes", who, len(a.body))
		}
	}
	r.wantStatus(r.ask(carol, "GET", link, nil), 404)
	r.wantStatus(r.ask("", "GET", link, nil), 401)
	if kept, growing := r.content(); kept != 1 || growing != 0 {
		t.Fatal(kept, growing)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("the line is gone") }

// offset is how many bytes the server has.
func (r *rig) offset(path string) int64 {
	r.t.Helper()
	a := r.ask(alice, "HEAD", path, nil)
	r.wantStatus(a, 200)
	n, err := strconv.ParseInt(a.Header.Get(offsetHeader), 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestTakeOver: a client that comes again while its first request still hangs goes on at once.
func TestTakeOver(t *testing.T) {
	r := newRig(t, nil)
	data := random(10_000)
	id := r.begin("a", "", len(data))
	body, w := io.Pipe()
	first := make(chan error, 1)
	go func() {
		q, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), "PUT", r.web.URL+UploadPath(id), body)
		if err == nil {
			q.Header.Set("Who", alice)
			var resp *http.Response
			if resp, err = r.web.Client().Do(q); err == nil {
				resp.Body.Close()
				err = errors.New(resp.Status)
			}
		}
		body.CloseWithError(io.ErrClosedPipe)
		first <- err
	}()
	if _, err := w.Write(data[:4000]); err != nil {
		t.Fatal(err)
	}
	for r.offset(UploadPath(id)) < 4000 { // events of the network: there is nothing else to wait for
		runtime.Gosched()
	}
	a := r.ask(alice, "PUT", UploadPath(id), bytes.NewReader(data[4000:]), offsetHeader, "4000")
	r.wantStatus(a, 204)
	if err := <-first; err == nil {
		t.Fatal("the first request was answered as if nothing had been")
	}
	if f, err := r.CompleteUpload(t.Context(), alice, id, hexSum(data)); err != nil || f.Size != 10_000 {
		t.Fatal(f, err)
	}
}

// TestStopped: who was stopped reads no more, also when it was about to wait for the line just then.
func TestStopped(t *testing.T) {
	p := &patient{Reader: strings.NewReader("more"), c: http.NewResponseController(httptest.NewRecorder())}
	p.stop()
	if n, err := p.Read(make([]byte, 4)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(n, err)
	}
}

// drip gives some bytes each time, after a while.
type drip struct {
	bytes int
	after time.Duration
	times int // then it ends
}

func (d *drip) Read(b []byte) (int, error) {
	if d.times--; d.times < 0 {
		return 0, io.EOF
	}
	time.Sleep(d.after)
	return min(d.bytes, len(b)), nil
}

// TestSlowUpload: whoever sends a byte now and then is cut off after a while, and whoever has a slow line is not.
func TestSlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := func(r io.Reader, pause time.Duration) (took time.Duration, err error) {
			p := &patient{Reader: r, c: http.NewResponseController(httptest.NewRecorder())}
			begun := time.Now()
			for b := make([]byte, 32<<10); err == nil; time.Sleep(pause) {
				_, err = p.Read(b)
			}
			return time.Since(begun), err
		}
		for what, c := range map[string]struct {
			drip
			want error
		}{
			"a byte in 59 s":         {drip{1, 59 * time.Second, 1000}, errSlow},
			"a byte in a second":     {drip{1, time.Second, 10_000}, errSlow},
			"1,000 bytes in 1 s":     {drip{1000, time.Second, 10_000}, errSlow},
			"1 kB in 1 s":            {drip{1 << 10, time.Second, 10_000}, io.EOF},
			"32 kB in 31 s":          {drip{32 << 10, 31 * time.Second, 1000}, io.EOF},
			"a little that is whole": {drip{1, 20 * time.Second, 2}, io.EOF},
		} {
			took, err := read(&c.drip, 0)
			if !errors.Is(err, c.want) || c.want == errSlow && took > 2*leastOver {
				t.Errorf("%s: %v after %v", what, err, took)
			}
		}
		if took, err := read(&drip{1, 0, 100}, time.Minute); err != io.EOF {
			t.Errorf("a slow server: %v after %v", err, took)
		}
	})
	// What has come stays, and it is said what is wrong.
	r := newRig(t, nil)
	id := r.begin("a", "", 10)
	n, err := r.Write(t.Context(), alice, id, 0, io.MultiReader(strings.NewReader("0123"), iotest.ErrReader(errSlow)), func() {})
	if n != 4 || !errors.Is(err, errs.Unavailable) || !strings.Contains(errs.Reason(err), "1 kB in a second") {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := r.Write(t.Context(), alice, id, 4, strings.NewReader("456789"), func() {}); n != 10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := malformed(fmt.Errorf("reading: %w", errSlow)); !errors.Is(err, errs.Unavailable) {
		t.Error(err)
	}
}

// TestNobodyElseStops: whoever guesses the id of somebody's upload does not disturb it.
func TestNobodyElseStops(t *testing.T) {
	r := newRig(t, nil)
	id := r.begin("a", "", 4)
	body, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		_, err := r.Write(t.Context(), alice, id, 0, body, func() { t.Error("the upload was stopped"); body.Close() })
		written <- err
	}()
	if _, err := w.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	_, err := r.CompleteUpload(t.Context(), carol, id, "")
	wantKind(t, "somebody else's upload", err, errs.NotFound)
	if _, err := w.Write([]byte("cd")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

// TestLies: uploads that are not what they say.
func TestLies(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.MaxSize = 1 << 20
		o.Types = []string{"!application/x-executable", "!application/vnd.microsoft.portable-executable", "!text/html"}
	})
	ctx := t.Context()
	for what, u := range map[string]Upload{
		"too large":      {alice, bob, "a", "", 1<<20 + 1},
		"negative":       {alice, bob, "a", "", -1},
		"refused":        {alice, bob, "a", "Text/HTML; charset=utf-8", 10},
		"no address":     {alice, "nobody", "a", "", 10},
		"not an address": {alice, "sip:", "a", "", 10},
	} {
		_, err := r.CreateUpload(ctx, u)
		wantKind(t, what, err, errs.Invalid)
	}
	_, err := r.CreateUpload(ctx, Upload{alice, "stranger@example.com", "a", "", 10})
	wantKind(t, "to nobody", err, errs.NotFound)

	id := r.begin("a", "", 100)
	a := r.ask(alice, "PUT", UploadPath(id), bytes.NewReader(random(101)))
	r.wantStatus(a, 400)
	r.wantStatus(r.ask(alice, "HEAD", UploadPath(id), nil), 404)

	id = r.begin("a", "", 100)
	r.wantStatus(r.ask(alice, "PUT", UploadPath(id), bytes.NewReader(random(100))), 204)
	_, err = r.CompleteUpload(ctx, alice, id, hexSum([]byte("other")))
	wantKind(t, "another hash", err, errs.Invalid)
	_, err = r.CompleteUpload(ctx, alice, id, "")
	wantKind(t, "again", err, errs.NotFound)
	_, err = r.CompleteUpload(ctx, alice, r.begin("a", "", 1), "xyz")
	wantKind(t, "no hash", err, errs.Invalid)

	for what, data := range map[string]string{
		"a program that says it is a picture": "MZ\x90\x00\x03rest",
		"a program for Linux":                 "\x7fELF\x02\x01\x01",
		"a page":                              strings.Repeat(" ", 2000) + "<!-- --><HTML><script>alert(1)</script>",
		"a page in UTF-16":                    "\xff\xfe<\x00h\x00t\x00m\x00l\x00>\x00",
	} {
		id := r.begin("cat.png", "image/png", len(data))
		if _, err := r.Write(ctx, alice, id, 0, strings.NewReader(data), func() {}); err != nil {
			t.Fatal(err)
		}
		_, err := r.CompleteUpload(ctx, alice, id, "")
		wantKind(t, what, err, errs.Invalid)
		if _, err := r.Size(ctx, alice, id); !errors.Is(err, errs.NotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What it is is told, not what was said; nothing at all is a file, too.
	if f := r.upload("cat.txt", "text/plain", tinyPNG); f.Type != "image/png" || f.Width != 2 || f.Height != 1 {
		t.Errorf("%+v", f)
	}
	if f := r.upload("none", "", nil); f.Size != 0 || !f.Complete() {
		t.Errorf("%+v", f)
	}
	if _, growing := r.content(); growing != 0 {
		t.Error("parts are left: ", growing)
	}
}

func TestQuota(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxFiles, o.MaxSize = 3, 1000 })
	var ids []string
	for range 3 {
		ids = append(ids, r.begin("a", "", 1000))
	}
	_, err := r.CreateUpload(t.Context(), Upload{alice, bob, "a", "", 1})
	wantKind(t, "one too many", err, errs.TooMany)
	if !strings.Contains(errs.Reason(err), "at most 3 of 5 kB") {
		t.Error(errs.Reason(err))
	}
	if _, err := r.CreateUpload(t.Context(), Upload{carol, bob, "a", "", 1}); err != nil {
		t.Fatal("another person's quota: ", err)
	}
	if err := r.CancelUpload(t.Context(), alice, ids[0]); err != nil {
		t.Fatal(err)
	}
	r.send("b", "", []byte("sent files do not count"))
	r.noteRecorded(t.Context())
	r.begin("a", "", 1)
}

// TestForeign: who guesses or knows the id of somebody else's upload or file learns nothing.
func TestForeign(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	id := r.begin("a", "", 10)
	sent := r.send("b", "", []byte("for bob"))
	for _, id := range []string{id, strings.Repeat("0", 32), "x", "../../state.db", strings.ToUpper(sent.ID)} {
		_, err := r.Write(ctx, carol, id, 0, strings.NewReader("x"), func() {})
		wantKind(t, "write", err, errs.NotFound)
		_, err = r.Size(ctx, carol, id)
		wantKind(t, "size", err, errs.NotFound)
		_, err = r.CompleteUpload(ctx, carol, id, "")
		wantKind(t, "complete", err, errs.NotFound)
		wantKind(t, "cancel", r.CancelUpload(ctx, carol, id), errs.NotFound)
		_, err = r.Claim(ctx, carol, bob, id)
		wantKind(t, "claim", err, errs.NotFound)
		_, err = r.File(ctx, carol, id)
		wantKind(t, "file", err, errs.NotFound)
	}
	_, err := r.Claim(ctx, carol, bob, sent.ID)
	wantKind(t, "claiming what was sent to others", err, errs.NotFound)
	wantKind(t, "cancelling what was sent", r.CancelUpload(ctx, alice, sent.ID), errs.Conflict)
	for _, path := range []string{"/files/x/y", "/files/" + sent.ID + "/b", "/files/uploads/" + id, "/files/..%2f..%2fstate.db/x"} {
		r.wantStatus(r.ask(carol, "GET", path, nil), 404)
	}
	// Both answers are the same, word for word.
	one, two := r.ask(carol, "GET", "/files/"+sent.ID+"/b", nil), r.ask(carol, "GET", "/files/"+newID()+"/b", nil)
	if string(one.body) != string(two.body) || one.Status != two.Status {
		t.Fatalf("%s %q, %s %q", one.Status, one.body, two.Status, two.body)
	}
	// An upload for bob is not sent to carol.
	done := r.upload("c", "", []byte("for bob alone"))
	_, err = r.Claim(ctx, alice, carol, done.ID)
	wantKind(t, "another conversation", err, errs.Conflict)
}

// TestForward: who may fetch a file may send it on; that is another file with the same content.
func TestForward(t *testing.T) {
	r := newRig(t, nil)
	data := []byte("pass it on")
	f := r.send("a.txt", "", data)
	g, err := r.Claim(t.Context(), bob, carol, f.ID)
	if err != nil || g.ID == f.ID || g.Owner != bob || g.Conversation != carol {
		t.Fatal(g, err)
	}
	r.wantStatus(r.ask(carol, "GET", Path(g.ID, g.Name), nil), 404)
	r.Recorded(g.ID, r.record(g))
	if a := r.ask(carol, "GET", Path(g.ID, g.Name), nil); string(a.body) != string(data) {
		t.Fatal(a.Status)
	}
	r.wantStatus(r.ask(carol, "GET", Path(f.ID, f.Name), nil), 404)
	r.wantStatus(r.ask(alice, "GET", Path(g.ID, g.Name), nil), 404)
	if kept, _ := r.content(); kept != 1 {
		t.Fatal(kept)
	}
	// The same again in the same conversation is the same file.
	if again, err := r.Claim(t.Context(), alice, bob, f.ID); err != nil || again.ID != f.ID {
		t.Fatal(again, err)
	}
}

// TestForwardAgain: a request to pass a file on that is repeated, because nobody has heard the answer, makes one file.
func TestForwardAgain(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxFiles = 2 })
	f := r.send("a.txt", "", []byte("pass it on"))
	claim := func() *store.File {
		t.Helper()
		g, err := r.Claim(t.Context(), bob, carol, f.ID)
		if err != nil || g.Owner != bob || g.Conversation != carol || g.SHA256 != f.SHA256 {
			t.Fatal(g, err)
		}
		return g
	}
	ids := make(chan string)
	for range 8 {
		go func() {
			g, err := r.Claim(t.Context(), bob, carol, f.ID)
			if err != nil {
				t.Error(err)
				g = &store.File{}
			}
			ids <- g.ID
		}()
	}
	first := <-ids
	for range 7 {
		if got := <-ids; got != first {
			t.Errorf("%s and %s", first, got)
		}
	}
	if first == f.ID || claim().ID != first {
		t.Error("a repeat made another file")
	}
	g := claim()
	seq := r.record(g)
	r.Recorded(g.ID, seq)
	if claim().ID != first {
		t.Error("a repeat behind the record made another file")
	}
	if h, err := r.Claim(t.Context(), bob, alice, f.ID); err != nil || h.ID == first || h.ID == f.ID {
		t.Error("to somebody else it is the same", h, err)
	}
	// Taken back it cannot be fetched any more: then it is another one.
	list, err := r.store.Log().Read(t.Context(), seq-1, 1)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	r.append(&store.Record{Kind: store.KindRetract, From: bob, To: carol, Ref: list[0].ID})
	again := claim()
	if again.ID == first {
		t.Error("what was taken back is passed on again under the same name")
	}
	r.Recorded(again.ID, r.record(again))
	r.wantStatus(r.ask(carol, "GET", Path(again.ID, again.Name), nil), 200)
	r.wantStatus(r.ask(carol, "GET", Path(first, again.Name), nil), 404)
}

// late does something between the question whether content is used and its removal.
type late struct {
	store.Files
	then func()
}

func (l *late) HasContent(ctx context.Context, h store.BlobHash) (bool, error) {
	used, err := l.Files.HasContent(ctx, h)
	l.then()
	return used, err
}

// TestForwardWhileSwept: what is passed on in the moment in which its content is about to go keeps it.
func TestForwardWhileSwept(t *testing.T) {
	var files *late
	r := newRig(t, func(o *Options) { files = &late{Files: o.Files, then: func() {}}; o.Files = files })
	data := []byte("about to go")
	f := r.send("a.txt", "", data)
	r.noteRecorded(t.Context())
	source, err := r.store.Files().File(t.Context(), f.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store.Files().RemoveFiles(t.Context(), f.ID); err != nil { // its time is over
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * partLife)
	path := filepath.Join(r.dir, "files", f.SHA256.String()[:2], f.SHA256.String())
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	var g *store.File
	files.then = func() {
		files.then = func() {}
		var err error
		if g, err = r.passOn(t.Context(), source, bob, carol); err != nil { // it has looked at the file before
			t.Error(err)
		}
	}
	if err := r.sweepContent(t.Context(), time.Now().Add(-partLife)); err != nil {
		t.Fatal(err)
	}
	if g == nil {
		t.Fatal("nothing was swept")
	}
	r.Recorded(g.ID, r.record(g))
	if a := r.ask(carol, "GET", Path(g.ID, g.Name), nil); string(a.body) != string(data) {
		t.Fatal(a.Status)
	}
	// Once it is gone, it cannot be passed on.
	if err := r.store.Files().RemoveFiles(t.Context(), g.ID); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = r.passOn(t.Context(), source, bob, carol)
	wantKind(t, "without content", err, errs.NotFound)
}

// TestRetracted: the file of a message that was taken back is gone for both sides, for who passes it on and for who has an
// address without a session; the file of another message that names it as well is not.
func TestRetracted(t *testing.T) {
	r := newRig(t, nil)
	f := r.send("a.txt", "", []byte("not for long"))
	link, _ := r.Link(f.ID, f.Name, bob)
	link = strings.TrimPrefix(link, "https://chat.example.com")
	retract := func(by string, seq int64) {
		t.Helper()
		list, err := r.store.Log().Read(t.Context(), seq-1, 1)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		r.append(&store.Record{Kind: store.KindRetract, From: by, To: bob, Ref: list[0].ID})
	}
	got, err := r.File(t.Context(), bob, f.ID)
	if err != nil {
		t.Fatal(err)
	}
	r.wantStatus(r.ask("", "GET", link, nil), 200)
	retract(carol, got.Recorded) // a record that lies
	r.wantStatus(r.ask(bob, "GET", Path(f.ID, f.Name), nil), 200)
	retract(alice, got.Recorded)
	for _, who := range []string{alice, bob} {
		r.wantStatus(r.ask(who, "GET", Path(f.ID, f.Name), nil), 404)
	}
	r.wantStatus(r.ask("", "GET", link, nil), 404)
	_, err = r.Claim(t.Context(), bob, carol, f.ID)
	wantKind(t, "passing it on", err, errs.NotFound)
	// Sent once more.
	again, err := r.Claim(t.Context(), alice, bob, f.ID)
	if err != nil {
		t.Fatal(err)
	}
	r.record(again)
	r.wantStatus(r.ask(bob, "GET", Path(f.ID, f.Name), nil), 200)
}

// TestCrash: the process ended after the message was recorded and before anybody noted it; the log is asked.
func TestCrash(t *testing.T) {
	r := newRig(t, nil)
	f, err := r.Claim(t.Context(), alice, bob, r.upload("a", "", []byte("hello")).ID)
	if err != nil {
		t.Fatal(err)
	}
	lost, err := r.Claim(t.Context(), alice, bob, r.upload("b", "", []byte("never sent")).ID)
	if err != nil {
		t.Fatal(err)
	}
	seq := r.record(f)
	r.again(nil)
	if a := r.ask(bob, "GET", Path(f.ID, "a"), nil); string(a.body) != "hello" {
		t.Fatal(a.Status)
	}
	r.wantStatus(r.ask(bob, "GET", Path(lost.ID, "b"), nil), 404)
	r.wantStatus(r.ask(carol, "GET", Path(f.ID, "a"), nil), 404)
	r.noteRecorded(t.Context())
	if got, err := r.store.Files().File(t.Context(), f.ID); err != nil || got.Recorded != seq {
		t.Fatal(got, err)
	}
}

// TestNewAccount: an account of the same name gets nothing of what was said before it was made; a closed account nothing at all.
func TestNewAccount(t *testing.T) {
	r := newRig(t, nil)
	f := r.send("a", "", []byte("hello"))
	link, _ := r.Link(f.ID, "a", bob)
	_, path, _ := strings.Cut(link, "example.com")
	r.wantStatus(r.ask("", "GET", path, nil), 200)
	u, err := r.store.Users().User(t.Context(), bob)
	if err != nil {
		t.Fatal(err)
	}
	u.Disabled = true
	if err := r.store.Users().UpdateUser(t.Context(), *u); err != nil {
		t.Fatal(err)
	}
	r.wantStatus(r.ask("", "GET", path, nil), 404)
	if err := errors.Join(r.store.Users().RemoveUser(t.Context(), bob), r.store.Users().AddUsers(t.Context(), []store.User{{AOR: bob}})); err != nil {
		t.Fatal(err)
	}
	r.wantStatus(r.ask("", "GET", path, nil), 404)
	r.wantStatus(r.ask(bob, "GET", Path(f.ID, "a"), nil), 404)
	r.wantStatus(r.ask(alice, "GET", Path(f.ID, "a"), nil), 200)
}

// TestSweep removes what nobody needs, and nothing else.
func TestSweep(t *testing.T) {
	keep := func(o *Options) { o.Keep = 48 * time.Hour }
	r := newRig(t, keep)
	ctx := t.Context()
	files := r.store.Files()
	old := func(f store.File, age time.Duration, recorded int64) store.File { // as if it had been made then
		t.Helper()
		g := f
		g.ID, g.Created, g.Recorded = newID(), time.Now().Add(-age), recorded
		if err := files.AddFile(ctx, g, store.FileQuota{Files: 99, Bytes: 1 << 30}); err != nil {
			t.Fatal(err)
		}
		return g
	}
	sent := r.send("sent", "", []byte("sent"))
	waits := r.upload("waits", "", []byte("waits"))
	claimed, err := r.Claim(ctx, alice, bob, r.upload("claimed", "", []byte("claimed")).ID)
	if err != nil {
		t.Fatal(err)
	}
	forgotten := old(*waits, 25*time.Hour, 0)
	unfinished := old(store.File{Owner: alice, Conversation: bob, Name: "u", Size: 5}, 25*time.Hour, 0)
	ancient := old(*sent, 49*time.Hour, 1)
	lost := old(*claimed, 25*time.Hour, 0)
	lostSeq := r.record(&lost)
	if _, err := r.Write(ctx, alice, unfinished.ID, 0, strings.NewReader("abc"), func() {}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.blobs.Append(ctx, "nobodys", 0, strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.blobs.Commit(ctx, "nobodys"); err != nil {
		t.Fatal(err)
	}
	r.noteRecorded(ctx)
	r.age(t, 2*time.Hour)
	r.Sweep(ctx)
	for id, there := range map[string]bool{sent.ID: true, waits.ID: true, claimed.ID: true, lost.ID: true, forgotten.ID: false, unfinished.ID: false, ancient.ID: false} {
		if _, err := files.File(ctx, id); there != (err == nil) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if f, err := files.File(ctx, lost.ID); err != nil || f.Recorded != lostSeq {
		t.Error("the log was not asked: ", f, err)
	}
	if kept, growing := r.content(); kept != 3 || growing != 0 {
		t.Errorf("%d kept, %d growing", kept, growing)
	}
	r.wantStatus(r.ask(bob, "GET", Path(sent.ID, "sent"), nil), 200)
}

// age makes all content old.
func (r *rig) age(t *testing.T, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	err := filepath.WalkDir(filepath.Join(r.dir, "files"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chtimes(path, then, then)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSameContent: many upload the same at once.
func TestSameContent(t *testing.T) {
	r := newRig(t, nil)
	data := random(200_000)
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			id, err := r.CreateUpload(t.Context(), Upload{alice, bob, "a", "", int64(len(data))})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := r.Write(t.Context(), alice, id, 0, bytes.NewReader(data), func() {}); err != nil {
				t.Error(err)
				return
			}
			var both sync.WaitGroup
			for range 2 { // said twice, at once
				both.Go(func() {
					f, err := r.CompleteUpload(t.Context(), alice, id, hexSum(data))
					if err != nil || f.SHA256.String() != hexSum(data) {
						t.Error(f, err)
					}
				})
			}
			both.Wait()
			if f, err := r.CompleteUpload(t.Context(), alice, id, hexSum(data)); err != nil || !f.Complete() {
				t.Error(f, err)
			}
		})
	}
	wg.Wait()
	if kept, growing := r.content(); kept != 1 || growing != 0 {
		t.Fatal(kept, growing)
	}
}

// TestLarge streams 100 MB both ways in little memory.
func TestLarge(t *testing.T) {
	r := newRig(t, nil)
	const size = 100 << 20
	id := r.begin("large", "", size)
	var most uint64
	measure := func(n int) {
		if n%(16<<20) == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}
	}
	runtime.GC()
	a := r.ask(alice, "PUT", UploadPath(id), &zeros{left: size, each: measure})
	r.wantStatus(a, 204)
	f, err := r.CompleteUpload(t.Context(), alice, id, "")
	if err != nil || f.Size != size {
		t.Fatal(f, err)
	}
	if f, err = r.Claim(t.Context(), alice, bob, id); err != nil {
		t.Fatal(err)
	}
	r.Recorded(f.ID, r.record(f))
	q, err := http.NewRequestWithContext(t.Context(), "GET", r.web.URL+Path(f.ID, f.Name), nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Who", bob)
	resp, err := r.web.Client().Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(&sink{each: measure}, resp.Body); n != size || err != nil {
		t.Fatal(n, err)
	}
	t.Logf("the heap had at most %d MB", most>>20)
	if most > 48<<20 {
		t.Fatalf("%d bytes of heap", most)
	}
}

// zeros is a large body that nobody has in memory.
type zeros struct {
	left int
	each func(int)
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left, 32<<10)
	clear(p[:n])
	z.left -= n
	z.each(z.left)
	return n, nil
}

type sink struct {
	n    int
	each func(int)
}

func (s *sink) Write(p []byte) (int, error) {
	before := s.n >> 24
	if s.n += len(p); s.n>>24 != before {
		s.each(0)
	}
	return len(p), nil
}

func TestCheck(t *testing.T) {
	var lines []Line
	r := newRig(t, func(o *Options) { o.Lines = func(context.Context, string, string) []Line { return lines } })
	for _, c := range []struct {
		lines   []Line
		slow    bool
		seconds int64
	}{
		{nil, false, 0},
		{[]Line{{true, 16_000}}, true, 63},
		{[]Line{{true, 16_000}, {false, 125_000}}, false, 8},
		{[]Line{{true, 16_000}, {false, 0}}, false, 0},
		{[]Line{{true, 0}}, true, 0},
	} {
		lines = c.lines
		slow, seconds, err := r.Check(t.Context(), alice, "sip:"+bob, 1_000_000)
		if err != nil || slow != c.slow || seconds != c.seconds {
			t.Errorf("%v: %v %d %v", c.lines, slow, seconds, err)
		}
	}
	_, _, err := r.Check(t.Context(), alice, "x y", 1)
	wantKind(t, "no address", err, errs.Invalid)
}
