package api_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/api/parley/v1/parleyv1connect"
)

// as is a client that has signed in as somebody, over a connection of its own.
func (r *rig) as(user string) client {
	r.user.Store(user)
	hc := r.http()
	c := client{
		parleyv1connect.NewUserServiceClient(hc, "http://parley"), parleyv1connect.NewArchiveServiceClient(hc, "http://parley"),
		parleyv1connect.NewStatusServiceClient(hc, "http://parley"), parleyv1connect.NewPeopleServiceClient(hc, "http://parley"),
		parleyv1connect.NewContactServiceClient(hc, "http://parley"), parleyv1connect.NewPresenceServiceClient(hc, "http://parley"),
	}
	// It has its connection now.
	if _, err := c.People.FindPeople(r.ctx, connect.NewRequest(&v1.FindPeopleRequest{Words: "x"})); err != nil {
		r.t.Fatal(err)
	}
	r.user.Store("")
	return c
}

// People see and change their own lists; what is an administrator's is not theirs.
func TestContactsOfUsers(t *testing.T) {
	r := start(t)
	r.add("alice@example.com", "bob@example.com", "carol@example.com")
	alice := r.as("alice@example.com").Contacts
	group, err := alice.AddGroup(r.ctx, connect.NewRequest(&v1.AddGroupRequest{Owner: "alice@example.com", Name: "friends"}))
	if err != nil {
		t.Fatal(err)
	}
	id := group.Msg.Group.Id
	added, err := alice.AddContacts(r.ctx, connect.NewRequest(&v1.AddContactsRequest{Owner: "alice@example.com", Contacts: []*v1.NewContact{
		{Address: "bob@example.com", Name: "B", Note: "n", Favourite: true, Groups: []int64{id}}, {Address: "tel:+49"},
	}}))
	if err != nil || len(added.Msg.Contacts) != 2 || added.Msg.Contacts[0].Id == 0 {
		t.Fatal(added, err)
	}
	if _, err := alice.SetLevel(r.ctx, connect.NewRequest(&v1.SetLevelRequest{Owner: "alice@example.com", Key: &v1.RelationKey{Kind: "group", Subject: "friends"}, Level: "close"})); err != nil {
		t.Fatal(err)
	}
	list, err := alice.ListContacts(r.ctx, connect.NewRequest(&v1.ListContactsRequest{Owner: "alice@example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	m := list.Msg
	if c := m.Contacts[0]; !m.All || len(m.Contacts) != 2 || c.Address != "bob@example.com" || c.Name != "B" || c.Note != "n" || !c.Favourite || !slices.Equal(c.Groups, []int64{id}) {
		t.Errorf("list: %v", m)
	}
	if len(m.Groups) != 1 || len(m.Relations) != 1 || m.Relations[0].Key.Subject != fmt.Sprint(id) || m.Relations[0].Level != "close" || m.Relations[0].Since == nil {
		t.Errorf("groups and relations: %v", m)
	}
	level, err := alice.GetLevel(r.ctx, connect.NewRequest(&v1.GetLevelRequest{Owner: "alice@example.com", Person: "bob@example.com"}))
	if err != nil || level.Msg.Level != "close" || level.Msg.Basis != "group" || !level.Msg.Sight.Interrupt || level.Msg.Sight.State != "full" || !strings.Contains(level.Msg.Reason, "friends") {
		t.Errorf("level: %v, %v", level, err)
	}

	// What is not given stays; what is given as nothing goes.
	name, position := "Bob", int64(7)
	set, err := alice.SetContact(r.ctx, connect.NewRequest(&v1.SetContactRequest{Owner: "alice@example.com", Contact: "bob@example.com", Version: added.Msg.Contacts[0].Version, Name: &name, Position: &position, Groups: &v1.GroupIDs{}}))
	if err != nil || set.Msg.Contact.Name != "Bob" || set.Msg.Contact.Note != "n" || set.Msg.Contact.Position != 7 || len(set.Msg.Contact.Groups) != 0 {
		t.Errorf("set: %v, %v", set, err)
	}
	if _, err := alice.SetGroup(r.ctx, connect.NewRequest(&v1.SetGroupRequest{Owner: "alice@example.com", Group: "friends", Name: &name})); err != nil {
		t.Error(err)
	}
	if _, err := alice.SetLevel(r.ctx, connect.NewRequest(&v1.SetLevelRequest{Owner: "alice@example.com", Key: &v1.RelationKey{Kind: "group", Subject: "bob"}})); err != nil {
		t.Error(err)
	}
	if _, err := alice.RemoveContact(r.ctx, connect.NewRequest(&v1.RemoveContactRequest{Owner: "alice@example.com", Contact: "tel:+49"})); err != nil {
		t.Error(err)
	}
	if _, err := alice.RemoveGroup(r.ctx, connect.NewRequest(&v1.RemoveGroupRequest{Owner: "alice@example.com", Group: fmt.Sprint(id)})); err != nil {
		t.Error(err)
	}
	list, err = alice.ListContacts(r.ctx, connect.NewRequest(&v1.ListContactsRequest{Owner: "alice@example.com", Since: m.Version}))
	if m := list.Msg; err != nil || m.All || len(m.Contacts) != 1 || m.Contacts[0].Name != "Bob" || !slices.Equal(m.RemovedContacts, []int64{added.Msg.Contacts[1].Id}) ||
		!slices.Equal(m.RemovedGroups, []int64{id}) || len(m.RemovedRelations) != 1 {
		t.Errorf("changes: %v, %v", list, err)
	}

	// Others.
	_, err = alice.ListContacts(r.ctx, connect.NewRequest(&v1.ListContactsRequest{Owner: "bob@example.com"}))
	r.refused("the list of somebody else", err, connect.CodePermissionDenied, "only administrators")
	_, err = alice.ListOwners(r.ctx, connect.NewRequest(&v1.ListOwnersRequest{Address: "bob@example.com"}))
	r.refused("who has bob", err, connect.CodePermissionDenied, "only administrators")
	_, err = alice.SetContact(r.ctx, connect.NewRequest(&v1.SetContactRequest{Owner: "alice@example.com", Contact: "bob@example.com", Version: 1}))
	r.refused("an old version", err, connect.CodeAlreadyExists, "meanwhile")
	_, err = alice.SetLevel(r.ctx, connect.NewRequest(&v1.SetLevelRequest{Owner: "alice@example.com", Level: "team"}))
	r.refused("a level of nothing", err, connect.CodeInvalidArgument, "person, group and domain")
	_, err = alice.SetLevel(r.ctx, connect.NewRequest(&v1.SetLevelRequest{Owner: "alice@example.com", Level: "x", Key: &v1.RelationKey{Kind: "person", Subject: "bob@example.com"}}))
	r.refused("no level", err, connect.CodeInvalidArgument, `"x" is no level`)
	owners, err := r.Contacts.ListOwners(r.ctx, connect.NewRequest(&v1.ListOwnersRequest{Address: "bob@example.com"}))
	if err != nil || !slices.Equal(owners.Msg.Owners, []string{"alice@example.com"}) || owners.Msg.More {
		t.Errorf("owners: %v, %v", owners, err)
	}
}

// People find people; all that is an administrator's is refused to them, and everything to nobody.
func TestDoorsOfUsers(t *testing.T) {
	r := start(t)
	if _, err := r.Users.AddUsers(r.ctx, connect.NewRequest(&v1.AddUsersRequest{Users: []*v1.NewUser{
		{Address: "alice@example.com", Name: "Alice", Password: "secret", Profile: &v1.Profile{Title: "Engineer", Phone: "1"}}, {Address: "bob@example.com", Password: "secret"},
	}})); err != nil {
		t.Fatal(err)
	}
	department := "Research"
	if _, err := r.Users.SetProfile(r.ctx, connect.NewRequest(&v1.SetProfileRequest{Address: "alice@example.com", Department: &department})); err != nil {
		t.Fatal(err)
	}
	got, err := r.Users.GetUser(r.ctx, connect.NewRequest(&v1.GetUserRequest{Address: "alice@example.com"}))
	if err != nil || got.Msg.User.Profile.Title != "Engineer" || got.Msg.User.Profile.Department != "Research" || got.Msg.User.Name != "Alice" {
		t.Errorf("alice: %v, %v", got, err)
	}
	bob := r.as("bob@example.com")
	found, err := bob.People.FindPeople(r.ctx, connect.NewRequest(&v1.FindPeopleRequest{Words: "res eng"}))
	if err != nil || len(found.Msg.People) != 1 || found.Msg.People[0].Address != "alice@example.com" || found.Msg.People[0].Profile.Phone != "1" {
		t.Errorf("found %v, %v", found, err)
	}
	_, err = bob.People.FindPeople(r.ctx, connect.NewRequest(&v1.FindPeopleRequest{Words: "a", Limit: 51}))
	r.refused("a large page", err, connect.CodeInvalidArgument, "limit must be between 1 and 50")
	_, err = bob.Users.ListUsers(r.ctx, connect.NewRequest(&v1.ListUsersRequest{}))
	r.refused("list users", err, connect.CodePermissionDenied, "only administrators")
	_, err = bob.Users.SetProfile(r.ctx, connect.NewRequest(&v1.SetProfileRequest{Address: "bob@example.com"}))
	r.refused("set a profile", err, connect.CodePermissionDenied, "only administrators")
	_, err = bob.Archive.Search(r.ctx, connect.NewRequest(&v1.SearchRequest{}))
	r.refused("search the archive", err, connect.CodePermissionDenied, "only administrators")
	_, err = bob.Status.Status(r.ctx, connect.NewRequest(&v1.StatusRequest{}))
	r.refused("status", err, connect.CodePermissionDenied, "only administrators")
	stream, err := bob.Status.Backup(r.ctx, connect.NewRequest(&v1.BackupRequest{}))
	if err == nil {
		for stream.Receive() {
			t.Error("a user gets a backup")
		}
		err = stream.Err()
	}
	r.refused("backup", err, connect.CodePermissionDenied, "only administrators")
}

// Plain JSON over HTTP is enough.
func TestPeopleAsJSON(t *testing.T) {
	r := start(t)
	r.add("alice@example.com")
	resp, err := r.http().Post("http://parley/parley.v1.PeopleService/FindPeople", "application/json", strings.NewReader(`{"words":"ali"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"address":"alice@example.com"`) {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
}

// Who is no administrator cannot make the server hold large requests: what is refused anyway is refused before it is read, and
// the rest has smaller limits. What somebody wrote is not repeated at length.
func TestLargeRequestsOfUsers(t *testing.T) {
	r := start(t)
	r.add("alice@example.com")
	r.user.Store("alice@example.com")
	hc := r.http()
	post := func(path, field string, n int) (int, string) {
		t.Helper()
		var body bytes.Buffer // packed, so that all of it is sent before the answer comes
		z := gzip.NewWriter(&body)
		fmt.Fprintf(z, `{%q:"%s"}`, field, strings.Repeat("x", n))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		q, err := http.NewRequestWithContext(r.ctx, http.MethodPost, "http://parley/parley.v1."+path, &body)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		q.Header.Set("Content-Encoding", "gzip")
		resp, err := hc.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	for _, path := range []string{"UserService/AddUsers", "UserService/ListUsers", "ArchiveService/Search", "StatusService/Status"} {
		if code, text := post(path, "x", 17<<20); code != http.StatusForbidden || !strings.Contains(text, "only administrators") {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	for _, path := range []string{"ContactService/AddContacts", "PeopleService/FindPeople", "PresenceService/GetPresence"} {
		if code, text := post(path, "x", 5<<20); code != http.StatusTooManyRequests || !strings.Contains(text, "larger") {
			t.Errorf("%s: %d %.200s", path, code, text)
		}
	}
	if code, text := post("ContactService/RemoveContact", "address", 1<<20); code < 400 || len(text) > 1200 {
		t.Errorf("%d, %d bytes: %.100s", code, len(text), text)
	}
}
