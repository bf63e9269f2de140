// Package dialog holds dialogs as RFC 3261 §12 defines them and the notifier's
// side of subscriptions, RFC 6665. Where a request inside a dialog goes is
// asked through a hook, because only the floors above know bindings.
package dialog

import (
	"crypto/rand"
	"math"
	"slices"
	"strconv"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/wire/sip"
)

// ID identifies a dialog at one of its ends. RFC 3261 §12.
type ID struct {
	CallID string
	Local  string // our tag
	Remote string // the peer's tag
}

// ServerID is the ID of the dialog a request names, as its receiver sees it.
func ServerID(m *sip.Message) ID {
	return ID{CallID: m.CallID(), Local: m.ToTag(), Remote: m.FromTag()}
}

// Dialog is what one end needs to send requests inside a dialog.
// RFC 3261 §12. It is a plain value without a lock.
type Dialog struct {
	ID
	LocalURI  string   // name-addr for From, without the tag
	RemoteURI string   // name-addr for To, without the tag
	Target    string   // remote target: the peer's Contact URI
	Routes    []string // route set, nearest first; nil when empty
	LocalSeq  uint32   // CSeq of the last request sent
	RemoteSeq uint32   // CSeq of the last request received; 0 for none
	Secure    bool     // the dialog was made by a sips request. §12.1.1
}

// NewTag makes a tag with 80 random bits. RFC 3261 §19.3 asks for 32.
func NewTag() string { return rand.Text()[:16] }

// FromRequest makes the dialog that a request creates at its receiver.
// RFC 3261 §12.1.1. The error is errs.Invalid: no usable Contact, From or To.
func FromRequest(m *sip.Message, localTag string) (Dialog, error) {
	target, err := contactURI(m)
	if err != nil {
		return Dialog{}, err
	}
	from, err := m.From()
	if err != nil {
		return Dialog{}, errs.Wrap(errs.Invalid, err, "dialog: From")
	}
	to, err := m.To()
	if err != nil {
		return Dialog{}, errs.Wrap(errs.Invalid, err, "dialog: To")
	}
	d := Dialog{
		ID:        ID{CallID: m.CallID(), Local: localTag, Remote: from.Tag()},
		LocalURI:  party(to),
		RemoteURI: party(from),
		Target:    target,
		Routes:    ServerRoutes(m),
		Secure:    m.IsRequest() && len(m.RequestURI()) > 5 && m.RequestURI()[:5] == "sips:",
	}
	if seq, err := m.CSeq(); err == nil {
		d.RemoteSeq = seq.Seq
	}
	return d, nil
}

// FromResponse makes the dialog that a response creates at the sender of the
// request. RFC 3261 §12.1.2.
func FromResponse(m *sip.Message) (Dialog, error) {
	target, err := contactURI(m)
	if err != nil {
		return Dialog{}, err
	}
	from, err := m.From()
	if err != nil {
		return Dialog{}, errs.Wrap(errs.Invalid, err, "dialog: From")
	}
	to, err := m.To()
	if err != nil {
		return Dialog{}, errs.Wrap(errs.Invalid, err, "dialog: To")
	}
	d := Dialog{
		ID:        ID{CallID: m.CallID(), Local: from.Tag(), Remote: to.Tag()},
		LocalURI:  party(from),
		RemoteURI: party(to),
		Target:    target,
		Routes:    ClientRoutes(m),
	}
	if seq, err := m.CSeq(); err == nil {
		d.LocalSeq = seq.Seq
	}
	return d, nil
}

// party is a From or To without its parameters.
func party(n sip.NameAddr) string {
	n.Params = ""
	return n.String()
}

// contactURI is the one Contact of a message that creates a dialog or
// refreshes its target. RFC 3261 §8.1.1.8: exactly one, sip or sips.
func contactURI(m *sip.Message) (string, error) {
	list, star, err := m.Contacts()
	if err != nil {
		return "", errs.Wrap(errs.Invalid, err, "dialog: Contact")
	}
	if star || len(list) != 1 || !list[0].URI.IsSIP() {
		return "", errs.New(errs.Invalid, "dialog: exactly one sip Contact is needed")
	}
	u := list[0].URI
	u.Headers = ""
	u.Params = u.Params.Without("method")
	return u.String(), nil
}

// ServerRoutes is the route set at the receiver of a request: Record-Route in
// its order. RFC 3261 §12.1.1.
func ServerRoutes(m *sip.Message) []string { return slices.Collect(m.Values(sip.HRecordRoute)) }

// ClientRoutes is the route set at the receiver of a response: Record-Route in
// reverse order. RFC 3261 §12.1.2.
func ClientRoutes(m *sip.Message) []string {
	routes := ServerRoutes(m)
	slices.Reverse(routes)
	return routes
}

// CheckSeq accepts the CSeq of a request inside the dialog: false means 500,
// it is older than one already seen. RFC 3261 §12.2.2.
func (d *Dialog) CheckSeq(m *sip.Message) bool {
	seq, err := m.CSeq()
	if err != nil || d.RemoteSeq != 0 && seq.Seq <= d.RemoteSeq {
		return false
	}
	d.RemoteSeq = seq.Seq
	return true
}

// Refresh takes the new Contact of a target refresh request. RFC 3261 §12.2.2.
// A request without Contact leaves the target as it is.
func (d *Dialog) Refresh(m *sip.Message) error {
	if !m.Has(sip.HContact) {
		return nil
	}
	target, err := contactURI(m)
	if err != nil {
		return err
	}
	d.Target = target
	return nil
}

// Request drafts the next request inside the dialog: RFC 3261 §12.2.1.1. Via
// is the transaction's, Contact the caller's.
func (d *Dialog) Request(method string) *sip.Draft {
	d.LocalSeq = d.following()
	uri, routes := d.Target, d.Routes
	if len(routes) > 0 && !loose(routes[0]) {
		// A strict router on top: it gets the Request-URI, the target goes last.
		if n, err := sip.ParseNameAddr(routes[0]); err == nil {
			uri = n.URI.String()
			routes = append(slices.Clone(routes[1:]), "<"+d.Target+">")
		}
	}
	m := sip.NewRequest(method, uri)
	m.Add(sip.HMaxForwards, "70")
	for _, r := range routes {
		m.Add(sip.HRoute, r)
	}
	m.Add(sip.HFrom, d.LocalURI+";tag="+d.Local)
	to := d.RemoteURI
	if d.Remote != "" {
		to += ";tag=" + d.Remote
	}
	m.Add(sip.HTo, to)
	m.Add(sip.HCallID, d.CallID)
	m.Add(sip.HCSeq, strconv.FormatUint(uint64(d.LocalSeq), 10)+" "+method)
	return m
}

// following is the CSeq of the next request. RFC 3261 §8.1.1.5: it is less than 2**31.
func (d *Dialog) following() uint32 {
	if d.LocalSeq >= math.MaxInt32 {
		return 1
	}
	return d.LocalSeq + 1
}

func loose(route string) bool {
	n, err := sip.ParseNameAddr(route)
	return err == nil && n.URI.Params.Has("lr")
}
