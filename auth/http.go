package auth

import (
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// HTTPRequest is what is asked of a request over HTTP by which a SIP client uses its account (RFC 7616).
type HTTPRequest struct {
	Method        string   // "POST"
	URI           string   // the request target, as it came
	Authorization []string // the rows of that header
	From          string   // header From, "sip:alice@example.com"; it chooses among several domains. "" for none
}

// AuthenticateHTTP is Authenticate for SIP clients that come over HTTP. A listener that is not known has the default policy; qop
// "auth-int" is not taken. Other origins' pages cannot make a browser answer it: the password is in no browser.
func (a *Authenticator) AuthenticateHTTP(q HTTPRequest, src Source, done func(Result)) {
	from, err := sip.ParseURI(strings.TrimSpace(q.From))
	if err != nil {
		from = sip.URI{}
	}
	src.Conn = 0 // what is proven on a connection of HTTP is no trust for SIP
	c := &check{a: a, http: &q, src: src, done: done, from: from, policy: a.policy(src)}
	c.digest()
}
