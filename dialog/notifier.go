package dialog

import (
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Transactions is what a Notifier needs of *transaction.Layer.
type Transactions interface {
	Send(h transaction.Hop, d *sip.Draft, ch transaction.ClientHandler) *transaction.Client
	SendBytes(h transaction.Hop, method string, b []byte, line int, ch transaction.ClientHandler) *transaction.Client
	After(d time.Duration, f func()) *transaction.Timer
}

// Options are what a Notifier is made of.
type Options struct {
	Event        string   // package name, "reg"
	Types        []string // media types of its bodies, the default one first
	Source       Source
	Transactions Transactions
	// Contact is our Contact URI for a peer on a flow: it must lead refreshes
	// back to this server.
	Contact func(f transport.Flow) string
	// NextHop finds the way to a watcher: contact is its Contact URI, routes
	// the route set, flow where its last SUBSCRIBE came from. It calls done
	// once, now or later. nil: the flow, while it lives.
	NextHop func(contact string, routes []string, flow transport.Flow, done func(transaction.Hop, error))

	Default, Min, Max time.Duration // of a subscription; 1 h, 60 s, 24 h
	Interval          time.Duration // least time between NOTIFYs of a subscription; 0: none
	PerWatcher, Total int           // limits; 200 for one AOR, 200,000 in all
	// Keep makes subscriptions outlive a restart, and their watchers'
	// connections: Load, Serve and Arrived have to be called. nil: they end with
	// this process or, once there is something to tell, the connection.
	Keep Keeper
	// UDPFlow makes a UDP flow again after a restart; transport.Layer has it.
	UDPFlow func(local, remote netip.AddrPort) (transport.Flow, bool)
	// Rate is how many NOTIFYs all subscriptions together may send in a second;
	// what is beyond waits, each subscription once, and tells the latest state
	// when its turn comes: the ends of subscriptions first, then the answers to
	// SUBSCRIBEs. 0: any number.
	Rate       int
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Notifier runs the subscriptions of one event package: RFC 6665 §4.2. Each
// has at most one NOTIFY out; what changes meanwhile is told afterwards, the
// latest state alone.
type Notifier struct {
	o       Options
	queue   *queue // nil without Options.Rate
	asker   Asker  // the Source, when it is one
	stepper Stepper
	ender   Ender
	resumer Resumer
	saver   *saver // nil without Options.Keep
	metrics *metrics
	base    time.Time // instant 0, before anything happened

	mu       sync.Mutex
	byTag    map[string]*Subscription // our tag, which is unique
	byRes    map[string][]*Subscription
	byAOR    map[string]watching
	reserved int             // subscriptions whose Source has not decided
	loaded   []*Subscription // by Load; Serve lets them go
	rows     map[string]string
}

// watching is what one watcher has.
type watching struct {
	list     []*Subscription
	reserved int // those whose Source has not decided
}

func (w watching) count() int { return len(w.list) + w.reserved }

// NewNotifier makes a Notifier; it starts nothing.
func NewNotifier(o Options) *Notifier {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Default, time.Hour)
	def(&o.Min, time.Minute)
	def(&o.Max, 24*time.Hour)
	if o.PerWatcher == 0 {
		o.PerWatcher = 200
	}
	if o.Total == 0 {
		o.Total = 200_000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.NextHop == nil {
		o.NextHop = func(_ string, _ []string, f transport.Flow, done func(transaction.Hop, error)) {
			if !f.Alive() {
				done(transaction.Hop{}, transport.ErrClosed)
				return
			}
			done(transaction.Hop{Flow: f, Sticky: true}, nil)
		}
	}
	n := &Notifier{o: o, base: time.Now().Add(-1), byTag: map[string]*Subscription{}, byRes: map[string][]*Subscription{}, byAOR: map[string]watching{}, rows: map[string]string{}}
	n.asker, _ = o.Source.(Asker)
	n.stepper, _ = o.Source.(Stepper)
	n.ender, _ = o.Source.(Ender)
	n.resumer, _ = o.Source.(Resumer)
	if o.Keep != nil {
		n.saver = &saver{wake: make(chan struct{}, 1)}
	}
	waiting := func() int { return 0 }
	if o.Rate > 0 {
		n.queue = newQueue(o.Rate, o.Transactions)
		waiting = n.queue.len
	}
	n.metrics = newMetrics(o.Registerer, o.Event, n.Len, waiting)
	return n
}

// Len is the number of subscriptions.
func (n *Notifier) Len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.byTag)
}

// HandleSubscribe answers a SUBSCRIBE of this package: a new subscription, a
// refresh, an end, or a fetch. RFC 6665 §4.2.1. m is tx's request, or an
// edited copy of it. The resource of a new one is the Request-URI's AOR.
func (n *Notifier) HandleSubscribe(tx *transaction.Server, m *sip.Message, w Watcher) {
	expires, status := n.expiry(m)
	switch {
	case status == 423:
		d := sip.NewResponse(m, 423, "")
		tx.Respond(d.Add(sip.HMinExpires, strconv.Itoa(int(n.o.Min/time.Second))))
	case status != 0:
		tx.Reply(status, "")
	case m.ToTag() != "":
		n.refresh(tx, m, w, expires)
	default:
		n.create(tx, m, w, expires)
	}
}

// expiry reads Expires. RFC 6665 §4.2.1.1: 423 only for what is shorter than
// an hour and not 0; longer than the maximum is shortened.
func (n *Notifier) expiry(m *sip.Message) (time.Duration, int) {
	if !m.Has(sip.HExpires) {
		return n.o.Default, 0
	}
	v, ok := m.Int(sip.HExpires)
	if !ok {
		return 0, 400
	}
	d := time.Duration(v) * time.Second
	if d > 0 && d < n.o.Min && d < time.Hour {
		return 0, 423
	}
	return min(d, n.o.Max), 0
}

// create makes a new subscription once its Source agrees.
func (n *Notifier) create(tx *transaction.Server, m *sip.Message, w Watcher, expires time.Duration) {
	d, err := FromRequest(m, NewTag())
	if err != nil {
		warn(tx, m, 400, "a SUBSCRIBE needs one Contact")
		return
	}
	if tooLong(&d, eventID(m)) {
		warn(tx, m, 400, "the names, the Contact, the routes or the Event id of this SUBSCRIBE are too long to be kept")
		return
	}
	if id := eventID(m); strings.Trim(id, tokenChars) != "" {
		warn(tx, m, 400, "the id of an Event is a token") // RFC 6665 §8.4
		return
	}
	u, err := m.URI()
	if err != nil {
		tx.Reply(400, "")
		return
	}
	row := acceptRow(m)
	if row != "" && len(n.o.Types) > 0 && !n.anyAccepted(row) {
		resp := sip.NewResponse(m, 406, "")
		tx.Respond(resp.Add(sip.HAccept, strings.Join(n.o.Types, ", ")))
		return
	}
	s := &Subscription{
		n: n, watcher: w, resource: u.AOR(), eventID: eventID(m), fetch: expires == 0,
		d: d, flow: tx.Flow(), expires: n.instant(tx.Received().Add(expires)),
	}
	if s.resource == "" {
		s.resource = strings.ToLower(u.Host)
	}
	s.own()
	s.mediaRow = n.share(row)
	if !n.reserve(w.AOR) {
		n.metrics.refused.Inc()
		warn(tx, m, 403, "too many subscriptions; end some of them first")
		return
	}
	done := func(v Decision) { n.decided(tx, m, s, v) }
	if n.asker != nil {
		n.asker.Ask(s, m, done)
		return
	}
	n.o.Source.Authorize(s, done)
}

// What watchers of the same make send in Accept is held once.
const (
	maxShared    = 256  // values
	maxSharedLen = 1024 // bytes of each
)

// share returns a copy of an Accept value that does not keep its message alive.
func (n *Notifier) share(row string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if same, ok := n.rows[row]; ok {
		return same
	}
	row = strings.Clone(row)
	if len(n.rows) < maxShared && len(row) <= maxSharedLen {
		n.rows[row] = row
	}
	return row
}

func (n *Notifier) anyAccepted(row string) bool {
	for _, t := range n.o.Types {
		if accepts(row, t, nil) {
			return true
		}
	}
	return false
}

// reserve counts a subscription against the limits before it is decided. Dead
// ones of the same watcher make room.
func (n *Notifier) reserve(aor string) bool {
	n.mu.Lock()
	full := n.byAOR[aor].count() >= n.o.PerWatcher
	n.mu.Unlock()
	if full {
		n.sweep(aor)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.byAOR[aor]
	if w.count() >= n.o.PerWatcher || len(n.byTag)+n.reserved >= n.o.Total {
		return false
	}
	w.reserved++
	n.byAOR[aor] = w
	n.reserved++
	return true
}

// sweep drops the subscriptions of a watcher whose connection is gone.
func (n *Notifier) sweep(aor string) {
	for _, s := range n.WatchedBy(aor) {
		s.mu.Lock()
		dead := !s.flow.Alive()
		s.mu.Unlock()
		if dead {
			s.remove()
		}
	}
}

// decided answers the SUBSCRIBE and sends the first NOTIFY.
func (n *Notifier) decided(tx *transaction.Server, m *sip.Message, s *Subscription, v Decision) {
	if v.Status != 0 {
		n.mu.Lock()
		n.release(s.watcher.AOR)
		n.mu.Unlock()
		resp := sip.NewResponse(m, v.Status, v.Reason)
		if v.Warning != "" {
			resp.Add(sip.HWarning, `399 parley "`+v.Warning+`"`)
		}
		if v.Require != "" {
			resp.Add(sip.HRequire, v.Require)
		}
		for _, h := range v.Headers {
			resp.AddName(h[0], h[1])
		}
		tx.Respond(resp)
		return
	}
	s.state = Active
	if v.State == Pending {
		s.state = Pending
	}
	s.require, s.event = v.Require, v.Event
	s.is.full = true
	n.mu.Lock()
	n.release(s.watcher.AOR)
	n.add(s)
	n.mu.Unlock()
	s.Save()
	left := max(0, s.Expires().Sub(tx.Received()))
	resp := n.accepted(tx, m, s, left)
	for _, h := range v.Headers {
		resp.AddName(h[0], h[1])
	}
	tx.Respond(resp)
	n.metrics.created.Inc()
	n.follow(s, left)
}

// maxNames is what the texts of a subscription that its watcher chose may take
// together, in bytes: they are held as long as it lasts.
const maxNames = 4096

// tokenChars are what a token consists of. RFC 3261 §25.1.
const tokenChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~"

// tooLong tells whether a SUBSCRIBE brings more than is kept. NOTIFYs have a Route
// for each of the routes, which nobody could read if there were very many.
func tooLong(d *Dialog, id string) bool {
	n := len(d.CallID) + len(d.Remote) + len(d.LocalURI) + len(d.RemoteURI) + len(d.Target) + len(id)
	for _, r := range d.Routes {
		n += len(r)
	}
	return n > maxNames || len(d.Routes) > maxRoutes
}

// afterResponse is how long the first NOTIFY waits for the 200 to leave.
const afterResponse = 10 * time.Millisecond

// follow lets the NOTIFY that every SUBSCRIBE causes come after its 200, which
// leaves only when the transaction's callback has returned. Watchers must cope
// with the other order (RFC 6665 §4.1.2.4), not all of them do.
func (n *Notifier) follow(s *Subscription, left time.Duration) {
	if left > 0 {
		s.arm(left)
	}
	s.mu.Lock()
	s.is.held, s.is.full = true, true
	s.mu.Unlock()
	n.o.Transactions.After(afterResponse, func() {
		s.mu.Lock()
		s.is.held = false
		s.mu.Unlock()
		if left == 0 {
			s.end("timeout", 0)
			return
		}
		s.notify(true)
	})
}

// add puts a subscription on the tables; n.mu is held.
func (n *Notifier) add(s *Subscription) {
	n.byTag[s.d.Local] = s
	list := n.byRes[s.resource]
	s.resAt = int32(len(list))
	n.byRes[s.resource] = append(list, s)
	w := n.byAOR[s.watcher.AOR]
	s.aorAt = int32(len(w.list))
	w.list = append(w.list, s)
	n.byAOR[s.watcher.AOR] = w
}

// drop takes it off again, in the same time however many there are; n.mu is
// held.
func (n *Notifier) drop(s *Subscription) {
	delete(n.byTag, s.d.Local)
	list := n.byRes[s.resource]
	last := len(list) - 1
	list[s.resAt], list[last].resAt = list[last], s.resAt
	list[last] = nil
	if last == 0 {
		delete(n.byRes, s.resource)
	} else {
		n.byRes[s.resource] = list[:last]
	}
	w := n.byAOR[s.watcher.AOR]
	last = len(w.list) - 1
	w.list[s.aorAt], w.list[last].aorAt = w.list[last], s.aorAt
	w.list[last] = nil
	w.list = w.list[:last]
	n.put(s.watcher.AOR, w)
}

// put writes what a watcher has; n.mu is held.
func (n *Notifier) put(aor string, w watching) {
	if w.count() == 0 {
		delete(n.byAOR, aor)
	} else {
		n.byAOR[aor] = w
	}
}

// release gives back what reserve took; n.mu is held.
func (n *Notifier) release(aor string) {
	w := n.byAOR[aor]
	w.reserved--
	n.put(aor, w)
	n.reserved--
}

// accepted is the 200 to a SUBSCRIBE. RFC 6665 §4.2.1.1: never 202 any more.
// RFC 3261 §12.1.1: Record-Route is copied.
func (n *Notifier) accepted(tx *transaction.Server, m *sip.Message, s *Subscription, left time.Duration) *sip.Draft {
	d := sip.NewResponse(m, 200, "")
	d.SetToTag(s.d.Local)
	for v := range m.Each(sip.HRecordRoute) {
		d.Add(sip.HRecordRoute, v)
	}
	d.Add(sip.HContact, "<"+n.o.Contact(tx.Flow())+">")
	s.demand(d)
	d.Add(sip.HExpires, strconv.Itoa(int(left/time.Second)))
	return d
}

// refresh takes a SUBSCRIBE inside a dialog. RFC 6665 §4.2.1.3.
func (n *Notifier) refresh(tx *transaction.Server, m *sip.Message, w Watcher, expires time.Duration) {
	n.mu.Lock()
	s := n.byTag[m.ToTag()]
	n.mu.Unlock()
	if s == nil || s.d.ID != ServerID(m) || s.eventID != eventID(m) || s.watcher.AOR != w.AOR {
		tx.Reply(481, "")
		return
	}
	s.mu.Lock()
	if s.is.gone || s.state == Terminated {
		s.mu.Unlock()
		tx.Reply(481, "")
		return
	}
	// RFC 5367 §5.1: a list is given once, with the SUBSCRIBE that makes it.
	if n.asker != nil && strings.Contains(strings.ToLower(m.Get(sip.HContentType)), "resource-lists") {
		s.mu.Unlock()
		warn(tx, m, 415, "the list of a subscription cannot be changed; make a new one")
		return
	}
	if !s.d.CheckSeq(m) {
		s.mu.Unlock()
		warn(tx, m, 500, "CSeq is older than that of an earlier request")
		return
	}
	before := s.d.Target
	if err := s.d.Refresh(m); err != nil || len(s.d.Target) > maxNames {
		s.d.Target = before
		s.mu.Unlock()
		warn(tx, m, 400, "Contact cannot be used")
		return
	}
	s.d.Target = strings.Clone(s.d.Target)
	s.flow = tx.Flow()
	s.is.waiting = false
	s.expires = n.instant(tx.Received().Add(expires))
	s.touch()
	s.mu.Unlock()
	tx.Respond(n.accepted(tx, m, s, expires))
	n.follow(s, expires)
}

// Notify tells all watchers of a resource that its state has changed.
func (n *Notifier) Notify(resource string) {
	for _, s := range n.Watching(resource) {
		s.Notify()
	}
}

// Watching lists the subscriptions to a resource.
func (n *Notifier) Watching(resource string) []*Subscription {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*Subscription(nil), n.byRes[resource]...)
}

// WatchedBy lists the subscriptions of a watcher.
func (n *Notifier) WatchedBy(aor string) []*Subscription {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*Subscription(nil), n.byAOR[aor].list...)
}

// Terminate ends the subscriptions that match, with a reason of RFC 6665
// §4.1.3: deactivated, probation, rejected, timeout, giveup, noresource,
// invariant. It looks at all there are; match is called without a lock.
func (n *Notifier) Terminate(match func(*Subscription) bool, reason string) {
	n.mu.Lock()
	list := make([]*Subscription, 0, len(n.byTag))
	for _, s := range n.byTag {
		list = append(list, s)
	}
	n.mu.Unlock()
	for _, s := range list {
		if match(s) {
			s.end(reason, 0)
		}
	}
}

// TerminateWatcher ends the subscriptions of one watcher; a disabled user's
// are "rejected". It looks at these alone.
func (n *Notifier) TerminateWatcher(aor, reason string) {
	for _, s := range n.WatchedBy(aor) {
		s.end(reason, 0)
	}
}

func eventID(m *sip.Message) string {
	_, params, _ := strings.Cut(m.Get(sip.HEvent), ";")
	v, _ := sip.Params(";" + params).Get("id")
	return v
}

func warn(tx *transaction.Server, m *sip.Message, status int, text string) {
	tx.Respond(sip.NewResponse(m, status, "").Add(sip.HWarning, `399 parley "`+text+`"`))
}
