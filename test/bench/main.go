// Bench measures Parley beside the servers it is compared with, on the same machine in the same minutes, and writes a
// table: Kamailio as a SIP relay that records nothing, bare and with digest on every message, and as a presence server;
// ejabberd with PostgreSQL and with its default archive; Prosody with its default archive. It starts each of them itself, in folders of its own, on
// loopback; a server that is not installed is left out with the words that install it.
//
//	go run ./test/bench                            five rounds, less than 40 minutes, the table on standard output
//	go run ./test/bench -update                    and into docs/performance.md and test/bench/committed.json
//	go run ./test/bench -quick                     Parley alone, beside the figures committed last, in 3 minutes
//	go run ./test/bench -only 'message/tcp|idle' -rounds 2 -time 3s
//	go run ./test/bench -only presence -workers 1,2
//	go run ./test/bench -smoke                     does everything work? Nothing is timed
//
// In each round every server has its turn, one after the other, and then again: what else the machine does meets all of
// them. A figure is the median of the rounds with its range; a ratio is the median of the ratios of each round. Processor
// time is that of all processes and threads of a server, PostgreSQL's with ejabberd's. The exit code is 1 when a server
// did not start, or when a message was lost, doubled or out of order.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	rounds  int
	time    time.Duration // measured part of a step
	warmup  time.Duration // of a server that has just started
	only    *regexp.Regexp
	workers []int // of Kamailio, to choose from
	out     string
	update  bool
	quick   bool
	smoke   bool
	dir     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := mainError(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func parseOptions(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 5, "how often each server has its turn")
	f.DurationVar(&o.time, "time", 5*time.Second, "length of each measured part")
	f.DurationVar(&o.warmup, "warmup", 7*time.Second, "load before the first measured part of a server: Kamailio keeps TCP transactions for 5 s")
	only := f.String("only", "", "regular expression: rows to measure, such as message/tcp/64/parley (-list shows them)")
	workers := f.String("workers", "2,4", "numbers of workers of Kamailio to try first; the one with the least processor time is measured")
	f.StringVar(&o.out, "out", "", "file for the table, beside standard output")
	f.BoolVar(&o.update, "update", false, "write the table into docs/performance.md and the figures into test/bench/committed.json")
	f.BoolVar(&o.quick, "quick", false, "measure a few rows of Parley alone and compare them with the figures committed last")
	f.BoolVar(&o.smoke, "smoke", false, "run everything once with tiny counts; nothing is timed")
	f.StringVar(&o.dir, "dir", "", "folder for the servers' data (empty: a temporary one); it decides which disk is measured")
	list := f.Bool("list", false, "list the rows and end")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("bench: unknown argument %q", f.Arg(0))
	}
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return nil, fmt.Errorf("bench: -only: %w", err)
	}
	for _, w := range strings.Split(*workers, ",") {
		n, err := strconv.Atoi(w)
		if err != nil || n < 1 || n > 64 {
			return nil, fmt.Errorf("bench: -workers %q: give numbers from 1 to 64", *workers)
		}
		o.workers = append(o.workers, n)
	}
	set := map[string]bool{}
	f.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if o.quick && !set["rounds"] {
		o.rounds = 2
	}
	if o.quick && !set["time"] {
		o.time = 4 * time.Second
	}
	if o.smoke {
		o.rounds, o.time, o.warmup, o.workers = 1, 300*time.Millisecond, 100*time.Millisecond, o.workers[:1]
	}
	switch {
	case o.rounds < 1 || o.rounds > 100:
		return nil, errors.New("bench: -rounds is from 1 to 100")
	case o.time <= 0 || o.time > time.Hour || o.warmup < 0 || o.warmup > time.Hour:
		return nil, errors.New("bench: -time and -warmup are at most an hour")
	case o.smoke && (o.quick || o.update):
		return nil, errors.New("bench: -smoke measures nothing that could be compared or kept")
	case o.update && *only != "":
		return nil, errors.New("bench: -update writes whole runs, without -only")
	case o.quick && o.update:
		return nil, errors.New("bench: -quick compares with what the whole run has written with -update")
	}
	if len(o.turns()) == 0 {
		return nil, errors.New("bench: -only leaves no row; see -list")
	}
	if *list {
		listRows(os.Stdout, o)
		return nil, flag.ErrHelp
	}
	return o, nil
}

func mainError(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "parley-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL may run as another user, who must come through
		return err
	}
	b := &bench{o: o, root: root, dir: dir, log: os.Stderr, began: time.Now(), workers: map[string]int{}, book: newBook()}
	if err := b.build(ctx); err != nil {
		return err
	}
	if b.machine, err = describe(dir); err != nil {
		return err
	}
	if err := b.run(ctx); err != nil {
		return err
	}
	return errors.Join(b.report(out), b.book.failure())
}

// moduleRoot is the folder of the project.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("bench: run it inside the project: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// bench is one run of this program.
type bench struct {
	o       *options
	root    string // of the project
	dir     string // of this run
	log     io.Writer
	began   time.Time
	machine machine

	load, parley, relay string // programs; relay is "" when this Parley cannot be built so

	workers map[string]int // chosen for Kamailio, by set-up and transport
	book    *book
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.log, "%5.0f s  "+format+"\n", append([]any{time.Since(b.began).Seconds()}, args...)...)
}

// build makes the programs that Go makes.
func (b *bench) build(ctx context.Context) error {
	make1 := func(name string, args ...string) (string, error) {
		file := filepath.Join(b.dir, name)
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-o", file}, args...)...) //nolint:gosec // fixed
		cmd.Dir, cmd.Env = b.root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("bench: go build %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return file, nil
	}
	var err error
	if b.load, err = make1("load", "./test/load"); err != nil {
		return err
	}
	if b.parley, err = make1("parley", "./cmd/parley"); err != nil {
		return err
	}
	if b.relay, err = make1("parley-relay", "-tags", relayTag, "./cmd/parley"); err != nil {
		return err
	}
	// What is measured as the one must not be the other.
	for file, relay := range map[string]bool{b.parley: false, b.relay: true} {
		out, err := exec.CommandContext(ctx, file, "version").Output() //nolint:gosec // just built
		if err != nil {
			return fmt.Errorf("bench: parley version: %w", err)
		}
		if strings.Contains(string(out), "RELAY ONLY") != relay {
			return fmt.Errorf("bench: the build with tag %q: %v; but its version is %q", relayTag, relay, out)
		}
	}
	return nil
}

const relayTag = "relayonly"
