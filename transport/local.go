package transport

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// names knows what is ours: host names, addresses of this machine, ports.
type names struct {
	l     *Layer
	hosts map[string]bool // lower case, names that the configuration gives

	mu      sync.Mutex
	at      int64 // when own was read
	own     map[netip.Addr]bool
	primary [2]netip.Addr   // an address per family that others can reach: IPv4, IPv6
	http    map[uint16]bool // ports that WebSockets came in on
}

// namesFor is how long the addresses of this machine are believed.
const namesFor = int64(30 * time.Second)

func newNames(l *Layer) *names {
	n := &names{l: l, hosts: map[string]bool{}, http: map[uint16]bool{}}
	for _, name := range append([]string{l.options.Advertise}, l.options.Names...) {
		if name != "" {
			n.hosts[hostKey(name)] = true
		}
	}
	n.read()
	return n
}

func hostKey(host string) string {
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// read asks the system for its addresses.
func (n *names) read() {
	own, primary := map[netip.Addr]bool{}, [2]netip.Addr{}
	list, err := net.InterfaceAddrs()
	if err != nil {
		n.l.log.Warn("cannot list the addresses of this machine", "err", err)
	}
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := p.Addr().Unmap().WithZone("")
		own[addr] = true
		f := family(addr)
		if addr.IsGlobalUnicast() && !primary[f].IsValid() {
			primary[f] = addr
		}
	}
	n.mu.Lock()
	n.own, n.primary, n.at = own, primary, n.l.now()
	n.mu.Unlock()
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// isOwn tells whether a is an address of this machine.
func (n *names) isOwn(a netip.Addr) bool {
	n.mu.Lock()
	known, stale := n.own[a], n.l.now()-n.at > namesFor
	n.mu.Unlock()
	if known || !stale {
		return known
	}
	n.read()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.own[a]
}

// noteHTTP remembers a port that WebSockets come in on.
func (n *names) noteHTTP(port uint16) {
	n.mu.Lock()
	n.http[port] = true
	n.mu.Unlock()
}

// reachable is an address of ours that a peer at remote can reach, as far as
// we know.
func (n *names) reachable(remote netip.Addr) netip.Addr {
	f := family(remote)
	loopback := [2]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	n.mu.Lock()
	defer n.mu.Unlock()
	if remote.IsLoopback() || !n.primary[f].IsValid() {
		return loopback[f]
	}
	return n.primary[f]
}

// Via is what our Via header field says in a request over f (RFC 3261
// §18.1.1): the transport's name, and the host and port at which we listen for
// that transport. The port is left out when it is the default.
func (l *Layer) Via(f Flow) (transportName, sentBy string) {
	k := f.Kind()
	local, remote := f.Local(), f.Remote()
	addr := local.Addr()
	if !addr.IsValid() || addr.IsUnspecified() {
		addr = l.names.reachable(remote.Addr())
	}
	host := l.options.Advertise
	if host == "" {
		host = addr.WithZone("").String()
	}
	host = strings.Trim(host, "[]")
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := local.Port()
	if k == TCP || k == TLS {
		port = l.listenPort(k, addr)
	}
	if port == 0 || port == defaultPort(k) {
		return k.ViaName(), host
	}
	return k.ViaName(), host + ":" + strconv.Itoa(int(port))
}

// listenPort is the port at which addr takes connections of a kind; 0 if none.
func (l *Layer) listenPort(k Kind, addr netip.Addr) (port uint16) {
	for _, ln := range l.tcp {
		if ln.k != k {
			continue
		}
		if ln.bound.Addr() == addr || ln.bound.Addr().IsUnspecified() {
			return ln.bound.Port()
		}
		port = ln.bound.Port()
	}
	return port
}

// defaultPort, RFC 3261 §19.1.2 and RFC 7118 §5.5.
func defaultPort(k Kind) uint16 {
	switch k {
	case TLS:
		return 5061
	case WS:
		return 80
	case WSS:
		return 443
	}
	return 5060
}

// IsLocal tells whether host:port is this server: host is a configured name or
// an address of this machine that a listener is bound to, and port is a
// listener's. Port 0 stands for the default ports, and for any port of ours
// when host is a configured name.
func (l *Layer) IsLocal(host string, port uint16) bool { return l.isLocal(0, host, port) }

// IsListener is IsLocal for listeners of one kind alone: a device on this machine
// may well have a UDP port whose number is that of a TCP listener.
func (l *Layer) IsListener(k Kind, host string, port uint16) bool { return l.isLocal(k, host, port) }

// isLocal looks at listeners of kind k, or of all kinds if k is 0.
func (l *Layer) isLocal(k Kind, host string, port uint16) bool {
	key := hostKey(host)
	named := l.names.hosts[key]
	addr, err := netip.ParseAddr(key)
	if err != nil && !named {
		return false
	}
	addr = addr.Unmap().WithZone("")
	if named && port == 0 {
		return true
	}
	for _, u := range l.udp {
		if (k == 0 || k == UDP) && portMatches(port, u.bound.Port(), UDP) && (named || l.covers(u.bound.Addr(), addr)) {
			return true
		}
	}
	for _, ln := range l.tcp {
		if (k == 0 || k == ln.k) && portMatches(port, ln.bound.Port(), ln.k) && (named || l.covers(ln.bound.Addr(), addr)) {
			return true
		}
	}
	l.names.mu.Lock()
	http := l.names.http[port]
	l.names.mu.Unlock()
	return http && (k == 0 || k >= WS) && (named || l.names.isOwn(addr))
}

func portMatches(port, bound uint16, k Kind) bool {
	return port == bound || port == 0 && bound == defaultPort(k)
}

// covers tells whether a listener bound to bound takes what is sent to addr.
func (l *Layer) covers(bound, addr netip.Addr) bool {
	return bound == addr || bound.IsUnspecified() && l.names.isOwn(addr)
}
