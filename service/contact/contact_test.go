package contact

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaver{m}) }

// leaver gives what is ending at the end of the tests as long as it needs: goleak alone waits half a second.
type leaver struct{ *testing.M }

func (l leaver) Run() int {
	code := l.M.Run()
	for end := time.Now().Add(time.Minute); code == 0 && goleak.Find() != nil && time.Now().Before(end); {
		runtime.Gosched()
	}
	return code
}

// A list as its owner makes it, with each step announced; nothing of it is recorded.
func TestOwnList(t *testing.T) {
	onEach(t, func(r *rig) {
		friends, work := r.group("friends"), r.group("Work")
		r.must(r.SetLevel(ctx, self, alice, relation(store.RelationGroup, "FRIENDS"), policy.Close))
		if told := r.told(); told != "alice@example.com; alice@example.com; alice@example.com" {
			r.t.Errorf("an empty group is nobody's level: told %q", told)
		}
		added, err := r.Add(ctx, self, alice, []NewContact{
			{Address: "sip:bob@EXAMPLE.com", Name: " Bobby ", Note: "likes\ntea", Favourite: true, Groups: []int64{work, friends, work}},
			{Address: "tel:+49-(30) 123"}, {Address: "SIPS:carol@example.com"}, {Address: "jürgen@elsewhere.net"},
		})
		r.must(err)
		if told := r.told(); told != "alice@example.com levels of bob@example.com,tel:+4930123,sips:carol@example.com,j%C3%BCrgen@elsewhere.net" {
			r.t.Errorf("told %q", told)
		}
		if got := r.list(); got != "bob@example.com tel:+4930123 sips:carol@example.com j%C3%BCrgen@elsewhere.net" {
			r.t.Errorf("the list is %q", got)
		}
		want := store.Contact{ID: added[0].ID, Version: added[0].Version, Address: bob, Name: "Bobby", Note: "likes\ntea", Favourite: true, Position: 1, Groups: []int64{friends, work}}
		l, err := r.List(ctx, alice)
		r.must(err)
		got, ok := l.Find(bob)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			r.t.Error(diff)
		}
		if diff := cmp.Diff(want, l.At(0)); diff != "" {
			r.t.Error(diff)
		}
		if _, ok := l.Find("bob@example.co"); ok {
			r.t.Error("found who is not there")
		}
		if c, ok := l.Find("sips:bob@example.com"); !ok || c.Address != bob {
			r.t.Error("sips: is another person")
		}
		r.level("close", bob)
		r.level("colleague", carol)

		// To the end of the list, out of the group that has a rule.
		set, err := r.Set(ctx, self, alice, Edit{Contact: bob, Version: added[0].Version, Name: of("B"), Note: of(""), Favourite: of(false), Position: of(int64(9)), Groups: of([]int64{work})})
		r.must(err)
		if set.Name != "B" || set.Version <= added[0].Version || !sameIDs(set.Groups, work) || !strings.HasSuffix(r.list(), bob) {
			r.t.Errorf("set: %+v in %q", set, r.list())
		}
		r.level("colleague", bob)
		if told := r.told(); told != "alice@example.com levels of bob@example.com" {
			r.t.Errorf("told %q", told)
		}
		_, err = r.Set(ctx, self, alice, Edit{Contact: bob, Version: added[0].Version, Name: of("C")})
		r.refused(err, errs.Conflict, "changed by another device meanwhile")
		if _, err = r.Set(ctx, self, alice, Edit{Contact: bob, Name: of("B")}); err != nil || r.told() != "" {
			r.t.Errorf("a change of nothing was announced: %v", err)
		}
		_, err = r.Set(ctx, self, alice, Edit{Contact: fmt.Sprint(set.ID), Address: of("bob@example.net")})
		r.must(err)

		// What is removed is in the changes.
		before, err := r.Changes(ctx, self, alice, 0)
		r.must(err)
		r.must(r.Remove(ctx, self, alice, "tel:+4930123"))
		r.must(r.RemoveGroup(ctx, self, alice, "friends"))
		g, err := r.SetGroup(ctx, self, alice, GroupEdit{Group: "work", Name: of("Office"), Position: of(int64(-1))})
		r.must(err)
		after, err := r.Changes(ctx, self, alice, before.Version)
		r.must(err)
		if after.All || !sameIDs(after.RemovedContacts, added[1].ID) || !sameIDs(after.RemovedGroups, friends) ||
			!slices.Equal(after.RemovedRelations, []store.RelationKey{groupKey(friends)}) || !slices.Equal(after.Groups, []store.ContactGroup{g}) {
			r.t.Errorf("changes: %+v", after)
		}
		if l, _ := r.List(ctx, alice); l.Version() != after.Version || len(l.Groups()) != 1 || len(l.Relations()) != 0 {
			r.t.Errorf("the list is at %d, not %d: %+v", l.Version(), after.Version, l)
		}
		if acts := r.acts(); len(acts) != 0 {
			r.t.Errorf("recorded: %q", acts)
		}
		owners, err := r.OwnersOf(ctx, "bob@example.net", "", 10)
		if !slices.Equal(owners, []string{alice}) || err != nil {
			r.t.Errorf("owners: %v, %v", owners, err)
		}
	})
}

// What cannot be is refused with words, and changes nothing.
func TestRefusals(t *testing.T) {
	onEach(t, func(r *rig) {
		r.add(bob)
		id := r.group("friends")
		version := func() int64 { c, err := r.Changes(ctx, self, alice, 0); r.must(err); return c.Version }
		before := version()
		r.told()
		add := func(n NewContact) error { _, err := r.Add(ctx, self, alice, []NewContact{n}); return err }
		for _, c := range []struct {
			err  error
			kind errs.Kind
			says string
		}{
			{add(NewContact{Address: bob}), errs.Conflict, "bob@example.com is in the list of alice@example.com already"},
			{add(NewContact{Address: "nobody@example.com"}), errs.NotFound, "there is no user nobody@example.com"},
			{add(NewContact{Address: "bob"}), errs.Invalid, `"bob" is not an address`},
			{add(NewContact{Address: "bob@example.com:5060"}), errs.Invalid, "is not an address"},
			{add(NewContact{Address: "sip:bob@example.com;x=y"}), errs.Invalid, "is not an address"},
			{add(NewContact{Address: "tel:x"}), errs.Invalid, "is not an address"},
			{add(NewContact{Address: "mailto:bob@example.com"}), errs.Invalid, `of the kind "mailto"`},
			{add(NewContact{Address: strings.Repeat("a", 300) + "@example.net"}), errs.Invalid, "is not an address"},
			{add(NewContact{Address: carol, Name: strings.Repeat("a", MaxName+1)}), errs.Invalid, "longer than 256 bytes"},
			{add(NewContact{Address: carol, Note: strings.Repeat("a", MaxNote+1)}), errs.Invalid, "longer than 1000 bytes"},
			{add(NewContact{Address: carol, Name: "a\nb"}), errs.Invalid, "cannot be shown"},
			{add(NewContact{Address: carol, Note: "\xff"}), errs.Invalid, "cannot be shown"},
			{add(NewContact{Address: carol, Groups: []int64{id + 1000}}), errs.NotFound, "there is no group"},
			{r.Remove(ctx, self, alice, carol), errs.NotFound, "carol@example.com is not in the list of alice@example.com"},
			{r.RemoveGroup(ctx, self, alice, "foes"), errs.NotFound, `has no group "foes"`},
			{r.SetLevel(ctx, self, alice, relation(store.RelationGroup, "foes"), policy.Blocked), errs.NotFound, `has no group "foes"`},
			{r.SetLevel(ctx, self, alice, relation(store.RelationPerson, "nobody@example.com"), policy.Blocked), errs.NotFound, "there is no user"},
			{r.SetLevel(ctx, self, alice, relation(store.RelationDomain, "bob@example.com"), policy.Blocked), errs.Invalid, "is not a domain"},
			{r.SetLevel(ctx, self, alice, relation(store.RelationDomain, ""), policy.Blocked), errs.Invalid, "is not a domain"},
			{r.SetLevel(ctx, self, alice, relation("room", "x"), policy.Blocked), errs.Invalid, `"room" has no level`},
			{r.SetLevel(ctx, self, bob, relation(store.RelationPerson, carol), policy.Blocked), errs.Forbidden, "only administrators"},
			{r.Remove(ctx, self, bob, carol), errs.Forbidden, "only administrators"},
			{r.Remove(ctx, admin, "nobody@example.com", carol), errs.NotFound, "there is no user nobody@example.com; parley user list"},
			{r.Remove(ctx, admin, "nobody", carol), errs.Invalid, "is not an address"},
		} {
			r.refused(c.err, c.kind, c.says)
		}
		_, err := r.AddGroup(ctx, self, alice, "Friends")
		r.refused(err, errs.Conflict, "already a group Friends")
		for _, name := range []string{"", " ", "12", strings.Repeat("g", MaxName+1)} {
			_, err = r.AddGroup(ctx, self, alice, name)
			r.refused(err, errs.Invalid, "group")
		}
		_, err = r.Set(ctx, self, alice, Edit{Contact: carol, Name: of("x")})
		r.refused(err, errs.NotFound, "is not in the list")
		_, err = r.Changes(ctx, self, bob, 0)
		r.refused(err, errs.Forbidden, "only administrators")
		_, _, err = r.Explain(ctx, self, bob, alice)
		r.refused(err, errs.Forbidden, "only administrators")
		_, _, err = r.Owners(ctx, self, bob, "", 10)
		r.refused(err, errs.Forbidden, "only administrators")
		_, _, err = r.Owners(ctx, admin, bob, "", 0)
		r.refused(err, errs.Invalid, "limit")
		if version() != before || r.told() != "" || len(r.acts()) != 0 {
			r.t.Error("something was changed, announced or recorded")
		}
	})
}

// What an administrator does for others is recorded before; what cannot be recorded is not done.
func TestAdministrator(t *testing.T) {
	onEach(t, func(r *rig) {
		_, err := r.Add(ctx, admin, alice, []NewContact{{Address: bob}, {Address: carol}})
		r.must(err)
		r.must(r.SetLevel(ctx, admin, alice, relation(store.RelationPerson, bob), policy.Team))
		r.must(r.SetLevel(ctx, admin, alice, relation(store.RelationPerson, bob), policy.Team)) // changes nothing
		r.must(r.ClearLevel(ctx, admin, alice, relation(store.RelationDomain, "example.net")))  // nor this
		want := []string{
			"contact.add of root@localhost via cli: alice@example.com bob@example.com and others",
			"contact.level of root@localhost via cli: alice@example.com person bob@example.com team",
		}
		if got := r.acts(); !slices.Equal(got, want) {
			r.t.Errorf("recorded %q, want %q", got, want)
		}
		_, err = r.Add(ctx, admin, carol, []NewContact{{Address: bob}})
		r.must(err)
		for after, want := range map[string]string{"": "alice@example.com true", alice: "carol@example.com false"} {
			owners, more, err := r.Owners(ctx, admin, "sip:bob@example.com", after, 1)
			if got := fmt.Sprint(strings.Join(owners, " "), " ", more); got != want || err != nil {
				r.t.Errorf("owners after %q: %s, %v", after, got, err)
			}
		}
		before := r.list()
		r.stop()
		r.refused(r.Remove(ctx, admin, alice, bob), errs.Unavailable, "could not be recorded")
		r.must(r.Remove(ctx, self, alice, carol)) // one's own needs no record
		if got := r.list(); before != "bob@example.com carol@example.com" || got != "bob@example.com" {
			r.t.Errorf("%q became %q", before, got)
		}
	})
}

// Who is in the list twice, with "sips:" and without, is one person: the owner's block counts in whichever entry it is.
func TestLevelOfTwoEntries(t *testing.T) {
	onEach(t, func(r *rig) {
		friends, noise := r.group("friends"), r.group("noise")
		r.must(r.SetLevel(ctx, self, alice, relation(store.RelationGroup, "friends"), policy.Team))
		r.must(r.SetLevel(ctx, self, alice, relation(store.RelationGroup, "noise"), policy.Blocked))
		r.add("sips:bob@example.com", bob, carol)
		in := func(address string, groups ...int64) {
			_, err := r.Set(ctx, self, alice, Edit{Contact: address, Groups: &groups})
			r.must(err)
		}
		in("sips:bob@example.com", noise)
		in(bob, friends)
		in(carol, friends)
		r.level("blocked", bob)
		in("sips:bob@example.com", friends)
		in(bob, noise)
		r.level("blocked", bob)
		in(bob)
		r.level("team", bob)
		r.level("team", carol)
	})
}

// The rule of a person beats that of a group, which beats that of a domain.
func TestLevels(t *testing.T) {
	onEach(t, func(r *rig) {
		r.level("colleague", bob)
		r.level("outside", "x@partner.net")
		group, noise := r.group("project"), r.group("noise")
		r.add(bob, "x@partner.net", "sips:dave@partner.net")
		for _, a := range []string{bob, "x@partner.net", "sips:dave@partner.net"} {
			_, err := r.Set(ctx, self, alice, Edit{Contact: a, Groups: &[]int64{group, noise}})
			r.must(err)
		}
		r.told()
		r.must(r.SetLevel(ctx, self, alice, relation(store.RelationDomain, "@Partner.NET."), policy.Colleague))
		r.level("colleague", "y@partner.net")
		r.must(r.SetLevel(ctx, self, alice, relation(store.RelationGroup, "project"), policy.Team))
		r.level("team", "x@partner.net")
		r.level("team", "dave@partner.net")
		r.must(r.SetLevel(ctx, self, alice, relation(store.RelationGroup, fmt.Sprint(noise)), policy.Blocked))
		r.level("blocked", bob)
		r.must(r.SetLevel(ctx, self, alice, relation(store.RelationPerson, "sips:bob@example.com"), policy.Close))
		r.level("close", bob)
		if told := r.told(); told != "alice@example.com levels; "+
			"alice@example.com levels of bob@example.com,x@partner.net,sips:dave@partner.net; "+
			"alice@example.com levels of bob@example.com,x@partner.net,sips:dave@partner.net; alice@example.com levels of bob@example.com" {
			r.t.Errorf("told %q", told)
		}
		level, why, err := r.Explain(ctx, self, alice, "sip:x@partner.net")
		if level != policy.Blocked || why.String() != "there is a rule for the group noise" || err != nil {
			r.t.Errorf("%v because %v, %v", level, why, err)
		}
		level, why, err = r.Level(ctx, alice, alice)
		if level != policy.Close || why.Basis != policy.Self || err != nil {
			r.t.Errorf("%v because %v, %v", level, why, err)
		}
		for _, k := range []store.RelationKey{relation(store.RelationPerson, bob), relation(store.RelationGroup, "noise"), relation(store.RelationDomain, "partner.net")} {
			r.must(r.ClearLevel(ctx, self, alice, k))
		}
		r.level("team", bob)
		r.level("outside", "y@partner.net")
		// Who is out of the list is out of its groups; who is blocked as a person stays blocked.
		r.must(r.SetLevel(ctx, self, alice, relation(store.RelationPerson, "x@partner.net"), policy.Blocked))
		r.must(r.Remove(ctx, self, alice, "x@partner.net"))
		r.must(r.Remove(ctx, self, alice, bob))
		r.level("blocked", "x@partner.net")
		r.level("colleague", bob)
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	r := start(t, sqlstore.Options{Dir: t.TempDir()}, Options{})
	list := make([]NewContact, MaxContacts)
	for i := range list {
		list[i] = NewContact{Address: fmt.Sprintf("c%d@elsewhere.net", i), Name: "N"}
	}
	_, err := r.Add(ctx, self, alice, list)
	r.must(err)
	_, err = r.Add(ctx, self, alice, []NewContact{{Address: bob}})
	r.refused(err, errs.TooMany, "more than 2000 contacts")
	l, err := r.List(ctx, alice)
	r.must(err)
	for i := range list {
		if c, ok := l.Find(list[i].Address); !ok || c.Position != int64(i+1) || l.Address(i) != list[i].Address {
			t.Fatalf("contact %d: %+v", i, c)
		}
	}
	e := store.ContactChange{}
	for i := range MaxGroups - 1 {
		e.PutGroups = append(e.PutGroups, store.ContactGroup{Name: fmt.Sprint("g", i)})
	}
	for i := range MaxLevels - 1 {
		e.PutRelations = append(e.PutRelations, store.Relation{RelationKey: relation(store.RelationDomain, fmt.Sprintf("d%d.net", i)), Level: "team"})
	}
	_, err = r.store.ChangeContacts(ctx, alice, l.Version(), &e)
	r.must(err)
	r.group("last")
	_, err = r.AddGroup(ctx, self, alice, "one more")
	r.refused(err, errs.TooMany, "more than 200 groups")
	r.must(r.SetLevel(ctx, self, alice, relation(store.RelationDomain, "last.net"), policy.Team))
	r.refused(r.SetLevel(ctx, self, alice, relation(store.RelationDomain, "more.net"), policy.Team), errs.TooMany, "2000 people, groups and domains")
	r.must(r.SetLevel(ctx, self, alice, relation(store.RelationDomain, "last.net"), policy.Close)) // one that is there
}

// Many who change one list at once all get their change in, or are told to try again.
func TestTogether(t *testing.T) {
	onEach(t, func(r *rig) {
		var wg sync.WaitGroup
		var done atomic.Int64
		for i := range 4 {
			wg.Go(func() {
				for j := range 5 {
					_, err := r.Add(ctx, self, alice, []NewContact{{Address: fmt.Sprintf("c%d-%d@elsewhere.net", i, j)}})
					if err == nil {
						done.Add(1)
					} else if !errors.Is(err, errs.TooMany) {
						r.t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		l, err := r.List(ctx, alice)
		r.must(err)
		if l.Len() != int(done.Load()) || l.Len() == 0 {
			r.t.Errorf("%d contacts, %d were added", l.Len(), done.Load())
		}
		positions := map[int64]bool{}
		for i := range l.Len() {
			positions[l.At(i).Position] = true
		}
		if len(positions) != l.Len() {
			r.t.Error("two have the same place")
		}
	})
}

// gated is a store whose reads of lists wait at a gate.
type gated struct {
	parts
	gate  chan chan struct{} // nil: open
	reads atomic.Int64
}

func (g *gated) ContactList(ctx context.Context, owner string) (*store.ContactList, error) {
	l, err := g.parts.ContactList(ctx, owner)
	g.reads.Add(1)
	if g.gate != nil {
		pass := make(chan struct{})
		g.gate <- pass
		<-pass
	}
	return l, err
}

// withGate is a rig whose service reads through a gate.
func withGate(t *testing.T, o Options) (*rig, *gated) {
	r := start(t, sqlstore.Options{Dir: t.TempDir()}, o)
	g := &gated{parts: r.store}
	r.Service.o.Store = g
	return r, g
}

// A list that changes while it is read is not kept as it was; many who ask share one read.
func TestCache(t *testing.T) {
	t.Parallel()
	r, g := withGate(t, Options{})
	r.add(bob)
	if _, ok := r.Cached(alice); ok {
		t.Error("in memory before anybody asked")
	}
	g.gate = make(chan chan struct{})
	lists := make(chan *List, 3)
	ask := func() {
		l, err := r.List(ctx, alice)
		if err != nil {
			t.Error(err)
		}
		lists <- l
	}
	go ask()
	pass := <-g.gate // it has read, and nobody has it yet
	go ask()
	if _, err := r.store.ChangeContacts(ctx, alice, listVersion(t, r), &store.ContactChange{Put: []store.Contact{{Address: carol}}}); err != nil {
		t.Fatal(err)
	}
	r.Outdated(alice, 1<<62) // the hint of the change
	pass2 := make(chan chan struct{}, 1)
	go ask() // begins after the hint, so it must see the change
	go func() { pass2 <- <-g.gate }()
	second := <-pass2
	close(pass)
	close(second)
	lengths := []int{(<-lists).Len(), (<-lists).Len(), (<-lists).Len()}
	if slices.Max(lengths) != 2 {
		t.Errorf("lengths %v", lengths)
	}
	g.gate = nil
	before := g.reads.Load()
	for range 100 {
		if l, err := r.List(ctx, alice); err != nil || l.Len() != 2 {
			t.Fatal(l, err)
		}
	}
	if n := g.reads.Load() - before; n != 0 {
		t.Errorf("%d reads of a list in memory", n)
	}
	l, _ := r.Cached(alice)
	r.Outdated(alice, l.Version()) // not news
	if _, ok := r.Cached(alice); !ok {
		t.Error("an old hint dropped the list")
	}
	r.Outdated(alice, 0) // the account is gone
	if _, ok := r.Cached(alice); ok {
		t.Error("the list of an account that is gone is in memory")
	}
}

func listVersion(t *testing.T, r *rig) int64 {
	l, err := r.store.ContactList(ctx, alice)
	if err != nil {
		t.Fatal(err)
	}
	return l.Version
}

// A read that fails is not kept, and one who gives up does not take the others along.
func TestCacheErrors(t *testing.T) {
	t.Parallel()
	c := newCache(1000, newMetrics(nil))
	broken := errors.New("broken")
	if _, err := c.get(ctx, alice, func(context.Context) (*List, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	inside, leave := make(chan struct{}), make(chan struct{})
	short, cancel := context.WithCancel(ctx)
	got := make(chan error, 1)
	go func() {
		_, err := c.get(short, alice, func(ctx context.Context) (*List, error) {
			close(inside)
			<-leave
			return &List{version: 7}, ctx.Err()
		})
		got <- err
	}()
	<-inside
	cancel()
	if _, err := c.get(short, alice, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("who waited with an ended context: %v", err)
	}
	close(leave)
	if err := <-got; err != nil {
		t.Error(err)
	}
	if l, ok := c.peek(alice); !ok || l.version != 7 {
		t.Error("what was read is not there")
	}
}

// The cache stays within its bound, and keeps what is asked for.
func TestCacheBound(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	c := newCache(100_000, m)
	for i := range 5000 {
		owner := fmt.Sprintf("user%d@example.com", i)
		_, _ = c.get(ctx, owner, func(context.Context) (*List, error) { return &List{version: 1}, nil })
		if _, ok := c.peek("user0@example.com"); !ok {
			t.Fatalf("the list that is asked for all the time went after %d others", i)
		}
		if c.bytes > 100_000 {
			t.Fatalf("%d bytes", c.bytes)
		}
	}
	if len(c.lists) < 100 {
		t.Errorf("only %d lists are kept", len(c.lists))
	}
	sum := 0
	for owner, e := range c.lists {
		sum += weight(owner, e.list)
	}
	if sum != c.bytes || testutil.ToFloat64(m.bytes) != float64(sum) || testutil.ToFloat64(m.reads) != 5000 {
		t.Errorf("%d bytes are counted as %d", sum, c.bytes)
	}
	if problems, err := testutil.GatherAndLint(reg); len(problems) > 0 || err != nil {
		t.Error(problems, err)
	}
}

// Lists whose announcements were lost are looked at from time to time.
func TestVerify(t *testing.T) {
	t.Parallel()
	r := start(t, sqlstore.Options{Dir: t.TempDir()}, Options{})
	r.add(bob)
	for _, owner := range []string{alice, bob, carol} {
		if _, err := r.List(ctx, owner); err != nil {
			t.Fatal(err)
		}
	}
	put := func(owner string, base int64) {
		if _, err := r.store.ChangeContacts(ctx, owner, base, &store.ContactChange{Put: []store.Contact{{Address: "x@y.z"}}}); err != nil {
			t.Fatal(err)
		}
	}
	put(alice, listVersion(t, r))
	put(bob, 0) // who had none
	r.must(r.verify(ctx))
	for owner, want := range map[string]bool{alice: false, bob: false, carol: true} {
		if _, ok := r.Cached(owner); ok != want {
			t.Errorf("%s in memory: %t", owner, ok)
		}
	}
	if r.list() != "x@y.z bob@example.com" {
		t.Error(r.list())
	}
	r.must(r.store.RemoveUser(ctx, alice))
	r.must(r.verify(ctx))
	if r.list() != "" {
		t.Error("the list of an account that is gone: ", r.list())
	}
}

// versioned is a store of versions alone.
type versioned struct {
	Store
	asked atomic.Int64
}

func (v *versioned) ContactVersions(context.Context, string, int) ([]store.ContactVersion, error) {
	if v.asked.Add(1) == 1 {
		return nil, errors.New("broken")
	}
	return []store.ContactVersion{{Owner: alice, Version: 2}}, nil
}

// Serve compares every five minutes, also after the store did not answer.
func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &versioned{}
		s := New(Options{Store: v})
		s.cache.put(alice, &List{version: 1})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()
		time.Sleep(verifyEvery + time.Second) // the clock of the bubble
		if _, ok := s.Cached(alice); !ok || v.asked.Load() != 1 {
			t.Error("dropped though the store did not answer", v.asked.Load())
		}
		time.Sleep(verifyEvery)
		if _, ok := s.Cached(alice); ok {
			t.Error("an old list is in memory")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Packing a list and unpacking it gives the same.
func TestPack(t *testing.T) {
	t.Parallel()
	l := crowd(50, 7)
	p := newList(l)
	var got []store.Contact
	for i := range p.Len() {
		got = append(got, p.At(i))
		if c, ok := p.Find(l.Contacts[i].Address); !ok || c.ID != l.Contacts[i].ID {
			t.Errorf("%s is not found", l.Contacts[i].Address)
		}
	}
	if diff := cmp.Diff(l.Contacts, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(l.Groups, p.Groups()); diff != "" {
		t.Error(diff)
	}
	if e := newList(&store.ContactList{Version: 3}); e.Version() != 3 || e.Len() != 0 || e.find(bob) != -1 {
		t.Error("an empty list is not")
	}
}

// crowd is a list of n contacts in 5 groups, as people have them.
func crowd(n, owner int) *store.ContactList {
	l := &store.ContactList{Version: 1_795_346_612_345}
	for g := range 5 {
		l.Groups = append(l.Groups, store.ContactGroup{ID: l.Version + int64(g), Version: l.Version, Name: strings.Clone(fmt.Sprintf("Group %d", g)), Position: int64(g)})
	}
	for i := range n {
		c := store.Contact{ID: l.Version + int64(10+i), Version: l.Version + int64(i), Position: int64(i), Favourite: i%10 == 0,
			Address: fmt.Sprintf("user%05d@example.com", (owner*37+i*101)%20_000), Groups: []int64{l.Groups[i%5].ID}}
		if i%2 == 0 {
			c.Name = fmt.Sprintf("Firstname Surname%d", i)
		}
		if i%10 == 0 {
			c.Note = "met at the fair in Hanover"
		}
		l.Contacts = append(l.Contacts, c)
	}
	return l
}

// BenchmarkMemory measures what a contact takes in memory in lists of 50 with 5 groups.
func BenchmarkMemory(b *testing.B) {
	const owners, each = 2000, 50
	for b.Loop() {
		c := newCache(1<<30, newMetrics(nil))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for o := range owners {
			_, _ = c.get(ctx, fmt.Sprintf("user%05d@example.com", o), func(context.Context) (*List, error) { return newList(crowd(each, o)), nil })
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(owners*each), "B/contact")
		b.ReportMetric(float64(c.bytes)/(owners*each), "counted-B/contact")
		runtime.KeepAlive(c)
	}
}

// BenchmarkLevel asks what somebody is to an owner whose list is in memory.
func BenchmarkLevel(b *testing.B) {
	for _, rules := range []bool{false, true} {
		b.Run(fmt.Sprintf("rules=%t", rules), func(b *testing.B) {
			s := New(Options{Domains: []string{"example.com"}})
			l := crowd(50, 1)
			if rules {
				l.Relations = []store.Relation{{RelationKey: groupKey(l.Groups[0].ID), Level: "team"}}
			}
			s.cache.put(alice, newList(l))
			b.ReportAllocs()
			for b.Loop() {
				if level, _, err := s.Level(ctx, alice, "user00037@example.com"); err != nil || level == policy.Blocked {
					b.Fatal(level, err)
				}
			}
		})
	}
}

// BenchmarkList reads lists of 50 from the store, as when everybody signs on.
func BenchmarkList(b *testing.B) {
	r := start(b, sqlstore.Options{Dir: b.TempDir()}, Options{})
	l := crowd(50, 1)
	if _, err := r.store.ChangeContacts(ctx, alice, 0, &store.ContactChange{Put: l.Contacts, PutGroups: l.Groups}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.cache.drop(alice)
		if l, err := r.List(ctx, alice); err != nil || l.Len() != 50 {
			b.Fatal(err)
		}
	}
}
