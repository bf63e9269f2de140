package route

import (
	"github.com/parley-im/parley/wire/sip"
)

// Domain stops what is not for us. leave takes what leaves the domain; nil
// refuses it: this server is no relay.
func Domain(h *Home, leave Handler) Step {
	return Step{
		Name: "domain",
		Why:  "before the mux: services only see addresses of this server",
		Handler: HandlerFunc(func(r *Request) {
			if h.Ours(r.URI()) && !r.foreignRoute() {
				r.Next()
				return
			}
			switch {
			case r.IsACK():
			case leave != nil:
				leave.ServeSIP(r)
			default:
				r.Reply(403, "", Warn("this address is outside this server's domains, and federation is not configured"))
			}
		}),
	}
}

// foreignRoute tells whether a Route value is left that is not ours.
func (r *Request) foreignRoute() bool { return r.Msg.Count(sip.HRoute) > 0 && r.routesLeft() > 0 }

// routesLeft counts the Route values behind those of ours.
func (r *Request) routesLeft() int {
	n := -r.popped
	for range r.Msg.Values(sip.HRoute) {
		n++
	}
	return n
}
