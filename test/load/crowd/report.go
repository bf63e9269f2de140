package crowd

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/parley-im/parley/test/load/gauge"
)

// Result is the JSON of a run of presence. Processor time and NOTIFYs are those of the measured part; what
// Figures counts is of the whole run, its latencies but sign_on_ms of the measured part.
type Result struct {
	Started   string  `json:"started"`
	Mode      string  `json:"mode"`
	What      string  `json:"what"`
	Transport string  `json:"transport"`
	Users     int     `json:"users"`
	TCP       int     `json:"over_tcp"`
	Contacts  int     `json:"contacts,omitempty"`
	Owners    int     `json:"owners,omitempty"`
	Factor    float64 `json:"factor"`
	Cores     int     `json:"cores"`

	Spent
	Memory Memory `json:"memory"`
	Figures
}

// Spent is what the phases took.
type Spent struct {
	ListsSeconds   float64 `json:"putting_lists_s,omitempty"`
	SignOnSeconds  float64 `json:"sign_on_s,omitempty"`
	SignOnCPU      float64 `json:"sign_on_server_cpu_s,omitempty"`
	SettledSeconds float64 `json:"all_online_after_last_s,omitempty"` // -1: never

	Seconds   float64 `json:"seconds"`
	Done      int     `json:"done"` // NOTIFYs
	Changes   int     `json:"measured_changes"`
	Bytes     int64   `json:"measured_notify_bytes"`
	PerSecond float64 `json:"per_s"`
	ServerCPU float64 `json:"server_cpu_s"`
	ServerPer float64 `json:"server_cpu_s_per_10k"` // NOTIFYs, and the changes and messages that go with them
	Share     float64 `json:"server_cpu_percent"`   // of all cores
	ToolCPU   float64 `json:"tool_cpu_s"`
	ToolPer   float64 `json:"tool_cpu_s_per_10k"`
}

// Memory is what the server holds.
type Memory struct {
	Before Held        `json:"before"` // nobody has signed on; fan: owners are there, and nobody has subscribed
	Ready  Held        `json:"ready"`  // all are there and nothing happens
	After  gauge.Usage `json:"after"`  // under load

	PerUser         float64 `json:"rss_kB_per_user,omitempty"`
	PerSubscription float64 `json:"rss_B_per_subscription,omitempty"`
	LivePer         float64 `json:"live_B_per_subscription,omitempty"`
}

// Held is what the server holds at one moment.
type Held struct {
	gauge.Usage
	Live float64 `json:"live_heap_B,omitempty"` // after a collection; only with -profile
}

// Finish computes what follows from what was counted.
func (r *Result) Finish(f Figures) {
	r.Figures = f
	if r.Seconds > 0 {
		r.PerSecond = float64(r.Done) / r.Seconds
		r.Share = r.ServerCPU / r.Seconds / float64(r.Cores) * 100
	}
	if r.Done > 0 {
		r.ServerPer, r.ToolPer = r.ServerCPU/float64(r.Done)*1e4, r.ToolCPU/float64(r.Done)*1e4
	}
	m := &r.Memory
	if m.Ready.RSS == 0 || f.Subscriptions == 0 {
		return
	}
	// Pages that the processes of a server share count once.
	grown := float64(m.Ready.PSS-m.Before.PSS) * 1024
	m.PerSubscription = grown / float64(f.Subscriptions)
	if m.Ready.Live > 0 {
		m.LivePer = (m.Ready.Live - m.Before.Live) / float64(f.Subscriptions)
	}
	m.PerUser = grown / 1024 / float64(r.Users)
}

// Table prints the run.
func (r *Result) Table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	who := fmt.Sprintf("%d users with %d contacts each, %d of them over TCP", r.Users, r.Contacts, r.TCP)
	if r.What == "fan" {
		who = fmt.Sprintf("%d watched by %d each, over %s", r.Owners, r.Users-r.Owners, r.Transport)
	}
	row("presence, "+r.What, "%s", who)
	row("subscriptions", "%d, %d with all states, %d pairs online", r.Subscriptions, r.Complete, r.Online)
	row("refused or not answered", "%d of %v", r.Refusals(), r.Statuses)
	if r.What != "fan" {
		row("signed on", "within %.1f s, server %.2f CPU-s; all states p50 %.0f, p99 %.0f, last %.0f ms; all see all online %.1f s after the last", r.SignOnSeconds, r.SignOnCPU,
			r.SignOn.P50, r.SignOn.P99, r.SignOn.Max, r.SettledSeconds)
	}
	m := &r.Memory
	row("server's memory, MB (RSS)", "%.1f before, %.1f with all there, %.1f under load", float64(m.Before.RSS)/1024, float64(m.Ready.RSS)/1024, float64(m.After.RSS)/1024)
	row("for each", "%.2f kB a user, %.0f B a subscription, %.0f B of live heap a subscription", m.PerUser, m.PerSubscription, m.LivePer)
	if r.Seconds > 0 {
		row("measured", "%.1f s: %d changes, %.0f NOTIFYs a second with %.0f B each", r.Seconds, r.Changes, r.PerSecond, float64(r.Bytes)/float64(max(1, r.Done)))
		row("server's processor time", "%.1f %% of %d cores, %.2f CPU-s for 10,000 NOTIFYs; tool %.2f", r.Share, r.Cores, r.ServerPer, r.ToolPer)
		for _, l := range []struct {
			name string
			l    gauge.Latency
		}{
			{"PUBLISH until its answer", r.Accepted}, {"change until each watcher", r.Receipt}, {"until the first watcher", r.First},
			{"until the last calm watcher", r.Fresh}, {"until the last watcher", r.Last}, {"message until received", r.MessageSeen}, {"message until its answer", r.MessageAnswer},
		} {
			if l.l.Count > 0 {
				row(l.name, "p50 %.2f, p90 %.2f, p99 %.2f, longest %.2f ms (%d)", l.l.P50, l.l.P90, l.l.P99, l.l.Max, l.l.Count)
			}
		}
		row("receipts joined, missing", "%d, %d; changes left out %d", r.Joined, r.Unseen, r.Overdue)
		if r.Messages.Sent > 0 {
			row("messages", "%d sent, %d acknowledged, %d received, %d lost, %d doubled", r.Messages.Sent, r.Messages.Acked, r.Messages.Received, r.Messages.Lost, r.Messages.Doubled)
		}
	}
	row("NOTIFYs", "%d, %d about lists, %d of them full; repeated %d, by us %d; versions skipped %d, out of order %d", r.Notifies, r.Lists, r.Full, r.Repeated, r.Resent, r.Skipped, r.Disorder)
	for _, p := range slices.Sorted(maps.Keys(r.Problems)) {
		row("problem", "%d × %s", r.Problems[p], p)
	}
	if text := r.Wrong(); text != "" {
		row("WRONG", "%s", text)
	}
	return w.Flush()
}
