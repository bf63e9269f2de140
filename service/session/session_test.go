package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

const alice = "alice@example.com"

var home = netip.MustParseAddr("192.0.2.1")

// rig is a Service over a real store, with a clock that the test moves.
type rig struct {
	*Service
	t     *testing.T
	store *sqlstore.Store
	clock atomic.Int64

	mu    sync.Mutex
	ended []string // what was told to have ended
}

// passwords takes the password that is the account's name.
type passwords struct{ users store.Users }

func (p passwords) Password(ctx context.Context, aor string, _ netip.Addr, password string) (*store.User, error) {
	u, err := p.users.User(ctx, aor)
	if err != nil || password != u.Password {
		return nil, errs.New(errs.Unauthorized, "test: wrong")
	}
	return u, nil
}

func start(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	st, err := sqlstore.Open(t.Context(), sqlstore.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() { _ = st.Serve(ctx) })
	r := &rig{t: t, store: st}
	t.Cleanup(func() { cancel(); served.Wait(); st.Close() })
	r.clock.Store(time.Now().UnixNano())
	for _, aor := range []string{alice, "bob@example.com"} {
		if err := st.Users().AddUsers(t.Context(), []store.User{{AOR: aor, Name: "Name of " + aor, Password: "secret"}}); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Store: st.Sessions(), Users: st.Users(), Passwords: passwords{st.Users()}, Domains: []string{"example.com"},
		Canonical: func(a string) (string, error) {
			if strings.Count(a, "@") != 1 {
				return "", errs.New(errs.Invalid, "test: no address")
			}
			return strings.ToLower(a), nil
		},
		Ended: func(aor, id, but, reason string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ended = append(r.ended, fmt.Sprintf("%s %s %s: %s", aor, id, but, reason))
		},
		Lifetime: time.Hour, Now: func() time.Time { return time.Unix(0, r.clock.Load()) }}
	for _, f := range change {
		f(&o)
	}
	r.Service = New(o)
	return r
}

func (r *rig) pass(d time.Duration) { r.clock.Add(int64(d)) }

func (r *rig) told() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := strings.Join(r.ended, "; ")
	r.ended = nil
	return s
}

func (r *rig) in(address string) (string, *Session) {
	r.t.Helper()
	token, v, err := r.SignIn(r.t.Context(), SignIn{Address: address, Password: "secret", From: home})
	if err != nil {
		r.t.Fatal(err)
	}
	return token, v
}

func (r *rig) find(token string) bool {
	r.t.Helper()
	_, err := r.Find(r.t.Context(), token, home)
	if err != nil && !errors.Is(err, ErrEnded) {
		r.t.Fatal(err)
	}
	return err == nil
}

// A session that is used goes on, also over a restart; one that is not ends.
func TestExpiry(t *testing.T) {
	r := start(t)
	used, v := r.in("Alice")
	r.pass(time.Millisecond) // the list is in the order in which they came
	idle, other := r.in(alice)
	if v.AOR != alice || v.Class != "desktop" || v.Name != "Name of "+alice || v.Device() != "web:"+v.ID[:12] || v.ID == other.ID || used == idle {
		t.Fatalf("%+v", v)
	}
	for range 5 {
		r.pass(50 * time.Minute)
		if !r.find(used) {
			t.Fatal("a session ended that is used")
		}
		r.write(t.Context(), writeAfter)
	}
	if r.find(idle) {
		t.Error("a session goes on that was not used for more than its life")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Serve(ctx); err != nil { // writes once more
		t.Fatal(err)
	}
	list, err := r.List(t.Context(), alice)
	if err != nil || len(list) == 0 || list[0].ID != v.ID || !list[0].Expires.After(v.Expires.Add(4*time.Hour)) {
		t.Errorf("%v, %v", list, err)
	}
	again := New(r.o)
	if s, err := again.Find(t.Context(), used, home); err != nil || s.ID != v.ID {
		t.Errorf("after a restart: %v", err)
	}
	r.pass(2 * time.Hour)
	r.sweep(t.Context(), r.o.Now())
	if got := r.told(); !strings.Contains(got, alice+" "+v.ID+" : the session was not used") || r.find(used) {
		t.Errorf("told %q", got)
	}
}

// What is no token finds nobody, and costs no look into the store.
func TestBadTokens(t *testing.T) {
	r := start(t)
	token, _ := r.in(alice)
	for _, bad := range []string{"", "x", token + "A", token[1:], strings.Repeat("x", 10_000), strings.Repeat("A", 43)} {
		if r.find(bad) {
			t.Errorf("%.50q is somebody", bad)
		}
	}
	if !r.find(token) {
		t.Error("and the right one is nobody")
	}
	for what, in := range map[string]SignIn{"a long label": {Label: strings.Repeat("x", MaxLabel+1)}, "a bell": {Label: "\a"}, "no class": {Class: "toaster"}, "no text": {Label: "\xff"}} {
		in.Address, in.Password, in.From = alice, "secret", home
		if _, _, err := r.SignIn(t.Context(), in); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Changes to the account are known at once: its sessions end, or show what it is now.
func TestAccountChanged(t *testing.T) {
	r := start(t)
	ctx := t.Context()
	one, v := r.in(alice)
	two, _ := r.in(alice)
	bob, _ := r.in("bob@example.com")
	u, err := r.store.Users().User(ctx, alice)
	if err != nil || !r.find(one) || !r.find(two) || !r.find(bob) {
		t.Fatal(err)
	}
	u.Admin, u.Name = true, "Alice"
	if err := r.store.Users().UpdateUser(ctx, *u); err != nil {
		t.Fatal(err)
	}
	r.AccountChanged(alice, false, "")
	if s, err := r.Find(ctx, one, home); err != nil || !s.Admin || s.Name != "Alice" || r.told() != "" {
		t.Errorf("%+v, %v", s, err)
	}
	err = r.ChangePassword(ctx, alice, v.ID, home, "wrong", func() error { t.Error("was changed"); return nil })
	if !errors.Is(err, errs.Forbidden) {
		t.Error(err)
	}
	change := func() error {
		u.Password = "new"
		if err := r.store.Users().UpdateUser(ctx, *u); err != nil {
			return err
		}
		r.AccountChanged(alice, true, "new password")
		if !r.find(one) {
			t.Error("the session that changes the password is out while it does")
		}
		return nil
	}
	if err := r.ChangePassword(ctx, alice, v.ID, home, "secret", change); err != nil {
		t.Fatal(err)
	}
	if got := r.told(); got != alice+"  "+v.ID+": new password" || !r.find(one) || r.find(two) || !r.find(bob) {
		t.Errorf("told %q", got)
	}
	if s, err := New(r.o).Find(ctx, one, home); err != nil || s.ID != v.ID {
		t.Errorf("after a restart: %v", err)
	}
	u.Disabled = true
	if err := r.store.Users().UpdateUser(ctx, *u); err != nil {
		t.Fatal(err)
	}
	if r.AccountChanged(alice, true, "disabled"); r.find(one) || r.told() != alice+"  : disabled" {
		t.Error("a session of a disabled account goes on")
	}
}

// Once End has returned nobody finds the session, however many were looking for it.
func TestEndIsEnd(t *testing.T) {
	r := start(t)
	for range 5 {
		token, v := r.in(alice)
		var wg sync.WaitGroup
		begun, over := make(chan struct{}, 8), make(chan struct{})
		for range cap(begun) {
			wg.Go(func() {
				for i := 0; ; i++ {
					_, err := r.Find(t.Context(), token, home)
					if err != nil && !errors.Is(err, ErrEnded) {
						t.Error(err)
					}
					if i == 0 {
						begun <- struct{}{}
					}
					select {
					case <-over:
						return
					default:
					}
				}
			})
		}
		for range cap(begun) {
			<-begun
		}
		if err := r.End(t.Context(), alice, v.ID, "over"); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if r.find(token) {
				t.Fatal("a session that has ended is found")
			}
		}
		close(over)
		wg.Wait()
	}
	if err := r.End(t.Context(), alice, "none", ""); !errors.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

// Calls of one session are counted, and fill up again.
func TestRate(t *testing.T) {
	r := start(t, func(o *Options) { o.Rate = 3 })
	token, _ := r.in(alice)
	calls := func() (n int) {
		for {
			if _, err := r.Find(t.Context(), token, home); errors.Is(err, ErrRate) {
				return n
			} else if err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	if n := calls(); n != 12 {
		t.Errorf("%d calls at once", n)
	}
	r.pass(2 * time.Second)
	if n := calls(); n != 6 {
		t.Errorf("%d calls after two seconds", n)
	}
}

// Who has just signed in is known at once, so that the first call does not count among guesses from the same address.
func TestKnownAtOnce(t *testing.T) {
	r := start(t)
	token, v := r.in(alice)
	if got, known, err := r.Cached(token, home); err != nil || !known || got.ID != v.ID || !r.find(token) {
		t.Error("a new session is not known", err)
	}
	r.pass(believed)
	if got, known, err := r.Cached(token, home); err != nil || !known || got != nil {
		t.Error("it is believed without a look, or not known", err)
	}
	if !r.find(token) {
		t.Error("it is not found")
	}
	if got, _, err := r.Cached(token, home); err != nil || got == nil {
		t.Error("it was not read anew", err)
	}
	err := r.End(t.Context(), alice, v.ID, "test")
	if _, known, _ := r.Cached(token, home); err != nil || known || r.find(token) {
		t.Errorf("a session that has ended is known: %v", err)
	}
	if _, known, err := r.Cached("x", home); known || err != nil {
		t.Error("nonsense is known", err)
	}
}

// A session that was used by way of another node, or of which the use cannot be written, goes on.
func TestUsedElsewhere(t *testing.T) {
	r := start(t)
	token, _ := r.in(alice)
	other := New(r.o)
	r.pass(50 * time.Minute)
	if _, err := other.Find(t.Context(), token, home); err != nil {
		t.Fatal(err)
	}
	other.write(t.Context(), 0)
	r.pass(20 * time.Minute) // more than an hour since it was used here
	if v, err := r.Find(t.Context(), token, home); err != nil || !v.Expires.Equal(r.o.Now().Add(time.Hour)) {
		t.Errorf("%+v, %v", v, err)
	}
	r.pass(2 * time.Hour)
	if r.find(token) {
		t.Error("it goes on without being used")
	}

	r.o.Store = readOnly{r.o.Store}
	full := New(r.o)
	token, _ = r.in(alice)
	for range 6 {
		r.pass(40 * time.Minute)
		if _, err := full.Find(t.Context(), token, home); err != nil {
			t.Fatal(err)
		}
		full.write(t.Context(), 0)
	}
	r.pass(2 * time.Hour)
	if _, err := full.Find(t.Context(), token, home); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
}

// readOnly cannot note the use of sessions.
type readOnly struct{ store.Sessions }

func (readOnly) TouchSessions(context.Context, map[string]store.SessionUse) error {
	return errs.New(errs.Unavailable, "test: nothing is written")
}
