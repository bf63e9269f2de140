package api

import (
	"context"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/contact"
	"github.com/parley-im/parley/store"
)

type contacts struct{ service *contact.Service }

func owner(ctx context.Context) contact.Actor {
	id := whois(ctx)
	return contact.Actor{Name: id.name, Via: via, Admin: id.Admin}
}

func (c *contacts) ListContacts(ctx context.Context, req *connect.Request[v1.ListContactsRequest]) (*connect.Response[v1.ListContactsResponse], error) {
	list, err := c.service.Changes(ctx, owner(ctx), req.Msg.Owner, req.Msg.Since)
	if err != nil {
		return nil, err
	}
	resp := &v1.ListContactsResponse{Version: list.Version, All: list.All, RemovedContacts: list.RemovedContacts, RemovedGroups: list.RemovedGroups,
		Contacts: contactsOf(list.Contacts)}
	for i := range list.Groups {
		resp.Groups = append(resp.Groups, groupOf(&list.Groups[i]))
	}
	for i := range list.Relations {
		r := &list.Relations[i]
		resp.Relations = append(resp.Relations, &v1.Relation{Key: keyOf(r.RelationKey), Level: r.Level, Since: stamp(r.Since), Version: r.Version})
	}
	for _, k := range list.RemovedRelations {
		resp.RemovedRelations = append(resp.RemovedRelations, keyOf(k))
	}
	return connect.NewResponse(resp), nil
}

func (c *contacts) AddContacts(ctx context.Context, req *connect.Request[v1.AddContactsRequest]) (*connect.Response[v1.AddContactsResponse], error) {
	list := make([]contact.NewContact, len(req.Msg.Contacts))
	for i, n := range req.Msg.Contacts {
		list[i] = contact.NewContact{Address: n.Address, Name: n.Name, Note: n.Note, Favourite: n.Favourite, Groups: n.Groups}
	}
	added, err := c.service.Add(ctx, owner(ctx), req.Msg.Owner, list)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.AddContactsResponse{Contacts: contactsOf(added)}), nil
}

func (c *contacts) SetContact(ctx context.Context, req *connect.Request[v1.SetContactRequest]) (*connect.Response[v1.SetContactResponse], error) {
	m := req.Msg
	e := contact.Edit{Contact: m.Contact, Version: m.Version, Address: m.Address, Name: m.Name, Note: m.Note, Favourite: m.Favourite, Position: m.Position}
	if m.Groups != nil {
		e.Groups = &m.Groups.Ids
	}
	changed, err := c.service.Set(ctx, owner(ctx), m.Owner, e)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.SetContactResponse{Contact: contactsOf([]store.Contact{changed})[0]}), nil
}

func (c *contacts) RemoveContact(ctx context.Context, req *connect.Request[v1.RemoveContactRequest]) (*connect.Response[v1.RemoveContactResponse], error) {
	err := c.service.Remove(ctx, owner(ctx), req.Msg.Owner, req.Msg.Contact)
	return connect.NewResponse(&v1.RemoveContactResponse{}), err
}

func (c *contacts) AddGroup(ctx context.Context, req *connect.Request[v1.AddGroupRequest]) (*connect.Response[v1.AddGroupResponse], error) {
	g, err := c.service.AddGroup(ctx, owner(ctx), req.Msg.Owner, req.Msg.Name)
	return connect.NewResponse(&v1.AddGroupResponse{Group: groupOf(&g)}), err
}

func (c *contacts) SetGroup(ctx context.Context, req *connect.Request[v1.SetGroupRequest]) (*connect.Response[v1.SetGroupResponse], error) {
	m := req.Msg
	g, err := c.service.SetGroup(ctx, owner(ctx), m.Owner, contact.GroupEdit{Group: m.Group, Version: m.Version, Name: m.Name, Position: m.Position})
	return connect.NewResponse(&v1.SetGroupResponse{Group: groupOf(&g)}), err
}

func (c *contacts) RemoveGroup(ctx context.Context, req *connect.Request[v1.RemoveGroupRequest]) (*connect.Response[v1.RemoveGroupResponse], error) {
	err := c.service.RemoveGroup(ctx, owner(ctx), req.Msg.Owner, req.Msg.Group)
	return connect.NewResponse(&v1.RemoveGroupResponse{}), err
}

func (c *contacts) SetLevel(ctx context.Context, req *connect.Request[v1.SetLevelRequest]) (*connect.Response[v1.SetLevelResponse], error) {
	m := req.Msg
	key := store.RelationKey{Kind: m.Key.GetKind(), Subject: m.Key.GetSubject()}
	if m.Level == "" {
		err := c.service.ClearLevel(ctx, owner(ctx), m.Owner, key)
		return connect.NewResponse(&v1.SetLevelResponse{}), err
	}
	level, ok := policy.ParseLevel(m.Level)
	if !ok {
		return nil, errs.New(errs.Invalid, "api: %q is no level; there are blocked, outside, colleague, team and close", m.Level)
	}
	err := c.service.SetLevel(ctx, owner(ctx), m.Owner, key, level)
	return connect.NewResponse(&v1.SetLevelResponse{}), err
}

// bases are the words for why a level was decided.
var bases = map[policy.Basis]string{
	policy.Self: "self", policy.PersonRule: "person", policy.GroupRule: "group", policy.DomainRule: "domain",
	policy.OwnDomain: "own domain", policy.AnybodyElse: "elsewhere", policy.UnknownPerson: "unknown",
}

var details = map[policy.Detail]string{policy.Nothing: "nothing", policy.Basic: "basic", policy.Full: "full"}

func (c *contacts) GetLevel(ctx context.Context, req *connect.Request[v1.GetLevelRequest]) (*connect.Response[v1.GetLevelResponse], error) {
	level, why, err := c.service.Explain(ctx, owner(ctx), req.Msg.Owner, req.Msg.Person)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.GetLevelResponse{Level: level.String(), Reason: why.String(), Basis: bases[why.Basis], Sight: sightOf(level.Sight())}), nil
}

func (c *contacts) ListOwners(ctx context.Context, req *connect.Request[v1.ListOwnersRequest]) (*connect.Response[v1.ListOwnersResponse], error) {
	limit := int(req.Msg.Limit)
	if limit == 0 {
		limit = contact.MaxOwners
	}
	list, more, err := c.service.Owners(ctx, owner(ctx), req.Msg.Address, req.Msg.After, limit)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.ListOwnersResponse{Owners: list, More: more}), nil
}

func contactsOf(list []store.Contact) []*v1.Contact {
	out := make([]*v1.Contact, len(list))
	for i := range list {
		c := &list[i]
		out[i] = &v1.Contact{Id: c.ID, Version: c.Version, Address: c.Address, Name: c.Name, Note: c.Note, Favourite: c.Favourite,
			Position: c.Position, Groups: c.Groups}
	}
	return out
}

func groupOf(g *store.ContactGroup) *v1.ContactGroup {
	return &v1.ContactGroup{Id: g.ID, Version: g.Version, Name: g.Name, Position: g.Position}
}

func keyOf(k store.RelationKey) *v1.RelationKey {
	return &v1.RelationKey{Kind: k.Kind, Subject: k.Subject}
}
