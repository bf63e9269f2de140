package sqlstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// everything is what a store holds, read through its interfaces.
type everything struct {
	Users    []store.User
	Devices  []store.DevicePassword
	Bindings []store.Binding
	Cursors  []store.Cursor
	Setting  []byte
	Lists    [2]*store.ContactChanges
	People   []string
	Presence kept
	Records  []store.Record
}

func readAll(t *testing.T, s *Store) (e everything) {
	t.Helper()
	var errors [7]error
	e.Users, errors[0] = s.Users().Users(t.Context(), store.UserFilter{})
	e.Devices, errors[1] = s.Users().DevicePasswords(t.Context(), "alice@example.com")
	e.Bindings, errors[2] = s.Bindings().LoadBindings(t.Context())
	e.Cursors, errors[3] = s.Cursors().LoadCursors(t.Context(), "alice@example.com")
	e.Setting, errors[4] = s.Settings().Setting(t.Context(), "key")
	e.Lists[0], errors[6] = s.Contacts().ContactChanges(t.Context(), "alice@example.com", 0)
	if errors[6] == nil && len(e.Lists[0].Contacts) > 0 { // and what was removed since the first
		e.Lists[1], errors[6] = s.Contacts().ContactChanges(t.Context(), "alice@example.com", e.Lists[0].Contacts[0].ID)
	}
	e.People = found(t, s.People(), "sales", 50)
	e.Presence = readPresence(t, s.Presence())
	for after := int64(0); errors[5] == nil; {
		var page []store.Record
		page, errors[5] = s.Log().Read(t.Context(), after, 1000)
		if len(page) == 0 {
			break
		}
		e.Records = append(e.Records, page...)
		after = page[len(page)-1].Seq
	}
	for _, err := range errors {
		if err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// fill puts something of each kind into a store.
func fill(t *testing.T, r *running) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	for _, err := range []error{
		r.Users().AddUsers(t.Context(), []store.User{
			{AOR: "alice@example.com", Name: "Älice", Password: "$argon2id$x", HA1MD5: []byte{0, 1, 255}, Admin: true,
				Person: store.Person{Title: "Head of Sales", Department: "D", Office: "O", Phone: "1", Mobile: "2", Email: "e@x"}},
			{AOR: "bob@example.com", Disabled: true}}),
		r.Users().AddDevicePassword(t.Context(), store.DevicePassword{ID: "d1", AOR: "alice@example.com", Label: "phone", HA1SHA256: []byte{9}}),
		r.Bindings().SaveBindings(t.Context(), []store.Binding{{AOR: "alice@example.com", Key: "k", Contact: "sip:a@192.0.2.1", RegID: 1,
			CSeq: 4294967295, Q: 1000, Expires: now.Add(time.Hour), Outbound: true}}, nil),
		r.Cursors().SaveCursors(t.Context(), []store.Cursor{{AOR: "alice@example.com", Device: "plain", Seq: 3, Seen: now}}, nil),
		r.Settings().SetSetting(t.Context(), "key", []byte("value")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c := &store.ContactChange{
		Put:          []store.Contact{{Address: "bob@example.com", Name: "Böb", Note: "a note", Favourite: true, Position: 5, Groups: []int64{3, 4}}, {Address: "tel:+49"}},
		PutGroups:    []store.ContactGroup{{Name: "friends", Position: 7}},
		PutRelations: []store.Relation{{RelationKey: store.RelationKey{Kind: store.RelationDomain, Subject: "example.net"}, Level: "team", Since: now}},
	}
	version, err := r.Contacts().ChangeContacts(t.Context(), "alice@example.com", 0, c)
	if err == nil {
		_, err = r.Contacts().ChangeContacts(t.Context(), "alice@example.com", version, &store.ContactChange{Remove: []int64{c.Put[1].ID}})
	}
	if err != nil {
		t.Fatal(err)
	}
	fillPresence(t, r.Presence())
	for i := range 50 {
		r.put(t, message("alice@example.com", "bob@example.com", fmt.Sprintf("message %d <&>\x00", i)))
	}
	r.put(t, &store.Record{Kind: store.KindCallStart, From: "alice@example.com", To: "bob@example.com"})
}

// TestBackupRestore writes a backup while records are appended, and restores it on each database from each.
func TestBackupRestore(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		fill(t, r)
		// One record is void, so that it must stay so.
		r = voidLast(t, r, o)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() { // the backup is made while the server works
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					ack := make(chan error, 1)
					r.Log().Append(message("alice@example.com", "bob@example.com", "meanwhile"), func(err error) { ack <- err })
					if err := <-ack; err != nil {
						t.Error(err)
					}
				}
			}
		}()
		dir := t.TempDir()
		before := r.Log().Head()
		err := r.Backup(t.Context(), dir)
		close(stop)
		<-done
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Backup(t.Context(), dir); err == nil {
			t.Error("a second backup overwrote the first")
		}
		want := readAll(t, r.Store)
		onEach(t, func(t *testing.T, to Options) {
			if err := Restore(t.Context(), to, dir); err != nil {
				t.Fatal(err)
			}
			r := open(t, to)
			got := readAll(t, r.Store)
			n := len(got.Records)
			if n == 0 || got.Records[n-1].Seq < before-2 || n > len(want.Records) {
				t.Fatalf("%d records, the backup began at %d", n, before)
			}
			want := want
			want.Records = want.Records[:n]
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(store.User{}, "Changed"), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			r.put(t, message("bob@example.com", "alice@example.com", "after"))
			r.indexed(t)
			if box, err := r.Index().Mailbox(t.Context(), "alice@example.com", 0, 10); err != nil || texts(box) != "after" {
				t.Error(texts(box), err)
			}
			r.stop()
			r.Close()
			if err := Restore(t.Context(), to, dir); !errors.Is(err, errs.Conflict) {
				t.Errorf("a store that is not empty was restored into: %v", err)
			}
		})
	})
}

// voidLast voids the last record, as the committer does after a hang.
func voidLast(t *testing.T, r *running, o Options) *running {
	t.Helper()
	list, err := r.Log().Read(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	r.stop()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	// The notes of a process that was killed in the moment of the refusal.
	notes := fmt.Sprintf("0 %s\ncut o", list[len(list)-1].ID)
	if err := os.WriteFile(filepath.Join(o.Dir, "log.refused"), []byte(notes), 0o600); err != nil {
		t.Fatal(err)
	}
	r = open(t, o)
	after, err := r.Log().Read(t.Context(), 0, 1000)
	if n := len(after); err != nil || n != len(list) || after[n-1].Kind != store.KindVoid || after[n-1].Ref != list[n-1].ID {
		t.Fatalf("%d records before, %d after one was voided and its void record was added: %v", len(list), n, err)
	}
	return r
}

// TestRestoreDamaged: a backup that was cut off or changed is refused, whatever the place.
func TestRestoreDamaged(t *testing.T) {
	t.Parallel()
	r := open(t, Options{Dir: t.TempDir()})
	fill(t, r)
	dir := t.TempDir()
	if err := r.Backup(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, BackupFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := Restore(t.Context(), Options{Dir: t.TempDir()}, dir); err != nil {
		t.Fatal("the whole backup:", err)
	}
	for n := 0; n < len(whole); n += 1 + len(whole)/12 {
		flipped := append([]byte(nil), whole...)
		flipped[n] ^= 0x10
		for name, damaged := range map[string][]byte{"cut": whole[:n], "flipped": flipped} {
			if name == "flipped" && n >= 4 && n < 10 {
				continue // the time and the flags of the gzip header say nothing about the content
			}
			bad := t.TempDir()
			if err := os.WriteFile(filepath.Join(bad, BackupFile), damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Restore(t.Context(), Options{Dir: t.TempDir()}, bad); err == nil {
				t.Errorf("a backup %s at %d of %d was restored", name, n, len(whole))
			}
		}
	}
	if err := Restore(t.Context(), Options{Dir: t.TempDir()}, t.TempDir()); !errors.Is(err, errs.NotFound) {
		t.Errorf("an empty folder: %v", err)
	}
}
