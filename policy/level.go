package policy

import (
	"strings"
)

// Level is what somebody is to an owner. Each level sees at least what the one below sees.
type Level uint8

// The levels, from the lowest.
const (
	Blocked   Level = iota // is told that the owner is offline, and of nothing else
	Outside                // anybody from elsewhere
	Colleague              // of the same organisation
	Team                   // works with the owner every day
	Close                  // may disturb
)

// Detail is how much of something is shown.
type Detail uint8

// The details.
const (
	Nothing Detail = iota
	Basic          // of a state: can the owner be reached; of a calendar: free or busy
	Full           // of a state: what the owner is doing; of a calendar: with subject and place
)

// Sight is what a level may see of an owner, and do.
type Sight struct {
	State     Detail
	Note      bool // what the owner wrote: "back at 14:00"
	Device    bool // on what the owner is signed in: kind, line, idle times
	Calendar  Detail
	Interrupt bool // gets through "do not disturb"
}

// levels is the table of who sees what.
var levels = [...]struct {
	name  string
	sight Sight
}{
	Blocked:   {"blocked", Sight{State: Nothing, Note: false, Device: false, Calendar: Nothing, Interrupt: false}},
	Outside:   {"outside", Sight{State: Basic, Note: false, Device: false, Calendar: Nothing, Interrupt: false}},
	Colleague: {"colleague", Sight{State: Full, Note: true, Device: true, Calendar: Basic, Interrupt: false}},
	Team:      {"team", Sight{State: Full, Note: true, Device: true, Calendar: Full, Interrupt: false}},
	Close:     {"close", Sight{State: Full, Note: true, Device: true, Calendar: Full, Interrupt: true}},
}

// LevelNames are the names of all levels, from the lowest.
func LevelNames() []string {
	names := make([]string, len(levels))
	for i := range levels {
		names[i] = levels[i].name
	}
	return names
}

// ParseLevel reads a level's name.
func ParseLevel(name string) (Level, bool) {
	for i := range levels {
		if levels[i].name == name {
			return Level(i), true
		}
	}
	return Blocked, false
}

// row is the level's place in the table; what is no level sees nothing.
func (l Level) row() Level {
	if int(l) < len(levels) {
		return l
	}
	return Blocked
}

// String is the level's name.
func (l Level) String() string { return levels[l.row()].name }

// Sight is what the level may see.
func (l Level) Sight() Sight { return levels[l.row()].sight }

// Basis is on what a decision rests.
type Basis uint8

// The bases, in the order in which they are asked; the first that has something to say decides.
const (
	Self          Basis = iota + 1 // it is the owner: Close
	PersonRule                     // a rule of the owner for this address
	GroupRule                      // a rule of the owner for a group in which the contact is: blocked wins, else the highest
	DomainRule                     // a rule of the owner for the domain
	OwnDomain                      // no rule, a domain of this server: Colleague
	AnybodyElse                    // no rule: Outside
	UnknownPerson                  // nobody knows who it is: Outside
)

// Reason says why a level was decided.
type Reason struct {
	Basis   Basis
	Subject string // the address, name of the group, or domain that decided
}

// String is the reason in words for people: "there is a rule for bob@example.com".
func (r Reason) String() string {
	switch r.Basis {
	case Self:
		return "people see all of themselves"
	case PersonRule:
		return "there is a rule for " + r.Subject
	case GroupRule:
		return "there is a rule for the group " + r.Subject
	case DomainRule:
		return "there is a rule for the domain " + r.Subject
	case OwnDomain:
		return "there is no rule, and " + r.Subject + " is a domain of this server"
	case UnknownPerson:
		return "there is no rule, and the address is not known"
	}
	return "there is no rule, and " + r.Subject + " is not a domain of this server"
}

// GroupLevel is what a group of contacts is to its owner.
type GroupLevel struct {
	Name  string
	Level Level
}

// Rules are what one owner decided. The zero value decides nothing.
type Rules struct {
	Persons map[string]Level     // by address, as a contact has it: "bob@example.com"
	Groups  map[int64]GroupLevel // by the group's id
	Domains map[string]Level     // in lower case; a domain does not speak for those below it
}

// Decide says what a watcher is to an owner, and why. Both are addresses-of-record, watcher "" when nobody knows who it is;
// own are the domains of this server, and groups the ids of the owner's groups in which the watcher is a contact. Rules may
// be nil. It does not allocate.
func Decide(own []string, rules *Rules, owner, watcher string, groups []int64) (Level, Reason) {
	if watcher == owner {
		return Close, Reason{Self, owner}
	}
	at := strings.LastIndexByte(watcher, '@')
	domain := watcher[at+1:]
	if rules != nil {
		if l, ok := rules.Persons[watcher]; ok {
			return l, Reason{PersonRule, watcher}
		}
		if g, ok := rules.group(groups); ok {
			return g.Level, Reason{GroupRule, g.Name}
		}
		if l, ok := rules.Domains[domain]; ok && at >= 0 {
			return l, Reason{DomainRule, domain}
		}
	}
	if at < 0 {
		return Outside, Reason{Basis: UnknownPerson}
	}
	for _, d := range own {
		if strings.EqualFold(d, domain) {
			return Colleague, Reason{OwnDomain, domain}
		}
	}
	return Outside, Reason{AnybodyElse, domain}
}

// group finds the rule that counts among those for several groups.
func (r *Rules) group(groups []int64) (best GroupLevel, found bool) {
	for _, id := range groups {
		g, ok := r.Groups[id]
		switch {
		case !ok:
		case g.Level == Blocked:
			return g, true
		case !found || g.Level > best.Level:
			best, found = g, true
		}
	}
	return best, found
}
