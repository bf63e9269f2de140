package policy

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var own = []string{"example.com", "Example.ORG"}

// The first of person, group, domain and default decides; among groups blocked wins, else the highest.
func TestDecide(t *testing.T) {
	rules := &Rules{
		Persons: map[string]Level{"boss@example.com": Team, "pest@example.net": Blocked, "tel:+4930": Close},
		Groups:  map[int64]GroupLevel{1: {"friends", Close}, 2: {"project", Team}, 3: {"noise", Blocked}},
		Domains: map[string]Level{"partner.net": Colleague, "example.org": Outside},
	}
	for _, c := range []struct {
		watcher string
		groups  []int64
		want    Level
		basis   Basis
		says    string
	}{
		{"alice@example.com", nil, Close, Self, "themselves"},
		{"boss@example.com", []int64{1, 3}, Team, PersonRule, "a rule for boss@example.com"},
		{"pest@example.net", []int64{1}, Blocked, PersonRule, "pest@example.net"},
		{"bob@example.com", []int64{2}, Team, GroupRule, "the group project"},
		{"bob@example.com", []int64{2, 1}, Close, GroupRule, "the group friends"},
		{"bob@example.com", []int64{1, 3, 2}, Blocked, GroupRule, "the group noise"},
		{"bob@example.com", []int64{9}, Colleague, OwnDomain, "example.com is a domain of this server"},
		{"bob@partner.net", []int64{2}, Team, GroupRule, "project"},
		{"bob@partner.net", nil, Colleague, DomainRule, "the domain partner.net"},
		{"bob@sub.partner.net", nil, Outside, AnybodyElse, "sub.partner.net is not a domain"},
		{"bob@example.org", nil, Outside, DomainRule, "example.org"},
		{"tel:+4930", nil, Close, PersonRule, "tel:+4930"},
		{"tel:+4931", nil, Outside, UnknownPerson, "not known"},
		{"", nil, Outside, UnknownPerson, "not known"},
		{"partner.net", nil, Outside, UnknownPerson, "not known"}, // no address
	} {
		got, why := Decide(own, rules, "alice@example.com", c.watcher, c.groups)
		if got != c.want || why.Basis != c.basis || !strings.Contains(why.String(), c.says) {
			t.Errorf("%s in %v: %v because %v, want %v because of %q", c.watcher, c.groups, got, why, c.want, c.says)
		}
	}
	for watcher, want := range map[string]Level{"bob@example.com": Colleague, "bob@example.org": Colleague, "bob@elsewhere.net": Outside} {
		if got, why := Decide(own, nil, "alice@example.com", watcher, []int64{1}); got != want {
			t.Errorf("%s without rules: %v because %v, want %v", watcher, got, why, want)
		}
	}
}

// Each level sees what the one below sees, and only the highest may interrupt; what is no level sees nothing more.
func TestLevels(t *testing.T) {
	at := func(b bool) int { return map[bool]int{true: 1}[b] }
	for l := Blocked; l < Close; l++ {
		a, b := l.Sight(), (l + 1).Sight()
		if a == b || a.State > b.State || a.Calendar > b.Calendar || at(a.Note) > at(b.Note) || at(a.Device) > at(b.Device) || at(a.Interrupt) > at(b.Interrupt) {
			t.Errorf("%v sees %+v, %v sees %+v", l, a, l+1, b)
		}
		if l.Sight().Interrupt {
			t.Errorf("%v may interrupt", l)
		}
	}
	if Blocked.Sight() != (Sight{}) || !Close.Sight().Interrupt {
		t.Error("the ends of the table are wrong")
	}
	if !slices.Equal(LevelNames(), []string{"blocked", "outside", "colleague", "team", "close"}) {
		t.Error(LevelNames())
	}
	for i, name := range LevelNames() {
		if l, ok := ParseLevel(name); !ok || l != Level(i) || l.String() != name {
			t.Errorf("%s: %v, %v", name, l, ok)
		}
	}
	if l, ok := ParseLevel("Team"); ok || l != Blocked {
		t.Error("a name in another case was taken")
	}
	if Level(200).String() != "blocked" || Level(200).Sight() != (Sight{}) {
		t.Error("what is no level sees something")
	}
}

// The order of groups never matters, and whoever is blocked by one of them is blocked.
func TestDecideGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := &Rules{Groups: map[int64]GroupLevel{}}
		groups := rapid.SliceOfNDistinct(rapid.Int64Range(1, 12), 1, 8, rapid.ID[int64]).Draw(t, "groups")
		blocked, highest, any := false, Blocked, false
		for _, g := range groups {
			if rapid.Bool().Draw(t, "rule") {
				l := Level(rapid.IntRange(0, 4).Draw(t, "level"))
				rules.Groups[g] = GroupLevel{"g", l}
				blocked, highest, any = blocked || l == Blocked, max(highest, l), true
			}
		}
		want := Colleague
		if any {
			want = highest
		}
		if blocked {
			want = Blocked
		}
		if got, _ := Decide(own, rules, "a@example.com", "b@example.com", rapid.Permutation(groups).Draw(t, "order")); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	for name, rules := range map[string]*Rules{
		"none": nil,
		"some": {Persons: map[string]Level{"x@example.com": Team}, Groups: map[int64]GroupLevel{1: {"g", Team}}, Domains: map[string]Level{"example.net": Team}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			groups := []int64{2, 3}
			for b.Loop() {
				if l, _ := Decide(own, rules, "alice@example.com", "bob@example.com", groups); l != Colleague {
					b.Fatal(l)
				}
			}
		})
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Decide(own, nil, "alice@example.com", "bob@example.org", nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
