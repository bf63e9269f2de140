package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// sipp is SIPp: one that waits for messages, and a short-lived one for each registration and message that it sends.
type sipp struct {
	account
	contact string // where the waiting one listens
	process *process
	trace   *console
	pipe    *os.File
}

func (s *sipp) mode() string { return s.transport()[:1] + "1" } // u1 or t1: one socket

// scenario writes one of the embedded scenarios where SIPp can read it.
func (s *sipp) scenario(name string) (string, error) {
	text, err := files.ReadFile("sipp/" + name + ".xml")
	if err != nil {
		return "", fmt.Errorf("clients: %w", err)
	}
	path := filepath.Join(s.lab.dir, "sipp-"+name+".xml")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return "", fmt.Errorf("clients: %w", err)
	}
	return path, nil
}

func (s *sipp) signIn(ctx context.Context) error {
	if err := s.listen(); err != nil {
		return err
	}
	return s.register(ctx, 300)
}

// listen starts the SIPp that waits. Its message trace goes into a named pipe, from which the texts are read.
func (s *sipp) listen() error {
	port, err := s.lab.ports(1)
	if err != nil {
		return err
	}
	scenario, err := s.scenario("receive")
	if err != nil {
		return err
	}
	fifo := filepath.Join(s.lab.dir, fmt.Sprintf("%s-%d.trace", s.user(), port))
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		return fmt.Errorf("clients: make a named pipe: %w", err)
	}
	// Opened for both: opening for reading alone would wait for SIPp.
	if s.pipe, err = os.OpenFile(fifo, os.O_RDWR, 0); err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	s.trace = &console{}
	go func(pipe *os.File, trace *console) {
		defer trace.end()
		_, _ = pipe.WriteTo(trace) // until signOut closes it
	}(s.pipe, s.trace)
	s.contact = fmt.Sprintf("127.0.0.1:%d", port)
	cmd := exec.Command("sipp", "-sf", scenario, "-t", s.mode(), "-i", "127.0.0.1", "-p", fmt.Sprint(port),
		"-nostdin", "-trace_msg", "-message_file", fifo)
	s.process, err = s.lab.start(s.user(), cmd, nil, nil)
	return err
}

func (s *sipp) register(ctx context.Context, seconds int) error {
	return s.scenarioRun(ctx, "register", "-key", "contact", s.contact, "-key", "expires", fmt.Sprint(seconds))
}

func (s *sipp) send(ctx context.Context, to, text string) error {
	return s.scenarioRun(ctx, "message", "-key", "to", to, "-key", "text", text)
}

func (s *sipp) scenarioRun(ctx context.Context, name string, keys ...string) error {
	scenario, err := s.scenario(name)
	if err != nil {
		return err
	}
	args := []string{s.server.sipAddress(s.transport()), "-sf", scenario, "-t", s.mode(), "-i", "127.0.0.1", "-m", "1", "-nostdin",
		"-timeout", "50s", "-timeout_error", "-s", s.user(), "-au", s.user(), "-ap", s.server.password, "-key", "domain", domain}
	if _, err := s.lab.run(ctx, patience, "", "sipp", append(args, keys...)...); err != nil {
		return fmt.Errorf("clients: SIPp's %s was not answered as it should be: %w", name, firstError(err))
	}
	return nil
}

// received finds the message in the trace; its time is the Date header (RFC 3261 §20.17), if it has one.
func (s *sipp) received(ctx context.Context, from, text string) (time.Time, error) {
	var message string
	_, err := s.trace.await(ctx, patience, fmt.Sprintf("message %q", firstLine(text)), func(trace string) bool {
		head, _, found := strings.Cut(trace, "\n\n"+text+"\n")
		start := strings.LastIndex(head, "message received [")
		if !found || start < 0 {
			return false
		}
		message = head[start:]
		return strings.Contains(message, "<sip:"+from+"@"+domain)
	})
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(message) {
		if value, found := strings.CutPrefix(line, "Date: "); found {
			return time.Parse(time.RFC1123, strings.TrimSpace(value))
		}
	}
	return time.Time{}, nil
}

func (s *sipp) signOut() {
	if s.process == nil {
		return
	}
	_ = s.register(context.Background(), 0) // if it fails, the registration lapses
	_, _ = s.process.stop(time.Second, func() { _ = s.process.cmd.Process.Signal(syscall.SIGUSR1) })
	_ = s.pipe.Close()
	s.process = nil
}

// firstError keeps the exit code and drops SIPp's screen, which is in no log because it helps nobody.
func firstError(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("%s", text)
}
