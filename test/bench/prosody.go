package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

var prosody = &subject{
	id: "prosody", pack: "prosody", name: "Prosody, default archive",
	keeps: "every message for both users, in files that it never syncs; SASL once for each connection",
	needs: map[string]string{"prosody": "prosody"},
	start: func(ctx context.Context, _ *bench, p *place) (*running, error) { return startProsody(ctx, p) },
}

// prosodyConfig is Debian's with its archive switched on, without what does not concern messages between two users, without
// the limit of 10 kB a second for each, and with plain TCP and plain passwords, which makes signing in as cheap as it can be.
const prosodyConfig = `run_as_root = %t
pidfile = %q
data_path = %q
certificates = %[3]q
modules_enabled = { "disco", "roster", "saslauth", "carbons", "smacks", "ping", "posix", "mam" }
modules_disabled = { "s2s", "tls" }
interfaces = { "127.0.0.1" }
c2s_ports = { %d }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
archive_expires_after = "1w"
log = { warn = "*console" }
VirtualHost %q
`

func startProsody(ctx context.Context, p *place) (*running, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(p.dir, "data")
	// The users, as its own store writes them: prosodyctl would take a second for each.
	accounts := filepath.Join(data, strings.ReplaceAll(domain, ".", "%2e"), "accounts")
	if err := os.MkdirAll(accounts, 0o700); err != nil {
		return nil, err
	}
	for i := range p.users {
		text := fmt.Appendf(nil, "return {\n\t[\"password\"] = %q;\n};\n", password(i))
		if err := os.WriteFile(filepath.Join(accounts, userName(i)+".dat"), text, 0o600); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(p.dir, "prosody.cfg.lua")
	text := fmt.Appendf(nil, prosodyConfig, os.Getuid() == 0, filepath.Join(p.dir, "pid"), data, port, domain)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, err
	}
	program, err := launch(p.dir, "prosody", nil, nil, "prosody", "-F", "--config", config)
	if err != nil {
		return nil, err
	}
	r := &running{
		addrs: map[string]string{"xmpp": loopback(port)}, pids: []int{program.pid()},
		stop: func() error { return program.stop(syscall.SIGTERM) },
	}
	return r, ready(ctx, program, r, 30*time.Second, func() error { return answers(loopback(port), xmppHello, "<stream:features") })
}
