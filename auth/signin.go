package auth

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// maxHashing is how many callers may wait for their password to be looked at; more are refused at once.
const maxHashing = 256

// hashing bounds how much memory and time goes into passwords: argon2id takes 19 MiB and about 20 ms of a core for each.
type hashing struct {
	slots   chan struct{}          // one for each that runs
	waiting chan struct{}          // one for each that runs or waits
	nobody  func() (string, error) // a hash for accounts that have none
}

func newHashing() *hashing {
	n := max(1, runtime.GOMAXPROCS(0)/2)
	return &hashing{slots: make(chan struct{}, n), waiting: make(chan struct{}, n+maxHashing),
		nobody: sync.OnceValues(func() (string, error) { return HashPassword(NewDevicePassword()) })}
}

// enter waits for a slot; leave gives it back.
func (h *hashing) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.waiting <- struct{}{}:
	default:
		return nil, &LockedError{Wait: time.Second, err: errs.New(errs.TooMany, "auth: too many passwords are being looked at")}
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; <-h.waiting }, nil
	case <-ctx.Done():
		<-h.waiting
		return nil, errs.Wrap(errs.Unavailable, ctx.Err(), "auth: waiting to look at a password")
	}
}

// LockedError (errs.TooMany) says that passwords are not looked at for a while.
type LockedError struct {
	Wait time.Duration
	err  error
}

func (e *LockedError) Error() string { return e.err.Error() }
func (e *LockedError) Unwrap() error { return e.err }

// ErrWrongPassword (Unauthorized) is for a wrong password and for an account that does not exist, without a difference.
var ErrWrongPassword = errs.Say(errs.New(errs.Unauthorized, "auth: wrong password or unknown user"), "the address or the password is not right")

// ErrDisabled (Forbidden) is for an account that is closed, and only after its right password.
var ErrDisabled = errs.Say(errs.New(errs.Forbidden, "auth: the account is disabled"), "this account is disabled; ask your administrator")

// Password checks the password of an account itself; the passwords of its devices are for SIP alone. Wrong ones are counted as
// those of a digest are, for the account and the address they come from. It takes some 20 ms of a core, waits for others, and
// the same time for accounts that do not exist. Errors: ErrWrongPassword, ErrDisabled, a *LockedError, or what the store says.
func (a *Authenticator) Password(ctx context.Context, aor string, from netip.Addr, password string) (*store.User, error) {
	if err := a.lockedOut(aor, from); err != nil {
		return nil, err
	}
	leave, err := a.hashing.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	// Whoever asks many at once has been counted by now.
	if err := a.lockedOut(aor, from); err != nil {
		return nil, err
	}
	u, err := a.o.Users.User(ctx, aor)
	if err != nil && !errors.Is(err, errs.NotFound) {
		return nil, errs.Wrap(errs.KindOf(err), err, "auth: reading an account")
	}
	hash, err := a.hashing.nobody()
	if err != nil {
		return nil, err
	}
	var sealed []byte
	switch {
	case u != nil && u.Password != "":
		hash = u.Password
	case u != nil: // came in by the thousand, see Keys.VerifySealed
		sealed = u.HA1SHA256
	}
	right := VerifyPassword(hash, password)
	if sealed != nil {
		right = a.o.Keys.VerifySealed(aor, sealed, password)
	}
	if u == nil || !right {
		a.metrics.requests.WithLabelValues(resultWrong).Inc()
		if wait := a.guard.wrong(aor, from, a.now()); wait > 0 {
			a.log.Warn("too many wrong passwords", "aor", clip(aor), "peer", from.String(), "locked", wait.Round(time.Second).String())
		}
		return nil, ErrWrongPassword
	}
	a.guard.right(aor, from, a.now())
	if u.Disabled {
		return nil, ErrDisabled
	}
	return u, nil
}

func (a *Authenticator) lockedOut(aor string, from netip.Addr) error {
	wait := a.guard.locked(aor, from, a.now())
	if wait <= 0 {
		return nil
	}
	seconds := int((wait + time.Second - 1) / time.Second)
	return &LockedError{Wait: wait, err: errs.Say(errs.New(errs.TooMany, "auth: too many wrong passwords"),
		"too many wrong passwords; wait "+strconv.Itoa(seconds)+" seconds and try again")}
}
