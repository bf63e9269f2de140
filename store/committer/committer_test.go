package committer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// What a database may do with a transaction.
type behaviour struct {
	Before  time.Duration // hangs before it begins
	Between time.Duration // hangs after the point of no return, before it lands
	After   time.Duration // hangs after it has landed
	Verdict Verdict       // of the error, if Fails
	Fails   bool
	Lands   bool // lands although it fails (Doubtful only)
	Broken  int  // so many calls of Recover fail after it
}

// memory stands where a database stands: it keeps rows, and misbehaves as it is told, in the time of synctest.
type memory struct {
	mu     sync.Mutex
	rows   []row
	script []behaviour // of the transactions to come; well-behaved after
	lies   bool        // says that it wrote and does not (a control)
	broken int
}

type row struct {
	seq  int64
	id   id.ID
	void bool
}

var errScript = map[Verdict]error{Again: errors.New("again"), Doubtful: errors.New("doubtful"), Poisoned: errors.New("poisoned")}

func (m *memory) Commit(records []*store.Record, voids []int64, gate func() bool) (int64, error) {
	var b behaviour
	if len(m.script) > 0 {
		b, m.script = m.script[0], m.script[1:]
	}
	time.Sleep(b.Before)
	if b.Fails && b.Verdict != Doubtful {
		return 0, errScript[b.Verdict]
	}
	if slices.ContainsFunc(records, func(r *store.Record) bool { return r.Device == "poison" }) {
		return 0, errScript[Poisoned]
	}
	if !gate() {
		return 0, ErrDropped
	}
	time.Sleep(b.Between)
	m.broken = b.Broken
	if m.lies {
		return int64(len(m.rows)), nil
	}
	if !b.Fails || b.Lands {
		m.mu.Lock()
		for _, r := range records {
			m.rows = append(m.rows, row{seq: int64(len(m.rows) + 1), id: r.ID})
			if !b.Fails {
				r.Seq = int64(len(m.rows))
			}
		}
		for _, v := range voids {
			m.rows[v-1].void = true
		}
		m.mu.Unlock()
	}
	time.Sleep(b.After)
	if b.Fails {
		return 0, errScript[Doubtful]
	}
	return int64(len(m.rows)), nil
}

// areAfter checks that records are what follows a seq, and not void. m.mu is held.
func (m *memory) areAfter(seq int64, list []*store.Record) error {
	for i, r := range list {
		if x := m.rows[int(seq)+i]; x.void || x.id != r.ID || x.seq != r.Seq {
			return fmt.Errorf("record %d after %d is %d %s, the log has %+v", i, seq, r.Seq, r.ID, x)
		}
	}
	return nil
}

func (m *memory) Judge(err error) Verdict {
	for v, e := range errScript {
		if errors.Is(err, e) {
			return v
		}
	}
	return Doubtful
}

func (m *memory) Recover(context.Context) error {
	if m.broken > 0 {
		m.broken--
		return errScript[Doubtful]
	}
	return nil
}

func (m *memory) Find(base int64, list []id.ID) ([]Place, error) {
	var found []Place
	for _, r := range m.rows {
		if r.seq > base && !r.void && slices.Contains(list, r.id) {
			found = append(found, Place{r.seq, r.id})
		}
	}
	return found, nil
}

func (m *memory) Probe() error         { return nil }
func (m *memory) Limit() time.Duration { return 0 }
func (m *memory) Lost() <-chan error   { return nil }
func (m *memory) Close() error         { return nil }

// visible are the ids that readers see.
func visible(rows []row, head int64) map[id.ID]bool {
	seen := make(map[id.ID]bool)
	for _, r := range rows {
		if r.seq <= head && !r.void {
			seen[r.id] = true
		}
	}
	return seen
}

// outcome is what one record was told.
type outcome struct {
	n     int // place in the order of Append
	id    id.ID
	err   error
	calls int
	took  time.Duration
}

// TestAnything: whatever the database does, every record is answered once, within a second, in order; what was
// acknowledged is in the log, what was refused is not read, and both also when the process is killed at any moment.
func TestAnything(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	pause := rapid.SampledFrom([]time.Duration{0, 0, 0, time.Millisecond, 100 * time.Millisecond, 690 * time.Millisecond,
		700 * time.Millisecond, 800 * time.Millisecond, 3 * time.Second})
	behaviours := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) behaviour {
		return behaviour{Before: pause.Draw(t, "before"), Between: pause.Draw(t, "between"), After: pause.Draw(t, "after"),
			Verdict: rapid.SampledFrom([]Verdict{Again, Doubtful, Poisoned}).Draw(t, "verdict"), Fails: rapid.Bool().Draw(t, "fails"),
			Lands: rapid.Bool().Draw(t, "lands"), Broken: rapid.IntRange(0, 3).Draw(t, "broken")}
	}), 0, 6)
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		folder := filepath.Join(dir, fmt.Sprint(run))
		if err := os.Mkdir(folder, 0o700); err != nil {
			rt.Fatal(err)
		}
		script := behaviours.Draw(rt, "script")
		gaps := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond}), 1, 30).Draw(rt, "gaps")
		poison := rapid.IntRange(-1, len(gaps)-1).Draw(rt, "poison")
		killAt := time.Duration(rapid.IntRange(0, 5000).Draw(rt, "kill")) * time.Millisecond
		var problem error
		synctest.Test(t, func(t *testing.T) {
			problem = play(play1{log: log, dir: folder, script: script, gaps: gaps, poison: poison, killAt: killAt})
		})
		if problem != nil {
			rt.Fatal(problem)
		}
	})
}

// TestControls: the checks of TestAnything see a database that lies, and a kill that loses the notes.
func TestControls(t *testing.T) {
	hang := play1{log: slog.New(slog.DiscardHandler), script: []behaviour{{After: 3 * time.Second}}, gaps: []time.Duration{0}, poison: -1,
		killAt: time.Second}
	for name, change := range map[string]func(*play1){
		"":         func(*play1) {},
		"lies":     func(p *play1) { p.lies = true },
		"no notes": func(p *play1) { p.loseNotes = true },
	} {
		p := hang
		p.dir = t.TempDir()
		change(&p)
		var problem error
		synctest.Test(t, func(t *testing.T) { problem = play(p) })
		if (problem != nil) != (name != "") {
			t.Errorf("control %q: %v", name, problem)
		}
	}
}

// play1 is one case.
type play1 struct {
	log             *slog.Logger
	dir             string
	script          []behaviour
	gaps            []time.Duration // between two records
	poison          int             // the record that the database does not take; -1: none
	killAt          time.Duration   // after the last record
	lies, loseNotes bool            // controls
}

// play runs one case and returns what is wrong.
func play(p play1) error {
	log, dir, gaps, poison := p.log, p.dir, p.gaps, p.poison
	m := &memory{script: slices.Clone(p.script), lies: p.lies}
	c := New(m, Options{Dir: dir, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- c.Serve(ctx) }()

	var mu sync.Mutex // guards what follows
	var wrong error   // about what is said to be the newest
	at := int64(0)
	c.Subscribe(func(head int64) {
		m.mu.Lock()
		defer m.mu.Unlock()
		mu.Lock()
		defer mu.Unlock()
		if list, ok := c.Newest(at); ok && !p.lies {
			wrong = errors.Join(wrong, m.areAfter(at, list))
		}
		at = head
	})
	outcomes := make([]outcome, len(gaps))
	var order []int
	for i := range gaps {
		o := &outcomes[i]
		r := &store.Record{Kind: store.KindMessage, From: "a@x", To: "b@x"}
		if i == poison {
			r.Device = "poison"
		}
		r.ID = id.New()
		mu.Lock()
		o.n, o.id = i, r.ID
		mu.Unlock()
		start := time.Now()
		c.Append(r, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			o.err, o.took = err, time.Since(start)
			o.calls++
			order = append(order, i)
		})
		time.Sleep(gaps[i])
	}
	// The kill: what is on the disk at this moment goes to another process.
	time.Sleep(p.killAt)
	synctest.Wait()
	mu.Lock()
	told := slices.Clone(outcomes)
	mu.Unlock()
	m.mu.Lock()
	rows := slices.Clone(m.rows)
	m.mu.Unlock()
	notes, _ := os.ReadFile(filepath.Join(dir, "log.refused"))
	if p.loseNotes {
		notes = nil
	}

	time.Sleep(time.Minute)
	cancel()
	if err := <-served; err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	if err := check(outcomes, visible(m.rows, c.Head()), true); err != nil {
		return err
	}
	if !slices.IsSorted(order) {
		return fmt.Errorf("callbacks in the order %v", order)
	}
	if wrong != nil {
		return wrong
	}
	if left, _ := os.ReadFile(filepath.Join(dir, "log.refused")); len(left) > 0 {
		return fmt.Errorf("notes were left: %q", left)
	}

	again := filepath.Join(dir, "again")
	if err := errors.Join(os.Mkdir(again, 0o700), os.WriteFile(filepath.Join(again, "log.refused"), notes, 0o600)); err != nil {
		return err
	}
	m2 := &memory{rows: rows}
	c2 := New(m2, Options{Dir: again, Log: log, Head: int64(len(rows))})
	if err := c2.Settle(context.Background()); err != nil {
		return err
	}
	if err := check(told, visible(m2.rows, c2.Head()), false); err != nil {
		return fmt.Errorf("after a kill: %w", err)
	}
	return nil
}

// check compares what was told with what is seen. All says that everybody must have been told.
func check(outcomes []outcome, seen map[id.ID]bool, all bool) error {
	for _, o := range outcomes {
		switch {
		case o.calls > 1 || all && o.calls == 0:
			return fmt.Errorf("record %d was answered %d times", o.n, o.calls)
		case o.calls == 0:
		case o.took > time.Second:
			return fmt.Errorf("record %d was answered after %v", o.n, o.took)
		case o.err == nil && !seen[o.id]:
			return fmt.Errorf("record %d was acknowledged and is not there", o.n)
		case o.err != nil && seen[o.id]:
			return fmt.Errorf("record %d was refused (%v) and is there", o.n, o.err)
		}
	}
	return nil
}

// TestPoison: only the record that the database does not take fails, with kind Internal.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(&memory{}, Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
		results := make([]error, 10)
		for i := range results {
			r := &store.Record{Kind: store.KindMessage}
			if i == 4 {
				r.Device = "poison"
			}
			c.Append(r, func(err error) { results[i] = err })
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- c.Serve(ctx) }()
		time.Sleep(time.Second)
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		for i, err := range results {
			if (err != nil) != (i == 4) || i == 4 && !errors.Is(err, errs.Internal) {
				t.Errorf("record %d: %v", i, err)
			}
		}
		late := make(chan error, 1)
		c.Append(&store.Record{Kind: store.KindMessage}, func(err error) { late <- err })
		if err := <-late; !errors.Is(err, store.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// One who waits for a record is not made to wait for company, an outcome for which nobody waits goes with the next record or
// soon alone, and after a crowd a commit waits for its like, but not for long.
func TestCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		c := New(m, Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- c.Serve(ctx) }()
		start := time.Now()
		took := map[string][]time.Duration{}
		add := func(kind string, n int) {
			for range n {
				c.Append(&store.Record{Kind: kind}, func(err error) {
					if err != nil {
						t.Error(err)
					}
					took[kind] = append(took[kind], time.Since(start))
				})
			}
			synctest.Wait()
		}
		expect := func(kind string, want ...time.Duration) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(took[kind], want) {
				t.Errorf("%s took %v, want %v", kind, took[kind], want)
			}
			clear(took)
			start = time.Now()
		}
		add(store.KindMessage, 1)
		expect(store.KindMessage, 0)

		add(store.KindDelivery, 1)
		time.Sleep(time.Second)
		expect(store.KindDelivery, unhurried)

		add(store.KindDelivery, 1)
		time.Sleep(time.Millisecond)
		add(store.KindMessage, 1)
		expect(store.KindDelivery, time.Millisecond)

		m.script = []behaviour{{}, {After: 10 * time.Millisecond}}
		add(store.KindMessage, 1)
		start = time.Now()
		clear(took)
		add(store.KindMessage, 1)     // commits, which takes a while
		add(store.KindMessage, crowd) // a crowd behind it
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		start = time.Now()
		clear(took)
		add(store.KindMessage, 1)
		time.Sleep(time.Second)
		expect(store.KindMessage, assembly)

		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// What is kept in memory is bounded, without a gap, and said to be everything only when it is.
func TestNewest(t *testing.T) {
	var n newest
	next := int64(1)
	add := func(count, size int) {
		list := make([]*store.Record, count)
		for i := range list {
			list[i] = &store.Record{Seq: next, Body: make([]byte, size)}
			next++
		}
		n.add(list)
	}
	want := func(after, head int64, count int) {
		t.Helper()
		list, ok := n.after(after, head)
		if ok != (count >= 0) || ok && len(list) != count {
			t.Errorf("after %d up to %d: %d records, %v, want %d", after, head, len(list), ok, count)
		}
		for i, r := range list {
			if r.Seq != after+1+int64(i) {
				t.Fatalf("record %d after %d has seq %d", i, after, r.Seq)
			}
		}
	}
	want(7, 7, 0)
	want(6, 7, -1)
	add(10, 1)
	want(0, 10, 10)
	want(3, 8, 5)
	want(10, 10, 0)
	want(11, 10, -1) // not there yet
	want(9, 11, -1)  // another node's is there
	add(newestMost, 1)
	want(10, newestMost+10, newestMost)
	want(9, newestMost+10, -1)
	next++ // of somebody else
	add(2, 1)
	want(next-3, next-1, 2)
	want(next-4, next-1, -1)
	add(3, newestMemory/2)
	if n.bytes > newestMemory {
		t.Errorf("%d bytes", n.bytes)
	}
	want(next-2, next-1, 1)
	add(1, newestMemory+1)
	want(next-2, next-1, -1)
	if n.bytes != 0 || len(n.records) != 0 {
		t.Errorf("%d records of %d bytes", len(n.records), n.bytes)
	}
}
