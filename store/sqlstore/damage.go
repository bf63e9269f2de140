package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/crashpoint"
)

// What a disk, a file system or a hand may do to the files, and how it is found:
//
//   - A record whose content is not what was hashed is never shown or delivered: see log.sound.
//   - A record that was acknowledged and is gone leaves traces elsewhere: in "log.head", in the index, in the cursors of devices,
//     and in what follows the damage in the WAL. The start says so at ERROR level, and new records get numbers above those
//     that are missing: a device's cursor must not stand above a record that it never got.

// markFile holds the seq of the last record that was committed, as 20 digits. It is written after the commit and before anyone
// is told, and never synced: it is no part of what makes a record durable, it only must not be ahead of the log.
const markFile = "log.head"

// mark is the open markFile; nil is none.
type mark struct {
	f    *os.File
	text []byte
}

// openMark opens the file in a folder and reads it: 0 if there is nothing to be read.
func openMark(dir string) (*mark, int64, error) {
	f, err := os.OpenFile(filepath.Join(dir, markFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("sqlstore: opening %s: %w", markFile, err)
	}
	var text [32]byte
	n, _ := f.ReadAt(text[:], 0) // what cannot be read is no help
	seq, err := strconv.ParseInt(strings.TrimSpace(string(text[:n])), 10, 64)
	if err != nil {
		seq = 0
	}
	return &mark{f: f}, seq, nil
}

// set notes that everything up to seq is durable.
func (m *mark) set(seq int64) {
	if m == nil {
		return
	}
	m.text = fmt.Appendf(m.text[:0], "%020d\n", seq)
	if _, err := m.f.WriteAt(m.text, 0); err == nil { // else the mark is older than it could be
		crashpoint.Wrote(markFile, 0, m.text)
	}
}

func (m *mark) close() {
	if m != nil {
		_ = m.f.Close() // nothing in it has to be on the disk
	}
}

// skip makes the next record's seq greater than seq.
func (w *sqliteWriter) skip(seq int64) { w.next = max(w.next, seq+1) }

// lookForMissing compares the log with what the rest of the folder knows of it. known is the mark, broken what walscan.Scan found
// before the log was opened. It is called when the index is open and before anything is written.
func (s *Store) lookForMissing(ctx context.Context, w *sqliteWriter, known int64, broken int) {
	head := s.log.Head()
	if known = max(known, s.index.ahead); known <= head && broken == 0 {
		return
	}
	var cursors int64 // they are saved after the fact, and may know of records that nothing else does
	if err := s.state.read.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM cursors`).Scan(&cursors); err == nil {
		known = max(known, cursors)
	}
	missing := "an unknown number"
	if known > head {
		missing = strconv.FormatInt(known-head, 10)
	}
	s.o.Log.Error("records that were acknowledged are missing from the end of the log: log.db or log.db-wal was damaged, or replaced by an older one",
		"missing", missing, "first_missing", head+1, "last_missing", max(known, head+1), "last_present", head, "data", s.o.Dir,
		"do", "keep a copy of the data folder as it is, check the disk, and look in backups and on the devices of the people concerned for what was said; the server goes on with what is there")
	s.m.missing.Add(float64(max(known-head, 1)))
	w.skip(max(known, head) + int64(broken)*4096) // also past what nobody has counted
	s.log.Observe(w.next - 1)
}

// sound tells whether a record that was read is what was written. It says at ERROR level when it is not; err is what went wrong
// when it was decoded, if anything.
func (l *log) sound(r *store.Record, err error) bool {
	if err == nil && r.Sum() == r.Hash {
		return true
	}
	if err == nil {
		err = errors.New("sqlstore: the content does not match the hash")
	}
	if _, told := l.damaged.LoadOrStore(r.Seq, true); !told {
		l.m.damaged.Inc()
		l.slog.LogAttrs(context.Background(), slog.LevelError, "a record of the log is damaged on the disk; it is neither shown nor delivered",
			slog.Int64("seq", r.Seq), slog.String("id", r.ID.String()), slog.Any("err", err),
			slog.String("do", "check the disk, and restore the latest backup into an empty folder; what was said since then is in this one"))
	}
	return false
}
