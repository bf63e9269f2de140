package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// soakFor runs a soak of seconds and reads its files.
func soakFor(t *testing.T, more ...string) (o outcome, samples string, failed error) {
	t.Helper()
	file, samples := filepath.Join(t.TempDir(), "soak.json"), filepath.Join(t.TempDir(), "soak.csv")
	failed = mainError(append([]string{
		"soak", "-quiet", "-people", "40", "-every", "100ms", "-settle", "0", "-json", file, "-csv", samples, "-dir", t.TempDir(),
	}, more...))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err, failed)
	}
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	if text, err = os.ReadFile(samples); err != nil || strings.Count(string(text), "\n") < 10 {
		t.Errorf("the samples are %q: %v", text, err)
	}
	return o, samples, failed
}

// A few seconds of everything lose nothing. Whether anything grows is not to be seen in so short a time, but the same
// tool finds connections that are leaked on purpose.
func TestSoak(t *testing.T) {
	binary, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("everything at once", func(t *testing.T) {
		t.Parallel()
		o, _, _ := soakFor(t, "-parley", binary, "-time", "4s", "-rate", "100")
		for _, m := range o.Missing {
			t.Log(m)
		}
		for _, w := range o.Wrong {
			if !strings.Contains(w, " grows by ") {
				t.Error(w)
			}
		}
		if o.Talk.Received == 0 || o.Counts["sign-ins"] < 10 {
			t.Errorf("too little went on: %+v, %v", o.Talk, o.Counts)
		}
	})
	t.Run("leaked connections", func(t *testing.T) {
		t.Parallel()
		o, samples, failed := soakFor(t, "-parley", binary, "-time", "4s", "-rate", "20", "-leak", "50")
		if failed == nil {
			t.Fatal("a leak is taken")
		}
		if err := mainError([]string{"soak", "-judge", samples}); err == nil {
			t.Error("the samples alone do not show the leak")
		}
		grown := map[string]bool{}
		for _, f := range o.Findings {
			grown[f.Column] = f.Grows
		}
		if !grown["fds_other"] || !grown["connections"] {
			t.Errorf("descriptors and connections grow, others may not in so short a time: %v", grown)
		}
	})
}
