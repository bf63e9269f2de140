package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"modernc.org/sqlite"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// TestSecondServer: a folder in use is refused with the pid, and is free after Close.
func TestSecondServer(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		_, err := Open(t.Context(), o)
		if !errors.Is(err, store.ErrInUse) || !errors.Is(err, errs.Conflict) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Errorf("got %v", err)
		}
		r.reopen(t, o)
	})
}

// TestNewerSchema: data of a newer version is refused and not touched.
func TestNewerSchema(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		for _, part := range []string{"log", "state"} {
			r := open(t, o)
			db := r.state.write
			if o.URL == "" {
				db = sqlitePool(filepath.Join(o.Dir, part+".db"), 1, "")
			}
			if _, err := db.Exec(`INSERT INTO schema_` + part + ` (version_id, is_applied) VALUES (99, true)`); err != nil {
				t.Fatal(err)
			}
			r.stop()
			r.Close()
			if _, err := Open(t.Context(), o); !errors.Is(err, store.ErrNewerSchema) || !strings.Contains(err.Error(), "99") {
				t.Errorf("%s: got %v", part, err)
			}
			if o.URL == "" {
				if _, err := db.Exec(`DELETE FROM schema_` + part + ` WHERE version_id = 99`); err != nil {
					t.Fatal(err)
				}
				db.Close()
			} else {
				return // one part shows it; the next would need a way back in
			}
		}
	})
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), Options{Dir: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a folder that does not exist was opened")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "log.db"), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "restore a backup") {
		t.Errorf("a damaged log: %v", err)
	}
	if _, err := Open(t.Context(), Options{Dir: t.TempDir(), URL: "postgres://nobody:geheim@127.0.0.1:1/none"}); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a server that is not there: %v", err)
	}
}

// TestOrder: callbacks come in the order of Append, with ascending seqs, whatever the load.
func TestOrder(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		const senders, each = 8, 300
		var mu sync.Mutex
		appended := make([]*store.Record, 0, senders*each)
		var called []*store.Record
		var heads []int64
		cancel := r.Log().Subscribe(func(head int64) {
			if head > r.Log().Head() {
				t.Error("told of a head that is not reached")
			}
			heads = append(heads, head)
		})
		defer cancel()
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for range each {
					m := message("a@x", "b@x", "text")
					wg.Add(1)
					mu.Lock()
					appended = append(appended, m)
					r.Log().Append(m, func(err error) {
						if err != nil {
							t.Error(err)
						}
						if m.Seq == 0 || m.Seq > r.Log().Head() {
							t.Errorf("seq %d is acknowledged with head %d", m.Seq, r.Log().Head())
						}
						called = append(called, m) // one goroutine calls
						wg.Done()
					})
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		r.stop()
		if !slices.Equal(appended, called) {
			t.Error("callbacks did not come in the order of Append")
		}
		if !slices.IsSortedFunc(called, func(a, b *store.Record) int { return int(a.Seq - b.Seq) }) || !slices.IsSorted(heads) {
			t.Error("seqs do not ascend")
		}
		if len(heads) == 0 || heads[len(heads)-1] != called[len(called)-1].Seq {
			t.Errorf("subscribers were not told of the last head: %v", heads[max(0, len(heads)-1):])
		}
	})
}

// TestPageCaches: the driver is built with SQLITE_ENABLE_MEMORY_MANAGEMENT, so all connections of the process share one cache of
// pages. One that has reached its cache_size takes the oldest page there is, mostly another's, who then takes a new one: over an
// hour the cache grows to the sum of all, whoever needs it. A page of 4,096 bytes and its header take a slot of 8,192, seven of
// which are in 64 kB, so 24,000 kB of cache_size are 53 MB in the end. A cache that is full is worse than a small one: what a
// connection below its own cache_size reads is then dropped as soon as it is read. So the index's checkpointer empties it before.
func TestPageCaches(t *testing.T) {
	const most = 24000 // kB
	sum := 0
	size := func(q querier) (kB int) {
		if err := q.QueryRowContext(t.Context(), `PRAGMA cache_size`).Scan(&kB); err != nil {
			t.Fatal(err)
		}
		if kB >= 0 {
			t.Fatalf("cache_size is %d pages; it has to be given in kB, below 0", kB)
		}
		return -kB
	}
	var writer *sql.DB // its one connection is taken later
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Log: testLog(t), hookSQLite: func(log *sql.DB) error {
		writer = log
		sum += size(log)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w, ok := s.index.w.(*sqliteIndex)
	if !ok {
		t.Fatalf("the index is written by a %T", s.index.w)
	}
	sum += size(w.s.conn)
	for _, db := range append([]*sql.DB{s.index.read.Load(), w.points.db}, s.dbs...) {
		if n := db.Stats().MaxOpenConnections; n <= 0 {
			t.Errorf("a pool without a limit of connections")
		} else if db != writer {
			sum += n * size(db)
		}
	}
	if sum > most {
		t.Errorf("the connections may have %d kB of pages together, %d is the most", sum, most)
	}
	t.Logf("%d kB", sum)
}

// TestPagesAreGivenUp: checkpoints of the index give up the pages of all connections.
func TestPagesAreGivenUp(t *testing.T) {
	r := open(t, Options{Dir: t.TempDir(), Log: testLog(t)})
	other := sqlitePool(filepath.Join(t.TempDir(), "other.db"), 1, "")
	defer other.Close()
	conn, err := other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	used := func() (bytes int) {
		err := conn.Raw(func(c any) error {
			status, ok := c.(sqlite.DBStatus)
			if !ok {
				return fmt.Errorf("a %T tells nothing", c)
			}
			var err error
			bytes, _, err = status.Status(sqlite.DBStatusCacheUsed, false)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	if _, err := conn.ExecContext(t.Context(), `CREATE TABLE a (b); INSERT INTO a
		WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) SELECT zeroblob(4000) FROM n`); err != nil {
		t.Fatal(err)
	}
	full := used()
	if full < 200*4000 {
		t.Fatalf("%d bytes are used by 200 pages", full)
	}
	w, ok := r.index.w.(*sqliteIndex)
	if !ok {
		t.Fatalf("the index is written by a %T", r.index.w)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); used() > full/2; {
		w.points.written(int(w.points.every))
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d bytes of %d are still used", used(), full)
		}
	}
}

// TestBusyTimeout: the writer of the log waits as long inside SQLite as it was told, and others as long as all do.
func TestBusyTimeout(t *testing.T) {
	waits := func(db *sql.DB) (ms int) {
		if err := db.QueryRowContext(t.Context(), `PRAGMA busy_timeout`).Scan(&ms); err != nil {
			t.Fatal(err)
		}
		return ms
	}
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Log: testLog(t), hookSQLite: func(log *sql.DB) error {
		if ms := waits(log); ms != 100 {
			t.Errorf("the writer of the log waits %d ms", ms)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if ms := waits(s.state.write); ms != 5000 {
		t.Errorf("the writer of the state waits %d ms", ms)
	}
}

// TestBusy: a full queue refuses at once, and what was queued is still answered.
func TestBusy(t *testing.T) {
	t.Parallel()
	const most = 100
	// They wait for longer than it takes to fill the queue.
	reg := prometheus.NewRegistry()
	r, f, _ := withFaultsAnd(t, Options{queue: most, patience: 5 * time.Second, Registerer: reg})
	empty(t, reg)
	hanging, release := f.hang(t)
	results := make(chan error, 2*most)
	put := func() { r.Log().Append(message("a@x", "b@x", "x"), func(err error) { results <- err }) }
	put()
	receive(t, hanging)
	for range most + 10 {
		put()
	}
	busy, late := 0, 0
	for range most + 11 {
		switch err := receive(t, results); {
		case errors.Is(err, store.ErrBusy) && errors.Is(err, errs.TooMany):
			busy++
		case errors.Is(err, store.ErrUnavailable):
			late++
		default:
			t.Fatal(err)
		}
	}
	if busy != 11 || late != most {
		t.Errorf("%d busy, %d late", busy, late)
	}
	release()
	r.recovered(t, "after")
}

// empty waits until the queue is empty: a record leaves it when its callback has returned, which the test is told before.
func empty(t *testing.T, reg *prometheus.Registry) {
	t.Helper()
	queued := func() float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "parley_log_queue_records" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatal("no gauge of the queue")
		return 0
	}
	for end := time.Now().Add(patience); queued() > 0; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the queue does not get empty")
		}
	}
}

// TestInvalidRecords: what a database might refuse is refused before it is queued.
func TestInvalidRecords(t *testing.T) {
	t.Parallel()
	r := open(t, Options{Dir: t.TempDir()})
	for name, change := range map[string]func(*store.Record){
		"no kind":   func(m *store.Record) { m.Kind = "" },
		"NUL":       func(m *store.Record) { m.From = "a\x00" },
		"not UTF-8": func(m *store.Record) { m.To = "\xff" },
		"long":      func(m *store.Record) { m.Device = strings.Repeat("x", store.MaxText+1) },
		"large":     func(m *store.Record) { m.Body = make([]byte, store.MaxBody+1) },
		"much meta": func(m *store.Record) { m.Meta["x"] = strings.Repeat("x", store.MaxMeta) },
	} {
		m := message("a@x", "b@x", "text")
		change(m)
		if got := r.tryPut(t, m)[0]; !errors.Is(got.err, errs.Invalid) {
			t.Errorf("%s: %v", name, got.err)
		}
	}
	largest := message("a@x", "b@x", strings.Repeat("x", store.MaxBody))
	largest.Device = strings.Repeat("ü", store.MaxText/2)
	r.put(t, largest)
}

// TestTail: the tail comes newest first, from a time on, and ends when told.
func TestTail(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		now := time.Now()
		var records []*store.Record
		for i := range 100 {
			m := message("a@x", "b@x", fmt.Sprint(i))
			m.At = now.Add(time.Duration(i-100) * time.Hour)
			m.ID = id.New()
			m.Kind = []string{store.KindMessage, store.KindReceipt, store.KindEdit, store.KindRetract, store.KindReaction}[i%5] // all can be said twice
			records = append(records, m, &store.Record{Kind: store.KindDelivery, Ref: m.ID, At: m.At})
		}
		r.put(t, records...)
		var got []*store.Record
		collect := func(m *store.Record) error { got = append(got, m); return nil }
		if err := r.Log().Tail(t.Context(), now.Add(-24*time.Hour-time.Second), collect); err != nil || len(got) != 24 {
			t.Fatalf("%d messages of the last 24 hours, %v", len(got), err)
		}
		if first := got[0]; first.ID != records[198].ID || first.Meta[store.MetaCallID] == "" || first.From != "a@x" || first.Body != nil {
			t.Errorf("%+v", first)
		}
		got = nil
		err := r.Log().Tail(t.Context(), time.Time{}, func(m *store.Record) error {
			if got = append(got, m); len(got) == 5 {
				return store.ErrStop
			}
			return nil
		})
		if err != nil || len(got) != 5 {
			t.Error(len(got), err)
		}
		if err := r.Log().Tail(t.Context(), time.Time{}, func(*store.Record) error { return os.ErrInvalid }); !errors.Is(err, os.ErrInvalid) {
			t.Error(err)
		}
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	r := open(t, Options{Dir: t.TempDir(), Registerer: reg})
	r.put(t, message("a@x", "b@x", "x"))
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	if n, err := testutil.GatherAndCount(reg, "parley_log_head", "parley_index_position"); n != 2 || err != nil {
		t.Errorf("%d of 2 gauges, %v", n, err)
	}
}

// TestNothingIsLeft: Serve and Close leave no goroutine.
func TestNothingIsLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	for range 3 {
		s, err := Open(t.Context(), Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		r := serve(s)
		r.put(t, message("a@x", "b@x", "x"))
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	// What is about to end may do so.
	for end := time.Now().Add(patience); goleak.Find(before) != nil && time.Now().Before(end); {
		runtime.Gosched()
	}
	goleak.VerifyNone(t, before)
}
