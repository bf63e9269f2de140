package route

import (
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// Home says what belongs to this server.
type Home struct {
	// Domains are the SIP domains we are responsible for, in lower case.
	Domains []string
	// IsLocal tells whether host:port is one of our listeners; port 0 is the
	// default port. nil: none is.
	IsLocal func(host string, port uint16) bool
}

// Domain tells whether host is one of our domains.
func (h *Home) Domain(host string) bool {
	host = strings.TrimSuffix(host, ".")
	for _, d := range h.Domains {
		if strings.EqualFold(d, host) {
			return true
		}
	}
	return false
}

// Listener tells whether host:port is a listener of ours.
func (h *Home) Listener(host string, port uint16) bool {
	return h.IsLocal != nil && h.IsLocal(host, port)
}

// Ours tells whether we are responsible for a URI: its host is one of our
// domains or listeners. RFC 3261 §16.5.
func (h *Home) Ours(u sip.URI) bool {
	return u.IsSIP() && (h.Domain(u.Host) || h.Listener(u.Host, u.Port))
}

// isGRUU tells whether a URI is a GRUU of ours. RFC 5627 §3.1.
func (h *Home) isGRUU(u sip.URI) bool {
	if !u.IsSIP() || u.User == "" || !h.Domain(u.Host) {
		return false
	}
	_, ok := u.Params.Get("gr")
	return ok
}
