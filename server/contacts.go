package server

import (
	"github.com/parley-im/parley/bus"
	"github.com/parley-im/parley/service/contact"
)

// buildContacts makes the lists of contacts, and what keeps them in step with those of other nodes.
func (s *Server) buildContacts() error {
	s.contacts = contact.New(contact.Options{
		Store: s.store, Domains: s.cfg.Domains, Changed: s.contactsChanged, Log: s.log, Registerer: s.registry,
	})
	_, err := bus.Subscribe(s.bus, func(e bus.ContactsChanged) {
		if e.Node != s.node {
			s.contacts.Outdated(e.Owner, e.Version)
		}
	})
	return err
}

// contactsChanged is told of a change that was made here.
func (s *Server) contactsChanged(c contact.Change) {
	bus.Publish(s.bus, bus.ContactsChanged{Owner: c.Owner, Version: c.Version, Node: s.node})
	if c.Levels {
		bus.Publish(s.bus, bus.LevelsChanged{Owner: c.Owner, Version: c.Version, People: c.People, Node: s.node})
	}
}
