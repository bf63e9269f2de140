package contact

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// AddGroup adds a group at the end of those of owner. Errors: Conflict when there is one with that name in any case of letters,
// TooMany beyond MaxGroups.
func (s *Service) AddGroup(ctx context.Context, by Actor, owner, name string) (store.ContactGroup, error) {
	name, err := groupName(name)
	if err != nil {
		return store.ContactGroup{}, err
	}
	added := []store.ContactGroup{{Name: name}}
	_, err = s.change(ctx, by, owner, act{"contact.group.add", name}, func(l *store.ContactList) (*edit, error) {
		if len(l.Groups) >= MaxGroups {
			return nil, full(owner, "groups", MaxGroups)
		}
		if err := freeName(l, name, 0); err != nil {
			return nil, err
		}
		last := int64(0)
		for _, g := range l.Groups {
			last = max(last, g.Position)
		}
		added[0].ID, added[0].Position = 0, last+1
		e := &edit{}
		e.PutGroups = added
		return e, nil
	})
	return added[0], err
}

func groupName(name string) (string, error) {
	name, err := label("name of a group", name, MaxName)
	if err != nil {
		return "", err
	}
	if _, isID := number(name); isID || name == "" {
		return "", errs.New(errs.Invalid, "contact: a group needs a name that is not a number, as \"friends\"")
	}
	return name, nil
}

func freeName(l *store.ContactList, name string, id int64) error {
	if slices.ContainsFunc(l.Groups, func(g store.ContactGroup) bool { return g.ID != id && strings.EqualFold(g.Name, name) }) {
		return errs.New(errs.Conflict, "contact: there is already a group %s", name)
	}
	return nil
}

// GroupEdit changes a group. What is nil stays as it is.
type GroupEdit struct {
	Group    string // its name, or its id as text
	Version  int64  // that the group must have; 0: whatever it has
	Name     *string
	Position *int64
}

// SetGroup changes a group and returns it. Errors: NotFound, and Conflict when the name is taken or the Version is another.
func (s *Service) SetGroup(ctx context.Context, by Actor, owner string, e GroupEdit) (store.ContactGroup, error) {
	if e.Name != nil {
		name, err := groupName(*e.Name)
		if err != nil {
			return store.ContactGroup{}, err
		}
		e.Name = &name
	}
	var changed []store.ContactGroup
	_, err := s.change(ctx, by, owner, act{"contact.group.set", e.Group}, func(l *store.ContactList) (*edit, error) {
		old, err := groupOf(l, owner, e.Group)
		if err != nil {
			return nil, err
		}
		if e.Version != 0 && e.Version != old.Version {
			return nil, errs.New(errs.Conflict, "contact: the group %s was changed by another device meanwhile; read it again", old.Name)
		}
		g := old
		if e.Name != nil {
			g.Name = *e.Name
		}
		if e.Position != nil {
			g.Position = *e.Position
		}
		if err := freeName(l, g.Name, g.ID); err != nil {
			return nil, err
		}
		changed = []store.ContactGroup{g}
		made := &edit{}
		if g != old {
			made.PutGroups = changed
		}
		return made, nil
	})
	if err != nil {
		return store.ContactGroup{}, err
	}
	return changed[0], nil
}

// RemoveGroup removes a group, named by its name or its id, with what was decided about it. Its contacts stay in the list.
func (s *Service) RemoveGroup(ctx context.Context, by Actor, owner, group string) error {
	_, err := s.change(ctx, by, owner, act{"contact.group.remove", group}, func(l *store.ContactList) (*edit, error) {
		g, err := groupOf(l, owner, group)
		if err != nil {
			return nil, err
		}
		e := &edit{}
		e.RemoveGroups = []int64{g.ID}
		for _, c := range l.Contacts {
			if slices.Contains(c.Groups, g.ID) {
				c.Groups = slices.DeleteFunc(slices.Clone(c.Groups), func(id int64) bool { return id == g.ID })
				e.Put = append(e.Put, c)
			}
		}
		if ruled(l, []int64{g.ID}) {
			e.RemoveRelations = []store.RelationKey{groupKey(g.ID)}
			e.levels, e.people = len(e.Put) > 0, peopleOf(e.Put...)
		}
		return e, nil
	})
	return err
}

// groupOf finds a group by its name or id.
func groupOf(l *store.ContactList, owner, group string) (store.ContactGroup, error) {
	id, isID := number(group)
	name := strings.TrimSpace(group)
	i := slices.IndexFunc(l.Groups, func(g store.ContactGroup) bool { return isID && g.ID == id || !isID && strings.EqualFold(g.Name, name) })
	if i < 0 {
		return store.ContactGroup{}, errs.New(errs.NotFound, "contact: %s has no group %q", owner, shorten(group))
	}
	return l.Groups[i], nil
}

// number reads an id.
func number(text string) (int64, bool) {
	id, err := strconv.ParseInt(text, 10, 64)
	return id, err == nil
}

func groupKey(id int64) store.RelationKey {
	return store.RelationKey{Kind: store.RelationGroup, Subject: strconv.FormatInt(id, 10)}
}
