package soak

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
)

// A Rule says how much a column may grow.
type Rule struct {
	Column  string
	Limit   float64  // growth in an hour that is still flat
	Share   float64  // or this part of the mean, if that is more
	Fills   float64  // minutes until it is as full as it gets; the rule holds for what comes after
	Less    []string // columns, in the same unit, whose growth is known and taken off
	Explain string   // what they are
}

// KeyBytes is what a key of the window of repeats takes at most (service/message/said.go says 29 to 33).
const KeyBytes = 33

// Rules are what a flat server holds to. The window of repeats is bounded by time, at least a day, so in a run of an hour
// it grows with every message: that part is known and taken off, and what is left has to be flat.
var Rules = []Rule{
	{Column: "rss_MB", Limit: 6, Fills: 10, Less: []string{"repeat_MB", "heap_room_MB"}, Explain: "window of repeats, and the room for garbage that is set for a heap of that size"},
	{Column: "heap_live_MB", Limit: 3, Fills: 10, Less: []string{"repeat_MB"}, Explain: "window of repeats"},
	{Column: "outside_MB", Limit: 6, Fills: 10}, // outside of the Go heap: SQLite's pages
	{Column: "stacks_MB", Limit: 1, Fills: 2, Share: 0.05},
	{Column: "goroutines", Limit: 10},
	{Column: "fds", Limit: 20}, // with those of the databases, a pool that fills
	{Column: "fds_other", Limit: 10},
	{Column: "connections", Limit: 10},
	{Column: "threads", Limit: 3, Fills: 5},
	{Column: "bindings", Limit: 10, Fills: 4},
	{Column: "subscriptions", Limit: 10, Fills: 2},
	{Column: "calls", Limit: 10, Fills: 4},
	{Column: "transactions", Limit: 50, Fills: 2, Share: 0.05},
	{Column: "timers", Limit: 50, Fills: 2, Share: 0.05},
	{Column: "nonces", Limit: 50, Fills: 10, Share: 0.05},
	{Column: "accounts_cached", Limit: 10, Fills: 15},
	{Column: "bindings_unwritten", Limit: 10},
	{Column: "log_queue", Limit: 10},
	{Column: "index_lag_s", Limit: 0.1},
	{Column: "wal_MB", Limit: 3, Fills: 10},
}

// A Finding is what a rule says of a series.
type Finding struct {
	Column      string  `json:"column"`
	First, Last float64 `json:"-"`
	Mean        float64 `json:"mean"`
	Highest     float64 `json:"highest"`
	Slope       float64 `json:"growth_per_hour"`
	Explained   float64 `json:"explained_per_hour"`
	Error       float64 `json:"error_per_hour"`
	Limit       float64 `json:"limit_per_hour"`
	Grows       bool    `json:"grows"`
	Early       bool    `json:"too_early,omitempty"` // it may still be filling, and is not judged
	Explain     string  `json:"explained_by,omitempty"`
}

// sure is Student's t for ten degrees of freedom: one line in forty through flat noise looks steeper than so many
// standard errors.
const sure = 2.23

// shortest is the time over which a limit is meant at least, in hours: what fills in the first minutes would be a large
// growth if it went on.
const shortest = 0.5

// Judge fits the samples between two times, in hours. A column grows when what is not explained is more than its limit and
// more than its noise.
func Judge(s *Series, rules []Rule, from, to float64) []Finding {
	var list []Finding
	for _, r := range rules {
		hours, values := s.Column(r.Column, from, to)
		if len(values) < 3 {
			continue // no line goes through them
		}
		f := Finding{Column: r.Column, First: values[0], Last: values[len(values)-1], Highest: values[0], Explain: r.Explain}
		for _, x := range values {
			f.Highest = max(f.Highest, x)
		}
		whole := Fit(hours, values)
		left := slices.Clone(values)
		for _, name := range r.Less {
			if _, known := s.Column(name, from, to); len(known) == len(left) {
				for i := range left {
					left[i] -= known[i]
				}
			}
		}
		rest := Fit(hours, left)
		f.Mean, f.Slope, f.Error, f.Explained = whole.Mean, whole.Slope, rest.Error, whole.Slope-rest.Slope
		f.Limit = max(r.Limit, r.Share*math.Abs(whole.Mean)) * max(1, shortest/(hours[len(hours)-1]-hours[0]))
		f.Early = from*60 < r.Fills
		f.Grows = !f.Early && rest.Slope > f.Limit && rest.Slope > sure*rest.Error
		list = append(list, f)
	}
	return list
}

// Left is the growth that nothing explains.
func (f Finding) Left() float64 { return f.Slope - f.Explained }

// Grown tells whether any column grows.
func Grown(list []Finding) bool {
	for _, f := range list {
		if f.Grows {
			return true
		}
	}
	return false
}

// Table prints findings.
func Table(w io.Writer, list []Finding) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tmean\thighest\tgrowth/h\texplained\tleft\t± error\tlimit\t\t")
	for _, f := range list {
		verdict := "flat"
		switch {
		case f.Grows:
			verdict = "GROWS"
		case f.Early:
			verdict = "too early"
		}
		fmt.Fprintf(tw, "%s\t%.1f\t%.1f\t%+.2f\t%+.2f\t%+.2f\t%.2f\t%.1f\t%s\t\n", f.Column, f.Mean, f.Highest, f.Slope, f.Explained, f.Left(), f.Error, f.Limit, verdict)
	}
	return tw.Flush()
}
