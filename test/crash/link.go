package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-im/parley/wire/sip"
)

// Timers of RFC 3261 §17.1.2.2.
const (
	timerT1 = 500 * time.Millisecond
	timerT2 = 4 * time.Second
	timerF  = 32 * time.Second
)

var (
	errGone     = errors.New("crash: the connection is gone")
	errNoAnswer = errors.New("crash: no answer within 32 s")
)

// link is one socket of a client to the server.
type link struct {
	number int // unique in the run
	life   func() int
	kind   string // one of kinds
	conn   net.Conn
	local  string                                 // host and port of our end; of a WebSocket a name that nobody finds (RFC 7118 §5)
	take   func(*link, *sip.Message) *sip.Message // answers a request
	gone   chan struct{}                          // closed when the socket is

	mu      sync.Mutex // guards pending
	pending map[string]chan *sip.Message

	writing sync.Mutex // keeps messages whole, and the order of those that are numbered while it is held
}

// kinds are the transports that clients speak.
var kinds = []string{"tcp", "udp", "tls", "wss"}

// anyServer trusts any certificate: the server under test has made its own.
var anyServer = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above

// dial opens a socket. Take is called for each request, in order, and returns the response to send.
func dial(ctx context.Context, kind, addr string, number int, life func() int, take func(*link, *sip.Message) *sip.Message) (*link, error) {
	c, err := reach(ctx, kind, addr)
	if err != nil {
		return nil, err
	}
	l := &link{number: number, life: life, kind: kind, conn: c, take: take, gone: make(chan struct{}), pending: map[string]chan *sip.Message{}}
	if l.local = c.LocalAddr().String(); kind == "wss" {
		l.local = unique() + ".invalid"
	}
	if !l.udp() {
		now := life() // a connection is to one process
		l.life = func() int { return now }
	}
	go l.read()
	return l, nil
}

func reach(ctx context.Context, kind, addr string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 2 * time.Second}
	switch kind {
	case "tls":
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return (&tls.Dialer{NetDialer: d, Config: anyServer}).DialContext(short, "tcp", addr)
	case "wss":
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		transport := &http.Transport{TLSClientConfig: anyServer.Clone(), DialContext: d.DialContext, DisableKeepAlives: true}
		c, resp, err := websocket.Dial(short, "wss://"+addr+"/sip", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"sip"}})
		if err != nil {
			return nil, err
		}
		if resp.Body != nil {
			_ = resp.Body.Close() // it belongs to the connection now
		}
		c.SetReadLimit(1 << 20)
		return cut{websocket.NetConn(context.WithoutCancel(ctx), c, websocket.MessageText), c}, nil
	}
	return d.DialContext(ctx, kind, addr)
}

// cut is a WebSocket that is closed without saying goodbye.
type cut struct {
	net.Conn
	c *websocket.Conn
}

func (c cut) Close() error { return c.c.CloseNow() }

// udp says that nobody tells us when the server has gone, and that requests are repeated until they are answered.
func (l *link) udp() bool { return l.kind == "udp" }

// via is the name of the transport in Via.
func (l *link) via() string { return strings.ToUpper(l.kind) }

// param is the name of the transport in a Contact (RFC 3261 §26.2.2, RFC 7118 §5.2).
func (l *link) param() string {
	switch l.kind {
	case "udp":
		return ""
	case "wss":
		return ";transport=ws"
	}
	return ";transport=" + l.kind
}

// close ends the link and waits until nothing more comes from it.
func (l *link) close() {
	_ = l.conn.Close() // nothing is written any more
	<-l.gone
}

func (l *link) read() {
	defer close(l.gone)
	buf := make([]byte, 1<<16)
	var have []byte
	for {
		n, err := l.conn.Read(buf)
		switch {
		case err == nil && l.udp():
			l.message(buf[:n])
		case err == nil:
			have = l.frames(append(have, buf[:n]...))
		case l.udp() && !errors.Is(err, net.ErrClosed):
			// The port was closed for a moment: the server is being started again. A short rest, so that it is not a busy loop.
			time.Sleep(time.Millisecond)
		default:
			_ = l.conn.Close() // whatever it was, it ends here
			return
		}
	}
}

func (l *link) frames(have []byte) []byte {
	for {
		for len(have) >= 2 && have[0] == '\r' && have[1] == '\n' {
			have = have[2:]
		}
		n, err := sip.Frame(have, sip.DefaultLimits())
		if err != nil || n == 0 {
			return have
		}
		l.message(have[:n])
		have = have[n:]
	}
}

func (l *link) message(data []byte) {
	m, err := sip.Parse([]byte(string(data)))
	if err != nil {
		return
	}
	if m.IsRequest() {
		if resp := l.take(l, m); resp != nil {
			_ = l.write(resp) // the server asks again if it does not get it
		}
		return
	}
	via, err := m.TopVia()
	if err != nil || m.Status() < 200 {
		return
	}
	l.mu.Lock()
	c := l.pending[via.Branch()]
	delete(l.pending, via.Branch())
	l.mu.Unlock()
	if c != nil {
		c <- m
	}
}

func (l *link) write(m *sip.Message) error { return l.writeBytes(m.Edit().Bytes()) }

func (l *link) writeBytes(b []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(timerF)) // only fails on a closed socket, and then Write does
	_, err := l.conn.Write(b)
	return err
}

// exchange is a request that waits for its answer.
type exchange struct {
	l      *link
	branch string
	bytes  []byte
	answer chan *sip.Message
}

// prepare gives the request a Via with a new branch.
func (l *link) prepare(d *sip.Draft) *exchange {
	x := &exchange{l: l, branch: "z9hG4bK" + unique(), answer: make(chan *sip.Message, 1)}
	d.Remove(sip.HVia)
	d.Prepend(sip.HVia, fmt.Sprintf("SIP/2.0/%s %s;branch=%s;rport", l.via(), l.local, x.branch))
	x.bytes = d.Bytes()
	l.mu.Lock()
	l.pending[x.branch] = x.answer
	l.mu.Unlock()
	return x
}

// send writes the request for the first time.
func (x *exchange) send() error { return x.l.writeBytes(x.bytes) }

// wait returns the final answer. Over UDP it retransmits the same bytes until then.
func (x *exchange) wait(ctx context.Context) (*sip.Message, error) {
	defer func() {
		x.l.mu.Lock()
		delete(x.l.pending, x.branch)
		x.l.mu.Unlock()
	}()
	end := time.NewTimer(timerF)
	defer end.Stop()
	interval := timerF
	if x.l.udp() {
		interval = timerT1
	}
	again := time.NewTimer(interval)
	defer again.Stop()
	for {
		select {
		case m := <-x.answer:
			return m, nil
		case <-again.C:
			_ = x.send() // as if it were lost on the way
			interval = min(2*interval, timerT2)
			again.Reset(interval)
		case <-end.C:
			return nil, errNoAnswer
		case <-x.l.gone:
			select {
			case m := <-x.answer:
				return m, nil
			default:
				return nil, errGone
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// do sends a request and returns the final answer.
func (l *link) do(ctx context.Context, d *sip.Draft) (*sip.Message, error) {
	x := l.prepare(d)
	if err := x.send(); err != nil && !l.udp() {
		return nil, errGone
	}
	return x.wait(ctx)
}

func unique() string { return strings.ToLower(rand.Text()[:16]) }
