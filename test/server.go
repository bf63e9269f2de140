package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/config"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/server"
	"github.com/parley-im/parley/transport"
)

// Domain is the first domain of every server of this package.
const Domain = "example.com"

// Patience is how long anything that must happen is waited for. It is long because it only matters to tests that fail.
const Patience = time.Minute

// Server is a running server with alice, bob and carol as users; Password gives their passwords.
type Server struct {
	Config *config.Config
	API    *parley.Client

	// Addresses by transport, as "127.0.0.1:1234"; those of WebSocket are the HTTP door's. Metrics is that door.
	Addrs   map[transport.Kind]string
	Metrics string

	t    testing.TB
	log  *lockedBuffer
	stop func() error // ends the server gently and returns what it returned; only the first call counts
	kill func()       // ends a process at once; nil for a server in this process

	process *os.Process // of StartProcess
}

// Password is the password of a user, whose domain may be left out.
func Password(user string) string { return "secret of " + AOR(user) }

// Edit changes the configuration of a server before it starts.
type Edit func(*config.Config)

// Start runs a server in this process until the test ends. It listens on loopback, on free ports, over UDP, TCP, TLS and
// WebSocket.
func Start(t testing.TB, edits ...Edit) *Server {
	t.Helper()
	s := &Server{Config: Config(t, edits...), t: t}
	s.start()
	s.AddUsers("alice", "bob", "carol")
	return s
}

// StartProcess is Start for a server in a process of its own, which can be killed and whose memory is its own.
// TestMain must call ServeIfAsked.
func StartProcess(t testing.TB, edits ...Edit) *Server {
	t.Helper()
	s := &Server{Config: Config(t, edits...), t: t, kill: func() {}}
	s.startProcess()
	s.AddUsers("alice", "bob", "carol")
	return s
}

// Config is the configuration that Start uses.
func Config(t testing.TB, edits ...Edit) *config.Config {
	t.Helper()
	c := config.Default()
	c.Data = filepath.Join(folder(t), "data")
	c.Domains = []string{Domain}
	c.SIP.UDP, c.SIP.TCP, c.SIP.TLS = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}
	c.HTTP.Listen, c.HTTP.TLS = "127.0.0.1:0", "off"
	c.Metrics.Listen = "127.0.0.1:0"
	c.Log = "debug"
	c.Message.Rate = 0 // tests are faster than people
	for _, edit := range edits {
		edit(c)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return c
}

// folder is a temporary folder in memory where the system has such a thing: a busy disk can stall for longer than the
// 800 ms after which the server must refuse a message, and these tests are not about the disk. TMPDIR overrules it.
func folder(t testing.TB) string {
	t.Helper()
	var room unix.Statfs_t
	if os.Getenv("TMPDIR") == "" && unix.Statfs("/dev/shm", &room) == nil && room.Bavail*uint64(room.Bsize) > 1<<30 {
		if dir, err := os.MkdirTemp("/dev/shm", "parley-test-"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) }) // in memory: gone with the machine at the latest
			return dir
		}
	}
	return t.TempDir()
}

// start runs the server in this process.
func (s *Server) start() {
	s.t.Helper()
	s.log = newLog(s.t)
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv, err := server.New(s.t.Context(), s.Config, log)
	for try := 0; err != nil && try < 5 && strings.Contains(err.Error(), `:0"`); try++ {
		// Several sockets on one free port are opened one after the other, and another test was faster.
		srv, err = server.New(s.t.Context(), s.Config, log)
	}
	if err != nil {
		s.t.Fatalf("server.New: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	s.t.Cleanup(func() {
		if err := s.stop(); err != nil {
			s.t.Errorf("Serve: %v", err)
		}
	})
	select {
	case <-srv.Ready():
	case err := <-served:
		s.stop = func() error { return err }
		s.t.Fatalf("Serve ended before it was ready: %v", err)
	}
	s.reached(addressesOf(srv))
}

// addresses is what a process tells of itself when it is ready.
type addresses struct {
	Addrs   map[transport.Kind]string
	Metrics string
}

func addressesOf(srv *server.Server) addresses {
	a := addresses{Addrs: map[transport.Kind]string{}, Metrics: srv.Metrics()}
	for _, k := range []transport.Kind{transport.UDP, transport.TCP, transport.TLS} {
		if list := srv.Addrs(k); len(list) > 0 {
			a.Addrs[k] = list[0]
		}
	}
	if h := srv.HTTP(); h != "" {
		a.Addrs[transport.WS], a.Addrs[transport.WSS] = h, h
	}
	return a
}

func (s *Server) reached(a addresses) {
	s.Addrs, s.Metrics = a.Addrs, a.Metrics
	if s.API == nil {
		s.API = parley.Dial("unix:" + server.Socket(s.Config.Data))
	}
}

// envServe names the configuration that a process of StartProcess serves.
const envServe = "PARLEY_TEST_SERVE"

// ServeIfAsked turns this process into a server when StartProcess started it, and does not return then.
func ServeIfAsked() {
	file := os.Getenv(envServe)
	if file == "" {
		return
	}
	if err := serveFile(file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serveFile(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var cfg config.Config
	if err := json.Unmarshal(text, &cfg); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // open for as long as the test lives
		os.Exit(1)
	}()
	srv, err := server.New(ctx, &cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		return err
	}
	go func() {
		<-srv.Ready()
		_ = json.NewEncoder(os.Stdout).Encode(addressesOf(srv)) // a parent that is gone needs nothing
	}()
	return srv.Serve(ctx)
}

// startProcess runs this test binary again as a server.
func (s *Server) startProcess() {
	s.t.Helper()
	s.log = newLog(s.t)
	file := filepath.Join(s.t.TempDir(), "config.json")
	text, err := json.Marshal(s.Config)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0]) //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), envServe+"="+file)
	cmd.Stderr = s.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // Wait closes it
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.process = cmd.Process
	// Nothing reads the pipe after the first line, and Wait closes it.
	ended := sync.OnceValue(cmd.Wait)
	s.kill = func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = ended()            // killed
	}
	s.stop = sync.OnceValue(func() error {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself
		return ended()
	})
	kill := s.kill
	s.t.Cleanup(kill)
	var a addresses
	if err := json.NewDecoder(out).Decode(&a); err != nil {
		kill()
		s.t.Fatalf("the server process did not get ready: %v", err)
	}
	s.reached(a)
}

// Stop ends the server as Ctrl-C does.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.stop(); err != nil {
		s.t.Fatalf("Serve: %v", err)
	}
}

// Kill ends the server's process as a power cut would.
func (s *Server) Kill() { s.kill() }

// Restart starts the server again on its folder and on the ports it had.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Again()
}

// Again starts a server that was stopped or killed on its folder and on the ports it had.
func (s *Server) Again() {
	s.t.Helper()
	if s.kill != nil {
		s.startProcess()
		return
	}
	s.start()
}

// SamePorts makes restarts use the same ports: free ones below those that the system hands out, so that nobody else gets
// one of them meanwhile.
func SamePorts(t testing.TB) Edit {
	return func(c *config.Config) {
		c.SIP.UDP = []string{freeAddr(t, "udp")}
		c.SIP.TCP = []string{freeAddr(t, "tcp")}
		c.SIP.TLS = []string{freeAddr(t, "tcp")}
		if c.HTTP.Listen != "" {
			c.HTTP.Listen = freeAddr(t, "tcp")
		}
	}
}

// AddUsers adds users of the domain, or with "@" of another one.
func (s *Server) AddUsers(names ...string) {
	s.t.Helper()
	var list []*v1.NewUser
	for _, n := range names {
		list = append(list, &v1.NewUser{Address: AOR(n), Password: Password(n), Name: strings.ToUpper(n[:1]) + n[1:]})
	}
	if _, err := s.API.Users.AddUsers(s.t.Context(), connect.NewRequest(&v1.AddUsersRequest{Users: list})); err != nil {
		s.t.Fatalf("adding users: %v", err)
	}
}

// AOR is the address of a user: the name with the domain, unless it has one.
func AOR(user string) string {
	if strings.Contains(user, "@") {
		return user
	}
	return user + "@" + Domain
}

// Status asks the server how it is.
func (s *Server) Status() *v1.StatusResponse {
	s.t.Helper()
	resp, err := s.API.Status.Status(s.t.Context(), connect.NewRequest(&v1.StatusRequest{}))
	if err != nil {
		s.t.Fatalf("status: %v", err)
	}
	return resp.Msg
}

// Records returns the log's records of some kinds, all if none is named, in order.
func (s *Server) Records(kinds ...string) []*v1.Record {
	s.t.Helper()
	return s.RecordsOf("", kinds...)
}

// RecordsOf returns those that a person sent or received.
func (s *Server) RecordsOf(person string, kinds ...string) []*v1.Record {
	s.t.Helper()
	var all []*v1.Record
	req := &v1.SearchRequest{Person: person, Kinds: kinds, OldestFirst: true, Limit: 1000}
	for {
		resp, err := s.API.Archive.Search(s.t.Context(), connect.NewRequest(req))
		if err != nil {
			s.t.Fatalf("searching the archive: %v", err)
		}
		for _, r := range resp.Msg.Records {
			if len(kinds) > 0 || r.Kind != "search" && r.Kind != "admin" {
				all = append(all, r)
			}
			req.After = r.Seq
		}
		if len(resp.Msg.Records) < int(req.Limit) {
			return all
		}
	}
}

// Texts are the bodies of the messages from one user to another, in the log's order.
func (s *Server) Texts(from, to string) []string {
	s.t.Helper()
	var list []string
	for _, r := range s.RecordsOf(AOR(from), "message") {
		if r.From == AOR(from) && r.To == AOR(to) {
			list = append(list, string(r.Body))
		}
	}
	return list
}

// Eventually waits until done is true. It is for what no message announces.
func (s *Server) Eventually(what string, done func() bool) {
	s.t.Helper()
	Eventually(s.t, what, done)
}

// Eventually waits until done is true.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %v in vain: %s", Patience, what)
		}
	}
}

// Get reads a page of the metrics door.
func (s *Server) Get(path string) (status int, body string) {
	s.t.Helper()
	resp, err := client.Get("http://" + s.Metrics + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// client keeps no connection, so that it leaves no goroutine.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: Patience}

// Log is what the server has logged since it started.
func (s *Server) Log() string { return s.log.String() }

// lockedBuffer keeps a log and shows its end when the test fails.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

const shownLog = 6 << 10

func newLog(t testing.TB) *lockedBuffer {
	b := &lockedBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			text := b.String()
			t.Logf("the server's log ends with:\n%s", text[max(0, len(text)-shownLog):])
		}
	})
	return b
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// ErrTimeout is returned by waits that were in vain.
var ErrTimeout = errors.New("test: nothing came in time")

// pid is the process of a server of StartProcess.
func (s *Server) pid() int { return s.process.Pid }
