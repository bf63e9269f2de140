package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/server"
	"github.com/parley-im/parley/test/load/gauge"
)

// A target is the server under load.
type target struct {
	addrs   map[string]string
	pids    []int
	metrics string // host:port, "" if it has none
	pprof   string // likewise
	ready   time.Duration
	stop    func() error
}

// start makes the server of a row: the one that the options name, or a private Parley with users.
func start(o *options, transport string, users int) (*target, error) {
	if len(o.servers) > 0 {
		return &target{addrs: o.servers, pids: o.pids, metrics: o.metrics, stop: func() error { return nil }}, nil
	}
	dir, err := os.MkdirTemp(o.dir, "parley-load-")
	if err != nil {
		return nil, err
	}
	t, err := startPrivate(o, transport, dir, users)
	if err != nil {
		_ = os.RemoveAll(dir) // what matters is why it did not start
		return nil, err
	}
	stop := t.stop
	t.stop = func() error { return errors.Join(stop(), os.RemoveAll(dir)) }
	return t, nil
}

// errTaken: somebody took one of the ports that were free a moment ago.
var errTaken = errors.New("load: a port is taken")

func startPrivate(o *options, transport, dir string, users int) (*target, error) {
	file := filepath.Join(dir, "parley.toml")
	for try := 1; ; try++ {
		t, err := newPrivate(o, transport, dir, file)
		if err == nil && try == 1 {
			err = addUsers(o, dir, file, users)
		}
		if err != nil {
			return nil, err
		}
		if err = t.launch(o, dir, file); try == 3 || !errors.Is(err, errTaken) {
			return t, err
		}
	}
}

// newPrivate chooses the ports of a private server and writes its configuration.
func newPrivate(o *options, transport, dir, file string) (*target, error) {
	t := &target{addrs: map[string]string{}}
	for _, k := range transports {
		addr, err := freePort(k)
		if err != nil {
			return nil, err
		}
		t.addrs[k] = addr
	}
	t.addrs[overHTTP], t.addrs[overHTTPS] = "http://"+t.addrs["wss"], "https://"+t.addrs["wss"]
	var err error
	if t.metrics, err = freePort("tcp"); err != nil {
		return nil, err
	}
	return t, os.WriteFile(file, []byte(t.config(o, transport, dir)), 0o600)
}

func addUsers(o *options, dir, file string, users int) error {
	rows := filepath.Join(dir, "users.csv")
	var b strings.Builder
	for i := range users {
		fmt.Fprintf(&b, "%s%d@%s,,%s%d\n", o.user, i, o.domain, o.password, i)
	}
	if err := os.WriteFile(rows, []byte(b.String()), 0o600); err != nil {
		return err
	}
	add := exec.Command(o.binary, "user", "add", "--csv", rows, "-c", file) //nolint:gosec // the parley that the user named
	if out, err := add.CombinedOutput(); err != nil {
		return fmt.Errorf("load: adding users: %w: %s", err, out)
	}
	return nil
}

// config is the private server's configuration: everything on loopback, and the limits of one peer and of one user out of
// the way: all users come from one address, and a few of them say what thousands would.
func (t *target) config(o *options, transport, dir string) string {
	return fmt.Sprintf(`data = %q
domains = [%q]
log = "warn"
[sip]
udp = [%q]
tcp = [%q]
tls = [%q]
[http]
listen = %q
%s[metrics]
listen = %q
[store]
url = %q
[message]
rate = 0
[limits]
connections_per_address = 20000
unproven_rate = 1000000
%s
`, filepath.Join(dir, "data"), o.domain, t.addrs["udp"], t.addrs["tcp"], t.addrs["tls"], t.addrs["wss"], httpConfig(transport), t.metrics, o.store, o.limits)
}

// freePort is an address that was free a moment ago, below the ports that the system hands out: none of the clients gets
// the same number for another transport, whose Contact the server would rightly take for its own.
func freePort(kind string) (string, error) {
	const low, high = 15000, 32000
	for range 1000 {
		addr := "127.0.0.1:" + strconv.Itoa(low+rand.IntN(high-low))
		var c io.Closer
		var err error
		if kind == "udp" {
			c, err = net.ListenPacket("udp", addr)
		} else {
			c, err = net.Listen("tcp", addr)
		}
		if err == nil {
			return addr, c.Close()
		}
	}
	return "", errors.New("load: no free port")
}

// launch starts the process and waits until it answers.
func (t *target) launch(o *options, dir, file string) error {
	cmd := exec.Command(o.binary, "serve", "-c", file) //nolint:gosec // the parley that the user named
	if o.profile != "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		if t.pprof, err = freePort("tcp"); err != nil {
			return err
		}
		cmd = exec.Command(self) //nolint:gosec // this very program
		cmd.Env = append(os.Environ(), envServe+"="+file, envPprof+"="+t.pprof)
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return err
	}
	cmd.Stderr = log
	cmd.Stdout = log
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.pids = []int{cmd.Process.Pid}
	t.stop = func() error {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself
		var err error
		select {
		case err = <-ended:
		case <-time.After(15 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
			err = errors.New("load: the server did not stop within 15 s")
		}
		if err != nil {
			err = fmt.Errorf("load: the server ended: %w", err)
		}
		return errors.Join(err, log.Close(), showLog(log.Name()))
	}
	for {
		resp, err := gauge.HTTP.Get("http://" + t.metrics + "/ready")
		if err == nil {
			_ = resp.Body.Close() // only the status matters
			if resp.StatusCode == http.StatusOK {
				t.ready = time.Since(began)
				return nil
			}
		}
		select {
		case err := <-ended:
			if text, _ := os.ReadFile(log.Name()); strings.Contains(string(text), "another program uses this port") {
				return fmt.Errorf("%w: %s", errTaken, text)
			}
			return errors.Join(fmt.Errorf("load: the server did not start: %w", err), showLog(log.Name()))
		case <-time.After(5 * time.Millisecond):
		}
		if time.Since(began) > 30*time.Second {
			return errors.Join(errors.New("load: the server was not ready within 30 s"), t.stop())
		}
	}
}

// showLog prints the server's warnings, the last of them.
func showLog(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if len(text) > 0 {
		fmt.Fprintf(os.Stderr, "the server's log (%d lines) ends with:\n%s", strings.Count(string(text), "\n"), text[max(0, len(text)-4000):])
	}
	return nil
}

// build makes a parley to start, in a folder of its own.
func build(dir string) (string, error) {
	file := filepath.Join(dir, "parley")
	cmd := exec.Command("go", "build", "-trimpath", "-o", file, "github.com/parley-im/parley/cmd/parley") //nolint:gosec // fixed
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("load: building parley: %w: %s", err, out)
	}
	return file, nil
}

// envServe names the configuration that a child of this tool serves, envPprof where it shows its profiles. The server
// that people run has no such door.
const (
	envServe = "PARLEY_LOAD_SERVE"
	envPprof = "PARLEY_LOAD_PPROF"
)

// serveIfAsked turns this process into a server with profiles.
func serveIfAsked() (asked bool, err error) {
	file := os.Getenv(envServe)
	if file == "" {
		return false, nil
	}
	cfg, err := config.Load(file)
	if err != nil {
		return true, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	l, err := net.Listen("tcp", os.Getenv(envPprof))
	if err != nil {
		return true, err
	}
	defer l.Close()
	go func() { _ = http.Serve(l, mux) }() //nolint:gosec // loopback, for this tool; ends with the process
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := server.New(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return true, err
	}
	return true, s.Serve(ctx)
}

// fetchProfile writes a profile of the target into a file of the profile folder.
func (t *target) fetchProfile(o *options, what, name string) error {
	resp, err := gauge.HTTP.Get("http://" + t.pprof + "/debug/pprof/" + what)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(filepath.Join(o.profile, name))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}

func writeJSON(file string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if file == "-" {
		_, err = os.Stdout.Write(text)
		return err
	}
	return os.WriteFile(file, text, 0o644) //nolint:gosec // figures for everyone
}
