package door

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the addresses of proxies that are believed.
type Proxies []netip.Prefix

// Have tells whether an address is that of a proxy.
func (p Proxies) Have(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(of netip.Prefix) bool { return of.Contains(a) })
}

// client is where a request of a proxy came from: in X-Forwarded-For, to which each proxy adds whom it heard, the last address
// that is not a proxy's. What stands before that anybody may have written. Where a proxy names none that can be read, the
// request is the proxy's own.
//
// The header Forwarded is not read: of two headers a proxy sets one, and passes on in the other what anybody has written.
func (p Proxies) client(proxy netip.Addr, h http.Header) netip.Addr {
	last := proxy
	for _, row := range slices.Backward(h["X-Forwarded-For"]) {
		for more := true; more; {
			at := strings.LastIndexByte(row, ',')
			item := strings.Trim(row[at+1:], " \t")
			if more = at >= 0; more {
				row = row[:at]
			}
			if item == "" { // RFC 9110 §5.6.1.2
				continue
			}
			a, ok := forwarded(item)
			if !ok {
				return last
			}
			if last = a; !p.Have(a) {
				return a
			}
		}
	}
	return last
}

// forwarded reads an address as proxies write it: some with a port, and IPv6 with or without brackets.
func forwarded(item string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(item, "["), "]"))
	if err != nil {
		ap, err := netip.ParseAddrPort(item)
		if err != nil {
			return a, false
		}
		a = ap.Addr()
	}
	a = a.Unmap().WithZone("")
	return a, !a.IsUnspecified() && !a.IsMulticast()
}

// overTLS tells whether a request came to a proxy over TLS: the nearest one says so in X-Forwarded-Proto, some with the scheme of
// WebSockets. Where it does not, it is as it came from the proxy.
func overTLS(h http.Header, here bool) bool {
	rows := h["X-Forwarded-Proto"]
	if len(rows) == 0 {
		return here
	}
	last := rows[len(rows)-1]
	switch strings.ToLower(strings.Trim(last[strings.LastIndexByte(last, ',')+1:], " \t")) {
	case "https", "wss":
		return true
	case "http", "ws":
		return false
	}
	return here
}

// network is what is counted as one: an address, or a /64 of IPv6, which one machine has to itself.
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
