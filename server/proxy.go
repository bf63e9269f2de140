package server

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/transport"
)

// resolving bounds how long is asked whether a name has an address.
const resolving = 2 * time.Second

// proxyAddress is what people type into a phone as its proxy: the best listener that there is, under a name or address that leads
// here. In a demonstration, whose authority no phone trusts, that is one without TLS. "" when there is none.
func proxyAddress(c *config.Config, listeners func(transport.Kind) []netip.AddrPort, demo bool) string {
	kinds := []transport.Kind{transport.TLS, transport.TCP, transport.UDP}
	if demo {
		kinds = []transport.Kind{transport.TCP, transport.UDP, transport.TLS}
	}
	for _, k := range kinds {
		list := listeners(k)
		if len(list) == 0 {
			continue
		}
		host := list[0].Addr().String()
		switch {
		case c.SIP.Advertise != "":
			host = c.SIP.Advertise
		case list[0].Addr().IsUnspecified() && !demo && resolves(c.Domains[0]):
			host = c.Domains[0]
		case list[0].Addr().IsUnspecified():
			host = LANAddress() // the own certificate is for that as well
		}
		return "sip:" + net.JoinHostPort(host, strconv.Itoa(int(list[0].Port()))) + ";transport=" + k.String()
	}
	return ""
}

// configured are the listeners of a server that does not run.
func configured(c *config.Config) func(transport.Kind) []netip.AddrPort {
	return func(k transport.Kind) (list []netip.AddrPort) {
		for _, text := range map[transport.Kind][]string{transport.UDP: c.SIP.UDP, transport.TCP: c.SIP.TCP, transport.TLS: c.SIP.TLS}[k] {
			if a, err := netip.ParseAddrPort(text); err == nil {
				list = append(list, a)
			}
		}
		return list
	}
}

// resolves tells whether a name has an address. Those that are reserved for trying have none, and nobody is asked for them.
func resolves(name string) bool {
	for _, reserved := range []string{"test", "example", "invalid", "localhost"} {
		if lower := strings.ToLower(name); lower == reserved || strings.HasSuffix(lower, "."+reserved) {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolving)
	defer cancel()
	list, err := net.DefaultResolver.LookupHost(ctx, name)
	return err == nil && len(list) > 0
}

// LANAddress is the address by which others on the network reach this machine, 127.0.0.1 when there is none.
func LANAddress() string {
	addrs, _ := net.InterfaceAddrs() // none: this machine only
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

// Proxy implements api.Reach.
func (o offline) Proxy() string { return proxyAddress(o.cfg, configured(o.cfg), false) }

// Online implements api.Reach.
func (offline) Online(string, string) bool { return false }

// EndDevice implements api.Reach.
func (offline) EndDevice(string, string) bool { return false }
