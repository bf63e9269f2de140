package transport

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/wire/sip"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaver{m}) }

// leaver gives what is ending at the end of the tests as long as it needs: goleak alone waits half a second.
type leaver struct{ *testing.M }

func (l leaver) Run() int {
	code := l.M.Run()
	for end := time.Now().Add(patience); code == 0 && goleak.Find() != nil && time.Now().Before(end); {
		runtime.Gosched()
	}
	return code
}

// patience is how long a test waits for what must happen. It matters only to tests that fail.
const patience = time.Minute

type got struct {
	m   *sip.Message
	f   Flow
	bad *sip.Error
	err error
}

// ear is a Handler that passes on what it hears; respond, if set, also answers
// each request with 200.
type ear struct {
	messages  chan got
	malformed chan got
	closed    chan got
	respond   bool
	hook      func(m *sip.Message, f Flow)
}

func newEar() *ear {
	return &ear{messages: make(chan got, 4096), malformed: make(chan got, 4096), closed: make(chan got, 16384)}
}

func responder() *ear {
	e := newEar()
	e.respond = true
	return e
}

func (e *ear) Message(m *sip.Message, f Flow) {
	if e.hook != nil {
		e.hook(m, f)
	}
	if e.respond && m.IsRequest() {
		_ = f.Send(sip.NewResponse(m, 200, "").Bytes())
		return
	}
	if e.hook == nil {
		e.messages <- got{m: m, f: f}
	}
}

func (e *ear) Malformed(m *sip.Message, bad *sip.Error, f Flow) {
	if m.Answerable() {
		_ = f.Send(sip.NewResponse(m, bad.Status, "").Bytes())
	}
	e.malformed <- got{m: m, f: f, bad: bad}
}

func (e *ear) Closed(f Flow, err error) { e.closed <- got{f: f, err: err} }

func wait[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
		panic("unreachable")
	}
}

// serve binds and serves a layer until the test ends.
func serve(t testing.TB, o Options, h Handler) *Layer {
	t.Helper()
	l, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, l, h)
	t.Cleanup(stop)
	return l
}

// run serves l; the returned function stops it and waits.
func run(t testing.TB, l *Layer, h Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, h) }()
	wait(t, "start of Serve", l.began)
	return func() {
		cancel()
		if err := wait(t, "end of Serve", done); err != nil {
			t.Errorf("serve: %v", err)
		}
	}
}

// request makes a MESSAGE with a body of size bytes.
func request(id string, size int) []byte {
	body := strings.Repeat("x", size)
	return []byte("MESSAGE sip:bob@example.com SIP/2.0\r\n" +
		"Via: SIP/2.0/TCP client.example.com:5060;branch=z9hG4bK" + id + ";rport\r\n" +
		"Max-Forwards: 70\r\n" +
		"From: <sip:alice@example.com>;tag=a" + id + "\r\n" +
		"To: <sip:bob@example.com>\r\n" +
		"Call-ID: " + id + "\r\n" +
		"CSeq: 1 MESSAGE\r\n" +
		"Content-Type: text/plain\r\n" +
		"Content-Length: " + strconv.Itoa(size) + "\r\n\r\n" + body)
}

// peerConn is the test's end of a stream.
type peerConn struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func over(t testing.TB, c net.Conn) *peerConn {
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &peerConn{Conn: c, t: t, r: bufio.NewReader(c)}
}

func dialTCP(t testing.TB, addr netip.AddrPort) *peerConn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return over(t, c)
}

func (p *peerConn) say(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// hear reads one message.
func (p *peerConn) hear() *sip.Message {
	p.t.Helper()
	m, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

func (p *peerConn) next() (*sip.Message, error) {
	var all []byte
	for {
		line, err := p.r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		all = append(all, line...)
		if len(line) == 2 && len(all) > 2 {
			break
		}
	}
	size := 0
	for row := range strings.SplitSeq(string(all), "\r\n") {
		if v, ok := strings.CutPrefix(row, "Content-Length:"); ok {
			size, _ = strconv.Atoi(strings.TrimSpace(v))
		}
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(p.r, body); err != nil {
		return nil, err
	}
	return sip.Parse(append(all, body...))
}

// gone waits until the server has closed, and returns what came before.
func (p *peerConn) gone() string {
	p.t.Helper()
	rest, err := io.ReadAll(p.r)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		p.t.Fatal("the connection stays open")
	}
	return string(rest)
}

// expect200 sends a request and reads its answer.
func (p *peerConn) expect200(id string) {
	p.t.Helper()
	p.say(request(id, 10))
	if m := p.hear(); m.Status() != 200 || m.CallID() != id {
		p.t.Fatalf("got %d for %q, want 200 for %q", m.Status(), m.CallID(), id)
	}
}

// certificate makes one for the names and addresses, signed by itself.
func certificate(t testing.TB, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func tlsOptions(t testing.TB) (Options, *x509.CertPool) {
	cert, pool := certificate(t, "sip.example.com", "127.0.0.1", "::1")
	return Options{TLS: []string{"127.0.0.1:0"}, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, Roots: pool}, pool
}

func dialTLS(t testing.TB, addr netip.AddrPort, roots *x509.CertPool) *peerConn {
	t.Helper()
	c, err := tls.Dial("tcp", addr.String(), &tls.Config{RootCAs: roots, ServerName: "sip.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return over(t, c)
}

func id(i int) string { return fmt.Sprintf("call-%d", i) }

// loopback says which loopback addresses there are.
func loopbacks(t testing.TB) []string {
	list := []string{"127.0.0.1:0"}
	if ln, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		_ = ln.Close()
		return append(list, "[::1]:0")
	}
	t.Log("this machine has no IPv6 loopback: only IPv4 is tested")
	return list
}
