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
		l, err := net.Listen("tcp4", "0.0.0.0:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		got := l.Addr().(*net.TCPAddr).Port
		_ = l.Close() // only asked whether it is free
		if network == "tcp" {
			return got
		}
		if u, err := net.ListenPacket("udp4", "0.0.0.0:"+strconv.Itoa(got)); err == nil {
			_ = u.Close()
			return got
		}
	}
	return want
}

func printDemo(cfg *config.Config, file, password string) {
	host := lanAddress()
	sip, tls := net.JoinHostPort(host, port(cfg.SIP.TCP[0])), net.JoinHostPort(host, port(cfg.SIP.TLS[0]))
	fmt.Printf(`Parley is running with three people: alice, bob and carol. Type this into a SIP client
(Linphone, baresip, Pidgin, a desk phone):

  user        alice
  domain      %[1]s
  password    %[2]s
  proxy       sip:%[3]s;transport=tcp

The proxy, which some clients call outbound proxy or server, is needed because %[1]s is a name for
trying only. transport=udp works too, and sip:%[4]s;transport=tls once the client trusts the CA in
%[5]s

Sign in as bob with a second client, then write to or call sip:bob@%[1]s. What you write while bob is
away arrives when he returns. On this machine 127.0.0.1 works in place of %[6]s.

baresip takes all of it as one line in its file "accounts":

  <sip:alice@%[1]s>;auth_pass=%[2]s;outbound="sip:%[3]s;transport=tcp"

See what was recorded, in another terminal:

  %[7]s archive search -c %[8]s

Ctrl-C ends the demo and removes its data.
`, demoDomain, password, sip, tls, filepath.Join(cfg.Data, "tls", "ca.pem"), host, program(), file)
}

// program is how this command was called.
func program() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/parley"
	}
	return os.Args[0]
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
