package directory

import (
	"strings"
	"testing"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// What is told of people is recorded when it changes, and they are found by it, by everybody who may sign in.
func TestPeople(t *testing.T) {
	onEach(t, func(r *rig) {
		ctx, t := r.t.Context(), r.t
		_, err := r.Add(ctx, root, []NewUser{
			{AOR: "alice@example.com", Name: "Alice Adams", Password: "secret", Person: store.Person{Title: " Head of Sales ", Department: "Sales", Office: "B12", Phone: "+49 30 1", Mobile: "2", Email: "a@example.com"}},
			{AOR: "bob@example.com", Name: "Bob", Password: "secret"},
		})
		if err != nil {
			t.Fatal(err)
		}
		u, err := r.Get(ctx, "alice@example.com")
		if err != nil || u.Person != (store.Person{Title: "Head of Sales", Department: "Sales", Office: "B12", Phone: "+49 30 1", Mobile: "2", Email: "a@example.com"}) {
			t.Errorf("%+v, %v", u, err)
		}
		r.told()
		title, empty := "Engineer", ""
		if err := r.SetDetails(ctx, root, "sip:alice@EXAMPLE.com", Details{Title: &title, Office: &empty}); err != nil {
			t.Fatal(err)
		}
		if told := r.told(); told != "described alice@example.com" {
			t.Errorf("told %q", told)
		}
		if acts := r.acts(); acts[len(acts)-1] != "admin user.set by root@localhost via cli: alice@example.com" {
			t.Errorf("recorded %q", acts)
		}
		u, err = r.Get(ctx, "alice@example.com")
		if err != nil || u.Title != title || u.Office != "" || u.Department != "Sales" || u.Name != "Alice Adams" || len(u.HA1MD5) == 0 {
			t.Errorf("%+v, %v", u, err)
		}
		bob := Actor{Name: "bob@example.com", Via: "api"}
		for _, by := range []Actor{bob, {Name: "root@localhost", Admin: true}} {
			page, err := r.FindPeople(ctx, by, store.PeopleFilter{Words: "eng sales"})
			if err != nil || len(page.People) != 1 || page.People[0].AOR != "alice@example.com" || page.People[0].Phone != "+49 30 1" || page.People[0].HA1MD5 != nil {
				t.Errorf("%s found %+v, %v", by.Name, page, err)
			}
		}
		refused := func(err error, kind errs.Kind, says string) {
			t.Helper()
			if errs.KindOf(err) != kind || !strings.Contains(err.Error()+errs.Reason(err), says) {
				t.Errorf("%v: want %v with %q", err, kind, says)
			}
		}
		find := func(by Actor, f store.PeopleFilter) error { _, err := r.FindPeople(ctx, by, f); return err }
		refused(find(Actor{Name: "nobody@example.com"}, store.PeopleFilter{Words: "a"}), errs.Forbidden, "only people of this server")
		refused(find(Actor{}, store.PeopleFilter{Words: "a"}), errs.Forbidden, "only people of this server")
		refused(find(bob, store.PeopleFilter{Words: "a", Limit: MaxPeople + 1}), errs.Invalid, "limit")
		refused(find(bob, store.PeopleFilter{Words: strings.Repeat("a", maxPeopleText+1)}), errs.Invalid, "words")
		refused(find(bob, store.PeopleFilter{Words: "a", After: "x"}), errs.Invalid, "page")
		if err := r.SetDisabled(ctx, root, "bob@example.com", true); err != nil {
			t.Fatal(err)
		}
		refused(find(bob, store.PeopleFilter{Words: "a"}), errs.Forbidden, "only people of this server")
		long := strings.Repeat("x", maxName+1)
		refused(r.SetDetails(ctx, root, "alice@example.com", Details{Phone: &long}), errs.Invalid, "the phone")
		refused(r.SetDetails(ctx, root, "alice@example.com", Details{Name: &long}), errs.Invalid, "the name")
		refused(r.SetDetails(ctx, root, "nobody@example.com", Details{Title: &title}), errs.NotFound, "there is no user")
		_, err = r.Add(ctx, root, []NewUser{{AOR: "carol@example.com", Password: "secret", Person: store.Person{Department: "a\x00"}}})
		refused(err, errs.Invalid, "the department")
	})
}
