package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Peer is one socket of a test. It sends any bytes and keeps what comes, in order, until somebody asks for it.
type Peer struct {
	Kind  transport.Kind
	Local netip.AddrPort

	t     testing.TB
	send  func([]byte) error
	close func()

	mu      sync.Mutex // guards what follows
	inbox   []*sip.Message
	news    chan struct{} // closed, and made anew, when something came
	seen    map[string]int
	repeats int // retransmissions that were left out
	pongs   int // CRLF keep-alives
	bytes   int // received
	others  [][]byte
	closed  chan struct{} // closed when the other side closed, or the socket is gone
	err     error
}

// From sets the address that a peer sends from: another loopback address is another peer to the server's limits.
type From string

// Dial opens a socket to the server. From is optional.
func (s *Server) Dial(kind transport.Kind, from ...From) *Peer {
	s.t.Helper()
	p, err := s.TryDial(kind, from...)
	if err != nil {
		s.t.Fatalf("dialling %v: %v", kind, err)
	}
	return p
}

// For makes errors of the peer those of a subtest.
func (p *Peer) For(t testing.TB) *Peer {
	p.t = t
	return p
}

// TryDial is Dial that returns its error.
func (s *Server) TryDial(kind transport.Kind, from ...From) (*Peer, error) {
	local := "127.0.0.1"
	if len(from) > 0 {
		local = string(from[0])
	}
	p := &Peer{Kind: kind, t: s.t, news: make(chan struct{}), closed: make(chan struct{}), seen: map[string]int{}}
	addr := s.Addrs[kind]
	if addr == "" {
		return nil, fmt.Errorf("the server has no %v", kind)
	}
	var err error
	switch kind {
	case transport.UDP:
		err = p.dialUDP(local, addr)
	case transport.WS, transport.WSS:
		err = p.dialWS(local, addr, s)
	default:
		err = p.dialStream(local, addr, s)
	}
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(p.close)
	return p, nil
}

func (p *Peer) dialUDP(local, addr string) error {
	laddr, err := netip.ParseAddr(local)
	if err != nil {
		return err
	}
	raddr, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(laddr, 0)))
	if err != nil {
		return err
	}
	p.Local = c.LocalAddr().(*net.UDPAddr).AddrPort()
	p.send = func(b []byte) error {
		_, err := c.WriteToUDPAddrPort(b, raddr)
		return err
	}
	done := make(chan struct{})
	p.close = func() {
		_ = c.Close() // only read and written here
		<-done
	}
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, _, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				p.ended(err)
				return
			}
			p.took(bytes.Clone(buf[:n]))
		}
	}()
	return nil
}

// TLSConfig trusts the CA that the server made.
func (s *Server) TLSConfig() (*tls.Config, error) {
	text, err := os.ReadFile(filepath.Join(s.Config.Data, "tls", "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("test: no certificate in ca.pem")
	}
	return &tls.Config{RootCAs: roots, ServerName: s.Config.Domains[0], MinVersion: tls.VersionTLS12}, nil
}

func (p *Peer) dialStream(local, addr string, s *Server) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}, Timeout: Patience}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return err
	}
	p.Local = c.LocalAddr().(*net.TCPAddr).AddrPort()
	if p.Kind == transport.TLS {
		cfg, err := s.TLSConfig()
		if err != nil {
			return err
		}
		c = tls.Client(c, cfg)
	}
	p.send = func(b []byte) error {
		_, err := c.Write(b)
		return err
	}
	done := make(chan struct{})
	p.close = func() {
		_ = c.Close() // only read and written here
		<-done
	}
	go func() {
		defer close(done)
		var have []byte
		buf := make([]byte, 1<<16)
		for {
			n, err := c.Read(buf)
			have = p.framed(append(have, buf[:n]...))
			if err != nil {
				p.ended(err)
				return
			}
		}
	}()
	return nil
}

// framed takes the whole messages off the front of a stream, in our own simple way, and returns the rest.
func (p *Peer) framed(have []byte) []byte {
	for {
		for bytes.HasPrefix(have, []byte("\r\n")) {
			p.mu.Lock()
			p.pongs++
			p.wake()
			p.mu.Unlock()
			have = have[2:]
		}
		end := bytes.Index(have, []byte("\r\n\r\n"))
		if end < 0 {
			return have
		}
		length := 0
		for _, line := range bytes.Split(have[:end], []byte("\r\n")) {
			if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(bytes.TrimSpace(name), []byte("Content-Length")) {
				length, _ = strconv.Atoi(string(bytes.TrimSpace(value))) // 0 when malformed
			}
		}
		whole := end + 4 + length
		if len(have) < whole {
			return have
		}
		p.took(bytes.Clone(have[:whole]))
		have = have[whole:]
	}
}

func (p *Peer) dialWS(local, addr string, s *Server) error {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, a string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
		c, err := d.DialContext(ctx, network, a)
		if err == nil {
			p.Local = c.LocalAddr().(*net.TCPAddr).AddrPort()
		}
		return c, err
	}}
	url := "ws://" + addr + "/sip"
	if p.Kind == transport.WSS {
		cfg, err := s.TLSConfig()
		if err != nil {
			return err
		}
		tr.TLSClientConfig = cfg
		url = "wss://" + addr + "/sip"
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}, Subprotocols: []string{"sip"}})
	if err != nil {
		if resp != nil {
			return fmt.Errorf("%w (status %d)", err, resp.StatusCode)
		}
		return err
	}
	c.SetReadLimit(1 << 20)
	p.send = func(b []byte) error {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		return c.Write(ctx, websocket.MessageText, b)
	}
	done := make(chan struct{})
	p.close = func() {
		_ = c.CloseNow() // only read and written here
		<-done
	}
	go func() {
		defer close(done)
		for {
			_, b, err := c.Read(context.Background())
			if err != nil {
				p.ended(err)
				return
			}
			p.took(bytes.Clone(b))
		}
	}()
	return nil
}

// took keeps what came. Retransmissions, which are the same to the byte, are counted and left out.
func (p *Peer) took(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes += len(b)
	if p.Kind == transport.UDP {
		if p.seen[string(b)]++; p.seen[string(b)] > 1 {
			p.repeats++
			p.wake()
			return
		}
	}
	// An answer to what is malformed is malformed too, where it copies; it is a message all the same.
	if m, _ := sip.Parse(bytes.Clone(b)); m.Status() > 0 || m.Method() != "" {
		p.inbox = append(p.inbox, m)
	} else {
		p.others = append(p.others, b)
	}
	p.wake()
}

func (p *Peer) ended(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	close(p.closed)
	p.wake()
}

// wake tells those who wait. The caller holds mu.
func (p *Peer) wake() {
	close(p.news)
	p.news = make(chan struct{})
}

// Write sends bytes; an error ends the test.
func (p *Peer) Write(b []byte) {
	p.t.Helper()
	if err := p.send(b); err != nil {
		p.t.Fatalf("%v: sending: %v", p.Kind, err)
	}
}

// TryWrite sends bytes to a peer that may have closed.
func (p *Peer) TryWrite(b []byte) error { return p.send(b) }

// Close closes the socket.
func (p *Peer) Close() { p.close() }

// Closed is closed when the server has closed the connection.
func (p *Peer) Closed() <-chan struct{} { return p.closed }

// Find waits for a message that match takes, and takes it out of the inbox. Others stay.
func (p *Peer) Find(wait time.Duration, match func(*sip.Message) bool) (*sip.Message, error) {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		p.mu.Lock()
		for i, m := range p.inbox {
			if match(m) {
				p.inbox = append(p.inbox[:i:i], p.inbox[i+1:]...)
				p.mu.Unlock()
				return m, nil
			}
		}
		news, err := p.news, p.err
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-news:
		case <-deadline.C:
			return nil, ErrTimeout
		}
	}
}

// Next waits for the next message, whatever it is.
func (p *Peer) Next() *sip.Message {
	p.t.Helper()
	m, err := p.Find(Patience, func(*sip.Message) bool { return true })
	if err != nil {
		p.t.Fatalf("%v: waiting for a message: %v", p.Kind, err)
	}
	return m
}

// Wait waits for a message that match takes; what names it in errors.
func (p *Peer) Wait(what string, match func(*sip.Message) bool) *sip.Message {
	p.t.Helper()
	m, err := p.Find(Patience, match)
	if err != nil {
		p.t.Fatalf("%v: waiting for %s: %v; there is%s", p.Kind, what, err, p.waiting())
	}
	return m
}

// waiting lists what is in the inbox, in words.
func (p *Peer) waiting() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := ""
	for _, m := range p.inbox {
		text += "\n  " + Line(m)
	}
	if text == "" {
		return " nothing"
	}
	return text
}

// Line is what a message is, in one line.
func Line(m *sip.Message) string {
	if m.IsRequest() {
		return m.Method() + " " + m.RequestURI() + " from " + m.Get(sip.HFrom)
	}
	return fmt.Sprintf("%d %s to %s", m.Status(), m.Reason(), m.Get(sip.HCSeq)) + warning(m)
}

func warning(m *sip.Message) string {
	if w := m.Get(sip.HWarning); w != "" {
		return " (" + w + ")"
	}
	return ""
}

// Inbox is what came and nobody has taken.
func (p *Peer) Inbox() []*sip.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*sip.Message(nil), p.inbox...)
}

// Repeats is the number of retransmissions that came, Pongs that of keep-alive answers, Received that of bytes.
func (p *Peer) Repeats() int { return p.count(&p.repeats) }

// Pongs is the number of CRLFs that came between messages.
func (p *Peer) Pongs() int { return p.count(&p.pongs) }

// Received is the number of bytes in messages that came.
func (p *Peer) Received() int { return p.count(&p.bytes) }

func (p *Peer) count(n *int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *n
}

// Others is what came and was no SIP message.
func (p *Peer) Others() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]byte(nil), p.others...)
}

// Via is the value of a Via header for a new request of this socket.
func (p *Peer) Via() string {
	return fmt.Sprintf("SIP/2.0/%s %s;branch=%s;rport", p.Kind.ViaName(), p.Local, NewBranch())
}

var counter atomic.Int64

// Unique is a number that no other call of this process returned.
func Unique() string { return strconv.FormatInt(counter.Add(1), 10) }

// NewBranch is a branch that no other request has.
func NewBranch() string {
	return "z9hG4bKtest" + strconv.Itoa(os.Getpid()) + "." + Unique() + "." + strconv.FormatInt(time.Now().UnixNano(), 36)
}

var nextPort atomic.Int32

// freeAddr finds a loopback address with a free port below the range from which the system chooses.
func freeAddr(t testing.TB, network string) string {
	t.Helper()
	for range 1000 {
		port := 10_000 + (os.Getpid()*53+int(nextPort.Add(1)))%20_000
		addr := "127.0.0.1:" + strconv.Itoa(port)
		if network == "udp" {
			if c, err := net.ListenPacket(network, addr); err == nil {
				_ = c.Close() // only asked whether it is free
				return addr
			}
			continue
		}
		if l, err := net.Listen(network, addr); err == nil {
			_ = l.Close() // only asked whether it is free
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
