// Package blobs keeps the content of files in a folder, each content once, under its SHA-256: ab/ab34…, and what is still
// growing in new/. What is there never changes, so the folder can be copied while the server runs.
package blobs

import (
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// growing is the folder of parts.
const growing = "new"

// How a part is written.
const (
	buffer    = 256 << 10 // bytes between two looks at the context
	syncEvery = 16 << 20  // bytes after which a part is synced, and the room on the disk is looked at
	maxSums   = 10_000    // parts whose hash is kept as it grows; the others are read again
)

// Reserve is how many bytes are left free on the disk: the log is there too, and without it nothing can be said.
const Reserve = 256 << 20

// Folder implements store.Blobs. It is safe for concurrent use, of one process.
type Folder struct {
	dir    string
	free   func(dir string) (bytes uint64, ok bool)
	writer func(*os.File) io.Writer // tests: a disk that fails

	mu   sync.Mutex // guards what is below
	busy map[string]bool
	sums map[string]sum // of parts, as far as they are written
}

// sum is the state of a hash after so many bytes.
type sum struct {
	state []byte
	size  int64
}

var _ store.Blobs = (*Folder)(nil)

// Open opens a folder, and makes it if there is none.
func Open(dir string) (*Folder, error) {
	if err := os.MkdirAll(filepath.Join(dir, growing), 0o700); err != nil {
		return nil, errs.Wrap(errs.KindOf(err), err, "blobs: making the folder for files")
	}
	return &Folder{dir: dir, free: free, writer: func(f *os.File) io.Writer { return f }, busy: map[string]bool{}, sums: map[string]sum{}}, nil
}

// claim makes the caller the only one who works on a part or a content, until it calls release.
func (b *Folder) claim(name string) (release func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[name] {
		return nil, errs.New(errs.Conflict, "blobs: %s is being worked on", name)
	}
	b.busy[name] = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.busy, name)
	}, nil
}

// part is the path of a part. Names come from callers, so they are looked at.
func (b *Folder) part(name string) (string, error) {
	ok := len(name) > 0 && len(name) <= 64
	for i := range len(name) {
		c := name[i]
		ok = ok && (c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z')
	}
	if !ok {
		return "", errs.New(errs.Invalid, "blobs: %q is no name of a part", name)
	}
	return filepath.Join(b.dir, growing, name), nil
}

// path is that of content.
func (b *Folder) path(h store.BlobHash) string {
	name := h.String()
	return filepath.Join(b.dir, name[:2], name)
}

// Append is store.Blobs.Append.
func (b *Folder) Append(ctx context.Context, part string, offset int64, r io.Reader) (size int64, err error) {
	path, err := b.part(part)
	if err != nil {
		return 0, err
	}
	release, err := b.claim(part)
	if err != nil {
		return 0, err
	}
	defer release()
	f, size, err := openPart(path, offset)
	if err != nil {
		return size, err
	}
	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = fail(e, "closing a file")
		}
		if errors.Is(err, store.ErrNoSpace) {
			b.forget(part)
			_ = os.Remove(path) // without room there may be no way to write it on; what is left is the sweeper's
			size = 0
		}
	}()
	w := &partWriter{b: b, f: f, to: b.writer(f), size: offset, sum: b.sumOf(part, offset)}
	err = w.copy(ctx, r)
	if e := f.Sync(); e != nil && err == nil {
		err = fail(e, "syncing a file")
	}
	b.keep(part, w)
	return w.size, err
}

// openPart opens a part that has offset bytes, or makes it.
func openPart(path string, offset int64) (*os.File, int64, error) {
	flags := os.O_WRONLY
	if offset == 0 {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, errs.New(errs.Conflict, "blobs: the part has 0 bytes and not %d", offset)
	}
	if err != nil {
		return nil, 0, fail(err, "opening a file")
	}
	st, err := f.Stat()
	if err == nil && st.Size() != offset {
		f.Close()
		return nil, st.Size(), errs.New(errs.Conflict, "blobs: the part has %d bytes and not %d", st.Size(), offset)
	}
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, 0, fail(err, "opening a file")
	}
	return f, offset, nil
}

// partWriter writes a part and its hash.
type partWriter struct {
	b    *Folder
	f    *os.File
	to   io.Writer
	size int64
	sum  hash.Hash // nil when what was there before is not known
}

func (w *partWriter) copy(ctx context.Context, r io.Reader) error {
	buf := make([]byte, buffer)
	for until := w.size; ; {
		if w.size >= until { // at the start as well
			if err := w.room(); err != nil {
				return err
			}
			until = w.size + syncEvery
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		written, failed := w.to.Write(buf[:n])
		if w.sum != nil {
			w.sum.Write(buf[:written])
		}
		w.size += int64(written)
		if failed != nil {
			return fail(failed, "writing a file")
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// room syncs, and sees that the log does not suffer.
func (w *partWriter) room() error {
	if err := w.f.Sync(); err != nil {
		return fail(err, "syncing a file")
	}
	if n, ok := w.b.free(w.b.dir); ok && n < Reserve {
		return fmt.Errorf("blobs: %d bytes are free in %s: %w", n, w.b.dir, store.ErrNoSpace)
	}
	return nil
}

// sumOf is the hash of a part of so many bytes, nil when it is not in memory.
func (b *Folder) sumOf(part string, size int64) hash.Hash {
	h := sha256.New()
	if size == 0 {
		return h
	}
	b.mu.Lock()
	s, ok := b.sums[part]
	b.mu.Unlock()
	if !ok || s.size != size || h.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.state) != nil {
		return nil
	}
	return h
}

// keep remembers the hash of what is written.
func (b *Folder) keep(part string, w *partWriter) {
	var state []byte
	if w.sum != nil {
		state, _ = w.sum.(encoding.BinaryMarshaler).MarshalBinary() // cannot fail
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.sums[part]; state == nil || !known && len(b.sums) >= maxSums {
		delete(b.sums, part)
		return
	}
	b.sums[part] = sum{state, w.size}
}

func (b *Folder) forget(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sums, part)
}

// file is a store.Blob.
type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

func openFile(path string) (store.Blob, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blobs: %s: %w", filepath.Base(path), store.ErrNotFound)
	}
	if err != nil {
		return nil, fail(err, "opening a file")
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fail(err, "opening a file")
	}
	return file{f, st.Size()}, nil
}

// Part is store.Blobs.Part.
func (b *Folder) Part(_ context.Context, part string) (store.Blob, error) {
	path, err := b.part(part)
	if err != nil {
		return nil, err
	}
	return openFile(path)
}

// Open is store.Blobs.Open.
func (b *Folder) Open(_ context.Context, h store.BlobHash) (store.Blob, error) {
	if h.IsZero() {
		return nil, fmt.Errorf("blobs: no hash: %w", store.ErrNotFound)
	}
	return openFile(b.path(h))
}

// Sum is store.Blobs.Sum. What was written before a restart is read again.
func (b *Folder) Sum(ctx context.Context, part string) (store.BlobHash, int64, error) {
	path, err := b.part(part)
	if err != nil {
		return store.BlobHash{}, 0, err
	}
	release, err := b.claim(part)
	if err != nil {
		return store.BlobHash{}, 0, err
	}
	defer release()
	return b.sum(ctx, part, path)
}

func (b *Folder) sum(ctx context.Context, part, path string) (store.BlobHash, int64, error) {
	f, err := openFile(path)
	if err != nil {
		return store.BlobHash{}, 0, err
	}
	defer f.Close()
	h := b.sumOf(part, f.Size())
	if h == nil {
		h = sha256.New()
		if _, err := io.CopyBuffer(h, onlyReader{ctx, f}, make([]byte, buffer)); err != nil {
			return store.BlobHash{}, 0, fail(err, "reading a file")
		}
		b.keep(part, &partWriter{size: f.Size(), sum: h})
	}
	return store.BlobHash(h.Sum(nil)), f.Size(), nil
}

// onlyReader reads until ctx ends.
type onlyReader struct {
	ctx context.Context
	r   io.Reader
}

func (r onlyReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Commit is store.Blobs.Commit.
func (b *Folder) Commit(ctx context.Context, part string) (store.BlobHash, int64, error) {
	none := store.BlobHash{}
	path, err := b.part(part)
	if err != nil {
		return none, 0, err
	}
	release, err := b.claim(part)
	if err != nil {
		return none, 0, err
	}
	defer release()
	h, size, err := b.sum(ctx, part, path)
	if err != nil {
		return none, 0, err
	}
	done, err := b.wait(ctx, h)
	if err != nil {
		return none, 0, err
	}
	defer done()
	if err := b.place(path, h, size); err != nil {
		return none, 0, err
	}
	b.forget(part)
	return h, size, nil
}

// wait is claim for content, which is worked on for moments only.
func (b *Folder) wait(ctx context.Context, h store.BlobHash) (release func(), err error) {
	for {
		if release, err = b.claim(h.String()); err == nil {
			return release, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// place moves a part to where it belongs.
func (b *Folder) place(path string, h store.BlobHash, size int64) error {
	goal, now := b.path(h), time.Now()
	if st, err := os.Stat(goal); err == nil && st.Size() == size { // it is there
		if err := os.Chtimes(goal, now, now); err != nil {
			return fail(err, "renewing a file")
		}
		return fail(os.Remove(path), "removing a second copy")
	}
	// Append has synced, but perhaps in another life of this machine, which ended before.
	if err := syncFile(path); err != nil {
		return fail(err, "syncing a file")
	}
	if err := os.Chtimes(path, now, now); err != nil {
		return fail(err, "renewing a file")
	}
	folder := filepath.Dir(goal)
	err := os.Mkdir(folder, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fail(err, "making a folder")
	}
	if err := os.Rename(path, goal); err != nil {
		return fail(err, "moving a file into place")
	}
	if err := syncFile(folder); err != nil {
		return fail(err, "syncing a folder")
	}
	if made {
		return fail(syncFile(b.dir), "syncing a folder")
	}
	return nil
}

// syncFile syncs a file, or the names in a folder.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Discard is store.Blobs.Discard.
func (b *Folder) Discard(_ context.Context, part string) error {
	path, err := b.part(part)
	if err != nil {
		return err
	}
	release, err := b.claim(part)
	if err != nil {
		return err
	}
	defer release()
	b.forget(part)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err, "removing a part")
	}
	return nil
}

// Touch is store.Blobs.Touch.
func (b *Folder) Touch(ctx context.Context, h store.BlobHash) error {
	if h.IsZero() {
		return fmt.Errorf("blobs: no hash: %w", store.ErrNotFound)
	}
	done, err := b.wait(ctx, h)
	if err != nil {
		return err
	}
	defer done()
	now := time.Now()
	err = os.Chtimes(b.path(h), now, now)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blobs: %s: %w", h, store.ErrNotFound)
	}
	return fail(err, "renewing a file")
}

// Remove is store.Blobs.Remove.
func (b *Folder) Remove(ctx context.Context, h store.BlobHash, since time.Time) (bool, error) {
	if h.IsZero() {
		return true, nil
	}
	done, err := b.wait(ctx, h)
	if err != nil {
		return false, err
	}
	defer done()
	st, err := os.Stat(b.path(h))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fail(err, "looking at a file")
	}
	if !st.ModTime().Before(since) {
		return false, nil
	}
	if err := os.Remove(b.path(h)); err != nil {
		return false, fail(err, "removing a file")
	}
	return true, nil
}

// Parts is store.Blobs.Parts.
func (b *Folder) Parts(ctx context.Context, f func(string, int64, time.Time) error) error {
	return walk(ctx, filepath.Join(b.dir, growing), func(name string, st fs.FileInfo) error { return f(name, st.Size(), st.ModTime()) })
}

// Walk is store.Blobs.Walk.
func (b *Folder) Walk(ctx context.Context, f func(store.BlobHash, int64, time.Time) error) error {
	folders, err := os.ReadDir(b.dir)
	if err != nil {
		return fail(err, "reading the folder of files")
	}
	for _, d := range folders {
		if !d.IsDir() || len(d.Name()) != 2 {
			continue
		}
		err := walk(ctx, filepath.Join(b.dir, d.Name()), func(name string, st fs.FileInfo) error {
			if h, ok := store.ParseBlobHash(name); ok && h.String() == name && name[:2] == d.Name() {
				return f(h, st.Size(), st.ModTime())
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// walk reads a folder in pieces, because it may be large.
func walk(ctx context.Context, dir string, f func(string, fs.FileInfo) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return fail(err, "reading the folder of files")
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(500)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fail(err, "reading the folder of files")
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			st, err := e.Info()
			if err != nil || !st.Mode().IsRegular() { // it has just gone
				continue
			}
			if err := f(e.Name(), st); err != nil {
				return err
			}
		}
	}
}

// fail gives what the disk says a kind.
func fail(err error, doing string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("blobs: %s: %w (%w)", doing, store.ErrNoSpace, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return errs.Wrap(errs.Unavailable, err, "blobs: "+doing)
}
