package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/icholy/digest"
)

// coldStart measures how long a server takes from the start of its process until it has challenged a REGISTER and accepted
// the answer, with many users in its database. The files are in the page cache, as after a restart.
func (b *bench) coldStart(ctx context.Context, round int, t turn) error {
	s := t.steps[0]
	// The users are made once, and the folder is kept for all rounds.
	p := &place{dir: filepath.Join(b.dir, "cold-"+t.subject.id), transport: t.transport, users: s.users, workers: max(1, b.workers[t.subject.id+"/"+t.transport])}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	if round == 1 { // the first start makes certificates and tables
		r, err := t.subject.start(ctx, b, p)
		if err != nil {
			return err
		}
		if err := r.stop(); err != nil {
			return err
		}
	}
	p.quiet = true
	before := time.Now()
	r, err := t.subject.start(ctx, b, p)
	if err != nil {
		return err
	}
	err = signIn(r.addrs[t.transport], s.users/2, before.Add(30*time.Second))
	took := time.Since(before)
	if stopped := r.stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.id, err)
	}
	id, f := s.id+"/"+t.subject.id, figures{started: milliseconds(took)}
	b.book.add(round, id, f)
	b.say("round %d of %d  %-34s %s", round, b.o.rounds, id, f)
	return nil
}

// signIn registers a user over TCP as soon as somebody listens.
func signIn(addr string, n int, until time.Time) error {
	var conn net.Conn
	for {
		var err error
		if conn, err = net.DialTimeout("tcp", addr, time.Second); err == nil {
			break
		}
		if time.Now().After(until) {
			return err
		}
		time.Sleep(time.Millisecond) // nothing tells when another process will listen
	}
	defer conn.Close() //nolint:errcheck // all that matters has been read
	_ = conn.SetDeadline(until)
	in := bufio.NewReader(conn)
	status, header, err := registerOnce(conn, in, n, 1, "")
	if err != nil || status != 401 {
		return fmt.Errorf("the first REGISTER got %d: %w", status, err)
	}
	challenge, err := digest.ParseChallenge(header.Get("Www-Authenticate"))
	if err != nil {
		return err
	}
	answer, err := digest.Digest(challenge, digest.Options{Method: "REGISTER", URI: "sip:" + domain, Username: userName(n), Password: password(n), Count: 1})
	if err != nil {
		return err
	}
	if status, _, err = registerOnce(conn, in, n, 2, "Authorization: "+answer.String()+"\r\n"); err != nil || status != 200 {
		return fmt.Errorf("the answered REGISTER got %d: %w", status, err)
	}
	return nil
}

// registerOnce sends a REGISTER and reads its response.
func registerOnce(conn net.Conn, in *bufio.Reader, n, seq int, row string) (status int, header textproto.MIMEHeader, err error) {
	local := conn.LocalAddr().String()
	aor := "sip:" + userName(n) + "@" + domain
	_, err = fmt.Fprintf(conn, "REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKcold%d;rport\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=1\r\nTo: <%[4]s>\r\n"+
		"Call-ID: cold\r\nCSeq: %[3]d REGISTER\r\nContact: <sip:%[5]s@%[2]s;transport=tcp>\r\nExpires: 60\r\n%[6]sContent-Length: 0\r\n\r\n",
		domain, local, seq, aor, userName(n), row)
	if err != nil {
		return 0, nil, err
	}
	text := textproto.NewReader(in)
	for {
		line, err := text.ReadLine()
		if err != nil {
			return 0, nil, err
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return 0, nil, fmt.Errorf("bench: %q is no status line", line)
		}
		if status, err = strconv.Atoi(fields[1]); err != nil {
			return 0, nil, fmt.Errorf("bench: %q is no status line", line)
		}
		if header, err = text.ReadMIMEHeader(); err != nil {
			return status, nil, err
		}
		if length := header.Get("Content-Length"); length != "" && length != "0" {
			return status, nil, fmt.Errorf("bench: a response to REGISTER with a body of %s bytes", length)
		}
		if status >= 200 {
			return status, header, nil
		}
	}
}
