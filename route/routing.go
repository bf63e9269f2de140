package route

import (
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Routing undoes strict routing, takes our own values off the Route header and
// verifies the flow tokens in them. RFC 3261 §16.4, RFC 5626 §5.3.
func Routing(h *Home, key []byte) Step {
	s := &routing{home: h, key: key}
	return Step{
		Name:    "routing",
		Why:     "after the checks, before authentication: a forged token costs no digest",
		Handler: s,
	}
}

type routing struct {
	home *Home
	key  []byte
}

// ServeSIP is RFC 3261 §16.4.
func (s *routing) ServeSIP(r *Request) {
	if !s.strict(r) || !s.maddr(r) {
		return
	}
	if r.Msg.Has(sip.HRoute) && !s.pop(r) {
		return
	}
	r.Next()
}

// strict undoes what a strict router did: a Record-Route value of ours in the
// Request-URI, and the real Request-URI at the end of Route.
func (s *routing) strict(r *Request) bool {
	u := r.URI()
	if !isToken(u) || !s.home.Ours(u) {
		return true
	}
	t, err := decodeToken(s.key, u.User, r.Msg.CallID())
	if err != nil {
		r.Reply(403, "", Warn("the flow token in the Request-URI is not valid"))
		return false
	}
	var routes []string
	for v := range r.Msg.Values(sip.HRoute) {
		routes = append(routes, v)
	}
	if len(routes) == 0 {
		r.Reply(400, "", Warn("a route to this server without a place to go"))
		return false
	}
	last, err := sip.ParseNameAddr(routes[len(routes)-1])
	if err != nil {
		r.Reply(400, "Bad Route")
		return false
	}
	d := r.Msg.Edit().SetURI(last.URI.String()).Remove(sip.HRoute)
	for _, v := range routes[:len(routes)-1] {
		d.Add(sip.HRoute, v)
	}
	if !s.replace(r, d) {
		return false
	}
	r.token, r.Loose = t, true
	return true
}

// maddr strips an maddr that names us, with port and transport, when the
// request came over the port and transport it names. RFC 3261 §16.4.
func (s *routing) maddr(r *Request) bool {
	u := r.URI()
	m, ok := u.Params.Get("maddr")
	if !ok || !s.home.Domain(m) && !s.home.Listener(m, u.Port) {
		return true
	}
	kind := transport.UDP
	if p, ok := u.Params.Get("transport"); ok {
		kind, _ = transport.ParseKind(p)
	}
	port := u.Port
	if port == 0 {
		port = 5060
	}
	if kind != r.Flow.Kind() || port != r.Flow.Local().Port() {
		return true
	}
	u.Params = u.Params.Without("maddr").Without("transport")
	u.Port = 0
	return s.replace(r, r.Msg.Edit().SetURI(u.String()))
}

func (s *routing) replace(r *Request, d *sip.Draft) bool {
	m, err := d.Message()
	if err != nil {
		r.Reply(400, "")
		return false
	}
	r.setMessage(m)
	return true
}

// pop counts the Route values of ours on top, two for each time the dialog
// passed here, and keeps the token of the last: it names the other side.
func (s *routing) pop(r *Request) bool {
	for v := range r.Msg.Values(sip.HRoute) {
		n, err := sip.ParseNameAddr(v)
		if err != nil {
			r.Reply(400, "Bad Route")
			return false
		}
		if !s.home.Ours(n.URI) {
			break
		}
		if isToken(n.URI) {
			t, err := decodeToken(s.key, n.URI.User, r.Msg.CallID())
			if err != nil {
				// RFC 5626 §5.3.1
				r.Reply(403, "", Warn("the flow token in Route is not valid"))
				return false
			}
			r.token, r.Loose = t, true
		}
		r.popped++
	}
	return true
}
