package sqlstore

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

func TestUsers(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		users, ctx := r.Users(), t.Context()
		many := make([]store.User, 10_000)
		for i := range many {
			many[i] = store.User{AOR: fmt.Sprintf("user%05d@example.com", i), Name: fmt.Sprintf("User %d", i), Password: strings.Repeat("p", 97),
				HA1MD5: make([]byte, 60), HA1SHA256: make([]byte, 76)}
		}
		if err := users.AddUsers(ctx, many); err != nil {
			t.Fatal(err)
		}
		if n, err := users.CountUsers(ctx); n != 10_000 || err != nil {
			t.Error(n, err)
		}
		err := users.AddUsers(ctx, []store.User{{AOR: "new@example.com"}, many[7], many[8]})
		if !errors.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "user00007@example.com, user00008@example.com") {
			t.Errorf("users that exist: %v", err)
		}
		if _, err := users.User(ctx, "new@example.com"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a part of a list that failed was added: %v", err)
		}
		if err := users.AddUsers(ctx, []store.User{{AOR: "twice@example.com"}, {AOR: "twice@example.com"}}); !errors.Is(err, errs.Invalid) {
			t.Errorf("twice in a list: %v", err)
		}
		u := store.User{AOR: "Ünal_x@example.com", Name: "100% Ünal", Admin: true}
		if err := users.AddUsers(ctx, []store.User{u, {AOR: "unalyx@example.com"}, {AOR: "carol@example.org"}}); err != nil {
			t.Fatal(err)
		}
		got, err := users.User(ctx, u.AOR)
		if err != nil || !got.Admin || got.Created.IsZero() {
			t.Fatal(got, err)
		}
		got.Admin, got.Disabled, got.Password = false, true, "new"
		if err := users.UpdateUser(ctx, *got); err != nil {
			t.Fatal(err)
		}
		again, err := users.User(ctx, u.AOR)
		if diff := cmp.Diff(got, again, cmpopts.IgnoreFields(store.User{}, "Changed"), cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Error(diff, err)
		}
		for _, c := range []struct {
			f    store.UserFilter
			want []string
		}{
			{store.UserFilter{Domain: "example.org"}, []string{"carol@example.org"}},
			{store.UserFilter{Match: "0%"}, []string{u.AOR}},
			{store.UserFilter{Match: "nal_X"}, []string{u.AOR}},
			{store.UserFilter{Match: "CAROL"}, []string{"carol@example.org"}},
			{store.UserFilter{After: "user00010@example.com", Limit: 2}, []string{"user00011@example.com", "user00012@example.com"}},
		} {
			list, err := users.Users(ctx, c.f)
			var aors []string
			for _, u := range list {
				aors = append(aors, u.AOR)
			}
			if err != nil || !slices.Equal(aors, c.want) {
				t.Errorf("%+v: got %v, %v", c.f, aors, err)
			}
		}
		if err := users.UpdateUser(ctx, store.User{AOR: "nobody@x"}); !errors.Is(err, errs.NotFound) {
			t.Error(err)
		}
	})
}

func TestDevicePasswordsAndRemoval(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		users, ctx := r.Users(), t.Context()
		p := store.DevicePassword{ID: "d1", AOR: "alice@x", Label: "desk", HA1MD5: []byte{1}}
		if err := users.AddDevicePassword(ctx, p); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("for nobody: %v", err)
		}
		if err := users.AddUsers(ctx, []store.User{{AOR: "alice@x"}, {AOR: "bob@x"}}); err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC().Truncate(time.Microsecond)
		for _, err := range []error{
			users.AddDevicePassword(ctx, p),
			users.AddDevicePassword(ctx, store.DevicePassword{ID: "d2", AOR: "alice@x", Created: now.Add(-time.Hour)}),
			users.AddDevicePassword(ctx, store.DevicePassword{ID: "d3", AOR: "bob@x"}),
			users.TouchDevicePasswords(ctx, map[string]time.Time{"d1": now, "gone": now}),
			users.RevokeDevicePassword(ctx, "alice@x", "d2"),
			r.Bindings().SaveBindings(ctx, []store.Binding{{AOR: "alice@x", Key: "k"}, {AOR: "bob@x", Key: "k"}}, nil),
			r.Cursors().SaveCursors(ctx, []store.Cursor{{AOR: "alice@x", Device: "d", Seq: 1}, {AOR: "bob@x", Seq: 1}}, nil),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := users.AddDevicePassword(ctx, p); !errors.Is(err, errs.Conflict) {
			t.Errorf("the same again: %v", err)
		}
		if err := users.RevokeDevicePassword(ctx, "alice@x", "d3"); !errors.Is(err, errs.NotFound) {
			t.Errorf("that of another account: %v", err)
		}
		list, err := users.DevicePasswords(ctx, "alice@x")
		if err != nil || len(list) != 2 || list[0].ID != "d2" || !list[0].Revoked || list[1].Revoked || !list[1].LastUsed.Equal(now) {
			t.Errorf("%+v, %v", list, err)
		}
		if err := users.RemoveUser(ctx, "alice@x"); err != nil {
			t.Fatal(err)
		}
		if err := users.RemoveUser(ctx, "alice@x"); !errors.Is(err, errs.NotFound) {
			t.Errorf("twice: %v", err)
		}
		list, err = users.DevicePasswords(ctx, "alice@x")
		bindings, err2 := r.Bindings().LoadBindings(ctx)
		cursors, err3 := r.Cursors().LoadCursors(ctx, "alice@x")
		if len(list) != 0 || len(bindings) != 1 || len(cursors) != 0 || errors.Join(err, err2, err3) != nil {
			t.Errorf("left: %v %v %v, %v", list, bindings, cursors, errors.Join(err, err2, err3))
		}
	})
}

func TestBindings(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx := t.Context()
		now := time.Now().UTC().Truncate(time.Microsecond)
		b := store.Binding{AOR: "alice@x", Key: "k1", Contact: "sip:alice@192.0.2.1;ob", Params: `;+sip.instance="<urn:uuid:1>"`, Instance: "<urn:uuid:1>",
			Device: "<urn:uuid:1>", RegID: 1, CallID: "c", CSeq: 4294967295, UserAgent: "phone \xff\x00", Path: "<sip:p;lr>", Q: 1000, Created: now,
			Updated: now, Expires: now.Add(time.Hour), Transport: "tls", Listener: "tls:0.0.0.0:5061", Local: "[::1]:5061", Remote: "192.0.2.1:1",
			Outbound: true, Password: "d1", GRUU: "seed"}
		if err := r.Bindings().SaveBindings(ctx, []store.Binding{b, {AOR: "alice@x", Key: "k2"}}, nil); err != nil {
			t.Fatal(err)
		}
		b.UserAgent = "phone \uFFFD\uFFFD"
		b.CSeq = 7
		old := b
		old.CSeq = 6 // of two for one key the last counts
		if err := r.Bindings().SaveBindings(ctx, []store.Binding{old, b}, []store.BindingKey{{AOR: "alice@x", Key: "k2"}, {AOR: "x", Key: "y"}}); err != nil {
			t.Fatal(err)
		}
		got, err := r.reopen(t, o).Bindings().LoadBindings(ctx)
		if diff := cmp.Diff([]store.Binding{b}, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
}

// TestCursorsModel compares the table of cursors with a map, over any sequence of saves and removals.
func TestCursorsModel(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		now := time.Now().UTC().Truncate(time.Microsecond)
		run := 0
		rapid.Check(t, func(rt *rapid.T) {
			run++
			model := make(map[store.CursorKey]store.Cursor)
			aor := fmt.Sprintf("user%d@x", run)
			for range rapid.IntRange(1, 6).Draw(rt, "steps") {
				device := rapid.SampledFrom([]string{"", "plain", "<urn:uuid:1>"})
				put := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) store.Cursor {
					return store.Cursor{AOR: aor, Device: device.Draw(rt, "device"), Seq: rapid.Int64Range(0, 20).Draw(rt, "seq"), Seen: now,
						Created: now, Lapsed: rapid.Bool().Draw(rt, "lapsed")}
				}), 0, 4).Draw(rt, "put")
				var del []store.CursorKey
				for _, d := range rapid.SliceOfN(device, 0, 2).Draw(rt, "del") {
					del = append(del, store.CursorKey{AOR: aor, Device: d})
				}
				if err := r.Cursors().SaveCursors(t.Context(), put, del); err != nil {
					rt.Fatal(err)
				}
				for _, k := range del {
					delete(model, k)
				}
				best := make(map[store.CursorKey]store.Cursor)
				for _, c := range put {
					k := store.CursorKey{AOR: c.AOR, Device: c.Device}
					if b, ok := best[k]; !ok || c.Seq >= b.Seq {
						best[k] = c
					}
				}
				for k, c := range best {
					c.Seq = max(c.Seq, model[k].Seq)
					model[k] = c
				}
			}
			got, err := r.Cursors().LoadCursors(t.Context(), aor)
			if err != nil {
				rt.Fatal(err)
			}
			want := slices.SortedFunc(maps.Values(model), func(a, b store.Cursor) int { return strings.Compare(a.Device, b.Device) })
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				rt.Fatal(diff)
			}
		})
		n := 0
		if err := r.Cursors().AllCursors(t.Context(), func(store.Cursor) error { n++; return store.ErrStop }); err != nil || n > 1 {
			t.Error(n, err)
		}
	})
}

func TestSettings(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		s := open(t, o).Settings()
		if _, err := s.Setting(t.Context(), "x"); !errors.Is(err, errs.NotFound) {
			t.Error(err)
		}
		for _, want := range []string{"one", "two", ""} {
			if err := s.SetSetting(t.Context(), "x", []byte(want)); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Setting(t.Context(), "x"); string(got) != want || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
		if err := s.SetSetting(t.Context(), "x", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Setting(t.Context(), "x"); !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
	})
}
