package server

import (
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/bus"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/contact"
	"github.com/parley-im/parley/store"
)

// hear subscribes to an event for the time of the test.
func hear[T bus.Event](t *testing.T, b *bus.Bus) <-chan T {
	t.Helper()
	c := make(chan T, 16)
	cancel, err := bus.Subscribe(b, func(e T) { c <- e })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return c
}

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case e := <-c:
		return e
	case <-time.After(patience):
		t.Fatal("no event")
		panic("unreachable")
	}
}

// A change of a list is told on the bus; one of another node is believed here, and so is the end of an account.
func TestContactsOnTheBus(t *testing.T) {
	r := start(t)
	contacts, levels := hear[bus.ContactsChanged](t, r.bus), hear[bus.LevelsChanged](t, r.bus)
	by := contact.Actor{Name: "alice@example.com", Via: "api"}
	if _, err := r.contacts.Add(r.ctx, by, by.Name, []contact.NewContact{{Address: "bob@example.com"}}); err != nil {
		t.Fatal(err)
	}
	first := next(t, contacts)
	if first.Owner != by.Name || first.Version == 0 || first.Node != r.node {
		t.Errorf("heard %+v", first)
	}
	if err := r.contacts.SetLevel(r.ctx, by, by.Name, store.RelationKey{Kind: store.RelationPerson, Subject: "bob@example.com"}, policy.Close); err != nil {
		t.Fatal(err)
	}
	second, l := next(t, contacts), next(t, levels)
	if second.Version <= first.Version || l.Version != second.Version || len(l.People) != 1 || l.People[0] != "bob@example.com" || l.Owner != by.Name {
		t.Errorf("heard %+v and %+v", second, l)
	}

	// Another node has changed the list: it is in the store, and the event comes.
	if list, err := r.contacts.List(r.ctx, by.Name); err != nil || list.Len() != 1 {
		t.Fatal(list, err)
	}
	version, err := r.store.ChangeContacts(r.ctx, by.Name, second.Version, &store.ContactChange{Put: []store.Contact{{Address: "x@example.net"}}})
	if err != nil {
		t.Fatal(err)
	}
	bus.Publish(r.bus, bus.ContactsChanged{Owner: by.Name, Version: version, Node: "another"})
	for deadline := time.Now().Add(patience); ; {
		next(t, contacts) // ours at the latest, when the server has heard of it or is about to
		list, err := r.contacts.List(r.ctx, by.Name)
		if err != nil {
			t.Fatal(err)
		}
		if list.Len() == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the change of another node is not seen")
		}
		bus.Publish(r.bus, bus.ContactsChanged{Owner: "nobody", Node: "another"})
	}
	if _, err := r.api.Users.RemoveUser(r.ctx, connect.NewRequest(&v1.RemoveUserRequest{Address: by.Name})); err != nil {
		t.Fatal(err)
	}
	if list, err := r.contacts.List(r.ctx, by.Name); err != nil || list.Len() != 0 {
		t.Errorf("the list of an account that is gone: %v, %v", list, err)
	}
}
