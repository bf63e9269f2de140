package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// row is one line of the table: a fault on a database, with what became of it.
type row struct {
	Fault        string         `json:"fault"`
	Database     string         `json:"database"`
	Control      string         `json:"control,omitempty"` // what is wrong with the server on purpose
	Rounds       int            `json:"rounds"`
	Sent         int            `json:"sent"`
	Acknowledged int            `json:"acknowledged"`
	Refused      int            `json:"refused"`
	Received     int            `json:"received"`
	Redelivered  int            `json:"redelivered"`
	Lost         int            `json:"lost"`       // acknowledged or recorded, and not in the log or never delivered
	Unrecorded   int            `json:"unrecorded"` // delivered, and it or its outcome not in the log
	Other        int            `json:"other"`      // violations of other rules
	Cuts         int            `json:"cuts,omitempty"`
	Points       map[string]int `json:"points,omitempty"`
	Seconds      float64        `json:"seconds"`
	Verdict      string         `json:"verdict"`
}

// report is the file of -json.
type report struct {
	Date  string `json:"date"`
	Plan  string `json:"plan"`
	Seed  uint64 `json:"seed"`
	Rows  []row  `json:"rows"`
	Error string `json:"error,omitempty"`
}

// step is a part of a plan.
type step struct {
	fault, db, control string
	rounds, every      int
}

// plans. kills is the number of rounds of kill.
func plan(kind string, kills int) ([]step, error) {
	switch kind {
	case "short":
		return []step{
			{"kill", "sqlite", "", 4, 4},
			{"points", "sqlite", "", 5, 5},
			{"replay", "sqlite", "", 1, 1},
			{"kill", "sqlite", "late", 2, 1},
			{"replay", "sqlite", "nosync", 1, 1},
		}, nil
	case "full":
		return []step{
			{"kill", "sqlite", "", kills, 10},
			{"points", "sqlite", "", 2 * len(points), 10},
			{"replay", "sqlite", "", 4, 4},
			{"stop", "sqlite", "", 3, 3},
			{"lock", "sqlite", "", 3, 3},
			{"killlock", "sqlite", "", 12, 4},
			{"full", "sqlite", "", 3, 1},
			{"eio", "sqlite", "", 6, 3},
			{"power", "sqlite", "", 6, 2},
			{"torn", "sqlite", "", 6, 3},
			{"flip", "sqlite", "", 6, 3},
			{"clock", "sqlite", "", 8, 2},
			{"storm", "sqlite", "", 3, 3},
			{"kill", "postgres", "", max(1, kills/5), 10},
			{"points", "postgres", "", 12, 6},
			{"postgres", "postgres", "", 4, 1},
			{"stop", "postgres", "", 3, 3},
			{"kill", "sqlite", "late", 3, 1},
			{"replay", "sqlite", "nosync", 1, 1},
			{"power", "sqlite", "nosync", 2, 1},
		}, nil
	}
	return nil, fmt.Errorf("crash: there is no plan %q; full and short are", kind)
}

// runPlan breaks everything, one after the other, each with a server and a folder of its own.
func runPlan(ctx context.Context, kind string, o options, file string, out io.Writer) error {
	steps, err := plan(kind, o.rounds)
	if err != nil {
		return err
	}
	if o.builds, err = os.MkdirTemp("", "parley-crash-builds-"); err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	defer os.RemoveAll(o.builds)
	rep := report{Date: time.Now().Format(time.DateOnly), Plan: kind, Seed: o.seed}
	var errs []error
	if o.faults != "" {
		names := strings.Split(o.faults, ",")
		steps = slices.DeleteFunc(steps, func(s step) bool { return !slices.Contains(names, s.fault) })
	}
	if o.db != "" {
		steps = slices.DeleteFunc(steps, func(s step) bool { return s.db != o.db })
	}
	for _, s := range steps {
		if s.db == "postgres" && os.Getenv("PARLEY_TEST_POSTGRES") == "" {
			fmt.Fprintln(out, "PostgreSQL is not there (test/postgres/run), left out:", s.fault)
			continue
		}
		one := o
		one.faults, one.db, one.control, one.rounds, one.every = s.fault, s.db, s.control, s.rounds, s.every
		began := time.Now()
		t, err := crash(ctx, one, out)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s on %s: %w", s.fault, s.db, err))
			fmt.Fprintln(out, errs[len(errs)-1])
		}
		r := newRow(s, t, err)
		r.Seconds = time.Since(began).Round(100 * time.Millisecond).Seconds()
		if s.fault == "points" && err == nil {
			if never := missed(s, t); len(never) > 0 {
				errs = append(errs, fmt.Errorf("crash: points that were never hit: %s", strings.Join(never, ", ")))
			}
		}
		rep.Rows = append(rep.Rows, r)
		fmt.Fprintf(out, "\n%s\n", table(rep.Rows))
	}
	err = errors.Join(errs...)
	if err != nil {
		rep.Error = err.Error()
	}
	if file != "" {
		text, jerr := json.MarshalIndent(rep, "", "  ")
		if jerr == nil {
			jerr = os.WriteFile(file, append(text, '\n'), 0o600)
		}
		err = errors.Join(err, jerr)
	}
	return err
}

// missed are the points that a whole turn should have hit.
func missed(s step, t tally) []string {
	var never []string
	for i, p := range points {
		if t.hits[p.name] == 0 && (s.db != "postgres" || p.postgres) && (s.rounds >= len(points) || s.db == "postgres" || i < s.rounds) {
			never = append(never, p.name)
		}
	}
	return never
}

func newRow(s step, t tally, err error) row {
	v := t.last
	r := row{Fault: s.fault, Database: s.db, Control: s.control, Rounds: t.done[s.fault], Sent: v.Sent, Acknowledged: v.Acknowledged, Refused: v.Refused,
		Received: v.Received, Redelivered: v.Redelivered, Cuts: t.cuts, Points: t.hits}
	for _, w := range v.Violations {
		switch w.Rule {
		case ruleAcknowledged, ruleOwed:
			r.Lost++
		case ruleReceived, ruleOutcome:
			r.Unrecorded++
		default:
			r.Other++
		}
	}
	r.Lost += t.broken
	r.Other += t.silent
	switch {
	case t.left[s.fault] != "":
		r.Verdict = "left out: " + t.left[s.fault]
	case s.control != "" && err == nil:
		r.Verdict = "found, as it must be"
	case err == nil:
		r.Verdict = "holds"
	case errors.Is(err, errLoss):
		r.Verdict = "VIOLATED"
	default:
		r.Verdict = "could not be judged"
	}
	return r
}

// table is for docs/performance.md.
func table(rows []row) string {
	cells := [][]string{{"fault", "database", "rounds", "sent", "acknowledged", "refused", "received", "redelivered", "lost", "unrecorded", "other", "verdict"}}
	for _, r := range rows {
		name := r.Fault
		if r.Control != "" {
			name += ", control " + r.Control
		}
		rounds := fmt.Sprint(r.Rounds)
		if r.Cuts > 0 {
			rounds += fmt.Sprintf(" (%d cuts)", r.Cuts)
		}
		line := []string{name, r.Database, rounds}
		for _, n := range []int{r.Sent, r.Acknowledged, r.Refused, r.Received, r.Redelivered, r.Lost, r.Unrecorded, r.Other} {
			line = append(line, fmt.Sprint(n))
		}
		cells = append(cells, append(line, r.Verdict))
	}
	width := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			width[i] = max(width[i], len(c))
		}
	}
	rule := make([]string, len(width))
	for i, w := range width {
		rule[i] = strings.Repeat("-", w)
	}
	var b strings.Builder
	for _, line := range slices.Insert(cells, 1, rule) {
		for i, c := range line {
			fmt.Fprintf(&b, "| %-*s ", width[i], c)
		}
		b.WriteString("|\n")
	}
	return b.String()
}
