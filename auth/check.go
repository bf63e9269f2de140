package auth

import (
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/wire/sip"
)

// maxCredentials is how many credentials of one request are looked at. Several are
// usual behind a forking proxy (RFC 8760 §2.5), each for another realm or algorithm.
const maxCredentials = 8

// check is one request on its way through Authenticate.
type check struct {
	a      *Authenticator
	m      *sip.Message // nil when it came over HTTP
	http   *HTTPRequest // nil when it came over SIP
	src    Source
	proxy  bool
	done   func(Result)
	from   sip.URI
	policy Policy

	cred  sip.Credentials
	alg   Algorithm
	nonce nonceID
	nc    uint32
	aor   string // whose password the credentials claim to know
	long  bool   // the user name was given as user@domain
}

// finish counts and answers.
func (c *check) finish(result string, r Result) {
	switch result {
	case resultOK:
		c.a.metrics.ok.Inc()
	case resultChallenged:
		c.a.metrics.challenged.Inc()
	default:
		c.a.metrics.requests.WithLabelValues(result).Inc()
	}
	c.done(r)
}

// digest looks for credentials and checks all about them that needs no secret. The order
// matters: nothing up to here depends on whether the user exists.
func (c *check) digest() {
	if refusal, found := c.pick(); !found {
		c.challenge(resultChallenged, false)
		return
	} else if refusal != nil {
		c.finish(resultRefused, *refusal)
		return
	}
	life := c.a.o.NonceLife
	if c.cred.QOP == "" {
		// RFC 2069 answers cannot be told from their repetition: short life.
		life = c.a.o.PlainLife
	}
	now := c.a.now()
	var v verdict
	if c.nonce, v = c.a.nonces.check(c.cred.Nonce, c.src.Addr.Addr(), now, life); v != nonceFresh {
		// RFC 7616 §3.3 would have stale only for a right password. Saying it without
		// looking makes old nonces useless for guessing, and the client's second try
		// tells a wrong password from an old nonce all the same.
		c.challenge(resultStale, true)
		return
	}
	if wait := c.a.guard.locked(c.aor, c.src.Addr.Addr(), now); wait > 0 {
		c.locked(wait)
		return
	}
	c.a.accounts.lookup(c.aor, c.verify)
}

// pick chooses the credentials to check. found is false when there are none for a realm
// of ours with an algorithm that this listener offers. refusal is set for those that are
// for us but wrong in form.
func (c *check) pick() (refusal *Result, found bool) {
	n := 0
	for value := range c.rows() {
		if n++; n > maxCredentials {
			return nil, false
		}
		cred, err := sip.ParseCredentials(value)
		if err != nil {
			return &Result{Status: 400, Reason: "Malformed Credentials"}, true
		}
		if !strings.EqualFold(cred.Scheme, "Digest") || !c.a.domains[cred.Realm] {
			continue
		}
		alg, ok := ParseAlgorithm(cred.Algorithm)
		if !ok || !c.policy.offers(alg) {
			continue // RFC 8760 §3: no downgrade; the challenge says what is accepted
		}
		c.cred, c.alg = cred, alg
		return c.form(), true
	}
	return nil, false
}

// rows are the credentials of the request as they came.
func (c *check) rows() iter.Seq[string] {
	if c.http != nil {
		return slices.Values(c.http.Authorization)
	}
	// The header that belongs to our challenge first; some clients use the other one for
	// requests that they authenticate before being asked.
	first, second := sip.HAuthorization, sip.HProxyAuthorization
	if c.proxy {
		first, second = second, first
	}
	return func(yield func(string) bool) {
		for _, id := range [2]sip.HeaderID{first, second} {
			for value := range c.m.Each(id) {
				if !yield(value) {
					return
				}
			}
		}
	}
}

// offers tells whether the listener accepts an algorithm.
func (p Policy) offers(alg Algorithm) bool {
	for _, a := range p.Algorithms {
		if a == alg {
			return true
		}
	}
	return false
}

// form checks the fields of the credentials (RFC 7616 §3.4).
func (c *check) form() *Result {
	cr := &c.cred
	if cr.Username == "" || len(cr.Username) > 256 || cr.Nonce == "" || cr.URI == "" || cr.Response == "" {
		return &Result{Status: 400, Reason: "Incomplete Credentials"}
	}
	switch {
	case cr.QOP == "":
		if c.policy.RequireQOP {
			return &Result{Status: 403, Reason: "Digest Without qop Not Accepted",
				Warning: "This server accepts only digest answers with qop=auth here; set the client to RFC 2617 or newer"}
		}
	case strings.EqualFold(cr.QOP, "auth"), strings.EqualFold(cr.QOP, "auth-int") && c.http == nil: // a body over HTTP is not in memory
		nc, err := strconv.ParseUint(cr.NC, 16, 32)
		if err != nil || len(cr.NC) != 8 || cr.CNonce == "" {
			return &Result{Status: 400, Reason: "Incomplete Credentials"}
		}
		c.nc = uint32(nc)
	default:
		return &Result{Status: 400, Reason: "Unknown qop"}
	}
	if !c.sameResource() {
		// RFC 7616 §3.4.6: 400 when the digest's URI is not the one requested. RFC 8760
		// §2.6 no. 6 allows more, for requests that proxies forwarded; nobody stands
		// between us and our users, and a captured answer must not serve for another URI.
		return &Result{Status: 400, Reason: "Digest URI Is Not the Request-URI",
			Warning: "The digest was made for another Request-URI"}
	}
	user, domain, ok := strings.Cut(cr.Username, "@")
	if ok && strings.EqualFold(domain, cr.Realm) && user != "" {
		c.long = true
	} else {
		user = cr.Username
	}
	c.aor = sip.EscapeUser(user) + "@" + cr.Realm
	return nil
}

// sameResource compares the digest's URI with the Request-URI (RFC 3261 §22.4 no. 6).
func (c *check) sameResource() bool {
	if c.http != nil { // RFC 7616 §3.4.6
		return c.cred.URI == c.http.URI
	}
	m := c.m
	if c.cred.URI == m.RequestURI() {
		return true
	}
	got, err := sip.ParseURI(c.cred.URI)
	if err != nil {
		return false
	}
	want, err := m.URI()
	if err != nil {
		return false
	}
	// Clients exist (SIPp) that name the server they talk to. Its nonce count keeps such an answer
	// from being used again; without qop nothing would.
	if c.cred.QOP != "" && got.IsSIP() && got.User == "" && c.a.o.IsLocal(got.Host, got.Port) {
		return true
	}
	if got.Equal(want) {
		return true
	}
	// Telephones exist that name themselves or leave the port away in the digest of a
	// REGISTER. The method is part of the digest and a REGISTER can only be for the
	// domain, so the host is enough there.
	return m.Method() == sip.REGISTER && got.IsSIP() && want.IsSIP() && strings.EqualFold(got.Host, want.Host)
}

// verify compares the answer with the account's passwords. An account that does not
// exist has one that nobody knows, so that it takes the same time.
func (c *check) verify(acc *account, err error) {
	if err != nil && !errors.Is(err, errs.NotFound) {
		c.unavailable(err)
		return
	}
	now := c.a.now()
	x := exchange{
		alg: c.alg, uri: c.cred.URI, nonce: c.cred.Nonce, qop: c.cred.QOP, nc: c.cred.NC, cnonce: c.cred.CNonce,
	}
	if c.http != nil {
		x.method = c.http.Method
	} else {
		x.method, x.body = c.m.Method(), c.m.Body()
	}
	var list []credential
	if acc != nil {
		list = acc.credentials
	}
	var match *credential
	for i := range list {
		if ha1 := list[i].ha1(c.alg, c.long); ha1 != nil && x.matches(ha1, c.cred.Response) {
			match = &list[i]
			break
		}
	}
	if len(list) == 0 {
		x.matches(c.a.nobody.ha1(c.alg, c.long), c.cred.Response)
	}
	if match == nil {
		c.wrong(now)
		return
	}
	// Only right answers use a nonce count up, so that nobody else can.
	if c.cred.QOP != "" && !c.a.used.use(c.nonce, c.nc, now, c.a.o.NonceLife) {
		c.challenge(resultStale, true)
		return
	}
	if acc.user.AOR == c.aor {
		c.aor = acc.user.AOR // one string for all who keep it
	}
	c.a.guard.right(c.aor, c.src.Addr.Addr(), now)
	c.signedIn(acc, match, &x)
}

// signedIn is for a right password.
func (c *check) signedIn(acc *account, cred *credential, x *exchange) {
	id := Identity{AOR: acc.user.AOR, Device: cred.device, Admin: acc.user.Admin, Name: acc.user.Name}
	if acc.user.Disabled {
		c.finish(resultForbidden, Result{Status: 403, Reason: "Account Disabled", Digest: true,
			Warning: "This account is disabled; ask your administrator"})
		return
	}
	if cred.device != "" {
		c.a.accounts.usedDevice(cred.device)
	}
	ha1 := cred.ha1(c.alg, c.long)
	if c.src.Conn != 0 {
		c.a.trusts.authenticated(c.src.Conn, id, c.alg, ha1, c.a.now())
	}
	r := Result{Identity: id, Digest: true}
	if !c.proxy && strings.EqualFold(x.qop, "auth") {
		// RFC 7616 §3.5. With auth-int it would cover the body of a response that is not
		// made yet; it is optional and left out then.
		r.AuthenticationInfo = `qop=auth, rspauth="` + x.rspauth(ha1) + `", cnonce="` + quoted(x.cnonce) + `", nc=` + x.nc
	}
	c.finish(resultOK, r)
}

// quoted escapes for the inside of a quoted-string.
func quoted(s string) string {
	if !strings.ContainsAny(s, `"\`) {
		return s
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}

// wrong is for a wrong password and for an unknown user, without a difference.
func (c *check) wrong(now time.Time) {
	wait := c.a.guard.wrong(c.aor, c.src.Addr.Addr(), now)
	c.a.log.Debug("wrong password or unknown user", "aor", clip(c.aor), "peer", c.src.Addr.String(), "transport", c.src.Kind)
	if wait > 0 {
		c.a.log.Warn("too many wrong passwords", "aor", clip(c.aor), "peer", c.src.Addr.String(), "locked", wait.Round(time.Second).String())
	}
	c.challenge(resultWrong, false)
}

// clip bounds what a peer can make us log; slog quotes the rest.
func clip(s string) string {
	if len(s) > 128 {
		return strings.ToValidUTF8(s[:128], "") + "…"
	}
	return s
}

func (c *check) locked(wait time.Duration) {
	seconds := int((wait + time.Second - 1) / time.Second)
	c.finish(resultLocked, Result{Status: 403, Reason: "Too Many Wrong Passwords", RetryAfter: seconds,
		Warning: "Too many wrong passwords; wait " + strconv.Itoa(seconds) + " seconds and try again"})
}

func (c *check) unavailable(err error) {
	kind := errs.KindOf(err)
	c.a.log.Debug("account not read", "aor", clip(c.aor), "err", err)
	c.finish(resultFailed, Result{Status: kind.SIP(), RetryAfter: 5, Warning: "Accounts cannot be read at the moment; try again"})
}

// challenge asks for credentials (RFC 3261 §22.2, §22.3; RFC 8760 §2.3).
func (c *check) challenge(result string, stale bool) {
	r := Result{Status: 401}
	if c.proxy {
		r.Status = 407
	}
	realm := strings.ToLower(c.from.Host)
	if !c.a.domains[realm] {
		realm = strings.ToLower(c.a.o.Domains[0])
	}
	nonce := c.a.nonces.issue(c.src.Addr.Addr(), c.a.now())
	for _, alg := range c.policy.Algorithms {
		v := `Digest realm="` + realm + `", nonce="` + nonce + `", algorithm=` + alg.String() + `, qop="auth"`
		if stale {
			v += ", stale=true"
		}
		r.Challenges = append(r.Challenges, v)
	}
	c.finish(result, r)
}
