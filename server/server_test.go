package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"
	"github.com/icholy/digest"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/api/parley/v1/parleyv1connect"
	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/transport"
)

// patience is how long a test waits for what must come. It matters only to tests that fail.
const patience = time.Minute

// rig is a running server on loopback with alice and bob.
type rig struct {
	*Server
	t    *testing.T
	ctx  context.Context
	api  *client
	log  *lockedBuffer
	stop func() error
}

// client is the API over the socket.
type client struct {
	Users   parleyv1connect.UserServiceClient
	Archive parleyv1connect.ArchiveServiceClient
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, edit ...func(*config.Config)) *rig {
	t.Helper()
	c := config.Default()
	c.Data, c.Domains = folder(t), []string{"example.com"}
	c.SIP.UDP, c.SIP.TCP, c.SIP.TLS = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}
	c.HTTP.Listen, c.Metrics.Listen = "127.0.0.1:0", "127.0.0.1:0"
	for _, f := range edit {
		f(c)
	}
	r := &rig{t: t, ctx: t.Context(), log: &lockedBuffer{}}
	s, err := New(t.Context(), c, slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelInfo})))
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-served:
		t.Fatal(err)
	}
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", Socket(c.Data))
	}}}
	r.api = &client{parleyv1connect.NewUserServiceClient(hc, "http://parley"), parleyv1connect.NewArchiveServiceClient(hc, "http://parley")}
	if _, err := r.api.Users.AddUsers(r.ctx, connect.NewRequest(&v1.AddUsersRequest{Users: []*v1.NewUser{
		{Address: "alice@example.com", Password: "secret"}, {Address: "bob@example.com", Password: "secret"},
	}})); err != nil {
		t.Fatal(err)
	}
	return r
}

// folder is a temporary folder in memory where the system has such a thing: a busy disk can stall for longer than the
// 800 ms after which the server must refuse, and these tests are not about the disk. TMPDIR overrules it.
func folder(t *testing.T) string {
	t.Helper()
	var room unix.Statfs_t
	if os.Getenv("TMPDIR") == "" && unix.Statfs("/dev/shm", &room) == nil && room.Bavail*uint64(room.Bsize) > 1<<30 {
		if dir, err := os.MkdirTemp("/dev/shm", "parley-server-"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) }) // in memory: gone with the machine at the latest
			return dir
		}
	}
	return t.TempDir()
}

// get asks the door for monitoring.
func (r *rig) get(path string) (int, string) {
	r.t.Helper()
	resp, err := http.Get("http://" + r.Metrics() + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(10 * time.Millisecond); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// phone is a SIP client on one TCP connection.
type phone struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	cseq int
	auth string
}

func (r *rig) phone() *phone {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.Addrs(transport.TCP)[0])
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	return &phone{t: r.t, conn: conn, in: bufio.NewReader(conn)}
}

// send sends a request of a user to itself and returns the answer's status and head.
func (p *phone) send(method, user string, headers ...string) (status int, head string) {
	p.t.Helper()
	p.cseq++
	uri := "sip:example.com"
	if method != "REGISTER" {
		uri = "sip:" + user + "@example.com"
	}
	fmt.Fprintf(p.conn, "%s %s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%d%p\r\nMax-Forwards: 70\r\nFrom: <sip:%s@example.com>;tag=t%p\r\n"+
		"To: <sip:%[6]s@example.com>\r\nCall-ID: c%[7]p\r\nCSeq: %[4]d %[1]s\r\nContact: <sip:%[6]s@%[3]s;transport=tcp>\r\n%[8]s%[9]sContent-Length: 0\r\n\r\n",
		method, uri, p.conn.LocalAddr(), p.cseq, p, user, p, p.auth, strings.Join(headers, ""))
	for {
		status, head = p.next()
		if status >= 200 && strings.Contains(head, fmt.Sprintf("CSeq: %d %s", p.cseq, method)) {
			break
		}
	}
	if status != 401 && status != 407 || p.auth != "" {
		return status, head
	}
	for _, name := range []string{"WWW", "Proxy"} {
		_, value, ok := strings.Cut(head, name+"-Authenticate: ")
		if !ok {
			continue
		}
		value, _, _ = strings.Cut(value, "\r\n")
		challenge, err := digest.ParseChallenge(value)
		if err != nil {
			p.t.Fatal(err)
		}
		cred, err := digest.Digest(challenge, digest.Options{Method: method, URI: uri, Username: user, Password: "secret", Count: 1})
		if err != nil {
			p.t.Fatal(err)
		}
		p.auth = map[string]string{"WWW": "Authorization: ", "Proxy": "Proxy-Authorization: "}[name] + cred.String() + "\r\n"
	}
	defer func() { p.auth = "" }()
	return p.send(method, user, headers...)
}

// next reads one message without a body.
func (p *phone) next() (status int, head string) {
	p.t.Helper()
	var b strings.Builder
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			p.t.Fatalf("%v after %q", err, b.String())
		}
		b.WriteString(line)
		if line == "\r\n" && b.Len() > 2 {
			break
		}
	}
	head = b.String()
	_, _ = fmt.Sscanf(head, "SIP/2.0 %d", &status) // 0 for a request
	return status, head
}

// closed waits until the server has closed the connection; false if it does not.
func (p *phone) closed() bool {
	_, err := io.Copy(io.Discard, p.in)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// Disabling an account ends its bindings and its connection at once, and nobody else's.
func TestDisabledUserIsOut(t *testing.T) {
	for what, change := range map[string]func(r *rig) error{
		"disabled": func(r *rig) error {
			_, err := r.api.Users.SetDisabled(r.ctx, connect.NewRequest(&v1.SetDisabledRequest{Address: "alice@example.com", Disabled: true}))
			return err
		},
		"removed": func(r *rig) error {
			_, err := r.api.Users.RemoveUser(r.ctx, connect.NewRequest(&v1.RemoveUserRequest{Address: "alice@example.com"}))
			return err
		},
		"new password": func(r *rig) error {
			_, err := r.api.Users.SetPassword(r.ctx, connect.NewRequest(&v1.SetPasswordRequest{Address: "alice@example.com", Password: "other"}))
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			alice, bob := r.phone(), r.phone()
			for user, p := range map[string]*phone{"alice": alice, "bob": bob} {
				if status, head := p.send("REGISTER", user, "Expires: 600\r\n"); status != 200 {
					t.Fatal(head)
				}
			}
			if status, head := alice.send("SUBSCRIBE", "alice", "Event: reg\r\nExpires: 600\r\n"); status != 200 && status != 202 {
				t.Fatal(head)
			}
			if people, devices := r.registrar.Counts(); people != 2 || devices != 2 {
				t.Fatalf("%d people, %d devices", people, devices)
			}
			if err := change(r); err != nil {
				t.Fatal(err)
			}
			if !alice.closed() {
				t.Error("alice's connection is open")
			}
			r.eventually("alice is signed out", func() bool { people, _ := r.registrar.Counts(); return people == 1 })
			if len(r.registrar.Bindings("bob@example.com")) != 1 {
				t.Error("bob was signed out as well")
			}
			if status, head := bob.send("REGISTER", "bob", "Expires: 600\r\n"); status != 200 {
				t.Errorf("bob: %s", head)
			}
			if status, _ := r.phone().send("REGISTER", "alice", "Expires: 600\r\n"); status == 200 {
				t.Error("alice signed in with the old password")
			}
		})
	}
}

// Who calls over the Unix socket is in the records.
func TestSocketKnowsItsCaller(t *testing.T) {
	r := start(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.api.Archive.Search(r.ctx, connect.NewRequest(&v1.SearchRequest{Kinds: []string{"admin"}}))
	if err != nil || len(found.Msg.Records) != 2 {
		t.Fatal(found, err)
	}
	for _, rec := range found.Msg.Records {
		if rec.From != me.Username+"@localhost" {
			t.Errorf("by %q, want %s@localhost", rec.From, me.Username)
		}
	}
	st, err := os.Stat(Socket(r.cfg.Data))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket may be opened by others: %v %v", st.Mode(), err)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(Socket(r.cfg.Data)); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	r := start(t)
	if status, head := r.phone().send("REGISTER", "alice", "Expires: 600\r\n"); status != 200 {
		t.Fatal(head)
	}
	problems, err := testutil.GatherAndLint(r.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if code, text := r.get("/health"); code != 200 || text != "alive\n" {
		t.Error(code, text)
	}
	if code, text := r.get("/ready"); code != 200 || text != "ready\n" {
		t.Error(code, text)
	}
	code, text := r.get("/metrics")
	if code != 200 || !strings.Contains(text, "parley_call_open 0") || strings.Contains(text, "alice") {
		t.Error(code, "metrics miss a line or name a user")
	}
}

// While the log cannot be written the server is not ready, and says so; it recovers by itself.
func TestReadyWhileTheLogIsStuck(t *testing.T) {
	r := start(t)
	db, err := sql.Open("sqlite", filepath.Join(r.cfg.Data, "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(r.ctx, "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	_, err = r.api.Users.AddUsers(r.ctx, connect.NewRequest(&v1.AddUsersRequest{Users: []*v1.NewUser{{Address: "carol@example.com", Password: "p"}}}))
	if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(fmt.Sprint(err), "could not be recorded") {
		t.Errorf("carol was added: %v", err)
	}
	if code, text := r.get("/ready"); code != http.StatusServiceUnavailable || !strings.Contains(text, "log") {
		t.Error(code, text)
	}
	if code, _ := r.get("/health"); code != 200 {
		t.Error("not alive:", code)
	}
	if _, err := conn.ExecContext(r.ctx, "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	r.eventually("ready again", func() bool {
		_, _ = r.api.Archive.Search(r.ctx, connect.NewRequest(&v1.SearchRequest{})) // tries to write
		code, _ := r.get("/ready")
		return code == 200
	})
}

// RFC 7118 §5; a page of somebody else may not use its visitor's browser.
func TestWebSocketOrigin(t *testing.T) {
	r := start(t, func(c *config.Config) { c.HTTP.Origins = []string{"https://chat.example.com"} })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, filepath.Join(r.cfg.Data, "tls", "ca.pem")))
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer hc.CloseIdleConnections()
	for origin, want := range map[string]int{
		"": 101, "https://" + r.HTTP(): 101, "https://chat.example.com": 101, "https://evil.example.net": 403, "null": 403,
		"http://chat.example.com": 403, "https://chat.example.com.evil.net": 403,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		ws, resp, err := websocket.Dial(r.ctx, "wss://"+r.HTTP()+"/sip", &websocket.DialOptions{HTTPClient: hc, HTTPHeader: header, Subprotocols: []string{"sip"}})
		if err == nil {
			_ = ws.CloseNow()
		}
		if resp == nil || resp.StatusCode != want {
			t.Errorf("%q: %v %v, want %d", origin, resp, err, want)
		}
	}
	resp, err := hc.Get("https://" + r.HTTP() + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || resp.TLS.Version < tls.VersionTLS12 {
		t.Error(resp.Status, resp.TLS.Version)
	}
}

// What strangers send to the doors is no news to the operator, and keeps nobody else waiting.
func TestDoorsAgainstStrangers(t *testing.T) {
	r := start(t)
	for _, address := range []string{r.HTTP(), r.Addrs(transport.TLS)[0], r.Metrics()} {
		for _, junk := range []string{"GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\x00\x05hello", strings.Repeat("\xff", 1000)} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(patience)) // a TCP connection has deadlines
			fmt.Fprint(c, junk)
			_ = c.(*net.TCPConn).CloseWrite() // the server may have hung up already
			_, _ = io.Copy(io.Discard, c)     // until it does
			_ = c.Close()
		}
	}
	// Slow heads on many connections.
	for range 50 {
		c, err := net.Dial("tcp", r.Metrics())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	}
	if code, _ := r.get("/health"); code != 200 {
		t.Error(code)
	}
	usual := regexp.MustCompile(`"parley: ready"|"parley: open https|made a new data folder|bindings loaded|subscriptions are back`)
	for line := range strings.Lines(r.log.String()) {
		if !usual.MatchString(line) {
			t.Errorf("logged: %s", line)
		}
	}
	// It does not wait for them, who may take half a minute.
	begin := time.Now()
	if err := r.stop(); err != nil || time.Since(begin) > 20*time.Second {
		t.Errorf("stopped after %v: %v", time.Since(begin), err)
	}
}

// The head of a request and an idle connection are bounded in time.
func TestDoorsAreBounded(t *testing.T) {
	r := start(t)
	for _, d := range r.doors {
		if d.server.ReadHeaderTimeout == 0 || d.server.ReadHeaderTimeout > time.Minute || d.server.IdleTimeout == 0 || d.server.MaxHeaderBytes == 0 {
			t.Errorf("%s has no limits", d.name)
		}
	}
}

// A path too long for a socket has one elsewhere; a short one has it in the folder.
func TestSocketPath(t *testing.T) {
	if got := Socket("data"); got != filepath.Join("data", "parley.sock") {
		t.Error(got)
	}
	long := Socket("/" + strings.Repeat("long/", 30))
	if len(long) > maxSocketPath || long == Socket("/"+strings.Repeat("long/", 31)) {
		t.Error(long)
	}
}
