package main

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// A port that somebody takes between the choice and the start is told from other reasons not to start, so that the tool
// chooses again.
func TestPortTaken(t *testing.T) {
	binary, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o, file := &options{}, filepath.Join(dir, "parley.toml")
	o.binary, o.domain = binary, "load.test"
	p, err := newPrivate(o, "", dir, file)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", p.addrs["tcp"])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := p.launch(o, dir, file); !errors.Is(err, errTaken) || !strings.Contains(err.Error(), p.addrs["tcp"]) {
		t.Errorf("got %v", err)
	}
	o.limits = "no line of a configuration"
	if _, err := startPrivate(o, "", dir, 1); err == nil || errors.Is(err, errTaken) {
		t.Errorf("got %v", err)
	}
}
