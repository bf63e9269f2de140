package auth

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icholy/digest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
	"github.com/parley-im/parley/wire/sip"
)

const (
	alice = "alice@example.com"
	bob   = "bob@example.com"
)

// rig is an Authenticator over a real store, with a clock that the test moves.
type rig struct {
	*Authenticator
	t     testing.TB
	store *sqlstore.Store
	keys  *Keys
	clock atomic.Int64
	stop  func()
}

func openStore(t testing.TB) *sqlstore.Store {
	t.Helper()
	st, err := sqlstore.Open(t.Context(), sqlstore.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = st.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; st.Close() })
	return st
}

// newRig has the users alice (password "wonderland") and bob ("builder").
func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, store: openStore(t)}
	r.clock.Store(time.Now().UnixNano())
	var err error
	if r.keys, err = OpenKeys(t.Context(), t.TempDir()+"/keys", r.store.Settings()); err != nil {
		t.Fatal(err)
	}
	r.add(alice, "wonderland")
	r.add(bob, "builder")
	o := Options{Domains: []string{"example.com", "other.example"}, Users: r.store.Users(), Keys: r.keys,
		Now: func() time.Time { return time.Unix(0, r.clock.Load()) }}
	if change != nil {
		change(&o)
	}
	if r.Authenticator, err = New(o); err != nil {
		t.Fatal(err)
	}
	r.start()
	return r
}

func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = r.Serve(ctx) }()
	r.stop = sync.OnceFunc(func() { cancel(); <-ended })
	r.t.Cleanup(r.stop)
}

func (r *rig) user(aor, password string) store.User {
	r.t.Helper()
	a, b, err := r.keys.SealHA1(aor, password)
	if err != nil {
		r.t.Fatal(err)
	}
	return store.User{AOR: aor, Name: "Name of " + aor, HA1MD5: a, HA1SHA256: b}
}

func (r *rig) add(aor, password string) {
	r.t.Helper()
	if err := r.store.Users().AddUsers(r.t.Context(), []store.User{r.user(aor, password)}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) pass(d time.Duration) { r.clock.Add(int64(d)) }

// request is a request of a client; the zero fields take alice's.
type request struct {
	method, uri, from string
	headers           string // whole rows
	body              string
	src               Source
	proxy             bool
}

func (q *request) fill() {
	if q.method == "" {
		q.method = "REGISTER"
	}
	if q.uri == "" {
		q.uri = "sip:example.com"
	}
	if q.from == "" {
		q.from = "sip:" + alice
	}
	if !q.src.Addr.IsValid() {
		q.src.Addr = netip.MustParseAddrPort("192.0.2.7:5060")
	}
}

func (q *request) message(t testing.TB) *sip.Message {
	t.Helper()
	q.fill()
	m, err := sip.Parse([]byte(strings.ReplaceAll(fmt.Sprintf("%s %s SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1\nMax-Forwards: 70\nFrom: <%s>;tag=1\nTo: <sip:x@example.com>\nCall-ID: 1@x\nCSeq: 1 %s\n%sContent-Length: %d\n\n",
		q.method, q.uri, q.from, q.method, q.headers, len(q.body)), "\n", "\r\n") + q.body))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ask authenticates one request and waits for the answer.
func (r *rig) ask(q request) Result {
	r.t.Helper()
	m := q.message(r.t)
	got := make(chan Result, 1)
	r.Authenticate(m, q.src, q.proxy, func(x Result) { got <- x })
	select {
	case x := <-got:
		return x
	case <-time.After(time.Minute):
		r.t.Fatal("no answer")
		return Result{}
	}
}

// answer is what an independent client makes of a challenge.
func answer(t testing.TB, challenge string, q request, user, password string, nc int) string {
	t.Helper()
	q.fill()
	ch, err := digest.ParseChallenge(challenge)
	if err != nil {
		t.Fatalf("%v: %s", err, challenge)
	}
	body := q.body
	c, err := digest.Digest(ch, digest.Options{Method: q.method, URI: q.uri, Count: nc, Username: user, Password: password,
		Cnonce: "f00", GetBody: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }})
	if err != nil {
		t.Fatal(err)
	}
	return c.String()
}

func (q request) with(row, value string) request {
	q.headers += row + ": " + value + "\n"
	return q
}

// signIn challenges, answers with the given credentials, and returns the result.
func (r *rig) signIn(q request, user, password string) Result {
	r.t.Helper()
	x := r.ask(q)
	want, row := 401, "Authorization"
	if q.proxy {
		want, row = 407, "Proxy-Authorization"
	}
	if x.Status != want || len(x.Challenges) == 0 {
		r.t.Fatalf("got %+v, want a challenge with %d", x, want)
	}
	return r.ask(q.with(row, answer(r.t, x.Challenges[0], q, user, password, 1)))
}

func field(challenge, name string) string {
	_, rest, ok := strings.Cut(challenge, name+"=")
	if !ok {
		return ""
	}
	v, _, _ := strings.Cut(rest, ",")
	return strings.Trim(v, `"`)
}

func stale(x Result) bool {
	return (x.Status == 401 || x.Status == 407) && len(x.Challenges) > 0 && field(x.Challenges[0], "stale") == "true"
}

func TestSignIn(t *testing.T) {
	rows := []struct {
		name   string
		policy Policy
		proxy  bool
		user   string
		want   []string // algorithms offered
	}{
		{"MD5 by default", Policy{}, false, "alice", []string{"MD5"}},
		{"proxy", Policy{}, true, "alice", []string{"MD5"}},
		{"SHA-256", Policy{Algorithms: []Algorithm{SHA256}}, false, "alice", []string{"SHA-256"}},
		{"both", Policy{Algorithms: []Algorithm{SHA256, MD5}}, false, "alice", []string{"SHA-256", "MD5"}},
		{"long user name", Policy{}, false, alice, []string{"MD5"}},
		{"long user name, SHA-256", Policy{Algorithms: []Algorithm{SHA256}}, true, alice, []string{"SHA-256"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *Options) { o.Listeners = map[string]Policy{"tcp:x": row.policy} })
			q := request{proxy: row.proxy, src: Source{Listener: "tcp:x"}}
			x := r.ask(q)
			if len(x.Challenges) != len(row.want) {
				t.Fatalf("challenges: %q", x.Challenges)
			}
			for i, c := range x.Challenges {
				if field(c, "algorithm") != row.want[i] || field(c, "Digest realm") != "example.com" || field(c, "qop") != "auth" || field(c, "stale") != "" {
					t.Errorf("challenge %d: %s", i, c)
				}
				q := q.with(map[bool]string{true: "Proxy-Authorization", false: "Authorization"}[row.proxy], answer(t, c, q, row.user, "wonderland", i+1))
				got := r.ask(q)
				want := Identity{AOR: alice, Name: "Name of " + alice}
				if got.Status != 0 || got.Identity != want || !got.Digest || (got.AuthenticationInfo != "") == row.proxy {
					t.Errorf("answer %d: %+v", i, got)
				}
			}
			if got := r.signIn(q, row.user, "Wonderland"); got.Status/100 != 4 || stale(got) || got.Identity.AOR != "" {
				t.Errorf("a wrong password: %+v", got)
			}
		})
	}
}

// The server proves that it knows the password as well (RFC 7616 §3.5).
func TestAuthenticationInfo(t *testing.T) {
	r := newRig(t, nil)
	q := request{}
	x := r.ask(q)
	got := r.ask(q.with("Authorization", answer(t, x.Challenges[0], q, "alice", "wonderland", 1)))
	h := func(s string) string { b := md5.Sum([]byte(s)); return hex.EncodeToString(b[:]) }
	want := h(h("alice:example.com:wonderland") + ":" + field(x.Challenges[0], "nonce") + ":00000001:f00:auth:" + h(":sip:example.com"))
	if got.AuthenticationInfo != `qop=auth, rspauth="`+want+`", cnonce="f00", nc=00000001` {
		t.Errorf("got %s, want rspauth %s", got.AuthenticationInfo, want)
	}
}

// A known and an unknown user look alike.
func TestUnknownUser(t *testing.T) {
	r := newRig(t, nil)
	shape := func(user, from string) (Result, Result) {
		q := request{from: from}
		first := r.ask(q)
		second := r.ask(q.with("Authorization", answer(t, first.Challenges[0], q, user, "guess", 1)))
		for _, x := range []*Result{&first, &second} {
			x.Challenges[0] = strings.Replace(x.Challenges[0], field(x.Challenges[0], "nonce"), "NONCE", 1)
		}
		return first, second
	}
	a1, a2 := shape("alice", "sip:"+alice)
	b1, b2 := shape("mallory", "sip:mallory@example.com")
	if fmt.Sprint(a1, a2) != fmt.Sprint(b1, b2) {
		t.Errorf("known: %+v %+v\nunknown: %+v %+v", a1, a2, b1, b2)
	}
}

// hostile.md row 12.
func TestReplay(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Listeners = map[string]Policy{"sha": {Algorithms: []Algorithm{SHA256}}}
	})
	q := request{method: "MESSAGE", uri: "sip:bob@example.com", proxy: true}
	x := r.ask(q)
	good := answer(t, x.Challenges[0], q, "alice", "wonderland", 1)
	row := "Proxy-Authorization"
	if got := r.ask(q.with(row, good)); got.Status != 0 {
		t.Fatalf("the original: %+v", got)
	}
	if got := r.ask(q.with(row, good)); !stale(got) {
		t.Errorf("the same nc again: %+v", got)
	}
	if got := r.ask(q.with(row, answer(t, x.Challenges[0], q, "alice", "wonderland", 2))); got.Status != 0 {
		t.Errorf("the next nc: %+v", got)
	}
	other := q
	other.uri = "sip:carol@example.com"
	fresh := answer(t, x.Challenges[0], q, "alice", "wonderland", 3)
	if got := r.ask(other.with(row, fresh)); got.Status != 400 {
		t.Errorf("for another URI: %+v", got)
	}
	if got := r.ask(other.with(row, strings.Replace(fresh, "bob@", "carol@", 1))); got.Status != 407 || stale(got) {
		t.Errorf("for another URI, with its name changed: %+v", got)
	}
	other = q
	other.method = "INVITE"
	if got := r.ask(other.with(row, fresh)); got.Status != 407 || stale(got) {
		t.Errorf("for another method: %+v", got)
	}
	other = q
	other.src.Addr = netip.MustParseAddrPort("198.51.100.9:5060")
	if got := r.ask(other.with(row, fresh)); !stale(got) {
		t.Errorf("from another address: %+v", got)
	}
	other.src.Addr = netip.MustParseAddrPort("192.0.2.7:9999")
	if got := r.ask(other.with(row, fresh)); got.Status != 0 {
		t.Errorf("from another port: %+v", got)
	}
	other = q
	other.src.Listener = "sha"
	if got := r.ask(other.with(row, answer(t, x.Challenges[0], q, "alice", "wonderland", 4))); got.Status != 407 || len(got.Challenges) != 1 || field(got.Challenges[0], "algorithm") != "SHA-256" {
		t.Errorf("MD5 where SHA-256 is asked for: %+v", got)
	}
	r.pass(5*time.Minute + time.Second)
	if got := r.ask(q.with(row, answer(t, x.Challenges[0], q, "alice", "wonderland", 9))); !stale(got) {
		t.Errorf("an old nonce: %+v", got)
	}
	forged := strings.Replace(x.Challenges[0], field(x.Challenges[0], "nonce"), strings.Repeat("A", nonceText), 1)
	if got := r.ask(q.with(row, answer(t, forged, q, "alice", "wonderland", 1))); !stale(got) {
		t.Errorf("a nonce that is not ours: %+v", got)
	}
}

// plain makes an answer of an RFC 2069 client, as libpurple does: no qop, no cnonce, no
// algorithm, but an nc.
func plain(challenge string, q request, user, password string, nc int) string {
	q.fill()
	h := func(s string) string { b := md5.Sum([]byte(s)); return hex.EncodeToString(b[:]) }
	realm, nonce := field(challenge, "realm"), field(challenge, "nonce")
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", nc="%08d", response="%s"`, user, realm, nonce, q.uri, nc,
		h(h(user+":"+realm+":"+password)+":"+nonce+":"+h(q.method+":"+q.uri)))
}

func TestPlainAnswers(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Listeners = map[string]Policy{"strict": {RequireQOP: true}} })
	q := request{method: "MESSAGE", uri: "sip:bob@example.com", proxy: true}
	c := r.ask(q).Challenges[0]
	row := "Proxy-Authorization"
	for nc := 1; nc < 4; nc++ {
		if got := r.ask(q.with(row, plain(c, q, "alice", "wonderland", nc))); got.Status != 0 {
			t.Fatalf("nc %d: %+v", nc, got)
		}
	}
	other := q
	other.src.Addr = netip.MustParseAddrPort("192.0.2.8:5060")
	if got := r.ask(other.with(row, plain(c, q, "alice", "wonderland", 1))); !stale(got) {
		t.Errorf("from another address: %+v", got)
	}
	other = q
	other.src.Listener = "strict"
	if got := r.ask(other.with(row, plain(c, q, "alice", "wonderland", 1))); got.Status != 403 || got.Warning == "" {
		t.Errorf("where qop is needed: %+v", got)
	}
	if got := r.ask(q.with(row, plain(c, q, "alice", "wrong", 1))); got.Status != 407 || stale(got) {
		t.Errorf("a wrong password: %+v", got)
	}
	r.pass(time.Minute + time.Second)
	if got := r.ask(q.with(row, plain(c, q, "alice", "wonderland", 5))); !stale(got) {
		t.Errorf("an old nonce: %+v", got)
	}
	if got := r.ask(q.with(row, answer(t, c, q, "alice", "wonderland", 6))); got.Status != 0 {
		t.Errorf("the same nonce with qop lives longer: %+v", got)
	}
}

func TestAuthInt(t *testing.T) {
	r := newRig(t, nil)
	q := request{method: "MESSAGE", uri: "sip:bob@example.com", body: "hello"}
	c := strings.Replace(r.ask(q).Challenges[0], `qop="auth"`, `qop="auth-int"`, 1)
	good := answer(t, c, q, "alice", "wonderland", 1)
	if !strings.Contains(good, "auth-int") {
		t.Fatalf("the client did not use auth-int: %s", good)
	}
	changed := q
	changed.body = "HELLO"
	if got := r.ask(changed.with("Authorization", good)); got.Status != 401 {
		t.Errorf("a changed body: %+v", got)
	}
	if got := r.ask(q.with("Authorization", good)); got.Status != 0 || got.AuthenticationInfo != "" {
		t.Errorf("got %+v", got)
	}
}

func TestDigestURI(t *testing.T) {
	rows := []struct {
		method, requested, digest string
		ok                        bool
	}{
		{"MESSAGE", "sip:bob@example.com", "sip:bob@EXAMPLE.com", true},
		{"MESSAGE", "sip:bob@example.com", "sip:%62ob@example.com", true},
		{"MESSAGE", "sip:bob@example.com;gr=x", "sip:bob@example.com", true},
		{"MESSAGE", "sip:bob@example.com", "sip:bob@example.com:5061", false},
		{"MESSAGE", "sip:bob@example.com", "sips:bob@example.com", false},
		{"MESSAGE", "sip:bob@example.com", "sip:example.com", false},
		{"MESSAGE", "sip:bob@example.com", "bob", false},
		{"REGISTER", "sip:example.com:5060", "sip:example.com", true},
		{"REGISTER", "sip:example.com", "sip:alice@example.com", true},
		{"REGISTER", "sip:example.com", "sip:other.example", false},
		{"MESSAGE", "sip:bob@example.com", "sip:192.0.2.1:5060", true}, // SIPp
		{"MESSAGE", "sip:bob@example.com", "sip:bob@192.0.2.1:5060", false},
		{"MESSAGE", "sip:bob@example.com", "sip:192.0.2.2:5060", false},
	}
	r := newRig(t, func(o *Options) {
		o.IsLocal = func(host string, port uint16) bool { return host == "192.0.2.1" && port == 5060 }
	})
	for _, row := range rows {
		q := request{method: row.method, uri: row.requested}
		c := r.ask(q).Challenges[0]
		made := q
		made.uri = row.digest
		// Without qop the Request-URI must be named in any case, but for REGISTER.
		if got := r.ask(q.with("Authorization", plain(c, made, "alice", "wonderland", 1))); row.method == "MESSAGE" && strings.Contains(row.digest, "192.0.2") && got.Status != 400 {
			t.Errorf("without qop, %s %s with %s: %+v", row.method, row.requested, row.digest, got)
		}
		got := r.ask(q.with("Authorization", answer(t, c, made, "alice", "wonderland", 1)))
		if row.ok != (got.Status == 0) || !row.ok && got.Status != 400 {
			t.Errorf("%s %s with %s: %+v", row.method, row.requested, row.digest, got)
		}
	}
}

func TestOddCredentials(t *testing.T) {
	r := newRig(t, nil)
	q := request{}
	c := r.ask(q).Challenges[0]
	good := answer(t, c, q, "alice", "wonderland", 1)
	rows := []struct {
		name, value string
		want        int
	}{
		{"another scheme (RFC 4475 §3.3.4)", "NoOneKnowsThisScheme opaque-data=here", 401},
		{"basic", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", 401},
		{"another realm", strings.Replace(good, `realm="example.com"`, `realm="evil.example"`, 1), 401},
		{"another domain of ours", strings.Replace(good, `realm="example.com"`, `realm="other.example"`, 1), 401},
		{"SHA-512-256", strings.Replace(good, "MD5", "SHA-512-256", 1), 401},
		{"MD5-sess", strings.Replace(good, "MD5", "MD5-sess", 1), 401},
		{"no nc", strings.Replace(good, "nc=00000001, ", "", 1), 400},
		{"nc is no hex", strings.Replace(good, "nc=00000001", "nc=0000000g", 1), 400},
		{"nc too long", strings.Replace(good, "nc=00000001", "nc=000000001", 1), 400},
		{"no cnonce", strings.Replace(good, `cnonce="f00", `, "", 1), 400},
		{"unknown qop", strings.Replace(good, "qop=auth", "qop=auth-conf", 1), 400},
		{"no uri", strings.Replace(good, `uri="sip:example.com", `, "", 1), 400},
		{"twice a field", good + `, realm="example.com"`, 400},
		{"garbage", "Digest ,,,=\"", 400},
		{"user name of 300 bytes", strings.Replace(good, `"alice"`, `"`+strings.Repeat("a", 300)+`"`, 1), 400},
		{"no user name", strings.Replace(good, `"alice"`, `""`, 1), 400},
		{"short response", strings.Replace(good, field(good, "response"), "00", 1), 401},
		{"good", good, 0},
	}
	for _, row := range rows {
		if got := r.ask(q.with("Authorization", row.value)); got.Status != row.want {
			t.Errorf("%s: got %+v, want %d (%s)", row.name, got, row.want, row.value)
		}
	}
	// Credentials for somebody else in front of those for us (RFC 8760 §2.5).
	good = answer(t, c, q, "alice", "wonderland", 2)
	foreign := strings.Replace(good, `realm="example.com"`, `realm="evil.example"`, 1)
	if got := r.ask(q.with("Authorization", foreign).with("Authorization", good)); got.Status != 0 {
		t.Errorf("after foreign credentials: %+v", got)
	}
	if got := r.ask(q.with("Proxy-Authorization", answer(t, c, q, "alice", "wonderland", 3))); got.Status != 0 {
		t.Errorf("in the other header: %+v", got)
	}
	many := q
	for range maxCredentials {
		many = many.with("Authorization", foreign)
	}
	if got := r.ask(many.with("Authorization", answer(t, c, q, "alice", "wonderland", 4))); got.Status != 401 {
		t.Errorf("after too many foreign ones: %+v", got)
	}
}

func TestLockout(t *testing.T) {
	r := newRig(t, nil)
	q := request{}
	for i := range 5 {
		if got := r.signIn(q, "alice", "wrong"); got.Status != 401 {
			t.Fatalf("attempt %d: %+v", i, got)
		}
	}
	if got := r.signIn(q, "alice", "wonderland"); got.Status != 403 || got.RetryAfter < 1 || got.RetryAfter > 10 || got.Warning == "" {
		t.Fatalf("not locked: %+v", got)
	}
	if got := r.signIn(request{from: "sip:" + bob}, "bob", "builder"); got.Status != 0 {
		t.Errorf("bob from the same address: %+v", got)
	}
	elsewhere := request{src: Source{Addr: netip.MustParseAddrPort("203.0.113.5:1")}}
	if got := r.signIn(elsewhere, "alice", "wonderland"); got.Status != 0 {
		t.Errorf("alice from elsewhere: %+v", got)
	}
	r.pass(11 * time.Second)
	if got := r.signIn(q, "alice", "wonderland"); got.Status != 0 {
		t.Errorf("after the lock: %+v", got)
	}
	// Wrong answers to nonces that were not issued to this address count for nothing:
	// nobody can lock somebody else out with forged packets.
	c := r.ask(elsewhere).Challenges[0]
	for range 50 {
		r.ask(q.with("Authorization", answer(t, c, q, "alice", "wrong", 1)))
	}
	if got := r.signIn(q, "alice", "wonderland"); got.Status != 0 {
		t.Errorf("after forged attempts: %+v", got)
	}
}

func TestDevicePasswords(t *testing.T) {
	r := newRig(t, nil)
	users := r.store.Users()
	var passwords []string
	for i := range MaxDevicePasswords + 1 {
		p := NewDevicePassword()
		a, b, err := r.keys.SealHA1(alice, p)
		if err != nil {
			t.Fatal(err)
		}
		dp := store.DevicePassword{ID: fmt.Sprintf("dev%02d", i), AOR: alice, Label: "x", HA1MD5: a, HA1SHA256: b, Created: time.Unix(1000+int64(i), 0)}
		if err := users.AddDevicePassword(t.Context(), dp); err != nil {
			t.Fatal(err)
		}
		passwords = append(passwords, p)
	}
	newest := MaxDevicePasswords
	if got := r.signIn(request{}, "alice", passwords[newest]); got.Status != 0 || got.Identity.Device != fmt.Sprintf("dev%02d", newest) {
		t.Fatalf("the newest: %+v", got)
	}
	if got := r.signIn(request{}, "alice", passwords[1]); got.Status != 0 || got.Identity.Device != "dev01" {
		t.Fatalf("the second: %+v", got)
	}
	if got := r.signIn(request{}, "alice", passwords[0]); got.Status != 401 {
		t.Errorf("the oldest of 33: %+v", got)
	}
	if got := r.signIn(request{}, "alice", "wonderland"); got.Status != 0 || got.Identity.Device != "" {
		t.Errorf("the account's own: %+v", got)
	}
	if got := r.signIn(request{from: "sip:" + bob}, "bob", passwords[1]); got.Status != 401 {
		t.Errorf("alice's device password for bob: %+v", got)
	}
	if err := users.RevokeDevicePassword(t.Context(), alice, "dev01"); err != nil {
		t.Fatal(err)
	}
	r.UserChanged(alice)
	if got := r.signIn(request{}, "alice", passwords[1]); got.Status != 401 {
		t.Errorf("a revoked one: %+v", got)
	}
	if got := r.signIn(request{}, "alice", passwords[0]); got.Status != 0 {
		t.Errorf("now there is room for the oldest: %+v", got)
	}
	r.stop() // writes when they were used last
	list, err := users.DevicePasswords(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if used := d.ID == "dev00" || d.ID == "dev01" || d.ID == fmt.Sprintf("dev%02d", newest); used == d.LastUsed.IsZero() {
			t.Errorf("%s: last used %v", d.ID, d.LastUsed)
		}
	}
}

func TestDisabled(t *testing.T) {
	r := newRig(t, nil)
	u := r.user(alice, "wonderland")
	u.Disabled = true
	if err := r.store.Users().UpdateUser(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if got := r.signIn(request{}, "alice", "wrong"); got.Status != 401 {
		t.Errorf("a stranger learns that the account is disabled: %+v", got)
	}
	if got := r.signIn(request{}, "alice", "wonderland"); got.Status != 403 || got.Warning == "" || got.Identity.AOR != "" {
		t.Errorf("got %+v", got)
	}
}

// A password that was changed behind our back holds after a minute at most.
func TestChangeWithoutEvent(t *testing.T) {
	r := newRig(t, nil)
	if got := r.signIn(request{}, "alice", "wonderland"); got.Status != 0 {
		t.Fatalf("got %+v", got)
	}
	if err := r.store.Users().UpdateUser(t.Context(), r.user(alice, "looking glass")); err != nil {
		t.Fatal(err)
	}
	r.pass(accountLife)
	if got := r.signIn(request{}, "alice", "wonderland"); got.Status != 401 {
		t.Errorf("the old password: %+v", got)
	}
	if got := r.signIn(request{}, "alice", "looking glass"); got.Status != 0 {
		t.Errorf("the new password: %+v", got)
	}
}

func TestTrust(t *testing.T) {
	setup := func(t *testing.T) (*rig, Source, Identity) {
		t.Parallel()
		r := newRig(t, nil)
		src := Source{Kind: "tcp", Addr: netip.MustParseAddrPort("192.0.2.7:40000"), Conn: 7}
		x := r.signIn(request{src: src}, "alice", "wonderland")
		if x.Status != 0 {
			t.Fatalf("got %+v", x)
		}
		r.Trust(src, x.Identity, r.now().Add(time.Hour))
		return r, src, x.Identity
	}
	message := func(src Source) request {
		return request{method: "MESSAGE", uri: "sip:bob@example.com", proxy: true, src: src}
	}
	t.Run("trusted", func(t *testing.T) {
		r, src, id := setup(t)
		if got := r.ask(message(src)); got.Status != 0 || got.Identity != id || got.Digest {
			t.Errorf("got %+v", got)
		}
		if len(r.Conns(alice)) != 1 || r.Conns(alice)[0] != 7 {
			t.Errorf("connections: %v", r.Conns(alice))
		}
	})
	t.Run("REGISTER is always asked", func(t *testing.T) {
		r, src, _ := setup(t)
		if got := r.ask(request{src: src}); got.Status != 401 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("another connection", func(t *testing.T) {
		r, src, _ := setup(t)
		for _, conn := range []uint64{0, 8} {
			src.Conn = conn
			if got := r.ask(message(src)); got.Status != 407 {
				t.Errorf("connection %d: %+v", conn, got)
			}
		}
	})
	t.Run("From of another", func(t *testing.T) {
		r, src, id := setup(t)
		q := message(src)
		q.from = "sip:" + bob
		if got := r.ask(q); got.Identity != id || r.CheckFrom(q.message(t), got.Identity) {
			t.Errorf("got %+v", got)
		}
		// With a second account on the connection the From decides.
		x := r.signIn(request{src: src, from: "sip:" + bob}, "bob", "builder")
		r.Trust(src, x.Identity, r.now().Add(time.Hour))
		if got := r.ask(q); got.Identity.AOR != bob {
			t.Errorf("got %+v", got)
		}
		q.from = "sip:carol@example.com"
		if got := r.ask(q); got.Status != 407 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("through a proxy", func(t *testing.T) {
		r, src, _ := setup(t)
		q := message(src)
		q.headers = "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2\n"
		if got := r.ask(q); got.Status != 407 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("expiry", func(t *testing.T) {
		r, src, _ := setup(t)
		r.pass(time.Hour - time.Second)
		if got := r.ask(message(src)); got.Status != 0 {
			t.Errorf("before: %+v", got)
		}
		r.pass(time.Second)
		if got := r.ask(message(src)); got.Status != 407 {
			t.Errorf("after: %+v", got)
		}
	})
	t.Run("unregistered", func(t *testing.T) {
		r, src, id := setup(t)
		r.Trust(src, id, time.Time{})
		if got := r.ask(message(src)); got.Status != 407 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("closed", func(t *testing.T) {
		r, src, _ := setup(t)
		r.ConnClosed(7)
		if got := r.ask(message(src)); got.Status != 407 {
			t.Errorf("got %+v", got)
		}
		if len(r.trusts.conns) != 0 || len(r.trusts.aors) != 0 {
			t.Errorf("left behind: %v", r.trusts)
		}
	})
	t.Run("user changed", func(t *testing.T) {
		r, src, _ := setup(t)
		u := r.user(alice, "wonderland")
		u.Name = "Another Name"
		old, err := r.store.Users().User(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		u.HA1MD5, u.HA1SHA256 = old.HA1MD5, old.HA1SHA256
		update := func(u store.User) {
			t.Helper()
			if err := r.store.Users().UpdateUser(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			r.UserChanged(alice)
		}
		update(u)
		if got := r.ask(message(src)); got.Status != 0 || got.Identity.Name != "Another Name" {
			t.Errorf("another name: %+v", got)
		}
		update(r.user(alice, "looking glass"))
		if got := r.ask(message(src)); got.Status != 407 {
			t.Errorf("another password: %+v", got)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		r, src, _ := setup(t)
		u, err := r.store.Users().User(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		u.Disabled = true
		if err := r.store.Users().UpdateUser(t.Context(), *u); err != nil {
			t.Fatal(err)
		}
		r.UserChanged(alice)
		if got := r.ask(message(src)); got.Status != 407 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("password changed behind our back", func(t *testing.T) {
		r, src, _ := setup(t)
		if err := r.store.Users().UpdateUser(t.Context(), r.user(alice, "looking glass")); err != nil {
			t.Fatal(err)
		}
		r.pass(accountLife)
		if got := r.ask(message(src)); got.Status != 407 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("removed behind our back", func(t *testing.T) {
		r, src, _ := setup(t)
		if err := r.store.Users().RemoveUser(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		r.pass(accountLife)
		if got := r.ask(message(src)); got.Status != 407 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("without proof", func(t *testing.T) {
		r, src, id := setup(t)
		src.Conn = 99
		r.Trust(src, id, r.now().Add(time.Hour))
		if got := r.ask(message(src)); got.Status != 407 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("another secret", func(t *testing.T) {
		r, src, id := setup(t)
		now, proof := r.now(), func(b byte) []byte { return bytes.Repeat([]byte{b}, MD5.size()) }
		speaks := func(want string) {
			t.Helper()
			if x, ok := r.trusts.speaker(7, alice, r.now()); !ok || x.device != want {
				t.Errorf("speaks for device %q, %t; want %q", x.device, ok, want)
			}
		}
		id.Device = "d1"
		r.trusts.authenticated(7, id, MD5, proof(1), now)
		speaks("") // proven is not trusted
		r.Trust(src, id, now.Add(time.Hour))
		speaks("d1")
		id.Device = "d2"
		r.trusts.authenticated(7, id, MD5, proof(2), now)
		id.Device = "d1"
		r.trusts.authenticated(7, id, MD5, proof(1), now) // the last one counts
		r.Trust(src, id, now.Add(time.Hour))
		speaks("d1")
		if conns := r.Conns(alice); len(conns) != 1 {
			t.Errorf("connections: %v", conns)
		}
		r.pass(proofLife + time.Second)
		r.trusts.sweep(r.now())
		if x := r.trusts.conns[7]; x == nil || x.next != nil {
			t.Errorf("kept: %+v", x)
		}
		r.Trust(src, id, r.now().Add(2*time.Hour)) // proven too long ago
		r.pass(time.Hour)
		if _, ok := r.trusts.speaker(7, alice, r.now()); ok {
			t.Error("trust was extended without a proof")
		}
	})
	t.Run("many accounts", func(t *testing.T) {
		r, src, id := setup(t)
		for i := range 3 * maxTrusts {
			id.AOR = fmt.Sprintf("u%d@example.com", i)
			r.trusts.authenticated(7, id, MD5, make([]byte, MD5.size()), r.now())
			r.Trust(src, id, r.now().Add(time.Hour))
		}
		n := 0
		for x := r.trusts.conns[7]; x != nil; x = x.next {
			n++
		}
		if n > 2*maxTrusts || len(r.trusts.aors) != maxTrusts || len(r.Conns(alice)) != 0 || len(r.Conns(id.AOR)) != 1 {
			t.Errorf("%d kept, %d trusted", n, len(r.trusts.aors))
		}
		r.ConnClosed(7)
		if len(r.trusts.conns) != 0 || len(r.trusts.aors) != 0 {
			t.Errorf("left behind: %v", r.trusts)
		}
	})
	t.Run("sweep", func(t *testing.T) {
		r, _, _ := setup(t)
		r.pass(2 * time.Hour)
		r.trusts.sweep(r.now())
		if len(r.trusts.conns) != 0 || len(r.trusts.aors) != 0 {
			t.Errorf("left behind: %v", r.trusts)
		}
	})
}

func TestSpeaksFor(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.GRUUOwner = func(u sip.URI) (string, bool) { return alice, u.User == "temporary" }
	})
	id := Identity{AOR: alice}
	for from, want := range map[string]bool{
		"sip:alice@example.com":          true,
		"sips:alice@EXAMPLE.com:5061":    true,
		"sip:%61lice@example.com;user=x": true,
		"sip:alice@example.com;gr=x":     true,
		"sip:temporary@example.com;gr":   true,
		"sip:temporary@example.com":      false,
		"sip:made-up@example.com;gr":     false,
		"sip:Alice@example.com":          false,
		"sip:bob@example.com":            false,
		"sip:alice@other.example":        false,
		"sip:example.com":                false,
		"tel:+1":                         false,
	} {
		m := (&request{from: from}).message(t)
		if got := r.CheckFrom(m, id); got != want {
			t.Errorf("%s: got %v", from, got)
		}
		if r.CheckFrom(m, Identity{}) {
			t.Errorf("%s names nobody", from)
		}
	}
}

// Requests of one account are answered in order, with one read of the store.
func TestOrder(t *testing.T) {
	r := newRig(t, nil)
	r.stop()
	q := request{}
	c := r.ask(q).Challenges[0]
	var mu sync.Mutex
	var order []int
	const n = 200
	done := make(chan struct{}, n)
	for i := range n {
		m := q.with("Authorization", answer(t, c, q, "alice", "wonderland", i+1))
		msg := m.message(t)
		r.Authenticate(msg, m.src, false, func(x Result) {
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			if x.Status != 0 {
				t.Errorf("%d: %+v", i, x)
			}
			done <- struct{}{}
		})
	}
	if got := len(r.accounts.queue); got != 1 {
		t.Errorf("%d reads queued for one account", got)
	}
	r.start()
	for range n {
		<-done
	}
	for i, got := range order {
		if got != i {
			t.Fatalf("answer %d is for request %d", i, got)
		}
	}
}

// slowUsers holds the first read of an account until the test lets it go.
type slowUsers struct {
	store.Users
	reading, release chan struct{}
	once             sync.Once
}

func (s *slowUsers) User(ctx context.Context, aor string) (*store.User, error) {
	u, err := s.Users.User(ctx, aor)
	s.once.Do(func() {
		close(s.reading)
		<-s.release
	})
	return u, err
}

// Whoever asks after a change never gets what was read before it.
func TestChangeWhileReading(t *testing.T) {
	slow := &slowUsers{reading: make(chan struct{}), release: make(chan struct{})}
	r := newRig(t, func(o *Options) { slow.Users = o.Users.(store.Users); o.Users = slow })
	names := make(chan string, 2)
	ask := func() {
		r.User(alice, func(u *store.User, err error) {
			if err != nil {
				t.Error(err)
			}
			names <- u.Name
		})
	}
	ask()
	<-slow.reading
	u := r.user(alice, "wonderland")
	u.Name = "new"
	if err := r.store.Users().UpdateUser(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	r.UserChanged(alice)
	ask()
	close(slow.release)
	for range 2 {
		if got := <-names; got != "new" {
			t.Errorf("got %q", got)
		}
	}
}

func TestOverload(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	r := newRig(t, func(o *Options) { o.MaxLookups, o.Registerer = 1, reg })
	r.stop()
	done := make(chan error, 3)
	for _, aor := range []string{alice, bob} {
		r.User(aor, func(_ *store.User, err error) { done <- err })
	}
	if err := <-done; !errors.Is(err, errs.TooMany) {
		t.Errorf("the second account: %v", err)
	}
	r.start()
	if err := <-done; err != nil {
		t.Errorf("the first account: %v", err)
	}
	r.User("nobody@example.com", func(_ *store.User, err error) { done <- err })
	if err := <-done; !errors.Is(err, errs.NotFound) {
		t.Errorf("an unknown account: %v", err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

func TestStoreFails(t *testing.T) {
	r := newRig(t, nil)
	q := request{}
	c := r.ask(q).Challenges[0]
	r.store.Close()
	got := r.ask(q.with("Authorization", answer(t, c, q, "alice", "wonderland", 1)))
	if got.Status != 500 || got.RetryAfter == 0 {
		t.Errorf("got %+v", got)
	}
}

// The cache forgets what was used longest ago, and never grows past its limit.
func TestCacheBounded(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxCached = 10 })
	done := make(chan error)
	for i := range 50 {
		r.User(fmt.Sprintf("u%d@example.com", i), func(_ *store.User, err error) { done <- err })
		if err := <-done; !errors.Is(err, errs.NotFound) {
			t.Fatal(err)
		}
	}
	r.stop()
	if n := r.accounts.size(); n > 10 {
		t.Errorf("%d accounts cached, the limit is 10", n)
	}
}

// What comes in Authorization never makes us fall over, and never signs anybody in.
func FuzzCredentials(f *testing.F) {
	r := newRig(f, nil)
	q := request{}
	c := r.ask(q).Challenges[0]
	f.Add(answer(f, c, q, "alice", "wrong", 1))
	f.Add(plain(c, q, "alice", "wrong", 1))
	f.Add(`Digest username="\"", realm="example.com", nonce="", uri="%", response=""`)
	f.Add("Basic x")
	f.Fuzz(func(t *testing.T, value string) {
		m, err := sip.Parse([]byte("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nAuthorization: " +
			strings.Map(func(c rune) rune {
				if c == '\r' || c == '\n' {
					return ' '
				}
				return c
			}, value) + "\r\nContent-Length: 0\r\n\r\n"))
		if err != nil {
			return
		}
		got := make(chan Result, 1)
		r.Authenticate(m, Source{Addr: netip.MustParseAddrPort("192.0.2.7:5060")}, false, func(x Result) { got <- x })
		if x := <-got; x.Status == 0 {
			t.Fatalf("%q signed in as %+v", value, x.Identity)
		}
	})
}

func BenchmarkRegister(b *testing.B) {
	for _, alg := range []Algorithm{MD5, SHA256} {
		b.Run(alg.String(), func(b *testing.B) {
			r := newRig(b, func(o *Options) { o.Default = Policy{Algorithms: []Algorithm{alg}} })
			q := request{}
			c := r.ask(q).Challenges[0]
			first := q.message(b)
			answered := q.with("Authorization", answer(b, c, q, "alice", "wonderland", 1))
			fixed := answered.message(b)
			b.ReportAllocs()
			for b.Loop() {
				// The challenge, and all of the work for an answer; its nc is used up, so
				// that the end is another challenge.
				r.Authenticate(first, q.src, false, func(Result) {})
				r.Authenticate(fixed, q.src, false, func(Result) {})
			}
		})
	}
}

func BenchmarkTrusted(b *testing.B) {
	r := newRig(b, nil)
	src := Source{Addr: netip.MustParseAddrPort("192.0.2.7:40000"), Conn: 7}
	r.Trust(src, r.signIn(request{src: src}, "alice", "wonderland").Identity, r.now().Add(time.Hour))
	m := (&request{method: "MESSAGE", uri: "sip:bob@example.com"}).message(b)
	b.ReportAllocs()
	for b.Loop() {
		r.Authenticate(m, src, true, func(x Result) {
			if x.Status != 0 {
				b.Fatal(x)
			}
		})
	}
}

// What is cached has no secrets, and goes when it is too old to be believed.
func TestCachedAccount(t *testing.T) {
	r := newRig(t, nil)
	a := r.accounts
	acc, err := a.load(t.Context(), alice)
	if err != nil || acc.user.Password != "" || acc.user.HA1MD5 != nil || acc.user.HA1SHA256 != nil || len(acc.credentials) != 1 {
		t.Fatalf("%+v, %v", acc, err)
	}
	for _, aor := range []string{alice, bob} {
		e := &entry{aor: aor}
		a.mu.Lock()
		a.entries[aor] = e
		a.settle(e, acc, nil)
		a.mu.Unlock()
		r.pass(accountLife / 2)
	}
	if a.sweep(); a.size() != 1 || a.entries[bob] == nil {
		t.Errorf("%d accounts kept", a.size())
	}
	r.pass(accountLife / 2)
	if a.sweep(); a.size() != 0 || a.lru.Len() != 0 {
		t.Errorf("%d accounts kept", a.size())
	}
}
