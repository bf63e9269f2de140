package api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/service/message"
	"github.com/parley-im/parley/service/session"
)

// ReasonHeader of an error names its cause in a word that stays the same, where the code alone does not tell it: programs ask
// for it, and show people the sentence.
const ReasonHeader = "Parley-Reason"

// The reasons that are no kinds.
const (
	ReasonWrongPassword = "wrong-password"   // or an address that nobody has
	ReasonDisabled      = "account-disabled" // after the right password
	ReasonLocked        = "locked-out"       // after too many wrong passwords; Retry-After tells for how long
	ReasonEnded         = "session-ended"    // sign in again
	ReasonRate          = "rate"             // too many calls; Retry-After
	ReasonOrigin        = "origin"           // a page of another site asked
	ReasonMedia         = "media-type"       // not the Content-Type of the call, or one that a form of another site could have sent
	ReasonChanges       = "too-many-changes" // of one message by one person; it will not work later
)

// reasonOf is the word for an error: one of the above, or the name of its kind.
func reasonOf(err error) string {
	_, locked := errors.AsType[*auth.LockedError](err)
	switch {
	case locked:
		return ReasonLocked
	case errors.Is(err, session.ErrRate):
		return ReasonRate
	case errors.Is(err, session.ErrEnded):
		return ReasonEnded
	case errors.Is(err, auth.ErrWrongPassword):
		return ReasonWrongPassword
	case errors.Is(err, auth.ErrDisabled):
		return ReasonDisabled
	case errors.Is(err, message.ErrChanges):
		return ReasonChanges
	}
	return strings.ReplaceAll(errs.KindOf(err).String(), " ", "-")
}

// retryAfter says in a header when a refused call may be made again.
func retryAfter(h http.Header, err error) {
	if locked, ok := errors.AsType[*auth.LockedError](err); ok {
		h.Set("Retry-After", strconv.Itoa(int((locked.Wait+time.Second-1)/time.Second)))
	} else if errs.KindOf(err) == errs.TooMany && !errors.Is(err, message.ErrChanges) {
		h.Set("Retry-After", "1")
	}
}
