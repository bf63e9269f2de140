package main

import (
	"testing"
)

// A few rounds of kill -9. make crash makes many, and breaks more.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a server for some seconds; left out with -short")
	}
	t.Parallel()
	if err := crash(t.Context(), options{rounds: 5, every: 5, seed: 1, faults: "kill", db: "sqlite", rate: 150}, t.Output()); err != nil {
		t.Fatal(err)
	}
}

// The same checker finds that messages are missing from a server that records them after it delivered them.
func TestCrashControl(t *testing.T) {
	if testing.Short() {
		t.Skip("builds another server and kills it; left out with -short")
	}
	t.Parallel()
	if err := crash(t.Context(), options{rounds: 2, every: 1, seed: 1, faults: "kill", db: "sqlite", rate: 150, control: "late"}, t.Output()); err != nil {
		t.Fatal(err)
	}
}
