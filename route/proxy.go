package route

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Options say how one request is forwarded.
type Options struct {
	// RecordRoute keeps us on the path of the dialog. RFC 3261 §16.6 step 4.
	RecordRoute bool
	// OnResponse sees each response of each branch, before it is forwarded:
	// provisional ones, finals, and further 2xx of an INVITE. It must not block.
	OnResponse func(m *sip.Message, t Target)
	// Done is called once, when the final response was handed to the server
	// transaction (for a forked INVITE: the first).
	Done func(o Outcome)
	// Edit changes the request for each branch before it is sent.
	Edit func(d *sip.Draft)
	// Only is the AOR to which ForwardInDialog may send, when it looks for the
	// other side among the bindings; "" for anyone. What was recorded for one
	// person must not reach another whose address the sender wrote.
	Only string
	// Ring is how long an INVITE may go unanswered, over all its branches; then
	// they are cancelled and the caller gets 480 "No Answer". 0: no limit but
	// Timer C.
	Ring time.Duration
}

// Outcome is how a forwarded request ended.
type Outcome struct {
	Status    int          // of the final response sent upstream; 0: none (RFC 4320 §4.2)
	Reason    string       // its reason phrase
	Message   *sip.Message // the chosen response as received from its branch; nil when made here
	Target    Target       // the branch it came from; zero when made here
	Cancelled bool         // the caller gave up
	NoAnswer  bool         // Options.Ring ran out
}

// ProxyOptions are what a Proxy is made of.
type ProxyOptions struct {
	Transport    Transport
	Transactions Transactions
	Home         *Home
	Locator      Locator   // bindings and GRUUs
	Reacher      Reacher   // nil: a dialog whose flow is gone gets 430
	Resolver     *Resolver // nil: nothing leaves the domain
	// Key authenticates the flow tokens in Record-Route, at least 16 bytes. A
	// key that is kept over restarts keeps dialogs alive over restarts.
	Key []byte
	// Body judges the body of everything that passes. nil: all pass.
	Body           func(m *sip.Message) *Refusal
	TimerC         time.Duration // more than 3 minutes, default 200 s. RFC 3261 §16.6 step 11
	MaxBreadth     int           // default 60. RFC 5393 §5.3.3
	MaxTargets     int           // of one request, default 32
	SessionExpires time.Duration // what we ask for, default 30 min. RFC 4028 §8.1
	MinSE          time.Duration // default 90 s, the least the RFC allows
	Log            *slog.Logger
	Registerer     prometheus.Registerer
}

// Transport is what the proxy needs of *transport.Layer.
type Transport interface {
	Flow(t transport.Target) (transport.Flow, error)
	Lookup(id uint64) (transport.Flow, bool)
	UDPFlow(local, remote netip.AddrPort) (transport.Flow, bool)
	Via(f transport.Flow) (transportName, sentBy string)
}

// Transactions is what the proxy needs of *transaction.Layer.
type Transactions interface {
	Send(h transaction.Hop, d *sip.Draft, ch transaction.ClientHandler) *transaction.Client
	SendStateless(h transaction.Hop, d *sip.Draft) error
	After(d time.Duration, f func()) *transaction.Timer
}

// Proxy forwards requests. It starts nothing by itself.
type Proxy struct {
	transport    Transport
	transactions Transactions
	home         *Home
	locator      Locator
	reacher      Reacher
	resolver     *Resolver
	key          []byte
	body         func(*sip.Message) *Refusal
	timerC       time.Duration
	maxBreadth   int
	maxTargets   int
	ask, minSE   uint32 // seconds
	log          *slog.Logger
	metrics      *proxyMetrics
}

// NewProxy makes a Proxy.
func NewProxy(o ProxyOptions) *Proxy {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Proxy{
		transport: o.Transport, transactions: o.Transactions, home: o.Home,
		locator: o.Locator, reacher: o.Reacher, resolver: o.Resolver,
		key: o.Key, body: o.Body,
		// RFC 3261 §16.6 step 11: larger than 3 minutes.
		timerC:     max(cmp.Or(o.TimerC, 200*time.Second), 181*time.Second),
		maxBreadth: cmp.Or(o.MaxBreadth, 60),
		maxTargets: cmp.Or(o.MaxTargets, 32),
		ask:        uint32(cmp.Or(o.SessionExpires, 30*time.Minute) / time.Second),
		minSE:      uint32(max(o.MinSE, 90*time.Second) / time.Second),
		log:        o.Log, metrics: newProxyMetrics(o.Registerer),
	}
}

// Forward sends the request to all targets, best q first and equal q in
// parallel, and the best response back. RFC 3261 §16.6, §16.7. It answers r in
// any case, also when it refuses: 483, 422, 480 for no target, 482 when the
// targets only lead back here, 440, or what the Body hook says.
func (p *Proxy) Forward(r *Request, targets []Target, o Options) {
	if r.IsACK() {
		if len(targets) > 0 {
			p.forwardACK(r, targets[0])
		}
		return
	}
	f := p.newFork(r, o)
	if f == nil {
		return
	}
	p.spiral(targets, func(list []Target, looped bool) {
		p.begin(f, unique(list, p.maxTargets), looped)
	})
}

// newFork checks what a proxy must check before it forwards, and makes the
// response context; nil when the request was refused.
func (p *Proxy) newFork(r *Request, o Options) *fork {
	m := r.Msg
	if n, ok := m.Int(sip.HMaxForwards); ok && n == 0 {
		p.refuse(r, o, 483)
		return nil
	}
	if p.body != nil {
		if no := p.body(m); no != nil {
			no.Reply(r)
			p.refused(o, no.Status, no.Reason)
			return nil
		}
	}
	f := &fork{p: p, r: r, o: o, invite: m.Method() == sip.INVITE, loop: loopValue(m)}
	f.timer = newSessionTimer(m, p.ask, p.minSE)
	if f.timer.tooLow {
		// RFC 4028 §8.1
		p.refuse(r, o, 422, Header(sip.HMinSE, strconv.FormatUint(uint64(p.minSE), 10)))
		return nil
	}
	// RFC 5393 §5.3.3
	f.breadth = p.maxBreadth
	if n, ok := m.Int(sip.HMaxBreadth); ok && int64(n) < int64(f.breadth) {
		f.breadth = int(n)
	}
	if f.invite {
		// RFC 3261 §16.2: at once, so that the caller stops repeating itself.
		r.Reply(100, "")
	}
	return f
}

// begin starts a context with its targets.
func (p *Proxy) begin(f *fork, targets []Target, looped bool) {
	if len(targets) == 0 {
		status := 480
		if looped {
			status = 482
		}
		res := result{status: status}
		p.refuse(f.r, f.o, status, res.options()...)
		return
	}
	p.metrics.active.Inc()
	f.waiting = groups(targets)
	if f.invite {
		f.r.Tx.OnCancel(f.onCancel)
		if f.o.Ring > 0 {
			t := p.transactions.After(f.o.Ring, f.onRing)
			f.mu.Lock()
			f.ring = t
			f.mu.Unlock()
		}
	}
	f.next()
}

// refuse answers a request that is not forwarded.
func (p *Proxy) refuse(r *Request, o Options, status int, opts ...Option) {
	r.Reply(status, "", opts...)
	p.refused(o, status, "")
}

func (p *Proxy) refused(o Options, status int, reason string) {
	p.metrics.finals.WithLabelValues(classLabel(status)).Inc()
	if o.Done != nil {
		o.Done(Outcome{Status: status, Reason: cmp.Or(reason, sip.StatusText(status))})
	}
}

// copyRequest makes the copy for one target: Request-URI, Max-Forwards, Route,
// and who we say sent it. RFC 3261 §16.6 steps 1-3 and 6.
func (p *Proxy) copyRequest(r *Request, t Target) *sip.Draft {
	d := r.Msg.Edit()
	uri := requestURI(t.URI)
	if uri != r.Msg.RequestURI() {
		d.SetURI(uri)
	}
	hops := uint32(70)
	if n, ok := r.Msg.Int(sip.HMaxForwards); ok {
		hops = min(n, 255) - 1
	}
	d.Set(sip.HMaxForwards, strconv.FormatUint(uint64(hops), 10))
	for range r.popped {
		d.RemoveFirst(sip.HRoute)
	}
	if len(t.Route) > 0 {
		// RFC 3327 §5.3: the Path becomes the route, ahead of what is there.
		d.Prepend(sip.HRoute, strings.Join(t.Route, ", "))
	}
	p.dropCredentials(r.Msg, d)
	p.dropSubject(r.Msg, d)
	plainReferTo(r.Msg, d)
	p.assert(r, d)
	strictNext(d, uri)
	return d
}

// requestURI takes off a Contact URI what may not stand in a Request-URI:
// headers and the method parameter. RFC 3261 §16.6 step 2.
func requestURI(contact string) string {
	if !strings.Contains(contact, "?") && !strings.Contains(contact, ";method=") {
		return contact
	}
	u, err := sip.ParseURI(contact)
	if err != nil {
		return contact
	}
	u.Headers = ""
	u.Params = u.Params.Without("method")
	return u.String()
}

// strictNext rewrites a copy whose next hop is a strict router.
// RFC 3261 §16.6 step 6.
func strictNext(d *sip.Draft, uri string) {
	if !d.Has(sip.HRoute) {
		return
	}
	m, err := d.Message()
	if err != nil {
		return
	}
	first := ""
	for v := range m.Values(sip.HRoute) {
		first = v
		break
	}
	n, err := sip.ParseNameAddr(first)
	if err != nil {
		return
	}
	if _, lr := n.URI.Params.Get("lr"); lr {
		return
	}
	d.RemoveFirst(sip.HRoute)
	d.Add(sip.HRoute, "<"+uri+">")
	d.SetURI(n.URI.String())
}

// dropCredentials removes the answers to our own challenges: no peer is to
// see them. Those for other realms pass. RFC 3261 §22.3.
func (p *Proxy) dropCredentials(m *sip.Message, d *sip.Draft) {
	for _, id := range []sip.HeaderID{sip.HProxyAuthorization, sip.HAuthorization} {
		if !m.Has(id) {
			continue
		}
		d.Remove(id)
		for v := range m.Each(id) {
			if c, err := sip.ParseCredentials(v); err == nil && c.Realm != "" && !p.home.Domain(c.Realm) {
				d.Add(id, v)
			}
		}
	}
}

// wordIDs are headers that mean nothing to a client and hold text for a person.
var wordIDs = [...]sip.HeaderID{sip.HOrganization, sip.HErrorInfo, sip.HWarning}

// dropSubject takes out a Subject that nobody records, and what else is text
// for a person and nothing but that. That of the INVITE that begins a call, and of a MESSAGE, is in the
// record. RFC 3261 §16.6 step 1 would let it pass.
func (p *Proxy) dropSubject(m *sip.Message, d *sip.Draft) {
	for _, id := range wordIDs {
		if m.Has(id) && (id != sip.HWarning || !m.IsRequest()) {
			d.Remove(id)
		}
	}
	if !m.IsRequest() && m.Reason() != sip.StatusText(m.Status()) {
		// What the person who declined wrote here is in the record of the call.
		d.SetReason("")
	}
	if !m.Has(sip.HSubject) {
		return
	}
	method := m.Method()
	if m.IsRequest() && (method == sip.MESSAGE || method == sip.INVITE && m.ToTag() == "") {
		return
	}
	d.Remove(sip.HSubject)
}

// plainReferTo leaves of a Refer-To the address, and what an attended transfer
// needs in it (RFC 3891): a name, a Subject or a body in it would be text that
// nobody records.
func plainReferTo(m *sip.Message, d *sip.Draft) {
	if m.Method() != sip.REFER || !m.Has(sip.HReferTo) {
		return
	}
	n, err := sip.ParseNameAddr(m.Get(sip.HReferTo))
	if err != nil || n.Display == "" && n.URI.Headers == "" {
		return
	}
	var keep []string
	for h := range strings.SplitSeq(n.URI.Headers, "&") {
		name, _, _ := strings.Cut(h, "=")
		if strings.EqualFold(name, "Replaces") || strings.EqualFold(name, "Require") {
			keep = append(keep, h)
		}
	}
	n.Display, n.URI.Headers = "", strings.Join(keep, "&")
	d.Set(sip.HReferTo, n.String())
}

// phished tells whether all challenges of a 401 or 407 are for our own realm:
// a device that wants the answers people give to this server. Without one of
// another realm the response is worth a 403.
func (p *Proxy) phished(m *sip.Message) bool {
	ours, others := 0, 0
	for _, id := range challengeIDs {
		for v := range m.Each(id) {
			if p.ourChallenge(v) {
				ours++
			} else {
				others++
			}
		}
	}
	return ours > 0 && others == 0
}

// challengeIDs are the headers with challenges.
var challengeIDs = [...]sip.HeaderID{sip.HWWWAuthenticate, sip.HProxyAuthenticate}

func (p *Proxy) ourChallenge(v string) bool {
	c, err := sip.ParseCredentials(v)
	return err != nil || p.home.Domain(c.Realm)
}

// dropChallenges removes challenges for our own realm from a response.
func (p *Proxy) dropChallenges(m *sip.Message, d *sip.Draft) {
	for _, id := range challengeIDs {
		if !m.Has(id) {
			continue
		}
		d.Remove(id)
		for v := range m.Each(id) {
			if !p.ourChallenge(v) {
				d.Add(id, v)
			}
		}
	}
}

// assert says who signed in, unless that person asked for privacy.
// RFC 3325 §5 and §7, RFC 3323 §4.2.
func (p *Proxy) assert(r *Request, d *sip.Draft) {
	if r.Identity.AOR == "" {
		return
	}
	for v := range r.Msg.Each(sip.HPrivacy) {
		for part := range strings.SplitSeq(v, ";") {
			switch strings.ToLower(strings.TrimSpace(part)) {
			case "id", "user", "header":
				return
			}
		}
	}
	v := "<sip:" + r.Identity.AOR + ">"
	if r.Identity.Name != "" {
		v = `"` + quotable(r.Identity.Name) + `" ` + v
	}
	d.Add(sip.HPAssertedIdentity, v)
}

// spiral replaces targets that lead back to this server by what they lead to,
// without going over the network: RFC 3261 §16.5 leaves the location service
// free to do so, and the set of addresses already visited ends every loop
// (RFC 5393). looped tells whether something was dropped for that reason.
func (p *Proxy) spiral(targets []Target, done func(list []Target, looped bool)) {
	if !slices.ContainsFunc(targets, p.returns) {
		done(targets, false)
		return
	}
	s := &spiral{p: p, todo: slices.Clone(targets), seen: map[string]bool{}, done: done}
	s.run()
}

// returns tells whether a target leads back here.
func (p *Proxy) returns(t Target) bool {
	if !t.Hop.Flow.IsZero() || t.Hop.Target.Addr.IsValid() || len(t.Route) > 0 {
		return false
	}
	u, err := sip.ParseURI(t.URI)
	return err == nil && p.home.Ours(u)
}

// spiral expands targets one after the other.
type spiral struct {
	p      *Proxy
	todo   []Target
	out    []Target
	seen   map[string]bool
	looped bool
	done   func([]Target, bool)
}

// run goes on until a lookup is under way, or all is done.
func (s *spiral) run() {
	for len(s.todo) > 0 {
		t := s.todo[0]
		s.todo = s.todo[1:]
		if !s.p.returns(t) {
			s.out = append(s.out, t)
			continue
		}
		u, _ := sip.ParseURI(t.URI)
		key := strings.ToLower(u.User + "@" + u.Host)
		if gr, ok := u.Params.Get("gr"); ok {
			key += ";gr=" + gr
		}
		if s.seen[key] || s.p.locator == nil || len(s.out)+len(s.todo) > s.p.maxTargets {
			s.looped = true
			continue
		}
		s.seen[key] = true
		s.p.locator.Locate(u, func(list []Target, err error) {
			if err == nil {
				for i := range list {
					// The order of the place it came from comes first.
					list[i].Q = min(list[i].Q, t.Q)
				}
				s.todo = append(s.todo, list...)
			}
			s.run()
		})
		return
	}
	s.done(s.out, s.looped)
}
