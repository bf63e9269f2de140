package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/blobs"
	"github.com/parley-im/parley/store/sqlstore"
)

const (
	alice = "alice@example.com"
	bob   = "bob@example.com"
	carol = "carol@example.com"
)

// rig is the service over a real store and a real folder, behind a real door; who calls is in the header Who.
type rig struct {
	*Service
	t     testing.TB
	dir   string
	store *sqlstore.Store
	blobs *blobs.Folder
	web   *httptest.Server
	stop  func()
}

func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.start(change)
	var users []store.User
	for _, aor := range []string{alice, bob, carol} {
		users = append(users, store.User{AOR: aor})
	}
	if err := r.store.Users().AddUsers(t.Context(), users); err != nil {
		t.Fatal(err)
	}
	return r
}

// start opens everything in the folder, where something may be already.
func (r *rig) start(change func(*Options)) {
	t := r.t
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if r.store, err = sqlstore.Open(context.Background(), sqlstore.Options{Dir: r.dir, Log: log}); err != nil {
		t.Fatal(err)
	}
	if r.blobs, err = blobs.Open(filepath.Join(r.dir, "files")); err != nil {
		t.Fatal(err)
	}
	o := Options{Files: r.store.Files(), Blobs: r.blobs, Users: r.store.Users(), Log: r.store.Index(), About: r.store.Talks().About, Head: r.store.Log().Head, Key: bytes.Repeat([]byte("k"), 32),
		Address: "https://chat.example.com", Logger: log}
	if change != nil {
		change(&o)
	}
	if r.Service, err = New(o); err != nil {
		t.Fatal(err)
	}
	r.web = httptest.NewServer(r.Handler(func(q *http.Request) (string, bool) { return q.Header.Get("Who"), q.Header.Get("Who") != "" }))
	ctx, cancel := context.WithCancel(context.Background())
	storing, ended := context.WithCancel(context.Background())
	var running, keeping sync.WaitGroup
	keeping.Go(func() { _ = r.store.Serve(storing) })
	running.Go(func() { _ = r.Serve(ctx) })
	r.stop = sync.OnceFunc(func() {
		r.web.CloseClientConnections()
		r.web.Close()
		cancel()
		running.Wait()
		ended()
		keeping.Wait()
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
}

// again is a restart.
func (r *rig) again(change func(*Options)) {
	r.t.Helper()
	r.stop()
	r.start(change)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func hexSum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// begin begins an upload of alice's for bob.
func (r *rig) begin(name, kind string, size int) string {
	r.t.Helper()
	id, err := r.CreateUpload(r.t.Context(), Upload{alice, "sip:" + bob, name, kind, int64(size)})
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// upload makes a complete file of alice's for bob.
func (r *rig) upload(name, kind string, data []byte) *store.File {
	r.t.Helper()
	id := r.begin(name, kind, len(data))
	if _, err := r.Write(r.t.Context(), alice, id, 0, bytes.NewReader(data), func() {}); err != nil {
		r.t.Fatal(err)
	}
	f, err := r.CompleteUpload(r.t.Context(), alice, id, hexSum(data))
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

// record puts a message with a file into the log, as the message service does; it does not tell the service.
func (r *rig) record(f *store.File) int64 {
	r.t.Helper()
	rec := &store.Record{Kind: store.KindMessage, From: f.Owner, To: f.Conversation, ContentType: "text/plain", Meta: map[string]string{store.MetaFile: f.ID}}
	seq := r.append(rec)
	indexed := make(chan struct{})
	r.store.Index().WaitFor(seq, func() { close(indexed) })
	<-indexed
	return seq
}

// append puts a record into the log. A machine that is busy may refuse it for the moment.
func (r *rig) append(rec *store.Record) int64 {
	r.t.Helper()
	for range 60 {
		own, done := *rec, make(chan error, 1)
		r.store.Log().Append(&own, func(err error) { done <- err })
		if err := <-done; err == nil {
			*rec = own
			return rec.Seq
		}
	}
	r.t.Fatal("the log refuses everything")
	return 0
}

// send does all that makes a file one that bob can fetch.
func (r *rig) send(name, kind string, data []byte) *store.File {
	r.t.Helper()
	f, err := r.Claim(r.t.Context(), alice, bob, r.upload(name, kind, data).ID)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Recorded(f.ID, r.record(f))
	return f
}

// answer is what the door said.
type answer struct {
	*http.Response
	body []byte
}

// ask asks the door.
func (r *rig) ask(who, method, path string, body io.Reader, headers ...string) answer {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, r.web.URL+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Who", who)
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	resp, err := r.web.Client().Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{resp, data}
}

func (r *rig) wantStatus(a answer, status int) {
	r.t.Helper()
	if a.StatusCode != status {
		r.t.Fatalf("%s %s: %s %s", a.Request.Method, a.Request.URL.Path, a.Status, a.body)
	}
}

func wantKind(t testing.TB, what string, err error, kind errs.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

// content counts what is kept, and what is growing.
func (r *rig) content() (kept, growing int) {
	r.t.Helper()
	if err := errors.Join(
		r.blobs.Walk(r.t.Context(), func(store.BlobHash, int64, time.Time) error { kept++; return nil }),
		r.blobs.Parts(r.t.Context(), func(string, int64, time.Time) error { growing++; return nil }),
	); err != nil {
		r.t.Fatal(err)
	}
	return kept, growing
}
