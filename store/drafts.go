package store

import (
	"context"
	"time"
)

// Draft is what somebody has written in a conversation but not sent.
type Draft struct {
	AOR     string // whose it is
	Peer    string // AOR of the other side
	Text    string
	Changed time.Time // UTC, whole microseconds
}

// MaxDrafts is how many drafts one account may have.
const MaxDrafts = 500

// Drafts keeps drafts, so that they are the same on all devices. They go with the account.
type Drafts interface {
	// Drafts returns all of an account's, the one that was changed last first.
	Drafts(ctx context.Context, aor string) ([]Draft, error)
	// Draft returns one, or ErrNotFound.
	Draft(ctx context.Context, aor, peer string) (*Draft, error)
	// SetDraft keeps a draft instead of the one before; an empty text removes it. Errors: ErrNotFound when there is no such
	// account, kind TooMany when it has MaxDrafts others.
	SetDraft(ctx context.Context, d Draft) error
}
