package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/committer"
)

// appended is what became of one record.
type appended struct {
	rec  *store.Record
	err  error
	took time.Duration
}

// busyLimit is what a machine that runs other tests beside may make of the promised second. Where the test breaks
// something, it stays broken for as long as the test likes, so the answer cannot have waited for that.
const busyLimit = 30 * time.Second

// tryPut appends records and returns what became of each; one that has no answer in good time fails the test.
func (r *running) tryPut(t *testing.T, records ...*store.Record) []appended {
	t.Helper()
	results := make(chan appended, len(records))
	for _, rec := range records {
		start := time.Now()
		r.Log().Append(rec, func(err error) { results <- appended{rec, err, time.Since(start)} })
	}
	list := make([]appended, len(records))
	for i := range list {
		list[i] = receive(t, results)
		if list[i].took > busyLimit {
			t.Errorf("the answer (%v) took %v, a second is promised", list[i].err, list[i].took)
		}
	}
	return list
}

// bodies are the texts of all messages that readers see.
func (r *running) bodies(t *testing.T) string {
	t.Helper()
	list, err := r.Log().Read(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var messages []store.Record
	for _, rec := range list {
		if rec.Kind == store.KindMessage {
			messages = append(messages, rec)
		}
	}
	return texts(messages)
}

// refused appends one message and expects ErrUnavailable.
func (r *running) refused(t *testing.T, text string) {
	t.Helper()
	if got := r.tryPut(t, message("a@x", "b@x", text))[0]; !errors.Is(got.err, store.ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", got.err)
	}
}

// recovered appends until it succeeds: the store is well again.
func (r *running) recovered(t *testing.T, text string) {
	t.Helper()
	for range 30 {
		if got := r.tryPut(t, message("a@x", "b@x", text))[0]; got.err == nil {
			return
		}
	}
	t.Fatal("the store does not become well again")
}

// TestLocked: another program holds the database for longer than the deadline.
func TestLocked(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		o.patience = promised
		r := open(t, o)
		r.put(t, message("a@x", "b@x", "before"))
		unlock := lockDatabase(t, o)
		list := []*store.Record{message("a@x", "b@x", "one"), message("a@x", "b@x", "two"), message("a@x", "b@x", "three")}
		for _, got := range r.tryPut(t, list...) {
			if !errors.Is(got.err, store.ErrUnavailable) || got.took < 500*time.Millisecond {
				t.Errorf("%s: %v after %v", got.rec.Body, got.err, got.took)
			}
		}
		r.refused(t, "four")
		if err := r.Healthy(); !errors.Is(err, errs.Unavailable) {
			t.Errorf("healthy while it is locked: %v", err)
		}
		unlock()
		r.recovered(t, "after")
		if got := r.bodies(t); got != "before | after" {
			t.Errorf("readers see %s", got)
		}
		if err := r.Healthy(); err != nil {
			t.Error(err)
		}
		if got := r.reopen(t, o).bodies(t); got != "before | after" {
			t.Errorf("after a restart readers see %s", got)
		}
	})
}

// TestLockedShortly: a lock that goes away in time is not noticed.
func TestLockedShortly(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		r.put(t, message("a@x", "b@x", "before"))
		unlock := lockDatabase(t, o)
		time.AfterFunc(200*time.Millisecond, unlock)
		r.put(t, message("a@x", "b@x", "meanwhile"))
		if got := r.bodies(t); got != "before | meanwhile" {
			t.Errorf("readers see %s", got)
		}
	})
}

// lockDatabase locks out the writer, from a connection of its own.
func lockDatabase(t *testing.T, o Options) (unlock func()) {
	t.Helper()
	var db *sql.DB
	statements := []string{"UPDATE writer SET value = value"}
	if o.URL == "" {
		db = sqlitePool(filepath.Join(o.Dir, "log.db"), 1, "")
	} else {
		cfg, err := postgresConfig(o.URL)
		if err != nil {
			t.Fatal(err)
		}
		db = postgresPool(cfg, 1, time.Minute)
		statements = []string{"LOCK TABLE log IN SHARE MODE", "SELECT * FROM writer FOR UPDATE"}
	}
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := tx.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	unlock = func() { tx.Rollback(); db.Close() }
	t.Cleanup(unlock)
	return unlock
}

// withFaults opens a SQLite store on a file system that fails on demand.
func withFaults(t *testing.T) (*running, *faults, Options) {
	t.Helper()
	return withFaultsAnd(t, Options{patience: promised})
}

// withFaultsAnd has options of its own.
func withFaultsAnd(t *testing.T, o Options) (*running, *faults, Options) {
	t.Helper()
	f := newFaults(t)
	o.Dir, o.Log, o.vfs = t.TempDir(), testLog(t), f.name
	r := open(t, o)
	r.put(t, message("a@x", "b@x", "before"))
	f.take()
	return r, f, o
}

// TestFailedSync: fdatasync of the WAL fails once, before or after the data went out. Nothing is acknowledged until the
// database file was synced and the WAL truncated, and the record is in the log once.
func TestFailedSync(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			r, f, o := withFaultsAnd(t, Options{})
			failing := fail("sync", "log.db-wal", 1, sqlite3.SQLITE_IOERR_FSYNC)
			if when == "before" {
				f.set(failing, nil)
			} else {
				f.set(nil, failing)
			}
			acked := make(chan string, 1)
			r.Log().Append(message("a@x", "b@x", "in doubt"), func(err error) {
				if err != nil {
					t.Error(err)
				}
				acked <- f.take()
			})
			trace := receive(t, acked)
			order := []string{"sync log.db-wal failed", "sync log.db,", "truncate log.db-wal", "sync log.db-wal"}
			rest := trace + ","
			for _, step := range order {
				_, after, ok := strings.Cut(rest, step)
				if !ok {
					t.Fatalf("the record was acknowledged after %q, which lacks %q in its place", trace, step)
				}
				rest = after
			}
			r.put(t, message("a@x", "b@x", "after"))
			if got := r.bodies(t); got != "before | in doubt | after" {
				t.Errorf("readers see %s", got)
			}
			if got := r.reopen(t, o).bodies(t); got != "before | in doubt | after" {
				t.Errorf("after a restart readers see %s", got)
			}
		})
	}
}

// TestSyncFailsForGood: nothing is acknowledged any more, and Serve ends so that the process can.
func TestSyncFailsForGood(t *testing.T) {
	t.Parallel()
	f := newFaults(t)
	o := Options{Dir: t.TempDir(), Log: testLog(t), vfs: f.name, limit: func(w committer.Writer) committer.Writer { return shortLimit{w} }}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r := serve(s)
	r.put(t, message("a@x", "b@x", "before"))
	f.set(func(op, file string) int32 {
		if op == "sync" && strings.HasPrefix(file, "log.db") {
			return sqlite3.SQLITE_IOERR_FSYNC
		}
		return 0
	}, nil)
	for _, got := range r.tryPut(t, message("a@x", "b@x", "one"), message("a@x", "b@x", "two")) {
		if !errors.Is(got.err, store.ErrUnavailable) {
			t.Errorf("%s: %v", got.rec.Body, got.err)
		}
	}
	receive(t, r.ended)
	if !errors.Is(r.err, store.ErrLogLost) {
		t.Errorf("Serve returned %v, want ErrLogLost", r.err)
	}
	late := make(chan error, 1)
	r.Log().Append(message("a@x", "b@x", "late"), func(err error) { late <- err })
	if err := receive(t, late); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	s.Close()
	dir := copyFiles(t, o.Dir, "log.db", "log.db-wal", "log.refused")
	if got := open(t, Options{Dir: dir, Log: testLog(t)}).bodies(t); got != "before" {
		t.Errorf("after a restart readers see %s", got)
	}
}

// shortLimit is a writer that gives up sooner.
type shortLimit struct{ committer.Writer }

func (shortLimit) Limit() time.Duration { return 300 * time.Millisecond }

// hang blocks the next sync of the WAL until the returned function is called.
func (f *faults) hang(t *testing.T) (hanging chan struct{}, release func()) {
	hanging, gate := make(chan struct{}), make(chan struct{})
	first := fail("sync", "log.db-wal", 1, 1)
	f.set(func(op, file string) int32 {
		if first(op, file) != 0 {
			close(hanging)
			<-gate
		}
		return 0
	}, nil)
	released := false
	release = func() {
		if !released {
			released = true
			close(gate)
		}
	}
	t.Cleanup(release)
	return hanging, release
}

// TestHangingSync: the disk hangs in a commit for longer than the deadline. Senders are refused in time; the commit lands
// when the disk comes back, and is voided.
func TestHangingSync(t *testing.T) {
	t.Parallel()
	r, f, o := withFaults(t)
	hanging, release := f.hang(t)
	results := make(chan []appended)
	go func() { results <- r.tryPut(t, message("a@x", "b@x", "hangs"), message("a@x", "b@x", "hangs too")) }()
	receive(t, hanging)
	queued := r.tryPut(t, message("a@x", "b@x", "behind it"))
	for _, got := range append(receive(t, results), queued...) {
		if !errors.Is(got.err, store.ErrUnavailable) {
			t.Errorf("%s: %v", got.rec.Body, got.err)
		}
	}
	notes, err := os.ReadFile(filepath.Join(o.Dir, "log.refused"))
	if err != nil || strings.Count(string(notes), "\n") == 0 {
		t.Errorf("the refused records were not noted: %q, %v", notes, err)
	}
	if got := r.bodies(t); got != "before" {
		t.Errorf("while it hangs readers see %s", got)
	}
	moved := make(chan int64, 10)
	r.Log().Subscribe(func(head int64) { moved <- head })
	release()
	receive(t, moved) // the void records are durable
	if got := r.bodies(t); got != "before" {
		t.Errorf("after it landed readers see %s", got)
	}
	r.put(t, message("a@x", "b@x", "after"))
	check := func(r *running) {
		t.Helper()
		if got := r.bodies(t); got != "before | after" {
			t.Errorf("readers see %s", got)
		}
		r.indexed(t)
		if box, err := r.Index().Mailbox(t.Context(), "b@x", 0, 10); err != nil || texts(box) != "before | after" {
			t.Errorf("the mailbox has %s, %v", texts(box), err)
		}
		var tail []string
		err := r.Log().Tail(t.Context(), time.Time{}, func(rec *store.Record) error {
			tail = append(tail, rec.From)
			return nil
		})
		if err != nil || len(tail) != 2 {
			t.Errorf("the tail has %d messages, %v", len(tail), err)
		}
	}
	check(r)
	if st, err := os.Stat(filepath.Join(o.Dir, "log.refused")); err != nil || st.Size() != 0 {
		t.Errorf("the notes were not cleared: %v", err)
	}
	// The log says itself what happened.
	list, err := r.Log().Read(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	voids := 0
	for _, rec := range list {
		if rec.Kind == store.KindVoid {
			voids++
		}
	}
	if voids == 0 {
		t.Error("no void record says that the commit landed too late")
	}
	check(r.reopen(t, o))
}

// TestKilledWhileHanging: the process is killed after it refused a commit that landed. The next start voids it. The
// control is the same without the notes: then the refused record is there, which shows that the test would see it.
func TestKilledWhileHanging(t *testing.T) {
	t.Parallel()
	r, f, o := withFaults(t)
	hanging, _ := f.hang(t)
	done := make(chan []appended)
	go func() { done <- r.tryPut(t, message("a@x", "b@x", "hangs")) }()
	receive(t, hanging)
	receive(t, done)
	// What a kill leaves are the files as they are now.
	for _, with := range []bool{true, false} {
		names := []string{"log.db", "log.db-wal", "state.db", "log.refused"}
		if !with {
			names = names[:3]
		}
		dir := copyFiles(t, o.Dir, names...)
		want := "before"
		if !with {
			want = "before | hangs"
		}
		if got := open(t, Options{Dir: dir, Log: testLog(t)}).bodies(t); got != want {
			t.Errorf("with the notes %t: after the restart readers see %s, want %s", with, got, want)
		}
	}
}

// TestDiskFull: a full disk refuses in time, and is forgotten when there is room again.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	t.Run("engine", func(t *testing.T) {
		t.Parallel()
		r, f, o := withFaults(t)
		f.set(func(op, file string) int32 {
			if op == "write" && strings.HasPrefix(file, "log.db") {
				return sqlite3.SQLITE_FULL
			}
			return 0
		}, nil)
		r.refused(t, "no room")
		r.refused(t, "no room either")
		if err := r.Healthy(); err == nil {
			t.Error("healthy on a full disk")
		}
		f.set(nil, nil)
		r.recovered(t, "after")
		if got := r.reopen(t, o).bodies(t); got != "before | after" {
			t.Errorf("readers see %s", got)
		}
	})
	t.Run("filesystem", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", dir).CombinedOutput(); err != nil {
			t.Skipf("not tested on a file system that is full: mounting a small one needs root: %s", out)
		}
		t.Cleanup(func() { exec.Command("umount", dir).Run() })
		o := Options{Dir: dir, Log: testLog(t), patience: promised}
		r := open(t, o)
		t.Cleanup(func() { r.stop(); r.Close() })
		r.put(t, message("a@x", "b@x", "before"))
		ballast := filepath.Join(dir, "ballast")
		if err := fillUp(ballast); err != nil {
			t.Fatal(err)
		}
		large := message("a@x", "b@x", strings.Repeat("x", 200_000))
		if got := r.tryPut(t, large)[0]; !errors.Is(got.err, store.ErrUnavailable) {
			t.Fatalf("got %v on a full disk", got.err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		r.recovered(t, "after")
		if got := r.bodies(t); got != "before | after" {
			t.Errorf("readers see %.100s", got)
		}
		if got := r.reopen(t, o).bodies(t); got != "before | after" {
			t.Errorf("after a restart readers see %.100s", got)
		}
	})
}

// fillUp writes a file until the file system is full.
func fillUp(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); err != nil {
			return nil
		}
	}
}

// TestCheckpointFails: the database file cannot be synced in a checkpoint, and the disk loses what was written to it since
// its last sync. Serve ends, and the next process has everything that was acknowledged. The control truncates the WAL
// instead, as if nothing had happened: then records are missing, which shows that the simulated loss is one.
func TestCheckpointFails(t *testing.T) {
	for _, control := range []bool{false, true} {
		t.Run(map[bool]string{false: "exit", true: "control"}[control], func(t *testing.T) {
			t.Parallel()
			r, f, o := withFaults(t)
			file := filepath.Join(o.Dir, "log.db")
			var synced atomic.Pointer[[]byte] // the content at the last sync
			keep := func(op, name string) int32 {
				if data, err := os.ReadFile(file); err == nil && op == "sync" && name == "log.db" {
					synced.Store(&data)
				}
				return 0
			}
			f.set(nil, keep)
			db := sqlitePool(file, 1, f.name)
			if frames, done := r.points[0].checkpoint(db); frames != done || synced.Load() == nil {
				t.Fatal("the first checkpoint", frames, done)
			}
			for i := range 20 {
				r.put(t, message("a@x", "b@x", strings.Repeat(string(rune('a'+i)), 8000)))
			}
			// Somebody reads an older state, so the next checkpoint copies a part and does not sync.
			reader, err := r.log.db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			var n int
			if err := reader.QueryRow("SELECT count(*) FROM log").Scan(&n); err != nil {
				t.Fatal(err)
			}
			r.put(t, message("a@x", "b@x", "last"))
			if frames, done := r.points[0].checkpoint(db); done == 0 || done == frames {
				t.Fatal("the second checkpoint", frames, done)
			}
			reader.Rollback()
			lose := func(op, name string) int32 {
				if op != "sync" || name != "log.db" {
					return 0
				}
				g, err := os.OpenFile(file, os.O_WRONLY, 0)
				if err != nil {
					t.Error(err)
					return 0
				}
				defer g.Close()
				old := *synced.Load()
				g.WriteAt(old, 0)
				g.Truncate(int64(len(old)))
				return sqlite3.SQLITE_IOERR_FSYNC
			}
			f.set(lose, nil)
			want := r.bodies(t)
			if control {
				db.Exec("PRAGMA wal_checkpoint(PASSIVE)")
				f.set(nil, nil)
				if _, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
					t.Fatal(err)
				}
			} else {
				r.points[0].checkpoint(db)
				receive(t, r.ended)
				if !errors.Is(r.err, store.ErrLogLost) {
					t.Errorf("Serve returned %v, want ErrLogLost", r.err)
				}
			}
			s, err := Open(t.Context(), Options{Dir: copyFiles(t, o.Dir, "log.db", "log.db-wal"), Log: testLog(t)})
			got := "an error"
			if err == nil {
				defer s.Close()
				if list, err := s.Log().Read(t.Context(), 0, 1000); err == nil {
					got = texts(list)
				}
			}
			if (got == want) == control {
				t.Errorf("control %t: everything is there: %t (%v)", control, got == want, err)
			}
		})
	}
}

// copyFiles copies files as they are at the moment: what a kill would leave.
func copyFiles(t *testing.T, from string, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestPoisonedRecord: a record which the database does not take fails alone.
func TestPoisonedRecord(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		statements := []string{`CREATE TRIGGER poison BEFORE INSERT ON log WHEN new.device = 'poison' BEGIN SELECT RAISE(ABORT, 'poison'); END`}
		if o.URL != "" {
			statements = []string{`CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poison'; END $$`,
				`CREATE TRIGGER poison BEFORE INSERT ON log FOR EACH ROW WHEN (new.device = 'poison') EXECUTE FUNCTION poison()`}
		}
		for _, s := range statements {
			db := r.state.write
			if o.URL == "" {
				db = sqlitePool(filepath.Join(o.Dir, "log.db"), 1, "")
				defer db.Close()
			}
			if _, err := db.Exec(s); err != nil {
				t.Fatal(err)
			}
		}
		bad := message("a@x", "b@x", "bad")
		bad.Device = "poison"
		for _, got := range r.tryPut(t, message("a@x", "b@x", "one"), bad, message("a@x", "b@x", "two"), message("a@x", "b@x", "three")) {
			if (got.err != nil) != (got.rec == bad) || got.rec == bad && !errors.Is(got.err, errs.Internal) {
				t.Errorf("%s: %v", got.rec.Body, got.err)
			}
		}
		if got := r.bodies(t); got != "one | two | three" {
			t.Errorf("readers see %s", got)
		}
	})
}
