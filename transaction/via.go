package transaction

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// wayBack is where the responses to a request go when it is not simply the flow that it came on. Zero: they do.
type wayBack struct {
	// port: for UDP without rport that of sent-by, when the request was sent from another; for connections that of
	// sent-by, to connect to when the connection is gone.
	port uint16
	host string // of sent-by: the name that a TLS peer has to prove when we connect to it
}

// wayBackOf is RFC 3261 §18.2.2 and RFC 3581 §4. The address is always the one that the request came from: received says
// the same when it is there.
//
// A maddr parameter is ignored. It would let anybody direct our responses to any address, and nothing that is alive uses
// it; multicast is not served.
func wayBackOf(via sip.Via, f transport.Flow) wayBack {
	port := via.Port
	if port == 0 {
		port = defaultPort(f.Kind())
	}
	if f.Kind() == transport.UDP {
		if _, ok := via.RPort(); ok || port == f.Remote().Port() {
			return wayBack{}
		}
		return wayBack{port: port}
	}
	if f.Kind() == transport.TLS {
		return wayBack{port: port, host: strings.Clone(via.Host)}
	}
	return wayBack{port: port}
}

// defaultPort is what a sent-by without a port means (RFC 3261 §18.2.2, RFC 7118 §5).
func defaultPort(k transport.Kind) uint16 {
	switch k {
	case transport.TLS:
		return 5061
	case transport.WS:
		return 80
	case transport.WSS:
		return 443
	}
	return 5060
}

// stamp puts received and rport into the top Via of a request as RFC 3261 §18.2.1 and RFC 3581 §4 ask, and returns it. A
// received or rport value that the sender wrote is replaced, it is ours to say.
func stamp(m *sip.Message, via sip.Via, f transport.Flow) *sip.Message {
	if value, ok := stamped(via, f.Remote()); ok {
		_ = m.SetTopVia(value) // if the header block has no room left, responses find their way without it
	}
	return m
}

// stamped is the Via with the parameters; false when it is good as it is.
func stamped(via sip.Via, remote netip.AddrPort) (string, bool) {
	source := remote.Addr().WithZone("")
	_, rport := via.RPort()
	_, received := via.Params.Get("received")
	host, isAddr := via.Addr()
	// RFC 3261 §18.2.1: received if sent-by is a name or another address. RFC 3581 §4: always with rport.
	need := rport || !isAddr || host.Unmap() != source
	if !need && !received {
		return "", false
	}
	var port string
	if rport {
		port = strconv.Itoa(int(remote.Port()))
	}
	b := make([]byte, 0, 160)
	if before, after, ok := cutFlag(string(via.Params), ";rport"); !received && ok {
		// The usual case, a flag that gets its value, without taking the parameters apart.
		via.Params = ""
		b = append(append(append(append(b, via.String()...), before...), ";rport="...), port...)
		b = append(b, after...)
	} else {
		if received {
			via.Params = via.Params.Without("received")
		}
		if rport {
			via.Params = via.Params.With("rport", port)
		}
		b = append(b, via.String()...)
	}
	if need {
		b = source.AppendTo(append(b, ";received="...))
	}
	return string(b), true
}

// cutFlag splits params around a flag, which is written with its semicolon. It finds the plain spelling only, and not
// within quotes.
func cutFlag(params, flag string) (before, after string, ok bool) {
	before, after, ok = strings.Cut(params, flag)
	return before, after, ok && (after == "" || after[0] == ';') && strings.IndexByte(before, '"') < 0
}

// sameSentBy says whether the Via of a response still has the sent-by that we wrote (RFC 3261 §18.1.2).
func sameSentBy(via sip.Via, sentBy string) bool {
	n := len(via.Host)
	if len(sentBy) < n || !strings.EqualFold(sentBy[:n], via.Host) {
		return false
	}
	rest := sentBy[n:]
	if rest == "" {
		return via.Port == 0
	}
	port, err := strconv.ParseUint(strings.TrimPrefix(rest, ":"), 10, 16)
	return err == nil && rest[0] == ':' && uint16(port) == via.Port
}
