// Package errs gives an error a kind, so that every door of the server (SIP, HTTP, command line) answers the same
// failure in the same way. Where an RFC names the response code itself (412, 423, 481, 488 …) the code is given directly
// and this package is not asked.
package errs

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Kind says what a caller can do about an error. A Kind is itself an error, so errors.Is(err, errs.NotFound) works.
// The zero Kind means "no error".
type Kind uint8

// The kinds. A new one needs a row in the table below and nothing else.
const (
	Invalid      Kind = iota + 1 // the request is wrong; repeating it will not help
	Unauthorized                 // who are you? Credentials are missing or wrong
	Forbidden                    // we know who you are, and no
	NotFound                     // there is no such thing
	Conflict                     // it exists already, or somebody else holds it
	TooMany                      // a limit was reached; later it may work
	Unavailable                  // a part we need (store, disk, peer) does not answer; later it may work
	Internal                     // our mistake
)

// table is the one place where a kind becomes a response code and a sentence.
//
// Unavailable is 500 in SIP and not 503, because 503 tells a client to leave this server for another (RFC 3261 §21.5.4,
// RFC 3263 §4.3); a store that does not answer is no reason for that. TooMany is 503 for the opposite reason: the peer
// shall back off. RFC 3261 has no 409, so Conflict is 400 there.
var table = [...]struct {
	name   string
	sip    int
	http   int
	reason string
}{
	0:            {"ok", 200, 200, "OK"},
	Invalid:      {"invalid", 400, 400, "The request is not valid"},
	Unauthorized: {"unauthorized", 401, 401, "Sign in first"},
	Forbidden:    {"forbidden", 403, 403, "This is not allowed"},
	NotFound:     {"not found", 404, 404, "There is no such user or thing"},
	Conflict:     {"conflict", 400, 409, "It exists already or is in use"},
	TooMany:      {"too many", 503, 429, "Too many requests, try again later"},
	Unavailable:  {"unavailable", 500, 503, "The server cannot do this at the moment, try again later"},
	Internal:     {"internal", 500, 500, "The server made a mistake"},
}

func (k Kind) row() int {
	if int(k) < len(table) {
		return int(k)
	}
	return int(Internal)
}

// String is the kind's name in lower case, fit for a log key or a metric label.
func (k Kind) String() string { return table[k.row()].name }

// Error is String: a Kind can be the target of errors.Is.
func (k Kind) Error() string { return k.String() }

// SIP is the response code for the kind (RFC 3261 §21); 200 for the zero Kind.
func (k Kind) SIP() int { return table[k.row()].sip }

// HTTP is the status code for the kind (RFC 9110 §15, RFC 6585 for 429); 200 for the zero Kind.
func (k Kind) HTTP() int { return table[k.row()].http }

// Temporary says that the same request may succeed later, so an answer carries Retry-After.
func (k Kind) Temporary() bool { return k == TooMany || k == Unavailable }

// kinded is an error with a kind, and perhaps a sentence for people.
type kinded struct {
	kind   Kind
	err    error
	reason string
}

func (e *kinded) Error() string { return e.err.Error() }
func (e *kinded) Unwrap() error { return e.err }

// Is makes a Kind match the outermost kind of the chain only: an error that was given a new kind has that kind.
func (e *kinded) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.kind
}

// New makes an error of a kind. The text follows the house rule: "package: what happened", lower case; %w wraps as in
// fmt.Errorf.
func New(k Kind, format string, args ...any) error {
	return &kinded{kind: k, err: fmt.Errorf(format, args...)}
}

// Wrap gives err a kind and says what was being done: "doing: err". It returns nil for a nil err. Use fmt.Errorf with %w
// to add words and keep the kind.
func Wrap(k Kind, err error, doing string) error {
	if err == nil {
		return nil
	}
	return &kinded{kind: k, err: fmt.Errorf("%s: %w", doing, err)}
}

// Say attaches a sentence that may be shown to the person at the other end: no names of hosts, files or other users in
// it. It keeps the kind, and returns nil for a nil err.
func Say(err error, reason string) error {
	if err == nil {
		return nil
	}
	return &kinded{kind: KindOf(err), err: err, reason: reason}
}

// KindOf returns the outermost kind of err: 0 for nil, Unavailable for an ended or overdue context, NotFound, Conflict and
// Forbidden for the file errors of package os, else Internal.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	var e *kinded
	var k Kind
	switch {
	case errors.As(err, &e):
		return e.kind
	case errors.As(err, &k):
		return k
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Unavailable
	case errors.Is(err, os.ErrNotExist):
		return NotFound
	case errors.Is(err, os.ErrExist):
		return Conflict
	case errors.Is(err, os.ErrPermission):
		return Forbidden
	}
	return Internal
}

// Reason is the sentence for the person at the other end: the outermost one attached with Say, else the standard one of
// the kind. The error's own text is for the log and is never returned here.
func Reason(err error) string {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if k, ok := e.(*kinded); ok && k.reason != "" {
			return k.reason
		}
	}
	return table[KindOf(err).row()].reason
}
