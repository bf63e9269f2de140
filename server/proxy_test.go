package server

import (
	"testing"

	"github.com/parley-im/parley/config"
)

// What people are told to type into a phone leads here: a name that has no address is not told.
func TestProxyAddress(t *testing.T) {
	every, lan := []string{"0.0.0.0:5060"}, LANAddress()
	for _, row := range []struct {
		tls, tcp  []string
		advertise string
		demo      bool
		want      string
	}{
		{[]string{"0.0.0.0:5061"}, every, "", false, "sip:" + lan + ":5061;transport=tls"},
		{[]string{"0.0.0.0:5061"}, every, "", true, "sip:" + lan + ":5060;transport=tcp"},
		{[]string{"0.0.0.0:5061"}, every, "chat.example.com", false, "sip:chat.example.com:5061;transport=tls"},
		{[]string{"[::1]:5061"}, every, "", false, "sip:[::1]:5061;transport=tls"},
		{nil, []string{"192.0.2.1:5070"}, "", false, "sip:192.0.2.1:5070;transport=tcp"},
		{nil, nil, "", false, "sip:" + lan + ":5060;transport=udp"},
	} {
		c := config.Default()
		c.Domains = []string{"parley.test"}
		c.SIP.UDP, c.SIP.TCP, c.SIP.TLS, c.SIP.Advertise = every, row.tcp, row.tls, row.advertise
		if got := proxyAddress(c, configured(c), row.demo); got != row.want {
			t.Errorf("%+v: %s", row, got)
		}
	}
	for _, name := range []string{"parley.test", "EXAMPLE", "a.example", "invalid"} {
		if resolves(name) {
			t.Error(name)
		}
	}
}
