package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/test/load/ledger"
	"github.com/parley-im/parley/test/load/ua"
	"github.com/parley-im/parley/wire/sip"
)

// dialFrom connects from one of many addresses of this machine, so that what the server holds against one address does
// not hit the people who behave.
func (s *soaking) dialFrom(kind string) (net.Conn, error) {
	ip := net.IPv4(127, 0, byte(1+rand.IntN(4)), byte(1+rand.IntN(250)))
	d := net.Dialer{Timeout: ua.DialTimeout, LocalAddr: &net.TCPAddr{IP: ip}}
	network := "tcp"
	if kind == "udp" {
		network, d.LocalAddr = "udp", &net.UDPAddr{IP: ip}
	}
	return d.Dial(network, s.target.addrs[kind])
}

// request in the rough: whole, so that the server reads on.
const roughOptions = "OPTIONS sip:load.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKrough\r\nMax-Forwards: 70\r\nFrom: <sip:x@load.test>;tag=1\r\n" +
	"To: <sip:load.test>\r\nCall-ID: rough\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"

// rudeness is what strangers do to a listener: handshakes that stop half-way, messages that stop half-way, noise.
var rudeness = []struct {
	name, kind string
	secure     bool // the noise comes after the TLS handshake
	bytes      func() []byte
}{
	{"silent", "tcp", false, func() []byte { return nil }},
	{"silent", "tls", false, func() []byte { return nil }},
	{"silent", "wss", false, func() []byte { return nil }},
	{"half a handshake", "tls", false, func() []byte { return []byte{22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3} }},
	{"half a handshake", "wss", true, func() []byte { return []byte("GET /sip HTTP/1.1\r\nHost: x\r\nUpgr") }},
	{"half a message", "tcp", false, func() []byte { return []byte(roughOptions[:100]) }},
	{"half a message", "tls", true, func() []byte { return []byte(roughOptions[:200]) }},
	{"a message and silence", "tcp", false, func() []byte { return []byte(roughOptions) }},
	{"noise", "udp", false, noise},
	{"noise", "tcp", false, noise},
	{"noise", "tls", false, noise},
	{"noise", "tls", true, noise},
	{"noise", "wss", false, noise},
	{"noise", "wss", true, noise},
	{"broken message", "udp", false, broken},
	{"broken message", "tcp", false, broken},
}

func noise() []byte {
	b := make([]byte, 1+rand.IntN(1200))
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// broken is a message with a few bytes that are others.
func broken() []byte {
	b := []byte(roughOptions)
	for range 1 + rand.IntN(8) {
		b[rand.IntN(len(b))] = byte(rand.Uint32())
	}
	return b
}

// rough is one rudeness. Whoever made it stays for some seconds, so that the server's timeouts end some of them.
func (s *soaking) rough() {
	r := rudeness[rand.IntN(len(rudeness))]
	s.count("rough: " + r.name)
	go func() {
		conn, err := s.dialFrom(r.kind)
		if err != nil {
			s.trial.problem("a rough connection: %v", errors.Unwrap(err))
			return
		}
		defer conn.Close()
		if r.secure {
			secure := tls.Client(conn, ua.TLSConfig)
			if err := secure.Handshake(); err != nil {
				return // the server may think as it likes of strangers
			}
			conn = secure
		}
		_, _ = conn.Write(r.bytes()) // likewise
		_ = conn.SetReadDeadline(time.Now().Add(time.Duration(rand.ExpFloat64() * float64(8*time.Second))))
		for buf := make([]byte, 512); err == nil; {
			_, err = conn.Read(buf)
		}
	}()
}

// guess tries a wrong password for somebody.
func (s *soaking) guess() {
	someone := s.people[rand.IntN(len(s.people))]
	go s.mistype(&person{s: s, name: someone.name, aor: someone.aor, password: "guessed", kind: transports[rand.IntN(2)]})
}

// mistype tries p's password, which is wrong, from another address than people use: an address with many wrong ones is locked
// for accounts that were not entered from it before, as new ones are.
func (s *soaking) mistype(p *person) {
	s.count("wrong passwords")
	conn, err := s.dialFrom(p.kind)
	if err != nil {
		s.trial.problem("a guess: %v", errors.Unwrap(err))
		return
	}
	ses := p.session()
	ses.c.Leave() // the server may end the connection
	ses.c.Attach(&ua.Link{Kind: p.kind, Conn: conn, Local: conn.LocalAddr().String()})
	ses.connected()
	if status := ses.register(60); status/100 == 2 {
		s.trial.problem("a wrong password of %s signed in", p.name)
	}
	ses.leave(closeLink)
}

// leak opens a connection that nobody closes: the negative control.
func (s *soaking) leak() {
	conn, err := net.Dial("tcp", s.target.addrs["tcp"])
	if err != nil {
		s.trial.problem("a leaked connection: %v", err)
		return
	}
	_, _ = conn.Write([]byte(roughOptions)) // so that it may stay
	s.leaked = append(s.leaked, conn)
	for range min(8, len(s.leaked)) { // and older ones do not become idle
		_, _ = s.leaked[rand.IntN(len(s.leaked))].(net.Conn).Write([]byte("\r\n\r\n"))
	}
}

// search looks for one message that was acknowledged a while ago.
func (s *soaking) search() {
	t := s.talks[rand.IntN(len(s.talks))]
	t.mu.Lock()
	n := len(t.marks)*9/10 - 1
	known := n >= 0 && t.marks[n]&ledger.Acked != 0
	t.mu.Unlock()
	if !known {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	resp, err := s.api.Archive.Search(ctx, connect.NewRequest(&v1.SearchRequest{Words: word(t.lane, n), Kinds: []string{"message"}}))
	switch {
	case s.ctx.Err() != nil:
	case err != nil:
		if !s.unrecorded(500, parley.Reason(err)) {
			s.trial.problem("a search: %s", parley.Reason(err))
		}
	case len(resp.Msg.Records) != 1:
		s.trial.problem("a message is in the archive %d times", len(resp.Msg.Records))
	}
	s.count("searches")
}

const greeting = "welcome"

// administer makes a person, over and over, and takes it through all that an administrator can do.
func (s *soaking) administer(ctx context.Context) {
	for i := 0; pause(ctx, time.Duration(rand.ExpFloat64()*float64(8*time.Second))); i++ {
		name := fmt.Sprintf("guest%d", i)
		p := &person{s: s, id: i, name: name, password: "first-" + name, aor: "sip:" + name + "@" + s.o.domain, kind: transports[i%len(transports)]}
		if err := s.career(ctx, p); err != nil && ctx.Err() == nil && !s.unrecorded(500, err.Error()) {
			s.trial.problem("administration: %v", err)
		}
		s.count("careers")
	}
}

// career is the life of an account.
func (s *soaking) career(ctx context.Context, p *person) error {
	address, users := p.address(), s.api.Users
	if _, err := users.AddUsers(ctx, connect.NewRequest(&v1.AddUsersRequest{Users: []*v1.NewUser{{Address: address, Name: "A Guest", Password: p.password}}})); err != nil {
		return fmt.Errorf("adding: %w", err)
	}
	defer func() { // also when the load ends meanwhile
		_, _ = users.RemoveUser(s.ctx, connect.NewRequest(&v1.RemoveUserRequest{Address: address})) // it may be removed already
	}()
	ses, err := p.arrive(60)
	if err != nil {
		return fmt.Errorf("the first sign-in: %w", err)
	}
	defer func() {
		if ses != nil { // the last sign-in succeeded
			ses.leave(closeLink)
		}
	}()
	if err := s.greet(p, 200); err != nil {
		return err
	}
	ses.c.Leave() // the server ends the connection
	if _, err := users.SetPassword(ctx, connect.NewRequest(&v1.SetPasswordRequest{Address: address, Password: "second-" + p.name})); err != nil {
		return fmt.Errorf("a new password: %w", err)
	}
	ses.leave(closeLink)
	ses = nil
	s.mistype(&person{s: s, name: p.name, aor: p.aor, password: p.password, kind: transports[rand.IntN(2)]})
	p.password = "second-" + p.name
	if ses, err = p.arrive(60); err != nil {
		return fmt.Errorf("the sign-in with the new password: %w", err)
	}
	ses.c.Leave() // the server ends the connection
	if _, err := users.SetDisabled(ctx, connect.NewRequest(&v1.SetDisabledRequest{Address: address, Disabled: true})); err != nil {
		return fmt.Errorf("disabling: %w", err)
	}
	if err := s.greet(p, 480); err != nil {
		return err
	}
	ses.leave(closeLink)
	if _, err := users.SetDisabled(ctx, connect.NewRequest(&v1.SetDisabledRequest{Address: address})); err != nil {
		return fmt.Errorf("enabling: %w", err)
	}
	if ses, err = p.arrive(60); err != nil {
		return fmt.Errorf("the sign-in when enabled again: %w", err)
	}
	if err := s.greet(p, 200); err != nil {
		return err
	}
	ses.c.Leave()
	if _, err := users.RemoveUser(ctx, connect.NewRequest(&v1.RemoveUserRequest{Address: address})); err != nil {
		return fmt.Errorf("removing: %w", err)
	}
	return s.greet(p, 404)
}

// greet writes to a guest, and wants this answer. 202 will do for 200: a slow machine.
func (s *soaking) greet(p *person, status int) error {
	from := s.anyone()
	if from == nil {
		return nil
	}
	answered := make(chan int, 1)
	r := from.p.message(p, greeting+" "+p.name)
	r.Done = func(m *sip.Message) {
		if m == nil {
			answered <- status // the connection has ended, or the client has told
			return
		}
		if s.unrecorded(m.Status(), m.Get(sip.HWarning)) {
			answered <- status // who asked knows
			return
		}
		answered <- m.Status()
	}
	from.c.Send(r)
	if got := <-answered; got != status && (got != 202 || status != 200) {
		return fmt.Errorf("a message to be answered %d got %d", status, got)
	}
	return nil
}

// commands runs the command line: what people look up, and a backup six times in a run.
func (s *soaking) commands(ctx context.Context) {
	backups := now() + s.so.time/12
	file := filepath.Join(s.dir, "parley.toml")
	for pause(ctx, min(30*time.Second, s.so.time/12)) {
		lines := [][]string{{"status"}, {"archive", "search", "--json", "--limit=20", word(rand.IntN(len(s.talks)), 1)}, {"user", "list"}}
		if now() > backups {
			backups += s.so.time / 6
			lines = append(lines, []string{"backup", filepath.Join(s.dir, "copy.tar")})
			s.count("backups")
		}
		for _, line := range lines {
			var out bytes.Buffer
			cmd := exec.CommandContext(s.ctx, s.o.binary, append(line, "-c", file)...) //nolint:gosec // the parley that the user named
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil && s.ctx.Err() == nil && !s.unrecorded(500, out.String()) {
				s.trial.problem("parley %s: %v: %s", line[0], err, out.String())
			}
			s.count("commands")
		}
		if err := os.Remove(filepath.Join(s.dir, "copy.tar")); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.trial.problem("a backup: %v", err)
		}
	}
}
