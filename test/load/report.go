package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/parley-im/parley/test/load/gauge"
	"github.com/parley-im/parley/test/load/ledger"
)

// result is one row of the table, and one object of the JSON.
type result struct {
	Started   string  `json:"started"`
	Mode      string  `json:"mode"`
	Transport string  `json:"transport"`
	InFlight  int     `json:"in_flight,omitempty"`     // closed loop
	Rate      int     `json:"offered_per_s,omitempty"` // open loop
	Users     int     `json:"users"`
	Size      int     `json:"body_bytes"`
	Ready     float64 `json:"ready_ms"` // from the start of the process, a private server's

	Seconds   float64 `json:"seconds"`
	Done      int     `json:"done"` // units acknowledged in the measured part
	PerSecond float64 `json:"per_s"`

	// From the due time, of units that fell due in the measured part. Receipt is at the other client.
	Receipt gauge.Latency `json:"receipt_ms"`
	Ack     gauge.Latency `json:"ack_ms"`

	ServerCPU  float64 `json:"server_cpu_s"`
	ServerPer  float64 `json:"server_cpu_s_per_10k"`
	ToolCPU    float64 `json:"tool_cpu_s"`
	ToolPer    float64 `json:"tool_cpu_s_per_10k"`
	IndexLag   float64 `json:"index_lag_s"` // at the end of the measured part, still under load; of Parley alone
	Unfinished int     `json:"unfinished"`  // open loop: fell due and was never started, or under way at the end

	memory
	Idle []headcount `json:"idle,omitempty"` // mode idle, each step
	verdict
}

// headcount is what a number of users costs that are connected and say nothing.
type headcount struct {
	Users  int         `json:"users"`
	Memory gauge.Usage `json:"memory"`
}

// memory is what the server holds: before the users came, under load, and after they left.
type memory struct {
	MemoryBefore gauge.Usage `json:"before"`
	MemoryAfter  gauge.Usage `json:"after"`
	PerUser      float64     `json:"rss_kB_per_user"`
	HeapMB       float64     `json:"heap_MB"` // in use
	StackMB      float64     `json:"stack_MB"`

	GoroutinesBefore int `json:"goroutines_before"`
	Goroutines       int `json:"goroutines"`
	GoroutinesAfter  int `json:"goroutines_after"` // everyone has left
}

// verdict is what became of the units.
type verdict struct {
	Tally      ledger.Tally   `json:"tally"`
	Unknown    int64          `json:"unknown"` // received, never sent
	Statuses   map[int]int    `json:"statuses"`
	Challenges int64          `json:"challenges"`
	Resent     int64          `json:"resent"`   // repetitions of ours
	Repeated   int64          `json:"repeated"` // repetitions of the server
	Problems   map[string]int `json:"problems"`
}

// finish computes what follows from the counts.
func (t *trial) finish(res *result) {
	res.Receipt, res.Ack = gauge.LatencyOf(t.receipt), gauge.LatencyOf(t.ack)
	if res.Seconds > 0 {
		res.PerSecond = float64(res.Done) / res.Seconds
	}
	if res.Done > 0 {
		res.ServerPer, res.ToolPer = res.ServerCPU/float64(res.Done)*1e4, res.ToolCPU/float64(res.Done)*1e4
	}
	res.PerUser = float64(res.MemoryAfter.RSS-res.MemoryBefore.RSS) / float64(res.Users)
	if t.ledger != nil {
		res.Tally = t.ledger.Tally()
	}
	under, waiting := t.driver.State()
	res.Unfinished = under + waiting
	res.Unknown, res.Challenges, res.Resent, res.Repeated = t.unknown.Load(), t.shared.Challenges.Load(), t.shared.Resent.Load(), t.shared.Repeated.Load()
	t.mu.Lock()
	defer t.mu.Unlock()
	res.Statuses, res.Problems = maps.Clone(t.statuses), maps.Clone(t.problems)
}

// wrong is what must not be, in words; "" if all is well. Refusals are no loss: the sender knows.
func (r *result) wrong() string {
	var list []string
	for _, w := range []struct {
		n    int
		what string
	}{
		{r.Tally.Lost, "acknowledged and lost"}, {r.Tally.Doubled, "received twice"}, {r.Tally.OutOfOrder, "out of order"},
		{r.Tally.Voided, "refused and received all the same"}, {r.Tally.Open, "neither acknowledged nor refused"},
		{r.Unfinished, "not finished"}, {int(r.Unknown), "received and never sent"},
	} {
		if w.n > 0 {
			list = append(list, fmt.Sprintf("%d %s", w.n, w.what))
		}
	}
	return strings.Join(list, ", ")
}

// table prints the rows.
func table(w io.Writer, rows []*result) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "mode\ttransport\tload\tper s\tCPU-s/10k\ttool\treceipt p50\tp99\tp99.9 ms\tack p50\tp99 ms\tRSS MB\tkB/user\trefused\tlost\tdoubled\torder\t")
	for _, r := range rows {
		load := fmt.Sprintf("%d", r.InFlight)
		if r.Rate > 0 {
			load = fmt.Sprintf("%d/s", r.Rate)
		}
		if r.Mode == "idle" {
			load = fmt.Sprintf("%d users", r.Users)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%.1f\t%d\t%d\t%d\t%d\t\n",
			r.Mode, r.Transport, load, r.PerSecond, r.ServerPer, r.ToolPer, r.Receipt.P50, r.Receipt.P99, r.Receipt.P999, r.Ack.P50, r.Ack.P99,
			float64(r.MemoryAfter.RSS)/1024, r.PerUser, r.refusals(), r.Tally.Lost, r.Tally.Doubled, r.Tally.OutOfOrder)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		r.remarks(w)
	}
	return nil
}

// refusals are final responses that are not 2xx, and units without one.
func (r *result) refusals() int {
	n := 0
	for code, k := range r.Statuses {
		if code/100 != 2 {
			n += k
		}
	}
	return n
}

// remarks prints what a row says beside its figures.
func (r *result) remarks(w io.Writer) {
	name := fmt.Sprintf("%s %s %d", r.Mode, r.Transport, max(r.InFlight, r.Rate))
	if len(r.Problems) > 0 || r.refusals() > 0 || r.Resent > 0 || r.Repeated > 0 || r.Statuses[202] > 0 {
		fmt.Fprintf(w, "%s: answers %v, repeated by us %d, by the server %d\n", name, r.Statuses, r.Resent, r.Repeated)
	}
	for _, p := range slices.Sorted(maps.Keys(r.Problems)) {
		fmt.Fprintf(w, "%s: %d × %s\n", name, r.Problems[p], p)
	}
	if r.Mode == "idle" {
		fmt.Fprintf(w, "%s: heap in use %.1f MB, stacks %.1f MB, %d goroutines, PSS %.1f MB, %.1f before, %.2f %% of a CPU\n", name, r.HeapMB, r.StackMB, r.Goroutines,
			float64(r.MemoryAfter.PSS)/1024, float64(r.MemoryBefore.PSS)/1024, r.ServerCPU/r.Seconds*100)
	}
	if r.IndexLag > maxLag.Seconds() {
		fmt.Fprintf(w, "%s: TOO LATE: the index was %.1f s behind the log, so its processor time is not all counted\n", name, r.IndexLag)
	} else if r.IndexLag > 0 {
		fmt.Fprintf(w, "%s: the index was %.0f ms behind the log\n", name, r.IndexLag*1000)
	}
	if r.GoroutinesAfter > r.GoroutinesBefore+2 {
		fmt.Fprintf(w, "%s: %d goroutines before, %d after everyone has left\n", name, r.GoroutinesBefore, r.GoroutinesAfter)
	}
	if text := r.wrong(); text != "" {
		fmt.Fprintf(w, "%s: WRONG: %s\n", name, text)
	}
}
