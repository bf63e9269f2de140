package push

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/parley-im/parley/base/errs"
)

// Subscriptions name a URL that this server then calls, so anybody who may sign in could make it call machines that only it can
// reach. It calls public addresses only, and looks at the address that is dialled, after the name was resolved.

// notPublic are ranges beside those that netip knows (IANA's registries of special-purpose addresses, RFC 6890).
var notPublic = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16")

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// public tells whether an address is one of the whole Internet.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// Endpoint says why a subscription's URL cannot be used, when it shows at once; most show when they are called.
func Endpoint(u *url.URL) error {
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && !public(a) {
		return errs.New(errs.Invalid, "push: the endpoint is not an address that the Internet has")
	}
	if p := u.Port(); p != "" && p != "443" {
		return errs.New(errs.Invalid, "push: the endpoint must be on port 443")
	}
	return nil
}

// newClient makes a client that calls public addresses only, and follows nobody elsewhere.
func newClient(private bool, config *tls.Config) *http.Client {
	d := &net.Dialer{Timeout: within}
	if !private {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil || !public(a.Addr()) || a.Port() != 443 {
				return errs.New(errs.Forbidden, "push: %s is not public", address)
			}
			return nil
		}
	}
	return &http.Client{
		Timeout:       within,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: d.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true, TLSHandshakeTimeout: within,
			MaxIdleConnsPerHost: senders, MaxConnsPerHost: 2 * senders, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: within, MaxResponseHeaderBytes: 16 << 10},
	}
}
