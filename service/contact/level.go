package contact

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/store"
)

// SetLevel decides what a person, a group or a domain is to owner. The subject is an address, the name or id of a group, or a
// domain. Errors: Invalid, NotFound when there is no such person of ours or group, TooMany beyond MaxLevels.
func (s *Service) SetLevel(ctx context.Context, by Actor, owner string, k store.RelationKey, level policy.Level) error {
	owner, err := s.authorise(ctx, by, owner)
	if err != nil {
		return err
	}
	if k, err = s.relationKey(k); err != nil {
		return err
	}
	if k.Kind == store.RelationPerson {
		if err := s.reachable(ctx, k.Subject); err != nil {
			return err
		}
	}
	_, err = s.change(ctx, by, owner, act{"contact.level", k.Kind + " " + k.Subject + " " + level.String()}, func(l *store.ContactList) (*edit, error) {
		k, err := resolve(l, owner, k)
		if err != nil {
			return nil, err
		}
		e := concerned(l, k)
		i := slices.IndexFunc(l.Relations, func(r store.Relation) bool { return r.RelationKey == k })
		if i >= 0 && l.Relations[i].Level == level.String() {
			return e, nil
		}
		if i < 0 && len(l.Relations) >= MaxLevels {
			return nil, errs.New(errs.TooMany, "contact: %s has decided about %d people, groups and domains, which is the most; clear some first", owner, MaxLevels)
		}
		e.PutRelations = []store.Relation{{RelationKey: k, Level: level.String(), Since: time.Now().UTC().Truncate(time.Microsecond)}}
		return e, nil
	})
	return err
}

// ClearLevel takes back what was decided, so that the next rule holds. Nothing happens when nothing was.
func (s *Service) ClearLevel(ctx context.Context, by Actor, owner string, k store.RelationKey) error {
	k, err := s.relationKey(k)
	if err != nil {
		return err
	}
	_, err = s.change(ctx, by, owner, act{"contact.level", k.Kind + " " + k.Subject + " none"}, func(l *store.ContactList) (*edit, error) {
		k, err := resolve(l, owner, k)
		if err != nil {
			return nil, err
		}
		e := concerned(l, k)
		if slices.ContainsFunc(l.Relations, func(r store.Relation) bool { return r.RelationKey == k }) {
			e.RemoveRelations = []store.RelationKey{k}
		}
		return e, nil
	})
	return err
}

// relationKey checks a key, and writes its subject in its one form; a group is found by resolve.
func (s *Service) relationKey(k store.RelationKey) (store.RelationKey, error) {
	var err error
	switch k.Kind {
	case store.RelationPerson:
		k.Subject, err = s.address(k.Subject)
		k.Subject = strings.TrimPrefix(k.Subject, secure)
	case store.RelationDomain:
		k.Subject, err = domain(k.Subject)
	case store.RelationGroup:
		if len(k.Subject) > MaxName {
			err = errs.New(errs.Invalid, "contact: no group has so long a name")
		}
	default:
		err = errs.New(errs.Invalid, "contact: %q has no level; person, group and domain have", shorten(k.Kind))
	}
	return k, err
}

// resolve finds the id of a group by its name.
func resolve(l *store.ContactList, owner string, k store.RelationKey) (store.RelationKey, error) {
	if k.Kind != store.RelationGroup {
		return k, nil
	}
	g, err := groupOf(l, owner, k.Subject)
	return groupKey(g.ID), err
}

// concerned is an edit that says whose level may change with a relation.
func concerned(l *store.ContactList, k store.RelationKey) *edit {
	e := &edit{levels: true}
	switch k.Kind {
	case store.RelationPerson:
		e.people = []string{k.Subject}
	case store.RelationGroup:
		id, _ := number(k.Subject) // made by groupKey
		var members []store.Contact
		for _, c := range l.Contacts {
			if slices.Contains(c.Groups, id) {
				members = append(members, c)
			}
		}
		e.people, e.levels = peopleOf(members...), len(members) > 0
	}
	return e
}

// Explain says what watcher is to owner, and why, for whoever may see the owner's list.
func (s *Service) Explain(ctx context.Context, by Actor, owner, watcher string) (policy.Level, policy.Reason, error) {
	owner, err := s.authorise(ctx, by, owner)
	if err != nil {
		return policy.Blocked, policy.Reason{}, err
	}
	if watcher, err = s.address(watcher); err != nil {
		return policy.Blocked, policy.Reason{}, err
	}
	return s.Level(ctx, owner, watcher)
}
