package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Everything works with tiny counts: each server that is installed starts, carries every message once, and stops.
func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("starts nine servers")
	}
	var out strings.Builder
	if err := mainError(t.Context(), []string{"-smoke"}, &out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "left out") {
			t.Log(line)
		}
	}
	for _, row := range []string{"message/tcp/64/parley", "idle/wss/20/parley", "message/tcp/32/parley-relay", "start/100000/parley"} {
		if !strings.Contains(out.String(), "works  "+row+"\n") {
			t.Errorf("row %s was not measured:\n%s", row, &out)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-time", "2h"}, {"-only", "("}, {"-workers", "2,many"}, {"-workers", "0"}, {"-smoke", "-update"}, {"-quick", "-update"}, {"-only", "no such row"}, {"-only", "tcp", "-update"}, {"more"},
	} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	o, err := parseOptions([]string{"-only", "^message/tcp/64/parley$"})
	if err != nil {
		t.Fatal(err)
	}
	if list := o.turns(); len(list) != 1 || len(list[0].steps) != 1 || list[0].steps[0].users != 2*pairs {
		t.Errorf("the turns are %+v", list)
	}
}

// Every row has a name of its own, and -quick measures rows that the whole run measures too.
func TestPlan(t *testing.T) {
	seen := map[string]bool{}
	for _, turn := range plan() {
		for _, s := range turn.steps {
			id := s.id + "/" + turn.subject.id
			if seen[id] {
				t.Errorf("%s is measured twice", id)
			}
			seen[id] = true
			if n := len(s.count); n > 0 && s.count[n-1] != s.users {
				t.Errorf("%s: %d users, counted are %v", id, s.users, s.count)
			}
		}
	}
	for _, turn := range quick() {
		for _, s := range turn.steps {
			if !seen[s.id+"/"+turn.subject.id] {
				t.Errorf("%s/%s has nothing to be compared with", s.id, turn.subject.id)
			}
		}
	}
}

func TestSpans(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   span
		text   string
	}{
		{nil, span{}, "0.00"},
		{[]float64{3}, span{3, 3, 3}, "3.00"},
		{[]float64{30, 10, 20}, span{20, 10, 30}, "**20.0** (10.0–30.0)"},
		{[]float64{4, 1, 2, 1234.5}, span{3, 1, 1234.5}, "**3.00** (1.00–1,235)"},
	} {
		if got := spanOf(c.values); got != c.want || got.String() != c.text {
			t.Errorf("%v: %+v %s, want %+v %s", c.values, got, got, c.want, c.text)
		}
	}
	b := newBook()
	for round, v := range []float64{1, 2, 4} {
		b.add(round, "row/a", figures{cpu: v})
		b.add(round, "row/b", figures{cpu: 3 * v, rate: 7})
	}
	b.add(9, "row/b", figures{cpu: 100}) // a round in which a had no figure
	if r, ok := b.ratio("row/b", "row/a", cpu); !ok || r != (span{3, 3, 3}) {
		t.Errorf("the ratio is %v, %v", r, ok)
	}
	if _, ok := b.ratio("row/b", "row/a", rate); ok {
		t.Error("there is a ratio to a figure that is not there")
	}
	if s, ok := b.span("row/a", rate); ok {
		t.Errorf("a row has a figure that was not measured: %v", s)
	}
}

// The section of the document is added once, then replaced, and nothing else changes.
func TestUpdateSection(t *testing.T) {
	file := filepath.Join(t.TempDir(), "performance.md")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(s string) {
		t.Helper()
		if got, err := os.ReadFile(file); err != nil || string(got) != s {
			t.Errorf("%v, got\n%s\nwant\n%s", err, got, s)
		}
	}
	update := func(s string) {
		t.Helper()
		if err := updateSection(file, s); err != nil {
			t.Fatal(err)
		}
	}
	write("# Performance\n\ntext\n")
	update("one\n")
	want("# Performance\n\ntext\n\n" + sectionBegin + "\n\none\n\n" + sectionEnd + "\n")
	update("two")
	want("# Performance\n\ntext\n\n" + sectionBegin + "\n\ntwo\n\n" + sectionEnd + "\n")
	write("before\n" + sectionBegin + "\nold\n" + sectionEnd + "\nbehind\n")
	update("new")
	want("before\n" + sectionBegin + "\n\nnew\n\n" + sectionEnd + "\nbehind\n")
	write(sectionBegin)
	if err := updateSection(file, "new"); err == nil {
		t.Error("a section without an end is replaced")
	}
}

// -quick shows in percent what moved.
func TestMoved(t *testing.T) {
	b := &bench{book: newBook(), root: t.TempDir()}
	b.book.add(1, "message/tcp/64/parley", figures{cpu: 0.6, rate: 1000})
	var out strings.Builder
	old := &committed{Rows: map[string]map[metric]span{"message/tcp/64/parley": {cpu: {0.5, 0.4, 0.55}, rate: {1000, 900, 1100}}}}
	if err := moved(&out, old, b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"  +20 %\n", "  +0 % (ranges overlap)\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	out.Reset()
	if err := moved(&out, &committed{}, b); err != nil || !strings.Contains(out.String(), "No figures are committed yet") {
		t.Errorf("without committed figures: %v\n%s", err, &out)
	}
}
