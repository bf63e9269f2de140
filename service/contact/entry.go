package contact

import (
	"context"
	"slices"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// NewContact is a contact to be added.
type NewContact struct {
	Address   string // "bob@example.com", "sips:bob@example.com" or "tel:+4930123"
	Name      string // up to MaxName bytes
	Note      string // up to MaxNote bytes
	Favourite bool
	Groups    []int64 // ids of groups of the owner
}

// Add adds contacts at the end of the list of owner, all or none, and returns them. Errors: Conflict when an address is in the list
// already, NotFound when an address in one of our domains or a group does not exist, TooMany beyond MaxContacts.
func (s *Service) Add(ctx context.Context, by Actor, owner string, contacts []NewContact) ([]store.Contact, error) {
	added := make([]store.Contact, len(contacts))
	if len(contacts) > MaxContacts {
		return nil, full(owner, "contacts", MaxContacts)
	}
	a := act{action: "contact.add"}
	for i := range contacts {
		n := &contacts[i]
		c := &added[i]
		c.Favourite, c.Groups = n.Favourite, ids(n.Groups)
		var err error
		if c.Address, err = s.address(n.Address); err != nil {
			return nil, err
		}
		if c.Name, err = label("name", n.Name, MaxName); err != nil {
			return nil, err
		}
		if c.Note, err = label("note", n.Note, MaxNote); err != nil {
			return nil, err
		}
		a.about = c.Address
		if i > 0 {
			a.about = added[0].Address + " and others"
		}
	}
	owner, err := s.authorise(ctx, by, owner)
	if err != nil {
		return nil, err
	}
	for i := range added {
		if err := s.reachable(ctx, added[i].Address); err != nil {
			return nil, err
		}
	}
	_, err = s.change(ctx, by, owner, a, func(l *store.ContactList) (*edit, error) {
		e := &edit{people: peopleOf(added...)}
		if len(l.Contacts)+len(added) > MaxContacts {
			return nil, full(owner, "contacts", MaxContacts)
		}
		last := int64(0)
		there := make(map[string]bool, len(l.Contacts)+len(added))
		for i := range l.Contacts {
			last = max(last, l.Contacts[i].Position)
			there[l.Contacts[i].Address] = true
		}
		for i := range added {
			c := &added[i]
			if there[c.Address] {
				return nil, errs.New(errs.Conflict, "contact: %s is in the list of %s already", c.Address, owner)
			}
			there[c.Address] = true
			c.ID, c.Position = 0, last+int64(i)+1
			if err := inGroups(l, c.Groups); err != nil {
				return nil, err
			}
			e.levels = e.levels || ruled(l, c.Groups)
		}
		e.Put = added
		return e, nil
	})
	return added, err
}

// Edit changes a contact. What is nil stays as it is.
type Edit struct {
	Contact   string // its address, or its id as text
	Version   int64  // that the contact must have; 0: whatever it has
	Address   *string
	Name      *string
	Note      *string
	Favourite *bool
	Position  *int64 // its place in the list, ascending; equal ones by age
	Groups    *[]int64
}

// Set changes a contact and returns it. Errors are those of Add, NotFound when it is not in the list, and Conflict when its Version
// is another.
func (s *Service) Set(ctx context.Context, by Actor, owner string, e Edit) (store.Contact, error) {
	var changed []store.Contact
	if e.Address != nil {
		address, err := s.address(*e.Address)
		if err == nil {
			_, err = s.authorise(ctx, by, owner)
		}
		if err == nil {
			err = s.reachable(ctx, address)
		}
		if err != nil {
			return store.Contact{}, err
		}
		e.Address = &address
	}
	_, err := s.change(ctx, by, owner, act{"contact.set", e.Contact}, func(l *store.ContactList) (*edit, error) {
		i, err := s.place(l, owner, e.Contact)
		if err != nil {
			return nil, err
		}
		old := l.Contacts[i]
		if e.Version != 0 && e.Version != old.Version {
			return nil, errs.New(errs.Conflict, "contact: %s was changed by another device meanwhile; read it again", old.Address)
		}
		c, err := e.apply(old)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(l.Contacts, func(o store.Contact) bool { return o.ID != c.ID && o.Address == c.Address }) {
			return nil, errs.New(errs.Conflict, "contact: %s is in the list of %s already", c.Address, owner)
		}
		if err := inGroups(l, c.Groups); err != nil {
			return nil, err
		}
		changed = []store.Contact{c}
		made := &edit{}
		if same(&c, &old) {
			return made, nil
		}
		made.Put = changed
		if c.Address != old.Address || !slices.Equal(c.Groups, old.Groups) {
			made.levels, made.people = ruled(l, c.Groups) || ruled(l, old.Groups), peopleOf(old, c)
		}
		return made, nil
	})
	if err != nil {
		return store.Contact{}, err
	}
	return changed[0], nil
}

func (e *Edit) apply(c store.Contact) (store.Contact, error) {
	var err error
	if e.Address != nil {
		c.Address = *e.Address
	}
	if e.Name != nil {
		if c.Name, err = label("name", *e.Name, MaxName); err != nil {
			return c, err
		}
	}
	if e.Note != nil {
		if c.Note, err = label("note", *e.Note, MaxNote); err != nil {
			return c, err
		}
	}
	if e.Favourite != nil {
		c.Favourite = *e.Favourite
	}
	if e.Position != nil {
		c.Position = *e.Position
	}
	if e.Groups != nil {
		c.Groups = ids(*e.Groups)
	}
	return c, nil
}

func same(a, b *store.Contact) bool {
	return a.Address == b.Address && a.Name == b.Name && a.Note == b.Note && a.Favourite == b.Favourite && a.Position == b.Position && slices.Equal(a.Groups, b.Groups)
}

// Remove takes a contact, named by its address or its id, out of the list of owner. What was decided about the person
// itself stays. NotFound when it is not there.
func (s *Service) Remove(ctx context.Context, by Actor, owner, contact string) error {
	_, err := s.change(ctx, by, owner, act{"contact.remove", contact}, func(l *store.ContactList) (*edit, error) {
		i, err := s.place(l, owner, contact)
		if err != nil {
			return nil, err
		}
		e := &edit{people: peopleOf(l.Contacts[i]), levels: ruled(l, l.Contacts[i].Groups)}
		e.ContactChange.Remove = []int64{l.Contacts[i].ID}
		return e, nil
	})
	return err
}

// place finds a contact by its address or id.
func (s *Service) place(l *store.ContactList, owner, contact string) (int, error) {
	id, isID := number(contact)
	address := ""
	if !isID {
		var err error
		if address, err = s.address(contact); err != nil {
			return 0, err
		}
	}
	i := slices.IndexFunc(l.Contacts, func(c store.Contact) bool { return isID && c.ID == id || !isID && c.Address == address })
	if i < 0 {
		return 0, errs.New(errs.NotFound, "contact: %s is not in the list of %s", shorten(contact), owner)
	}
	return i, nil
}

// inGroups checks that the groups are there.
func inGroups(l *store.ContactList, groups []int64) error {
	for _, id := range groups {
		if _, ok := findGroup(l.Groups, id); !ok {
			return errs.New(errs.NotFound, "contact: there is no group %d", id)
		}
	}
	return nil
}

// ruled tells whether something was decided about one of the groups.
func ruled(l *store.ContactList, groups []int64) bool {
	for _, id := range groups {
		key := groupKey(id)
		if slices.ContainsFunc(l.Relations, func(r store.Relation) bool { return r.RelationKey == key }) {
			return true
		}
	}
	return false
}

// ids are sorted, and each of them once.
func ids(list []int64) []int64 {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// manyPeople is how many people a Change names at most.
const manyPeople = 20

// peopleOf are the addresses of contacts, none when there are too many to name.
func peopleOf(contacts ...store.Contact) []string {
	if len(contacts) > manyPeople {
		return nil
	}
	var list []string
	for i := range contacts {
		if !slices.Contains(list, contacts[i].Address) {
			list = append(list, contacts[i].Address)
		}
	}
	return list
}

func full(owner, what string, most int) error {
	return errs.New(errs.TooMany, "contact: the list of %s would have more than %d %s; remove some first", owner, most, what)
}
