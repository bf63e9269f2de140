package soak

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// hour makes an hour of samples every ten seconds: noise around a level, a saw-tooth, and a growth in an hour.
func hour(column string, level, noise, tooth, growth float64, keys float64) *Series {
	r := rand.New(rand.NewPCG(1, 2))
	s := &Series{}
	for i := range 360 {
		h := float64(i) / 360
		v := Sample{column: level + noise*r.NormFloat64() + tooth*float64(i%9)/9 + growth*h}
		if keys > 0 {
			v["repeat_MB"] = keys * h
		}
		s.Add(h, v)
	}
	return s
}

// A server that leaks is found, one that breathes is not.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		what   string
		series *Series
		grows  bool
	}{
		{"people come and go", hour("goroutines", 400, 8, 0, 0, 0), false},
		{"a goroutine lost in a minute", hour("goroutines", 400, 8, 0, 60, 0), true},
		{"a goroutine lost in three minutes", hour("goroutines", 400, 8, 0, 20, 0), true},
		{"a descriptor lost in two minutes", hour("fds", 300, 8, 0, 30, 0), true},
		{"descriptors are given back", hour("fds", 300, 8, 0, -30, 0), false},
		{"garbage", hour("rss_MB", 120, 2, 30, 0, 0), false},
		{"a leak of 20 MB behind the garbage", hour("rss_MB", 120, 2, 30, 20, 0), true},
		{"a leak of 20 MB with keys that explain 12", hour("rss_MB", 120, 2, 30, 20, 12), true},
		{"growth that the keys do not explain to the end", hour("rss_MB", 120, 2, 30, 70, 60), true},
		{"growth that the keys explain", hour("rss_MB", 120, 2, 30, 60, 60), false},
		{"heap that the keys explain", hour("heap_live_MB", 30, 1, 0, 30, 30), false},
		{"heap that they do not", hour("heap_live_MB", 30, 1, 0, 36, 30), true},
		{"pages of SQLite that come and go", hour("outside_MB", 25, 1, 4, 2, 0), false},
		{"pages of SQLite that fill a cache for hours", hour("outside_MB", 40, 1, 4, 60, 0), true},
		{"transactions in a share of their number", hour("transactions", 5000, 30, 0, 100, 0), false},
		{"transactions that stay", hour("transactions", 5000, 30, 0, 500, 0), true},
		{"a log that is never checkpointed", hour("wal_MB", 4, 1, 0, 500, 0), true},
	} {
		list := Judge(c.series, Rules, 1.0/3, 1)
		if len(list) != 1 {
			t.Fatalf("%s: %d findings", c.what, len(list))
		}
		if list[0].Grows != c.grows || Grown(list) != c.grows {
			t.Errorf("%s: %+v", c.what, list[0])
		}
	}
}

// Every rule can fail.
func TestEveryRuleFails(t *testing.T) {
	for _, r := range Rules {
		s := hour(r.Column, 100, 0.01, 0, 3*max(r.Limit, 100*r.Share), 0)
		if list := Judge(s, Rules, 1.0/3, 1); len(list) != 1 || !list[0].Grows {
			t.Errorf("%s: growth of three times the limit is taken: %+v", r.Column, list)
		}
		if list := Judge(s, Rules, 0.01, 1); list[0].Grows == (r.Fills > 0) || list[0].Early != (r.Fills > 0) {
			t.Errorf("%s: from the first minute on: %+v", r.Column, list)
		}
	}
}

func TestFit(t *testing.T) {
	l := Fit([]float64{0, 1, 2, 3}, []float64{1, 3, 5, 7})
	if l.Slope != 2 || l.Mean != 4 || l.Error > 1e-9 {
		t.Errorf("a straight line: %+v", l)
	}
	for _, n := range []int{0, 1, 2} {
		if l := Fit(make([]float64, n), make([]float64, n)); !math.IsInf(l.Error, 1) {
			t.Errorf("%d samples: %+v", n, l)
		}
	}
	// The stated error holds: of many lines through noise about one in forty is steeper than "sure".
	r, steep := rand.New(rand.NewPCG(3, 4)), 0
	for range 2000 {
		x, y := make([]float64, 240), make([]float64, 240)
		for i := range x {
			x[i], y[i] = float64(i)/240, r.NormFloat64()
		}
		if l := Fit(x, y); l.Slope > sure*l.Error {
			steep++
		}
	}
	if steep < 20 || steep > 90 {
		t.Errorf("%d of 2,000 flat series look steep, want about 50", steep)
	}
}

func TestSample(t *testing.T) {
	v := Sample{}
	if err := v.Process(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rss_MB", "rss_anon_MB", "threads", "fds", "fds_other"} {
		if v[name] < 1 {
			t.Errorf("%s is %v", name, v[name])
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"log.db", "log.db-wal", "log.db-shm", "key"} {
		if err := os.WriteFile(dir+"/"+name, make([]byte, 1<<19), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Folder(dir); err != nil {
		t.Fatal(err)
	}
	v["rss_anon_MB"] = 60
	v.Metrics(map[string]float64{
		"go_memstats_sys_bytes": 100 << 20, "go_memstats_heap_released_bytes": 65 << 20,
		"go_memstats_next_gc_bytes": 50 << 20, "go_gc_gogc_percent": 300, "go_memstats_stack_inuse_bytes": 2 << 20, "parley_message_repeat_keys": 1 << 20, `parley_transaction_in_flight{side="client"}`: 2, `parley_transaction_in_flight{side="server"}`: 3,
		"parley_log_head": 10, "parley_index_position": 7, "parley_route_panics_total": 1, "parley_transport_panics_total": 1,
	})
	for name, want := range map[string]float64{
		"log.db_MB": 0.5, "log.db-wal_MB": 0.5, "wal_MB": 0.5, "heap_live_MB": 11, "heap_room_MB": 39, "repeat_MB": 33, "outside_MB": 25, "transactions": 5, "index_behind": 3, "panics": 2,
	} {
		if v[name] != want {
			t.Errorf("%s is %v, want %v", name, v[name], want)
		}
	}
	if _, there := v["log.db-shm_MB"]; there {
		t.Error("the file of locks counts")
	}
	s := &Series{}
	s.Add(0.5, Sample{"b": 2, "a": 1})
	s.Add(1, Sample{"b": 3})
	var out strings.Builder
	if err := s.WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	if want := "seconds,a,b\n1800.0,1,2\n3600.0,,3\n"; out.String() != want {
		t.Errorf("the file is %q", out.String())
	}
	again, err := ReadCSV(strings.NewReader(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	if hours, values := again.Column("b", 0, 1); !slices.Equal(hours, []float64{0.5, 1}) || !slices.Equal(values, []float64{2, 3}) {
		t.Errorf("read again: %v at %v", values, hours)
	}
	if _, err := ReadCSV(strings.NewReader("seconds,a\n1,x\n")); err == nil {
		t.Error("a word is taken for a number")
	}
}
