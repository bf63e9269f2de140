package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	postgresPrograms = "/usr/lib/postgresql/*/bin/"
	ejabberdSchema   = "/usr/share/ejabberd/sql/pg.sql"
)

// database is a PostgreSQL with its defaults: it syncs every commit.
type database struct {
	psql string
	port int
	pid  int
	stop func() error
}

func startPostgres(ctx context.Context, p *place) (*database, error) {
	found, err := filepath.Glob(postgresPrograms + "initdb")
	if err != nil || len(found) == 0 {
		return nil, errors.New("bench: no PostgreSQL")
	}
	bin := filepath.Dir(slices.Max(found))
	dir := filepath.Join(p.dir, "postgres")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	as, err := notRoot(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--no-sync", "-D", data, "-U", "ejabberd", "--auth=trust", "-E", "UTF8", "--locale=C") //nolint:gosec // PostgreSQL's
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bench: initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	program, err := launch(p.dir, "postgres", nil, as, filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
	if err != nil {
		return nil, err
	}
	db := &database{psql: filepath.Join(bin, "psql"), port: port, pid: program.pid(), stop: func() error { return program.stop(syscall.SIGINT) }}
	err = program.until(ctx, 30*time.Second, func() error { return db.do(ctx, "postgres", "-c", "CREATE DATABASE ejabberd") })
	if err == nil {
		err = db.do(ctx, "ejabberd", "-f", ejabberdSchema)
	}
	if err != nil {
		return nil, errors.Join(err, db.stop())
	}
	return db, nil
}

// notRoot gives a folder to the user that Debian's package brings, if this is root: PostgreSQL refuses to run as root.
func notRoot(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("bench: PostgreSQL does not run as root: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid) //nolint:gosec // the system's numbers
}

// do runs psql.
func (d *database) do(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, d.psql, append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(d.port), "-U", "ejabberd", "-d", name, //nolint:gosec // PostgreSQL's
		"-X", "-q", "-v", "ON_ERROR_STOP=1"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("bench: psql %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (d *database) addEjabberdUsers(ctx context.Context, n int) error {
	return d.do(ctx, "ejabberd", "-c", fmt.Sprintf(
		"INSERT INTO users (username, password) SELECT 'u' || i, 'secret-' || i FROM generate_series(0, %d) AS i; ANALYZE users", n-1))
}
