// Package crowd plays thousands of people in one process who watch each other's presence (RFC 3856): they sign on, subscribe
// to their lists (RFC 4662) or to single people, publish changes (RFC 3903) and write messages. It measures when the
// watchers see a change, and finds what is lost, skipped or refused.
package crowd

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/test/load/gauge"
	"github.com/parley-im/parley/test/load/ua"
	"github.com/parley-im/parley/wire/sip"
)

// Options say who the people are. User names are User and a number from 0, passwords Password and the number.
type Options struct {
	Domain, User, Password string
	Addrs                  map[string]string // of the server, by transport: udp, tcp
	People                 int
	TCP                    int  // so many of them have a TCP connection each; the others use UDP
	Sockets                int  // that those with UDP share; 0: each has its own
	Contacts               int  // of each in the list; even, and fewer than people; 0: there are no lists
	Body                   bool // the list is in the SUBSCRIBE (RFC 5367), else it is the one that the server keeps
	Owners                 int  // without lists: the first so many people are watched by all others, each by a subscription of its own
	Expires                int  // of bindings, subscriptions and publications, in seconds
	Out                    io.Writer
}

// A Crowd is all people and what was seen of them.
type Crowd struct {
	o       Options
	id      string // unlike that of other crowds on the same server
	run     ua.Run
	circle  *circle
	people  []*person
	sockets []*ua.Socket
	ticking sync.WaitGroup
	stop    context.CancelFunc
	ending  atomic.Bool

	from, to atomic.Int64 // the measured part: what begins in it counts for latency
	counts
	messages ledger

	mu       sync.Mutex // guards what follows
	statuses map[string]int
	problems map[string]int
}

// counts are of the whole life of a crowd, but the latencies.
type counts struct {
	notifies, bytes, lists, full   atomic.Int64 // lists: NOTIFYs about a list; full: those with all of it
	repeated, disorder, skipped    atomic.Int64 // NOTIFYs again, with an older CSeq, with a version that is not the next
	ended                          atomic.Int64 // subscriptions that the server ended
	subscribed, complete, online   atomic.Int64 // subscriptions; those that have all states; pairs of which the watcher sees the other online
	published, overdue             atomic.Int64 // changes; those left out because the one before was not answered
	unseen, joined                 atomic.Int64 // receipts that are missing; those that waited for others
	renewed                        atomic.Int64
	signOn, accepted               gauge.Histogram // from the due time until all states are there; PUBLISH until its answer
	receipt, first, fresh, last    gauge.Histogram // see Delays
	messageReceipt, messageAnswers gauge.Histogram
}

// New makes a crowd that is not connected.
func New(o Options) *Crowd {
	w := &Crowd{o: o, id: strconv.FormatInt(time.Now().UnixNano()&0xffffffffff, 36), statuses: map[string]int{}, problems: map[string]int{}}
	w.run.ID, w.run.Problem = w.id, w.problem
	if o.Contacts > 0 {
		w.circle = newCircle(o.People, o.Contacts)
	}
	for i := range o.People {
		n := strconv.Itoa(i)
		p := &person{w: w, i: i, c: ua.New(&w.run, i, o.User+n, o.Password+n, o.Domain)}
		p.c.On = p.on
		w.people = append(w.people, p)
	}
	return w
}

// Lists calls f for each person with the numbers of the contacts that the list on the server must have.
func (w *Crowd) Lists(f func(person int, contacts []int) error) error {
	list := make([]int, w.o.Contacts)
	for i := range w.people {
		for j := range list {
			list[j] = w.circle.contact(i, j)
		}
		if err := f(i, list); err != nil {
			return err
		}
	}
	return nil
}

// Open makes the sockets of those who use UDP and starts the timers. Close ends a crowd.
func (w *Crowd) Open(ctx context.Context) error {
	ctx, w.stop = context.WithCancel(context.WithoutCancel(ctx))
	w.ticking.Go(func() { w.tick(ctx) })
	shared := w.o.Sockets
	if shared == 0 {
		shared = w.o.People
	}
	for i, p := range w.people {
		if w.overTCP(i) {
			continue
		}
		n := i % shared
		for len(w.sockets) <= n {
			s, err := ua.Share(&w.run, w.o.Addrs["udp"])
			if err != nil {
				return err
			}
			w.sockets = append(w.sockets, s)
		}
		p.c.Join(w.sockets[n])
	}
	return nil
}

// overTCP spreads those with TCP evenly.
func (w *Crowd) overTCP(i int) bool { return i*w.o.TCP%w.o.People < w.o.TCP }

// tick drives the repetitions of the clients.
func (w *Crowd) tick(ctx context.Context) {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			at := ua.Now()
			for _, p := range w.people {
				p.c.Tick(at)
			}
		case <-ctx.Done():
			return
		}
	}
}

// Close ends all connections. With leave everybody takes bindings and subscriptions back before.
func (w *Crowd) Close(leave bool) {
	w.ending.Store(true)
	if leave {
		slots := make(chan struct{}, 256)
		for _, p := range w.people {
			p.leave(slots)
		}
		for range cap(slots) { // all have been answered, or nobody will be
			slots <- struct{}{}
		}
	}
	for _, p := range w.people {
		p.c.Leave()
		if w.overTCP(p.i) {
			p.c.Disconnect()
		}
	}
	for _, s := range w.sockets {
		s.Close()
	}
	w.run.Readers.Wait()
	w.stop()
	w.ticking.Wait()
}

func (w *Crowd) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if i := strings.Index(text, "127.0.0.1:"); i >= 0 { // addresses differ for each connection
		text = text[:i] + "…"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.problems) < 100 || w.problems[text] > 0 {
		w.problems[text]++
	}
}

// answered counts a final response and tells whether it is a good one.
func (w *Crowd) answered(method string, m *sip.Message) bool {
	status, text := 0, ""
	if m != nil {
		status = m.Status()
		text = m.Reason() + " " + m.Get(sip.HWarning)
	}
	w.mu.Lock()
	w.statuses[method+" "+strconv.Itoa(status)]++
	w.mu.Unlock()
	if status/100 == 2 {
		return true
	}
	if !w.ending.Load() {
		w.problem("%s got %d %s", method, status, strings.TrimSpace(text))
	}
	return false
}

func (w *Crowd) measured(at time.Duration) bool {
	return w.from.Load() != 0 && int64(at) >= w.from.Load() && int64(at) < w.to.Load()
}

// Measure begins the measured part, of a length: what begins in it counts for latency.
func (w *Crowd) Measure(length time.Duration) {
	at := int64(ua.Now())
	w.to.Store(at + int64(length))
	w.from.Store(at)
}

// Figures are what was seen.
type Figures struct {
	People        int   `json:"people"`
	Subscriptions int64 `json:"subscriptions"`
	Complete      int64 `json:"complete"` // of them have all states
	Online        int64 `json:"online"`   // pairs in which one sees the other online
	Notices
	Published int64 `json:"changes"`
	Overdue   int64 `json:"changes_left_out"` // the one before was not answered
	Renewed   int64 `json:"renewed"`
	Messages  Tally `json:"messages"`
	Delays
	Statuses map[string]int `json:"statuses"`
	Problems map[string]int `json:"problems"`
}

// Notices are the NOTIFYs that came.
type Notices struct {
	Notifies int64 `json:"notifies"`
	Bytes    int64 `json:"notify_bytes"` // of bodies
	Lists    int64 `json:"list_notifies"`
	Full     int64 `json:"full_list_notifies"`
	Repeated int64 `json:"repeated"`
	Resent   int64 `json:"resent"` // repetitions of ours
	Disorder int64 `json:"out_of_order"`
	Skipped  int64 `json:"versions_skipped"`
	Ended    int64 `json:"subscriptions_ended"`
	Joined   int64 `json:"receipts_joined"` // of changes; the watcher had been told of something in the 5 s before
	Unseen   int64 `json:"receipts_missing"`
}

// Delays are from the PUBLISH, but the first two and those of messages.
type Delays struct {
	SignOn        gauge.Latency `json:"sign_on_ms"` // from the due time until the states of all contacts are there
	Accepted      gauge.Latency `json:"publish_ms"` // PUBLISH until its answer
	Receipt       gauge.Latency `json:"receipt_ms"` // until each watcher has the change
	First         gauge.Latency `json:"first_watcher_ms"`
	Fresh         gauge.Latency `json:"last_fresh_watcher_ms"` // until the last watcher who had not been told of anything in the 5 s before
	Last          gauge.Latency `json:"last_watcher_ms"`
	MessageSeen   gauge.Latency `json:"message_receipt_ms"`
	MessageAnswer gauge.Latency `json:"message_answer_ms"`
}

// Figures reads what was seen so far.
func (w *Crowd) Figures() Figures {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Figures{
		People: len(w.people), Subscriptions: w.subscribed.Load(), Complete: w.complete.Load(), Online: w.online.Load(),
		Notices: Notices{
			Notifies: w.notifies.Load(), Bytes: w.bytes.Load(), Lists: w.lists.Load(), Full: w.full.Load(), Repeated: w.repeated.Load(), Resent: w.run.Resent.Load(),
			Disorder: w.disorder.Load(), Skipped: w.skipped.Load(), Ended: w.ended.Load(), Joined: w.joined.Load(), Unseen: w.unseen.Load(),
		},
		Published: w.published.Load(), Overdue: w.overdue.Load(), Renewed: w.renewed.Load(), Messages: w.messages.tally(),
		Delays: Delays{
			SignOn: gauge.LatencyOf(&w.signOn), Accepted: gauge.LatencyOf(&w.accepted), Receipt: gauge.LatencyOf(&w.receipt), First: gauge.LatencyOf(&w.first),
			Fresh: gauge.LatencyOf(&w.fresh), Last: gauge.LatencyOf(&w.last), MessageSeen: gauge.LatencyOf(&w.messageReceipt), MessageAnswer: gauge.LatencyOf(&w.messageAnswers),
		},
		Statuses: maps.Clone(w.statuses), Problems: maps.Clone(w.problems),
	}
}

// Refusals are final responses that are not 2xx, and requests without one.
func (f *Figures) Refusals() int {
	n := 0
	for text, k := range f.Statuses {
		if _, code, _ := strings.Cut(text, " "); !strings.HasPrefix(code, "2") {
			n += k
		}
	}
	return n
}

// Wrong says what must not be, "" when all is well.
func (f *Figures) Wrong() string {
	var list []string
	add := func(n int64, what string) {
		if n > 0 {
			list = append(list, strconv.FormatInt(n, 10)+" "+what)
		}
	}
	add(int64(f.Refusals()), "refused or not answered")
	add(f.Subscriptions-f.Complete, "subscriptions without all states")
	add(f.Skipped, "versions skipped")
	add(f.Disorder, "NOTIFYs out of order")
	add(f.Ended, "subscriptions ended by the server")
	add(f.Unseen, "changes not seen by a watcher")
	add(int64(f.Messages.Lost), "messages lost")
	add(int64(f.Messages.Doubled), "messages doubled")
	n := 0
	for _, k := range f.Problems {
		n += k
	}
	add(int64(n), "other problems")
	return strings.Join(list, ", ")
}
