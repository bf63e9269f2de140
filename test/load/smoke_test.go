package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/parley-im/parley/test/load/crowd"
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

// Presence, short, with a real server: everybody sees everybody, and each change once.
func TestPresenceSmoke(t *testing.T) {
	binary, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]string{
		{"-what", "model", "-users", "24", "-contacts", "4", "-factor", "200"},
		{"-what", "storm", "-users", "20", "-contacts", "6", "-lists", "body", "-sockets", "0", "-profile", t.TempDir()},
		{"-what", "fan", "-owners", "2", "-watchers", "10", "-every", "200ms", "-tcp", "6"},
	} {
		t.Run(row[1], func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "figures.json")
			args := append([]string{
				"presence", "-parley", binary, "-quiet", "-over", "200ms", "-warmup", "50ms", "-time", "300ms", "-settle", "10ms",
				"-json", file, "-dir", t.TempDir(),
			}, row...)
			if err := mainError(args); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var list []crowd.Result
			if err := json.Unmarshal(text, &list); err != nil || len(list) != 1 {
				t.Fatalf("%v in %s", err, text)
			}
			r := list[0]
			if want := map[string]int64{"model": 24 * 4, "storm": 20 * 6, "fan": 2 * 10}[row[1]]; r.Online != want || r.Subscriptions != r.Complete {
				t.Errorf("%d pairs see each other, want %d; %d of %d subscriptions are complete", r.Online, want, r.Complete, r.Subscriptions)
			}
			if row[1] != "storm" && r.Published == 0 {
				t.Error("nothing changed")
			}
		})
	}
}

func TestPresenceOptions(t *testing.T) {
	for _, args := range [][]string{
		{"-what", "dance"}, {"-server", "udp=192.0.2.1:5060"}, {"-server", "udp=127.0.0.1:5060", "-transport", "udp"}, {"-users", "10", "-tcp", "11"}, {"-contacts", "5"}, {"-users", "20"},
		{"-lists", "tape"}, {"-what", "fan", "-owners", "0"}, {"-what", "fan", "-owners", "10000", "-watchers", "10000"}, {"-factor", "0"},
		{"-transport", "tls"}, {"-every", "0s"}, {"-time", "48h"}, {"-pid", "x"}, {"-changes", "-1"}, {"more"},
	} {
		if _, _, err := parsePresence(args); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	o, po, err := parsePresence([]string{"-what", "fan", "-owners", "3", "-users", "10", "-transport", "tcp"})
	if err != nil || po.watchers != 7 || po.tcp != 10 || len(o.transports) != 1 {
		t.Errorf("the options are %+v %+v, error %v", o, po, err)
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
