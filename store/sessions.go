package store

import (
	"context"
	"time"
)

// Session is somebody who has signed in over HTTP.
type Session struct {
	ID      string // unique, no secret
	AOR     string
	Token   [32]byte // SHA-256 of the secret by which the session is known
	Label   string   // for people: "Firefox on Linux"
	Class   string   // desktop, phone or tablet
	Address string   // from where it was used last, without port
	Created time.Time
	Seen    time.Time // about when it was used last
	Expires time.Time // unless it is used before
}

// SessionUse is the last use of a session.
type SessionUse struct {
	Seen, Expires time.Time
	Address       string
}

// Sessions keeps who is signed in over HTTP. The sessions of an account and their push subscriptions end with it, and in the
// same transaction in which UpdateUser disables it or changes its password. They are not part of backups.
type Sessions interface {
	// AddSession adds one for an account, and removes the account's oldest ones beyond most, whose ids it returns. as is the
	// account as the password was checked with; ErrNotFound when it is not there any more, is disabled, or has another password.
	AddSession(ctx context.Context, s Session, as *User, most int) (ended []string, err error)
	// SessionByToken returns one that has not expired, or ErrNotFound.
	SessionByToken(ctx context.Context, token [32]byte) (*Session, error)
	// SessionsOf returns those of an account that have not expired, oldest first.
	SessionsOf(ctx context.Context, aor string) ([]Session, error)
	// TouchSessions notes when these (by ID) were used; unknown ones are ignored.
	TouchSessions(ctx context.Context, used map[string]SessionUse) error
	// RemoveSession ends one. ErrNotFound when the account has no such session.
	RemoveSession(ctx context.Context, aor, id string) error
	// SweepSessions removes what has expired, and returns it.
	SweepSessions(ctx context.Context, now time.Time) ([]Session, error)
}

// PersonSetting is something that a person has set.
type PersonSetting struct {
	AOR, Name, Value string
}

// PersonSettings keeps what people have set. They belong to the account and go with it.
type PersonSettings interface {
	// PersonSettings returns all of an account, by name.
	PersonSettings(ctx context.Context, aor string) (map[string]string, error)
	// SetPersonSettings changes some; an empty value removes one. check is asked about what they are after that, and its error
	// changes nothing. It returns all of them. ErrNotFound when there is no such account.
	SetPersonSettings(ctx context.Context, aor string, set map[string]string, check func(all map[string]string) error) (map[string]string, error)
}

// PushSubscription is where to send notifications for a session (RFC 8030).
type PushSubscription struct {
	Endpoint string // unique
	AOR      string
	Session  string
	P256DH   string // the client's public key, base64url (RFC 8291)
	Auth     string // and its secret, base64url
	Preview  bool   // show who wrote and what
	Created  time.Time
}

// PushSubscriptions keeps them. They end with their session.
type PushSubscriptions interface {
	// AddPush adds one; a session has one at a time, and an endpoint belongs to who named it last. ErrNotFound when there is no
	// such session.
	AddPush(ctx context.Context, p PushSubscription) error
	// RemovePush removes that of an account, or of whoever has it when aor is "". No error when there is none.
	RemovePush(ctx context.Context, aor, endpoint string) error
	// PushOwners returns the accounts that have some.
	PushOwners(ctx context.Context) ([]string, error)
	// PushOf returns those of an account.
	PushOf(ctx context.Context, aor string) ([]PushSubscription, error)
}
