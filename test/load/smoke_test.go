package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMain(m *testing.M) {
	if asked, err := serveIfAsked(); asked {
		if err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// Every mode over every transport, short, with a real server: nothing is lost, and nothing is measured that means anything.
func TestSmoke(t *testing.T) {
	binary, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]string{
		{"-mode", "message", "-transport", "udp,tcp,tls,wss", "-inflight", "4"},
		{"-mode", "message", "-rate", "200"},
		{"-mode", "call", "-transport", "udp,wss", "-inflight", "2"},
		{"-mode", "register", "-transport", "udp,tls"},
		{"-mode", "reregister", "-challenge"},
		{"-mode", "idle", "-steps", "5,20", "-profile", t.TempDir()},
	} {
		t.Run(row[1], func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "figures.json")
			args := append([]string{"-parley", binary, "-quiet", "-users", "20", "-warmup", "50ms", "-time", "200ms", "-json", file, "-dir", t.TempDir()}, row...)
			if err := mainError(args); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(file); err != nil || info.Size() < 100 {
				t.Errorf("no figures were written: %v", err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for _, args := range [][]string{
		{"-server", "tcp=192.0.2.1:5060"}, // not on loopback
		{"-server", "udp=127.0.0.1:5060"}, // but the transport is tcp
		{"-mode", "dance"}, {"-transport", "sctp"}, {"-inflight", "0"}, {"-inflight", "many"}, {"-rate", "2000000"}, {"-users", "1000000"},
		{"-time", "48h"}, {"-transport", "xmpp"}, {"-transport", "xmpp", "-server", "xmpp=127.0.0.1:5222", "-mode", "call"}, {"-steps", "20,10"}, {"-size", "10"}, {"more"},
	} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	o, err := parseOptions([]string{"-transport", "udp,tls", "-inflight", "1,512"})
	if err != nil {
		t.Fatal(err)
	}
	if rows := o.rows(); len(rows) != 4 || o.usersOf(rows[0]) != 200 || o.usersOf(rows[1]) != 1024 {
		t.Errorf("the rows are %+v", rows)
	}
}
