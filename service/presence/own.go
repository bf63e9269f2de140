package presence

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/sip"
)

// Actor is who acts, for authorisation and for the record.
type Actor struct {
	Name  string // AOR, or the name of the system account
	Via   string // "cli", "api", "sip"
	Admin bool   // may act for others
}

// Own is what somebody, and who looks after the server, sees of the person's own state.
type Own struct {
	AOR          string
	State        compose.State
	Manual       compose.Manual // the zero value: nothing is set by hand
	Calls        compose.Calls
	Devices      []compose.Device
	Publications []compose.Publication
	Sources      []compose.Line // what each says, and which one decided
}

// Seen is what somebody sees of a person.
type Seen struct {
	AOR string
	compose.Glance
	Doc *pidf.Presence
}

// Explanation is what a watcher sees of an owner, and why.
type Explanation struct {
	Seen
	Level   policy.Level
	Why     policy.Reason
	Sight   policy.Sight
	State   compose.State  // before anything is left out
	Sources []compose.Line // what each says, and which one decided
}

// WatcherRow is one subscription to somebody.
type WatcherRow struct {
	Watcher string // AOR
	Level   policy.Level
	List    bool      // through a list of contacts
	Since   time.Time // in whole seconds
	Expires time.Time // zero: not a SIP subscription
}

// Own tells somebody's composed state and all it is made of. Errors: Forbidden, NotFound.
func (s *Service) Own(ctx context.Context, by Actor, owner string) (Own, error) {
	src, err := s.look(ctx, by, owner, owner)
	if err != nil {
		return Own{}, err
	}
	st := compose.Compose(src)
	return Own{AOR: src.AOR, State: st, Manual: src.Manual, Calls: src.Calls, Devices: src.Devices, Publications: src.Publications,
		Sources: compose.Explain(src, &st)}, nil
}

// Set says by hand what the state of somebody is; the zero Manual leaves it to the rest. Errors: Invalid for a state that
// nobody may choose, a note above compose.MaxNote bytes, or an end that is not in the future; Forbidden, NotFound,
// Unavailable. What an administrator does for somebody else is on record before it takes effect.
func (s *Service) Set(ctx context.Context, by Actor, owner string, m compose.Manual) error {
	now := time.Now()
	m.Note = strings.TrimSpace(m.Note)
	switch {
	case m.State != "" && !m.State.Valid():
		return errs.Say(errs.New(errs.Invalid, "presence: no such state: %q", m.State), "there is no such state: available, busy, in-meeting, dnd, brb, away and offline are")
	case m.State == pidf.InCall:
		return errs.Say(errs.New(errs.Invalid, "presence: in-call is not set by hand"), "the server sees by itself who is in a call; busy or dnd can be set by hand")
	case len(m.Note) > compose.MaxNote:
		return errs.Say(errs.New(errs.Invalid, "presence: the note has %d bytes", len(m.Note)), "the note is too long: 1,000 bytes at most")
	case m.Until.Year() > 9999:
		return errs.Say(errs.New(errs.Invalid, "presence: the end is in the year %d", m.Until.Year()), "the end must be between the years 1 and 9999")
	case !m.Until.IsZero() && !m.Until.After(now):
		return errs.Say(errs.New(errs.Invalid, "presence: the end has passed"), "the end must be in the future")
	}
	m.Set = now.UTC().Truncate(time.Microsecond)
	m.Until = m.Until.UTC().Truncate(time.Microsecond)
	if m.State == "" && m.Note == "" {
		m = compose.Manual{}
	}
	aor, err := s.authorise(ctx, by, owner, owner)
	if err != nil {
		return err
	}
	if by.Name != aor {
		if err := s.record(ctx, by, aor, m); err != nil {
			return err
		}
	}
	err = s.o.Store.SetManual(ctx, store.ManualState{AOR: aor, State: string(m.State), Note: m.Note, Until: m.Until, Set: m.Set})
	if err != nil {
		return err
	}
	s.change(aor, func(e *entity) { e.manual = m })
	return nil
}

// record appends the act and waits until it is durable. The note itself is not in it.
func (s *Service) record(ctx context.Context, by Actor, owner string, m compose.Manual) error {
	state := string(m.State)
	if state == "" {
		state = "none"
	}
	done := make(chan error, 1)
	s.o.Store.Append(&store.Record{Kind: store.KindAdmin, From: by.Name, To: owner, Meta: map[string]string{
		store.MetaAction: "presence.set", store.MetaVia: by.Via, "about": state,
	}}, func(err error) { done <- err })
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return errs.Say(errs.Wrap(errs.KindOf(err), err, "presence: recording presence.set"), "nothing was changed, because it could not be recorded; try again")
}

// See tells what watcher sees of owner, which watcher and administrators may ask. Errors: Forbidden, NotFound, Unavailable.
func (s *Service) See(ctx context.Context, by Actor, watcher, owner string) (Seen, error) {
	watcher, err := sip.ParseAOR(watcher)
	if err != nil {
		return Seen{}, err
	}
	src, err := s.look(ctx, by, owner, watcher)
	if err != nil {
		return Seen{}, err
	}
	level, _, err := s.o.Contacts.Level(ctx, src.AOR, watcher)
	if err != nil {
		return Seen{}, err
	}
	st := compose.Compose(src)
	return seen(src, &st, level), nil
}

func seen(src *compose.Sources, st *compose.State, level policy.Level) Seen {
	doc := compose.View(src, st, level.Sight())
	return Seen{AOR: src.AOR, Glance: compose.Look(doc), Doc: doc}
}

// Explain tells what watcher sees of owner, and why, which owner and administrators may ask. Errors: Forbidden, NotFound,
// Unavailable.
func (s *Service) Explain(ctx context.Context, by Actor, owner, watcher string) (Explanation, error) {
	watcher, err := sip.ParseAOR(watcher)
	if err != nil {
		return Explanation{}, err
	}
	src, err := s.look(ctx, by, owner, owner)
	if err != nil {
		return Explanation{}, err
	}
	level, why, err := s.o.Contacts.Level(ctx, src.AOR, watcher)
	if err != nil {
		return Explanation{}, err
	}
	st := compose.Compose(src)
	return Explanation{Seen: seen(src, &st, level), Level: level, Why: why, Sight: level.Sight(), State: st, Sources: compose.Explain(src, &st)}, nil
}

// Watchers lists who watches owner now, ordered by name, which owner and administrators may ask. Errors: Forbidden, NotFound.
func (s *Service) Watchers(ctx context.Context, by Actor, owner string) ([]WatcherRow, error) {
	aor, err := s.authorise(ctx, by, owner, owner)
	if err != nil {
		return nil, err
	}
	e := s.table.find(aor)
	if e == nil {
		return nil, nil
	}
	defer s.unpin(e)
	e.mu.Lock()
	refs := append([]ref(nil), e.refs...)
	e.mu.Unlock()
	rows := make([]WatcherRow, 0, len(refs))
	for _, r := range refs {
		row := WatcherRow{Watcher: r.w.watcher(), Level: r.level, List: r.w.list != nil, Since: time.Unix(int64(r.w.since), 0)}
		if sub, ok := r.w.teller.(*dialog.Subscription); ok {
			row.Expires = sub.Expires()
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b WatcherRow) int {
		if n := strings.Compare(a.Watcher, b.Watcher); n != 0 {
			return n
		}
		return a.Since.Compare(b.Since)
	})
	return rows, nil
}

// look returns what the state of owner is made of, if by may act for whom.
func (s *Service) look(ctx context.Context, by Actor, owner, whom string) (*compose.Sources, error) {
	aor, err := s.authorise(ctx, by, owner, whom)
	if err != nil {
		return nil, err
	}
	src := compose.Sources{AOR: aor}
	if e := s.table.find(aor); e != nil {
		e.mu.Lock()
		src = e.sources()
		e.mu.Unlock()
		s.unpin(e)
	}
	s.now(&src)
	if !src.Manual.Holds(src.Now) {
		src.Manual = compose.Manual{}
	}
	return &src, nil
}

// authorise returns owner's AOR, if there is such an account and by may act for whom.
func (s *Service) authorise(ctx context.Context, by Actor, owner, whom string) (string, error) {
	aor, err := sip.ParseAOR(owner)
	if err != nil {
		return "", err
	}
	if whom, err = sip.ParseAOR(whom); err != nil {
		return "", err
	}
	if by.Name != whom && !by.Admin {
		return "", errs.Say(errs.New(errs.Forbidden, "presence: %s may not act for %s", by.Name, whom), "only administrators may see or change the presence of somebody else")
	}
	_, err = s.account(ctx, aor)
	if errors.Is(err, errs.NotFound) {
		return "", errs.Say(err, "there is no user "+aor+"; parley user list shows who there is")
	}
	return aor, err
}
