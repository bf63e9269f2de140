package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// start runs the program as the command line does.
func start(t *testing.T, o options) tally {
	t.Helper()
	if testing.Short() {
		t.Skip("breaks a server for some seconds; left out with -short")
	}
	o.seed, o.db, o.rate = 1, "sqlite", 150
	o.refusal = 20 * time.Second // how fast it is, make crash finds out, where nothing else runs beside
	got, err := crash(t.Context(), o, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A few rounds of kill -9. make crash makes many, and breaks more.
func TestCrash(t *testing.T) {
	t.Parallel()
	start(t, options{rounds: 5, every: 5, faults: "kill"})
}

// The server dies inside commits, between the steps of a delivery, and inside checkpoints.
func TestPoints(t *testing.T) {
	t.Parallel()
	n := 8
	if got := start(t, options{rounds: n, every: n, faults: "points"}); len(got.hits) != n {
		t.Errorf("hit %v, want the first %d points", got.hits, n)
	}
}

// Power loss at some moments of a trace loses nothing.
func TestReplay(t *testing.T) {
	t.Parallel()
	if got := start(t, options{rounds: 1, every: 1, faults: "replay", points: 40, traced: 2 * time.Second}); got.cuts < 10 {
		t.Errorf("only %d cuts", got.cuts)
	}
}

// The same checker finds that messages are missing from a server that records them after it delivered them.
func TestCrashControl(t *testing.T) {
	t.Parallel()
	start(t, options{rounds: 2, every: 1, faults: "kill", control: "late"})
}

// And the same replay finds that messages are missing when the log is not synced.
func TestReplayControl(t *testing.T) {
	t.Parallel()
	start(t, options{rounds: 1, every: 1, faults: "replay", control: "nosync", points: 40, traced: 2 * time.Second})
}

// TestNothingOfItInARelease builds the server as it is shipped, and looks for what kills, slows or deceives it in the others.
func TestNothingOfItInARelease(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds two servers; left out with -short")
	}
	for name, c := range map[string]struct {
		tags []string
		has  bool
	}{"release": {nil, false}, "instrumented": {[]string{instrumented}, true}} {
		program, err := compile(t.Context(), t.TempDir(), c.tags, false)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"PARLEY_CRASH_POINT", "PARLEY_CRASH_TRACE", "PARLEY_CRASH_CHECKPOINT", "commit.sync"} {
			if bytes.Contains(text, []byte(word)) != c.has {
				t.Errorf("%s: %q is in the program: %v", name, word, !c.has)
			}
		}
		if bytes.Contains(text, []byte(envClock)) {
			t.Errorf("%s: its clock can be moved", name)
		}
	}
	// Nor does the tag of anything else bring them in: each file of the package has a tag of ours or is empty of them.
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}} {{.GoFiles}}", "github.com/parley-im/parley/store/crashpoint").Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, files, _ := strings.Cut(strings.TrimSpace(string(out)), " "); files != "[crashpoint.go]" {
		t.Errorf("a release is built from %s", files)
	}
}

// Every point that the tool knows is in the server, and the other way round.
func TestPointsAreThere(t *testing.T) {
	var all strings.Builder
	for _, dir := range []string{"committer", "sqlstore", "crashpoint"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "store", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
	}
	for _, p := range points {
		stem := strings.TrimSuffix(strings.TrimSuffix(p.name, ".before"), ".after")
		if !strings.Contains(all.String(), `"`+p.name+`"`) && !strings.Contains(all.String(), `"`+stem+`"`) {
			t.Errorf("the server has no point %s", p.name)
		}
	}
}

// The plans name faults that there are.
func TestPlans(t *testing.T) {
	for _, kind := range []string{"short", "full"} {
		steps, err := plan(kind, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			if list, err := choose(s.fault); err != nil || len(list) != 1 {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
	if err := runPlan(context.Background(), "nothing", options{}, "", t.Output()); err == nil {
		t.Error("a plan that is none runs")
	}
}
