package api

import (
	"context"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/service/directory"
	"github.com/parley-im/parley/store"
)

type people struct{ directory *directory.Service }

func (p *people) FindPeople(ctx context.Context, req *connect.Request[v1.FindPeopleRequest]) (*connect.Response[v1.FindPeopleResponse], error) {
	page, err := p.directory.FindPeople(ctx, actor(ctx), store.PeopleFilter{Words: req.Msg.Words, After: req.Msg.After, Limit: int(req.Msg.Limit)})
	if err != nil {
		return nil, err
	}
	resp := &v1.FindPeopleResponse{Next: page.Next}
	for i := range page.People {
		u := &page.People[i]
		resp.People = append(resp.People, &v1.Person{Address: u.AOR, Name: u.Name, Profile: profileOf(&u.Person)})
	}
	return connect.NewResponse(resp), nil
}

// SetProfile is part of the administration of users.
func (u *users) SetProfile(ctx context.Context, req *connect.Request[v1.SetProfileRequest]) (*connect.Response[v1.SetProfileResponse], error) {
	m := req.Msg
	err := u.directory.SetDetails(ctx, actor(ctx), m.Address, directory.Details{
		Name: m.Name, Title: m.Title, Department: m.Department, Office: m.Office, Phone: m.Phone, Mobile: m.Mobile, Email: m.Email,
	})
	return connect.NewResponse(&v1.SetProfileResponse{}), err
}

// profileOf is absent when nothing is told.
func profileOf(p *store.Person) *v1.Profile {
	if *p == (store.Person{}) {
		return nil
	}
	return &v1.Profile{Title: p.Title, Department: p.Department, Office: p.Office, Phone: p.Phone, Mobile: p.Mobile, Email: p.Email}
}

func personOf(p *v1.Profile) store.Person {
	if p == nil {
		return store.Person{}
	}
	return store.Person{Title: p.Title, Department: p.Department, Office: p.Office, Phone: p.Phone, Mobile: p.Mobile, Email: p.Email}
}
