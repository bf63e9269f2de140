package sqlstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/parley-im/parley/store"
)

// errorsOnly keeps what the store says at ERROR level.
type errorsOnly struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (e *errorsOnly) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.Write(p)
}

func (e *errorsOnly) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}

func (e *errorsOnly) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(e, &slog.HandlerOptions{Level: slog.LevelError}))
}

// flip inverts a byte of a file.
func flip(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := []byte{0}
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// frames is the number of frames of a WAL that are of its present generation.
func frames(t *testing.T, name string) (n, size int64) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	size = 24 + int64(binary.BigEndian.Uint32(text[8:]))
	for at := int64(32); at+size <= int64(len(text)) && bytes.Equal(text[at+8:at+16], text[16:24]); at += size {
		n++
	}
	return n, size
}

// TestDamagedWAL flips a byte of each frame in turn. Nothing that is shown is other than it was, what is missing at the end is
// said at ERROR level with its place and number, and what is recorded then has seqs above all that is missing. A torn last
// write is no damage.
func TestDamagedWAL(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), Log: testLog(t)}
	r := open(t, o)
	const count = 8
	var want []string
	for i := range count {
		want = append(want, fmt.Sprint("message ", i))
		r.put(t, message("a@x", "b@x", want[i]))
	}
	files := []string{"log.db", "log.db-wal", "state.db", markFile} // what a kill leaves; without the index
	n, size := frames(t, filepath.Join(o.Dir, "log.db-wal"))
	lost := 0
	for f := range n {
		for _, off := range []int64{0, 9, 17, 24 + size/2} { // page number, salt, checksum, content
			dir := copyFiles(t, o.Dir, files...)
			flip(t, filepath.Join(dir, "log.db-wal"), 32+f*size+off)
			var said errorsOnly
			s, err := Open(t.Context(), Options{Dir: dir, Log: said.logger()})
			if err != nil {
				continue // refuses to start: that is saying it
			}
			list, err := s.Log().Read(t.Context(), 0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if got := texts(list); got != strings.Join(want[:len(list)], " | ") {
				t.Errorf("frame %d, byte %d: read %s", f, off, got)
			}
			if missing := count - len(list); missing > 0 {
				lost++
				for _, w := range []string{fmt.Sprint("missing=", missing), fmt.Sprint("first_missing=", len(list)+1), fmt.Sprint("last_missing=", count)} {
					if !strings.Contains(said.String(), w) {
						t.Errorf("frame %d, byte %d: %d records are missing, and it says %q", f, off, missing, said.String())
					}
				}
			}
			again := serve(s)
			m := message("a@x", "b@x", "after")
			again.put(t, m)
			if m.Seq <= count {
				t.Errorf("frame %d, byte %d: the next record has seq %d", f, off, m.Seq)
			}
			again.stop()
			s.Close()
		}
	}
	if lost == 0 {
		t.Error("no damage lost a record, so nothing was tested")
	}

	// Without the mark and the index, the WAL itself shows damage that is followed by another commit.
	dir := copyFiles(t, o.Dir, "log.db", "log.db-wal", "state.db")
	flip(t, filepath.Join(dir, "log.db-wal"), 32+(n-3)*size+100)
	var said errorsOnly
	s, err := Open(t.Context(), Options{Dir: dir, Log: said.logger()})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if !strings.Contains(said.String(), "are missing") {
		t.Errorf("without the mark it says %q", said.String())
	}

	// A transaction that was never synced, of which only the end reached the disk.
	dir = copyFiles(t, o.Dir, "log.db", "log.db-wal", "state.db")
	wal := filepath.Join(dir, "log.db-wal")
	text, err := os.ReadFile(wal)
	if err != nil {
		t.Fatal(err)
	}
	last := text[32+(n-1)*size : 32+n*size]
	if binary.BigEndian.Uint32(last[4:]) == 0 {
		t.Fatal("the last frame is no commit")
	}
	text = append(text[:32+n*size:32+n*size], make([]byte, size)...)
	text = append(text, last...)
	if err := os.WriteFile(wal, text, 0o600); err != nil {
		t.Fatal(err)
	}
	said = errorsOnly{}
	if s, err = Open(t.Context(), Options{Dir: dir, Log: said.logger()}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if list, err := s.Log().Read(t.Context(), 0, 1000); err != nil || len(list) != count || said.String() != "" {
		t.Errorf("after a torn write: %d records, %v, it says %q", len(list), err, said.String())
	}
}

// TestDamagedRecord flips bytes of the database file: what is read is as it was written, or it is not there and an error says
// so. A page of records that has a damaged one in it is as long as any other.
func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), Log: testLog(t)}
	r := open(t, o)
	const count = 30
	sums := map[int64][32]byte{}
	for i := range count {
		m := message("a@x", "b@x", fmt.Sprint("needle", i, " ", strings.Repeat("bla ", 300)))
		r.put(t, m)
		sums[m.Seq] = m.Hash
	}
	r.indexed(t)
	r.stop()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(o.Dir, "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	spoilt := 0
	for i := range count {
		at := bytes.Index(text, fmt.Append(nil, "needle", i, " "))
		if at < 0 {
			t.Fatal("the text of record ", i, " is not in the file")
		}
		for _, off := range []int{3, -40, -200} { // the body, the columns before it, whatever is there
			dir := copyFiles(t, o.Dir, "log.db", "state.db", "index.db", markFile)
			flip(t, filepath.Join(dir, "log.db"), int64(max(0, at+off)))
			var said errorsOnly
			s, err := Open(t.Context(), Options{Dir: dir, Log: said.logger()})
			if err != nil {
				continue // refuses to start
			}
			var list, page []store.Record
			for after := int64(0); ; after = page[4].Seq { // fewer than asked for means the end
				if page, err = s.Log().Read(t.Context(), after, 5); err != nil {
					break
				}
				if list = append(list, page...); len(page) < 5 {
					break
				}
			}
			for j := range list {
				if list[j].Sum() != sums[list[j].Seq] {
					t.Errorf("record %d, byte %d: a damaged record is shown", list[j].Seq, off)
				}
			}
			if err == nil && len(list) < count {
				spoilt++
				if !strings.Contains(said.String(), "is damaged on the disk") && !strings.Contains(said.String(), "are missing") {
					t.Errorf("record %d, byte %d: %d of %d are there, and it says %q", i, off, len(list), count, said.String())
				}
				if len(list) != count-1 && !strings.Contains(said.String(), "are missing") {
					t.Errorf("record %d, byte %d: one was damaged, %d are shown of %d", i, off, len(list), count)
				}
			}
			s.Close()
		}
	}
	if spoilt == 0 {
		t.Error("no byte made a record unreadable, so nothing was tested")
	}
}
