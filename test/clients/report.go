package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"text/tabwriter"
	"time"
)

// report collects the rows of the one table that a run prints.
type report struct {
	mu   sync.Mutex
	rows []row
}

type row struct {
	group, what, result string
	took                time.Duration
	err                 error
}

// check runs one row and keeps what came of it; detail is shown when it passes. It says whether the row passed.
func (r *report) check(group, what string, run func() (detail string, err error)) bool {
	start := time.Now()
	detail, err := run()
	r.add(row{group: group, what: what, result: detail, took: time.Since(start), err: err})
	return err == nil
}

func (r *report) add(added row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, added)
	if added.err != nil {
		fmt.Fprintf(os.Stderr, "FAILED  %s: %s: %v\n", added.group, added.what, added.err)
	} else {
		fmt.Fprintf(os.Stderr, "ok      %s: %s\n", added.group, added.what)
	}
}

// print writes the table and returns how many rows failed.
func (r *report) print(w io.Writer) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	failed := 0
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nGROUP\tWHAT\t\tTIME\tRESULT")
	for _, row := range r.rows {
		verdict, result := "ok", row.result
		if row.err != nil {
			verdict, result = "FAILED", row.err.Error()
			failed++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.2f s\t%s\n", row.group, row.what, verdict, row.took.Seconds(), result)
	}
	_ = table.Flush()
	fmt.Fprintf(w, "\n%d rows, %d failed\n", len(r.rows), failed)
	return failed
}
