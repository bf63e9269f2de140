package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// metric names a figure of a row, with its unit.
type metric string

const (
	cpu           metric = "cpu_s_per_10k" // of the server, for 10,000 units
	tool          metric = "tool_cpu_s_per_10k"
	rate          metric = "per_s"
	p50           metric = "p50_ms"
	p99           metric = "p99_ms"
	lag           metric = "index_lag_ms"
	perConnection metric = "kB_per_connection"
	started       metric = "start_ms"
)

var metrics = []metric{rate, cpu, tool, p50, p99, lag, perConnection, started}

// figures are those of one row in one round.
type figures map[metric]float64

func (f figures) String() string {
	var list []string
	for _, m := range metrics {
		if v, ok := f[m]; ok {
			list = append(list, fmt.Sprintf("%s %s", m, short(v)))
		}
	}
	return strings.Join(list, "  ")
}

// A span is what rounds say of one figure.
type span struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

func spanOf(values []float64) span {
	if len(values) == 0 {
		return span{}
	}
	v := slices.Sorted(slices.Values(values))
	m := v[len(v)/2]
	if len(v)%2 == 0 {
		m = (m + v[len(v)/2-1]) / 2
	}
	return span{Median: m, Low: v[0], High: v[len(v)-1]}
}

// String is the median with its range.
func (s span) String() string {
	if s.Low == s.High {
		return short(s.Median)
	}
	return fmt.Sprintf("**%s** (%s–%s)", short(s.Median), short(s.Low), short(s.High))
}

// short has as many digits as a figure on a shared machine deserves.
func short(v float64) string {
	switch {
	case v >= 1000:
		return thousands(int(v + 0.5))
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// A book holds what was measured.
type book struct {
	mu      sync.Mutex                 // guards what follows while rounds go on
	rows    map[string]map[int]figures // by row and round
	tries   []workersTry
	remarks []string // what the tables must say beside
	broke   []string
}

// workersTry is what a number of Kamailio's workers gave.
type workersTry struct {
	key string // set-up and transport
	n   int
	f   figures
}

func newBook() *book { return &book{rows: map[string]map[int]figures{}} }

func (b *book) add(round int, row string, f figures) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rows[row] == nil {
		b.rows[row] = map[int]figures{}
	}
	b.rows[row][round] = f
}

func (b *book) try(key string, n int, f figures) { b.tries = append(b.tries, workersTry{key, n, f}) }

// remark notes a text, and tells whether it is a new one.
func (b *book) remark(text string) bool {
	if slices.Contains(b.remarks, text) {
		return false
	}
	b.remarks = append(b.remarks, text)
	return true
}

// broken notes that a server did not do what it should.
func (b *book) broken(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.broke, text) {
		b.broke = append(b.broke, text)
	}
}

func (b *book) failure() error {
	if len(b.broke) == 0 {
		return nil
	}
	return errors.New("bench: " + strings.Join(b.broke, "\nbench: "))
}

// span is a figure of a row over all rounds; ok is false when there is none.
func (b *book) span(row string, m metric) (s span, ok bool) {
	var list []float64
	for _, f := range b.rows[row] {
		if v, has := f[m]; has {
			list = append(list, v)
		}
	}
	return spanOf(list), len(list) > 0
}

// ratio is how many times as much a row has of a figure as another, round by round.
func (b *book) ratio(row, of string, m metric) (s span, ok bool) {
	var list []float64
	for round, f := range b.rows[row] {
		if v, has := f[m]; has && b.rows[of][round][m] > 0 {
			list = append(list, v/b.rows[of][round][m])
		}
	}
	return spanOf(list), len(list) > 0
}

// spans are all figures, for committed.json.
func (b *book) spans() map[string]map[metric]span {
	all := map[string]map[metric]span{}
	for row := range maps.Keys(b.rows) {
		all[row] = map[metric]span{}
		for _, m := range metrics {
			if s, ok := b.span(row, m); ok {
				all[row][m] = s
			}
		}
	}
	return all
}
