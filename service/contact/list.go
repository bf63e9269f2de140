package contact

import (
	"slices"
	"strconv"
	"strings"

	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/store"
)

// List is the list of one owner, at one moment. It never changes. Its texts lie in one string and its entries hold no
// pointers, because there are very many of them.
type List struct {
	version   int64
	text      string   // address, name and note of each entry, one behind the other
	entries   []entry  // in the owner's order
	byAddress []uint16 // places in entries, in the order of their addresses
	members   []int64  // ids of the groups of each entry, one behind the other
	groups    []store.ContactGroup
	relations []store.Relation
	rules     *policy.Rules // nil for none
}

// entry is a contact.
type entry struct {
	id, version, position int64
	at, members           uint32 // in text and members
	address, name, note   uint16 // lengths
	groups                uint8
	favourite             bool
}

// newList packs a list.
func newList(l *store.ContactList) *List {
	if len(l.Contacts)+len(l.Groups)+len(l.Relations) == 0 {
		return &List{version: l.Version}
	}
	size, members := 0, 0
	for i := range l.Contacts {
		c := &l.Contacts[i]
		size += len(c.Address) + len(c.Name) + len(c.Note)
		members += len(c.Groups)
	}
	p := &List{version: l.Version, groups: slices.Clip(l.Groups), relations: slices.Clip(l.Relations), rules: rulesOf(l)}
	if n := len(l.Contacts); n > 0 {
		p.entries, p.byAddress = make([]entry, n), make([]uint16, n)
	}
	if members > 0 {
		p.members = make([]int64, 0, members)
	}
	var text strings.Builder
	text.Grow(size)
	for i := range l.Contacts {
		c := &l.Contacts[i]
		p.entries[i] = entry{id: c.ID, version: c.Version, position: c.Position, at: uint32(text.Len()), members: uint32(len(p.members)),
			address: uint16(len(c.Address)), name: uint16(len(c.Name)), note: uint16(len(c.Note)), groups: uint8(len(c.Groups)), favourite: c.Favourite}
		p.byAddress[i] = uint16(i)
		p.members = append(p.members, c.Groups...)
		text.WriteString(c.Address)
		text.WriteString(c.Name)
		text.WriteString(c.Note)
	}
	p.text = text.String()
	slices.SortFunc(p.byAddress, func(a, b uint16) int { return strings.Compare(p.aor(int(a)), p.aor(int(b))) })
	return p
}

// rulesOf makes the rules of policy, nil for none.
func rulesOf(l *store.ContactList) *policy.Rules {
	if len(l.Relations) == 0 {
		return nil
	}
	r := &policy.Rules{}
	for _, v := range l.Relations {
		level, _ := policy.ParseLevel(v.Level) // of what is not known, as after a downgrade, Blocked
		switch v.Kind {
		case store.RelationPerson:
			put(&r.Persons, v.Subject, level)
		case store.RelationDomain:
			put(&r.Domains, v.Subject, level)
		case store.RelationGroup:
			id, _ := strconv.ParseInt(v.Subject, 10, 64) // written by us
			if g, ok := findGroup(l.Groups, id); ok {
				put(&r.Groups, id, policy.GroupLevel{Name: g.Name, Level: level})
			}
		}
	}
	return r
}

func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

func findGroup(groups []store.ContactGroup, id int64) (store.ContactGroup, bool) {
	i := slices.IndexFunc(groups, func(g store.ContactGroup) bool { return g.ID == id })
	if i < 0 {
		return store.ContactGroup{}, false
	}
	return groups[i], true
}

// Version is the number of the last change, 0 when there never was one.
func (l *List) Version() int64 { return l.version }

// Len is how many contacts there are.
func (l *List) Len() int { return len(l.entries) }

func (l *List) address(i int) string {
	e := &l.entries[i]
	return l.text[e.at : e.at+uint32(e.address)]
}

// aor is the address without "sips:", which says how to reach somebody and not who it is.
func (l *List) aor(i int) string { return strings.TrimPrefix(l.address(i), secure) }

const secure = "sips:"

// Address is the address of contact i.
func (l *List) Address(i int) string { return l.address(i) }

// At is contact i, in the owner's order. Its groups must not be changed.
func (l *List) At(i int) store.Contact {
	e := &l.entries[i]
	name := e.at + uint32(e.address)
	note := name + uint32(e.name)
	return store.Contact{
		ID: e.id, Version: e.version, Position: e.position, Address: l.address(i), Name: l.text[name:note], Note: l.text[note : note+uint32(e.note)],
		Favourite: e.favourite, Groups: l.groupsOf(i),
	}
}

func (l *List) groupsOf(i int) []int64 {
	e := &l.entries[i]
	if e.groups == 0 {
		return nil
	}
	end := e.members + uint32(e.groups)
	return l.members[e.members:end:end]
}

// find is the place of an address, -1 when it is not in the list.
func (l *List) find(address string) int {
	i, ok := l.search(strings.TrimPrefix(address, secure))
	if !ok {
		return -1
	}
	return int(l.byAddress[i])
}

// search finds the first place in byAddress of somebody.
func (l *List) search(aor string) (int, bool) {
	return slices.BinarySearchFunc(l.byAddress, aor, func(i uint16, aor string) int { return strings.Compare(l.aor(int(i)), aor) })
}

// groupsAt are the ids of the groups that somebody is in. Who is in the list with "sips:" and without is in those of both:
// there is one person whom the owner may have blocked.
func (l *List) groupsAt(aor string) []int64 {
	i, ok := l.search(aor)
	if !ok {
		return nil
	}
	groups := l.groupsOf(int(l.byAddress[i]))
	for _, k := range l.byAddress[i+1:] {
		if l.aor(int(k)) != aor {
			break
		}
		groups = slices.Concat(groups, l.groupsOf(int(k)))
	}
	return groups
}

// Find returns the contact with an address; whether it is kept with "sips:" does not count.
func (l *List) Find(address string) (store.Contact, bool) {
	i := l.find(address)
	if i < 0 {
		return store.Contact{}, false
	}
	return l.At(i), true
}

// Groups are the groups in the owner's order; they must not be changed.
func (l *List) Groups() []store.ContactGroup { return l.groups }

// Relations are what was decided about people, groups and domains; they must not be changed.
func (l *List) Relations() []store.Relation { return l.relations }

// Level says what watcher is to the owner of the list, and why; own are the domains of this server. It does not allocate.
func (l *List) Level(own []string, owner, watcher string) (policy.Level, policy.Reason) {
	var groups []int64
	if l.rules != nil && l.rules.Groups != nil {
		groups = l.groupsAt(watcher)
	}
	return policy.Decide(own, l.rules, owner, watcher, groups)
}

// size is what the list takes in memory, in bytes, about.
func (l *List) size() int {
	const entrySize, groupSize, relationSize = 48, 64, 200
	n := 250 + len(l.text) + len(l.entries)*(entrySize+2) + 8*len(l.members)
	for i := range l.groups {
		n += groupSize + len(l.groups[i].Name)
	}
	for i := range l.relations {
		n += relationSize + len(l.relations[i].Subject)
	}
	return n
}
