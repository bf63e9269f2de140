package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	rounds  int
	every   int
	seed    uint64
	faults  string
	db      string
	rate    int
	control string
	keep    bool
	points  int           // a replay cuts the power at every so many operations; 0: 150 times
	traced  time.Duration // how long it records
	refusal time.Duration // how long a refusal may take; 0: refusalLimit
	builds  string        // folder for the built servers; "" for that of the run
}

// errLoss is what a run ends with that found a violation.
var errLoss = errors.New("crash: something was lost, or done that was refused")

func main() {
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 30, "rounds of each fault; in a plan, of kill")
	flag.IntVar(&o.every, "every", 5, "rounds between two judgements")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "of the schedule")
	flag.StringVar(&o.faults, "fault", "", "what to break, in turn: names with commas, or list; by default kill, in a plan everything")
	flag.StringVar(&o.db, "db", "", "sqlite, or postgres at $PARLEY_TEST_POSTGRES (test/postgres/run sets it); by default sqlite, in a plan both")
	flag.IntVar(&o.rate, "rate", 300, "messages a second that are offered")
	flag.StringVar(&o.control, "control", "", "build a server that breaks its promise, and want it found: late or nosync")
	flag.BoolVar(&o.keep, "keep", false, "keep the folder of the run, even if nothing was lost")
	flag.IntVar(&o.points, "points", 0, "a replay cuts the power at every so many writes and syncs; 0: so that there are 150 cuts")
	flag.DurationVar(&o.traced, "traced", 4*time.Second, "how long a replay records the writes of the server under load")
	kind := flag.String("plan", "", "run everything and print a table: full (about half an hour) or short (under two minutes)")
	out := flag.String("json", "", "write the table of a plan to this file as well")
	judge := flag.String("check", "", "only judge the files in this folder")
	flag.Parse()

	if o.faults == "" && *kind == "" {
		o.faults = "kill"
	}
	if o.db == "" && *kind == "" {
		o.db = "sqlite"
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var err error
	switch {
	case *judge != "":
		err = judgeFiles(*judge, os.Stdout)
	case *kind != "":
		err = runPlan(ctx, *kind, o, *out, os.Stdout)
	case o.faults == "list":
		for _, f := range faults {
			fmt.Printf("%-10s %s\n", f.name, f.about)
		}
	default:
		_, err = crash(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	switch {
	case err == nil:
	case errors.Is(err, errLoss):
		os.Exit(1)
	default:
		os.Exit(2)
	}
}

func judgeFiles(dir string, out io.Writer) error {
	b, err := readBook(dir)
	if err != nil {
		return err
	}
	v := check(b)
	fmt.Fprint(out, v.String())
	if len(v.Violations) > 0 {
		return errLoss
	}
	return nil
}

// run is one run of the program.
type run struct {
	o      options
	out    io.Writer
	dir    string
	url    string // PostgreSQL
	disk   *disk  // the data folder's own file system; nil: it is in dir
	server *server
	crew   *crew
	ledger *ledger
	rand   *rand.Rand
	clock  time.Duration // by which the server's wall clock is wrong

	archive []record // so far
	tally
}

// tally is what is counted in a run.
type tally struct {
	done    map[string]int // rounds, by fault
	left    map[string]string
	last    verdict        // the latest judgement
	self    int            // processes that ended by themselves
	silent  int            // times that the server showed damage, or did not say what was missing from a damaged log
	hits    map[string]int // times that a point killed the server
	cuts    int            // folders that a replay opened
	broken  int            // and in which something was missing
	patient time.Duration  // the longest that it took until all was at rest
}

func (x *run) printf(format string, args ...any) { fmt.Fprintf(x.out, format, args...) }

// crash does the whole work of the command.
func crash(ctx context.Context, o options, out io.Writer) (t tally, err error) {
	list, err := choose(o.faults)
	if err != nil {
		return t, err
	}
	x := &run{o: o, out: out, rand: rand.New(rand.NewPCG(o.seed, 1)), //nolint:gosec // a schedule
		tally: tally{done: map[string]int{}, left: map[string]string{}, hits: map[string]int{}}}
	if x.dir, err = os.MkdirTemp("", "parley-crash-"); err != nil {
		return t, fmt.Errorf("crash: %w", err)
	}
	x.printf("faults %s, %d rounds each, seed %d, %s, folder %s\n", o.faults, o.rounds, o.seed, o.db, x.dir)
	defer func() {
		if err == nil && !o.keep {
			err = os.RemoveAll(x.dir)
		} else {
			x.printf("kept %s: server.log and the files of the run\n", x.dir)
		}
	}()
	if err := x.begin(ctx, list); err != nil {
		x.end()
		return x.tally, err
	}
	err = x.work(ctx, list)
	x.end()
	if len(x.hits) > 0 {
		x.printf("points:\n%s", x.pointTable())
	}
	if o.control == "" || ctx.Err() != nil || len(x.left) > 0 {
		return x.tally, err
	}
	switch {
	case errors.Is(err, errLoss):
		x.printf("control %s: the loss was found, as it must be\n", o.control)
		return x.tally, nil
	case err == nil:
		return x.tally, fmt.Errorf("crash: control %s: the checker found nothing, so it proves nothing", o.control)
	}
	return x.tally, err
}

// begin builds and starts everything.
func (x *run) begin(ctx context.Context, list []fault) error {
	var tags []string
	var want build
	for _, f := range list {
		want.points, want.clock = want.points || f.build.points, want.clock || f.build.clock
	}
	if want.points {
		tags = append(tags, instrumented)
	}
	if x.o.control != "" {
		tags = append(tags, "crash_"+x.o.control)
	}
	builds := x.o.builds
	if builds == "" {
		builds = x.dir
	}
	program, err := compile(ctx, builds, tags, want.clock)
	if err != nil {
		return err
	}
	if x.o.db == "postgres" {
		if x.url, err = schema(ctx); err != nil {
			return err
		}
	}
	data := filepath.Join(x.dir, "data")
	for _, f := range list {
		if f.disk && x.disk == nil && x.o.db == "sqlite" {
			if x.disk, err = newDisk(ctx, x.dir, data); err != nil {
				x.printf("no file system of our own, what needs it is left out: %v\n", err)
				break
			}
		}
	}
	if x.disk != nil {
		data = filepath.Join(data, "parley")
	}
	if x.server, err = newServer(program, x.dir, data, x.url); err != nil {
		return err
	}
	if want.points {
		x.server.always = append(x.server.always, smallCheckpoints)
	}
	if want.clock {
		x.server.always = append(x.server.always, envClock+"="+filepath.Join(x.dir, "clock"))
		if err := x.setClock(0); err != nil {
			return err
		}
	}
	if err := x.server.start(ctx); err != nil {
		return err
	}
	if err := x.server.addUsers(ctx, userNames()); err != nil {
		return err
	}
	if x.ledger, err = newLedger(x.dir); err != nil {
		return err
	}
	return nil
}

// work makes the rounds.
func (x *run) work(ctx context.Context, list []fault) error {
	live, stop := context.WithCancel(ctx)
	x.crew = newCrew(x.server, x.ledger, x.o.seed, x.o.rate)
	defer func() {
		stop()
		x.crew.wg.Wait()
		if err := x.ledger.finish(x.archive); err != nil {
			x.printf("%v\n", err)
		}
	}()
	if err := x.crew.start(live); err != nil {
		return err
	}
	for _, f := range list {
		if f.needs != nil {
			if why := f.needs(x); why != "" {
				x.printf("%-8s left out: %s\n", f.name, why)
				x.left[f.name] = why
				continue
			}
		}
		for i := range x.o.rounds {
			began := time.Now()
			x.crew.work()
			note, err := f.round(live, x, i)
			if err != nil {
				return fmt.Errorf("%s, round %d: %s: %w", f.name, i+1, note, err)
			}
			x.done[f.name]++
			x.printf("%-8s %3d  %5.1f s  %s\n", f.name, i+1, time.Since(began).Seconds(), note)
			if (i+1)%x.o.every == 0 || i+1 == x.o.rounds {
				if err := x.judge(live); err != nil {
					return err
				}
			}
		}
	}
	return x.rerun(live)
}

// rerun stops the server gently, starts it again, and judges what is there then.
func (x *run) rerun(ctx context.Context) error {
	if err := x.crew.rest(ctx); err != nil {
		return err
	}
	if err := x.server.stop(); err != nil {
		return fmt.Errorf("crash: the last stop: %w\n%s", err, x.server.tail())
	}
	if err := x.server.start(ctx); err != nil {
		return err
	}
	x.archive = nil // read all of it again
	if err := x.judge(ctx); err != nil {
		return err
	}
	if x.self > 0 {
		x.printf("processes that ended by themselves: %d\n", x.self)
	}
	if x.silent > 0 || x.broken > 0 {
		return errLoss
	}
	return nil
}

// patience is how long the rest of the deliveries may take once nothing moves any more: a device that did not answer is
// tried again after 30 s.
const patience = 40 * time.Second

// judge lets everything come to rest and compares the books.
func (x *run) judge(ctx context.Context) error {
	began := time.Now()
	if err := x.crew.rest(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, x.server.tail())
	}
	var v verdict
	for left, moved := -1, time.Now(); ; {
		after := int64(0)
		if n := len(x.archive); n > 0 {
			after = x.archive[n-1].Seq
		}
		more, err := x.server.archive(ctx, after)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, x.server.tail())
		}
		x.archive = append(x.archive, more...)
		b := x.ledger.snapshot(x.archive)
		b.Limit = x.o.refusal
		v = check(b)
		open := 0
		for _, w := range v.Violations {
			if w.Rule == ruleOwed || w.Rule == ruleOutcome || w.Rule == ruleAcknowledged || w.Rule == ruleReceived {
				open++ // the archive is milliseconds behind, and deliveries go on
			}
		}
		if open == 0 {
			break
		}
		if open != left {
			left, moved = open, time.Now()
		}
		if time.Since(moved) > patience || v.lost() && time.Since(moved) > 15*time.Second {
			break
		}
		pause(ctx, 200*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	x.last, x.patient = v, max(x.patient, time.Since(began))
	x.printf("%s", indent(v.String()))
	if odd := x.crew.odds(); odd != "" {
		x.printf("  other answers so far: %s\n", odd)
	}
	x.printf("  at rest after %.1f s\n", time.Since(began).Seconds())
	if len(v.Violations) > 0 {
		return errLoss
	}
	return nil
}

// lost is true when something is missing that cannot come any more.
func (v *verdict) lost() bool {
	for _, w := range v.Violations {
		if w.Rule != ruleOwed && w.Rule != ruleOutcome {
			return true
		}
	}
	return false
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ") + "\n"
}

// end takes everything down.
func (x *run) end() {
	if x.server != nil && x.server.ended != nil && x.server.running() {
		_ = x.server.cmd.Process.Signal(syscall.SIGCONT) // in case it was stopped
		x.server.kill()
	}
	if x.disk != nil {
		if err := x.disk.close(); err != nil {
			x.printf("%v\n", err)
		}
	}
	if x.url != "" {
		if err := dropSchema(x.url); err != nil {
			x.printf("%v\n", err)
		}
	}
}
