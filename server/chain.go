package server

import (
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/service/presence"
	"github.com/parley-im/parley/service/registrar"
	"github.com/parley-im/parley/wire/sip"
)

// supported are the option tags that this server understands as an end.
const supported = "path, outbound, gruu, eventlist, recipient-list-subscribe"

// mergedWindow is how many requests are remembered to recognise one that arrives on two ways (RFC 3261 §8.2.2.2).
const mergedWindow = 8192

// chain is the one list of what a request passes, in order. Each step says why it stands where it stands.
func (s *Server) chain() []route.Step {
	s.handlers()
	return []route.Step{
		route.Sanity(),
		route.Methods(s.mux, s.policy.Method),
		route.Scheme(),
		route.MaxForwards(s.home),
		route.Loop(s.home),
		route.ProxyRequire(),
		route.Merged(mergedWindow, sip.REGISTER, sip.SUBSCRIBE, sip.PUBLISH),
		route.Trusted(),
		route.Routing(s.home, s.keys.Derive("flow tokens")),
		route.Authenticate(authenticator{s}),
		route.From(s.speaksFor),
		s.call.Record(),
		route.InDialog(s.mux, s.proxy),
		route.Domain(s.home, nil),
		{Name: "mux", Why: "last: what is left is for a service", Handler: s.mux},
	}
}

// handlers says which service takes which method.
func (s *Server) handlers() {
	toUser := s.discreet(route.ToUser(s.proxy))
	s.mux.Handle(sip.REGISTER, route.Endpoint(s.registrar, registrar.Extensions()...))
	s.mux.Handle(sip.MESSAGE, route.Endpoint(s.message))
	s.mux.HandleInDialog(sip.MESSAGE, s.message)
	s.mux.Handle(sip.INVITE, s.call)
	for _, method := range []string{sip.INVITE, sip.UPDATE, sip.BYE} {
		s.mux.HandleInDialog(method, route.HandlerFunc(s.call.InDialog))
	}
	s.mux.Handle(sip.REFER, toUser)
	s.mux.Handle(sip.OPTIONS, route.ServerOptions(s.mux, toUser, supported))
	s.mux.HandleEvent("reg", route.Endpoint(route.HandlerFunc(s.subscribeReg)))
	s.mux.HandleEvent(presence.Package, route.Endpoint(s.subscribePresence(s.presence.notifier), presence.Extensions()...))
	s.mux.HandleEvent(presence.InfoPackage, route.Endpoint(s.subscribePresence(s.presence.winfo)))
	s.mux.HandlePublish(presence.Package, route.Endpoint(route.HandlerFunc(s.presence.Publish)))
}

// discreet answers for somebody who looks offline to the sender as if nobody were at home: requests that nobody sees or hears of
// would tell who is there all the same.
func (s *Server) discreet(next route.Handler) route.Handler {
	return route.HandlerFunc(func(r *route.Request) {
		owner, _, ok := s.registrar.Resolve(r.URI())
		if r.InDialog() || !ok {
			next.ServeSIP(r)
			return
		}
		s.presence.AskHidden(owner, r.Identity.AOR, func(hidden bool) {
			if hidden {
				r.Reply(480, "")
				return
			}
			next.ServeSIP(r)
		})
	})
}
