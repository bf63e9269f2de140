package route

import (
	"slices"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// NextHop finds the way to a peer with whom this server has a dialog of its
// own, a watcher as a rule: the flow it came over while that lives; else the
// device its GRUU names, the binding that has its Contact now, or the proxy
// that is first in its route set, where the request came from. It is what
// dialog.Options.NextHop wants.
func (p *Proxy) NextHop(contact string, routes []string, flow transport.Flow, done func(transaction.Hop, error)) {
	if flow.Alive() {
		done(transaction.Hop{Flow: flow, Sticky: true}, nil)
		return
	}
	u, err := sip.ParseURI(contact)
	if err != nil {
		done(transaction.Hop{}, err)
		return
	}
	found := func(list []Target, err error) {
		for _, t := range list {
			if t.Hop.Flow.Alive() {
				done(t.Hop, nil)
				return
			}
		}
		if err == nil {
			err = errs.New(errs.NotFound, "route: the device has no connection")
		}
		done(transaction.Hop{}, err)
	}
	switch {
	case len(routes) > 0:
		from := flow.Remote().Addr().Unmap()
		p.resolve(Target{URI: contact, Route: routes}, func(list []transport.Target, err error) {
			// RFC 3261 §12.1.1: the first route is the proxy that handed us the
			// request. Anybody can write another one, who never asked for what we send.
			i := slices.IndexFunc(list, func(t transport.Target) bool { return t.Addr.Addr().Unmap() == from })
			if err != nil || i < 0 {
				done(transaction.Hop{}, errs.New(errs.NotFound, "route: no way to the first route"))
				return
			}
			done(transaction.Hop{Target: list[i]}, nil)
		})
	case p.home.isGRUU(u) && p.locator != nil:
		p.locator.Locate(u, found)
	case p.reacher != nil:
		p.reacher.Reach(u, found)
	default:
		found(nil, nil)
	}
}
