package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/config"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/server"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// binary builds cmd/parley once, into a folder that TestMain removes.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "parley-binary-")
	if err != nil {
		return "", err
	}
	built.Store(&dir)
	path := filepath.Join(dir, "parley")
	if out, err := exec.Command("go", "build", "-o", path, "../cmd/parley").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

var built atomic.Pointer[string] // folder of binary

func removeBinary() {
	if dir := built.Load(); dir != nil {
		_ = os.RemoveAll(*dir) // a temporary folder
	}
}

// command prepares a run of the command line.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = t.TempDir()
	return cmd
}

// run runs a command that must succeed and returns its standard output.
func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := command(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("parley %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out)
}

// fails runs a command that must fail with all of some words on standard error, and without a Go program's noise.
func fails(t *testing.T, words []string, args ...string) {
	t.Helper()
	out, err := command(t, args...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() == 0 {
		t.Fatalf("parley %s: %v, want a failure\n%s", strings.Join(args, " "), err, out)
	}
	says(t, string(out), words...)
}

func says(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
	if strings.Contains(text, "goroutine ") || strings.Contains(text, "panic:") {
		t.Errorf("a panic: %s", text)
	}
}

// file writes a configuration for a folder and returns its path.
func file(t *testing.T, data, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "parley.toml")
	text := fmt.Sprintf("data = %q\ndomains = [\"example.com\"]\n%s", data, more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// nowhere are listeners on free ports.
const nowhere = "[sip]\nudp = [\"127.0.0.1:0\"]\ntcp = [\"127.0.0.1:0\"]\ntls = []\n[http]\nlisten = \"\"\n[metrics]\nlisten = \"\"\n"

// refuses makes a server that must not start, and returns why it does not.
func refuses(t *testing.T, c *config.Config, words ...string) {
	t.Helper()
	s, err := server.New(t.Context(), c, slog.New(slog.DiscardHandler))
	if err == nil {
		s.Close()
		t.Fatalf("the server starts, want an error with %q", words)
	}
	says(t, err.Error(), words...)
}

// A second server on the same folder is refused, and the first one goes on.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	s := Start(t)
	other := Config(t, func(c *config.Config) { c.Data = s.Config.Data })
	_, err := server.New(t.Context(), other, slog.New(slog.DiscardHandler))
	if !errors.Is(err, server.ErrInUse) {
		t.Errorf("%v, want ErrInUse", err)
	}
	says(t, fmt.Sprint(err), s.Config.Data, strconv.Itoa(os.Getpid()))
	fails(t, []string{s.Config.Data, "in use"}, "serve", "-c", file(t, s.Config.Data, nowhere))
	exchange(t, s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP), "still here")
}

// A port that somebody has is named with its key, and nothing is left open.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	tcp, udp := l.Addr().String(), u.LocalAddr().String()
	for key, edit := range map[string]Edit{
		"sip.udp":        func(c *config.Config) { c.SIP.UDP = []string{udp} },
		"sip.tcp":        func(c *config.Config) { c.SIP.TCP = []string{tcp} },
		"sip.tls":        func(c *config.Config) { c.SIP.TLS = []string{tcp} },
		"http.listen":    func(c *config.Config) { c.HTTP.Listen = tcp },
		"metrics.listen": func(c *config.Config) { c.Metrics.Listen = tcp },
	} {
		t.Run(key, func(t *testing.T) {
			address := tcp
			if key == "sip.udp" {
				address = udp
			}
			c := Config(t, edit)
			refuses(t, c, address, "another")
			// The folder is free again.
			edit(c)
			c.SIP.UDP, c.SIP.TCP, c.SIP.TLS = []string{"127.0.0.1:0"}, nil, nil
			c.HTTP.Listen, c.Metrics.Listen = "", ""
			s, err := server.New(t.Context(), c, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
		})
	}
}

// Mistakes in the file are told with line and key.
func TestBadConfig(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	fails(t, []string{"line 4", `"sip.udpp"`, `did you mean "sip.udp"`}, "config", "check", "-c", file(t, data, "[sip]\nudpp = []\n"))
	fails(t, []string{"line 4", `"sip.udpp"`}, "serve", "-c", file(t, data, "[sip]\nudpp = []\n"))
	fails(t, []string{"no-such-file.toml"}, "serve", "-c", "no-such-file.toml")
	fails(t, []string{"sip.tcp", `"localhost:5060"`}, "config", "check", "-c", file(t, data, "[sip]\ntcp = [\"localhost:5060\"]\n"))
	out := run(t, "config", "check", "-c", file(t, data, nowhere))
	says(t, out, "is right", data)
	says(t, run(t, "config", "describe"), "limits", "digest", "data")
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("checking made the folder: %v", err)
	}
}

// pair writes a certificate for a name, and its key, and returns the paths.
func pair(t *testing.T, name string, until time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// A certificate that does not fit is refused at the start, with words.
func TestCertificates(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(24 * time.Hour)
	otherCert, otherKey := pair(t, "other.invalid", later)
	cert, key := pair(t, "example.com", later)
	oldCert, oldKey := pair(t, "example.com", time.Now().Add(-time.Hour))
	for _, row := range []struct {
		cert, key string
		words     []string
	}{
		{otherCert, otherKey, []string{otherCert, "other.invalid", "example.com"}},
		{cert, otherKey, []string{cert, otherKey, "do not belong together"}},
		{oldCert, oldKey, []string{oldCert, "ended on", "renew"}},
		{"/nowhere/cert.pem", "", []string{"/nowhere/cert.pem"}},
		{cert, "/nowhere/key.pem", []string{"/nowhere/key.pem"}},
		{key, key, []string{key}},
	} {
		refuses(t, Config(t, func(c *config.Config) { c.SIP.Certificate, c.SIP.Key = row.cert, row.key }), row.words...)
		refuses(t, Config(t, func(c *config.Config) { c.HTTP.TLS, c.HTTP.Key = row.cert, row.key }), row.words...)
	}
	// The right one serves.
	s := Start(t, func(c *config.Config) { c.SIP.Certificate, c.SIP.Key = cert, key })
	if _, err := s.TryDial(transport.TLS); err == nil || !strings.Contains(err.Error(), "no such file") {
		// There is no CA of our own then; a handshake is enough.
		t.Errorf("the own CA was made although it is not needed: %v", err)
	}
}

// Ctrl-C: calls and connections are ended, and the process is gone in time with status 0.
func TestStop(t *testing.T) {
	t.Parallel()
	s := StartProcess(t)
	alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.WS)
	tls := s.SignedIn("carol", transport.TLS)
	newCall(t, alice, bob)
	d := alice.Request(sip.INVITE, "carol").Add(sip.HContact, alice.Contact)
	alice.Write(d.Bytes())
	tls.Reply(tls.Expect(sip.INVITE), 180) // rings
	alice.Write(alice.MessageRequest("bob", "unanswered").Bytes())
	bob.Expect(sip.MESSAGE)
	silent := s.deaf(t, "127.0.0.1")
	defer silent.Close()
	start := time.Now()
	s.Stop() // fails unless the status is 0
	took := time.Since(start)
	t.Logf("stopped in %v", took.Round(time.Millisecond))
	if took > Patience/2 { // a call that rings would go on for minutes
		t.Errorf("it took %v", took)
	}
	for _, u := range []*UA{alice, bob, tls} {
		u.waitClosed(t)
	}
	s.Again()
	var ends []string
	s.Eventually("both calls are closed in the log", func() bool {
		ends = nil
		for _, r := range s.Records("call.end") {
			ends = append(ends, r.Meta["outcome"])
		}
		return len(ends) == 2
	})
	if !slices.Contains(ends, "interrupted") {
		t.Errorf("the calls ended as %q", ends)
	}
	bob = s.SignedIn("bob", transport.TCP)
	bob.Hears("unanswered")
}

// A backup while people talk, and what is made of it.
func TestBackup(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, store Edit) {
		s := Start(t, store)
		alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
		for i := range 20 {
			exchange(t, alice, bob, fmt.Sprintf("number %d", i))
		}
		alice.Says("carol", "for later", 202)
		added, err := s.API.Users.AddDevicePassword(t.Context(), connect.NewRequest(&v1.AddDevicePasswordRequest{Address: AOR("carol"), Label: "desk"}))
		if err != nil {
			t.Fatal(err)
		}
		// They go on talking while it is made.
		stop, done := make(chan struct{}), make(chan error, 1)
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				d := alice.MessageRequest("bob", fmt.Sprintf("meanwhile %d", i))
				if err := alice.TryWrite(d.Bytes()); err != nil {
					done <- err
					return
				}
				m, err := bob.Find(Patience, func(m *sip.Message) bool { return m.Method() == sip.MESSAGE && m.IsRequest() })
				if err != nil {
					done <- err
					return
				}
				if err := bob.TryWrite(bob.Response(m, 200).Bytes()); err != nil {
					done <- err
					return
				}
			}
		}()
		stream, err := s.API.Status.Backup(t.Context(), connect.NewRequest(&v1.BackupRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		var tape bytes.Buffer
		for stream.Receive() {
			tape.Write(stream.Msg().Chunk)
		}
		if err := errors.Join(stream.Err(), stream.Close()); err != nil {
			t.Fatal(err)
		}
		close(stop)
		if err := <-done; err != nil {
			t.Errorf("while the backup was made: %v", err)
		}
		original := map[int64]string{}
		for _, r := range s.Records("message", "delivery", "admin") {
			original[r.Seq] = r.Hash
		}

		// Into an empty folder (and an empty schema), and not into a full one.
		edits := []Edit{}
		if s.Config.Store.URL != "" {
			url := postgres(t)
			edits = append(edits, func(c *config.Config) { c.Store.URL = url })
		}
		c := Config(t, edits...)
		if err := server.Restore(t.Context(), c, bytes.NewReader(tape.Bytes())); err != nil {
			t.Fatal(err)
		}
		if err := server.Restore(t.Context(), c, bytes.NewReader(tape.Bytes())); err == nil {
			t.Error("a backup was restored over what is there")
		}
		again := &Server{Config: c, t: t}
		again.start()
		n := 0
		for _, r := range again.Records("message", "delivery", "admin") {
			if original[r.Seq] == "" || original[r.Seq] != r.Hash {
				t.Errorf("record %d is another one: %v", r.Seq, r)
			}
			n++
		}
		if n < 61 { // 20 exchanges, their deliveries, and what came before
			t.Errorf("%d records", n)
		}
		for i := range 20 {
			if text := fmt.Sprintf("number %d", i); !slices.Contains(again.Texts("alice", "bob"), text) || !slices.Contains(again.Texts("bob", "alice"), text) {
				t.Errorf("%q is missing", text)
			}
		}
		again.SignedIn("bob", transport.TCP)
		carol := again.UA("carol", transport.TLS) // with the CA of the backup
		carol.Password = added.Msg.Password
		carol.Register()
		carol.Hears("for later")
		was, err := os.ReadFile(filepath.Join(s.Config.Data, "tls", "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(filepath.Join(c.Data, "tls", "ca.pem")); err != nil || !bytes.Equal(was, now) {
			t.Errorf("the CA is another one: %v", err)
		}
	})
}

// The command line does the same to a running server and to a folder on which none runs.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := StartProcess(t)
	conf := file(t, s.Config.Data, nowhere)
	alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
	exchange(t, alice, bob, "quarterly figures attached")
	exchange(t, alice, bob, "see you at noon")

	// Search by word, person and time, as a table and as JSON; the search is a record.
	out := run(t, "archive", "search", "figures", "-c", conf)
	if strings.Count(out, "quarterly figures") != 2 || strings.Contains(out, "noon") {
		t.Errorf("by word:\n%s", out)
	}
	if out := run(t, "archive", "search", "quart*", "--from", "alice@example.com", "--with", "bob@example.com", "--since", "1h", "-c", conf); strings.Count(out, "quarterly") != 2 {
		t.Errorf("by beginning, persons and time:\n%s", out)
	}
	if out := run(t, "archive", "search", "figures", "--until", "1h", "-c", conf); strings.Contains(out, "figures") {
		t.Errorf("of long ago:\n%s", out)
	}
	lines := strings.Split(strings.TrimSpace(run(t, "archive", "search", "--json", "--kind", "message", "--oldest", "-c", conf)), "\n")
	if len(lines) != 4 {
		t.Errorf("%d lines of JSON", len(lines))
	}
	for _, l := range lines {
		var r struct{ Kind, From, Text string }
		if err := json.Unmarshal([]byte(l), &r); err != nil || r.Kind != "message" || r.Text == "" {
			t.Errorf("%v: %s", err, l)
		}
	}
	searches := s.Records("search")
	if !slices.ContainsFunc(searches, func(r *v1.Record) bool { return strings.Contains(r.Meta["query"], "figures") }) {
		t.Errorf("the searches in the log: %v", searches)
	}
	says(t, run(t, "status", "-c", conf), "example.com", "signed in", "2 on 2 devices")

	// Users.
	out = run(t, "user", "add", "frank@example.com", "--name", "Frank", "-c", conf)
	made := regexp.MustCompile(`password: (\S+)`).FindStringSubmatch(out)
	if made == nil {
		t.Fatalf("no password in %q", out)
	}
	frank := s.UA("frank", transport.TCP)
	frank.Password = made[1]
	frank.Register()
	says(t, run(t, "user", "show", "frank@example.com", "-c", conf), "Frank", "signed in", "tcp")
	fails(t, []string{"frank@example.com"}, "user", "add", "frank@example.com", "-c", conf)
	fails(t, []string{"elsewhere.invalid", "example.com"}, "user", "add", "x@elsewhere.invalid", "-c", conf)
	run(t, "user", "disable", "frank@example.com", "-c", conf)
	frank.waitClosed(t) // at once
	late := s.UA("frank", transport.TCP)
	late.Password = made[1]
	if m := late.Do(late.RegisterRequest(600)); m.Status() != 403 {
		t.Errorf("a disabled user: %s", Line(m))
	}
	alice.Says("frank", "are you there", 480)
	run(t, "user", "enable", "frank@example.com", "-c", conf)
	late.Register()
	cmd := command(t, "user", "passwd", "frank@example.com", "--password-stdin", "-c", conf)
	cmd.Stdin = strings.NewReader("a new one for frank\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	late.waitClosed(t)
	old := s.UA("frank", transport.TCP)
	old.Password = made[1]
	if m := old.Do(old.RegisterRequest(600)); m.Status() != 401 {
		t.Errorf("the old password: %s", Line(m))
	}
	old.Password = "a new one for frank"
	old.Register()
	out = run(t, "device", "add", "frank@example.com", "--label", "desk phone", "-c", conf)
	device := regexp.MustCompile(`device (\S+) password: (\S+)`).FindStringSubmatch(out)
	if device == nil {
		t.Fatalf("no device password in %q", out)
	}
	phone := s.UA("frank", transport.TCP)
	phone.Password = device[2]
	// The part that signs people in hears of the new password a moment later.
	Eventually(t, "the device password works", func() bool { return phone.Do(phone.RegisterRequest(600)).Status() == 200 })
	run(t, "device", "revoke", "frank@example.com", device[1], "-c", conf)
	phone.waitClosed(t)
	run(t, "user", "remove", "frank@example.com", "-c", conf)
	if out := run(t, "user", "list", "-c", conf); strings.Contains(out, "frank") || !strings.Contains(out, "alice@example.com") {
		t.Errorf("users:\n%s", out)
	}
	alice.Says("frank", "gone", 404)
	var acts []string
	for _, r := range s.Records("admin") {
		if r.To == AOR("frank") {
			acts = append(acts, r.Meta["action"])
		}
	}
	if len(acts) < 7 {
		t.Errorf("the log has %q of frank", acts)
	}

	// Backup of the running server, restore, and the offline commands on what came out of it.
	tape := filepath.Join(t.TempDir(), "backup.tar")
	run(t, "backup", tape, "-c", conf)
	there := file(t, filepath.Join(t.TempDir(), "restored"), nowhere)
	run(t, "restore", tape, "-c", there)
	if out := run(t, "archive", "search", "figures", "-c", there); strings.Count(out, "quarterly figures") != 2 {
		t.Errorf("in the restored archive:\n%s", out)
	}
	fails(t, []string{"no server is running"}, "status", "-c", there)
	says(t, run(t, "user", "list", "-c", there), "alice@example.com", "bob@example.com")
	fails(t, []string{"restore"}, "restore", tape, "-c", there)
	says(t, run(t, "version"), "parley")
}

// Ten thousand users from a CSV file, in seconds.
func TestManyUsers(t *testing.T) {
	t.Parallel()
	s := StartProcess(t)
	conf := file(t, s.Config.Data, nowhere)
	many := 10_000
	if raceEnabled {
		many = 1000 // the detector makes everything ten times slower, and a record has 800 ms
	}
	var csv strings.Builder
	csv.WriteString("address,name,password,admin\n")
	for i := range many {
		fmt.Fprintf(&csv, "user%d@example.com,User %d,%s,\n", i, i, Password(fmt.Sprintf("user%d", i)))
	}
	path := filepath.Join(t.TempDir(), "users.csv")
	if err := os.WriteFile(path, []byte(csv.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	run(t, "user", "add", "--csv", path, "-c", conf)
	t.Logf("%d users added in %v", many, time.Since(start).Round(time.Millisecond))
	if n := int(s.Status().Users); n != many+3 {
		t.Errorf("%d users", n)
	}
	for _, n := range []int{0, many / 2, many - 1} {
		u := s.UA(fmt.Sprintf("user%d@example.com", n), transport.TCP)
		u.Register()
		u.Says("alice", "hello", 202)
	}
	// Again: all or nothing, and the first taken one is named.
	fails(t, []string{"user0@example.com"}, "user", "add", "--csv", path, "-c", conf)
	for name, row := range map[string]string{"line 2": "no address at all,x,y,z,a,b\n", "admin": "x@example.com,X,secret words,perhaps\n"} {
		bad := filepath.Join(t.TempDir(), "bad.csv")
		if err := os.WriteFile(bad, []byte("ok@example.com,Ok,secret words,\n"+row), 0o600); err != nil {
			t.Fatal(err)
		}
		fails(t, []string{name}, "user", "add", "--csv", bad, "-c", conf)
	}
	if n := int(s.Status().Users); n != many+3 {
		t.Errorf("%d users after files with mistakes", n)
	}
}

// The door for monitoring.
func TestMonitoring(t *testing.T) {
	t.Parallel()
	s := Start(t)
	exchange(t, s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TLS), "hello")
	for path, want := range map[string]string{"/health": "alive", "/ready": "ready"} {
		if status, body := s.Get(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	for _, want := range []string{"parley_message_recorded_total 2", "parley_message_delivered_total 2", "go_goroutines"} {
		s.Eventually(want+" in the metrics", func() bool {
			status, body := s.Get("/metrics")
			return status == 200 && strings.Contains(body, want)
		})
	}
	_, body := s.Get("/metrics")
	if strings.Contains(body, "alice") || strings.Contains(body, "127.0.0.1:") {
		t.Error("user data in the metrics")
	}
	if status, _ := s.Get("/"); status != 404 {
		t.Errorf("/: %d", status)
	}
}

// What `parley demo` prints is what a client needs; Ctrl-C removes it all.
func TestDemo(t *testing.T) {
	t.Parallel()
	cmd := command(t, "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // it has ended by then, unless the test failed
	text := ""
	for r := bufio.NewReader(out); !strings.Contains(text, "Ctrl-C"); {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after\n%s", err, text)
		}
		text += line
	}
	word := func(pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in\n%s", pattern, text)
		}
		return m[1]
	}
	password, domain := word(`(?m)^\s*password\s+(\S+)`), word(`(?m)^\s*domain\s+(\S+)`)
	if first, _, _ := strings.Cut(text, "\n"); !strings.HasPrefix(first, "http://localhost:") {
		t.Errorf("the first line is %q, not what to open", first)
	}
	var offer struct {
		Password string
		People   []struct{ Address string }
	}
	if status, body := get(t, "http://127.0.0.1:"+word(`(?m)^http://localhost:(\d+)$`)+"/demo.json"); status != 200 || json.Unmarshal([]byte(body), &offer) != nil ||
		offer.Password != password || len(offer.People) != 3 || offer.People[0].Address != "alice@"+domain {
		t.Errorf("the sign-in page offers %d %s", status, body)
	}
	port, conf, ca := word(`sip:[^ ]*:(\d+);transport=tcp`), word(`archive search -c (\S+)`), word(`(\S+/ca\.pem)`)
	if _, err := os.Stat(ca); err != nil {
		t.Error(err)
	}
	s := &Server{t: t, Config: &config.Config{Domains: []string{domain}}, Addrs: map[transport.Kind]string{transport.TCP: "127.0.0.1:" + port, transport.UDP: "127.0.0.1:" + port}}
	var people []*UA
	for _, name := range []string{"alice", "bob"} {
		u := s.UA(name+"@"+domain, transport.TCP)
		u.Password = password
		u.Register()
		people = append(people, u)
	}
	// What was said before anybody looked comes to them as well.
	people[0].Hears("Welcome to Parley, Alice! Bob and I are in your list already.")
	people[0].Hears("Hi Alice, can you look at the plan for Friday?\n\nI would move the review to 14:00.")
	people[1].Hears("Bob, the new phone for your desk has arrived. It is in 1.01.")
	exchange(t, people[0], people[1], "hello from the demo")
	says(t, run(t, "archive", "search", "demo", "-c", conf), "hello from the demo")
	page, err := parley.SignIn(t.Context(), "http://127.0.0.1:"+word(`(?m)^http://localhost:(\d+)$`), "carol", password, parley.WithHTTPClient(client), parley.WithDevice("a browser", "tablet"))
	if err != nil {
		t.Fatal(err)
	}
	says(t, run(t, "session", "list", "carol@"+domain, "-c", conf), page.Session().Id+`  "a browser"  tablet  from 127.0.0.1`)
	run(t, "session", "end", "carol@"+domain, page.Session().Id, "-c", conf)
	if _, err := page.Sessions.GetSession(t.Context(), connect.NewRequest(&v1.GetSessionRequest{})); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("a session that an administrator has ended: %v", err)
	}
	says(t, run(t, "archive", "search", "--kind", "admin", "-c", conf), "session.end")
	start := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out) // to its end
	if err := cmd.Wait(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if took := time.Since(start); took > Patience/2 {
		t.Errorf("Ctrl-C took %v", took)
	}
	if _, err := os.Stat(filepath.Dir(conf)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is still there: %v", err)
	}
}

// Many bindings are there again after a restart.
func TestManyBindings(t *testing.T) {
	t.Parallel()
	s := Start(t, SamePorts(t))
	u := s.UA("alice", transport.UDP)
	const most = 20
	for i := range most - 1 {
		u.Contact = fmt.Sprintf("<sip:alice@127.0.0.1:%d>", 20_000+i)
		u.Register()
	}
	u.Contact = fmt.Sprintf("<sip:alice@%s>", u.Local)
	before := contactsOf(u.Register())
	s.Restart()
	if n := s.Status().Devices; n != most {
		t.Errorf("%d bindings after the restart, want %d", n, most)
	}
	after := contactsOf(u.Do(u.RegisterRequest(600).Remove(sip.HContact)))
	if !slices.Equal(before, after) {
		t.Errorf("before %q\nafter %q", before, after)
	}
}

func contactsOf(m *sip.Message) []string {
	var list []string
	for v := range m.Values(sip.HContact) {
		uri, _, _ := strings.Cut(v, ">")
		list = append(list, uri)
	}
	slices.Sort(list)
	return list
}

// A server whose context ends before it is ready ends, too.
func TestStopAtOnce(t *testing.T) {
	t.Parallel()
	c := Config(t)
	s, err := server.New(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
