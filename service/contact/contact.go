// Package contact keeps whom people have in their lists, and what others are to them: contacts, groups of contacts and
// levels, the same on every device. What an administrator does to the list of somebody else is a record in the log before it
// takes effect; what people do to their own is not.
package contact

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/store"
)

// Limits of one owner's list, and of texts in bytes.
const (
	MaxContacts = 2000
	MaxGroups   = 200
	MaxLevels   = 2000
	MaxName     = 256
	MaxNote     = 1000
)

// Store is where lists, accounts and records are kept.
type Store interface {
	store.Contacts
	User(ctx context.Context, aor string) (*store.User, error)
	Append(r *store.Record, done func(error))
}

// Options are what a Service is made of.
type Options struct {
	Store   Store
	Domains []string // of this server; the first one is shown in examples
	// Changed tells everyone that a list is not what it was. It must not block. Whoever hears of it on another node calls
	// Service.Outdated there.
	Changed    func(Change)
	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are kept but not shown
	cacheBytes int                   // tests: a smaller cache
	verify     time.Duration         // tests: another pause
}

// Change says what happened to a list.
type Change struct {
	Owner   string
	Version int64 // of the list now
	// Levels says that what others are to the owner may have changed: of People, and of anybody when there are none.
	Levels bool
	People []string
}

// Actor is who acts, for authorisation and for the record.
type Actor struct {
	Name  string // AOR, or the name of the system account
	Via   string // "cli", "api", "sip"
	Admin bool   // may act for others
}

// Service is the one way to lists of contacts.
type Service struct {
	o     Options
	cache *cache
}

// The cache is believed without looking for so long; announcements of changes come at once, but may be lost.
const verifyEvery = 5 * time.Minute

// New makes a service.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.cacheBytes == 0 {
		o.cacheBytes = cacheBytes
	}
	if o.verify == 0 {
		o.verify = verifyEvery
	}
	return &Service{o: o, cache: newCache(o.cacheBytes, newMetrics(o.Registerer))}
}

// Serve compares the cache with the store from time to time, until ctx ends.
func (s *Service) Serve(ctx context.Context) error {
	tick := time.NewTicker(s.o.verify)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.verify(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Warn("contact: lists in memory were not compared with the store; that is tried again", "err", err)
		}
	}
}

// verify drops what is in the cache and no longer so in the store.
func (s *Service) verify(ctx context.Context) error {
	const most = 1000
	have := s.cache.versions()
	for after := ""; len(have) > 0; {
		page, err := s.o.Store.ContactVersions(ctx, after, most)
		if err != nil {
			return err
		}
		for _, v := range page {
			if n, ok := have[v.Owner]; ok && n < v.Version {
				s.cache.drop(v.Owner)
			}
			delete(have, v.Owner)
		}
		if len(page) < most {
			break
		}
		after = page[len(page)-1].Owner
	}
	for owner, version := range have { // those that are not in the store
		if version > 0 {
			s.cache.drop(owner)
		}
	}
	return nil
}

// Outdated is told of changes that were made elsewhere: the list of owner is at version now, or gone with 0.
func (s *Service) Outdated(owner string, version int64) {
	if version == 0 {
		s.cache.drop(owner)
		return
	}
	s.cache.outdated(owner, version)
}

// List returns the list of an owner, from memory or from the store. It is empty for whoever has none, and must not be
// changed. It is for the other services: nobody is asked whether he may.
func (s *Service) List(ctx context.Context, owner string) (*List, error) {
	return s.cache.get(ctx, owner, func(ctx context.Context) (*List, error) {
		l, err := s.o.Store.ContactList(ctx, owner)
		if err != nil {
			return nil, err
		}
		return newList(l), nil
	})
}

// Cached is List if the list is in memory; it never waits.
func (s *Service) Cached(owner string) (*List, bool) { return s.cache.peek(owner) }

// Level says what watcher is to owner, and why. Both are addresses-of-record; watcher is "" when nobody knows who it is. When the
// store does not answer the level is Blocked.
func (s *Service) Level(ctx context.Context, owner, watcher string) (policy.Level, policy.Reason, error) {
	l, err := s.List(ctx, owner)
	if err != nil {
		return policy.Blocked, policy.Reason{}, err
	}
	level, why := l.Level(s.o.Domains, owner, watcher)
	return level, why, nil
}

// OwnersOf returns up to limit of those who have an address in their lists, in order, from the one behind after on. "bob@x" and
// "sips:bob@x" are two addresses here.
func (s *Service) OwnersOf(ctx context.Context, address, after string, limit int) ([]string, error) {
	return s.o.Store.ContactOwners(ctx, address, after, limit)
}

// act is what is done to a list, for the record.
type act struct{ action, about string }

// edit makes a change of a list; with none of it set nothing is done.
type edit struct {
	store.ContactChange
	levels bool // what others are to the owner may change: of people
	people []string
}

func (e *edit) empty() bool {
	return len(e.Put)+len(e.PutGroups)+len(e.PutRelations)+len(e.Remove)+len(e.RemoveGroups)+len(e.RemoveRelations) == 0
}

// tries is how often a change is made again when somebody else changed the list in between.
const tries = 10

// change authorises, records and makes one change of the list of owner. Make is called with the list as it is, perhaps
// several times.
func (s *Service) change(ctx context.Context, by Actor, owner string, a act, make func(*store.ContactList) (*edit, error)) (string, error) {
	owner, err := s.authorise(ctx, by, owner)
	if err != nil {
		return "", err
	}
	recorded := by.Name == owner
	for range tries {
		list, err := s.o.Store.ContactList(ctx, owner)
		if err != nil {
			return "", err
		}
		e, err := make(list)
		if err != nil || e.empty() {
			return owner, err
		}
		if !recorded {
			if err := s.record(ctx, by, owner, a); err != nil {
				return "", err
			}
			recorded = true
		}
		version, err := s.o.Store.ChangeContacts(ctx, owner, list.Version, &e.ContactChange)
		if errors.Is(err, errs.Conflict) {
			continue
		}
		if err != nil {
			return "", missing(err, owner)
		}
		s.cache.drop(owner)
		s.o.Changed(Change{Owner: owner, Version: version, Levels: e.levels, People: e.people})
		return owner, nil
	}
	return "", errs.New(errs.TooMany, "contact: the list of %s is being changed by somebody else all the time; try again", owner)
}

// authorise returns the owner in its one form, if there is such an account and by may act for it.
func (s *Service) authorise(ctx context.Context, by Actor, owner string) (string, error) {
	aor, err := s.address(owner)
	if err != nil {
		return "", err
	}
	if by.Name != aor && !by.Admin {
		return "", errs.Say(errs.New(errs.Forbidden, "contact: %s may not act for %s", by.Name, aor), "only administrators may see or change the contacts of somebody else")
	}
	if _, err := s.o.Store.User(ctx, aor); err != nil {
		return "", missing(err, aor)
	}
	return aor, nil
}

func missing(err error, aor string) error {
	if errors.Is(err, errs.NotFound) {
		return errs.Say(err, "there is no user "+aor+"; parley user list shows who there is")
	}
	return err
}

// metaAbout is what an administrative act was about, in words.
const metaAbout = "about"

// record appends the act and waits until it is durable.
func (s *Service) record(ctx context.Context, by Actor, owner string, a act) error {
	done := make(chan error, 1)
	s.o.Store.Append(&store.Record{Kind: store.KindAdmin, From: by.Name, To: owner, Meta: map[string]string{
		store.MetaAction: a.action, store.MetaVia: by.Via, metaAbout: a.about,
	}}, func(err error) { done <- err })
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return errs.Say(errs.Wrap(errs.KindOf(err), err, "contact: recording "+a.action), "nothing was changed, because it could not be recorded; try again")
}

// Changes returns what changed in the list of an owner after a version, for whoever may see it; all of it for 0.
func (s *Service) Changes(ctx context.Context, by Actor, owner string, since int64) (*store.ContactChanges, error) {
	aor, err := s.authorise(ctx, by, owner)
	if err != nil {
		return nil, err
	}
	return s.o.Store.ContactChanges(ctx, aor, since)
}

// MaxOwners is the largest page of Owners.
const MaxOwners = 1000

// Owners is OwnersOf for administrators, a page of 1 to MaxOwners; it says whether there are more.
func (s *Service) Owners(ctx context.Context, by Actor, address, after string, limit int) (list []string, more bool, err error) {
	if !by.Admin {
		return nil, false, errs.Say(errs.New(errs.Forbidden, "contact: %s may not ask who has %s", by.Name, address), "only administrators may ask who has whom in a list")
	}
	if limit < 1 || limit > MaxOwners {
		return nil, false, errs.New(errs.Invalid, "contact: limit must be between 1 and %d", MaxOwners)
	}
	if address, err = s.address(address); err != nil {
		return nil, false, err
	}
	if after != "" {
		if after, err = s.address(after); err != nil {
			return nil, false, err
		}
	}
	list, err = s.OwnersOf(ctx, address, after, limit+1)
	return list[:min(limit, len(list))], len(list) > limit, err
}
