package sqlstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// Drafts are kept, replaced and removed, survive a restart and a backup, and go with the account.
func TestDrafts(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx := t.Context()
		if err := r.Users().AddUsers(ctx, []store.User{{AOR: "alice@example.com"}, {AOR: "bob@example.com"}}); err != nil {
			t.Fatal(err)
		}
		at := time.Now().UTC().Truncate(time.Microsecond)
		draft := func(aor, peer, text string, after time.Duration) store.Draft {
			return store.Draft{AOR: aor, Peer: peer, Text: text, Changed: at.Add(after)}
		}
		for _, d := range []store.Draft{
			draft("alice@example.com", "bob@example.com", "first", 0),
			draft("alice@example.com", "carol@example.com", "grüße\x00", time.Second),
			draft("bob@example.com", "alice@example.com", "bob's", 0),
			draft("alice@example.com", "bob@example.com", "second", 2*time.Second),
			draft("alice@example.com", "nobody@example.com", "gone", 0),
			draft("alice@example.com", "nobody@example.com", "", 0),
		} {
			if err := r.Drafts().SetDraft(ctx, d); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Drafts().SetDraft(ctx, draft("nobody@example.com", "bob@example.com", "x", 0)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a draft of nobody: %v", err)
		}
		check := func(r *running, aor string, want ...store.Draft) {
			t.Helper()
			got, err := r.Drafts().Drafts(t.Context(), aor)
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Errorf("drafts of %s (-want +got):\n%s%v", aor, d, err)
			}
		}
		second, carol := draft("alice@example.com", "bob@example.com", "second", 2*time.Second), draft("alice@example.com", "carol@example.com", "grüße\uFFFD", time.Second)
		bobs := draft("bob@example.com", "alice@example.com", "bob's", 0)
		check(r, "alice@example.com", second, carol)
		r = r.reopen(t, o)
		check(r, "alice@example.com", second, carol)

		dir := t.TempDir()
		if err := r.Backup(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(t.TempDir(), "other")
		if err := os.Mkdir(other, 0o700); err != nil {
			t.Fatal(err)
		}
		into := Options{Dir: other, Log: o.Log}
		if err := Restore(t.Context(), into, dir); err != nil {
			t.Fatal(err)
		}
		check(open(t, into), "bob@example.com", bobs)

		if err := r.Users().RemoveUser(t.Context(), "alice@example.com"); err != nil {
			t.Fatal(err)
		}
		check(r, "alice@example.com")
		check(r, "bob@example.com", bobs)
		if _, err := r.Drafts().Draft(ctx, "alice@example.com", "bob@example.com"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a draft that is not there: %v", err)
		}
	})
}

// An account has a bounded number of drafts; one that is there can always be replaced.
func TestManyDrafts(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		if err := r.Users().AddUsers(t.Context(), []store.User{{AOR: "alice@example.com"}}); err != nil {
			t.Fatal(err)
		}
		set := func(n int) error {
			return r.Drafts().SetDraft(t.Context(), store.Draft{AOR: "alice@example.com", Peer: fmt.Sprintf("p%d@example.com", n), Text: "x", Changed: time.Now()})
		}
		for n := range store.MaxDrafts {
			if err := set(n); err != nil {
				t.Fatal(err)
			}
		}
		if err := set(store.MaxDrafts); errs.KindOf(err) != errs.TooMany {
			t.Errorf("one too many: %v", err)
		}
		if err := set(0); err != nil {
			t.Errorf("one that was there: %v", err)
		}
	})
}
