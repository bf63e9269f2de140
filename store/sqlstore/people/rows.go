package people

import (
	"database/sql"
	"time"

	"github.com/parley-im/parley/store"
)

// Columns of the tables, in the order in which rows are written and read, beginning with the owner.
const (
	ListColumns     = "owner, version, known"
	ContactColumns  = "owner, id, version, address, name, note, favourite, place, in_groups"
	GroupColumns    = "owner, id, version, name, place"
	RelationColumns = "owner, kind, subject, level, since, version"
	RemovalColumns  = "owner, version, kind, subject"

	ListColumnCount     = 3
	ContactColumnCount  = 9
	GroupColumnCount    = 5
	RelationColumnCount = 6
	RemovalColumnCount  = 4
)

// List is a row of contact_lists.
type List struct {
	Owner          string
	Version, Known int64
}

// Removal is a row of contact_removals.
type Removal struct {
	Owner         string
	Version       int64
	Kind, Subject string
}

// Owned is a row with its owner.
type Owned[T any] struct {
	Owner string
	Row   T
}

// Row is *sql.Row or *sql.Rows.
type Row interface{ Scan(dest ...any) error }

// bare leaves the owner out.
func bare[T any](scan func(Row) (Owned[T], error)) func(*sql.Rows) (T, error) {
	return func(r *sql.Rows) (T, error) {
		o, err := scan(r)
		return o.Row, err
	}
}

// ScanList reads ListColumns.
func ScanList(r Row) (l List, err error) {
	err = r.Scan(&l.Owner, &l.Version, &l.Known)
	return l, err
}

// ListArgs are the values of ListColumns.
func ListArgs(l *List) []any { return []any{l.Owner, l.Version, l.Known} }

// ScanRemoval reads RemovalColumns.
func ScanRemoval(r Row) (m Removal, err error) {
	err = r.Scan(&m.Owner, &m.Version, &m.Kind, &m.Subject)
	return m, err
}

// RemovalArgs are the values of RemovalColumns.
func RemovalArgs(m *Removal) []any { return []any{m.Owner, m.Version, m.Kind, m.Subject} }

// ScanContact reads ContactColumns.
func ScanContact(r Row) (o Owned[store.Contact], err error) {
	var favourite int64
	var groups string
	c := &o.Row
	if err = r.Scan(&o.Owner, &c.ID, &c.Version, &c.Address, &c.Name, &c.Note, &favourite, &c.Position, &groups); err != nil {
		return o, err
	}
	c.Favourite = favourite != 0
	c.Groups, err = parseGroups(groups)
	return o, err
}

// ContactArgs are the values of ContactColumns.
func ContactArgs(owner string, c *store.Contact) []any {
	favourite := int64(0)
	if c.Favourite {
		favourite = 1
	}
	return []any{owner, c.ID, c.Version, c.Address, c.Name, c.Note, favourite, c.Position, formatGroups(c.Groups)}
}

// ScanGroup reads GroupColumns.
func ScanGroup(r Row) (o Owned[store.ContactGroup], err error) {
	g := &o.Row
	err = r.Scan(&o.Owner, &g.ID, &g.Version, &g.Name, &g.Position)
	return o, err
}

// GroupArgs are the values of GroupColumns.
func GroupArgs(owner string, g *store.ContactGroup) []any {
	return []any{owner, g.ID, g.Version, g.Name, g.Position}
}

// ScanRelation reads RelationColumns.
func ScanRelation(r Row) (o Owned[store.Relation], err error) {
	var since int64
	v := &o.Row
	err = r.Scan(&o.Owner, &v.Kind, &v.Subject, &v.Level, &since, &v.Version)
	v.Since = time.UnixMicro(since).UTC()
	return o, err
}

// RelationArgs are the values of RelationColumns.
func RelationArgs(owner string, r *store.Relation) []any {
	return []any{owner, r.Kind, r.Subject, r.Level, r.Since.UnixMicro(), r.Version}
}
