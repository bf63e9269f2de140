package route

import (
	"slices"
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// Mux hands a request to the handler of its method, and SUBSCRIBE and PUBLISH
// to the handler of their event package. Handlers are registered before the
// server serves; ServeSIP only reads.
type Mux struct {
	methods map[string]Handler
	dialogs map[string]Handler
	events  map[string]Handler
	publish map[string]Handler
	allowed MethodPolicy // nil: all
	allow   string
	allowEv string
}

// NewMux makes an empty mux.
func NewMux() *Mux {
	return &Mux{methods: map[string]Handler{}, dialogs: map[string]Handler{}, events: map[string]Handler{}, publish: map[string]Handler{}}
}

// Handle registers the handler for requests of a method that are outside a
// dialog, or in a dialog of which we are the end.
func (x *Mux) Handle(method string, h Handler) {
	x.methods[method] = h
	x.render()
}

// HandleInDialog registers the handler for requests of a method inside a
// dialog that runs through us (Request.Loose). It forwards them itself with
// Proxy.ForwardInDialog; methods without one are forwarded by the in-dialog step.
func (x *Mux) HandleInDialog(method string, h Handler) {
	x.dialogs[method] = h
	x.render()
}

// HandleEvent registers the handler for SUBSCRIBE to an event package. RFC 6665.
func (x *Mux) HandleEvent(event string, h Handler) {
	x.events[strings.ToLower(event)] = h
	x.render()
}

// HandlePublish registers the handler for PUBLISH of an event package. RFC 3903.
func (x *Mux) HandlePublish(event string, h Handler) {
	x.publish[strings.ToLower(event)] = h
	x.render()
}

// Restrict leaves out of Allow what the configuration does not let through.
func (x *Mux) Restrict(allowed MethodPolicy) {
	x.allowed = allowed
	x.render()
}

// dialogOnly are methods that only mean something inside a dialog.
var dialogOnly = []string{sip.ACK, sip.BYE, sip.CANCEL, sip.INFO, sip.NOTIFY, sip.PRACK, sip.UPDATE}

// render makes the Allow and Allow-Events values.
func (x *Mux) render() {
	set := map[string]bool{}
	for m := range x.methods {
		set[m] = true
	}
	for m := range x.dialogs {
		set[m] = true
	}
	if len(x.events) > 0 {
		set[sip.SUBSCRIBE], set[sip.NOTIFY] = true, true
	}
	if len(x.publish) > 0 {
		set[sip.PUBLISH] = true
	}
	if set[sip.INVITE] {
		for _, m := range dialogOnly {
			set[m] = true
		}
	}
	for m := range set {
		if x.allowed != nil && x.allowed(m) != 0 {
			delete(set, m)
		}
	}
	x.allow = strings.Join(sorted(set), ", ")
	ev := map[string]bool{}
	for e := range x.events {
		ev[e] = true
	}
	for e := range x.publish {
		ev[e] = true
	}
	x.allowEv = strings.Join(sorted(ev), ", ")
}

func sorted(set map[string]bool) []string {
	var list []string
	for s := range set {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// Allow is the value of an Allow header: what this server takes.
func (x *Mux) Allow() string { return x.allow }

// AllowEvents is the value of an Allow-Events header. RFC 6665 §8.2.2.
func (x *Mux) AllowEvents() string { return x.allowEv }

// InDialog is the handler for a method inside a dialog through us, or nil.
func (x *Mux) InDialog(method string) Handler { return x.dialogs[method] }

// Handles tells whether anyone takes the method at all.
func (x *Mux) Handles(method string) bool {
	switch method {
	case sip.SUBSCRIBE:
		return x.methods[method] != nil || len(x.events) > 0
	case sip.PUBLISH:
		return x.methods[method] != nil || len(x.publish) > 0
	}
	return x.methods[method] != nil || x.dialogs[method] != nil || slices.Contains(dialogOnly, method)
}

// ServeSIP answers or hands the request to its handler.
func (x *Mux) ServeSIP(r *Request) {
	method := r.Msg.Method()
	switch {
	case method == sip.SUBSCRIBE && len(x.events) > 0:
		x.event(r, x.events)
		return
	case method == sip.PUBLISH && len(x.publish) > 0:
		x.event(r, x.publish)
		return
	}
	if h := x.methods[method]; h != nil {
		h.ServeSIP(r)
		return
	}
	if slices.Contains(dialogOnly, method) {
		// RFC 3261 §12.2.2: these live in dialogs, and this one is not ours.
		r.Reply(481, "")
		return
	}
	x.refuseMethod(r)
}

// event finds the handler of the Event header's package.
// RFC 6665 §4.2.1.1: unknown packages get 489.
func (x *Mux) event(r *Request, table map[string]Handler) {
	pkg, _, _ := strings.Cut(r.Msg.Get(sip.HEvent), ";")
	pkg = strings.ToLower(strings.TrimSpace(pkg))
	h := table[pkg]
	if h == nil {
		r.Reply(489, "", Header(sip.HAllowEvents, x.allowEv))
		return
	}
	h.ServeSIP(r)
}

// refuseMethod answers a method nobody takes.
// RFC 3261 §21.4.6 and §21.5.2: 405 when we know the method, 501 when not.
func (x *Mux) refuseMethod(r *Request) {
	if standardMethod(r.Msg.Method()) {
		r.Reply(405, "", Header(sip.HAllow, x.allow))
		return
	}
	r.Reply(501, "", Header(sip.HAllow, x.allow))
}

// standardMethod knows the methods that RFCs have registered.
func standardMethod(m string) bool {
	switch m {
	case sip.INVITE, sip.ACK, sip.BYE, sip.CANCEL, sip.OPTIONS, sip.REGISTER, sip.MESSAGE, sip.SUBSCRIBE,
		sip.NOTIFY, sip.PUBLISH, sip.REFER, sip.INFO, sip.PRACK, sip.UPDATE:
		return true
	}
	return false
}
