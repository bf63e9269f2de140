package route

import (
	"slices"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// ForwardInDialog sends a request of a dialog that runs through us to the
// other side: over the flow its token names; to the device a GRUU names
// (RFC 5627 §5.1); or, when the flow is gone, to the binding that has this
// contact now; else 430 (RFC 5626 §5.3.1). An ACK is forwarded statelessly.
// OnResponse and Done of o are honoured as in Forward.
func (p *Proxy) ForwardInDialog(r *Request, o Options) {
	switch r.Msg.Method() {
	case sip.INVITE, sip.UPDATE, sip.SUBSCRIBE, sip.NOTIFY:
		// RFC 3261 §16.6 step 4: SHOULD, for an endpoint that lost its dialog.
		o.RecordRoute = true
	}
	flow, live := r.token.flow(p.transport)
	u := r.URI()
	switch {
	case p.home.isGRUU(u) && p.locator != nil && r.routesLeft() == 0:
		p.locator.Locate(u, func(list []Target, err error) {
			if err != nil {
				list = nil
			}
			p.toDevice(r, o, list, flow, live)
		})
	case live:
		p.metrics.flows.WithLabelValues("flow").Inc()
		p.toDialog(r, o, p.peer(r, flow))
	case r.routesLeft() > 0 && o.Only == "":
		// The other side is behind further proxies: the next Route says where.
		p.metrics.flows.WithLabelValues("reached").Inc()
		p.toDialog(r, o, Target{URI: r.Msg.RequestURI()})
	case p.reacher != nil && u.IsSIP():
		p.reacher.Reach(u, func(list []Target, err error) {
			if err != nil {
				list = nil
			}
			p.toDevice(r, o, list, flow, false)
		})
	default:
		p.toDevice(r, o, nil, flow, false)
	}
}

// peer is the target at the far end of a live flow; the Request-URI stays.
func (p *Proxy) peer(r *Request, flow transport.Flow) Target {
	return Target{URI: r.Msg.RequestURI(), Hop: transaction.Hop{Flow: flow, Sticky: true}}
}

// toDevice chooses among the bindings of one device: the one on the dialog's
// own flow first. Without any, the flow itself is good enough while it lives.
func (p *Proxy) toDevice(r *Request, o Options, list []Target, flow transport.Flow, live bool) {
	if o.Only != "" {
		list = slices.DeleteFunc(slices.Clone(list), func(t Target) bool { return t.AOR != o.Only })
	}
	for _, t := range list {
		if live && t.Hop.Flow == flow {
			p.metrics.flows.WithLabelValues("flow").Inc()
			p.toDialog(r, o, t)
			return
		}
	}
	switch {
	case len(list) > 0:
		p.metrics.flows.WithLabelValues("reached").Inc()
		t := list[0]
		t.Instance = ""
		p.toDialog(r, o, t)
	case live:
		p.metrics.flows.WithLabelValues("flow").Inc()
		p.toDialog(r, o, p.peer(r, flow))
	default:
		p.metrics.flows.WithLabelValues("lost").Inc()
		// RFC 5626 §11.5
		p.refuse(r, o, 430, Warn("the other side's connection is gone"))
	}
}

// toDialog forwards to one target inside a dialog.
func (p *Proxy) toDialog(r *Request, o Options, t Target) {
	if r.IsACK() {
		p.forwardACK(r, t)
		return
	}
	f := p.newFork(r, o)
	if f == nil {
		return
	}
	f.dialog = true
	// A target inside a dialog is no binding that could be tried elsewhere.
	t.Q = 1000
	p.begin(f, []Target{t}, false)
}

// forwardACK passes the ACK of a 2xx on, statelessly. RFC 3261 §16.11. Its
// body is judged like any other; what must not pass is left out.
func (p *Proxy) forwardACK(r *Request, t Target) {
	if n, ok := r.Msg.Int(sip.HMaxForwards); ok && n == 0 {
		return
	}
	d := p.copyRequest(r, t)
	if p.body != nil && len(r.Msg.Body()) > 0 && p.body(r.Msg) != nil {
		d.Body("", nil)
	}
	h := t.Hop
	if !h.Flow.IsZero() || h.Target.Addr.IsValid() {
		p.sendACK(h, d)
		return
	}
	p.resolve(t, func(list []transport.Target, err error) {
		if err == nil && len(list) > 0 {
			p.sendACK(transaction.Hop{Target: list[0]}, d)
		}
	})
}

func (p *Proxy) sendACK(h transaction.Hop, d *sip.Draft) {
	if err := p.transactions.SendStateless(h, d); err != nil {
		p.log.Debug("ACK not forwarded", "err", err)
	}
}

// resolve finds the addresses of a target: of its first Route value, or of its
// URI. Numeric hosts need no look-up. RFC 3261 §16.6 step 7, RFC 3263 §4.
func (p *Proxy) resolve(t Target, done func([]transport.Target, error)) {
	u, err := sip.ParseURI(t.URI)
	if err != nil {
		done(nil, err)
		return
	}
	secure := u.Scheme == "sips"
	if len(t.Route) > 0 {
		n, err := sip.ParseNameAddr(t.Route[0])
		if err != nil {
			done(nil, err)
			return
		}
		u = n.URI
	}
	if secure {
		// RFC 3261 §16.6 step 7: as if the input were a SIPS URI.
		u.Scheme = "sips"
	}
	if list, ok := literal(u); ok {
		done(list, nil)
		return
	}
	if p.resolver == nil {
		done(nil, errNoResolver)
		return
	}
	p.resolver.Resolve(u, done)
}
