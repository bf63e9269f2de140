package directory

import (
	"context"
	"errors"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// Limits of a search for people.
const (
	MaxPeople     = 50   // on a page
	maxPeopleText = 1000 // bytes of words
)

// Details are what is told of a person. What is nil stays as it is.
type Details struct {
	Name, Title, Department, Office, Phone, Mobile, Email *string
}

// fields are the texts of a person with their names for people.
func fields(p *store.Person) [6]struct {
	name string
	text *string
} {
	return [6]struct {
		name string
		text *string
	}{{"title", &p.Title}, {"department", &p.Department}, {"office", &p.Office}, {"phone", &p.Phone}, {"mobile", &p.Mobile}, {"email", &p.Email}}
}

// checkPerson checks all texts of a person.
func checkPerson(p *store.Person) error {
	for _, f := range fields(p) {
		var err error
		if *f.text, err = label(f.name, *f.text); err != nil {
			return err
		}
	}
	return nil
}

// SetDetails changes what is told of a person.
func (s *Service) SetDetails(ctx context.Context, by Actor, address string, d Details) error {
	return s.change(ctx, by, address, "user.set", Described, func(u *store.User) error {
		if d.Name != nil {
			name, err := label("name", *d.Name)
			if err != nil {
				return err
			}
			u.Name = name
		}
		for i, given := range [6]*string{d.Title, d.Department, d.Office, d.Phone, d.Mobile, d.Email} {
			if given != nil {
				*fields(&u.Person)[i].text = *given
			}
		}
		return checkPerson(&u.Person)
	})
}

// FindPeople finds people by the beginnings of words of their names, addresses, titles and departments, up to f.Limit of them
// (1 to MaxPeople; 0: MaxPeople). Everybody who may sign in may ask, and administrators. Accounts that are disabled are not
// found. Errors: Forbidden, Invalid.
func (s *Service) FindPeople(ctx context.Context, by Actor, f store.PeopleFilter) (store.PeoplePage, error) {
	if !by.Admin {
		u, err := s.o.Store.User(ctx, by.Name)
		if err != nil && !errors.Is(err, errs.NotFound) {
			return store.PeoplePage{}, err
		}
		if err != nil || u.Disabled {
			return store.PeoplePage{}, errs.Say(errs.New(errs.Forbidden, "directory: %s may not look for people", by.Name), "only people of this server may look for people")
		}
	}
	if f.Limit == 0 {
		f.Limit = MaxPeople
	}
	if f.Limit < 0 || f.Limit > MaxPeople {
		return store.PeoplePage{}, errs.New(errs.Invalid, "directory: limit must be between 1 and %d", MaxPeople)
	}
	if len(f.Words) > maxPeopleText {
		return store.PeoplePage{}, errs.New(errs.Invalid, "directory: the words have %d bytes; at most %d can be searched", len(f.Words), maxPeopleText)
	}
	return s.o.People.FindPeople(ctx, f)
}
