package route

import (
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/sip"
)

// Authenticator says who sent a request. Filled by the server with package auth.
type Authenticator interface {
	// Authenticate finds out who sent r.Msg and calls r.Authenticated exactly
	// once, now or later. proxy asks for 407 with Proxy-Authenticate instead
	// of 401 with WWW-Authenticate. It must not block.
	Authenticate(r *Request, proxy bool)
}

// Verdict is what an Authenticator found.
type Verdict struct {
	Identity   Identity
	Status     int      // 0: signed in as Identity; else the status to answer with
	Reason     string   // "" for the standard phrase
	Challenges []string // header values: WWW-Authenticate for 401, Proxy-Authenticate for 407
	Warning    string   // sentence for a person, or ""
	RetryAfter int      // seconds; 0 for none
	// Info is an Authentication-Info value for the final response, or "".
	// RFC 7616 §3.5.
	Info string
}

// Target is one place to which a request can be forwarded.
type Target struct {
	URI string // what becomes the Request-URI: the binding's Contact
	// Hop is where to send it. Its Flow is set for a binding whose flow is
	// known (connection, or UDP pair); it must then be used (RFC 5626 §7).
	// Zero: found by URI or by the first Route value.
	Hop      transaction.Hop
	Route    []string // the binding's Path, becomes the Route set. RFC 3327 §5.3
	Q        uint16   // 0…1000
	AOR      string   // whose binding this is; "" for a foreign target
	Device   string
	Instance string // +sip.instance; targets with the same AOR and Instance are tried one after the other. RFC 5626 §7
	Caps     string // feature parameters of the Contact. RFC 3840
}

// Locator finds the bindings of an address. Filled by the registrar.
type Locator interface {
	// Locate calls done exactly once, now or later, with the bindings of the
	// AOR, or of the one device a GRUU names (RFC 5627 §5.1). No binding is an
	// empty list; an unknown user or GRUU is errs.NotFound.
	Locate(uri sip.URI, done func([]Target, error))
}

// Reacher finds a way to a contact whose flow is gone: the binding that has
// this Contact now. The registrar fills it. errs.NotFound when there is none.
type Reacher interface {
	Reach(contact sip.URI, done func([]Target, error))
}

// Refusal is a decision not to carry something. Package policy makes them.
type Refusal struct {
	Status  int
	Reason  string
	Warning string // sentence for a person
	Accept  string // value of an Accept header to add, or ""
}

// Reply answers r with the refusal.
func (f *Refusal) Reply(r *Request) {
	d := sip.NewResponse(r.Msg, f.Status, f.Reason)
	if f.Warning != "" {
		Warn(f.Warning)(d)
	}
	if f.Accept != "" {
		d.Add(sip.HAccept, f.Accept)
	}
	r.Respond(d)
}
