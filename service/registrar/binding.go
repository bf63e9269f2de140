package registrar

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Plain is the device of everybody who names none: neither a +sip.instance nor a device
// password.
const Plain = "plain"

// DeviceID is the name of a device in cursors and records: its +sip.instance, else the
// device password it signed in with, else the account's one plain device.
func DeviceID(instance, password string) string {
	switch {
	case instance != "":
		return instance
	case password != "":
		return password
	}
	return Plain
}

// Binding is one registered contact. Its exported fields never change: a refresh makes a
// new one.
type Binding struct {
	AOR      string
	Key      string // unique within the AOR: instance and reg-id, or the contact URI (RFC 5626 §6)
	Contact  string // URI as registered
	Params   string // its parameters as registered, without expires and q: ";a=b;c" (RFC 3840)
	Instance string // +sip.instance without brackets, "urn:uuid:…"; "" for none
	Device   string // see DeviceID
	Password string // id of the device password it signed in with; "" for the account's own
	RegID    uint32 // reg-id, 0 for none
	Outbound bool   // RFC 5626 applies: it dies with its flow

	CallID    string
	CSeq      uint32
	UserAgent string
	Path      []string // RFC 3327, nearest to us first
	Q         uint16   // 0…1000

	Created, Updated, Expires time.Time

	// Flow is where the REGISTER came from; zero when that connection is gone, or after a
	// restart. Transport, Listener, Local and Remote describe it also then.
	Flow          transport.Flow
	Transport     string
	Listener      string
	Local, Remote netip.AddrPort
	uri           sip.URI   // Contact, parsed
	temp          tempState // as it was when the binding was made
	due           time.Time // when expiry looks at it next; guarded by the shard\'s mutex
}

// URI is the contact, parsed.
func (b *Binding) URI() sip.URI { return b.uri }

// left is how many whole seconds the binding lives on, rounded up.
func (b *Binding) left(now time.Time) int64 {
	return max(0, int64((b.Expires.Sub(now)+time.Second-1)/time.Second))
}

// same tells whether a contact of a REGISTER names this binding: by instance and reg-id,
// or by URI comparison (RFC 5626 §6, RFC 3261 §10.3 step 7).
func (b *Binding) same(c *contact) bool {
	if b.RegID != 0 || c.regID != 0 {
		return b.RegID == c.regID && b.Instance == c.instance
	}
	return b.uri.Equal(c.uri)
}

// dies tells whether the binding is useless once the connection it came on is gone: with
// outbound always (RFC 5626 §7), in a browser, and whenever the contact is not plainly an
// address at which the peer of that connection accepts others.
func (b *Binding) dies() bool {
	_, ok := b.dialable()
	return !ok
}

// dialable is the address to connect to when there is no flow: TCP, the same host that
// registered, and a port that is not just the far end of the connection it came on.
func (b *Binding) dialable() (netip.AddrPort, bool) {
	if b.Outbound || b.Transport != "tcp" {
		return netip.AddrPort{}, false
	}
	uri := b.uri
	if len(b.Path) > 0 {
		// The proxy in front takes its place (RFC 3327 §5.4).
		na, err := sip.ParseNameAddr(b.Path[0])
		if err != nil {
			return netip.AddrPort{}, false
		}
		uri = na.URI
	}
	t, _ := uri.Params.Get("transport")
	addr, ok := uri.Addr()
	if !ok || !strings.EqualFold(t, "tcp") || uri.Scheme != "sip" || addr.Unmap() != b.Remote.Addr().Unmap() {
		return netip.AddrPort{}, false
	}
	port := uri.Port
	if port == 0 {
		port = 5060
	}
	if port == b.Remote.Port() {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), port), true
}

// natted tells whether the device is not where its contact says, so that nothing but the
// flow reaches it.
func (b *Binding) natted() bool {
	addr, ok := b.uri.Addr()
	port := b.uri.Port
	if port == 0 {
		port = 5060
	}
	return !ok || addr.Unmap() != b.Remote.Addr().Unmap() || port != b.Remote.Port()
}

// Stored is the binding as the store keeps it.
func (b *Binding) Stored() store.Binding {
	text := func(a netip.AddrPort) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	return store.Binding{
		AOR: b.AOR, Key: b.Key, Contact: b.Contact, Params: b.Params, Instance: b.Instance, Device: b.Device,
		RegID: b.RegID, CallID: b.CallID, CSeq: b.CSeq, UserAgent: b.UserAgent, Path: strings.Join(b.Path, ", "), Q: b.Q,
		Created: b.Created, Updated: b.Updated, Expires: b.Expires, Transport: b.Transport, Listener: b.Listener,
		Local: text(b.Local), Remote: text(b.Remote), Outbound: b.Outbound, Password: b.Password, GRUU: b.temp.String(),
	}
}

// restored is a binding of the store. ok is false when it makes no sense.
func restored(x *store.Binding) (*Binding, bool) {
	uri, err := sip.ParseURI(x.Contact)
	if err != nil || x.AOR == "" || x.Key == "" {
		return nil, false
	}
	b := &Binding{
		AOR: x.AOR, Key: x.Key, Contact: x.Contact, Params: x.Params, Instance: x.Instance, Device: x.Device,
		RegID: x.RegID, CallID: x.CallID, CSeq: x.CSeq, UserAgent: x.UserAgent, Q: x.Q,
		Created: x.Created, Updated: x.Updated, Expires: x.Expires, Transport: x.Transport, Listener: x.Listener,
		Outbound: x.Outbound, Password: x.Password, uri: uri, temp: parseTemp(x.GRUU),
	}
	if x.Path != "" {
		b.Path = splitPath(x.Path)
	}
	b.Local, _ = netip.ParseAddrPort(x.Local)
	b.Remote, _ = netip.ParseAddrPort(x.Remote)
	return b, true
}

// splitPath cuts a Path value at the commas outside of angle brackets and quotes.
func splitPath(s string) []string {
	var list []string
	start, angle, quote := 0, false, false
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == ',' && !angle && !quote {
			if v := strings.TrimSpace(s[start:i]); v != "" {
				list = append(list, v)
			}
			start = i + 1
			continue
		}
		switch s[i] {
		case '"':
			quote = !quote && !angle
		case '<':
			angle = !quote
		case '>':
			angle = angle && quote
		}
	}
	return list
}

// qText writes q as RFC 3261 §25.1 has it: "0.7", "1".
func qText(q uint16) string {
	switch {
	case q >= 1000:
		return "1"
	case q == 0:
		return "0"
	}
	return "0." + strings.TrimRight(strconv.Itoa(1000 + int(q))[1:], "0")
}

// parseQ reads a qvalue in thousandths. No value is 1 (RFC 3261 §16.6).
func parseQ(s string) (uint16, bool) {
	whole, frac, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(frac) > 3 {
		return 0, false
	}
	n, err := strconv.ParseUint((frac + "000")[:3], 10, 16)
	if err != nil || whole == "1" && n > 0 {
		return 0, false
	}
	if whole == "1" {
		n = 1000
	}
	return uint16(n), true
}
