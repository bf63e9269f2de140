package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report prints what was measured, and writes the files that the options name.
func (b *bench) report(out io.Writer) error {
	if b.o.smoke {
		return b.smokeReport(out)
	}
	if b.o.quick {
		old, err := readCommitted(b.root)
		if err != nil {
			return err
		}
		return moved(out, old, b)
	}
	text := b.markdown()
	_, err := io.WriteString(out, text)
	if b.o.out != "" {
		err = errors.Join(err, os.WriteFile(b.o.out, []byte(text), 0o644)) //nolint:gosec // figures for everyone
	}
	if b.o.update {
		err = errors.Join(err, updateSection(filepath.Join(b.root, "docs", "performance.md"), text), writeCommitted(b))
	}
	return err
}

// smokeReport says what works.
func (b *bench) smokeReport(out io.Writer) error {
	for _, row := range slices.Sorted(maps.Keys(b.book.rows)) {
		fmt.Fprintf(out, "works  %s\n", row)
	}
	for _, text := range b.book.remarks {
		fmt.Fprintf(out, "left out  %s\n", text)
	}
	return nil
}

// The marks in docs/performance.md between which the table stands.
const (
	sectionBegin = "<!-- bench: what follows is written by go run ./test/bench -update -->"
	sectionEnd   = "<!-- bench: end -->"
)

// updateSection replaces what stands between the marks in a file, or adds it at the end.
func updateSection(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	section := sectionBegin + "\n\n" + strings.TrimSpace(text) + "\n\n" + sectionEnd
	before, rest, found := strings.Cut(string(old), sectionBegin)
	if !found {
		return os.WriteFile(file, []byte(strings.TrimRight(before, "\n")+"\n\n"+section+"\n"), 0o644) //nolint:gosec // a document
	}
	_, after, found := strings.Cut(rest, sectionEnd)
	if !found {
		return fmt.Errorf("bench: %s has %q without %q", file, sectionBegin, sectionEnd)
	}
	return os.WriteFile(file, []byte(before+section+after), 0o644) //nolint:gosec // a document
}

// A column of a table.
type column struct {
	title string
	m     metric
}

// section is a table: all rows whose id begins with one of the groups.
type section struct {
	title, text string
	group       string
	columns     []column
	ratio       metric // shown as a multiple of Parley's
}

var sections = []section{
	{"Messages, as many as go", "Closed loop: so many messages are under way at all times. 200-byte bodies, 100 pairs of users.", "message/",
		[]column{{"messages a second", rate}, {"CPU-s per 10,000", cpu}, {"p50 ms", p50}, {"p99 ms", p99}, {"load tool's CPU-s", tool}}, cpu},
	{"Latency", "Open loop: so many messages fall due each second; from the due time until the other client has it.", "latency/",
		[]column{{"p50 ms", p50}, {"p99 ms", p99}, {"messages a second", rate}, {"CPU-s per 10,000", cpu}}, cpu},
	{"Signing in, connected", "A REGISTER with a new challenge and its answer, 64 under way; CPU-s per 10,000 is tenths of a millisecond each.", "register/",
		[]column{{"a second", rate}, {"CPU-s per 10,000", cpu}}, cpu},
	{"Connecting and signing in", "2,000 users, 64 at a time: TCP connection, challenge, answer; with XMPP also the stream, a resource and presence.", "connect/",
		[]column{{"a second", rate}, {"CPU-s per 10,000", cpu}}, cpu},
	{"Memory of an idle connection", "Growth of the server's PSS, after 2,000 and 8,000 users have signed in over connections of their own.", "idle/",
		[]column{{"kB each", perConnection}}, perConnection},
	{"Presence: one change to 200 watchers", "60 people, each watched by the same 200, who have a subscription for each; each changes every 6 s. From the PUBLISH until the last of " +
		"the 200 has the change; processor time for 10,000 NOTIFYs, with the PUBLISHes.", "presence/",
		[]column{{"NOTIFYs a second", rate}, {"CPU-s per 10,000", cpu}, {"p50 ms", p50}, {"p99 ms", p99}, {"load tool's CPU-s", tool}}, cpu},
	{"Cold start", "From the start of the process until the first REGISTER is challenged and accepted, with 100,000 users in the database.", "start/",
		[]column{{"ms", started}}, started},
}

// markdown is the whole result.
func (b *bench) markdown() string {
	var w strings.Builder
	fmt.Fprintf(&w, "## Parley beside its peers (%s)\n\n", b.began.UTC().Format("2006-01-02"))
	fmt.Fprintf(&w, "    go run ./test/bench -rounds %d -time %v -warmup %v\n\n", b.o.rounds, b.o.time, b.o.warmup)
	fmt.Fprintf(&w, "**Machine:** %v. All servers and the load tool share it. Parley at %s; %.0f minutes.\n\n", b.machine, b.commit(), time.Since(b.began).Minutes())
	fmt.Fprintf(&w, "Each figure is the **median** (range) of %d rounds; in each round all servers have their turns one after the other. "+
		"Processor time is that of all processes of a server. × Parley is the median of the rounds' ratios to Parley in the row above it with the same load.\n\n", b.o.rounds)
	b.subjects(&w)
	for _, s := range sections {
		b.section(&w, s)
	}
	b.choice(&w)
	for _, text := range b.book.remarks {
		fmt.Fprintf(&w, "Left out: %s.\n\n", text)
	}
	for _, text := range b.book.broke {
		first, _, _ := strings.Cut(text, "\n")
		fmt.Fprintf(&w, "**Did not work:** %s\n\n", first)
	}
	return w.String()
}

// subjects is the table of what is compared.
func (b *bench) subjects(w *strings.Builder) {
	fmt.Fprintf(w, "| server | records, syncs, authenticates |\n|---|---|\n")
	var seen []*subject
	for _, t := range b.o.turns() {
		if slices.Contains(seen, t.subject) || t.subject.missing() != "" {
			continue
		}
		seen = append(seen, t.subject)
		name := t.subject.name
		if t.subject.pack != "" {
			name += " (" + packageVersion(t.subject.pack) + ")"
		}
		fmt.Fprintf(w, "| %s | %s |\n", name, t.subject.keeps)
	}
	w.WriteString("\n")
}

func (b *bench) section(w *strings.Builder, s section) {
	began := false
	for _, t := range inOrder(b.o.turns(), s.group) {
		if len(b.book.rows[t.row+"/"+t.subject.id]) == 0 {
			continue
		}
		if !began {
			fmt.Fprintf(w, "### %s\n\n%s\n\n| load | server |", s.title, s.text)
			for _, c := range s.columns {
				fmt.Fprintf(w, " %s |", c.title)
			}
			fmt.Fprintf(w, " × Parley |\n|---|---|%s---|\n", strings.Repeat("---|", len(s.columns)))
			began = true
		}
		row := t.row + "/" + t.subject.id
		fmt.Fprintf(w, "| %s | %s |", strings.TrimPrefix(t.row, s.group), t.subject.name)
		for _, c := range s.columns {
			text := ""
			if v, ok := b.book.span(row, c.m); ok {
				text = v.String()
			}
			fmt.Fprintf(w, " %s |", text)
		}
		text := ""
		if base := b.baseline(t.row, t.subject); base != "" {
			if v, ok := b.book.ratio(row, base, s.ratio); ok {
				text = v.String()
			}
		}
		fmt.Fprintf(w, " %s |\n", text)
	}
	if began {
		w.WriteString("\n")
	}
}

// baseline is the row of Parley that a row is compared with; "" for Parley's own. What carries no SIP over TCP is compared
// with SIP over TCP.
func (b *bench) baseline(row string, s *subject) string {
	if s.ours() {
		return ""
	}
	row = strings.Replace(row, "/xmpp", "/tcp", 1)
	for _, p := range []*subject{parley, parleyRelay} {
		if id := row + "/" + p.id; len(b.book.rows[id]) > 0 {
			return id
		}
	}
	return ""
}

// tableRow is a step's row of a subject.
type tableRow struct {
	row     string
	subject *subject
}

// inOrder are the rows of a group: those with the same load together, Parley first.
func inOrder(turns []turn, group string) []tableRow {
	var loads []string
	byLoad := map[string][]tableRow{}
	for _, t := range turns {
		for _, s := range t.steps {
			if !strings.HasPrefix(s.id, group) {
				continue
			}
			ids := []string{s.id}
			if s.count != nil {
				ids = nil
				for _, n := range s.count {
					ids = append(ids, fmt.Sprintf("%s/%d", s.id, n))
				}
			}
			for _, id := range ids {
				load := strings.Replace(id, "/xmpp", "/tcp", 1)
				if byLoad[load] == nil {
					loads = append(loads, load)
				}
				r := tableRow{id, t.subject}
				if t.subject.ours() {
					byLoad[load] = slices.Insert(byLoad[load], 0, r)
				} else {
					byLoad[load] = append(byLoad[load], r)
				}
			}
		}
	}
	var list []tableRow
	for _, load := range loads {
		list = append(list, byLoad[load]...)
	}
	return list
}

// choice tells how the number of Kamailio's workers was chosen.
func (b *bench) choice(w *strings.Builder) {
	if len(b.book.tries) == 0 {
		return
	}
	fmt.Fprintf(w, "### Kamailio's workers\n\nTried before the rounds, messages with 64 in flight, or presence as above; the cheapest was measured; TLS with 1 because more have crashed, presence in SQLite with 1 because with more it is locked.\n\n"+
		"| set-up | workers | messages a second | CPU-s per 10,000 | measured |\n|---|---|---|---|---|\n")
	for _, t := range b.book.tries {
		measured := ""
		if b.workers[t.key] == t.n {
			measured = "yes"
		}
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s |\n", t.key, t.n, short(t.f[rate]), short(t.f[cpu]), measured)
	}
	w.WriteString("\n")
}
