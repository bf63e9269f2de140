package sqlstore

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// sessionOf makes a session of an account that nobody has used for n seconds.
func sessionOf(aor, id string, n int) store.Session {
	return store.Session{ID: id, AOR: aor, Token: [32]byte{1, byte(len(id)), id[0], id[len(id)-1]}, Label: "Fïrefox", Class: "desktop", Address: "192.0.2.1",
		Created: soon(-time.Duration(n) * time.Second), Seen: soon(-time.Duration(n) * time.Second), Expires: soon(time.Hour)}
}

func addUser(t *testing.T, r *running, aor, password string) *store.User {
	t.Helper()
	u := store.User{AOR: aor, Password: password, HA1MD5: []byte(password)}
	if err := r.Users().AddUsers(t.Context(), []store.User{u}); err != nil {
		t.Fatal(err)
	}
	return &u
}

func ids(t *testing.T, r *running, aor string) (list string) {
	t.Helper()
	rows, err := r.Sessions().SessionsOf(t.Context(), aor)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range rows {
		list += s.ID + " "
	}
	return list
}

// TestSessions: sessions are kept, found by their tokens, touched, swept, and no more than allowed.
func TestSessions(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx := t.Context()
		alice, bob := addUser(t, r, "alice@x", "p"), addUser(t, r, "bob@x", "p")
		first := sessionOf("alice@x", "a1", 30)
		if ended, err := r.Sessions().AddSession(ctx, first, alice, 3); err != nil || len(ended) != 0 {
			t.Fatal(ended, err)
		}
		got, err := r.Sessions().SessionByToken(ctx, first.Token)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, *got); diff != "" {
			t.Error(diff)
		}
		if _, err := r.Sessions().SessionByToken(ctx, [32]byte{9}); !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
		for i, s := range []store.Session{sessionOf("alice@x", "a2", 20), sessionOf("alice@x", "a3", 10), sessionOf("bob@x", "b1", 99)} {
			as := map[string]*store.User{"alice@x": alice, "bob@x": bob}[s.AOR]
			if ended, err := r.Sessions().AddSession(ctx, s, as, 3); err != nil || len(ended) != 0 {
				t.Fatal(i, ended, err)
			}
		}
		// The one that was not used for longest makes room, and a1 was used now.
		if err := r.Sessions().TouchSessions(ctx, map[string]store.SessionUse{"a1": {Seen: soon(0), Expires: soon(2 * time.Hour), Address: "2001:db8::1"}, "nobody": {}}); err != nil {
			t.Fatal(err)
		}
		if ended, err := r.Sessions().AddSession(ctx, sessionOf("alice@x", "a4", 0), alice, 3); err != nil || fmt.Sprint(ended) != "[a2]" {
			t.Error(ended, err)
		}
		if got := ids(t, r, "alice@x"); got != "a1 a3 a4 " {
			t.Error(got)
		}
		if err := r.Sessions().RemoveSession(ctx, "bob@x", "a1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("bob removes a session of alice: %v", err)
		}
		if err := r.Sessions().RemoveSession(ctx, "alice@x", "a3"); err != nil {
			t.Error(err)
		}
		over := sessionOf("bob@x", "b2", 0)
		over.Expires = soon(-time.Second)
		if _, err := r.Sessions().AddSession(ctx, over, bob, 3); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Sessions().SessionByToken(ctx, over.Token); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a session that has expired is found: %v", err)
		}
		if swept, err := r.Sessions().SweepSessions(ctx, time.Now()); err != nil || len(swept) != 1 || swept[0].ID != "b2" {
			t.Error(swept, err)
		}
		r = r.reopen(t, o)
		if got := ids(t, r, "alice@x") + ids(t, r, "bob@x"); got != "a1 a4 b1 " {
			t.Error(got)
		}
	})
}

// TestSessionsEndWithTheAccount: in one transaction with what closes the account or changes its password, and not with less.
func TestSessionsEndWithTheAccount(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx := t.Context()
		u := addUser(t, r, "alice@x", "p")
		bob := addUser(t, r, "bob@x", "p")
		begin := func() {
			t.Helper()
			s := sessionOf("alice@x", "a1", 0)
			if _, err := r.Sessions().AddSession(ctx, s, u, 5); err != nil {
				t.Fatal(err)
			}
			if err := r.PushSubscriptions().AddPush(ctx, store.PushSubscription{Endpoint: "https://push.example/1", AOR: "alice@x", Session: "a1", Created: soon(0)}); err != nil {
				t.Fatal(err)
			}
		}
		left := func() string {
			t.Helper()
			list, err := r.PushSubscriptions().PushOf(ctx, "alice@x")
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(ids(t, r, "alice@x"), len(list))
		}
		update := func(change func(*store.User)) {
			t.Helper()
			change(u)
			if err := r.Users().UpdateUser(ctx, *u); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.Sessions().AddSession(ctx, sessionOf("bob@x", "b1", 0), bob, 5); err != nil {
			t.Fatal(err)
		}
		begin()
		if update(func(u *store.User) { u.Name, u.Admin = "Alice", true }); left() != "a1 1" {
			t.Errorf("after another name: %s", left())
		}
		before := *u
		if update(func(u *store.User) { u.Password = "q" }); left() != "0" {
			t.Errorf("after another password: %s", left())
		}
		if _, err := r.Sessions().AddSession(ctx, sessionOf("alice@x", "a1", 0), &before, 5); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a session for the old password: %v", err)
		}
		begin()
		if update(func(u *store.User) { u.HA1MD5 = []byte("other") }); left() != "0" {
			t.Errorf("after another digest: %s", left())
		}
		begin()
		if update(func(u *store.User) { u.Disabled = true }); left() != "0" {
			t.Errorf("after it was disabled: %s", left())
		}
		if _, err := r.Sessions().AddSession(ctx, sessionOf("alice@x", "a1", 0), u, 5); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a session for a disabled account: %v", err)
		}
		update(func(u *store.User) { u.Disabled = false })
		begin()
		if _, err := r.PersonSettings().SetPersonSettings(ctx, "alice@x", map[string]string{"a": "b"}, func(map[string]string) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := r.Users().RemoveUser(ctx, "alice@x"); err != nil || left() != "0" {
			t.Errorf("after it was removed: %s, %v", left(), err)
		}
		if m, err := r.PersonSettings().PersonSettings(ctx, "alice@x"); err != nil || len(m) != 0 {
			t.Error(m, err)
		}
		if got := ids(t, r, "bob@x"); got != "b1 " {
			t.Errorf("bob has %q", got)
		}
	})
}

// TestPersonSettings: all or none, one person's.
func TestPersonSettings(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx, ok := t.Context(), func(map[string]string) error { return nil }
		addUser(t, r, "alice@x", "p")
		addUser(t, r, "bob@x", "p")
		set := func(aor string, m map[string]string, check func(map[string]string) error) map[string]string {
			t.Helper()
			all, err := r.PersonSettings().SetPersonSettings(ctx, aor, m, check)
			if err != nil {
				return map[string]string{"error": errs.KindOf(err).String()}
			}
			return all
		}
		for _, step := range []struct {
			aor   string
			set   map[string]string
			check func(map[string]string) error
			want  map[string]string
		}{
			{"alice@x", map[string]string{"a": "1", "B": "ü\x00"}, ok, map[string]string{"a": "1", "B": "ü\uFFFD"}},
			{"alice@x", map[string]string{"a": "2", "c": "3"}, ok, map[string]string{"a": "2", "B": "ü\uFFFD", "c": "3"}},
			{"alice@x", map[string]string{"a": "", "none": ""}, ok, map[string]string{"B": "ü\uFFFD", "c": "3"}},
			{"alice@x", map[string]string{"d": "4"}, func(m map[string]string) error { return errs.New(errs.TooMany, "test: %d", len(m)) }, map[string]string{"error": "too many"}},
			{"nobody@x", map[string]string{"a": "1"}, ok, map[string]string{"error": "not found"}},
			{"bob@x", nil, ok, map[string]string{}},
		} {
			if got := set(step.aor, step.set, step.check); !maps.Equal(got, step.want) {
				t.Errorf("%s %v: %v, want %v", step.aor, step.set, got, step.want)
			}
		}
		if m, err := r.PersonSettings().PersonSettings(ctx, "alice@x"); err != nil || !maps.Equal(m, map[string]string{"B": "ü\uFFFD", "c": "3"}) {
			t.Error(m, err)
		}
	})
}

// TestPushSubscriptions: one for a session, an endpoint is one's, and they end with the session.
func TestPushSubscriptions(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx, p := t.Context(), r.PushSubscriptions()
		alice, bob := addUser(t, r, "alice@x", "p"), addUser(t, r, "bob@x", "p")
		for _, s := range []store.Session{sessionOf("alice@x", "a1", 2), sessionOf("alice@x", "a2", 1), sessionOf("bob@x", "b1", 0)} {
			as := map[string]*store.User{"alice@x": alice, "bob@x": bob}[s.AOR]
			if _, err := r.Sessions().AddSession(ctx, s, as, 5); err != nil {
				t.Fatal(err)
			}
		}
		add := func(aor, session, endpoint string) error {
			return p.AddPush(ctx, store.PushSubscription{Endpoint: endpoint, AOR: aor, Session: session, P256DH: "k", Auth: "s", Preview: true, Created: soon(0)})
		}
		have := func(aor string) (list string) {
			t.Helper()
			rows, err := p.PushOf(ctx, aor)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range rows {
				list += v.Session + "=" + v.Endpoint + " "
			}
			return list
		}
		if err := errors.Join(add("alice@x", "a1", "https://1"), add("alice@x", "a2", "https://2"), add("alice@x", "a1", "https://3")); err != nil {
			t.Fatal(err)
		}
		if got := have("alice@x"); got != "a2=https://2 a1=https://3 " {
			t.Error(got)
		}
		if err := add("bob@x", "a1", "https://4"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("for a session of somebody else: %v", err)
		}
		if err := add("bob@x", "b1", "https://2"); err != nil || have("alice@x") != "a1=https://3 " || have("bob@x") != "b1=https://2 " {
			t.Error(err, have("alice@x"), have("bob@x"))
		}
		if err := p.RemovePush(ctx, "bob@x", "https://3"); err != nil || have("alice@x") == "" {
			t.Errorf("bob removes alice's: %v", err)
		}
		if err := p.RemovePush(ctx, "", "https://2"); err != nil || have("bob@x") != "" {
			t.Errorf("gone for good: %v %s", err, have("bob@x"))
		}
		if err := r.Sessions().RemoveSession(ctx, "alice@x", "a1"); err != nil || have("alice@x") != "" {
			t.Errorf("after the session: %v %s", err, have("alice@x"))
		}
	})
}

// TestOldSessions: a data folder from before there were sessions opens, and a backup brings settings back but no session.
func TestOldSessions(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		oldState(t, o, 4, `INSERT INTO users (aor, name, password, admin, disabled, created, changed) VALUES ('old@x', 'Old', 'p', 0, 0, 1, 1)`)
		r := open(t, o)
		ctx := t.Context()
		u, err := r.Users().User(ctx, "old@x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Sessions().AddSession(ctx, sessionOf("old@x", "o1", 0), u, 5); err != nil {
			t.Fatal(err)
		}
		if _, err := r.PersonSettings().SetPersonSettings(ctx, "old@x", map[string]string{"theme": "dark"}, func(map[string]string) error { return nil }); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := r.Backup(ctx, dir); err != nil {
			t.Fatal(err)
		}
		onEach(t, func(t *testing.T, to Options) {
			if err := Restore(t.Context(), to, dir); err != nil {
				t.Fatal(err)
			}
			r := open(t, to)
			if m, err := r.PersonSettings().PersonSettings(t.Context(), "old@x"); err != nil || m["theme"] != "dark" {
				t.Error(m, err)
			}
			if got := ids(t, r, "old@x"); got != "" {
				t.Errorf("a backup brings the session %s back", got)
			}
		})
	})
}
