package test

import (
	"fmt"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/transport"
)

// A change to an account holds when the command that made it returns: what was known of the account before, be it that
// there is none, is forgotten by then.
func TestAccountChangesHold(t *testing.T) {
	s := Start(t, func(c *config.Config) { c.Limits.PasswordFailures = 1000 })
	p := s.UA("alice", transport.TCP)
	signIn := func(user, password string, want int) {
		t.Helper()
		u := &UA{Peer: p.Peer, Name: user, User: user, Password: password, Contact: p.Contact, server: s}
		u.register.callID, u.register.tag = "reg-"+Unique()+"@test", "r"+Unique()
		if m := u.Do(u.RegisterRequest(600)); m.Status() != want {
			t.Fatalf("%s with %q: %s, want %d", user, password, Line(m), want)
		}
	}
	for i := range 30 {
		user := fmt.Sprintf("dave%dx", i)
		signIn(user, Password(user), 401) // that there is nobody is remembered now
		s.AddUsers(user)
		signIn(user, Password(user), 200)
		// The password's change closes the connection.
		if _, err := s.API.Users.SetPassword(t.Context(), connect.NewRequest(&v1.SetPasswordRequest{Address: AOR(user), Password: "another secret"})); err != nil {
			t.Fatal(err)
		}
		p.Close()
		p = s.UA("alice", transport.TCP)
		signIn(user, "another secret", 200)
		resp, err := s.API.Users.AddDevicePassword(t.Context(), connect.NewRequest(&v1.AddDevicePasswordRequest{Address: AOR(user), Label: "phone"}))
		if err != nil {
			t.Fatal(err)
		}
		other := s.UA("alice", transport.TCP)
		p.Close()
		p = other
		signIn(user, resp.Msg.Password, 200)
	}
	// Also for the last of many.
	var many []string
	for i := range 3000 {
		many = append(many, fmt.Sprintf("erin%dx", i))
	}
	last := many[len(many)-1]
	signIn(last, Password(last), 401)
	s.AddUsers(many...)
	signIn(last, Password(last), 200)
	p.Close()
}
