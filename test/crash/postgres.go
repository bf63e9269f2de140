package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // to make a schema of our own
)

// schema makes an empty schema on the server of PARLEY_TEST_POSTGRES and returns an address that leads to it.
func schema(ctx context.Context) (string, error) {
	address := os.Getenv("PARLEY_TEST_POSTGRES")
	if address == "" {
		return "", errors.New("crash: set PARLEY_TEST_POSTGRES, or run: test/postgres/run go run ./test/crash -db postgres")
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("crash: PARLEY_TEST_POSTGRES: %w", err)
	}
	name := "crash" + unique()
	if err := execute(ctx, address, "CREATE SCHEMA "+name); err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// dropSchema removes what schema made.
func dropSchema(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return execute(ctx, address, "DROP SCHEMA "+u.Query().Get("search_path")+" CASCADE")
}

func execute(ctx context.Context, address, text string) error {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, text); err != nil {
		return fmt.Errorf("crash: PostgreSQL: %w", err)
	}
	return nil
}

// postgresRound ends PostgreSQL without a shutdown, as a crash does, and starts it again after a while. Only a server of
// ours may be treated so: it is the one that test/postgres/run started in a temporary folder.
func postgresRound(ctx context.Context, x *run, i int) (string, error) {
	pause(ctx, x.between(200*time.Millisecond, time.Second))
	p, err := findPostgres(ctx, x.url)
	if err != nil {
		return "", err
	}
	d, how := 60*time.Second, syscall.SIGQUIT
	if i%2 == 1 {
		d, how = x.between(2*time.Second, 6*time.Second), syscall.SIGKILL
	}
	note, err := x.count(func() error {
		if err := p.crash(how); err != nil {
			return err
		}
		pause(ctx, d)
		return p.start(x.dir)
	})
	if err != nil {
		return note, err
	}
	note = fmt.Sprintf("%v, away for %v: %s", how, d.Round(time.Millisecond), note)
	for limit := time.Now().Add(30 * time.Second); execute(ctx, x.url, "SELECT 1") != nil; {
		if time.Now().After(limit) {
			return note, errors.New("crash: PostgreSQL does not come back")
		}
		pause(ctx, 50*time.Millisecond)
	}
	if !x.server.running() { // it may give up, if it says so
		x.self++
		note += ", the server ended by itself: " + x.lastWords()
		if _, err := x.again(ctx); err != nil {
			return note, err
		}
	}
	return note, x.alive()
}

// postmaster is a running PostgreSQL.
type postmaster struct {
	pid  int
	args []string
	cred *syscall.Credential
	dir  string
}

func findPostgres(ctx context.Context, address string) (*postmaster, error) {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	defer db.Close()
	p := &postmaster{}
	if err := db.QueryRowContext(ctx, "SHOW data_directory").Scan(&p.dir); err != nil {
		return nil, fmt.Errorf("crash: PostgreSQL: %w", err)
	}
	if !strings.Contains(p.dir, "/parley-postgres.") {
		return nil, fmt.Errorf("crash: PostgreSQL in %s is not of test/postgres/run, so it is not killed", p.dir)
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "postmaster.pid"))
	if err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if p.pid, err = strconv.Atoi(line); err != nil {
		return nil, fmt.Errorf("crash: postmaster.pid: %w", err)
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
	if err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	for a := range bytes.SplitSeq(bytes.TrimRight(command, "\x00"), []byte{0}) {
		p.args = append(p.args, string(a))
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d", p.pid))
	if err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Getuid() {
		p.cred = &syscall.Credential{Uid: st.Uid, Gid: st.Gid}
	}
	return p, nil
}

// crash ends PostgreSQL: by SIGQUIT, its immediate shutdown, or by SIGKILL, after which its processes end when they notice. Its
// next start recovers from the WAL.
func (p *postmaster) crash(how syscall.Signal) error {
	if err := syscall.Kill(p.pid, how); err != nil {
		return fmt.Errorf("crash: stopping PostgreSQL: %w", err)
	}
	for range 500 {
		// A process that nobody waited for yet is a zombie: its pid file is gone, or its state says so.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("crash: PostgreSQL does not stop")
}

// start runs it again as it was; it ends with this program.
func (p *postmaster) start(dir string) error {
	log, err := os.OpenFile(filepath.Join(dir, "postgres.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	defer log.Close()
	program, err := exec.LookPath(p.args[0])
	if err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	cmd := exec.Command(program, p.args[1:]...) //nolint:gosec // its own command line
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	// test/postgres/run knows only the one it started, so this one ends with us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred, Pdeathsig: syscall.SIGQUIT}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("crash: starting PostgreSQL: %w", err)
	}
	go func() { _ = cmd.Wait() }() // so that it is no zombie
	return nil
}
