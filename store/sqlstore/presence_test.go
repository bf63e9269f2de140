package sqlstore

import (
	"bufio"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/presence"
)

// kept is what a store keeps of presence, by key.
type kept struct {
	Manual        map[string]store.ManualState
	Publications  map[string]store.Publication
	Subscriptions map[string]store.Subscription
}

func newKept() kept {
	return kept{map[string]store.ManualState{}, map[string]store.Publication{}, map[string]store.Subscription{}}
}

// readPresence reads everything, subscriptions of the events "presence" and "reg".
func readPresence(t testing.TB, p store.Presence) kept {
	t.Helper()
	k, ctx := newKept(), context.Background()
	list := []error{
		p.Manual(ctx, func(m *store.ManualState) error { return once(k.Manual, m.AOR, *m) }),
		p.Publications(ctx, func(v *store.Publication) error { return once(k.Publications, v.ETag, *v) }),
	}
	for _, event := range []string{"presence", "reg"} {
		list = append(list, p.Subscriptions(ctx, event, func(v *store.Subscription) error {
			if v.Event != event {
				return fmt.Errorf("asked for %s, got %s", event, v.Event)
			}
			return once(k.Subscriptions, v.Tag, *v)
		}))
	}
	if err := errors.Join(list...); err != nil {
		t.Fatal(err)
	}
	return k
}

func once[V any](m map[string]V, key string, v V) error {
	if _, there := m[key]; there {
		return fmt.Errorf("%s was read twice", key)
	}
	m[key] = v
	return nil
}

// soon is a time as the database keeps it.
func soon(d time.Duration) time.Time { return time.Now().Add(d).UTC().Truncate(time.Microsecond) }

// fillPresence puts something of each kind, for alice@example.com.
func fillPresence(t testing.TB, p store.Presence) {
	t.Helper()
	ctx := t.Context()
	if err := errors.Join(
		p.SetManual(ctx, store.ManualState{AOR: "alice@example.com", State: "busy", Note: "bäck at 14:00", Until: soon(time.Hour), Set: soon(0)}),
		p.SavePublications(ctx, []store.Publication{{ETag: "e1", AOR: "alice@example.com", Device: "urn:uuid:1", Alone: true, ContentType: "application/pidf+xml",
			Body: []byte("<presence\x00/>"), Updated: soon(0), Expires: soon(time.Hour)}}, nil),
		p.SaveSubscriptions(ctx, []store.Subscription{{Tag: "t1", Event: "presence", Watcher: "alice@example.com", Expires: soon(time.Hour), Data: []byte{0, 255}},
			{Tag: "t2", Event: "reg", Watcher: "out@example.net", Expires: soon(time.Hour)}}, nil),
	); err != nil {
		t.Fatal(err)
	}
}

// TestPresenceModel compares the tables with maps over any sequence of batches.
func TestPresenceModel(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx, p := t.Context(), r.Presence()
		if err := r.Users().AddUsers(ctx, []store.User{{AOR: "0@x"}, {AOR: "1@x"}, {AOR: "2@x"}}); err != nil {
			t.Fatal(err)
		}
		m := newKept()
		expires := func(rt *rapid.T) time.Time {
			return rapid.SampledFrom([]time.Time{{}, soon(time.Hour), soon(2 * time.Hour), soon(-time.Second)}).Draw(rt, "expires")
		}
		keys := func(rt *rapid.T) []string {
			return rapid.SliceOfN(rapid.SampledFrom([]string{"a", "B", "c'", "ä", "e f"}), 0, 6).Draw(rt, "keys")
		}
		aor := func(rt *rapid.T) string { return fmt.Sprint(rapid.IntRange(0, 2).Draw(rt, "aor"), "@x") }
		gone := func(at time.Time) bool { return !at.IsZero() && at.Before(time.Now()) }
		rapid.Check(t, func(rt *rapid.T) {
			var err error
			switch rapid.IntRange(0, 2).Draw(rt, "kind") {
			case 0:
				s := store.ManualState{AOR: aor(rt), State: rapid.SampledFrom([]string{"", "busy"}).Draw(rt, "state"),
					Note: rapid.SampledFrom([]string{"", "out"}).Draw(rt, "note"), Until: expires(rt), Set: soon(0)}
				err = p.SetManual(ctx, s)
				if m.Manual[s.AOR] = s; s.State == "" && s.Note == "" || gone(s.Until) {
					delete(m.Manual, s.AOR)
				}
			case 1:
				var save []store.Publication
				remove := keys(rt)
				for _, k := range remove {
					delete(m.Publications, k)
				}
				for _, k := range keys(rt) {
					v := store.Publication{ETag: k, AOR: aor(rt), Device: k, ContentType: "a/b", Body: []byte(k), Updated: soon(0), Expires: expires(rt)}
					save = append(save, v)
					if m.Publications[k] = v; gone(v.Expires) {
						delete(m.Publications, k)
					}
				}
				err = p.SavePublications(ctx, save, remove)
			case 2:
				var save []store.Subscription
				remove := keys(rt)
				for _, k := range remove {
					delete(m.Subscriptions, k)
				}
				for _, k := range keys(rt) {
					v := store.Subscription{Tag: k, Event: rapid.SampledFrom([]string{"presence", "reg"}).Draw(rt, "event"), Watcher: aor(rt), Expires: expires(rt),
						Data: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(rt, "data")}
					save = append(save, v)
					if m.Subscriptions[k] = v; gone(v.Expires) {
						delete(m.Subscriptions, k)
					}
				}
				err = p.SaveSubscriptions(ctx, save, remove)
			}
			if err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(m, readPresence(t, p), cmpopts.EquateEmpty()); diff != "" {
				rt.Fatal(diff)
			}
		})
	})
}

// TestPresenceGoes: what has expired leaves the tables, and what belongs to an account goes with it.
func TestPresenceGoes(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx, p := t.Context(), r.Presence()
		rows := func() string {
			var list []string
			for _, table := range presence.Tables {
				var n int
				if err := r.state.read.QueryRow(`SELECT count(*) FROM ` + table.Name).Scan(&n); err != nil {
					t.Fatal(err)
				}
				list = append(list, fmt.Sprint(n))
			}
			return strings.Join(list, " ")
		}
		if err := p.SetManual(ctx, store.ManualState{AOR: "nobody@x", State: "busy"}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("for nobody: %v", err)
		}
		if err := r.Users().AddUsers(ctx, []store.User{{AOR: "alice@example.com"}, {AOR: "bob@example.com"}}); err != nil {
			t.Fatal(err)
		}
		fillPresence(t, p)
		past := soon(-time.Second)
		var old []store.Publication
		for i := range store.PresenceBatch + 10 {
			old = append(old, store.Publication{ETag: fmt.Sprintf("old%d", i), AOR: "bob@example.com", Expires: past})
		}
		if err := errors.Join(
			p.SetManual(ctx, store.ManualState{AOR: "bob@example.com", Note: "gone", Until: past}),
			p.SavePublications(ctx, old, nil),
			p.SaveSubscriptions(ctx, []store.Subscription{{Tag: "old", Event: "presence", Watcher: "bob@example.com", Expires: past},
				{Tag: "nul\x00", Event: "presence", Watcher: "bob@example.com"}}, nil),
		); err != nil {
			t.Fatal(err)
		}
		if got, want := rows(), fmt.Sprint("2 ", store.PresenceBatch+11, " 4"); got != want {
			t.Fatalf("%s rows, want %s", got, want)
		}
		// The next that opens the tables looks at once.
		if err := r.Presence().SaveSubscriptions(ctx, nil, []string{"nul\x00"}); err != nil {
			t.Fatal(err)
		}
		if got := rows(); got != "1 1 2" {
			t.Errorf("%s rows are left", got)
		}
		if err := r.Users().RemoveUser(ctx, "alice@example.com"); err != nil {
			t.Fatal(err)
		}
		if got := rows(); got != "0 0 1" {
			t.Errorf("%s rows are left without the account", got)
		}
		stop := errors.New("enough")
		if err := p.Subscriptions(ctx, "reg", func(*store.Subscription) error { return stop }); !errors.Is(err, stop) {
			t.Error(err)
		}
		if err := p.Subscriptions(ctx, "reg", func(*store.Subscription) error { return store.ErrStop }); err != nil {
			t.Error(err)
		}
	})
}

// TestPresenceParts: others write between the parts of a large batch, and a batch up to the limit is one part.
func TestPresenceParts(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx, parts := t.Context(), 0
		db := r.state.tables()
		db.Change = func(ctx context.Context, doing string, fn func(*sql.Tx) error) error {
			if doing == "saving subscriptions" {
				parts++
			}
			// It would wait in vain for the one connection if the part before still had it.
			if err := r.Settings().SetSetting(ctx, "between", []byte{byte(parts)}); err != nil {
				return err
			}
			return r.state.change(ctx, doing, fn)
		}
		p := presence.New(db)
		const n = 20_000
		save, tags := subscriptions(n)
		for _, step := range []struct {
			save   []store.Subscription
			remove []string
			parts  int
			left   int
		}{
			{save, nil, n / store.PresenceBatch, n},
			{save[:store.PresenceBatch], nil, 1, n},
			{save[:store.PresenceBatch-1], tags[n-1:], 1, n - 1},
			{save[:1500], tags[:2500], 3, n - 1 - 1000}, // what is saved is not removed
			{nil, tags, n / store.PresenceBatch, 0},
			{nil, nil, 0, 0},
		} {
			parts = 0
			if err := p.SaveSubscriptions(ctx, step.save, step.remove); err != nil {
				t.Fatal(err)
			}
			left := 0
			if err := p.Subscriptions(ctx, "presence", func(*store.Subscription) error { left++; return nil }); err != nil {
				t.Fatal(err)
			}
			if parts != step.parts || left != step.left {
				t.Errorf("%d saved and %d removed in %d parts, %d are there; want %d and %d", len(step.save), len(step.remove), parts, left, step.parts, step.left)
			}
		}
	})
}

// subscriptions are n as a notifier keeps them: about 700 bytes each.
func subscriptions(n int) (list []store.Subscription, tags []string) {
	expires := soon(time.Hour)
	for i := range n {
		tag := fmt.Sprintf("%08x%08x", uint32(i)*2654435761, i) // in no order, as random ones
		list = append(list, store.Subscription{Tag: tag, Event: "presence", Watcher: fmt.Sprintf("user%d@example.com", i), Expires: expires, Data: make([]byte, 600)})
		tags = append(tags, tag)
	}
	return list, tags
}

// TestPresenceInOldFolder: a folder from before there was presence, with an account in it, can keep it.
func TestPresenceInOldFolder(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		oldState(t, o, 3, `INSERT INTO users (aor, name, password, admin, disabled, created, changed) VALUES ('alice@example.com', 'Alice', '', 0, 0, 1, 1)`)
		r := open(t, o)
		fillPresence(t, r.Presence())
		want := readPresence(t, r.Presence())
		r = r.reopen(t, o)
		if diff := cmp.Diff(want, readPresence(t, r.Presence())); diff != "" || len(want.Subscriptions) != 2 {
			t.Error(diff, want)
		}
	})
}

// TestRestoreEmptyLine: a line of presence that says nothing is refused.
func TestRestoreEmptyLine(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"presence":{}}`, `{"contact":{"owner":"a@x"}}`, `{"later":{}}`} {
		dir := t.TempDir()
		f, err := os.Create(filepath.Join(dir, BackupFile))
		if err != nil {
			t.Fatal(err)
		}
		zip := gzip.NewWriter(f)
		w := bufio.NewWriter(zip)
		if err := errors.Join(json.NewEncoder(w).Encode(line{Header: &header{Version: backupVersion}}), func() error { _, err := w.WriteString(text); return err }(),
			w.Flush(), zip.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if err := Restore(t.Context(), Options{Dir: t.TempDir()}, dir); !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// BenchmarkSubscriptions saves 20,000 subscriptions, new and again, and reads them.
func BenchmarkSubscriptions(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			o := Options{Dir: b.TempDir(), Log: testLog(b)}
			if database == "postgres" {
				o = postgresOptions(b)
			}
			r := open(b, o)
			p := r.Presence()
			save, tags := subscriptions(20_000)
			must := func(err error) {
				if err != nil {
					b.Fatal(err)
				}
			}
			b.Run("new", func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					must(p.SaveSubscriptions(b.Context(), nil, tags))
					b.StartTimer()
					must(p.SaveSubscriptions(b.Context(), save, nil))
				}
			})
			b.Run("again", func(b *testing.B) {
				must(p.SaveSubscriptions(b.Context(), save, nil))
				for b.Loop() {
					must(p.SaveSubscriptions(b.Context(), save, nil))
				}
			})
			b.Run("part", func(b *testing.B) { // how long another writer waits for
				for b.Loop() {
					must(p.SaveSubscriptions(b.Context(), save[:store.PresenceBatch], nil))
				}
			})
			b.Run("read", func(b *testing.B) {
				n := 0
				for b.Loop() {
					n = 0
					must(p.Subscriptions(b.Context(), "presence", func(*store.Subscription) error { n++; return nil }))
				}
				b.ReportMetric(float64(n), "rows")
			})
		})
	}
}
