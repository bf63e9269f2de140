// Package push tells people on devices on which no page is open that somebody has written, by Web Push (RFC 8030). It is a reader
// of the log. What it sends is a hint: what was said is in the log, and the page reads it there.
package push

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/webpush"
)

// Limits.
const (
	queued     = 1000             // notifications that wait; more are left out
	senders    = 8                // at a time
	within     = 15 * time.Second // for one to be taken
	timeToLive = 24 * time.Hour   // for which a push service keeps one for a device that is away
	validFor   = 12 * time.Hour   // of the proof who sends (RFC 8292 §2: 24 h at most)
	pageOf     = 200              // records that are read together
	preview    = 200              // characters of the text
	lookAgain  = time.Minute      // who has subscriptions: other nodes add some as well
)

// Options are what a Service is made of. All but TLS, Private, Log and Registerer are required.
type Options struct {
	Records interface {
		Head() int64
		Read(ctx context.Context, after int64, limit int) ([]store.Record, error)
		Subscribe(fn func(head int64)) (cancel func())
	}
	Subscriptions store.PushSubscriptions
	// Online tells whether a session has an event stream open: then its page tells the person itself.
	Online func(aor, session string) bool
	// Quiet tells whether a person shall not be disturbed by another one.
	Quiet func(owner, from string) bool
	// Sender is the name of who wrote, and Text the beginning of what, as people read it.
	Sender func(ctx context.Context, r *store.Record) string
	Text   func(r *store.Record) string
	Key    *webpush.Sender

	Private    bool        // addresses that are not public are taken as well: for tests, and push services of one's own
	TLS        *tls.Config // for tests; nil: the system's authorities
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Service sends notifications.
type Service struct {
	o      Options
	client *http.Client
	// metrics has the label "result": sent, failed, gone, read, later (the push service puts it off), left out (too many, or a newer
	// one of the conversation waits).
	metrics *prometheus.CounterVec
	wake    chan struct{}
	queue   chan *notification
	waiting *waiting
	putOff  chan struct{} // a push service wants to be left alone

	position atomic.Int64 // up to which the log was looked at; -1 before Serve

	mu     sync.Mutex      // guards what follows
	people map[string]bool // who has subscriptions
	added  []string        // who has got one since people were read
}

// notification is one that waits.
type notification struct {
	to    store.PushSubscription
	from  string
	seq   int64 // of the message
	text  []byte
	host  string // of the push service
	tries int
}

// New makes a Service; Serve runs it.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{o: o, client: newClient(o.Private, o.TLS), wake: make(chan struct{}, 1), queue: make(chan *notification, queued), people: map[string]bool{},
		waiting: newWaiting(), putOff: make(chan struct{}, 1),
		metrics: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_push_notifications_total", Help: "Notifications by Web Push, by what came of them."}, []string{"result"})}
	s.position.Store(-1)
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.metrics)
	}
	return s
}

// Added is told that somebody has a subscription now.
func (s *Service) Added(aor string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.people[aor] = true
	s.added = append(s.added, aor)
}

// Serve reads the log from now on and sends, until ctx ends.
func (s *Service) Serve(ctx context.Context) error {
	s.position.Store(s.o.Records.Head())
	cancel := s.o.Records.Subscribe(func(int64) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	})
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range senders {
		wg.Go(func() { s.send(ctx) })
	}
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	again := time.NewTimer(longest) // until what was put off may be sent
	defer again.Stop()
	s.look(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.look(ctx)
		case <-s.putOff:
			again.Reset(s.sendAgain(time.Now()))
		case now := <-again.C:
			again.Reset(s.sendAgain(now))
		case <-s.wake:
			s.position.Store(s.read(ctx, s.position.Load()))
		}
	}
}

// look asks the store who has subscriptions.
func (s *Service) look(ctx context.Context) {
	s.mu.Lock()
	s.added = nil
	s.mu.Unlock()
	list, err := s.o.Subscriptions.PushOwners(ctx)
	if err != nil {
		s.o.Log.Debug("push: subscriptions not read", "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.people)
	for _, aor := range append(list, s.added...) {
		s.people[aor] = true
	}
}

// read looks at what is new in the log; nobody's new messages cost nothing while nobody has a subscription.
func (s *Service) read(ctx context.Context, position int64) int64 {
	s.mu.Lock()
	nobody := len(s.people) == 0
	s.mu.Unlock()
	head := s.o.Records.Head()
	if nobody {
		return head
	}
	for position < head {
		list, err := s.o.Records.Read(ctx, position, pageOf)
		if err != nil {
			s.o.Log.Debug("push: the log was not read", "err", err)
			return head // hints that are late are worth nothing
		}
		p := page{read: map[pair]int64{}, to: map[string][]store.PushSubscription{}}
		for i := range list {
			if who, upTo, ok := readUpTo(&list[i]); ok {
				p.read[who] = max(p.read[who], upTo)
				s.waiting.read(who, upTo)
			}
		}
		for i := range list {
			s.tell(ctx, &list[i], &p)
		}
		if len(list) == 0 {
			return head
		}
		position = list[len(list)-1].Seq
	}
	return position
}

// page is what is known of records that are read together.
type page struct {
	read map[pair]int64                      // how far who has read what of whom
	to   map[string][]store.PushSubscription // the subscriptions of somebody, asked for once
}

// tell puts what one record is worth into the queue.
func (s *Service) tell(ctx context.Context, r *store.Record, p *page) {
	if r.Kind != store.KindMessage || r.From == r.To || r.Seq <= p.read[pair{r.To, r.From}] {
		return
	}
	s.mu.Lock()
	has := s.people[r.To]
	s.mu.Unlock()
	if !has || s.o.Quiet(r.To, r.From) {
		return
	}
	list, asked := p.to[r.To]
	if !asked {
		var err error
		if list, err = s.o.Subscriptions.PushOf(ctx, r.To); err != nil {
			s.o.Log.Debug("push: subscriptions not read", "err", err)
			return
		}
		p.to[r.To] = list
	}
	for _, to := range list {
		if s.o.Online(r.To, to.Session) {
			continue
		}
		n := &notification{to: to, from: r.From, seq: r.Seq, text: s.payload(ctx, r, to.Preview)}
		if u, err := url.Parse(to.Endpoint); err == nil { // else it fails when it is sent
			n.host = u.Host
		}
		s.waiting.begin(n)
		s.enqueue(n)
	}
}

// enqueue puts a notification into the queue, or leaves it out.
func (s *Service) enqueue(n *notification) {
	select {
	case s.queue <- n:
	default:
		s.over(n, "left out")
	}
}

// over ends a notification.
func (s *Service) over(n *notification, result string) {
	s.waiting.end(n)
	s.metrics.WithLabelValues(result).Inc()
}

// sendAgain puts what may be sent by now back into the queue, and returns how long to wait for the rest.
func (s *Service) sendAgain(now time.Time) time.Duration {
	list, next := s.waiting.due(now)
	for _, n := range list {
		s.enqueue(n)
	}
	if next.IsZero() {
		return longest
	}
	return next.Sub(now)
}

// payload is what the service worker of the page gets. Without a preview it tells that somebody wrote, and where a click leads.
func (s *Service) payload(ctx context.Context, r *store.Record, shown bool) []byte {
	var p struct {
		Title        string `json:"title,omitempty"`
		Body         string `json:"body,omitempty"`
		Conversation string `json:"conversation"`
		Position     string `json:"position"`
	}
	p.Conversation, p.Position = r.From, strconv.FormatInt(r.Seq, 10)
	if shown {
		p.Title = beginning(cmp.Or(s.o.Sender(ctx, r), r.From), 100)
		p.Body = beginning(s.o.Text(r), preview)
	}
	text, err := json.Marshal(p)
	if err != nil || len(text) > webpush.MaxText {
		return []byte(`{}`) // an address of 3 kB: that somebody wrote is told all the same
	}
	return text
}

// beginning cuts a text after so many characters.
func beginning(text string, most int) string {
	n := 0
	for i := range text {
		if n++; n > most {
			return strings.TrimSpace(text[:i]) + "…"
		}
	}
	return text
}

// send sends what waits.
func (s *Service) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-s.queue:
			s.sendOne(ctx, n)
		}
	}
}

// sendOne sends a notification, unless the person has seen meanwhile what it is about, or the push service wants to be left alone.
func (s *Service) sendOne(ctx context.Context, n *notification) {
	if s.waiting.known(n) || s.o.Online(n.to.AOR, n.to.Session) {
		s.over(n, "read")
		return
	}
	if s.hold(n, 0) {
		return
	}
	n.tries++
	result, wait, err := s.post(ctx, n)
	if err != nil {
		s.o.Log.Debug("push: not sent", "aor", n.to.AOR, "err", err)
	}
	if wait == 0 || n.tries >= mostTry {
		s.over(n, result)
		return
	}
	s.metrics.WithLabelValues("later").Inc()
	s.hold(n, wait)
	select {
	case s.putOff <- struct{}{}:
	default:
	}
}

// hold is waiting.hold with its metric.
func (s *Service) hold(n *notification, wait time.Duration) bool {
	held, out := s.waiting.hold(n, time.Now(), wait)
	if out != nil {
		s.metrics.WithLabelValues("left out").Inc()
	}
	return held
}

// post sends one notification (RFC 8030 §5), and removes a subscription that is no more. A push service that says for how long it
// wants to be left alone may be asked again after that.
func (s *Service) post(ctx context.Context, n *notification) (result string, wait time.Duration, err error) {
	const failed = "failed"
	u, err := url.Parse(n.to.Endpoint)
	if err != nil {
		return failed, 0, err
	}
	decode := func(text string) ([]byte, error) {
		return base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	}
	public, err := decode(n.to.P256DH)
	if err != nil {
		return failed, 0, err
	}
	secret, err := decode(n.to.Auth)
	if err != nil {
		return failed, 0, err
	}
	body, err := webpush.Encrypt(n.text, public, secret)
	if err != nil {
		return failed, 0, err
	}
	authorization, err := s.o.Key.Authorization(u.Scheme+"://"+u.Host, time.Now().Add(validFor))
	if err != nil {
		return failed, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.to.Endpoint, bytes.NewReader(body))
	if err != nil {
		return failed, 0, err
	}
	// RFC 8030 §5.2 to §5.4: of one conversation a device that comes back hears once.
	topic := sha256.Sum256([]byte(n.from))
	for name, value := range map[string]string{
		"Authorization": authorization, "Content-Encoding": webpush.Encoding, "Content-Type": "application/octet-stream",
		"TTL": strconv.Itoa(int(timeToLive / time.Second)), "Urgency": "high", "Topic": base64.RawURLEncoding.EncodeToString(topic[:18]),
	} {
		req.Header.Set(name, value)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return failed, 0, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 1024) // so that the connection can be used again
	switch {
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		// RFC 8030 §7.3: the browser does not want any more.
		return "gone", 0, s.o.Subscriptions.RemovePush(context.WithoutCancel(ctx), "", n.to.Endpoint)
	case resp.StatusCode >= 300:
		if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
			wait = retryAfter(resp.Header, time.Now())
		}
		return failed, wait, errs.New(errs.Unavailable, "push: %s answers %d", u.Host, resp.StatusCode)
	}
	return "sent", 0, nil
}
