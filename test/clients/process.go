package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lab owns everything that a run leaves on the machine: its folder and its programs.
type lab struct {
	root string // the repository
	dir  string // this run's folder

	mu        sync.Mutex
	processes []*process
	groups    []int // process groups that others started for us (a browser detaches itself)
	nextPort  int
}

func newLab(root string) (*lab, error) {
	dir, err := os.MkdirTemp("", "parley-clients-")
	if err != nil {
		return nil, fmt.Errorf("clients: make a folder for the run: %w", err)
	}
	// Below 32768, where Linux takes the ports of outgoing connections from; spread, so that two runs rarely meet.
	return &lab{root: root, dir: dir, nextPort: 20000 + os.Getpid()%80*100}, nil
}

// folder makes a folder for one part of the run.
func (l *lab) folder(name string) (string, error) {
	dir := filepath.Join(l.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("clients: %w", err)
	}
	return dir, nil
}

// process is one program, in a process group of its own.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed when the program has ended
}

// start runs a program. What it prints goes to a log in the run's folder, and to the given writers (which may be nil).
func (l *lab) start(name string, cmd *exec.Cmd, stdout, stderr io.Writer) (*process, error) {
	log, err := os.OpenFile(filepath.Join(l.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("clients: %w", err)
	}
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("clients: %s: %w", name, err)
	}
	cmd.Stdout, cmd.Stderr = tee(log, stdout), tee(log, stderr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("clients: start %s: %w", name, err)
	}
	l.mu.Lock()
	l.processes = append(l.processes, p)
	l.mu.Unlock()
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		_ = log.Close()
		if reader, ok := stdout.(interface{ end() }); ok {
			reader.end()
		}
		close(p.done)
	}()
	return p, nil
}

func tee(log *os.File, w io.Writer) io.Writer {
	if w == nil {
		return log
	}
	return io.MultiWriter(log, w)
}

// command sends one line of fields to a program that reads commands, see native/events.h.
func (p *process) command(fields ...string) error {
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\t", `\t`)
	for i, f := range fields {
		fields[i] = escape.Replace(f)
	}
	if _, err := io.WriteString(p.stdin, strings.Join(fields, "\t")+"\n"); err != nil {
		return fmt.Errorf("clients: tell %s: %w", p.name, err)
	}
	return nil
}

// stop asks the program to leave (ask may be nil: then SIGTERM does), and ends its whole group if it has not left after
// grace. It reports how long the program took to leave by itself, or an error if it had to be ended.
func (p *process) stop(grace time.Duration, ask func()) (time.Duration, error) {
	start := time.Now()
	if ask != nil {
		ask()
	} else {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-p.done:
		// What it may have started and left behind.
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		return time.Since(start), nil
	case <-time.After(grace):
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
	return grace, fmt.Errorf("clients: %s did not leave within %v", p.name, grace)
}

// running says whether the program still runs.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// adopt makes the lab end a process group that it did not start itself.
func (l *lab) adopt(group int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups = append(l.groups, group)
}

// close ends every program that still runs, at once.
func (l *lab) close() {
	l.mu.Lock()
	processes, groups := l.processes, l.groups
	l.processes, l.groups = nil, nil
	l.mu.Unlock()
	for _, p := range processes {
		if p.running() {
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		}
	}
	for _, group := range groups {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
	for _, p := range processes {
		<-p.done
	}
}

// run runs a short program to its end and returns what it printed; input is its standard input.
func (l *lab) run(ctx context.Context, limit time.Duration, input string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = l.root
	cmd.Stdin = strings.NewReader(input)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w after %v", errors.Join(ctx.Err(), err), limit)
		}
		text := strings.TrimSpace(stderr.String())
		if text == "" {
			text = strings.TrimSpace(string(out))
		}
		return string(out), fmt.Errorf("clients: %s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, text)
	}
	return string(out), nil
}
