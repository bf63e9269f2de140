package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// bind opens all listeners.
func (l *Layer) bind() error {
	o := &l.options
	if len(o.TLS) > 0 && o.TLSConfig == nil {
		return errors.New("transport: TLS listeners need a certificate (Options.TLSConfig)")
	}
	for _, a := range o.UDP {
		if err := l.bindUDP(a); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		k     Kind
		addrs []string
	}{{TCP, o.TCP}, {TLS, o.TLS}} {
		for _, a := range list.addrs {
			if err := l.bindTCP(list.k, a, list.addrs); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseListen reads "1.2.3.4:5060", "[::]:5060" or ":5060". network is "4" or
// "6" when the socket is to be of one family only, "" when [::] takes both.
func parseListen(s string, siblings []string) (addr netip.AddrPort, network string, err error) {
	text := s
	if strings.HasPrefix(text, ":") {
		text = "[::]" + text
	}
	if addr, err = netip.ParseAddrPort(text); err != nil {
		return addr, "", fmt.Errorf("transport: %q is not an address and port such as 0.0.0.0:5060 or [::]:5060", s)
	}
	addr = unmap(addr)
	switch {
	case addr.Addr().Is4():
		return addr, "4", nil
	case !addr.Addr().IsUnspecified():
		return addr, "6", nil
	}
	for _, other := range siblings {
		v4, err := netip.ParseAddrPort(other)
		if err == nil && v4.Addr().Is4() && v4.Port() == addr.Port() && v4.Port() != 0 {
			return addr, "6", nil // that one has the IPv4 half
		}
	}
	return addr, "", nil
}

// bindError says in words why an address cannot be bound.
func bindError(k Kind, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("transport: %s %s: the port is in use by another program: %w", k, addr, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("transport: %s %s: not allowed to use this port (ports below 1024 need privileges): %w", k, addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("transport: %s %s: this machine does not have that address: %w", k, addr, err)
	}
	return fmt.Errorf("transport: %s %s: %w", k, addr, err)
}

func (l *Layer) bindTCP(k Kind, a string, siblings []string) error {
	addr, network, err := parseListen(a, siblings)
	if err != nil {
		return err
	}
	lc := net.ListenConfig{Control: listenControl}
	ln, err := lc.Listen(context.Background(), "tcp"+network, addr.String())
	if err != nil {
		return bindError(k, a, err)
	}
	bound := netip.AddrPortFrom(addr.Addr(), addrPort(ln.Addr()).Port())
	l.tcp = append(l.tcp, &tcpListener{Listener: ln, k: k, name: k.String() + ":" + a, bound: bound})
	return nil
}

// bindUDP opens the sockets of one UDP listener. SO_REUSEPORT would let a
// second server on the same port steal half of the datagrams unnoticed, so the
// port is first bound without it.
func (l *Layer) bindUDP(a string) error {
	addr, network, err := parseListen(a, l.options.UDP)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(context.Background(), "udp"+network, addr.String())
	if err != nil {
		return bindError(UDP, a, err)
	}
	bound := netip.AddrPortFrom(addr.Addr(), addrPort(pc.LocalAddr()).Port())
	conns := []*net.UDPConn{pc.(*net.UDPConn)}
	if l.limits.Sockets > 1 && reusePort != nil {
		_ = pc.Close()
		lc.Control = reusePort
		conns = conns[:0]
		for range l.limits.Sockets {
			pc, err := lc.ListenPacket(context.Background(), "udp"+network, bound.String())
			if err != nil {
				for _, c := range conns {
					_ = c.Close()
				}
				return bindError(UDP, a, err)
			}
			conns = append(conns, pc.(*net.UDPConn))
		}
	}
	l.udp = append(l.udp, newUDPListener(l, "udp:"+a, bound, network, conns))
	return nil
}
