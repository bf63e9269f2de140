package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

// A replay is power loss at any moment: the server under load writes a trace of what it does to its files (store/crashpoint),
// and from that the folder is built as a disk could have it at a moment: what was synced then, and of what was not a random
// choice, torn at the boundaries of sectors. The store must open it as it is, and hold everything that a client had seen
// acknowledged or delivered by then, as it was said, in the same order.

// sector is what a disk writes whole.
const sector = 512

// operation is one entry of a trace; the format is told in store/crashpoint/trace.go.
type operation struct {
	kind   byte // w, t, d, s, S
	file   string
	number int64
	at     time.Time
	data   []byte
}

func readTrace(name string) ([]operation, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	var list []operation
	for len(text) >= 32 {
		names, size := int(text[1]), int(binary.BigEndian.Uint32(text[4:]))
		if len(text) < 32+names+size {
			break // the end of a process that was killed
		}
		list = append(list, operation{kind: text[0], file: string(text[32 : 32+names]), number: int64(binary.BigEndian.Uint64(text[8:])),
			at: time.Unix(0, int64(binary.BigEndian.Uint64(text[16:]))), data: text[32+names : 32+names+size]})
		text = text[32+names+size:]
	}
	return list, nil
}

// diskFile is what is known of a file: its content on the disk, and what may be on its way there.
type diskFile struct {
	there   bool
	content []byte
	open    []int // operations that no sync has covered
}

// apply does one operation, of which keep chooses the sectors.
func (f *diskFile) apply(o *operation, keep func() bool) {
	switch o.kind {
	case 't':
		if keep() {
			f.there, f.content = true, resize(f.content, o.number)
		}
	case 'd':
		if keep() {
			f.there, f.content = false, nil
		}
	case 'w':
		for done := int64(0); done < int64(len(o.data)); {
			at := o.number + done
			n := min(sector-at%sector, int64(len(o.data))-done)
			if keep() {
				f.there = true
				if at+n > int64(len(f.content)) {
					f.content = resize(f.content, at+n)
				}
				copy(f.content[at:], o.data[done:done+n])
			}
			done += n
		}
	}
}

func resize(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return b[:n]
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

func always() bool { return true }

// diskState is all files at a moment.
type diskState struct {
	trace []operation
	files map[string]*diskFile
	syncs map[int64]int // syncs that have begun: their place in the trace
}

// step takes the i-th operation into account.
func (d *diskState) step(i int) {
	o := &d.trace[i]
	f := d.files[o.file]
	if f == nil {
		f = &diskFile{}
		d.files[o.file] = f
	}
	switch o.kind {
	case 's':
		d.syncs[o.number] = i
	case 'S':
		began := d.syncs[o.number]
		n := 0
		for n < len(f.open) && f.open[n] < began {
			f.apply(&d.trace[f.open[n]], always)
			n++
		}
		f.open = slices.Delete(f.open, 0, n)
	default:
		f.open = append(f.open, i)
	}
}

// write makes the folder as the disk could have it now.
func (d *diskState) write(dir string, r *rand.Rand) error {
	// None of what was not synced, all of it, or a part: then in order up to some place, or here and there.
	chance := []float64{0, 1, 0.5, 0.9, 0.1}[r.IntN(5)]
	ordered := r.IntN(3) == 0
	for name, f := range d.files {
		g := &diskFile{there: f.there, content: slices.Clone(f.content)}
		cut := r.IntN(len(f.open) + 1)
		for n, i := range f.open {
			keep := func() bool { return r.Float64() < chance }
			switch {
			case ordered && n < cut:
				keep = always
			case ordered && n > cut:
				keep = func() bool { return false }
			}
			g.apply(&d.trace[i], keep)
		}
		if !g.there {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), g.content, 0o600); err != nil {
			return fmt.Errorf("crash: %w", err)
		}
	}
	return nil
}

// replayRound records a trace and cuts the power at every k-th place in it.
func replayRound(ctx context.Context, x *run, i int) (string, error) {
	x.server.kill()
	base, trace, final := filepath.Join(x.dir, "base"), filepath.Join(x.dir, "trace"), filepath.Join(x.dir, "final")
	if err := copyFolder(x.server.data, base); err != nil {
		return "", err
	}
	_ = os.Remove(trace) // of the round before, if any
	x.server.env = []string{"PARLEY_CRASH_TRACE=" + trace}
	if err := x.server.start(ctx); err != nil {
		return "", err
	}
	pause(ctx, x.o.traced)
	if i%2 == 0 {
		if err := x.server.stop(); err != nil {
			return "", fmt.Errorf("crash: a gentle stop: %w\n%s", err, x.server.tail())
		}
	} else {
		x.server.kill()
	}
	seen := x.ledger.snapshot(nil)
	if err := copyFolder(x.server.data, final); err != nil {
		return "", err
	}
	if _, err := x.again(ctx); err != nil {
		return "", err
	}
	x.crew.loading.Store(false) // what is said meanwhile would only make the log of the next round longer
	p, err := newReplay(ctx, base, trace, final, seen)
	if err != nil {
		return "", err
	}
	return p.run(ctx, x)
}

// replay is a trace with what must be true at each place in it.
type replay struct {
	dir     string // for the folders
	base    string
	trace   []operation
	records []store.Record // the log as it was in the end
	places  map[string]int // key of a message → index in records
	due     []promise      // by time
}

// promise is that a message is in the log from a moment on.
type promise struct {
	at    time.Time
	key   string
	index int // the message is at least the index-th record
}

func newReplay(ctx context.Context, base, trace, final string, seen book) (*replay, error) {
	p := &replay{base: base, places: map[string]int{}}
	var err error
	if p.trace, err = readTrace(trace); err != nil {
		return nil, err
	}
	if p.records, _, err = openFolder(ctx, final, nil); err != nil {
		return nil, err
	}
	for i := range p.records {
		if r := &p.records[i]; r.Kind == store.KindMessage {
			key, _, _ := strings.Cut(string(r.Body), " ")
			p.places[key] = i
		}
	}
	promised := func(key string, at time.Time) error {
		i, ok := p.places[key]
		if !ok {
			return fmt.Errorf("%w: %s is not in the log even without power loss", errLoss, key)
		}
		p.due = append(p.due, promise{at, key, i})
		return nil
	}
	for i := range seen.Answers {
		if a := &seen.Answers[i]; a.Status/100 == 2 || a.Status == statusUnwanted {
			err = errors.Join(err, promised(a.Key, a.At))
		}
	}
	for i := range seen.Received {
		err = errors.Join(err, promised(seen.Received[i].Key, seen.Received[i].At))
	}
	slices.SortFunc(p.due, func(a, b promise) int { return a.at.Compare(b.at) })
	return p, err
}

// run cuts the power at every k-th operation, on as many folders at a time as there are processors to spare.
func (p *replay) run(ctx context.Context, x *run) (string, error) {
	var err error
	if p.dir, err = os.MkdirTemp(memory(), "parley-replay-"); err != nil {
		return "", fmt.Errorf("crash: %w", err)
	}
	defer os.RemoveAll(p.dir)
	d := &diskState{trace: p.trace, files: map[string]*diskFile{}, syncs: map[int64]int{}}
	entries, err := os.ReadDir(p.base)
	if err != nil {
		return "", fmt.Errorf("crash: %w", err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			text, err := os.ReadFile(filepath.Join(p.base, e.Name()))
			if err != nil {
				return "", fmt.Errorf("crash: %w", err)
			}
			d.files[e.Name()] = &diskFile{there: true, content: text}
		}
	}
	var wg sync.WaitGroup
	var bad atomic.Int64
	room := make(chan struct{}, 2)
	opened, every := 0, x.o.points
	if every == 0 {
		every = max(1, len(p.trace)/150)
	}
	for i := range p.trace {
		d.step(i)
		// A moment lasts until the next operation stands in the trace.
		if i%every != 0 || i+1 == len(p.trace) || ctx.Err() != nil {
			continue
		}
		room <- struct{}{}
		r := rand.New(rand.NewPCG(x.o.seed, uint64(i))) //nolint:gosec // a choice
		dir := filepath.Join(p.dir, fmt.Sprint(i))
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			err = d.write(dir, r)
		}
		if err != nil {
			return "", err
		}
		opened++
		wg.Go(func() {
			defer func() { <-room }()
			if err := p.judge(ctx, dir, p.trace[i+1].at); err != nil && ctx.Err() == nil {
				if bad.Add(1) <= 3 {
					x.printf("  VIOLATION power loss at operation %d (%c %s): %v\n", i, p.trace[i].kind, p.trace[i].file, err)
				}
			}
			_ = os.RemoveAll(dir) // the next ones need the room; the whole folder goes in the end
		})
	}
	wg.Wait()
	kinds := map[byte]int{}
	for i := range p.trace {
		kinds[p.trace[i].kind]++
	}
	note := fmt.Sprintf("power lost at %d of %d places (%d writes, %d syncs), %d promises", opened, len(p.trace), kinds['w'], kinds['S'], len(p.due))
	x.cuts += opened
	if n := int(bad.Load()); n > 0 {
		x.broken += n
		return note, nil
	}
	return note, ctx.Err()
}

// memory is a folder for many small files that need not be kept.
func memory() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// judge opens a folder as it was at a moment.
func (p *replay) judge(ctx context.Context, dir string, moment time.Time) error {
	var said bytes.Buffer
	list, state, err := openFolder(ctx, dir, &said)
	if err != nil {
		return fmt.Errorf("the store does not open: %w", err)
	}
	for i := range list {
		if i >= len(p.records) || !same(&list[i], &p.records[i]) {
			return fmt.Errorf("record %d (%s) is not the one that was there before", list[i].Seq, list[i].Kind)
		}
	}
	due, _ := slices.BinarySearchFunc(p.due, moment, func(d promise, t time.Time) int { return d.at.Compare(t) })
	gone := 0
	var first promise
	for _, d := range p.due[:due] {
		if d.index >= len(list) {
			if gone++; gone == 1 {
				first = d
			}
		}
	}
	switch {
	case gone > 0:
		return fmt.Errorf("%d messages that clients had seen are not in the log, which ends at record %d: %s, seen at %s", gone, head(list), first.key, clock(first.at))
	case state > head(list):
		return fmt.Errorf("a device's cursor stands at %d, above the last record %d", state, head(list))
	case said.Len() > 0:
		return fmt.Errorf("nothing is missing, and it says: %s", said.String())
	}
	return nil
}

func head(list []store.Record) int64 {
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Seq
}

func same(a, b *store.Record) bool {
	return a.Seq == b.Seq && a.ID == b.ID && a.Hash == b.Hash && a.Sum() == b.Hash && a.Kind == b.Kind && a.From == b.From && a.To == b.To &&
		a.At.Equal(b.At) && bytes.Equal(a.Body, b.Body) && maps.Equal(a.Meta, b.Meta)
}

// openFolder opens a data folder as the server does and reads its log, and the highest cursor. What the store says at ERROR level
// goes to said.
func openFolder(ctx context.Context, dir string, said io.Writer) (list []store.Record, cursor int64, err error) {
	log := slog.New(slog.DiscardHandler)
	if said != nil {
		log = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	s, err := sqlstore.Open(ctx, sqlstore.Options{Dir: dir, Log: log})
	if err != nil {
		return nil, 0, err
	}
	defer s.Close()
	for after := int64(0); ; after = list[len(list)-1].Seq {
		page, err := s.Log().Read(ctx, after, 1000)
		if err != nil {
			return nil, 0, err
		}
		if list = append(list, page...); len(page) < 1000 {
			break
		}
	}
	err = s.Cursors().AllCursors(ctx, func(c store.Cursor) error {
		cursor = max(cursor, c.Seq)
		return nil
	})
	return list, cursor, err
}
