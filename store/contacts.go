package store

import (
	"context"
	"time"
)

// Contact is one entry of an owner's list.
type Contact struct {
	ID        int64  // unique among what the owner has ever had; given by ChangeContacts when 0
	Version   int64  // place of its last change in the owner's sequence; given by ChangeContacts
	Address   string // "bob@example.com", or a URI of another kind: "tel:+4930123", "sips:bob@example.com"; once in a list
	Name      string // given by the owner, "" for none
	Note      string // the owner's own
	Favourite bool
	Position  int64   // order in the list, ascending
	Groups    []int64 // ids of the owner's groups it is in, ascending
}

// ContactGroup is a group of an owner's list.
type ContactGroup struct {
	ID       int64 // as that of a contact
	Version  int64
	Name     string
	Position int64
}

// What a relation is about.
const (
	RelationPerson = "person" // Subject is an address as in a contact
	RelationGroup  = "group"  // Subject is the id of one of the owner's groups, decimal
	RelationDomain = "domain" // Subject is a domain in lower case
)

// RelationKey names a relation of an owner.
type RelationKey struct{ Kind, Subject string }

// Relation says what somebody, a group or a domain is to an owner.
type Relation struct {
	RelationKey
	Level   string // one of the names of policy's levels
	Since   time.Time
	Version int64
}

// ContactList is all that an owner has, at one moment. Version is 0 while there was never anything.
type ContactList struct {
	Version   int64
	Contacts  []Contact      // in the order of Position and ID
	Groups    []ContactGroup // in the order of Position and ID
	Relations []Relation     // in the order of Kind and Subject
}

// ContactChanges is what changed after a version.
type ContactChanges struct {
	ContactList
	// All says that the list is all there is, and not only what changed: what was removed so long ago is forgotten.
	All              bool
	RemovedContacts  []int64
	RemovedGroups    []int64
	RemovedRelations []RelationKey
}

// ContactChange is a change of an owner's list. What is put replaces what has the same ID or key; IDs that are not there
// are ignored when they are removed.
type ContactChange struct {
	Put             []Contact
	PutGroups       []ContactGroup
	PutRelations    []Relation
	Remove          []int64
	RemoveGroups    []int64
	RemoveRelations []RelationKey
}

// ContactVersion is how far an owner's list is.
type ContactVersion struct {
	Owner   string
	Version int64
}

// KeptRemovals is how many removals of one owner are kept, for those who ask what changed.
const KeptRemovals = 1000

// Contacts keeps the lists of contacts, their groups and the relations of each owner. Each owner has a sequence: whatever is
// changed or removed takes the next number of it. A sequence begins at the time of day in milliseconds, so that
// it never runs again through what it was before the account was removed and made again.
type Contacts interface {
	// ContactList returns all of an owner's; an empty list for whoever has none.
	ContactList(ctx context.Context, owner string) (*ContactList, error)
	// ContactChanges returns what changed after a version: all there is for 0, and for a version that is unknown or too old.
	ContactChanges(ctx context.Context, owner string, since int64) (*ContactChanges, error)
	// ChangeContacts makes all of a change or nothing, if the owner's list is still at version base, and returns the new
	// version. It sets ID and Version of what is put. Errors: Conflict when the list is not at base or an address would
	// be in it twice, ErrNotFound when there is no such account.
	ChangeContacts(ctx context.Context, owner string, base int64, c *ContactChange) (int64, error)
	// ContactOwners returns who has an address in the list, in the order of their addresses, from the one behind after on.
	ContactOwners(ctx context.Context, address, after string, limit int) ([]string, error)
	// ContactVersions returns the versions of all lists in the order of their owners, from the one behind after on.
	ContactVersions(ctx context.Context, after string, limit int) ([]ContactVersion, error)
}
