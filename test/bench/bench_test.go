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
		t.Skip("starts a dozen servers")
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
	for _, row := range []string{"message/tcp/64/parley", "idle/wss/20/parley", "message/tcp/32/parley-relay", "start/100000/parley", "presence/udp/200/parley"} {
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

// What -update writes is what -quick reads.
func TestCommitted(t *testing.T) {
	b := &bench{book: newBook(), root: t.TempDir(), o: &options{rounds: 2}, machine: machine{Processor: "x", Cores: 2}}
	if old, err := readCommitted(b.root); err != nil || len(old.Rows) > 0 {
		t.Errorf("before the first -update: %v, %v", old, err)
	}
	if err := os.MkdirAll(filepath.Dir(committedFile(b.root)), 0o700); err != nil {
		t.Fatal(err)
	}
	b.book.add(1, "message/tcp/64/parley", figures{cpu: 1})
	b.book.add(2, "message/tcp/64/parley", figures{cpu: 2})
	if err := writeCommitted(b); err != nil {
		t.Fatal(err)
	}
	c, err := readCommitted(b.root)
	if err != nil || c.Machine != b.machine || c.Rounds != 2 || c.Rows["message/tcp/64/parley"][cpu] != (span{1.5, 1, 2}) {
		t.Errorf("read again: %+v, %v", c, err)
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

// A table has Parley first in each load, what is compared with it, and what is missing or broken.
func TestMarkdown(t *testing.T) {
	o, err := parseOptions([]string{"-rounds", "2"})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{book: newBook(), root: t.TempDir(), o: o, workers: map[string]int{"kamailio/tcp": 4}}
	for round := 1; round <= 2; round++ {
		b.book.add(round, "message/tcp/64/kamailio", figures{cpu: 3, rate: 1000})
		b.book.add(round, "message/tcp/64/parley", figures{cpu: 2, rate: 2000, p50: 1, p99: 2})
		b.book.add(round, "message/xmpp/64/prosody", figures{cpu: 8})
		b.book.add(round, "message/tcp/32/parley-relay", figures{cpu: 1})
		b.book.add(round, "message/tcp/32/kamailio", figures{cpu: 4})
		b.book.add(round, "idle/tcp/8000/parley", figures{perConnection: 7})
	}
	b.book.try("kamailio/tcp", 2, figures{cpu: 5})
	b.book.try("kamailio/tcp", 4, figures{cpu: 4})
	b.book.remark("ejabberd: not installed: apt-get install ejabberd")
	b.book.broken("Prosody: did not start\nwith many words")
	text := b.markdown()
	at := 0
	for _, want := range []string{
		"### Messages, as many as go",
		"| tcp/64 | Parley | 2,000 | 2.00 | 1.00 | 2.00 |  |  |\n", "| tcp/64 | Kamailio, bare relay | 1,000 | 3.00 |  |  |  | 1.50 |\n",
		"| xmpp/64 | Prosody, default archive |  | 8.00 |  |  |  | 4.00 |\n",
		"| tcp/32 | Parley, recording compiled out |", "| tcp/32 | Kamailio, bare relay |  | 4.00 |  |  |  | 4.00 |\n",
		"| tcp/8000 | Parley | 7.00 |  |\n",
		"| kamailio/tcp | 4 | 0.00 | 4.00 | yes |\n",
		"Left out: ejabberd: not installed: apt-get install ejabberd.", "**Did not work:** Prosody: did not start\n",
	} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("%q is missing, or not in its place, in\n%s", want, text)
		}
		at += i
	}
}

// What is not installed is said with the words that install it.
func TestMissing(t *testing.T) {
	s := &subject{needs: map[string]string{"sh": "dash", "no-such-program": "pack-b", "/no/such/*/file": "pack-a", "no-such-program-2": "pack-b", "/bin/s*": "coreutils"}}
	if text := s.missing(); text != "not installed: apt-get install pack-a pack-b" {
		t.Errorf("missing: %q", text)
	}
	if text := parley.missing(); text != "" || !parley.ours() || kamailioBare.ours() {
		t.Errorf("Parley is %s", text)
	}
}
