package registrar

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

var errNobody = errs.Say(errs.New(errs.NotFound, "registrar: no such address"), "There is no such address here")

// Locate is route.Locator: the targets for an AOR of ours, or for the one device that a
// GRUU names (RFC 5627 §6.1). Targets of one instance are in the order in which to try
// them, one after the other (RFC 5626 §7); all are ordered by q, highest first. A user
// who is not there now gives an empty list; errs.NotFound is for an address that nobody
// has, and for a GRUU that is forged or no longer valid.
func (s *Registrar) Locate(uri sip.URI, done func([]route.Target, error)) {
	aor, instance, all, ok := s.address(uri)
	if !ok {
		done(nil, errNobody)
		return
	}
	list, _ := s.snapshot(aor)
	targets := s.targets(list, instance, all)
	if len(list) > 0 {
		done(targets, nil)
		return
	}
	s.o.Exists(aor, func(exists bool, err error) {
		switch {
		case err != nil:
			done(nil, err)
		case !exists:
			done(nil, errNobody)
		default:
			done(nil, nil)
		}
	})
}

// address tells which account a URI of ours means, and which instance of it; all is true
// for an AOR. The instance of a public GRUU may have no binding now.
func (s *Registrar) address(uri sip.URI) (aor, instance string, all, ok bool) {
	if !uri.IsSIP() || !s.ours(uri.Host) || uri.User == "" {
		return "", "", false, false
	}
	gr, isGRUU := uri.Params.Get("gr")
	switch {
	case !isGRUU:
		return uri.AOR(), "", true, true
	case gr == "":
		d, ok := s.gruu.resolve(uri.User)
		return d.aor, d.instance, false, ok && hasDomain(d.aor, uri)
	}
	aor = uri.AOR()
	instance, ok = s.gruu.instance(aor, gr)
	return aor, instance, false, ok
}

// hasDomain tells whether an AOR is of the domain of a URI: a temporary GRUU is valid in
// its own domain only.
func hasDomain(aor string, uri sip.URI) bool {
	uri.User = "x"
	x := uri.AOR()[1:]
	return len(aor) > len(x) && aor[len(aor)-len(x):] == x
}

// Resolve tells whom a URI of ours names, without asking whether there is such an
// account: an AOR gives (aor, "", true), a GRUU also the device (see DeviceID), whether or
// not it is registered now. ok is false for what is not ours, and for a GRUU that is
// forged or no longer valid.
func (s *Registrar) Resolve(uri sip.URI) (aor, device string, ok bool) {
	aor, device, _, ok = s.address(uri)
	return aor, device, ok
}

// Devices are the bindings of an account that can be reached now, best first. Several of
// one Instance are in the order in which to try them, one after the other.
func (s *Registrar) Devices(aor string) []route.Target {
	list, _ := s.snapshot(aor)
	return s.targets(list, "", true)
}

// Reachable tells whether Devices would return anything. It allocates nothing.
func (s *Registrar) Reachable(aor string) bool {
	list, _ := s.snapshot(aor)
	if len(list) == 0 {
		return false
	}
	now := s.now()
	for _, b := range list {
		if !b.Expires.After(now) {
			continue
		}
		if s.flow(b).Alive() {
			return true
		}
		if _, ok := b.dialable(); ok {
			return true
		}
	}
	return false
}

// flow is the way that a binding came, zero when that is gone.
func (s *Registrar) flow(b *Binding) transport.Flow {
	f := b.Flow
	if f.IsZero() && b.Transport == transport.UDP.String() {
		// Restored before its listener was there, or that listener has gone.
		f, _ = s.o.UDPFlow(b.Local, b.Remote)
	}
	return f
}

// targets makes targets of the bindings that can be reached now.
func (s *Registrar) targets(list []*Binding, instance string, all bool) []route.Target {
	now := s.now()
	list = slices.DeleteFunc(slices.Clone(list), func(b *Binding) bool {
		return !b.Expires.After(now) || !all && b.Instance != instance
	})
	// RFC 5627 §6.1 no. 2: of one instance the most recently refreshed comes first.
	slices.SortStableFunc(list, func(a, b *Binding) int {
		return cmp.Or(cmp.Compare(b.Q, a.Q), b.Updated.Compare(a.Updated))
	})
	out := make([]route.Target, 0, len(list))
	for _, b := range list {
		if t, ok := s.target(b); ok {
			out = append(out, t)
		}
	}
	return out
}

// target is where a request for a binding goes; false when there is no way to it now.
func (s *Registrar) target(b *Binding) (route.Target, bool) {
	t := route.Target{
		URI: b.Contact, Route: b.Path, Q: b.Q, AOR: b.AOR, Device: b.Device, Instance: b.Instance, Caps: b.Params,
	}
	f := s.flow(b)
	if f.Alive() {
		// RFC 5626 §7: over the flow, and with outbound or behind a NAT over nothing else.
		t.Hop = transaction.Hop{Flow: s.towards(b, f), Sticky: b.Outbound || b.natted()}
		return t, true
	}
	if addr, ok := b.dialable(); ok {
		t.Hop = transaction.Hop{Target: transport.Target{Kind: transport.TCP, Addr: addr}}
		return t, true
	}
	return t, false
}

// towards is the flow of a binding, or over UDP without outbound the one to another port of the same host: who
// listens there is no NAT's doing, and cannot be somebody else.
func (s *Registrar) towards(b *Binding, f transport.Flow) transport.Flow {
	addr, ok := b.uri.Addr()
	if b.Outbound || f.Kind() != transport.UDP || len(b.Path) > 0 || !ok || addr.Unmap() != f.Remote().Addr().Unmap() {
		return f
	}
	port := b.uri.Port
	if port == 0 {
		port = 5060
	}
	if g, ok := s.o.UDPFlow(f.Local(), netip.AddrPortFrom(f.Remote().Addr(), port)); ok {
		return g
	}
	return f
}

// Targets are the ways to one device of an account, in the order in which to try them:
// all bindings of an instance, or of a device password, or of the plain device. It is
// for whoever delivers to devices one by one.
func (s *Registrar) Targets(aor, dev string) []route.Target {
	list, _ := s.snapshot(aor)
	list = slices.DeleteFunc(slices.Clone(list), func(b *Binding) bool { return b.Device != dev })
	return s.targets(list, "", true)
}

// Reach is route.Reacher: the binding that has this contact now, for a dialog whose flow
// is gone. A contact that several bindings have reaches none of them, so that nobody gets
// another's requests by registering the same contact.
func (s *Registrar) Reach(contact sip.URI, done func([]route.Target, error)) {
	now := s.now()
	var only *Binding
	for _, r := range s.contacts.get(contact) {
		if b := s.find(r, now); b != nil {
			if only != nil {
				done(nil, errNobody)
				return
			}
			only = b
		}
	}
	if only == nil {
		done(nil, errNobody)
		return
	}
	if t, ok := s.target(only); ok {
		done([]route.Target{t}, nil)
		return
	}
	done(nil, nil)
}

// trustedUntil is until when a connection may speak for an account: as long as a binding
// lives that came on it.
func (s *Registrar) trustedUntil(aor string, f transport.Flow) (until time.Time) {
	list, _ := s.snapshot(aor)
	for _, b := range list {
		if b.Flow == f && len(b.Path) == 0 && b.Expires.After(until) {
			until = b.Expires
		}
	}
	return until
}
