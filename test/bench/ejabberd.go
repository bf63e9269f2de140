package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const ejabberdBeams = "/usr/lib/*/ejabberd-*/ebin/ejabberd.beam"

var ejabberd = &subject{
	id: "ejabberd", pack: "ejabberd", name: "ejabberd, default archive",
	keeps: "every message for both users, in Mnesia, which writes later and does not sync; SASL once for each connection",
	needs: map[string]string{"erl": "ejabberd", ejabberdBeams: "ejabberd"},
	start: func(ctx context.Context, b *bench, p *place) (*running, error) { return startEjabberd(ctx, p, nil) },
}

var ejabberdPostgres = &subject{
	id: "ejabberd-postgres", pack: "ejabberd", name: "ejabberd with PostgreSQL",
	keeps: "every message for both users, in PostgreSQL, which syncs, most of them beside the delivery; SASL once for each connection",
	needs: map[string]string{"erl": "ejabberd", ejabberdBeams: "ejabberd", "/usr/lib/erlang/lib/p1_pgsql-*/ebin/pgsql.beam": "erlang-p1-pgsql", postgresPrograms + "initdb": "postgresql"},
	start: func(ctx context.Context, b *bench, p *place) (_ *running, err error) {
		db, err := startPostgres(ctx, p)
		if err != nil {
			return nil, err
		}
		r, err := startEjabberd(ctx, p, db)
		if err != nil {
			return nil, errors.Join(err, db.stop())
		}
		// Its processor time and memory count.
		r.pids = append(r.pids, db.pid)
		stop := r.stop
		r.stop = func() error { return errors.Join(stop(), db.stop()) }
		return r, nil
	},
}

// ejabberdConfig is Debian's, without what does not concern messages between two users, without the limit of 3,000 bytes a
// second for each, and with plain TCP and plain passwords, which makes signing in as cheap as it can be.
const ejabberdConfig = `loglevel: warning
hosts: [%q]
listen:
  -
    port: %d
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    shaper: none
    access: c2s
auth_method: %s
auth_password_format: plain
allow_contrib_modules: false
access_rules:
  c2s:
    allow: all
modules:
  mod_caps: {}
  mod_carboncopy: {}
  mod_disco: {}
  mod_mam:
    db_type: %s
    assume_mam_usage: true
    default: always
  mod_offline: {}
  mod_ping: {}
  mod_roster:
    versioning: true
  mod_stream_mgmt:
    resend_on_timeout: if_offline
%s`

func startEjabberd(ctx context.Context, p *place, db *database) (*running, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(p.dir, "ejabberd")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	auth, archive, more := "internal", "mnesia", ""
	// What ejabberdctl would do for one user, without starting Erlang for each.
	addUsers := fmt.Sprintf(`[ok = ejabberd_auth:try_register(iolist_to_binary(["u", integer_to_list(I)]), <<%q>>, iolist_to_binary(["secret-", integer_to_list(I)])) || I <- lists:seq(0, %d)], `,
		domain, p.users-1)
	if db != nil {
		auth, archive, addUsers = "sql", "sql", ""
		more = fmt.Sprintf("default_db: sql\nsql_type: pgsql\nsql_server: 127.0.0.1\nsql_port: %d\nsql_database: ejabberd\nsql_username: ejabberd\nsql_password: \"\"\n", db.port)
		if err := db.addEjabberdUsers(ctx, p.users); err != nil {
			return nil, err
		}
	}
	config, there := filepath.Join(dir, "ejabberd.yml"), filepath.Join(dir, "ready")
	if err := os.WriteFile(config, fmt.Appendf(nil, ejabberdConfig, domain, port, auth, archive, more), 0o600); err != nil {
		return nil, err
	}
	beams, err := filepath.Glob(ejabberdBeams)
	if err != nil || len(beams) == 0 {
		return nil, fmt.Errorf("bench: no %s", ejabberdBeams)
	}
	env := []string{
		"ERL_LIBS=" + filepath.Dir(filepath.Dir(filepath.Dir(beams[0]))), "ERL_MAX_PORTS=32000", "ERL_MAX_ETS_TABLES=1400", "HOME=" + dir,
		"EJABBERD_CONFIG_PATH=" + config, "EJABBERD_LOG_PATH=" + filepath.Join(dir, "ejabberd.log"), "ERL_CRASH_DUMP=" + filepath.Join(dir, "crash"),
		"CONTRIB_MODULES_PATH=" + filepath.Join(dir, "modules"), "CONTRIB_MODULES_CONF_DIR=" + filepath.Join(dir, "modules"),
	}
	// The flags are those of Debian's ejabberdctl, without a name: no other node is to find this one.
	program, err := launch(dir, "ejabberd", env, nil, "erl", "+K", "true", "+P", "250000", "-noinput", "-mnesia", "dir", strconv.Quote(dir),
		"-s", "ejabberd", "-eval", addUsers+"ok = file:write_file("+strconv.Quote(there)+", <<>>).")
	if err != nil {
		return nil, err
	}
	r := &running{
		addrs: map[string]string{"xmpp": loopback(port)}, pids: []int{program.pid()},
		stop: func() error { return program.stop(syscall.SIGTERM) },
	}
	return r, ready(ctx, program, r, 60*time.Second, func() error {
		if _, err := os.Stat(there); err != nil {
			return err
		}
		return answers(loopback(port), xmppHello, "<stream:features")
	})
}

// xmppHello opens a stream, which every XMPP server answers.
const xmppHello = "<?xml version='1.0'?><stream:stream to='" + domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
