package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A subject is a server in one set-up.
type subject struct {
	id    string
	name  string            // in the tables
	pack  string            // the Debian package whose version the tables have
	keeps string            // what it records and syncs, and whom it asks who they are
	needs map[string]string // programs, or files, and the Debian packages that bring them
	start func(ctx context.Context, b *bench, p *place) (*running, error)
}

// A place is where a server runs.
type place struct {
	dir       string // its own
	transport string
	users     int
	workers   int  // of Kamailio
	quiet     bool // it is started again on the folder of its last start
}

// running is a server that answers.
type running struct {
	addrs   map[string]string // by transport of the load tool
	pids    []int
	metrics string
	stop    func() error
}

// ours tells whether a subject is a Parley.
func (s *subject) ours() bool { return len(s.needs) == 0 }

// missing says what to install for a subject; "" when all is there.
func (s *subject) missing() string {
	var packages []string
	for program, pack := range s.needs {
		_, err := exec.LookPath(program)
		if filepath.IsAbs(program) {
			found, _ := filepath.Glob(program) // the patterns are well-formed
			if err = nil; len(found) == 0 {
				err = os.ErrNotExist
			}
		}
		if err != nil {
			packages = append(packages, pack)
		}
	}
	if len(packages) == 0 {
		return ""
	}
	slices.Sort(packages)
	return "not installed: apt-get install " + strings.Join(slices.Compact(packages), " ")
}

// program starts a process in a group of its own, which writes into a log in dir. The process is stopped with a signal,
// and its whole group is killed when that takes longer than 15 s.
type program struct {
	name  string
	cmd   *exec.Cmd
	log   string
	ended chan error
}

func launch(dir, name string, env []string, as *syscall.Credential, argv ...string) (*program, error) {
	p := &program{name: name, log: filepath.Join(dir, name+".log"), ended: make(chan error, 1)}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(argv[0], argv[1:]...) //nolint:gosec // a server that was asked for
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, append(os.Environ(), env...), out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("bench: starting %s: %w", name, err), out.Close())
	}
	go func() { p.ended <- errors.Join(p.cmd.Wait(), out.Close()) }()
	return p, nil
}

var errKilled = errors.New("did not stop within 15 s and was killed")

func (p *program) pid() int { return p.cmd.Process.Pid }

// stop ends the process. What it ended with is no error of ours: some servers call a signal one.
func (p *program) stop(s syscall.Signal) error {
	_ = p.cmd.Process.Signal(s) // it may have ended by itself
	limit := time.NewTimer(15 * time.Second)
	defer limit.Stop()
	select {
	case <-p.ended:
		_ = syscall.Kill(-p.pid(), syscall.SIGKILL) // children that were left behind, if any
		return nil
	case <-limit.C:
		_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
		<-p.ended
		return fmt.Errorf("bench: %s %w", p.name, errKilled)
	}
}

// until calls try until it succeeds. It fails when the process ends, or after the time, with the end of its log.
func (p *program) until(ctx context.Context, limit time.Duration, try func() error) error {
	began := time.Now()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Since(began) > limit {
			return fmt.Errorf("bench: %s was not ready within %v: %w: %s", p.name, limit, err, p.lastWords())
		}
		select {
		case ended := <-p.ended:
			p.ended <- ended
			return fmt.Errorf("bench: %s ended: %w: %s", p.name, ended, p.lastWords())
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
}

// lastWords is the end of the log.
func (p *program) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// freePort is a port that was free a moment ago for TCP and UDP, below those that the system hands out: no client gets
// the same.
func freePort() (int, error) {
	const low, high = 15000, 32000
	for range 1000 {
		port := low + rand.IntN(high-low) //nolint:gosec // no secret
		t, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", loopback(port))
		if err != nil {
			_ = t.Close()
			continue
		}
		return port, errors.Join(t.Close(), u.Close())
	}
	return 0, errors.New("bench: no free port")
}

func freePorts(n int) ([]int, error) {
	var list []int
	for range n {
		p, err := freePort()
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// answers tells whether a server answers something over TCP with an expected word.
func answers(addr, ask, word string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is written
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if ask == "" {
		return nil
	}
	if _, err := io.WriteString(conn, ask); err != nil {
		return err
	}
	var got []byte
	buf := make([]byte, 4096)
	for !strings.Contains(string(got), word) {
		n, err := conn.Read(buf)
		if got = append(got, buf[:n]...); err != nil {
			return fmt.Errorf("bench: %s said %q: %w", addr, got, err)
		}
	}
	return nil
}

// sipHello is a request that every SIP server answers.
const sipHello = "OPTIONS sip:load.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKbench;rport\r\nMax-Forwards: 70\r\n" +
	"From: <sip:bench@load.test>;tag=1\r\nTo: <sip:load.test>\r\nCall-ID: bench\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"

const domain = "load.test"

// userName and password are those that the load tool takes for granted.
func userName(i int) string { return "u" + strconv.Itoa(i) }
func password(i int) string { return "secret-" + strconv.Itoa(i) }
