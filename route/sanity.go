package route

import (
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// The steps of this file are RFC 3261 §16.3 in its order. They come before
// authentication: they cost little, and 401 must not hide their answers.

// Sanity refuses what does not follow the grammar or contradicts itself.
// RFC 3261 §16.3 item 1, RFC 4475.
func Sanity() Step {
	return Step{
		Name:    "sanity",
		Why:     "first: every later step may trust what it reads",
		Handler: HandlerFunc(sanity),
	}
}

func sanity(r *Request) {
	if err := sip.Check(r.Msg); err != nil {
		if !r.Msg.Answerable() {
			return
		}
		var opts []Option
		if err.Detail != "" {
			opts = append(opts, Warn(err.Detail))
		}
		r.Reply(err.Status, err.Reason, opts...)
		return
	}
	r.Next()
}

// MethodPolicy judges a method: 0 lets it pass, 405 or 501 refuse it.
type MethodPolicy func(method string) int

// Methods refuses methods outside the configured list, and those nobody takes.
// RFC 3261 §8.2.1: 405 with Allow for what we know, 501 for what we do not.
func Methods(x *Mux, allowed MethodPolicy) Step {
	return Step{
		Name: "methods",
		Why:  "before routing: what cannot be recorded must not be relayed under a name we do not know",
		Handler: HandlerFunc(func(r *Request) {
			method := r.Msg.Method()
			if status := allowed(method); status != 0 {
				r.Reply(status, "", Header(sip.HAllow, x.Allow()))
				return
			}
			if !x.Handles(method) {
				x.refuseMethod(r)
				return
			}
			r.Next()
		}),
	}
}

// Scheme refuses Request-URIs that are neither sip nor sips.
// RFC 3261 §16.3 item 2; a tel URI is for a gateway, and there is none.
func Scheme() Step {
	return Step{
		Name: "scheme",
		Why:  "before the Request-URI's host is looked at",
		Handler: HandlerFunc(func(r *Request) {
			if !r.URI().IsSIP() {
				r.Reply(416, "", Warn("only sip and sips addresses can be reached here"))
				return
			}
			r.Next()
		}),
	}
}

// MaxForwards refuses what may travel no further. RFC 3261 §16.3 item 3. A
// request that ends here anyway, OPTIONS or REGISTER to the server, passes.
func MaxForwards(h *Home) Step {
	return Step{
		Name: "max-forwards",
		Why:  "a bound on loops that nothing else can stop",
		Handler: HandlerFunc(func(r *Request) {
			if n, ok := r.Msg.Int(sip.HMaxForwards); ok && n == 0 && !endsHere(r, h) {
				r.Reply(483, "")
				return
			}
			r.Next()
		}),
	}
}

func endsHere(r *Request, h *Home) bool {
	u := r.URI()
	switch r.Msg.Method() {
	case sip.REGISTER:
		return h.Ours(u)
	case sip.OPTIONS:
		return u.User == "" && h.Ours(u)
	}
	return false
}

// ProxyRequire refuses extensions a proxy would have to understand.
// RFC 3261 §16.3 item 5. ACK and CANCEL cannot be refused for this (§8.2.2.3).
func ProxyRequire() Step {
	return Step{
		Name: "proxy-require",
		Why:  "last of the checks of RFC 3261 §16.3 that need no account",
		Handler: HandlerFunc(func(r *Request) {
			if r.IsACK() || !r.Msg.Has(sip.HProxyRequire) {
				r.Next()
				return
			}
			unsupported(r, sip.HProxyRequire, nil)
		}),
	}
}

// unsupported answers 420 with those option tags of header id that are not in
// known, or goes on when there are none.
func unsupported(r *Request, id sip.HeaderID, known []string) bool {
	var bad []string
	for tag := range r.Msg.Values(id) {
		if tag != "" && !containsFold(known, tag) {
			bad = append(bad, tag)
		}
	}
	if len(bad) == 0 {
		if id == sip.HProxyRequire {
			r.Next()
		}
		return false
	}
	r.Reply(420, "", Header(sip.HUnsupported, strings.Join(bad, ", ")))
	return true
}

func containsFold(list []string, s string) bool {
	for _, v := range list {
		if strings.EqualFold(v, s) {
			return true
		}
	}
	return false
}

// Endpoint wraps the handler of a method that ends at this server: extensions
// in Require that are not in supported get 420, as an endpoint must answer.
// RFC 3261 §8.2.2.3. Requests that we only forward keep their Require.
func Endpoint(h Handler, supported ...string) Handler {
	return HandlerFunc(func(r *Request) {
		if r.Msg.Has(sip.HRequire) && unsupported(r, sip.HRequire, supported) {
			return
		}
		h.ServeSIP(r)
	})
}
