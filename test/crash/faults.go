package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the lock of another process
)

// fault is one thing to break. A round begins and ends with a server that runs, under load.
type fault struct {
	name, about string
	disk        bool // wants a file system of its own
	build       build
	needs       func(*run) string
	round       func(ctx context.Context, x *run, i int) (note string, err error)
}

// build is which server a fault needs.
type build struct {
	points bool // with points, traces and small checkpoints
	clock  bool // with a clock that can be moved
}

// faults are all, in the order of their likelihood.
var faults = []fault{
	{"kill", "kill -9 at a random moment, also while it starts", false, build{}, nil, killRound},
	{"points", "the server kills itself at each of the named points inside commit, delivery and checkpoint", false, build{points: true}, nil, pointRound},
	{"replay", "power loss at every k-th write and sync of a trace, -points k", false, build{points: true}, onSQLite, replayRound},
	{"stop", "SIGSTOP for 5 s, every third time for 30 s", false, build{}, nil, stopRound},
	{"lock", "another process locks the database for 3 s, every third time for 30 s", false, build{}, onSQLite, lockRound},
	{"killlock", "kill -9 while the database is locked, or just after", false, build{}, onSQLite, killLockRound},
	{"full", "the disk is full for some seconds, every third time with kill -9", true, build{}, onDisk, fullRound},
	{"eio", "fdatasync and fsync fail with EIO: once, now and then, or from some time on", false, build{}, needsStrace, eioRound},
	{"power", "power loss: everything that was not synced is gone", true, build{}, onDisk, powerRound},
	{"torn", "kill -9, and half a write at the end of the log's WAL", false, build{}, onSQLite, tornRound},
	{"flip", "kill -9, and flipped bytes in WAL and database, on copies: nothing damaged is shown, what is missing is said", false, build{}, onSQLite, flipRound},
	{"clock", "the wall clock is set an hour ahead and back, with and without kill -9", false, build{clock: true}, nil, clockRound},
	{"storm", "all connections break at once, and a hundred more come", false, build{}, nil, stormRound},
	{"postgres", "PostgreSQL crashes and is away for 60 s; or is killed with -9 and is back after some seconds", false, build{}, onPostgres, postgresRound},
}

func choose(names string) ([]fault, error) {
	var list []fault
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, f := range faults {
			if f.name == name || name == "all" {
				list, found = append(list, f), true
			}
		}
		if !found {
			return nil, fmt.Errorf("crash: there is no fault %q; -fault list shows them", name)
		}
	}
	return list, nil
}

func onSQLite(x *run) string {
	if x.o.db != "sqlite" {
		return "only on SQLite"
	}
	return ""
}

func onPostgres(x *run) string {
	if x.o.db != "postgres" {
		return "only with -db postgres"
	}
	return ""
}

func onDisk(x *run) string {
	if x.disk == nil {
		return "only on SQLite, with a file system of our own (root and loop devices)"
	}
	return ""
}

func needsStrace(x *run) string {
	if _, err := exec.LookPath("strace"); err != nil {
		return "strace is not installed (apt-get install strace)"
	}
	return onSQLite(x)
}

// between is a random time.
func (x *run) between(low, high time.Duration) time.Duration {
	return low + time.Duration(x.rand.Int64N(int64(high-low)))
}

// answered is the number of answers so far, by whether they were refusals.
func (x *run) answered() (yes, no int) {
	x.ledger.mu.Lock()
	defer x.ledger.mu.Unlock()
	for i := range x.ledger.book.Answers {
		if x.ledger.book.Answers[i].Status == statusRefused {
			no++
		} else {
			yes++
		}
	}
	return yes, no
}

// count says what was answered while f ran.
func (x *run) count(f func() error) (string, error) {
	yes, no := x.answered()
	err := f()
	yes2, no2 := x.answered()
	return fmt.Sprintf("%d taken, %d refused", yes2-yes, no2-no), err
}

// again starts the server after it was killed or has ended.
func (x *run) again(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := x.server.start(ctx)
	return time.Since(began).Round(time.Millisecond), err
}

func killRound(ctx context.Context, x *run, _ int) (string, error) {
	pause(ctx, x.between(50*time.Millisecond, 1200*time.Millisecond))
	if x.rand.IntN(3) == 0 {
		x.crew.fresh(ctx, rand.New(rand.NewPCG(x.rand.Uint64(), 2))) //nolint:gosec // a schedule
		pause(ctx, x.between(0, 400*time.Millisecond))
	}
	x.server.kill()
	pause(ctx, x.between(0, 200*time.Millisecond))
	early := ""
	if x.rand.IntN(4) == 0 { // once more while it starts
		short, cancel := context.WithTimeout(ctx, x.between(5*time.Millisecond, 250*time.Millisecond))
		err := x.server.start(short)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return "", err
		}
		x.server.kill()
		early = ", killed while it started"
	}
	took, err := x.again(ctx)
	return fmt.Sprintf("back after %v%s", took, early), err
}

func stopRound(ctx context.Context, x *run, i int) (string, error) {
	pause(ctx, x.between(200*time.Millisecond, time.Second))
	d := 5 * time.Second
	if i%3 == 2 {
		d = 30 * time.Second
	}
	if err := x.server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return "", fmt.Errorf("crash: SIGSTOP: %w", err)
	}
	pause(ctx, d)
	x.crew.excuse()
	if err := x.server.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return "", fmt.Errorf("crash: SIGCONT: %w", err)
	}
	pause(ctx, 2*time.Second)
	return fmt.Sprintf("stopped for %v", d), x.alive()
}

// alive wants the server to run still, and to be able to record.
func (x *run) alive() error {
	limit := time.Now().Add(20 * time.Second)
	for x.server.running() {
		if x.server.ready() {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("crash: the server cannot record, 20 s after the fault has gone\n%s", x.server.tail())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("crash: the server ended by itself: %w\n%s", x.server.err, x.server.tail())
}

func lockRound(ctx context.Context, x *run, i int) (string, error) {
	pause(ctx, x.between(200*time.Millisecond, time.Second))
	d := 3 * time.Second
	if i%3 == 2 {
		d = 30 * time.Second
	}
	free, err := x.lockLog(ctx)
	if err != nil {
		return "", err
	}
	note, err := x.count(func() error {
		pause(ctx, d)
		return free()
	})
	if err != nil {
		return note, fmt.Errorf("crash: %w", err)
	}
	return fmt.Sprintf("locked for %v: %s", d, note), x.alive()
}

// killLockRound kills the server while another process has the database, or just after: outcomes of deliveries that it could not
// record wait for another try then.
func killLockRound(ctx context.Context, x *run, i int) (string, error) {
	pause(ctx, x.between(200*time.Millisecond, 600*time.Millisecond))
	free, err := x.lockLog(ctx)
	if err != nil {
		return "", err
	}
	locked, after := x.between(300*time.Millisecond, 2500*time.Millisecond), time.Duration(0)
	pause(ctx, locked)
	if i%3 == 0 {
		x.server.kill()
		err = free()
	} else {
		if err = free(); err == nil {
			after = x.between(0, 1100*time.Millisecond)
			pause(ctx, after)
			x.server.kill()
		}
	}
	if err != nil {
		return "", err
	}
	took, err := x.again(ctx)
	return fmt.Sprintf("locked for %v, killed %v after; back after %v", locked.Round(time.Millisecond), after.Round(time.Millisecond), took), err
}

// lockLog takes the write lock of the log's database, and returns what gives it back.
func (x *run) lockLog(ctx context.Context) (func() error, error) {
	db, err := sql.Open("sqlite", filepath.Join(x.server.data, "log.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("crash: %w", err), db.Close())
	}
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return nil, errors.Join(fmt.Errorf("crash: locking the database: %w", err), c.Close(), db.Close())
	}
	return func() error {
		_, err := c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, c.Close(), db.Close())
	}, nil
}

func fullRound(ctx context.Context, x *run, i int) (string, error) {
	pause(ctx, x.between(200*time.Millisecond, time.Second))
	empty, err := x.disk.fill()
	if err != nil {
		if empty != nil {
			err = errors.Join(err, empty())
		}
		return "", err
	}
	killed := ""
	note, err := x.count(func() error {
		pause(ctx, x.between(2*time.Second, 5*time.Second))
		if i%3 != 2 {
			return nil
		}
		x.server.kill()
		killed = ", killed while full"
		return nil
	})
	if err := errors.Join(err, empty()); err != nil {
		return note, err
	}
	if killed != "" {
		if _, err := x.again(ctx); err != nil {
			return note, err
		}
	}
	if !x.server.running() { // it may give up, if it says so
		x.self++
		killed = ", it ended by itself: " + x.lastWords()
		if _, err := x.again(ctx); err != nil {
			return note, err
		}
	}
	return note + killed, x.alive()
}

// lastWords is the last error in the server's log.
func (x *run) lastWords() string {
	lines := strings.Split(x.server.tail(), "\n")
	return lines[len(lines)-1]
}

func eioRound(ctx context.Context, x *run, i int) (string, error) {
	x.server.kill()
	// strace counts the calls of each thread by itself.
	when := []string{
		fmt.Sprint(5 + x.rand.IntN(60)),
		fmt.Sprintf("%d+%d", 5+x.rand.IntN(30), 3+x.rand.IntN(40)),
		fmt.Sprintf("%d+", 5+x.rand.IntN(40)),
	}[i%3]
	calls := []string{"fdatasync", "fdatasync,fsync"}[x.rand.IntN(2)]
	err := x.server.start(ctx, "strace", "-D", "-f", "--seccomp-bpf", "-qqq", "-o", filepath.Join(x.dir, "strace.log"),
		"-e", "trace="+calls, "-e", "signal=none", "-e", "inject="+calls+":error=EIO:when="+when)
	note := ""
	if err == nil {
		note, _ = x.count(func() error {
			for range 30 {
				if pause(ctx, 100*time.Millisecond); !x.server.running() {
					break
				}
			}
			return nil
		})
	}
	if x.server.running() {
		x.server.kill()
	} else {
		x.self++
		note += ", it ended by itself: " + x.lastWords()
	}
	_, err = x.again(ctx)
	return fmt.Sprintf("%s:when=%s: %s", calls, when, note), err
}

func powerRound(ctx context.Context, x *run, _ int) (string, error) {
	pause(ctx, x.between(100*time.Millisecond, 1500*time.Millisecond))
	// The process must not do anything between the cut and the end: it could acknowledge what is not in the copy.
	if err := x.server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return "", fmt.Errorf("crash: SIGSTOP: %w", err)
	}
	err := x.disk.snapshot(ctx)
	x.server.kill()
	if err != nil {
		return "", err
	}
	if err := x.disk.revert(ctx); err != nil {
		return "", err
	}
	took, err := x.again(ctx)
	return fmt.Sprintf("back after %v", took), err
}

// walOf is the log's write-ahead log.
func (x *run) walOf(data string) string { return filepath.Join(data, "log.db-wal") }

// tornRound leaves a half-written frame behind the last one, as a write that a power cut interrupted.
func tornRound(ctx context.Context, x *run, _ int) (string, error) {
	pause(ctx, x.between(50*time.Millisecond, 1000*time.Millisecond))
	x.server.kill()
	f, err := os.OpenFile(x.walOf(x.server.data), os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("crash: %w", err)
	}
	defer f.Close()
	junk := make([]byte, 1+x.rand.IntN(3*4120))
	for i := range junk {
		junk[i] = byte(x.rand.Uint32())
	}
	end, err := usedWAL(f)
	if err == nil {
		_, err = f.WriteAt(junk, end)
	}
	if err != nil {
		return "", fmt.Errorf("crash: %w", err)
	}
	took, err := x.again(ctx)
	return fmt.Sprintf("%d bytes of junk at %d, back after %v", len(junk), end, took), err
}

// usedWAL is where the valid frames of a WAL end: those with the salt of its header (SQLite's file format, section 4).
func usedWAL(f *os.File) (int64, error) {
	head := make([]byte, 32)
	if n, err := f.ReadAt(head, 0); n < len(head) {
		return 0, nil //nolint:nilerr // an empty WAL: the next write begins there
	} else if err != nil {
		return 0, err
	}
	page := int64(head[8])<<24 | int64(head[9])<<16 | int64(head[10])<<8 | int64(head[11])
	frame := make([]byte, 24)
	for at := int64(32); ; at += 24 + page {
		if n, _ := f.ReadAt(frame, at); n < len(frame) || string(frame[8:16]) != string(head[16:24]) {
			return at, nil
		}
	}
}

func stormRound(ctx context.Context, x *run, i int) (string, error) {
	pause(ctx, x.between(200*time.Millisecond, time.Second))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var slowest time.Duration
	in := 0
	storm, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	began := time.Now()
	for _, k := range x.crew.list() {
		k.drop()
	}
	for n := range 100 {
		k := newClient(x.crew, userName(n%userCount), 1000+100*i+n)
		wg.Go(func() {
			l, err := dial(storm, kinds[[]int{0, 2, 3}[n%3]], x.server.addrs[kinds[[]int{0, 2, 3}[n%3]]], x.crew.next(), x.crew.life, k.ignore)
			if err != nil {
				return
			}
			defer l.close()
			if k.register(storm, l, expires) {
				mu.Lock()
				in++
				slowest = max(slowest, time.Since(began))
				mu.Unlock()
				k.register(storm, l, 0)
			}
		})
	}
	wg.Wait()
	note := fmt.Sprintf("%d of 100 signed in, the last after %v", in, slowest.Round(time.Millisecond))
	if in < 100 {
		return note, fmt.Errorf("crash: only %d of 100 clients could sign in within 20 s; other answers: %s", in, x.crew.odds())
	}
	return note, x.alive()
}
