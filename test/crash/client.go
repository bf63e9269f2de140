package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/wire/sip"
)

const domain = "example.com"

// statusUnwanted is what picky devices answer to unwanted messages; the server tells the sender when nobody took one.
const statusUnwanted = 488

// client is one device of a user. It signs in whenever it is not, keeps what it receives, and sends what it is told.
type client struct {
	crew     *crew
	user     string // "u03"
	name     string // "u03/1"
	kind     string // of its links
	outbound bool   // reg-id: requests come back on this very connection (RFC 5626)
	flighty  bool   // comes and goes
	picky    bool   // refuses unwanted messages
	urn      string
	creds    credentials
	regID    string
	regSeq   int
	since    time.Time // when it was known for good
	began    time.Time // when it first signed in to this life of the server
	life     int       // which that is

	mu       sync.Mutex // guards what follows
	link     *link      // nil while it is not signed in
	sessions int        // connections on which it was signed in, if it stays
	place    int        // messages written on link
	ready    chan struct{}
	seen     map[string]int // transactions that were answered, by branch, with the status
	rebind   chan struct{}
}

// expires is for how many seconds a client signs in: the least that the server grants.
const expires = 60

// cursorSaved is how long a device that was never seen before may take to be known for good: its cursor is written behind,
// within a second. When the server is killed before, it is a new device once more, which gets what no device took.
const cursorSaved = 2 * time.Second

func newClient(c *crew, user string, n int) *client {
	name := fmt.Sprintf("%s/%d", user, n)
	h := sha256.Sum256([]byte(c.name + name))
	k := &client{crew: c, user: user, name: name, ready: make(chan struct{}), seen: map[string]int{}, regID: "reg-" + unique(), rebind: make(chan struct{}, 1),
		urn: fmt.Sprintf("urn:uuid:%x-%x-4%x-8%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])}
	// The third and fourth group carry the version and variant: four digits each.
	parts := strings.Split(k.urn, "-")
	parts[2], parts[3] = parts[2][:4], parts[3][:4]
	k.urn = strings.Join(parts, "-")
	k.creds.user, k.creds.password = user, password(user)
	return k
}

func password(user string) string { return "secret of " + user }
func aor(user string) string      { return user + "@" + domain }

// serve keeps the client signed in until ctx ends.
func (k *client) serve(ctx context.Context) {
	r := rand.New(rand.NewPCG(k.crew.seed, uint64(len(k.name))+uint64(k.name[1])<<8+uint64(k.name[2])<<16+uint64(k.name[len(k.name)-1])<<24)) //nolint:gosec // a schedule
	for ctx.Err() == nil {
		l, err := dial(ctx, k.kind, k.crew.server.addrs[k.kind], k.crew.next(), k.crew.life, k.received)
		if err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		k.session(ctx, l, r)
		k.mu.Lock()
		if k.link != nil {
			k.link, k.ready = nil, make(chan struct{})
		}
		k.mu.Unlock()
		l.close()
		if k.flighty && !k.crew.staying() {
			pause(ctx, time.Duration(r.IntN(400))*time.Millisecond)
		}
	}
}

// session signs in and stays until the connection is gone or the device wants to leave.
func (k *client) session(ctx context.Context, l *link, r *rand.Rand) {
	if !k.register(ctx, l, expires) {
		pause(ctx, 50*time.Millisecond)
		return
	}
	k.mu.Lock()
	k.link, k.place = l, 0
	if !k.flighty && !l.udp() {
		k.sessions++
	}
	close(k.ready)
	k.mu.Unlock()
	known := time.After(k.known())
	leave := make(<-chan time.Time)
	if k.flighty {
		leave = time.After(time.Duration(200+r.IntN(1500)) * time.Millisecond)
	}
	// Nobody tells a client over UDP that the server was started again.
	refresh := time.NewTicker(time.Duration(1000+r.IntN(1000)) * time.Millisecond)
	if k.kind != "udp" {
		refresh.Reset(expires * time.Second / 3)
	}
	defer refresh.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.gone:
			return
		case <-leave:
			if k.crew.staying() {
				leave = nil
				continue
			}
			if r.IntN(2) == 0 {
				k.register(ctx, l, 0) // the polite half
			}
			return
		case <-known:
			known = time.After(k.known())
		case <-k.rebind:
			if !k.register(ctx, l, expires) && !l.udp() {
				return
			}
		case <-refresh.C:
			if !k.register(ctx, l, expires) && (!l.udp() || ctx.Err() != nil) {
				return
			}
		}
	}
}

// known notes that the device is owed messages, once the server has known it for long enough in one life. It returns how long
// that takes still.
func (k *client) known() time.Duration {
	if !k.since.IsZero() {
		return time.Hour
	}
	now := time.Now()
	if life := k.crew.life(); k.began.IsZero() || life != k.life {
		k.began, k.life = now, life
	}
	if left := cursorSaved - now.Sub(k.began); left > 0 {
		return left
	}
	k.since = now
	k.crew.ledger.device(device{AOR: aor(k.user), Device: k.urn, Name: k.name, Picky: k.picky, Since: now})
	k.crew.here <- k.name
	return time.Hour
}

// register signs in, or out with 0; it is true when the server said 200.
func (k *client) register(ctx context.Context, l *link, seconds int) bool {
	for range 4 {
		k.regSeq++
		params := fmt.Sprintf(`;+sip.instance="<%s>"`, k.urn)
		if k.outbound {
			params += ";reg-id=1"
		}
		d := sip.NewRequest(sip.REGISTER, "sip:"+domain).
			Add(sip.HMaxForwards, "70").
			Add(sip.HFrom, "<sip:"+aor(k.user)+">;tag=r").
			Add(sip.HTo, "<sip:"+aor(k.user)+">").
			Add(sip.HCallID, k.regID).
			Add(sip.HCSeq, strconv.Itoa(k.regSeq)+" REGISTER").
			Add(sip.HContact, fmt.Sprintf("<sip:%s@%s%s>%s;expires=%d", k.user, l.local, l.param(), params, seconds))
		if k.outbound {
			d.Add(sip.HSupported, "path, outbound")
		}
		k.creds.authorize(d)
		m, err := l.do(ctx, d)
		if err != nil {
			return false
		}
		switch s := m.Status(); {
		case s == 200:
			return true
		case s == 401 && k.creds.challenged(m):
		default:
			k.crew.odd("REGISTER", s)
			return false
		}
	}
	return false
}

// received takes a MESSAGE, notes it, and only then answers.
func (k *client) received(l *link, m *sip.Message) *sip.Message {
	if m.Method() != sip.MESSAGE {
		return response(m, 405)
	}
	via, err := m.TopVia()
	if err != nil {
		return response(m, 400)
	}
	k.mu.Lock()
	status, again := k.seen[via.Branch()]
	k.mu.Unlock()
	if again {
		return response(m, status) // a retransmission is no redelivery
	}
	text := string(m.Body())
	key, rest, _ := strings.Cut(text, " ")
	status = 200
	if k.picky && strings.HasPrefix(rest, unwanted) {
		status = statusUnwanted
	}
	k.crew.ledger.received(received{Key: key, AOR: aor(k.user), Device: k.urn, CallID: strings.Clone(m.CallID()), Life: l.life(), Status: status, At: time.Now()})
	k.mu.Lock()
	k.seen[strings.Clone(via.Branch())] = status
	k.mu.Unlock()
	return response(m, status)
}

// ignore answers requests without noting them, for a device that the books do not have.
func (k *client) ignore(_ *link, m *sip.Message) *sip.Message { return response(m, 480) }

func response(m *sip.Message, status int) *sip.Message {
	d := sip.NewResponse(m, status, "")
	d.SetToTag("d")
	resp, err := d.Message()
	if err != nil {
		return nil // the request was not fit to be answered
	}
	return resp
}

// unwanted is the second word of what picky devices refuse.
const unwanted = "unwanted"

// say sends one message and repeats it, with the same Call-ID, From tag and CSeq, until it is answered. written is called
// once it was written for the first time, so that the next one may follow on the same connection.
func (k *client) say(ctx context.Context, key, to string, nasty bool, filler int, written func()) {
	defer func() { written() }()
	s := sent{Key: key, From: aor(k.user), To: aor(to), CallID: "m-" + key, Unwanted: nasty}
	text := key + " "
	if nasty {
		text += unwanted + " "
	}
	text += strings.Repeat("bla ", filler/4)
	for attempts, challenges := 0, 0; ctx.Err() == nil; {
		l := k.signedIn(ctx)
		if l == nil {
			return
		}
		d := sip.NewRequest(sip.MESSAGE, "sip:"+aor(to)).
			Add(sip.HMaxForwards, "70").
			Add(sip.HFrom, "<sip:"+aor(k.user)+">;tag=f").
			Add(sip.HTo, "<sip:"+aor(to)+">").
			Add(sip.HCallID, s.CallID).
			Add(sip.HCSeq, "1 MESSAGE").
			Body("text/plain;charset=UTF-8", []byte(text))
		if l.udp() {
			k.creds.authorize(d) // on other links the connection is trusted
		}
		began, life := time.Now(), k.crew.life()
		x, ok := k.first(l, d, &s, attempts)
		if !ok {
			return // the run ends
		}
		attempts++
		written()
		written = func() {}
		m, err := x.wait(ctx)
		if err != nil {
			pause(ctx, 10*time.Millisecond)
			continue
		}
		status := m.Status()
		if (status == 401 || status == 407) && challenges < 50 && k.creds.challenged(m) {
			challenges++
			attempts--
			continue
		}
		if status/100 != 2 && status != statusRefused && status != statusUnwanted {
			k.crew.odd("MESSAGE", status)
		}
		k.crew.ledger.answered(answer{
			Key: key, Status: status, RetryAfter: strings.Clone(m.Get(sip.HRetryAfter)), Attempts: attempts + challenges,
			Took: time.Since(began), Excused: life != k.crew.life() || began.UnixNano() < max(k.crew.excused.Load(), k.crew.server.since.Load()), At: time.Now(),
		})
		return
	}
}

// first writes the request, and notes before that what is sent and in which place.
func (k *client) first(l *link, d *sip.Draft, s *sent, attempts int) (*exchange, bool) {
	x := l.prepare(d)
	if attempts > 0 || !s.At.IsZero() {
		_ = x.send() // if it fails, so does wait
		return x, true
	}
	if !l.udp() {
		k.mu.Lock()
		k.place++
		s.Link, s.Place = l.number, k.place
		k.mu.Unlock()
	}
	s.At = time.Now()
	k.crew.ledger.sent(*s)
	_ = x.send() // if it fails, so does wait
	return x, true
}

// signedIn waits until the client is signed in; nil when ctx ended.
func (k *client) signedIn(ctx context.Context) *link {
	for {
		k.mu.Lock()
		l, ready := k.link, k.ready
		k.mu.Unlock()
		if l != nil {
			select {
			case <-l.gone:
				pause(ctx, 5*time.Millisecond) // serve is about to notice
				if ctx.Err() != nil {
					return nil
				}
				continue
			default:
				return l
			}
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil
		}
	}
}

// drop cuts the client's connection, as a lost network does.
func (k *client) drop() {
	k.mu.Lock()
	l := k.link
	k.mu.Unlock()
	if l != nil && !l.udp() {
		_ = l.conn.Close() // its reader notices
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
