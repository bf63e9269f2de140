package auth

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/base/errs"
)

// setPassword gives an account the argon2id form of a password beside its digest.
func (r *rig) setPassword(aor, password string) {
	r.t.Helper()
	u := r.user(aor, password)
	var err error
	if u.Password, err = HashPassword(password); err != nil {
		r.t.Fatal(err)
	}
	if err := r.store.Users().UpdateUser(r.t.Context(), u); err != nil {
		r.t.Fatal(err)
	}
}

// The password of an account is right with and without its argon2id form; wrong ones and accounts that do not exist are alike.
func TestPasswordOfAccount(t *testing.T) {
	r := newRig(t, nil)
	r.setPassword(alice, "wonderland") // bob has his digest alone
	from := netip.MustParseAddr("192.0.2.7")
	ask := func(aor, password string) error {
		u, err := r.Password(t.Context(), aor, from, password)
		if err == nil && u.AOR != aor {
			t.Errorf("%s is %s", aor, u.AOR)
		}
		return err
	}
	for aor, password := range map[string]string{alice: "wonderland", bob: "builder"} {
		if err := ask(aor, password); err != nil {
			t.Errorf("%s: %v", aor, err)
		}
	}
	for _, wrong := range []struct{ aor, password string }{{alice, "builder"}, {bob, "wonderland"}, {"nobody@example.com", "x"}, {"", ""}, {alice, ""}} {
		if err := ask(wrong.aor, wrong.password); !errors.Is(err, ErrWrongPassword) {
			t.Errorf("%s with %q: %v", wrong.aor, wrong.password, err)
		}
	}
	u := r.user(bob, "builder")
	u.Disabled = true
	if err := r.store.Users().UpdateUser(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if err := ask(bob, "builder"); !errors.Is(err, ErrDisabled) {
		t.Errorf("disabled: %v", err)
	}
	if err := ask(bob, "wrong"); !errors.Is(err, ErrWrongPassword) {
		t.Errorf("disabled and wrong: %v", err)
	}
}

// Wrong passwords lock as those of a digest do, and both are counted together.
func TestPasswordLocks(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Failures = 3 })
	from, elsewhere := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("198.51.100.7")
	for range 3 {
		if _, err := r.Password(t.Context(), alice, from, "wrong"); !errors.Is(err, ErrWrongPassword) {
			t.Fatal(err)
		}
	}
	_, err := r.Password(t.Context(), alice, from, "wonderland")
	locked, ok := errors.AsType[*LockedError](err)
	if !ok || !errors.Is(err, errs.TooMany) || locked.Wait <= 0 || locked.Wait > lockFirst {
		t.Fatalf("after three wrong ones: %v", err)
	}
	if _, err := r.Password(t.Context(), alice, elsewhere, "wonderland"); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	if res := r.signIn(request{src: Source{Addr: netip.AddrPortFrom(from, 5060)}}, "alice", "wonderland"); res.Status != 403 {
		t.Errorf("a digest from there: %+v", res)
	}
	r.pass(lockFirst + time.Second)
	if _, err := r.Password(t.Context(), alice, from, "wonderland"); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

// However many ask at once, no more wrong passwords are looked at than there are tries.
func TestPasswordsAtOnce(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Failures = 3 })
	from := netip.MustParseAddr("192.0.2.7")
	var wg sync.WaitGroup
	got := make(chan error, 50)
	for range cap(got) {
		wg.Go(func() {
			_, err := r.Password(t.Context(), alice, from, "wrong")
			got <- err
		})
	}
	wg.Wait()
	close(got)
	looked := 0
	for err := range got {
		switch {
		case errors.Is(err, ErrWrongPassword):
			looked++
		case !errors.Is(err, errs.TooMany):
			t.Error(err)
		}
	}
	if most := 3 + cap(r.hashing.slots); looked < 3 || looked > most {
		t.Errorf("%d were looked at, want 3 to %d", looked, most)
	}
	full, cancel := context.WithCancel(t.Context())
	cancel()
	for range cap(r.hashing.slots) {
		leave, err := r.hashing.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
	}
	if _, err := r.Password(full, bob, from, "builder"); !errors.Is(err, errs.Unavailable) {
		t.Errorf("who has gone waits on: %v", err)
	}
}
