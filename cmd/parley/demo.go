package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/config"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/server"
)

const demoDomain = "parley.test"

var demoPeople = []*v1.NewUser{
	{Address: "alice@" + demoDomain, Name: "Alice Adams", Profile: &v1.Profile{Title: "Product Manager", Department: "Product", Office: "2.14"}},
	{Address: "bob@" + demoDomain, Name: "Bob Brown", Profile: &v1.Profile{Title: "Engineer", Department: "Development", Office: "3.02"}},
	{Address: "carol@" + demoDomain, Name: "Carol Clark", Admin: true, Profile: &v1.Profile{Title: "Head of IT", Department: "Operations", Office: "1.01"}},
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
	password := strings.ToLower(rand.Text()[:8])
	offer := server.Demo{Password: password}
	for _, u := range demoPeople {
		u.Password = password
		offer.People = append(offer.People, server.DemoPerson{Address: u.Address, Name: u.Name, Title: u.Profile.Title})
	}
	if err := s.Demonstrate(offer); err != nil {
		s.Close()
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
	if err := furnish(ctx, dial(cfg), "http://"+s.HTTP()); err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	printDemo(cfg, file, password)
	return <-served
}

// demoTexts are what the people have said to each other before anybody looks.
var demoTexts = []struct{ from, to, text string }{
	{"carol", "alice", "Welcome to Parley, Alice! Bob and I are in your list already."},
	{"carol", "bob", "Bob, the new phone for your desk has arrived. It is in 1.01."},
	{"bob", "alice", "Hi Alice, can you look at the plan for Friday?\n\nI would move the review to 14:00."},
	{"alice", "carol", "Thank you, Carol. All is well here."},
	{"bob", "carol", "Great, I will come by after lunch."},
}

// furnish adds the people, each with the others as contacts and a few messages, so that nobody's first view is empty.
func furnish(ctx context.Context, c *parley.Client, web string) error {
	if _, err := c.Users.AddUsers(ctx, connect.NewRequest(&v1.AddUsersRequest{Users: demoPeople})); err != nil {
		return err
	}
	for _, owner := range demoPeople {
		req := &v1.AddContactsRequest{Owner: owner.Address}
		for _, u := range demoPeople {
			if u != owner {
				req.Contacts = append(req.Contacts, &v1.NewContact{Address: u.Address, Name: u.Name})
			}
		}
		if _, err := c.Contacts.AddContacts(ctx, connect.NewRequest(req)); err != nil {
			return err
		}
	}
	for _, said := range demoTexts {
		if err := sayAs(ctx, web, said.from+"@"+demoDomain, said.to+"@"+demoDomain, said.text); err != nil {
			return err
		}
	}
	return nil
}

// sayAs says something in the name of one of the people, as the page does.
func sayAs(ctx context.Context, web, from, to, text string) error {
	c, err := parley.SignIn(ctx, web, from, demoPeople[0].Password)
	if err != nil {
		return err
	}
	if _, err := c.Messages.Send(ctx, connect.NewRequest(&v1.SendRequest{Conversation: to, Text: text})); err != nil {
		return err
	}
	_, err = c.Sessions.SignOut(ctx, connect.NewRequest(&v1.SignOutRequest{}))
	return err
}

// demoConfig listens on the well-known ports where they are free. Browsers reach it from this machine only, where they take plain
// HTTP for as good as TLS.
func demoConfig(folder string) string {
	sip, tls := freePort(5060, "udp"), freePort(5061, "tcp")
	return fmt.Sprintf(`data = %q
domains = [%q]
[sip]
udp = ["0.0.0.0:%d"]
tcp = ["0.0.0.0:%d"]
tls = ["0.0.0.0:%d"]
[http]
listen = "127.0.0.1:%d"
tls = "off"
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
	host := server.LANAddress()
	sip, tls := net.JoinHostPort(host, port(cfg.SIP.TCP[0])), net.JoinHostPort(host, port(cfg.SIP.TLS[0]))
	fmt.Printf(`http://localhost:%[9]s

Open this address in a browser. The page offers three people: Alice, Bob and Carol, each in a window of
their own. Open two, and write to each other. (Safari needs a private window for the second.)

SIP clients (Linphone, baresip, Pidgin, a desk phone) can take part, also from other machines. The password
is the same for all three people:

  user        alice
  domain      %[1]s
  password    %[2]s
  proxy       sip:%[3]s;transport=tcp

The proxy, which some clients call outbound proxy or server, is needed because %[1]s is a name for
trying only. transport=udp works too, and sip:%[4]s;transport=tls once the client trusts the CA in
%[5]s
On this machine 127.0.0.1 works in place of %[6]s. baresip takes all of it as one line in its file "accounts":

  <sip:alice@%[1]s>;auth_pass=%[2]s;outbound="sip:%[3]s;transport=tcp"

See what was recorded, in another terminal:

  %[7]s archive search -c %[8]s

Ctrl-C ends the demo and removes its data.
`, demoDomain, password, sip, tls, filepath.Join(cfg.Data, "tls", "ca.pem"), host, program(), file, port(cfg.HTTP.Listen))
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
