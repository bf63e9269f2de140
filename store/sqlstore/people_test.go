package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"pgregory.net/rapid"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// oldState makes the state as a program of an earlier version had it.
func oldState(t *testing.T, o Options, version int64, fill ...string) {
	t.Helper()
	oldPart(t, o, "state", version, fill...)
}

// oldPart makes a part of the schema as a program of an earlier version had it.
func oldPart(t *testing.T, o Options, part string, version int64, fill ...string) {
	t.Helper()
	d, path := sqliteDialect, filepath.Join(o.Dir, part+".db")
	db := sqlitePool(path, 1, "")
	dialect := database.DialectSQLite3
	if o.URL != "" {
		db.Close()
		cfg, err := postgresConfig(o.URL)
		if err != nil {
			t.Fatal(err)
		}
		d, dialect, db = postgresDialect, database.DialectPostgres, postgresPool(cfg, 1, time.Minute)
	}
	defer db.Close()
	steps, _, err := migrations(d, part)
	if err != nil {
		t.Fatal(err)
	}
	versions, err := database.NewStore(dialect, "schema_"+part)
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider("", db, nil, goose.WithStore(versions), goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	for _, text := range fill {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
}

// found are the addresses that a search finds, over all its pages.
func found(t testing.TB, p store.People, words string, limit int) (list []string) {
	t.Helper()
	f := store.PeopleFilter{Words: words, Limit: limit}
	for {
		page, err := p.FindPeople(context.Background(), f)
		if err != nil {
			t.Fatalf("%q: %v", words, err)
		}
		if len(page.People) > limit || page.Next != "" && len(page.People) != limit {
			t.Fatalf("%q: a page of %d has %d, next %q", words, limit, len(page.People), page.Next)
		}
		for _, u := range page.People {
			list = append(list, u.AOR)
		}
		if f.After = page.Next; f.After == "" {
			return list
		}
	}
}

// TestOldDataFolder: accounts that a program wrote before there was a directory are found, and may have lists.
func TestOldDataFolder(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		var rows []string
		for i := range 2500 { // more than are indexed at a time
			rows = append(rows, fmt.Sprintf("('user%d@example.com', 'Person %d', '', 0, 0, 1, 1)", i, i))
		}
		rows = append(rows, "('gone@example.com', 'Person Gone', '', 0, 1, 1, 1)")
		oldState(t, o, 1, `INSERT INTO users (aor, name, password, admin, disabled, created, changed) VALUES `+strings.Join(rows, ","))
		r := open(t, o)
		if got := found(t, r.People(), "person 2499", 10); !slices.Equal(got, []string{"user2499@example.com"}) {
			t.Errorf("found %v", got)
		}
		if got := found(t, r.People(), "pers", 100); len(got) != 2500 || slices.Contains(got, "gone@example.com") {
			t.Errorf("found %d", len(got))
		}
		u, err := r.Users().User(t.Context(), "user7@example.com")
		if err != nil || u.Name != "Person 7" || u.Person != (store.Person{}) {
			t.Fatal(u, err)
		}
		if v, err := r.Contacts().ChangeContacts(t.Context(), u.AOR, 0, &store.ContactChange{Put: []store.Contact{{Address: "user8@example.com"}}}); err != nil || v == 0 {
			t.Error(v, err)
		}
		r = r.reopen(t, o) // which finds that the words are there
		if got := found(t, r.People(), "user8@example", 10); !slices.Equal(got, []string{"user8@example.com"}) {
			t.Errorf("found %v", got)
		}
	})
}

func TestFindPeople(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		users, ctx := r.Users(), t.Context()
		list := []store.User{
			{AOR: "j%C3%BCrgen.m%C3%BCller@example.com", Name: "Jürgen Müller", Person: store.Person{Title: "Head of Sales", Department: "Sales Europe", Office: "B 12", Phone: "+49 30 1", Mobile: "2", Email: "j@example.com"}},
			{AOR: "anna@example.com", Name: "Anna Ånström", Person: store.Person{Department: "Research & Development"}},
			{AOR: "ann@example.com", Name: "Ann Muller-Schmidt", Person: store.Person{Title: "Engineer", Department: "Research"}},
			{AOR: "annabel_lee@example.org", Name: "李 小龍", Person: store.Person{Title: "Sales"}},
			{AOR: "off@example.com", Name: "Anna Off", Disabled: true},
		}
		if err := users.AddUsers(ctx, list); err != nil {
			t.Fatal(err)
		}
		jürgen, anna, ann, lee := list[0].AOR, list[1].AOR, list[2].AOR, list[3].AOR
		for words, want := range map[string][]string{
			"ann":                     {ann, anna, lee},
			"ANNA":                    {anna, lee},
			"muller":                  {ann, jürgen},
			"MÜLLER sales":            {jürgen},
			"sal":                     {lee, jürgen},
			"europe sales sal":        {jürgen},
			"head of":                 {jürgen},
			"research":                {ann, anna},
			"research eng":            {ann},
			"anstrom":                 {anna},
			"jürgen.müller@EXAMPLE":   {jürgen},
			"sip:anna@example.com":    {anna},
			"annabel.lee@example.org": {lee},
			"小":                       {lee},
			"annabel lee":             {lee},
			"example":                 nil, // a domain alone is no word
			"nobody":                  nil,
			"ann nobody":              nil,
			"&!":                      nil,
			"":                        nil,
			"12":                      nil, // an office
			"' OR 1=1 --":             nil,
			"%":                       nil,
		} {
			for _, limit := range []int{1, 2, 50} {
				if got := found(t, r.People(), words, limit); !slices.Equal(got, want) {
					t.Errorf("%q by %d: %q, want %q", words, limit, got, want)
				}
			}
		}
		page, err := r.People().FindPeople(ctx, store.PeopleFilter{Words: "jurgen", Limit: 1})
		if err != nil || len(page.People) != 1 || page.People[0].Person != list[0].Person || page.People[0].Name != list[0].Name {
			t.Errorf("%+v, %v", page, err)
		}
		for _, after := range []string{"!", "eA", "enp6IGE", "YW5uIP8", "YW5uIGEA"} {
			if _, err := r.People().FindPeople(ctx, store.PeopleFilter{Words: "ann", After: after, Limit: 1}); !errors.Is(err, errs.Invalid) {
				t.Errorf("after %q: %v", after, err)
			}
		}
		// What is changed, closed, opened or removed is found as it is now.
		u := list[1]
		for _, step := range []struct {
			change func() error
			words  string
			want   []string
		}{
			{func() error { u.Name = "Hanna"; return users.UpdateUser(ctx, u) }, "anstrom", nil},
			{func() error { return nil }, "hanna", []string{anna}},
			{func() error { u.Disabled = true; return users.UpdateUser(ctx, u) }, "hanna", nil},
			{func() error { u.Disabled = false; return users.UpdateUser(ctx, u) }, "hanna", []string{anna}},
			{func() error { return users.RemoveUser(ctx, anna) }, "hanna", nil},
		} {
			if err := step.change(); err != nil {
				t.Fatal(err)
			}
			if got := found(t, r.People(), step.words, 50); !slices.Equal(got, step.want) {
				t.Errorf("%q: %q, want %q", step.words, got, step.want)
			}
		}
	})
}

// model is what lists should be: by owner, all that is there.
type model struct {
	contacts  map[int64]store.Contact
	groups    map[int64]store.ContactGroup
	relations map[store.RelationKey]store.Relation
	version   int64
}

// TestContactsModel compares lists with maps over any sequence of changes; a follower that asks only what changed, now and
// then, must know the same.
func TestContactsModel(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		run := 0
		rapid.Check(t, func(rt *rapid.T) {
			run++
			owner := fmt.Sprintf("user%d@x", run)
			if err := r.Users().AddUsers(t.Context(), []store.User{{AOR: owner}}); err != nil {
				rt.Fatal(err)
			}
			m, follower := newModel(), newModel()
			for range rapid.IntRange(1, 6).Draw(rt, "steps") {
				m.step(rt, t, r, owner)
				if rapid.Bool().Draw(rt, "follow") {
					c, err := r.Contacts().ContactChanges(t.Context(), owner, follower.version)
					if err != nil {
						rt.Fatal(err)
					}
					follower.apply(c)
					if diff := cmp.Diff(m, follower, cmp.AllowUnexported(model{}), cmpopts.EquateEmpty()); diff != "" {
						rt.Fatal("the follower: ", diff)
					}
				}
			}
			list, err := r.Contacts().ContactList(t.Context(), owner)
			if err != nil {
				rt.Fatal(err)
			}
			got := newModel()
			got.apply(&store.ContactChanges{ContactList: *list, All: true})
			if diff := cmp.Diff(m, got, cmp.AllowUnexported(model{}), cmpopts.EquateEmpty()); diff != "" {
				rt.Fatal(diff)
			}
			if !slices.IsSortedFunc(list.Contacts, func(a, b store.Contact) int { return int(a.Position - b.Position) }) {
				rt.Fatal("not in order")
			}
		})
	})
}

func newModel() *model {
	return &model{contacts: map[int64]store.Contact{}, groups: map[int64]store.ContactGroup{}, relations: map[store.RelationKey]store.Relation{}}
}

// apply is what a client does with changes.
func (m *model) apply(c *store.ContactChanges) {
	if c.All {
		*m = *newModel()
	}
	m.version = c.Version
	for _, id := range c.RemovedContacts {
		delete(m.contacts, id)
	}
	for _, id := range c.RemovedGroups {
		delete(m.groups, id)
	}
	for _, k := range c.RemovedRelations {
		delete(m.relations, k)
	}
	m.put(c.Contacts, c.Groups, c.Relations)
}

func (m *model) put(contacts []store.Contact, groups []store.ContactGroup, relations []store.Relation) {
	for _, p := range contacts {
		m.contacts[p.ID] = p
	}
	for _, g := range groups {
		m.groups[g.ID] = g
	}
	for _, v := range relations {
		m.relations[v.RelationKey] = v
	}
}

// step draws one change, makes it in the store and in the model.
func (m *model) step(rt *rapid.T, t *testing.T, r *running, owner string) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	c := &store.ContactChange{}
	used := map[string]bool{}
	for _, p := range m.contacts {
		used[p.Address] = true
	}
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, 6), 0, 3, rapid.ID[int]).Draw(rt, "contacts") {
		p := store.Contact{Address: fmt.Sprintf("p%d@x", n), Name: rapid.SampledFrom([]string{"", "Ä", "o'b"}).Draw(rt, "name"),
			Favourite: rapid.Bool().Draw(rt, "favourite"), Position: rapid.Int64Range(-3, 3).Draw(rt, "position"),
			Groups: rapid.SampledFrom([][]int64{nil, {1}, {1, 77}}).Draw(rt, "groups")}
		for id, old := range m.contacts {
			if old.Address == p.Address {
				p.ID = id
			}
		}
		c.Put = append(c.Put, p)
	}
	for _, id := range slices.Sorted(keys(m.contacts)) {
		if !slices.ContainsFunc(c.Put, func(p store.Contact) bool { return p.ID == id }) && rapid.Bool().Draw(rt, "remove") {
			c.Remove = append(c.Remove, id)
		}
	}
	for range rapid.IntRange(0, 2).Draw(rt, "groups") {
		c.PutGroups = append(c.PutGroups, store.ContactGroup{Name: "g"})
	}
	for _, id := range slices.Sorted(keys(m.groups)) {
		if rapid.Bool().Draw(rt, "remove group") {
			c.RemoveGroups = append(c.RemoveGroups, id)
		}
	}
	for _, kind := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{store.RelationPerson, store.RelationDomain}), 0, 2, rapid.ID[string]).Draw(rt, "relations") {
		k := store.RelationKey{Kind: kind, Subject: "x"}
		if rapid.Bool().Draw(rt, "remove relation") {
			c.RemoveRelations = append(c.RemoveRelations, k)
		} else {
			c.PutRelations = append(c.PutRelations, store.Relation{RelationKey: k, Level: "team", Since: now})
		}
	}
	version, err := r.Contacts().ChangeContacts(t.Context(), owner, m.version, c)
	if err != nil || version < m.version {
		rt.Fatal(version, err)
	}
	m.version = version
	for _, id := range c.Remove {
		delete(m.contacts, id)
	}
	for _, id := range c.RemoveGroups {
		delete(m.groups, id)
	}
	for _, k := range c.RemoveRelations {
		delete(m.relations, k)
	}
	m.put(c.Put, c.PutGroups, c.PutRelations)
}

func keys[V any](m map[int64]V) func(func(int64) bool) {
	return func(yield func(int64) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestChangeContacts(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx, lists := t.Context(), r.Contacts()
		if err := r.Users().AddUsers(ctx, []store.User{{AOR: "alice@x"}, {AOR: "bob@x"}}); err != nil {
			t.Fatal(err)
		}
		put := func(addresses ...string) *store.ContactChange {
			c := &store.ContactChange{}
			for _, a := range addresses {
				c.Put = append(c.Put, store.Contact{Address: a})
			}
			return c
		}
		if _, err := lists.ChangeContacts(ctx, "nobody@x", 0, put("bob@x")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("for nobody: %v", err)
		}
		first := put("bob@x", "carol@x")
		v, err := lists.ChangeContacts(ctx, "alice@x", 0, first)
		if err != nil || first.Put[0].ID == 0 || first.Put[1].Version != v || first.Put[0].Version != v-1 {
			t.Fatal(v, err, first)
		}
		if same, err := lists.ChangeContacts(ctx, "alice@x", v, &store.ContactChange{}); same != v || err != nil {
			t.Error(same, err)
		}
		for _, base := range []int64{0, v - 1, v + 1} {
			if _, err := lists.ChangeContacts(ctx, "alice@x", base, put("dave@x")); !errors.Is(err, errs.Conflict) {
				t.Errorf("from %d: %v", base, err)
			}
		}
		if _, err := lists.ChangeContacts(ctx, "alice@x", v, put("dave@x", "bob@x")); !errors.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "twice") {
			t.Errorf("an address that is there: %v", err)
		}
		list, err := lists.ContactList(ctx, "alice@x")
		if err != nil || len(list.Contacts) != 2 || list.Version != v {
			t.Errorf("what was refused left %+v, %v", list, err)
		}
		if _, err := lists.ChangeContacts(ctx, "bob@x", 0, put("carol@x", "alice@x")); err != nil {
			t.Fatal(err)
		}
		for after, want := range map[string][]string{"": {"alice@x", "bob@x"}, "alice@x": {"bob@x"}, "bob@x": nil} {
			if got, err := lists.ContactOwners(ctx, "carol@x", after, 10); !slices.Equal(got, want) || err != nil {
				t.Errorf("after %q: %v, %v", after, got, err)
			}
			if got, err := lists.ContactVersions(ctx, after, 10); len(got) != len(want) || err != nil {
				t.Errorf("versions after %q: %v, %v", after, got, err)
			}
		}

		// An account that is removed takes its own list with it; others keep it.
		if err := r.Users().RemoveUser(ctx, "alice@x"); err != nil {
			t.Fatal(err)
		}
		if got, err := lists.ContactOwners(ctx, "carol@x", "", 10); !slices.Equal(got, []string{"bob@x"}) || err != nil {
			t.Error(got, err)
		}
		if got, err := lists.ContactOwners(ctx, "alice@x", "", 10); !slices.Equal(got, []string{"bob@x"}) || err != nil {
			t.Error(got, err)
		}
		// Made again, its sequence goes on above what it was, so nobody who followed takes the new list for the old one.
		for time.Now().UnixMilli() <= v { // its sequence begins with the clock, and the one of before is a few milliseconds ahead
		}
		if err := r.Users().AddUsers(ctx, []store.User{{AOR: "alice@x"}}); err != nil {
			t.Fatal(err)
		}
		again, err := lists.ChangeContacts(ctx, "alice@x", 0, put("dave@x"))
		c, err2 := lists.ContactChanges(ctx, "alice@x", v)
		if err != nil || err2 != nil || again <= v || !c.All || len(c.Contacts) != 1 {
			t.Errorf("%d after %d: %+v, %v, %v", again, v, c, err, err2)
		}
	})
}

// TestRemovalsAreForgotten: only so many removals are kept, and whoever asks from before gets everything.
func TestRemovalsAreForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx, lists := t.Context(), r.Contacts()
		if err := r.Users().AddUsers(ctx, []store.User{{AOR: "alice@x"}}); err != nil {
			t.Fatal(err)
		}
		c := &store.ContactChange{}
		for i := range store.KeptRemovals + 10 {
			c.Put = append(c.Put, store.Contact{Address: fmt.Sprintf("%d@x", i)})
		}
		start, err := lists.ChangeContacts(ctx, "alice@x", 0, c)
		if err != nil {
			t.Fatal(err)
		}
		del := &store.ContactChange{}
		for _, p := range c.Put {
			del.Remove = append(del.Remove, p.ID)
		}
		first := &store.ContactChange{Remove: del.Remove[:10]}
		middle, err := lists.ChangeContacts(ctx, "alice@x", start, first)
		if err != nil {
			t.Fatal(err)
		}
		changes, err := lists.ContactChanges(ctx, "alice@x", start)
		if err != nil || changes.All || !slices.Equal(changes.RemovedContacts, first.Remove) {
			t.Errorf("after 10: %+v, %v", changes, err)
		}
		if _, err := lists.ChangeContacts(ctx, "alice@x", middle, &store.ContactChange{Remove: del.Remove[10:]}); err != nil {
			t.Fatal(err)
		}
		for since, all := range map[int64]bool{start: true, middle: false, 0: true, middle + 1e6: true} {
			changes, err = lists.ContactChanges(ctx, "alice@x", since)
			if err != nil || changes.All != all || len(changes.RemovedContacts) != map[bool]int{false: store.KeptRemovals}[all] {
				t.Errorf("since %d: all %t, %d removed, %v", since, changes.All, len(changes.RemovedContacts), err)
			}
		}
	})
}

// BenchmarkFindPeople searches among 100,000 accounts, with names and departments as an organisation has them.
func BenchmarkFindPeople(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			o := Options{Dir: b.TempDir(), Log: testLog(b)}
			if database == "postgres" {
				o = postgresOptions(b)
			}
			r := open(b, o)
			crowd(b, r, 100_000)
			if _, err := r.state.write.Exec("ANALYZE people_words"); err != nil { // PostgreSQL does so by itself, later
				b.Fatal(err)
			}
			for _, words := range []string{"a", "anna", "ba be", "anna sales", "dept12 title7", "t d", "xyz", "user99999@", "dept12 dept13"} {
				b.Run(strings.ReplaceAll(words, " ", "+"), func(b *testing.B) {
					n := 0
					for b.Loop() {
						page, err := r.People().FindPeople(b.Context(), store.PeopleFilter{Words: words, Limit: 50})
						if err != nil {
							b.Fatal(err)
						}
						n = len(page.People)
					}
					b.ReportMetric(float64(n), "people")
				})
			}
		})
	}
}

// crowd adds accounts with names of a few syllables.
func crowd(b *testing.B, r *running, n int) {
	b.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	syllables := []string{"an", "na", "ba", "be", "ri", "ko", "lu", "mi", "son", "ter", "schu", "wil", "el", "or"}
	name := func() string {
		text := ""
		for range 2 + random.IntN(2) {
			text += syllables[random.IntN(len(syllables))]
		}
		return text
	}
	for i := 0; i < n; i += 1000 {
		list := make([]store.User, 1000)
		for j := range list {
			k := i + j
			list[j] = store.User{AOR: fmt.Sprintf("user%d@example.com", k), Name: name() + " " + name(), HA1MD5: make([]byte, 60), Person: store.Person{
				Title: fmt.Sprintf("Title%d", random.IntN(40)), Department: fmt.Sprintf("Dept%d Sales", random.IntN(50))}}
		}
		if err := r.Users().AddUsers(b.Context(), list); err != nil {
			b.Fatal(err)
		}
	}
}
