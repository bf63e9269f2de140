package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// target is the server that the clients sign in to.
type target struct {
	udp, tcp, tls string // HOST:PORT
	ws, wss       string // URLs
	password      string // everybody's
	ca            string // file with the CA that signed the certificate, for liblinphone, which checks it; or empty
}

func (t *target) sipAddress(transport string) string {
	switch transport {
	case "udp":
		return t.udp
	case "tcp":
		return t.tcp
	default:
		return t.tls
	}
}

// parley is a Parley server of the run's own.
type parley struct {
	target
	lab     *lab
	program string
	config  string // file
	data    string // folder
	http    string // HOST:PORT of the web listener
	metrics string // HOST:PORT
	origin  string // of the pages in which JsSIP runs
	process *process
}

func buildParley(ctx context.Context, l *lab) (*parley, error) {
	bin, err := l.folder("bin")
	if err != nil {
		return nil, err
	}
	p := &parley{lab: l, program: filepath.Join(bin, "parley"), config: filepath.Join(l.dir, "parley.toml"), data: filepath.Join(l.dir, "data")}
	if _, err := l.run(ctx, 5*time.Minute, "", "go", "build", "-o", p.program, "./cmd/parley"); err != nil {
		return nil, err
	}
	first, err := l.ports(4)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", first+i) }
	p.udp, p.tcp, p.tls, p.http, p.metrics = at(0), at(0), at(1), at(2), at(3)
	p.ws, p.wss = "ws://"+p.http+"/sip", "wss://"+p.http+"/sip"
	p.password = rand.Text()
	return p, nil
}

// configure writes the configuration; web is http.tls: "off" for WS, "auto" for WSS.
func (p *parley) configure(web string) error {
	text := fmt.Sprintf(`data = %q
domains = [%q]

[sip]
udp = [%q]
tcp = [%q]
tls = [%q]
certificate = "auto"
digest = ["MD5"]

[http]
listen = %q
tls = %q
origins = [%q]

[files]
url = %q

[metrics]
listen = %q
`, p.data, domain, p.udp, p.tcp, p.tls, p.http, web, p.origin, p.door(web), p.metrics)
	if err := os.WriteFile(p.config, []byte(text), 0o644); err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	return nil
}

// door is the URL of the web listener, in which nothing can be said by name.
func (p *parley) door(web string) string {
	if web == "off" {
		return "http://" + p.http
	}
	return "https://" + p.http
}

// addUser makes an account, while the server runs or not.
func (p *parley) addUser(ctx context.Context, user string) error {
	_, err := p.lab.run(ctx, patience, p.password+"\n", p.program, "user", "add", user+"@"+domain, "--password-stdin", "-c", p.config)
	return err
}

// serve starts the server and returns when it says that it is ready.
func (p *parley) serve(ctx context.Context) error {
	var err error
	p.process, err = p.lab.start("parley", exec.Command(p.program, "serve", "-c", p.config), nil, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		if answer, err := http.Get("http://" + p.metrics + "/ready"); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return p.findCA()
			}
		}
		select {
		case <-again.C:
		case <-p.process.done:
			return fmt.Errorf("clients: parley serve ended: %s: %s", p.process.cmd.ProcessState, p.lastLog())
		case <-ctx.Done():
			return fmt.Errorf("clients: parley is not ready after %v: %s", 2*patience, p.lastLog())
		}
	}
}

// findCA looks through the data folder for the CA that the server made for itself, so that clients can check its
// certificate as an organisation's clients would.
func (p *parley) findCA() error {
	p.ca = ""
	err := filepath.WalkDir(p.data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Ext(path) != ".pem" && filepath.Ext(path) != ".crt" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		block, _ := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err == nil && certificate.IsCA {
			p.ca = path
			return filepath.SkipAll
		}
		return err
	})
	if err == nil && p.ca == "" {
		err = fmt.Errorf("no certificate of a CA in %s", p.data)
	}
	if err != nil {
		return fmt.Errorf("clients: find the server's own CA: %w", err)
	}
	return nil
}

// lastLog is the last line that the server wrote.
func (p *parley) lastLog() string {
	log, err := os.ReadFile(filepath.Join(p.lab.dir, "parley.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return lines[len(lines)-1]
}

// stop ends the server as Ctrl-C does and returns how long that took.
func (p *parley) stop() (time.Duration, error) {
	return p.process.stop(patience, func() { _ = p.process.cmd.Process.Signal(syscall.SIGINT) })
}

// archived asks the archive for one word and returns an error unless a record holds the text, its sender and its
// recipient.
func (p *parley) archived(ctx context.Context, word string, m sent) error {
	out, err := p.lab.run(ctx, patience, "", p.program, "archive", "search", "--json", "-c", p.config, word)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		var record any
		if json.Unmarshal([]byte(line), &record) != nil {
			return fmt.Errorf("clients: archive search printed what is no JSON: %s", firstLine(line))
		}
		hasText := holds(record, func(s string) bool { return strings.Contains(strings.ReplaceAll(s, "\r\n", "\n"), m.text) })
		if hasText && holds(record, func(s string) bool { return isFrom(s, m.from) }) && holds(record, func(s string) bool { return isFrom(s, m.to) }) {
			return nil
		}
	}
	return fmt.Errorf("clients: not in the archive: %q from %s to %s", firstLine(m.text), m.from, m.to)
}

// holds looks through a JSON value for a string.
func holds(value any, want func(string) bool) bool {
	switch v := value.(type) {
	case string:
		return want(v)
	case []any:
		for _, x := range v {
			if holds(x, want) {
				return true
			}
		}
	case map[string]any:
		for _, x := range v {
			if holds(x, want) {
				return true
			}
		}
	}
	return false
}
