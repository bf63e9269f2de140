package sqlstore

import (
	"context"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/people"
)

// People finds people in the directory.
func (s *Store) People() store.People { return s.state.people() }

// Contacts are the lists of contacts.
func (s *Store) Contacts() store.Contacts { return s.state.people() }

func (s *state) people() people.Store {
	return people.Store{DB: people.DB{Read: s.read, Snapshot: s.d.snapshot, Change: s.change, Values: s.d.values, Duplicate: duplicate}}
}

// backupContact is a line about lists of contacts; one field is set beside the owner.
type backupContact struct {
	Owner    string              `json:"owner"`
	List     *people.List        `json:"list,omitempty"`
	Group    *store.ContactGroup `json:"group,omitempty"`
	Entry    *store.Contact      `json:"entry,omitempty"`
	Relation *store.Relation     `json:"relation,omitempty"`
	Removal  *people.Removal     `json:"removal,omitempty"`
}

func backupList(r scanner) (line, error) {
	v, err := people.ScanList(r)
	return line{Contact: &backupContact{Owner: v.Owner, List: &v}}, err
}

func backupGroup(r scanner) (line, error) {
	v, err := people.ScanGroup(r)
	return line{Contact: &backupContact{Owner: v.Owner, Group: &v.Row}}, err
}

func backupEntry(r scanner) (line, error) {
	v, err := people.ScanContact(r)
	return line{Contact: &backupContact{Owner: v.Owner, Entry: &v.Row}}, err
}

func backupRelation(r scanner) (line, error) {
	v, err := people.ScanRelation(r)
	return line{Contact: &backupContact{Owner: v.Owner, Relation: &v.Row}}, err
}

func backupRemoval(r scanner) (line, error) {
	v, err := people.ScanRemoval(r)
	return line{Contact: &backupContact{Owner: v.Owner, Removal: &v}}, err
}

// takeContact puts a line into its table's batch; the numbers are places in restorer.batches.
func (r *restorer) takeContact(ctx context.Context, c *backupContact) error {
	switch {
	case c.List != nil:
		return r.add(ctx, 6, people.ListArgs(c.List)...)
	case c.Group != nil:
		return r.add(ctx, 7, people.GroupArgs(c.Owner, c.Group)...)
	case c.Entry != nil:
		return r.add(ctx, 8, people.ContactArgs(c.Owner, c.Entry)...)
	case c.Relation != nil:
		return r.add(ctx, 9, people.RelationArgs(c.Owner, c.Relation)...)
	case c.Removal != nil:
		return r.add(ctx, 10, people.RemovalArgs(c.Removal)...)
	}
	return errs.New(errs.Invalid, "sqlstore: line %d of the backup says nothing of %s", r.lines+1, c.Owner)
}
