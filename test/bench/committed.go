package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// committed is what the last whole run with -update has measured: the file that -quick compares with.
type committed struct {
	Date    string                     `json:"date"`
	Commit  string                     `json:"commit"`
	Rounds  int                        `json:"rounds"`
	Machine machine                    `json:"machine"`
	Rows    map[string]map[metric]span `json:"rows"`
}

func committedFile(root string) string { return filepath.Join(root, "test", "bench", "committed.json") }

func readCommitted(root string) (*committed, error) {
	text, err := os.ReadFile(committedFile(root))
	if errors.Is(err, fs.ErrNotExist) {
		return &committed{}, nil
	}
	if err != nil {
		return nil, err
	}
	c := &committed{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", committedFile(root), err)
	}
	return c, nil
}

func writeCommitted(b *bench) error {
	text, err := json.MarshalIndent(&committed{
		Date: b.began.UTC().Format("2006-01-02"), Commit: b.commit(), Rounds: b.o.rounds, Machine: b.machine, Rows: b.book.spans(),
	}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(committedFile(b.root), append(text, '\n'), 0o644) //nolint:gosec // figures for everyone
}

// moved prints what differs from the figures committed last.
func moved(w io.Writer, old *committed, b *bench) error {
	if len(old.Rows) == 0 {
		fmt.Fprintln(w, "No figures are committed yet: go run ./test/bench -update writes them.")
	} else {
		fmt.Fprintf(w, "Committed on %s at %s: %v\nNow at %s: %v\n", old.Date, old.Commit, old.Machine, b.commit(), b.machine)
		if old.Machine.Processor != b.machine.Processor || old.Machine.Cores != b.machine.Cores {
			fmt.Fprintln(w, "These are different machines: what moved tells little.")
		}
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "row\tfigure\tcommitted\tnow\tmoved")
	now := b.book.spans()
	for _, row := range slices.Sorted(maps.Keys(now)) {
		for _, m := range metrics {
			s, ok := now[row][m]
			if !ok {
				continue
			}
			was, change := "", ""
			if o, ok := old.Rows[row][m]; ok && o.Median > 0 {
				was, change = short(o.Median), fmt.Sprintf("%+.0f %%", (s.Median/o.Median-1)*100)
				if s.Low <= o.High && o.Low <= s.High {
					change += " (ranges overlap)"
				}
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", row, m, was, short(s.Median), change)
		}
	}
	return tw.Flush()
}
