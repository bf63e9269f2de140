package store

import (
	"context"
	"time"
)

// ManualState is what a person said of being there, by hand.
type ManualState struct {
	AOR   string
	State string // "" for none
	Note  string
	Until time.Time // zero: until it is changed
	Set   time.Time
}

// Publication is a document that a device published (RFC 3903).
type Publication struct {
	ETag             string // unique
	AOR              string
	Device           string
	Alone            bool // nobody signs in on the device
	ContentType      string
	Body             []byte
	Updated, Expires time.Time
}

// Subscription is a subscription of somebody to something (RFC 6665), as its notifier keeps it.
type Subscription struct {
	Tag     string // our tag, unique
	Event   string // event package
	Watcher string // AOR
	Expires time.Time
	Data    []byte // the notifier's own
}

// PresenceBatch is how many rows Presence writes as a whole or not at all.
const PresenceBatch = 1000

// Presence is what must outlive a restart so that nobody's state becomes unknown by it. Of several rows with one key in a batch
// the last one counts, and what is saved is not removed. A batch beyond PresenceBatch is written in parts, so that other
// writers come between; after an error some of them may be written, and the whole may be said again. What has expired is not
// read, and removed in time; what belongs to an account goes with it.
type Presence interface {
	// SetManual notes what somebody said; a state and a note of "" remove it. ErrNotFound when there is no such account.
	SetManual(ctx context.Context, m ManualState) error
	// Manual calls f for each, in no order; f must not call the store.
	Manual(ctx context.Context, f func(*ManualState) error) error
	SavePublications(ctx context.Context, save []Publication, remove []string) error
	Publications(ctx context.Context, f func(*Publication) error) error
	SaveSubscriptions(ctx context.Context, save []Subscription, remove []string) error
	Subscriptions(ctx context.Context, event string, f func(*Subscription) error) error
}
