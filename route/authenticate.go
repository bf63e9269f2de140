package route

import (
	"github.com/parley-im/parley/wire/sip"
)

// Authenticate finds out who sent the request. All but ACK and CANCEL are
// challenged (RFC 3261 §22.1); responses never are. REGISTER gets 401, what is
// addressed to somebody else gets 407.
func Authenticate(a Authenticator) Step {
	return Step{
		Name: "authenticate",
		Why:  "after all checks that need no account, before anything that a stranger must not cause",
		Handler: HandlerFunc(func(r *Request) {
			if r.IsACK() {
				r.Next()
				return
			}
			a.Authenticate(r, r.Msg.Method() != sip.REGISTER)
		}),
	}
}

// Authenticated continues a request after its Authenticator has decided.
func (r *Request) Authenticated(v Verdict) {
	if v.Status == 0 {
		r.Identity = v.Identity
		r.authInfo = v.Info
		r.Next()
		return
	}
	d := sip.NewResponse(r.Msg, v.Status, v.Reason)
	id := sip.HProxyAuthenticate
	if v.Status == 401 {
		id = sip.HWWWAuthenticate
	}
	for _, c := range v.Challenges {
		d.Add(id, c)
	}
	if v.Warning != "" {
		Warn(v.Warning)(d)
	}
	if v.RetryAfter > 0 {
		RetryAfter(v.RetryAfter)(d)
	}
	if len(v.Challenges) > 0 && r.Tx != nil {
		r.Tx.Challenge(d)
		return
	}
	r.Respond(d)
}

// From refuses a From that does not name the one who signed in. design.md §4:
// it is never rewritten. own tells whether a URI is another address of the
// identity, a GRUU of its devices; nil: none is. In a dialog through us the
// From was checked when the dialog began, on one side as From and on the other
// as To, so only a MESSAGE, which is recorded, is looked at again.
func From(own func(id Identity, u sip.URI) bool) Step {
	return Step{
		Name: "from",
		Why:  "right after authentication: nobody speaks in another's name",
		Handler: HandlerFunc(func(r *Request) {
			if r.IsACK() || r.Loose && r.InDialog() && r.Msg.Method() != sip.MESSAGE {
				r.Next()
				return
			}
			from, err := r.Msg.From()
			if err != nil {
				r.Reply(400, "")
				return
			}
			if !from.URI.IsSIP() {
				// RFC 4475 §3.3.4: nobody has an address here that is no SIP URI.
				r.Reply(400, "", Warn("From must be a SIP address"))
				return
			}
			if r.Identity.AOR == "" || from.URI.AOR() != r.Identity.AOR && (own == nil || !own(r.Identity, from.URI)) {
				r.Reply(403, "", Warn("From must be the address you signed in with"))
				return
			}
			r.Next()
		}),
	}
}
