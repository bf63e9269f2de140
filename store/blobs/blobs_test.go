package blobs

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

func newFolder(t testing.TB) *Folder {
	t.Helper()
	b, err := Open(filepath.Join(t.TempDir(), "files"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func (b *Folder) mustAppend(t testing.TB, part string, offset int64, data []byte) {
	t.Helper()
	n, err := b.Append(t.Context(), part, offset, bytes.NewReader(data))
	if err != nil || n != offset+int64(len(data)) {
		t.Fatal(n, err)
	}
}

func readAll(t testing.TB, f store.Blob, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil || int64(len(data)) != f.Size() {
		t.Fatal(len(data), f.Size(), err)
	}
	return data
}

// names are all files in the folder.
func (b *Folder) names(t testing.TB) (list []string) {
	t.Helper()
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, st.Mode())
		}
		if !d.IsDir() {
			list = append(list, strings.TrimPrefix(path, b.dir+"/"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestCommit(t *testing.T) {
	b, ctx := newFolder(t), t.Context()
	data := random(700_000)
	b.mustAppend(t, "one", 0, data[:300_000])
	b.mustAppend(t, "one", 300_000, data[300_000:])
	want := store.BlobHash(sha256.Sum256(data))
	if h, n, err := b.Sum(ctx, "one"); err != nil || h != want || n != int64(len(data)) {
		t.Fatal(h, n, err)
	}
	part, err := b.Part(ctx, "one")
	if !bytes.Equal(readAll(t, part, err), data) {
		t.Fatal("the part reads otherwise")
	}
	if h, _, err := b.Commit(ctx, "one"); err != nil || h != want {
		t.Fatal(h, err)
	}
	f, err := b.Open(ctx, want)
	if !bytes.Equal(readAll(t, f, err), data) {
		t.Fatal("the content reads otherwise")
	}
	if got := b.names(t); len(got) != 1 || got[0] != want.String()[:2]+"/"+want.String() {
		t.Fatal(got)
	}
	// The same again is kept once, and counts as new.
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(b.path(want), old, old); err != nil {
		t.Fatal(err)
	}
	b.mustAppend(t, "two", 0, data)
	if h, _, err := b.Commit(ctx, "two"); err != nil || h != want {
		t.Fatal(h, err)
	}
	if got := b.names(t); len(got) != 1 {
		t.Fatal(got)
	}
	if gone, err := b.Remove(ctx, want, time.Now().Add(-time.Hour)); gone || err != nil {
		t.Fatal("what was just committed was removed", err)
	}
	if err := errors.Join(os.Chtimes(b.path(want), old, old), b.Touch(ctx, want)); err != nil {
		t.Fatal(err)
	}
	if gone, err := b.Remove(ctx, want, time.Now().Add(-time.Hour)); gone || err != nil {
		t.Fatal("what was just touched was removed", err)
	}
	for _, h := range []store.BlobHash{{}, {1}} {
		if err := b.Touch(ctx, h); !errors.Is(err, store.ErrNotFound) {
			t.Fatal("what is not there was touched", err)
		}
	}
	if gone, err := b.Remove(ctx, want, time.Now().Add(time.Hour)); !gone || err != nil {
		t.Fatal(gone, err)
	}
	if _, err := b.Open(ctx, want); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	if gone, err := b.Remove(ctx, want, time.Now()); !gone || err != nil {
		t.Fatal(gone, err)
	}
}

// TestRestart: a part that another process began goes on, and its hash is that of the whole.
func TestRestart(t *testing.T) {
	b, ctx := newFolder(t), t.Context()
	data := random(100_000)
	b.mustAppend(t, "one", 0, data[:40_000])
	again, err := Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	again.mustAppend(t, "one", 40_000, data[40_000:])
	if h, n, err := again.Commit(ctx, "one"); err != nil || h != sha256.Sum256(data) || n != 100_000 {
		t.Fatal(h, n, err)
	}
	// Nothing at all is content, too.
	again.mustAppend(t, "none", 0, nil)
	if h, n, err := again.Commit(ctx, "none"); err != nil || h != sha256.Sum256(nil) || n != 0 {
		t.Fatal(h, n, err)
	}
}

// cut gives some bytes, and then fails.
type cut struct {
	io.Reader
	err error
}

func (c cut) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF {
		err = c.err
	}
	return n, err
}

func TestAppendWhereItBrokeOff(t *testing.T) {
	b, ctx := newFolder(t), t.Context()
	data := random(10_000)
	broken := errors.New("the line is gone")
	n, err := b.Append(ctx, "one", 0, cut{bytes.NewReader(data[:6000]), broken})
	if n != 6000 || !errors.Is(err, broken) {
		t.Fatal(n, err)
	}
	for _, offset := range []int64{0, 5999, 6001} {
		if n, err := b.Append(ctx, "one", offset, strings.NewReader("x")); n != 6000 || !errors.Is(err, errs.Conflict) {
			t.Fatalf("at %d: %d %v", offset, n, err)
		}
	}
	if n, err := b.Append(ctx, "other", 5, strings.NewReader("x")); n != 0 || !errors.Is(err, errs.Conflict) {
		t.Fatal(n, err)
	}
	b.mustAppend(t, "one", 6000, data[6000:])
	if h, _, err := b.Commit(ctx, "one"); err != nil || h != sha256.Sum256(data) {
		t.Fatal(h, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := b.Append(ended, "two", 0, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// short is a disk that fails after some bytes.
type short struct {
	w    io.Writer
	left *int
	err  error
}

func (s short) Write(p []byte) (int, error) {
	if len(p) <= *s.left {
		*s.left -= len(p)
		return s.w.Write(p)
	}
	n, _ := s.w.Write(p[:*s.left])
	*s.left = 0
	return n, s.err
}

func TestFullDisk(t *testing.T) {
	b, ctx := newFolder(t), t.Context()
	left := 500_000
	b.writer = func(f *os.File) io.Writer {
		return short{f, &left, &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}}
	}
	n, err := b.Append(ctx, "one", 0, bytes.NewReader(random(600_000)))
	if n != 0 || !errors.Is(err, store.ErrNoSpace) || errs.KindOf(err) != errs.Unavailable {
		t.Fatal(n, err)
	}
	if got := b.names(t); len(got) != 0 {
		t.Fatal("left behind: ", got)
	}
	// So full that the log would suffer.
	b.writer = func(f *os.File) io.Writer { return f }
	b.free = func(string) (uint64, bool) { return Reserve - 1, true }
	if n, err := b.Append(ctx, "two", 0, strings.NewReader("x")); n != 0 || !errors.Is(err, store.ErrNoSpace) {
		t.Fatal(n, err)
	}
	if got := b.names(t); len(got) != 0 {
		t.Fatal("left behind: ", got)
	}
	// Another failure keeps what is there.
	left = 1000
	b.free = free
	b.writer = func(f *os.File) io.Writer { return short{f, &left, syscall.EIO} }
	if n, err := b.Append(ctx, "three", 0, bytes.NewReader(random(2000))); n != 1000 || errs.KindOf(err) != errs.Unavailable || errors.Is(err, store.ErrNoSpace) {
		t.Fatal(n, err)
	}
}

func TestTwoAtATime(t *testing.T) {
	b, ctx := newFolder(t), t.Context()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := b.Append(ctx, "one", 0, r)
		done <- err
	}()
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"append":  second(b.Append(ctx, "one", 1, strings.NewReader("y"))),
		"commit":  third(b.Commit(ctx, "one")),
		"sum":     third(b.Sum(ctx, "one")),
		"discard": b.Discard(ctx, "one"),
	} {
		if !errors.Is(err, errs.Conflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := b.Discard(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	if err := b.Discard(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Part(ctx, "one"); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

// TestSameContentAtOnce: many commit the same while it is removed all the time; whoever committed finds it, if nobody removed it after that.
func TestSameContentAtOnce(t *testing.T) {
	b, ctx := newFolder(t), t.Context()
	data := random(50_000)
	start := time.Now().Add(-time.Minute)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			part := fmt.Sprintf("part-%d", i)
			if _, err := b.Append(ctx, part, 0, bytes.NewReader(data)); err != nil {
				t.Error(err)
				return
			}
			h, _, err := b.Commit(ctx, part)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := b.Remove(ctx, h, start); err != nil { // a sweeper that looked earlier
				t.Error(err)
			}
			f, err := b.Open(ctx, h)
			if err != nil {
				t.Error(err)
				return
			}
			f.Close()
		})
	}
	wg.Wait()
	if got := b.names(t); len(got) != 1 {
		t.Fatal(got)
	}
}

func TestWalk(t *testing.T) {
	b, ctx := newFolder(t), t.Context()
	want := map[store.BlobHash]int64{}
	for i := range 20 {
		data := random(i * 10)
		part := fmt.Sprint("p", i)
		b.mustAppend(t, part, 0, data)
		h, n, err := b.Commit(ctx, part)
		if err != nil {
			t.Fatal(err)
		}
		want[h] = n
	}
	b.mustAppend(t, "growing", 0, []byte("abc"))
	for _, name := range []string{"lost+found", "zz/abc", "ab/" + strings.Repeat("a", 64)} { // what others put there stays
		path := filepath.Join(b.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	err := b.Walk(ctx, func(h store.BlobHash, size int64, committed time.Time) error {
		if n, ok := want[h]; !ok || n != size || time.Since(committed) > time.Hour {
			t.Error(h, size, committed)
		}
		delete(want, h)
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Fatal(err, want)
	}
	n := 0
	if err := b.Parts(ctx, func(part string, size int64, _ time.Time) error {
		n++
		if part != "growing" || size != 3 {
			t.Error(part, size)
		}
		return nil
	}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
}

func TestNames(t *testing.T) {
	b, ctx := newFolder(t), t.Context()
	for _, name := range []string{"", ".", "..", "../x", "a/b", "A", strings.Repeat("a", 65), "a\x00"} {
		if _, err := b.Append(ctx, name, 0, strings.NewReader("x")); !errors.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := b.Open(ctx, store.BlobHash{}); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}
