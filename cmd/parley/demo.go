package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/server"
)

const demoDomain = "parley.test"

var demoPeople = []*v1.NewUser{
	{Address: "alice@" + demoDomain, Name: "Alice Adams"},
	{Address: "bob@" + demoDomain, Name: "Bob Brown"},
	{Address: "carol@" + demoDomain, Name: "Carol Clark", Admin: true},
}

type demoCmd struct{}

// Run starts a server on free ports in a folder that is removed at the end.
func (demoCmd) Run(a *app) error {
	folder, err := os.MkdirTemp("", "parley-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "parley.toml")
	if err := os.WriteFile(file, []byte(demoConfig(folder)), 0o600); err != nil {
		return err
	}
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	s, err := server.New(a.ctx, cfg, logger("warn"))
	if err != nil {
		return err
	}
	// The server ends with ctx, or when the users cannot be added.
	ctx, stop := context.WithCancel(a.ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	select {
	case <-s.Ready():
	case err := <-served:
		return err
	}
	password := strings.ToLower(rand.Text()[:8])
	for _, u := range demoPeople {
		u.Password = password
	}
	if _, err := dial(cfg).Users.AddUsers(ctx, connect.NewRequest(&v1.AddUsersRequest{Users: demoPeople})); err != nil {
		stop()
		<-served
		return err
	}
	printDemo(cfg, file, password)
	return <-served
}

// demoConfig listens on the well-known ports where they are free.
func demoConfig(folder string) string {
	sip, tls := freePort(5060, "udp"), freePort(5061, "tcp")
	return fmt.Sprintf(`data = %q
domains = [%q]
[sip]
udp = ["0.0.0.0:%d"]
tcp = ["0.0.0.0:%d"]
tls = ["0.0.0.0:%d"]
[http]
listen = "0.0.0.0:%d"
[metrics]
listen = "127.0.0.1:%d"
`, filepath.Join(folder, "data"), demoDomain, sip, sip, tls, freePort(8443, "tcp"), freePort(9090, "tcp"))
}

// freePort is the wanted port when nobody has it for UDP and TCP, else a free one.
func freePort(want int, network string) int {
	for _, port := range []int{want, 0} {
		l, err := net.Listen("tcp", "0.0.0.0:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		got := l.Addr().(*net.TCPAddr).Port
		_ = l.Close() // only asked whether it is free
		if network == "tcp" {
			return got
		}
		if u, err := net.ListenPacket("udp", "0.0.0.0:"+strconv.Itoa(got)); err == nil {
			_ = u.Close()
			return got
		}
	}
	return want
}

func printDemo(cfg *config.Config, file, password string) {
	host := lanAddress()
	fmt.Printf(`Parley is running. Type this into any SIP client (Linphone, baresip, Jitsi, Pidgin, a desk phone):

  user        alice   (or bob, or carol)
  domain      %s
  password    %s
  proxy       %s   (or transport=udp, or %s)

Use a second client, or a second account, as bob; then write or call sip:bob@%s.
On this machine 127.0.0.1 works in place of %s. For TLS, import the CA %s.

See what was recorded, in another terminal:

  go run ./cmd/parley archive search -c %s

Ctrl-C ends the demo and removes its data.
`, demoDomain, password,
		"sip:"+net.JoinHostPort(host, port(cfg.SIP.TCP[0]))+";transport=tcp", "sip:"+net.JoinHostPort(host, port(cfg.SIP.TLS[0]))+";transport=tls",
		demoDomain, host, filepath.Join(cfg.Data, "tls", "ca.pem"), file)
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address) // made above
	return p
}

// lanAddress is the address by which others on the network reach this machine.
func lanAddress() string {
	addrs, _ := net.InterfaceAddrs() // none: this machine only
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
