// Package door is what stands between the network and everything that is served over HTTP: it finds out which session calls,
// keeps pages of other sites out, bounds how often and how slowly anybody may call, and says with each answer what browsers may
// do with it.
package door

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/parley-im/parley/api"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/rate"
	"github.com/parley-im/parley/service/session"
)

// Options are what a door is made of. Handlers that are nil do not exist.
type Options struct {
	API   http.Handler // under /parley.v1…
	Files http.Handler // under /files/; asks for itself who may
	// SIP makes the WebSocket at /sip for requests that came over TLS, and for those that did not; nil: there is none.
	SIP      func(secure bool) http.Handler
	Web      http.Handler // everything else
	Sessions *session.Service
	Secure   bool     // TLS is here
	Strict   bool     // with a certificate that browsers trust: they shall insist on it
	Origins  []string // other web origins that may call: "scheme://host", path.Match patterns
	// Proxies are those that stand before this server: they are believed when they say where a request came from, and whether over TLS.
	Proxies Proxies
	// AtOnce is how many requests, event streams aside, proxies may pass on for one address at a time; 0: no limit.
	AtOnce  int
	SignIns int // attempts to sign in from an address in a second, six times as many at once; 0: no limit
	// Demo is the JSON that /demo.json tells to everybody; nil, or nothing: there is no such page.
	Demo func() []byte
	Log  *slog.Logger

	slow time.Duration // tests: instead of bodyWithin
}

// apiPrefix begins the paths of the API's procedures, and eventPrefix those that answer without an end.
const (
	apiPrefix   = "/parley."
	eventPrefix = "/parley.v1.EventService/"
)

// signIn is the procedure that people without a session call.
const signIn = "/parley.v1.SessionService/SignIn"

// bodyWithin bounds how long the body of a call may take, and how long an upload may send nothing.
const bodyWithin = 30 * time.Second

// guesses are tokens that nobody has, from one address.
var guesses = rate.Limit{Per: 5, Most: 50}

// maxAddresses bounds how many addresses are counted at a time.
const maxAddresses = 100_000

type door struct {
	Options
	guesses, signIns *rate.Buckets[netip.Addr] // by network
	busy             counts
	errors           *connect.ErrorWriter
	sip              map[bool]http.Handler // by whether it came over TLS
}

// New makes the handler of a door.
func New(o Options) http.Handler {
	if o.slow == 0 {
		o.slow = bodyWithin
	}
	d := &door{Options: o, errors: connect.NewErrorWriter(),
		guesses: rate.NewBuckets[netip.Addr](guesses, maxAddresses),
		signIns: rate.NewBuckets[netip.Addr](rate.Limit{Per: float64(o.SignIns), Most: float64(6 * o.SignIns)}, maxAddresses)}
	if o.SIP != nil {
		d.sip = map[bool]http.Handler{true: o.SIP(true), false: o.SIP(false)}
	}
	return d
}

// visit is what is known of a request before it is known who calls.
type visit struct {
	from   netip.Addr // as far as those who are believed say
	secure bool       // it came over TLS, to a proxy at least
	strict bool       // with a certificate that browsers trust
	token  string     // what was shown, "" for nothing
	cookie bool       // browsers show it by themselves
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := visit{secure: d.Secure, strict: d.Strict}
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero value in some tests
	v.from = peer.Addr().Unmap()
	if d.Proxies.Have(v.from) {
		if v.from = d.Proxies.client(v.from, r.Header); d.limited(v.from) && !strings.HasPrefix(r.URL.Path, eventPrefix) {
			if !d.busy.enter(network(v.from), d.AtOnce) {
				d.Log.Debug("door: too many requests at once", "peer", v.from.String())
				d.fail(w, r, session.ErrRate)
				return
			}
			defer d.busy.leave(network(v.from))
		}
		v.secure = overTLS(r.Header, d.Secure)
		v.strict = v.secure            // browsers do not listen where they do not trust the certificate
		r = r.WithContext(r.Context()) // a copy
		// The port is that of the proxy's connection, so that no two are the same.
		r.RemoteAddr = netip.AddrPortFrom(v.from, peer.Port()).String()
	}
	v.token, v.cookie = shown(r, v.secure)
	h := w.Header()
	if strings.HasPrefix(r.URL.Path, apiPrefix) {
		v.headers(h, forAPI)
		d.call(w, r, &v)
		return
	}
	v.headers(h, forPages)
	switch path := r.URL.Path; {
	case path == "/sip" && d.SIP != nil:
		if d.guard(w, r, &v) {
			d.sip[v.secure].ServeHTTP(w, r)
		}
	case strings.HasPrefix(path, "/files/") && d.Files != nil:
		if d.guard(w, r, &v) {
			if ctx := d.known(w, r, &v); ctx != nil {
				d.unhurried(w, r.WithContext(ctx), d.Files, true)
			}
		}
	case path == "/demo.json" && d.Demo != nil:
		d.demo(w, r)
	case d.Web != nil:
		d.Web.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// limited tells whether requests from an address are counted: not those of which nothing is known but the proxy.
func (d *door) limited(from netip.Addr) bool {
	return d.AtOnce > 0 && !d.Proxies.Have(from) && !from.IsLoopback()
}

// call answers a call of the API.
func (d *door) call(w http.ResponseWriter, r *http.Request, v *visit) {
	if !d.guard(w, r, v) {
		return
	}
	ctx := d.known(w, r, v)
	if ctx == nil {
		return
	}
	if r.URL.Path == signIn {
		if !d.signIns.Take(network(v.from), time.Now()) {
			d.Log.Debug("door: too many sign-ins", "peer", v.from.String())
			d.fail(w, r, session.ErrRate)
			return
		}
	} else if api.CallerOf(ctx).AOR == "" {
		d.fail(w, r, api.ErrNobody)
		return
	}
	d.unhurried(w, r.WithContext(ctx), d.API, false)
}

// policy is what pages of ours may do: load nothing from elsewhere, run nothing that is written into them.
const policy = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; script-src 'self'; style-src 'self'; " +
	"font-src 'self'; worker-src 'self'; manifest-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// What browsers may do with an answer. Handlers may say it more strictly. What is no page cannot load, frame or run anything.
var (
	forPages = http.Header{
		"Content-Security-Policy":      {policy},
		"X-Content-Type-Options":       {"nosniff"},
		"Referrer-Policy":              {"no-referrer"},
		"Permissions-Policy":           {"microphone=(self), camera=(self), display-capture=(self), geolocation=(), payment=(), usb=()"},
		"Cross-Origin-Opener-Policy":   {"same-origin"},
		"Cross-Origin-Resource-Policy": {"same-origin"},
	}
	forAPI = http.Header{
		"X-Content-Type-Options":       {"nosniff"},
		"Cross-Origin-Resource-Policy": {"same-origin"},
		"Cache-Control":                {"no-store"},
	}
	insist = []string{"max-age=31536000"} // Strict-Transport-Security
)

// headers puts what does not change into h. The values are those of all answers: handlers set others, and do not change these.
func (v *visit) headers(h, values http.Header) {
	maps.Copy(h, values)
	if v.strict {
		h["Strict-Transport-Security"] = insist
	}
}

func (d *door) demo(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	text := d.Demo()
	if text == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text) // the client is gone
}

// refuse answers in the protocol in which was asked.
func (d *door) refuse(w http.ResponseWriter, r *http.Request, status int, reason, text string) {
	w.Header().Set(api.ReasonHeader, reason)
	if strings.HasPrefix(r.URL.Path, apiPrefix) && d.errors.IsSupported(r) && status == http.StatusForbidden {
		_ = d.errors.Write(w, r, connect.NewError(connect.CodePermissionDenied, errors.New(text))) // the client is gone
		return
	}
	http.Error(w, text, status)
}

// shown is the token that a request shows.
func shown(r *http.Request, secure bool) (token string, byCookie bool) {
	if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest), false
	}
	if c, err := r.Cookie(api.CookieName(secure)); err == nil {
		return c.Value, true
	}
	return "", false
}

// guard lets nobody in whom a page of another site has sent; it has answered when it is false.
func (d *door) guard(w http.ResponseWriter, r *http.Request, v *visit) bool {
	origin := r.Header.Get("Origin")
	own := origin != "" && ownOrigin(origin, r.Host, v.secure)
	if origin != "" && !own {
		if !matches(origin, d.Origins) {
			d.refuse(w, r, http.StatusForbidden, api.ReasonOrigin, "pages of "+clip(origin)+" may not call this server")
			return false
		}
		allow(w.Header(), origin)
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return false
		}
	}
	if v.cookie && !fromOwnPage(r, own) {
		d.refuse(w, r, http.StatusForbidden, api.ReasonOrigin, "this request does not come from a page of this server")
		return false
	} else if v.cookie && r.Method == http.MethodPost && simple(r.Header.Get("Content-Type")) {
		d.refuse(w, r, http.StatusUnsupportedMediaType, api.ReasonMedia, "a form cannot do this")
		return false
	}
	return true
}

// fromOwnPage tells whether a request with the cookie, which browsers send by themselves, was made by a page that may. What
// changes something must prove it; what only reads must not be known to come from elsewhere, because browsers say nothing of it
// to servers without TLS.
func fromOwnPage(r *http.Request, origin bool) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return site == "" || site == "same-origin" || site == "none" || origin && site != "cross-site"
	}
	return origin || site == "same-origin"
}

// known finds out which session calls, and returns a context that knows it; nil when it has answered. Whoever shows no token is
// let in as nobody.
func (d *door) known(w http.ResponseWriter, r *http.Request, v *visit) context.Context {
	out := api.Visit{From: v.from, Secure: v.secure, Token: v.token}
	if v.token == "" || d.Sessions == nil || r.URL.Path == signIn {
		return api.WithVisit(r.Context(), out)
	}
	s, err := d.find(r.Context(), v.token, v.from)
	switch {
	case err == nil:
		return api.WithVisitor(r.Context(), out, api.Caller{AOR: s.AOR, Name: s.Name, Session: s.ID, Device: s.Device(), Kind: s.Class, Label: s.Label, Admin: s.Admin})
	case errors.Is(err, errs.Unauthorized) && !strings.HasPrefix(r.URL.Path, apiPrefix):
		return api.WithVisit(r.Context(), out) // a file may have an address that is enough
	}
	d.fail(w, r, err)
	return nil
}

// find is Sessions.Find for those who do not guess.
func (d *door) find(ctx context.Context, token string, from netip.Addr) (*session.Session, error) {
	v, known, err := d.Sessions.Cached(token, from)
	if v != nil || err != nil {
		return v, err
	}
	if !known && !d.guesses.May(network(from), time.Now()) {
		return nil, session.ErrRate
	}
	v, err = d.Sessions.Find(ctx, token, from)
	if errors.Is(err, errs.Unauthorized) && !known {
		d.guesses.Count(network(from), time.Now())
	}
	return v, err
}

// fail answers with an error of a service.
func (d *door) fail(w http.ResponseWriter, r *http.Request, err error) {
	public := api.Public(err)
	if strings.HasPrefix(r.URL.Path, apiPrefix) && d.errors.IsSupported(r) {
		_ = d.errors.Write(w, r, public) // the client is gone
		return
	}
	for name, values := range public.Meta() {
		w.Header()[name] = values
	}
	http.Error(w, public.Message(), errs.KindOf(err).HTTP())
}

// clip bounds what is repeated to who said it.
func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), 100)], "")
}
