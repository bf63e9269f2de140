package people

import "github.com/parley-im/parley/store"

// Line is a row of one of the tables in a backup; one field is set beside the owner.
type Line struct {
	Owner    string              `json:"owner"`
	List     *List               `json:"list,omitempty"`
	Group    *store.ContactGroup `json:"group,omitempty"`
	Entry    *store.Contact      `json:"entry,omitempty"`
	Relation *store.Relation     `json:"relation,omitempty"`
	Removal  *Removal            `json:"removal,omitempty"`
}

// Table is a table of contacts as a backup reads and writes it.
type Table struct {
	Name, Columns string
	Count         int // of columns
	Order         string
	Scan          func(Row) (Line, error)
}

// Tables are the tables of contacts; each has an owner.
var Tables = [...]Table{
	{"contact_lists", ListColumns, ListColumnCount, "owner", func(r Row) (Line, error) {
		v, err := ScanList(r)
		return Line{Owner: v.Owner, List: &v}, err
	}},
	{"contact_groups", GroupColumns, GroupColumnCount, "owner, id", func(r Row) (Line, error) {
		v, err := ScanGroup(r)
		return Line{Owner: v.Owner, Group: &v.Row}, err
	}},
	{"contacts", ContactColumns, ContactColumnCount, "owner, id", func(r Row) (Line, error) {
		v, err := ScanContact(r)
		return Line{Owner: v.Owner, Entry: &v.Row}, err
	}},
	{"relations", RelationColumns, RelationColumnCount, "owner, kind, subject", func(r Row) (Line, error) {
		v, err := ScanRelation(r)
		return Line{Owner: v.Owner, Relation: &v.Row}, err
	}},
	{"contact_removals", RemovalColumns, RemovalColumnCount, "owner, version", func(r Row) (Line, error) {
		v, err := ScanRemoval(r)
		return Line{Owner: v.Owner, Removal: &v}, err
	}},
}

// Values are the place in Tables of a line and the values of its row; none for a line that says nothing.
func (l *Line) Values() (table int, args []any) {
	switch {
	case l.List != nil:
		return 0, ListArgs(l.List)
	case l.Group != nil:
		return 1, GroupArgs(l.Owner, l.Group)
	case l.Entry != nil:
		return 2, ContactArgs(l.Owner, l.Entry)
	case l.Relation != nil:
		return 3, RelationArgs(l.Owner, l.Relation)
	case l.Removal != nil:
		return 4, RemovalArgs(l.Removal)
	}
	return 0, nil
}
