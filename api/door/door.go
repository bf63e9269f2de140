// Package door is what stands between the network and everything that is served over HTTP: it finds out which session calls,
// keeps pages of other sites out, bounds how often and how slowly anybody may call, and says with each answer what browsers may
// do with it.
package door

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/parley-im/parley/api"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/service/session"
)

// Options are what a door is made of. Handlers that are nil do not exist.
type Options struct {
	API      http.Handler // under /parley.v1…
	Files    http.Handler // under /files/; asks for itself who may
	SIP      http.Handler // the WebSocket at /sip
	Web      http.Handler // everything else
	Sessions *session.Service
	Secure   bool     // TLS is here
	Strict   bool     // with a certificate that browsers trust: they shall insist on it
	Origins  []string // other web origins that may call: "scheme://host", path.Match patterns
	SignIns  int      // attempts to sign in from an address in a second, six times as many at once; 0: no limit
	// Demo is the JSON that /demo.json tells to everybody; nil, or nothing: there is no such page.
	Demo func() []byte
	Log  *slog.Logger

	slow time.Duration // tests: instead of bodyWithin
}

// apiPrefix begins the paths of the API's procedures.
const apiPrefix = "/parley."

// signIn is the procedure that people without a session call.
const signIn = "/parley.v1.SessionService/SignIn"

// bodyWithin bounds how long the body of a call may take, and how long an upload may send nothing.
const bodyWithin = 30 * time.Second

type door struct {
	Options
	addresses *addresses
	errors    *connect.ErrorWriter
}

// New makes the handler of a door.
func New(o Options) http.Handler {
	if o.slow == 0 {
		o.slow = bodyWithin
	}
	d := &door{Options: o, addresses: newAddresses(), errors: connect.NewErrorWriter()}
	mux := http.NewServeMux()
	if o.SIP != nil {
		mux.Handle("/sip", d.guarded(o.SIP))
	}
	if o.Files != nil {
		mux.Handle("/files/", d.guarded(d.known(d.unhurried(o.Files, true))))
	}
	if o.Demo != nil {
		mux.HandleFunc("GET /demo.json", d.demo)
	}
	if o.Web != nil {
		mux.Handle("/", o.Web)
	}
	calls := d.guarded(d.known(d.mustBeKnown(d.unhurried(o.API, false))))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.headers(w.Header())
		if strings.HasPrefix(r.URL.Path, apiPrefix) {
			w.Header().Set("Cache-Control", "no-store")
			calls.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// policy is what pages of ours may do: load nothing from elsewhere, run nothing that is written into them.
const policy = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; script-src 'self'; style-src 'self'; " +
	"font-src 'self'; worker-src 'self'; manifest-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// headers says what browsers may do with an answer. Handlers may say it more strictly.
func (d *door) headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Permissions-Policy", "microphone=(self), camera=(self), display-capture=(self), geolocation=(), payment=(), usb=()")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if d.Strict {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

func (d *door) demo(w http.ResponseWriter, r *http.Request) {
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
func (d *door) shown(r *http.Request) (token string, byCookie bool) {
	if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest), false
	}
	if c, err := r.Cookie(api.CookieName(d.Secure)); err == nil {
		return c.Value, true
	}
	return "", false
}

// guarded lets nobody in whom a page of another site has sent.
func (d *door) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		own := origin != "" && d.ownOrigin(origin, r.Host)
		foreign := origin != "" && !own && matches(origin, d.Origins)
		if origin != "" && !own && !foreign {
			d.refuse(w, r, http.StatusForbidden, api.ReasonOrigin, "pages of "+clip(origin)+" may not call this server")
			return
		}
		if foreign {
			allow(w.Header(), origin)
			if r.Method == http.MethodOptions {
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		if _, byCookie := d.shown(r); byCookie && !d.fromOwnPage(r, own) {
			d.refuse(w, r, http.StatusForbidden, api.ReasonOrigin, "this request does not come from a page of this server")
			return
		} else if byCookie && r.Method == http.MethodPost && simple(r.Header.Get("Content-Type")) {
			d.refuse(w, r, http.StatusUnsupportedMediaType, api.ReasonMedia, "a form cannot do this")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// fromOwnPage tells whether a request with the cookie, which browsers send by themselves, was made by a page that may. What
// changes something must prove it; what only reads must not be known to come from elsewhere, because browsers say nothing of it
// to servers without TLS.
func (d *door) fromOwnPage(r *http.Request, origin bool) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return site == "" || site == "same-origin" || site == "none" || origin && site != "cross-site"
	}
	return origin || site == "same-origin"
}

// known finds out which session calls, and says so to whom it lets in. Whoever shows no token is let in as nobody.
func (d *door) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := address(r)
		token, _ := d.shown(r)
		ctx := api.WithVisit(r.Context(), api.Visit{From: from, Secure: d.Secure, Token: token})
		if token != "" && d.Sessions != nil && r.URL.Path != signIn {
			v, err := d.find(r.Context(), token, from)
			switch {
			case errors.Is(err, errs.Unauthorized):
				if !strings.HasPrefix(r.URL.Path, apiPrefix) {
					break // a file may have an address that is enough
				}
				d.fail(w, r, err)
				return
			case err != nil:
				d.fail(w, r, err)
				return
			default:
				ctx = api.WithSession(ctx, api.Caller{AOR: v.AOR, Name: v.Name, Session: v.ID, Device: v.Device(), Kind: v.Class, Label: v.Label, Admin: v.Admin})
			}
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// find is Sessions.Find for those who do not guess.
func (d *door) find(ctx context.Context, token string, from netip.Addr) (*session.Session, error) {
	known := d.Sessions.Known(token)
	if !known && !d.addresses.may(from, guesses) {
		return nil, session.ErrRate
	}
	v, err := d.Sessions.Find(ctx, token, from)
	if errors.Is(err, errs.Unauthorized) && !known {
		d.addresses.count(from, guesses)
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

// mustBeKnown lets in who has signed in, and who wants to.
func (d *door) mustBeKnown(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == signIn {
			from := address(r)
			if d.SignIns > 0 && !d.addresses.take(from, bucketOf{float64(d.SignIns), float64(6 * d.SignIns)}) {
				d.Log.Debug("door: too many sign-ins", "peer", from.String())
				d.fail(w, r, session.ErrRate)
				return
			}
		} else if api.CallerOf(r.Context()).AOR == "" {
			d.fail(w, r, api.ErrNobody)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// address is where a request came from.
func address(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // a test's
	}
	return a.Addr().Unmap()
}

// clip bounds what is repeated to who said it.
func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), 100)], "")
}
