package route

import (
	"slices"

	"github.com/parley-im/parley/wire/sip"
)

// inDialogMethods may run through us inside a dialog without a handler of
// their own. MESSAGE may not: it must be recorded first.
var inDialogMethods = []string{sip.INVITE, sip.ACK, sip.BYE, sip.INFO, sip.NOTIFY, sip.PRACK, sip.UPDATE, sip.REFER, sip.SUBSCRIBE, sip.OPTIONS}

// InDialog forwards requests inside dialogs that run through us, or hands them
// to the handler that registered for them (Mux.HandleInDialog).
func InDialog(x *Mux, p *Proxy) Step {
	return Step{
		Name: "in-dialog",
		Why:  "before the domain step: the Request-URI is the peer's contact, not an address of ours",
		Handler: HandlerFunc(func(r *Request) {
			method := r.Msg.Method()
			if !r.InDialog() {
				// A flow token in a preloaded Route says nothing: the request
				// goes where its Request-URI says, through service and record.
				r.Loose = false
				if !r.IsACK() {
					r.Next()
				}
				return
			}
			if r.Loose {
				if h := x.InDialog(method); h != nil {
					h.ServeSIP(r)
					return
				}
				if slices.Contains(inDialogMethods, method) {
					p.ForwardInDialog(r, Options{})
					return
				}
				r.Loose = false
			} else if p.home.isGRUU(r.URI()) && slices.Contains(dialogOnly, method) {
				// RFC 5627 §5.1: the Route set was lost, the GRUU still names
				// the device.
				p.ForwardInDialog(r, Options{})
				return
			}
			if r.IsACK() {
				return
			}
			r.Next()
		}),
	}
}
