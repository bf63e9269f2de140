package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
	root "github.com/parley-im/parley/server"
)

// startLimit is how long a start may take, recovery included.
const startLimit = 60 * time.Second

// server is the program under test, in one process after another on the same folder and ports.
type server struct {
	program string // the built binary
	dir     string // configuration and log
	data    string
	addrs   map[string]string // of the listeners, by kind of link
	metrics string
	env     []string // for the next process only
	always  []string // environment of each process
	api     *parley.Client

	lives atomic.Int64 // processes so far
	since atomic.Int64 // when the last one was ready, in nanoseconds since 1970
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is gone
	err   error         // what it ended with, once ended is closed
}

// compile makes the binary with build tags. clock gives it one that we can move.
func compile(ctx context.Context, dir string, tags []string, clock bool) (string, error) {
	program := filepath.Join(dir, strings.Join(append([]string{"parley"}, tags...), "-"))
	args := []string{"build", "-tags", strings.Join(tags, ",")}
	if clock {
		program += "-clock"
		overlay, err := clockOverlay(ctx, dir)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", program, "github.com/parley-im/parley/cmd/parley")...) //nolint:gosec // our own arguments
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("crash: building the server: %w\n%s", err, out)
	}
	return program, nil
}

// newServer writes the configuration. Data is made if it is not there; url is a PostgreSQL address or empty.
func newServer(program, dir, data, url string) (*server, error) {
	s := &server{program: program, dir: dir, data: data, addrs: map[string]string{}}
	for _, kind := range kinds {
		network := "tcp"
		if kind == "udp" {
			network = kind
		}
		addr, err := freeAddr(network)
		if err != nil {
			return nil, err
		}
		s.addrs[kind] = addr
	}
	var err error
	if s.metrics, err = freeAddr("tcp"); err != nil {
		return nil, err
	}
	// Devices that fall off and come back from another port leave registrations behind, more than a user may have.
	text := fmt.Sprintf(`data = %q
domains = [%q]
log = "info"
[sip]
udp = [%q]
tcp = [%q]
tls = [%q]
[http]
listen = %q
[metrics]
listen = %q
[store]
url = %q
[message]
rate = 0
[limits]
unproven_rate = 100000
[register]
bindings = 1000
`, data, domain, s.addrs["udp"], s.addrs["tcp"], s.addrs["tls"], s.addrs["wss"], s.metrics, url)
	if err := os.WriteFile(filepath.Join(dir, "parley.toml"), []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	s.api = parley.Dial("unix:" + root.Socket(data))
	return s, nil
}

var nextPort atomic.Int64

// freeAddr is a loopback port below those that the system hands out, so that nobody gets it while the server is down.
func freeAddr(network string) (string, error) {
	for range 1000 {
		addr := "127.0.0.1:" + strconv.Itoa(10_000+(os.Getpid()*61+int(nextPort.Add(1)))%20_000)
		if network == "udp" {
			if c, err := net.ListenPacket(network, addr); err == nil {
				return addr, c.Close()
			}
		} else if l, err := net.Listen(network, addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("crash: no free port on 127.0.0.1")
}

// start runs the server, with other words in front of its command line, and waits until it answers.
func (s *server) start(ctx context.Context, before ...string) error {
	args := append(before, s.program, "serve", "-c", filepath.Join(s.dir, "parley.toml")) //nolint:gocritic // a new list
	log, err := os.OpenFile(filepath.Join(s.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	defer log.Close()
	s.lives.Add(1)
	fmt.Fprintf(log, "--- life %d\n", s.lives.Load())
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec // our own arguments
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(append(os.Environ(), s.always...), s.env...)
	s.env = nil
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it does not outlive us
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("crash: starting the server: %w", err)
	}
	s.cmd, s.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		s.err = cmd.Wait()
		close(ended)
	}(s.ended)
	return s.waitReady(ctx)
}

func (s *server) waitReady(ctx context.Context) error {
	limit := time.Now().Add(startLimit)
	for !s.ready() {
		select {
		case <-s.ended:
			return fmt.Errorf("crash: the server does not start: %w\n%s", s.err, s.tail())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(limit) {
			return fmt.Errorf("crash: the server does not get ready within %v\n%s", startLimit, s.tail())
		}
	}
	s.since.Store(time.Now().UnixNano())
	return nil
}

var door = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}

// ready says whether the server can record.
func (s *server) ready() bool {
	resp, err := door.Get("http://" + s.metrics + "/ready")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // only the status counts
	return resp.StatusCode == http.StatusOK
}

// text is the server's log, of all lives.
func (s *server) text() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "server.log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// tail is the end of it.
func (s *server) tail() string {
	lines := strings.Split(strings.TrimSpace(s.text()), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// kill ends the process at once, and waits until it is gone.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.ended
}

// stop ends the process as Ctrl-C does.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(os.Interrupt) // it may have ended by itself
	select {
	case <-s.ended:
		return s.err
	case <-time.After(20 * time.Second):
		s.kill()
		return errors.New("crash: the server did not stop within 20 s")
	}
}

// running is false when the process has ended by itself.
func (s *server) running() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

func (s *server) addUsers(ctx context.Context, names []string) error {
	list := make([]*v1.NewUser, 0, len(names))
	for _, n := range names {
		list = append(list, &v1.NewUser{Address: aor(n), Password: password(n)})
	}
	if _, err := s.api.Users.AddUsers(ctx, connect.NewRequest(&v1.AddUsersRequest{Users: list})); err != nil {
		return fmt.Errorf("crash: adding users: %w", err)
	}
	return nil
}

// archive asks for all messages and outcomes after a place in the log.
func (s *server) archive(ctx context.Context, after int64) ([]record, error) {
	var all []record
	req := &v1.SearchRequest{Kinds: []string{"message", "delivery"}, OldestFirst: true, Limit: 1000, After: after}
	for {
		resp, err := s.api.Archive.Search(ctx, connect.NewRequest(req))
		if err != nil {
			return nil, fmt.Errorf("crash: searching the archive: %w", err)
		}
		for _, r := range resp.Msg.Records {
			req.After = r.Seq
			x := record{Seq: r.Seq, ID: r.Id, Kind: r.Kind, From: r.From, To: r.To, Device: r.Device, Ref: r.Ref, CallID: r.Meta["call_id"], Outcome: r.Meta["outcome"]}
			if r.Kind == "message" {
				x.Key, _, _ = strings.Cut(string(r.Body), " ")
			}
			all = append(all, x)
		}
		if len(resp.Msg.Records) < int(req.Limit) {
			return all, nil
		}
	}
}
