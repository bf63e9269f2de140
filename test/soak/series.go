// Package soak judges a long run of a server: samples of what it holds, one row every few seconds, and by regression
// whether any of it grows. The load is that of test/load.
package soak

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A Sample is what a server held at one time, by column name.
type Sample map[string]float64

// Series are samples in the order of time.
type Series struct {
	mu      sync.Mutex // guards what follows
	hours   []float64  // since the load began
	samples []Sample
}

// Add appends a sample, taken so many hours after the load began.
func (s *Series) Add(hours float64, v Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hours, s.samples = append(s.hours, hours), append(s.samples, v)
}

// Len is the number of samples.
func (s *Series) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.samples)
}

// Hours is the time of the newest sample.
func (s *Series) Hours() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.hours) == 0 {
		return 0
	}
	return s.hours[len(s.hours)-1]
}

// Last is the newest sample; nil when there is none.
func (s *Series) Last() Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == 0 {
		return nil
	}
	return s.samples[len(s.samples)-1]
}

// Column returns the samples of a column that lie between two times, in hours. Samples without it are left out.
func (s *Series) Column(name string, from, to float64) (hours, values []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, v := range s.samples {
		if x, ok := v[name]; ok && s.hours[i] >= from && s.hours[i] <= to {
			hours, values = append(hours, s.hours[i]), append(values, x)
		}
	}
	return hours, values
}

// WriteCSV writes all samples, a column for each name that occurs, times in seconds.
func (s *Series) WriteCSV(w io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]bool{}
	for _, v := range s.samples {
		for name := range v {
			all[name] = true
		}
	}
	names := slices.Sorted(maps.Keys(all))
	out := csv.NewWriter(w)
	_ = out.Write(append([]string{"seconds"}, names...)) // Error tells
	for i, v := range s.samples {
		row := []string{strconv.FormatFloat(s.hours[i]*3600, 'f', 1, 64)}
		for _, name := range names {
			text := ""
			if x, ok := v[name]; ok {
				text = strconv.FormatFloat(x, 'g', 10, 64)
			}
			row = append(row, text)
		}
		_ = out.Write(row)
	}
	out.Flush()
	return out.Error()
}

// ReadCSV reads what WriteCSV wrote.
func ReadCSV(r io.Reader) (*Series, error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("soak: the samples cannot be read: %w", err)
	}
	s := &Series{}
	for n, row := range rows {
		if n == 0 {
			continue
		}
		v, seconds := Sample{}, 0.0
		for i, text := range row {
			if text == "" {
				continue
			}
			x, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("soak: line %d of the samples: %w", n+1, err)
			}
			if i == 0 {
				seconds = x
			} else {
				v[rows[0][i]] = x
			}
		}
		s.Add(seconds/3600, v)
	}
	return s, nil
}

// Line is a straight line through samples.
type Line struct {
	Mean  float64 // of the samples
	Slope float64 // growth in an hour
	Error float64 // standard error of Slope; infinite when there are too few samples
}

// blocks are what samples are averaged into before the line is drawn: neighbours in time resemble each other (garbage is
// collected in a saw-tooth, people come in waves), and taken one by one they would make the line look surer than it is.
const blocks = 12

// Fit draws the line of least squares through the means of up to twelve blocks.
func Fit(hours, values []float64) Line {
	n := min(blocks, len(values))
	if n == 0 {
		return Line{Error: math.Inf(1)}
	}
	xs, ys := make([]float64, n), make([]float64, n)
	for i := range n {
		from, to := i*len(values)/n, (i+1)*len(values)/n
		xs[i], ys[i] = mean(hours[from:to]), mean(values[from:to])
	}
	x, y := mean(xs), mean(ys)
	var xx, xy float64
	for i := range n {
		xx += (xs[i] - x) * (xs[i] - x)
		xy += (xs[i] - x) * (ys[i] - y)
	}
	l := Line{Mean: mean(values), Error: math.Inf(1)}
	if n < 3 || xx == 0 {
		return l
	}
	l.Slope = xy / xx
	var rest float64
	for i := range n {
		d := ys[i] - y - l.Slope*(xs[i]-x)
		rest += d * d
	}
	l.Error = math.Sqrt(rest / float64(n-2) / xx)
	return l
}

func mean(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// Process adds what /proc tells of a process: memory in MB, threads and descriptors.
func (v Sample) Process(pid int) error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	defer f.Close()
	names := map[string]string{"VmRSS:": "rss_MB", "RssAnon:": "rss_anon_MB", "RssFile:": "rss_file_MB", "RssShmem:": "rss_shmem_MB", "Threads:": "threads"}
	for in := bufio.NewScanner(f); in.Scan(); {
		fields := strings.Fields(in.Text())
		if len(fields) < 2 || names[fields[0]] == "" {
			continue
		}
		x, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return fmt.Errorf("soak: /proc/%d/status: %w", pid, err)
		}
		if len(fields) > 2 { // kB
			x /= 1024
		}
		v[names[fields[0]]] = x
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return err
	}
	v["fds"] = float64(len(fds))
	for _, e := range fds { // those of databases are a pool: it fills, and stays
		name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name()))
		if err != nil || !strings.Contains(name, ".db") {
			v["fds_other"]++
		}
	}
	return nil
}

// Folder adds the sizes in MB of the database files in a data folder.
func (v Sample) Folder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.Contains(e.Name(), ".db") || strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // it has just been removed
		}
		v[e.Name()+"_MB"] = float64(info.Size()) / (1 << 20)
	}
	return nil
}

// gauges are the metrics that become columns. Those with labels are summed.
var gauges = []struct {
	metric, column string
	scale          float64
}{
	{"go_goroutines", "goroutines", 1},
	{"go_memstats_heap_inuse_bytes", "heap_MB", 1 << 20},
	{"go_memstats_stack_inuse_bytes", "stacks_MB", 1 << 20},
	{"parley_message_repeat_keys", "repeat_keys", 1},
	{"parley_registrar_bindings", "bindings", 1},
	{"parley_registrar_unwritten", "bindings_unwritten", 1},
	{"parley_subscriptions", "subscriptions", 1},
	{"parley_call_open", "calls", 1},
	{"parley_transport_connections", "connections", 1},
	{"parley_transaction_in_flight", "transactions", 1},
	{"parley_transaction_timers", "timers", 1},
	{"parley_auth_accounts_cached", "accounts_cached", 1},
	{"parley_auth_nonces", "nonces", 1},
	{"parley_log_queue_records", "log_queue", 1},
	{"parley_log_head", "log_records", 1},
	{"parley_index_lag_seconds", "index_lag_s", 1},
	{"parley_index_position", "indexed", 1},
	{"parley_message_recorded_total", "messages_recorded", 1},
	{"parley_message_unrecorded_total", "messages_unrecorded", 1},
}

// Metrics adds what a server's metrics say, after Process and Folder. The keys are names with their labels, as /metrics writes them.
func (v Sample) Metrics(m map[string]float64) {
	sums := map[string]float64{}
	for name, x := range m {
		name, labels, _ := strings.Cut(name, "{")
		if reason, ok := strings.CutPrefix(labels, `kind="`); ok && name == "parley_transport_drops_total" && x > 0 {
			v["drops "+strings.NewReplacer(`",reason="`, " ", `"}`, "").Replace(reason)] = x
		}
		sums[name] += x
		if strings.HasSuffix(name, "_panics_total") {
			sums["panics"] += x
		}
	}
	for _, g := range gauges {
		if x, ok := sums[g.metric]; ok {
			v[g.column] = x / g.scale
		}
	}
	// The collector's goal is what survived the last collection, which has no saw-tooth of garbage, and the room for garbage:
	// GOGC percent of that and of the stacks. The server sets the room by itself.
	room := sums["go_gc_gogc_percent"] / 100
	live := (sums["go_memstats_next_gc_bytes"] - sums["go_memstats_stack_inuse_bytes"]*room) / (1 + room)
	v["heap_live_MB"] = live / (1 << 20)
	v["heap_room_MB"] = (sums["go_memstats_next_gc_bytes"] - live) / (1 << 20)
	// What the runtime has and has not given back is its own; the rest is SQLite's, whose allocator takes it from the system itself.
	v["outside_MB"] = v["rss_anon_MB"] - (sums["go_memstats_sys_bytes"]-sums["go_memstats_heap_released_bytes"])/(1<<20)
	v["repeat_MB"] = v["repeat_keys"] * KeyBytes / (1 << 20)
	v["panics"] = sums["panics"]
	v["index_behind"] = max(0, v["log_records"]-v["indexed"])
	v["wal_MB"] = v["log.db-wal_MB"] + v["state.db-wal_MB"] + v["index.db-wal_MB"]
}
