package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

var parley = &subject{
	id: "parley", name: "Parley",
	keeps: "every message and its outcome, in SQLite; synced before it is delivered and before the sender gets its 2xx; digest on every message, with replay check",
	start: func(ctx context.Context, b *bench, p *place) (*running, error) {
		return startParley(ctx, b, p, b.parley)
	},
}

var parleyRelay = &subject{
	id: "parley-relay", name: "Parley, recording compiled out",
	keeps: "no message (a build for this table alone, tag " + relayTag + "); digest on every message, with replay check",
	start: func(ctx context.Context, b *bench, p *place) (*running, error) {
		return startParley(ctx, b, p, b.relay)
	},
}

// parleyConfig has everything on loopback, and the limits of one peer and of one user out of the way: all users come from
// one address, and a few of them say what thousands would.
const parleyConfig = `data = %q
domains = [%q]
log = "warn"
[sip]
udp = [%q]
tcp = [%q]
tls = [%q]
[http]
listen = %q
[metrics]
listen = %q
[message]
rate = 0
[limits]
connections_per_address = 20000
unproven_rate = 1000000
`

func startParley(ctx context.Context, b *bench, p *place, binary string) (*running, error) {
	file := filepath.Join(p.dir, "parley.toml")
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	sip, tls, web, metrics := loopback(ports[0]), loopback(ports[1]), loopback(ports[2]), loopback(ports[3])
	data := filepath.Join(p.dir, "data")
	text := fmt.Sprintf(parleyConfig, data, domain, sip, sip, tls, web, metrics)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if _, err := os.Stat(data); err != nil {
		if err := addParleyUsers(ctx, b, p, file); err != nil {
			return nil, err
		}
	}
	program, err := launch(p.dir, "parley", nil, nil, binary, "serve", "-c", file)
	if err != nil {
		return nil, err
	}
	r := &running{
		addrs: map[string]string{"udp": sip, "tcp": sip, "tls": tls, "wss": web}, pids: []int{program.pid()}, metrics: metrics,
		stop: func() error { return program.stop(syscall.SIGINT) },
	}
	if p.quiet {
		return r, nil // the caller wants to know when it answers
	}
	return r, ready(ctx, program, r, 30*time.Second, func() error { return answers(sip, sipHello, "SIP/2.0") })
}

// ready waits for a server, and stops it when it does not come.
func ready(ctx context.Context, p *program, r *running, limit time.Duration, try func() error) error {
	err := p.until(ctx, limit, try)
	if err != nil {
		_ = r.stop() // what matters is why it did not start
	}
	return err
}

func addParleyUsers(ctx context.Context, b *bench, p *place, config string) error {
	var rows strings.Builder
	for i := range p.users {
		fmt.Fprintf(&rows, "%s@%s,,%s\n", userName(i), domain, password(i))
	}
	list := filepath.Join(p.dir, "users.csv")
	if err := os.WriteFile(list, []byte(rows.String()), 0o600); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, b.parley, "user", "add", "--csv", list, "-c", config).CombinedOutput(); err != nil { //nolint:gosec // just built
		return fmt.Errorf("bench: adding users to Parley: %w: %s", err, out)
	}
	return nil
}
