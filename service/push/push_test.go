package push

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
	"github.com/parley-im/parley/wire/webpush"
)

const alice, bob = "alice@example.com", "bob@example.com"

// patience is how long a test that fails waits.
const patience = 30 * time.Second

// request is what a push service got.
type request struct {
	path   string
	header http.Header
	size   int
}

// rig is a Service over a real store, and a push service that it calls.
type rig struct {
	*Service
	t      *testing.T
	store  *sqlstore.Store
	url    string
	got    chan request
	status atomic.Int64
	after  atomic.Pointer[string] // Retry-After
	online atomic.Bool
	quiet  atomic.Bool
}

func start(t *testing.T, private bool) *rig {
	t.Helper()
	r := &rig{t: t, got: make(chan request, 100)}
	r.status.Store(http.StatusCreated)
	service := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if req.URL.Path == "/redirect" {
			http.Redirect(w, req, "/elsewhere", http.StatusTemporaryRedirect)
		} else {
			if after := r.after.Load(); after != nil {
				w.Header().Set("Retry-After", *after)
			}
			w.WriteHeader(int(r.status.Load()))
		}
		r.got <- request{req.URL.Path, req.Header, len(body)}
	}))
	t.Cleanup(service.Close)
	r.url = service.URL
	st, err := sqlstore.Open(t.Context(), sqlstore.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r.store = st
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() { _ = st.Serve(ctx) })
	for _, aor := range []string{alice, bob} {
		u := store.User{AOR: aor, Password: "p"}
		if err := st.Users().AddUsers(t.Context(), []store.User{u}); err != nil {
			t.Fatal(err)
		}
		s := store.Session{ID: "session of " + aor, AOR: aor, Token: [32]byte{aor[0]}, Created: time.Now(), Seen: time.Now(), Expires: time.Now().Add(time.Hour)}
		if _, err := st.Sessions().AddSession(t.Context(), s, &u, 5); err != nil {
			t.Fatal(err)
		}
	}
	key, err := webpush.NewSender(bytes.Repeat([]byte{1}, 32), "mailto:postmaster@example.com")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(service.Certificate())
	r.Service = New(Options{Records: st.Log(), Subscriptions: st.PushSubscriptions(), Key: key, Private: private, TLS: &tls.Config{RootCAs: pool},
		Online: func(aor, session string) bool { return r.online.Load() }, Quiet: func(string, string) bool { return r.quiet.Load() },
		Sender: func(context.Context, *store.Record) string { return "Bob Brown" }, Text: func(r *store.Record) string { return string(r.Body) }})
	served.Go(func() { _ = r.Serve(ctx) })
	t.Cleanup(func() { cancel(); served.Wait(); st.Close() })
	r.waitRead()
	return r
}

// subscribe adds a subscription of alice at a path of the push service.
func (r *rig) subscribe(path string, shown bool) {
	r.t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	b64 := base64.RawURLEncoding
	if err := r.store.PushSubscriptions().AddPush(r.t.Context(), store.PushSubscription{Endpoint: r.url + path, AOR: alice, Session: "session of " + alice,
		P256DH: b64.EncodeToString(key.PublicKey().Bytes()), Auth: b64.EncodeToString(make([]byte, 16)) + "==", Preview: shown, Created: time.Now()}); err != nil {
		r.t.Fatal(err)
	}
	r.Added(alice)
}

// say records a message and waits until it is in the log.
func (r *rig) say(from, to, text string) {
	r.t.Helper()
	r.sayAll(from, to, text)
}

// sayAll records messages at once and waits until they are in the log. A machine that is busy may refuse some for the moment.
func (r *rig) sayAll(from, to string, texts ...string) {
	r.t.Helper()
	for range 60 {
		type answer struct {
			text string
			err  error
		}
		done := make(chan answer, len(texts))
		for _, text := range texts {
			r.store.Log().Append(&store.Record{Kind: store.KindMessage, From: from, To: to, ContentType: "text/plain", Body: []byte(text)}, func(err error) { done <- answer{text, err} })
		}
		var refused []string
		for range texts {
			if a := <-done; a.err != nil {
				refused = append(refused, a.text)
			}
		}
		if texts = refused; len(texts) == 0 {
			return
		}
	}
	r.t.Fatal("the log refuses everything")
}

func (r *rig) next() request {
	r.t.Helper()
	select {
	case q := <-r.got:
		return q
	case <-time.After(patience):
		r.t.Fatal("nothing was sent")
	}
	return request{}
}

// eventually waits for a count of notifications with a result.
func (r *rig) eventually(result string, n float64) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); testutil.ToFloat64(r.metrics.WithLabelValues(result)) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %v, want %v", result, testutil.ToFloat64(r.metrics.WithLabelValues(result)), n)
		}
	}
}

// Who has no page open is told, in the words of RFC 8030; who has one, or does not want to be disturbed, is not.
func TestNotify(t *testing.T) {
	r := start(t, true)
	r.subscribe("/one", true)
	r.say(bob, alice, "hello")
	q := r.next()
	if q.path != "/one" || q.header.Get("Content-Encoding") != "aes128gcm" || q.header.Get("TTL") != "86400" || q.header.Get("Urgency") != "high" ||
		len(q.header.Get("Topic")) > 32 || !strings.HasPrefix(q.header.Get("Authorization"), "vapid t=") || q.size < 100 || q.size > 4096 {
		t.Errorf("%+v", q)
	}
	r.say(alice, bob, "not to alice")
	r.say(alice, alice, "to herself")
	r.online.Store(true)
	r.say(bob, alice, "on the page")
	r.say(bob, bob, "barrier")
	r.eventually("sent", 1)
	// What is told after these shows that they were passed over: they are told in order.
	r.waitRead()
	r.online.Store(false)
	r.quiet.Store(true)
	r.say(bob, alice, "do not disturb")
	r.waitRead()
	r.quiet.Store(false)
	r.say(bob, alice, strings.Repeat("long ", 10_000))
	if q := r.next(); q.size > 4096 {
		t.Errorf("%d bytes", q.size)
	}
	r.eventually("sent", 2)
	if len(r.got) != 0 {
		t.Errorf("%v was sent as well", <-r.got)
	}
}

// waitRead waits until everything in the log was looked at: a message to somebody is told after all before it.
func (r *rig) waitRead() {
	r.t.Helper()
	for deadline := time.Now().Add(patience); r.position.Load() < r.store.Log().Head(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("the log was not read")
		}
	}
}

// The beginning of the text is shown to who wants that, and nobody else.
func TestPayload(t *testing.T) {
	r := start(t, true)
	rec := &store.Record{Seq: 17, From: bob, To: alice, Body: []byte(strings.Repeat("ü", 300))}
	if got := string(r.payload(t.Context(), rec, true)); got != `{"title":"Bob Brown","body":"`+strings.Repeat("ü", 200)+`…","conversation":"bob@example.com","position":"17"}` {
		t.Error(got)
	}
	if got := string(r.payload(t.Context(), rec, false)); got != `{"conversation":"bob@example.com","position":"17"}` {
		t.Error(got)
	}
	rec.From = strings.Repeat("b", 4000) + "@x"
	if got := string(r.payload(t.Context(), rec, true)); got != `{}` {
		t.Error(got)
	}
}

// A subscription that the browser has given up is removed; one whose service is ill stays.
func TestGone(t *testing.T) {
	r := start(t, true)
	r.subscribe("/one", false)
	have := func() int {
		list, err := r.store.PushSubscriptions().PushOf(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	for i, status := range []int{http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusUnauthorized} {
		r.status.Store(int64(status))
		r.say(bob, alice, "hello")
		r.next()
		r.eventually("failed", float64(i+1))
	}
	if have() != 1 {
		t.Error("removed too early")
	}
	r.status.Store(http.StatusGone)
	r.say(bob, alice, "hello")
	r.next()
	r.eventually("gone", 1)
	if have() != 0 {
		t.Error("410 and still there")
	}
}

// A subscription cannot make this server call machines that are not public, nor be led there.
func TestGuard(t *testing.T) {
	r := start(t, false)
	r.subscribe("/one", false)
	r.say(bob, alice, "hello")
	r.eventually("failed", 1)
	if len(r.got) != 0 {
		t.Error("127.0.0.1 was called")
	}
	led := start(t, true)
	led.subscribe("/redirect", false)
	led.say(bob, alice, "hello")
	led.eventually("failed", 1)
	if q := led.next(); q.path != "/redirect" || len(led.got) != 0 {
		t.Errorf("%v, and %d more", q, len(led.got))
	}
	for a, want := range map[string]bool{
		"1.1.1.1": true, "2606:4700:4700::1111": true, "::ffff:1.1.1.1": true, "127.0.0.1": false, "::1": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fd00::1": false, "100.64.0.1": false, "0.0.0.0": false, "::": false, "224.0.0.1": false, "ff02::1": false, "::ffff:127.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false, "255.255.255.255": false, "2001:db8::1": false, "::ffff:169.254.169.254": false,
	} {
		if public(netip.MustParseAddr(a)) != want {
			t.Errorf("%s: public is %v", a, !want)
		}
	}
	for text, want := range map[string]bool{"https://push.example.com/x": true, "https://push.example.com:443/x": true, "https://push.example.com:22/x": false, "https://127.0.0.1/x": false,
		"https://[::1]/x": false, "https://10.0.0.1/x": false} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := Endpoint(u); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A push service that does not answer holds up nobody but itself, and what waits is bounded.
func TestFlood(t *testing.T) {
	r := start(t, true)
	stuck, release := make(chan struct{}, senders), make(chan struct{})
	dead := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case stuck <- struct{}{}:
		default: // one that was given up, and another one after it
		}
		<-release
	}))
	defer dead.Close()
	defer close(release)
	r.o.TLS.RootCAs.AddCert(dead.Certificate())
	r.url = dead.URL
	r.subscribe("/dead", false)
	const waves, wave = 4, 500
	for range waves {
		texts := make([]string, wave)
		for i := range texts {
			texts[i] = fmt.Sprint(i)
		}
		r.sayAll(bob, alice, texts...)
	}
	for range senders {
		<-stuck
	}
	r.waitRead()
	left := testutil.ToFloat64(r.metrics.WithLabelValues("left out"))
	failed := testutil.ToFloat64(r.metrics.WithLabelValues("failed")) // on a slow machine some were given up meanwhile
	if least := waves*wave - queued - senders - failed; left < least || left == 0 {
		t.Errorf("%v were left out, and %v failed", left, failed)
	}
}

// A push service that is busy is left alone for as long as it says, and is told then what is newest of each conversation.
func TestRetryAfter(t *testing.T) {
	r := start(t, true)
	r.subscribe("/one", false)
	say := func(after string, status int) {
		r.after.Store(&after)
		r.status.Store(int64(status))
		r.say(bob, alice, "hello")
	}
	say("3600", http.StatusTooManyRequests)
	r.next()
	r.eventually("later", 1)
	r.say(bob, alice, "the next one, which takes the place of the first")
	r.eventually("left out", 1)
	r.status.Store(http.StatusCreated)
	if wait := r.sendAgain(time.Now()); wait <= 0 || wait > time.Hour || len(r.got) != 0 {
		t.Errorf("in %v, and %d were sent", wait, len(r.got))
	}
	r.sendAgain(time.Now().Add(2 * time.Hour))
	r.next()
	r.eventually("sent", 1)

	// By itself, too.
	begun := time.Now()
	say("1", http.StatusServiceUnavailable)
	r.next()
	r.eventually("later", 2)
	r.status.Store(http.StatusCreated)
	r.eventually("sent", 2)
	if took := time.Since(begun); took < time.Second {
		t.Errorf("it was asked again after %v", took)
	}
	if n := len(r.waiting.reads) + len(r.waiting.held); n != 0 {
		t.Errorf("%d are kept", n)
	}

	now := time.Now()
	for text, want := range map[string]time.Duration{"": 0, "soon": 0, "-1": 0, "0": shortest, "90": 90 * time.Second, "999999999999999": longest, "7200": longest,
		now.Add(10 * time.Second).UTC().Format(http.TimeFormat): 10 * time.Second, now.Add(-time.Hour).UTC().Format(http.TimeFormat): shortest} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); (got - want).Abs() > time.Second {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// What was read while its notification waited is not told any more.
func TestReadMeanwhile(t *testing.T) {
	r := start(t, true)
	r.subscribe("/one", false)
	after := "3600"
	r.after.Store(&after)
	r.status.Store(http.StatusTooManyRequests)
	r.say(bob, alice, "hello")
	r.next()
	r.eventually("later", 1)
	list, err := r.store.Log().Read(t.Context(), r.store.Log().Head()-1, 1)
	if err != nil || len(list) != 1 || list[0].Kind != store.KindMessage {
		t.Fatal(list, err)
	}
	receipt := func(outcome string) {
		r.append(store.Record{Kind: store.KindReceipt, From: alice, To: bob, Ref: list[0].ID, Meta: map[string]string{store.MetaOutcome: outcome, store.MetaSeq: fmt.Sprint(list[0].Seq)}})
		r.waitRead()
	}
	r.status.Store(http.StatusCreated)
	receipt("processed")
	r.sendAgain(time.Now().Add(2 * time.Hour))
	r.next()
	r.eventually("sent", 1)

	r.status.Store(http.StatusTooManyRequests)
	r.say(bob, alice, "hello again")
	r.next()
	r.eventually("later", 2)
	list[0].Seq = r.store.Log().Head()
	r.status.Store(http.StatusCreated)
	receipt(store.OutcomeDisplayed)
	r.sendAgain(time.Now().Add(2 * time.Hour))
	r.eventually("read", 1)
	if len(r.got) != 0 {
		t.Error("it was sent all the same")
	}
	// Of a message and its receipt that are seen together nothing is told at all.
	p := page{read: map[pair]int64{{alice, bob}: 10}, to: map[string][]store.PushSubscription{alice: {{AOR: alice, Endpoint: "https://push.example.com/"}}}}
	r.tell(t.Context(), &store.Record{Seq: 10, Kind: store.KindMessage, From: bob, To: alice}, &p)
	if n := len(r.waiting.reads); n != 0 {
		t.Errorf("%d wait", n)
	}
}

// append puts a record into the log. A machine that is busy may refuse it for the moment.
func (r *rig) append(rec store.Record) {
	r.t.Helper()
	for range 60 {
		own, done := rec, make(chan error, 1)
		r.store.Log().Append(&own, func(err error) { done <- err })
		if <-done == nil {
			return
		}
	}
	r.t.Fatal("the log refuses everything")
}
