package route

import (
	"errors"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/wire/sip"
)

// ToUser forwards a request outside a dialog to the devices of the user, or to
// the one device, that its Request-URI names: what OPTIONS and REFER need.
// 404 for nobody we know, 480 for nobody at home. RFC 3261 §16.5.
func ToUser(p *Proxy) Handler {
	return HandlerFunc(func(r *Request) {
		if r.InDialog() {
			// RFC 3261 §12.2.2: a dialog that does not run through us.
			r.Reply(481, "")
			return
		}
		if r.URI().User == "" {
			r.Reply(404, "")
			return
		}
		p.locator.Locate(r.URI(), func(list []Target, err error) {
			switch {
			case errors.Is(err, errs.NotFound):
				r.Reply(404, "", Warn("there is no such user here"))
			case err != nil:
				r.Reply(errs.KindOf(err).SIP(), "", RetryAfter(5))
			default:
				p.Forward(r, list, Options{RecordRoute: r.Msg.Method() == sip.REFER})
			}
		})
	})
}

// ServerOptions answers OPTIONS to the server itself and hands the others to
// toUser. RFC 3261 §11.2.
func ServerOptions(x *Mux, toUser Handler, supported string) Handler {
	self := Endpoint(HandlerFunc(func(r *Request) {
		r.Reply(200, "",
			Header(sip.HAllow, x.Allow()),
			Header(sip.HAllowEvents, x.AllowEvents()),
			Header(sip.HAccept, "application/sdp, text/plain, message/cpim"),
			Header(sip.HSupported, supported))
	}))
	return HandlerFunc(func(r *Request) {
		if r.URI().User == "" {
			self.ServeSIP(r)
			return
		}
		toUser.ServeSIP(r)
	})
}
