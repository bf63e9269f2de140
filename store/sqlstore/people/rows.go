package people

import (
	"context"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
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

// owned is a row with its owner.
type owned[T any] struct {
	owner string
	row   T
}

// The tables. Each begins with the owner.
var (
	lists = table.Table[owned[List]]{
		Shape: table.Shape{Name: "contact_lists", Columns: "owner, version, known", Key: "owner"},
		Args:  func(o *owned[List]) []any { return []any{o.row.Owner, o.row.Version, o.row.Known} },
		Scan: func(r table.Row) (o owned[List], err error) {
			err = r.Scan(&o.owner, &o.row.Version, &o.row.Known)
			o.row.Owner = o.owner
			return o, err
		},
	}
	groups = table.Table[owned[store.ContactGroup]]{
		Shape: table.Shape{Name: "contact_groups", Columns: "owner, id, version, name, place", Key: "owner, id"},
		Args: func(o *owned[store.ContactGroup]) []any {
			g := &o.row
			return []any{o.owner, g.ID, g.Version, g.Name, g.Position}
		},
		Scan: func(r table.Row) (o owned[store.ContactGroup], err error) {
			g := &o.row
			err = r.Scan(&o.owner, &g.ID, &g.Version, &g.Name, &g.Position)
			return o, err
		},
	}
	contacts = table.Table[owned[store.Contact]]{
		Shape: table.Shape{Name: "contacts", Columns: "owner, id, version, address, name, note, favourite, place, in_groups", Key: "owner, id"},
		Args: func(o *owned[store.Contact]) []any {
			c := &o.row
			return []any{o.owner, c.ID, c.Version, c.Address, c.Name, c.Note, table.Number(c.Favourite), c.Position, formatGroups(c.Groups)}
		},
		Scan: func(r table.Row) (o owned[store.Contact], err error) {
			var favourite int64
			var groups string
			c := &o.row
			if err = r.Scan(&o.owner, &c.ID, &c.Version, &c.Address, &c.Name, &c.Note, &favourite, &c.Position, &groups); err != nil {
				return o, err
			}
			c.Favourite = favourite != 0
			c.Groups, err = parseGroups(groups)
			return o, err
		},
	}
	relations = table.Table[owned[store.Relation]]{
		Shape: table.Shape{Name: "relations", Columns: "owner, kind, subject, level, since, version", Key: "owner, kind, subject"},
		Args: func(o *owned[store.Relation]) []any {
			v := &o.row
			return []any{o.owner, v.Kind, v.Subject, v.Level, table.Micros(v.Since), v.Version}
		},
		Scan: func(r table.Row) (o owned[store.Relation], err error) {
			var since int64
			v := &o.row
			err = r.Scan(&o.owner, &v.Kind, &v.Subject, &v.Level, &since, &v.Version)
			v.Since = table.FromMicros(since)
			return o, err
		},
	}
	removals = table.Table[owned[Removal]]{
		Shape: table.Shape{Name: "contact_removals", Columns: "owner, version, kind, subject", Key: "owner, version"},
		Args:  func(o *owned[Removal]) []any { v := &o.row; return []any{v.Owner, v.Version, v.Kind, v.Subject} },
		Scan: func(r table.Row) (o owned[Removal], err error) {
			v := &o.row
			err = r.Scan(&v.Owner, &v.Version, &v.Kind, &v.Subject)
			o.owner = v.Owner
			return o, err
		},
	}
)

// read reads the rows of an owner with a version above since, without him.
func read[T any](ctx context.Context, q table.Querier, t *table.Table[owned[T]], doing, order, owner string, since int64) ([]T, error) {
	rows, err := q.QueryContext(ctx, t.Select()+`WHERE owner = $1 AND version > $2 ORDER BY `+order, owner, since)
	return table.Collect(rows, err, "people: "+doing, func(r table.Row) (T, error) {
		o, err := t.Scan(r)
		return o.row, err
	})
}
