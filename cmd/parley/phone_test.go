package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/icholy/digest"
	"github.com/rogpeppe/go-internal/testscript"
)

// phones are the phones of a script, by user.
type phones struct{}

// phone is a SIP client on one TCP connection: it signs in, and answers every request with 200.
type phone struct {
	ts       *testscript.TestScript
	user     string
	password string
	conn     net.Conn
	cseq     int

	mu      sync.Mutex // guards writing
	answers chan answer
	ended   chan struct{}
}

type answer struct {
	status int
	header textproto.MIMEHeader
}

// signin signs a user in until the script ends: signin USER PASSWORD [CONTACT-PARAMETERS].
func signin(ts *testscript.TestScript, _ bool, args []string) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+ts.Getenv("P1"))
	ts.Check(err)
	p := &phone{ts: ts, user: args[0], password: args[1], conn: conn, answers: make(chan answer, 8), ended: make(chan struct{})}
	go p.read()
	ts.Defer(func() {
		_ = conn.Close()
		<-p.ended
	})
	ts.Value(phones{}).(map[string]*phone)[p.user] = p
	params := strings.Join(args[2:], "")
	p.request("REGISTER", "sip:example.com", p.user, "Contact: <sip:"+p.user+"@"+conn.LocalAddr().String()+";transport=tcp>"+params+"\r\n")
}

// follow subscribes to the presence of somebody: follow USER OWNER. USER has signed in.
func follow(ts *testscript.TestScript, _ bool, args []string) {
	p := ts.Value(phones{}).(map[string]*phone)[args[0]]
	if p == nil {
		ts.Fatalf("%s has not signed in", args[0])
	}
	p.request("SUBSCRIBE", "sip:"+args[1], args[1],
		"Contact: <sip:"+p.user+"@"+p.conn.LocalAddr().String()+";transport=tcp>\r\nEvent: presence\r\nAccept: application/pidf+xml\r\n")
}

// request sends a request, with credentials when the server wants them, and waits for a 2xx.
func (p *phone) request(method, uri, to, headers string) {
	if !strings.Contains(to, "@") {
		to += "@example.com"
	}
	for credentials, try := "", 0; ; try++ {
		p.cseq++
		p.write(fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%s%d\r\nMax-Forwards: 70\r\nFrom: <sip:%[4]s@example.com>;tag=%[4]s\r\n"+
			"To: <sip:%[6]s>\r\nCall-ID: %[1]s-%[6]s-%[4]s\r\nCSeq: %[5]d %[1]s\r\n%[7]s%[8]sContent-Length: 0\r\n\r\n",
			method, uri, p.conn.LocalAddr(), p.user, p.cseq, to, headers, credentials))
		var a answer
		for a.status < 200 {
			select {
			case a = <-p.answers:
			case <-p.ended:
				p.ts.Fatalf("the connection ended before an answer to %s", method)
			case <-time.After(30 * time.Second):
				p.ts.Fatalf("no answer to %s", method)
			}
		}
		if a.status < 300 {
			return
		}
		name, value := "Authorization", a.header.Get("WWW-Authenticate")
		if a.status == 407 {
			name, value = "Proxy-Authorization", a.header.Get("Proxy-Authenticate")
		}
		if value == "" || try > 0 {
			p.ts.Fatalf("%s was answered with %d", method, a.status)
		}
		challenge, err := digest.ParseChallenge(value)
		p.ts.Check(err)
		c, err := digest.Digest(challenge, digest.Options{Method: method, URI: uri, Username: p.user, Password: p.password, Count: 1})
		p.ts.Check(err)
		credentials = name + ": " + c.String() + "\r\n"
	}
}

func (p *phone) write(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = io.WriteString(p.conn, text) // whoever waits for an answer hears of it
}

// read hands on answers and answers requests, until the connection ends.
func (p *phone) read() {
	defer close(p.ended)
	r := textproto.NewReader(bufio.NewReader(p.conn))
	for {
		first, err := r.ReadLine()
		if err != nil {
			return
		}
		if first == "" { // between messages (RFC 5626 §3.5.1)
			continue
		}
		head, err := r.ReadMIMEHeader()
		if err != nil {
			return
		}
		n, _ := strconv.Atoi(head.Get("Content-Length")) // none: no body
		if _, err := io.CopyN(io.Discard, r.R, int64(n)); err != nil {
			return
		}
		words := strings.SplitN(first, " ", 3)
		if words[0] == "SIP/2.0" && len(words) == 3 {
			status, _ := strconv.Atoi(words[1]) // the server's own
			p.answers <- answer{status, head}
			continue
		}
		text := "SIP/2.0 200 OK\r\n"
		for _, name := range []string{"Via", "From", "To", "Call-Id", "Cseq"} {
			for _, v := range head[name] {
				text += name + ": " + v + "\r\n"
			}
		}
		p.write(text + "Content-Length: 0\r\n\r\n")
	}
}
