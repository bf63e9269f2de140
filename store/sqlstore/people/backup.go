package people

import (
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Line is a row of one of the tables in a backup; one field is set beside the owner.
type Line struct {
	Owner    string              `json:"owner"`
	List     *List               `json:"list,omitempty"`
	Group    *store.ContactGroup `json:"group,omitempty"`
	Entry    *store.Contact      `json:"entry,omitempty"`
	Relation *store.Relation     `json:"relation,omitempty"`
	Removal  *Removal            `json:"removal,omitempty"`
}

// Tables are the tables of contacts as backups have them; each has an owner.
var Tables = [...]table.Table[Line]{
	lined(&lists, func(l *Line) **List { return &l.List }),
	lined(&groups, func(l *Line) **store.ContactGroup { return &l.Group }),
	lined(&contacts, func(l *Line) **store.Contact { return &l.Entry }),
	lined(&relations, func(l *Line) **store.Relation { return &l.Relation }),
	lined(&removals, func(l *Line) **Removal { return &l.Removal }),
}

// lined is table.Of for rows with an owner.
func lined[T any](t *table.Table[owned[T]], field func(*Line) **T) table.Table[Line] {
	return table.Table[Line]{Shape: t.Shape,
		Args: func(l *Line) []any {
			if v := *field(l); v != nil {
				return t.Args(&owned[T]{l.Owner, *v})
			}
			return nil
		},
		Scan: func(r table.Row) (Line, error) {
			o, err := t.Scan(r)
			l := Line{Owner: o.owner}
			*field(&l) = &o.row
			return l, err
		}}
}
