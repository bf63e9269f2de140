package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/config"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// nginx runs nginx in front of a server, with the configuration that docs/web.md shows, and returns its address.
func nginx(t *testing.T, s *Server) string {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skip("Parley behind a real proxy is not tried: there is no nginx (apt-get install nginx-light)")
		}
	}
	text, err := os.ReadFile("../docs/web.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```nginx\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("docs/web.md has no configuration of nginx")
	}
	// nginx takes over a socket that listens already: so no other program is on its port, and nobody waits until it is ready.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	certificates := filepath.Join(s.Config.Data, "tls", "server")
	for old, now := range map[string]string{"listen 443": "listen " + l.Addr().String(), "chat.example.com;": Domain + ";", "127.0.0.1:8080": s.Addrs[transport.WS],
		"/etc/nginx/chat.example.com.pem": certificates + ".pem", "/etc/nginx/chat.example.com.key": certificates + ".key"} {
		if !strings.Contains(block, old) {
			t.Fatalf("the configuration in docs/web.md lacks %q", old)
		}
		block = strings.ReplaceAll(block, old, now)
	}
	dir := t.TempDir()
	temporary := ""
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += of + "_temp_path " + filepath.Join(dir, of) + ";\n"
	}
	head := "daemon off; worker_processes 1; pid nginx.pid; error_log stderr;\nevents { }\n"
	if os.Getuid() == 0 {
		head = "user root;\n" + head // its usual one may not read this folder
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(head+"http {\naccess_log off;\n"+temporary+block+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(program, "-p", dir, "-c", file, "-e", "stderr")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{socket}, &said
	cmd.Env = append(os.Environ(), "NGINX=3;")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error("nginx ended before the test:", err)
		}
		_ = cmd.Wait() // with its worker
		if t.Failed() {
			t.Logf("nginx: %s", &said)
		}
	})
	return l.Addr().String()
}

// Behind nginx, as the manual says it: pages, events, uploads and SIP pass, over TLS for all that they know, and each client has
// the address it comes from, for its limits too.
func TestBehindNginx(t *testing.T) {
	t.Parallel()
	s := Start(t, func(c *config.Config) { c.HTTP.Proxies, c.HTTP.SignInRate = []string{"127.0.0.1"}, 1 })
	proxy := nginx(t, s)
	config, err := s.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	// from is a client at another address of loopback.
	from := func(ip string) *http.Client {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		tr := &http.Transport{TLSClientConfig: config, DialContext: d.DialContext}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Timeout: Patience}
	}
	call := func(c *http.Client, procedure, body string, headers ...string) answer {
		t.Helper()
		return ask(t, c, http.MethodPost, "https://"+proxy+"/parley.v1."+procedure, strings.NewReader(body), append([]string{"Content-Type", "application/json"}, headers...)...)
	}

	page := from("127.0.0.2")
	a := call(page, "SessionService/SignIn", passwordOfAlice+`,"cookie":true}`, "Origin", "https://"+proxy, "X-Forwarded-For", "192.0.2.99")
	set := a.header.Get("Set-Cookie")
	if a.status != 200 || !strings.HasPrefix(set, "__Host-parley=") || !strings.Contains(set, "; Secure") || a.header.Get("Strict-Transport-Security") == "" {
		t.Fatal(a)
	}
	cookie, _, _ := strings.Cut(set, ";")
	var devices struct {
		Devices []struct {
			Address string
			Current bool
		}
	}
	a = call(page, "DeviceService/ListOwnDevices", `{}`, "Origin", "https://"+proxy, "Cookie", cookie)
	if err := json.Unmarshal([]byte(a.body), &devices); err != nil || len(devices.Devices) != 1 || devices.Devices[0].Address != "127.0.0.2" {
		t.Errorf("the session is shown at another address than 127.0.0.2: %v", a)
	}
	refused(t, "a page without TLS", call(page, "SessionService/GetSession", `{}`, "Origin", "http://"+proxy, "Cookie", cookie), 403, "origin")

	person := func(name, ip string) *parley.Client {
		c, err := parley.SignIn(t.Context(), "https://"+proxy, AOR(name), Password(name), parley.WithHTTPClient(from(ip)), parley.WithDevice("test", "desktop"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	bob, carol := person("bob", "127.0.0.3"), person("carol", "127.0.0.4")
	events := listen(t, carol, &v1.StreamRequest{})
	events.next("the beginning", isReady)
	m := say(t, bob, "carol", "through a proxy")
	events.next("the message", func(e *v1.Event) bool { return e.GetMessage().GetId() == m.Id })
	data := bytes.Repeat([]byte("0123456789"), 200_000) // more than nginx takes by itself, and than it keeps in memory
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	f, err := bob.Upload(ctx, AOR("carol"), "digits.txt", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	sent, err := bob.Messages.Send(ctx, connect.NewRequest(&v1.SendRequest{Conversation: AOR("carol"), File: f.Id}))
	if err != nil {
		t.Fatal(err)
	}
	events.next("the file", func(e *v1.Event) bool { return e.GetMessage().GetId() == sent.Msg.Message.Id })
	if code := download(t, carol, sent.Msg.Message.File, data); code != 0 {
		t.Error(code)
	}

	// SIP over its WebSocket: who asks is told from where it was heard (RFC 3261 §18.2.1).
	behind := &Server{Config: s.Config, Addrs: map[transport.Kind]string{transport.WSS: proxy}, t: t}
	phone := behind.Dial(transport.WSS, From("127.0.0.5")).For(t)
	if m := phone.Answers(t, phone.Raw(sip.OPTIONS, "alice", "sip:"+Domain).Bytes(), 407); !strings.Contains(fmt.Sprint(m), "received=127.0.0.5") {
		t.Errorf("SIP is heard from another address than 127.0.0.5: %v", m)
	}

	// One who tries too often keeps nobody else out, and does not become somebody else by saying so.
	try := func(ip, claim string) int {
		return call(from(ip), "SessionService/SignIn", `{"kind":"toaster"}`, "X-Forwarded-For", claim).status
	}
	status := 0
	for i := 0; i < 1000 && status != http.StatusTooManyRequests; i++ {
		status = try("127.0.0.6", fmt.Sprintf("192.0.2.%d", i%250))
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("1,000 attempts from one address: %d", status)
	}
	if status := try("127.0.0.7", "127.0.0.6"); status != http.StatusBadRequest {
		t.Errorf("somebody else, who says to be that one: %d", status)
	}
}
