package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	parley "github.com/parley-im/parley/sdk/go"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"parley": main})
}

// The scripts in testdata are what an administrator types. Each has a folder of its own, and the ports $P1 to $P5, also in
// its *.toml files; parley.toml uses them unless the script brings its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		WorkdirRoot: folder(t), Dir: "testdata", Setup: setup, RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "clock": clock, "within": within, "certificate": certificate, "users": users, "taken": taken, "cut": cut,
			"occupied": occupied, "demonstrates": demonstrates, "signin": signin, "follow": follow,
			"visit": visit, "page": onPage,
		},
	})
}

// folder is a temporary folder in memory where the system has such a thing: a busy disk can stall for longer than the
// 800 ms after which the server must refuse, and these scripts are not about the disk. TMPDIR overrules it.
func folder(t *testing.T) string {
	t.Helper()
	var room unix.Statfs_t
	if os.Getenv("TMPDIR") == "" && unix.Statfs("/dev/shm", &room) == nil && room.Bavail*uint64(room.Bsize) > 1<<30 {
		if dir, err := os.MkdirTemp("/dev/shm", "parley-script-"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) }) // in memory: gone with the machine at the latest
			return dir
		}
	}
	return t.TempDir()
}

const defaults = `data = "data"
domains = ["example.com"]
[sip]
udp = ["127.0.0.1:$P1"]
tcp = ["127.0.0.1:$P1"]
tls = ["127.0.0.1:$P2"]
[http]
listen = "127.0.0.1:$P3"
[metrics]
listen = "127.0.0.1:$P4"
`

func setup(e *testscript.Env) error {
	e.Values[phones{}] = map[string]*phone{}
	e.Values[pages{}] = map[string]*parley.Client{}
	var pairs []string
	for i := 1; i <= 5; i++ {
		port, err := free()
		if err != nil {
			return err
		}
		e.Setenv(fmt.Sprint("P", i), port)
		pairs = append(pairs, fmt.Sprint("$P", i), port)
	}
	name := filepath.Join(e.WorkDir, "parley.toml")
	if _, err := os.Stat(name); err != nil {
		if err := os.WriteFile(name, []byte(defaults), 0o600); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(e.WorkDir, "*.toml"))
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(f, []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o600); err != nil {
			return err
		}
	}
	return nil
}

var lastPort atomic.Int32

// free is a port that nobody has for TCP and UDP, below those that the system hands out, and that no other script gets: so
// nobody has it when a server comes for it.
func free() (string, error) {
	for range 1000 {
		port := strconv.Itoa(10_000 + (os.Getpid()*53+int(lastPort.Add(1)))%20_000)
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", "127.0.0.1:"+port)
		_ = l.Close() // only asked whether it is free
		if err == nil {
			_ = u.Close()
			return port, nil
		}
	}
	return "", errors.New("no free port")
}

// ready waits until the server of parley.toml answers.
func ready(ts *testscript.TestScript, neg bool, _ []string) {
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		resp, err := http.Get("http://127.0.0.1:" + ts.Getenv("P4") + "/ready")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the server is not ready: %v", err)
		}
	}
}

// clock starts a clock, which "within 5s" reads.
func clock(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("CLOCK", strconv.FormatInt(time.Now().UnixNano(), 10))
}

func within(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	began, err := strconv.ParseInt(ts.Getenv("CLOCK"), 10, 64)
	ts.Check(err)
	took := time.Since(time.Unix(0, began))
	if took > limit {
		ts.Fatalf("it took %v, more than %v", took, limit)
	}
	ts.Logf("it took %v", took)
}

// taken holds a port until the script ends: taken tcp|udp PORT.
func taken(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:"+args[1])
		ts.Check(err)
		ts.Defer(func() { _ = c.Close() })
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+args[1])
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
}

// certificate writes NAME.pem and NAME.key for a host: certificate NAME HOST [expired].
func certificate(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: args[1]}, DNSNames: []string{args[1]},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	if len(args) > 2 {
		c.NotAfter = time.Now().Add(-24 * time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	ts.Check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

// users writes a CSV file of so many users: users FILE COUNT.
func users(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var b strings.Builder
	b.WriteString("address,name,password\n")
	for i := range n {
		fmt.Fprintf(&b, "user%05d@example.com,User %d,password%d\n", i, i, i)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// occupied takes ports for TCP and UDP until the script ends, where nobody has them already: occupied PORT…
func occupied(ts *testscript.TestScript, _ bool, args []string) {
	for _, port := range args {
		if l, err := net.Listen("tcp4", "0.0.0.0:"+port); err == nil {
			ts.Defer(func() { _ = l.Close() })
		}
		if c, err := net.ListenPacket("udp4", "0.0.0.0:"+port); err == nil {
			ts.Defer(func() { _ = c.Close() })
		}
	}
}

// demonstrates runs the demo until it has printed all, with what it prints in the file demo.txt, and interrupts it.
func demonstrates(ts *testscript.TestScript, _ bool, _ []string) {
	demo := exec.Command("parley", "demo")
	demo.Env = append(os.Environ(), "TMPDIR="+ts.Getenv("TMPDIR"))
	printed, err := demo.StdoutPipe()
	ts.Check(err)
	var complaints bytes.Buffer
	demo.Stderr = &complaints
	ts.Check(demo.Start())
	stuck := time.AfterFunc(time.Minute, func() { _ = demo.Process.Kill() }) // Wait tells
	defer stuck.Stop()
	var text []byte
	for lines := bufio.NewScanner(printed); lines.Scan(); {
		text = append(append(text, lines.Bytes()...), '\n')
		if strings.HasPrefix(lines.Text(), "Ctrl-C ends the demo") {
			ts.Check(demo.Process.Signal(os.Interrupt))
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs("demo.txt"), text, 0o600))
	if err := demo.Wait(); err != nil || complaints.Len() > 0 {
		ts.Fatalf("the demo ended with %v and printed %s", err, complaints.Bytes())
	}
}

// cut shortens a file to half.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), st.Size()/2))
}
