// Package route decides where a request goes next: the handler chain, the
// method and event mux, and the stateful proxy of RFC 3261 §16 with RFC 3263,
// RFC 3327, RFC 4028 §8, RFC 5393, RFC 5626 and RFC 5627.
package route

import (
	"strconv"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Identity is who sent a request, as the authenticate step found it. The zero
// value means nobody signed in.
type Identity struct {
	AOR    string // "alice@example.com"; "" means not signed in
	Device string // device password ID, "" when the account's own password was used
	Name   string // display name of the account
	Admin  bool
}

// Request is one request on its way along the chain. One goroutine at a time
// owns it: a step either answers it, or calls Next, or keeps it and does one of
// these later from another goroutine; exactly once.
type Request struct {
	// Msg is the request. Steps may replace it by an edited copy (trusted
	// headers stripped, strict route undone); Tx.Request() stays as received.
	Msg *sip.Message
	// Tx is the server transaction; nil for an ACK, which is never answered.
	Tx *transaction.Server
	// Flow is where the request came from.
	Flow transport.Flow
	// Identity is filled by the authenticate step.
	Identity Identity
	// Loose is set by the routing step when a Route value of ours with a
	// valid flow token for this Call-ID was on top: the request belongs to a
	// dialog that runs through us. Its next hop is kept inside.
	Loose bool

	uri      sip.URI // parsed Request-URI of Msg
	uriKnown bool
	popped   int   // Route values of ours on top, left out when forwarding
	token    token // the last of them: the side to forward to
	authInfo string
	chain    []Step
	at       int
}

// NewRequest makes a request that enters chain at its first step. It is for
// the Core, and for tests that drive single steps.
func NewRequest(m *sip.Message, tx *transaction.Server, f transport.Flow, chain []Step) *Request {
	return &Request{Msg: m, Tx: tx, Flow: f, chain: chain, at: -1}
}

// Next hands the request on to the next step of its chain. After the last step
// there is nobody left to answer, which is a mistake in the chain: 500.
func (r *Request) Next() {
	r.at++
	if r.at >= len(r.chain) {
		r.Reply(500, "", Warn("no handler took this request"))
		return
	}
	r.chain[r.at].Handler.ServeSIP(r)
}

// URI is the Request-URI of Msg, parsed once. A Request-URI that does not
// parse gives the zero URI; the sanity step has refused such requests.
func (r *Request) URI() sip.URI {
	if !r.uriKnown {
		r.uri, _ = r.Msg.URI()
		r.uriKnown = true
	}
	return r.uri
}

// setMessage replaces Msg and forgets what was parsed from the old one.
func (r *Request) setMessage(m *sip.Message) {
	r.Msg, r.uriKnown = m, false
}

// IsACK tells whether the request is an ACK, which has no transaction and gets
// no response. RFC 3261 §17.
func (r *Request) IsACK() bool { return r.Tx == nil }

// InDialog tells whether the request carries a To tag. RFC 3261 §12.2.
func (r *Request) InDialog() bool { return r.Msg.ToTag() != "" }

// Reply answers the request; an ACK is dropped in silence instead. An empty
// reason stands for the standard phrase of status.
func (r *Request) Reply(status int, reason string, opts ...Option) {
	if r.Tx == nil {
		return
	}
	d := sip.NewResponse(r.Msg, status, reason)
	for _, o := range opts {
		o(d)
	}
	r.Respond(d)
}

// Respond sends a response that the caller drafted from r.Msg; dropped for ACK.
func (r *Request) Respond(d *sip.Draft) {
	if r.Tx == nil {
		return
	}
	if r.authInfo != "" && d.Status() >= 200 && d.Status() < 300 {
		// RFC 7616 §3.5
		d.Set(sip.HAuthenticationInfo, r.authInfo)
	}
	r.Tx.Respond(d)
}

// Option adds something to a response that Reply makes.
type Option = func(*sip.Draft)

// Warn adds a Warning that tells a person what happened. RFC 3261 §20.43,
// code 399. Quotes, backslashes and control characters in text are replaced.
func Warn(text string) Option {
	return func(d *sip.Draft) { d.Add(sip.HWarning, `399 parley "`+quotable(text)+`"`) }
}

// RetryAfter adds Retry-After in seconds. RFC 3261 §20.33.
func RetryAfter(seconds int) Option {
	return func(d *sip.Draft) { d.Set(sip.HRetryAfter, strconv.Itoa(seconds)) }
}

// Header appends one header row.
func Header(id sip.HeaderID, value string) Option {
	return func(d *sip.Draft) { d.Add(id, value) }
}

// quotable makes s fit for the inside of a quoted string: at most 300 bytes,
// nothing that ends the string or the line.
func quotable(s string) string {
	if len(s) > 300 {
		s = s[:300]
	}
	b := []byte(s)
	for i, c := range b {
		switch {
		case c == '"', c == '\\':
			b[i] = '\''
		case c < 0x20, c == 0x7f:
			b[i] = ' '
		}
	}
	return string(b)
}
