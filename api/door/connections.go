package door

import (
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// counts is how much each of many has of something now. The zero value is nothing.
type counts struct {
	mu sync.Mutex // guards m
	m  map[netip.Addr]int
}

// enter counts one more, unless there are as many as most already.
func (c *counts) enter(of netip.Addr, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m[of] >= most {
		return false
	}
	if c.m == nil {
		c.m = map[netip.Addr]int{}
	}
	c.m[of]++
	return true
}

func (c *counts) leave(of netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m[of]--; c.m[of] <= 0 {
		delete(c.m, of)
	}
}

// Connections bounds how many connections an http.Server has: it is its ConnState. WebSockets and event streams that were taken
// over have limits of their own, and are not counted any more.
type Connections struct {
	most    int
	address int
	exempt  func(netip.Addr) bool
	from    counts
	open    prometheus.Gauge
	refused *prometheus.CounterVec // reason: limit, address

	mu sync.Mutex // guards all
	// all are those that are counted, with their networks; the zero address for those that are exempt.
	all map[net.Conn]netip.Addr
}

// NewConnections allows most connections in all, and perAddress from one address or one /64 of IPv6, but for this machine's own
// and for proxies. Metrics are shown unless reg is nil.
func NewConnections(most, perAddress int, proxies Proxies, reg prometheus.Registerer) *Connections {
	c := &Connections{most: most, address: perAddress, all: map[net.Conn]netip.Addr{},
		exempt: func(a netip.Addr) bool { return a.IsLoopback() || proxies.Have(a) },
		open:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "parley_http_connections", Help: "Connections to the door for browsers, without WebSockets and event streams that were taken over."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_http_connections_refused_total",
			Help: "Connections to the door for browsers that were closed at once, because there were too many in all or of one address."}, []string{"reason"}),
	}
	if reg != nil {
		reg.MustRegister(c.open, c.refused)
	}
	for _, reason := range []string{"limit", "address"} {
		c.refused.WithLabelValues(reason)
	}
	return c
}

// State is for http.Server.ConnState.
func (c *Connections) State(nc net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if reason := c.admit(nc); reason != "" {
			c.refused.WithLabelValues(reason).Inc()
			refuse(nc)
		}
	case http.StateHijacked, http.StateClosed:
		c.forget(nc)
	case http.StateActive, http.StateIdle:
	}
}

// admit counts a connection, or says why not.
func (c *Connections) admit(nc net.Conn) (reason string) {
	peer, _ := netip.ParseAddrPort(nc.RemoteAddr().String()) // the zero value is an address as well
	from := network(peer.Addr().Unmap())
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) >= c.most {
		return "limit"
	}
	if c.exempt(peer.Addr().Unmap()) {
		from = netip.Addr{}
	} else if !c.from.enter(from, c.address) {
		return "address"
	}
	c.all[nc] = from
	c.open.Inc()
	return ""
}

// forget is for connections that were not admitted, too.
func (c *Connections) forget(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from, counted := c.all[nc]
	if !counted {
		return
	}
	delete(c.all, nc)
	c.open.Dec()
	if from.IsValid() {
		c.from.leave(from)
	}
}

// refuse closes a connection without leaving a TIME_WAIT behind.
func refuse(nc net.Conn) {
	below := nc
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok { // TLS
		below = t.NetConn()
	}
	if t, ok := below.(interface{ SetLinger(sec int) error }); ok {
		_ = t.SetLinger(0) // it only closes more slowly
	}
	_ = below.Close()
}
