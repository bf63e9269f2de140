package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

var root = Actor{Name: "root@localhost", Via: "cli"}

// rig is the service on a real store.
type rig struct {
	*Service
	t     *testing.T
	store both
	stop  func() // the store, so that nothing can be recorded
	keys  *auth.Keys
	shown *prometheus.Registry // the metrics of the store

	mu      sync.Mutex
	changes []string
}

type both struct {
	store.Log
	accounts
}

type accounts interface{ store.Users }

// onEach runs a test on SQLite, and on PostgreSQL when PARLEY_TEST_POSTGRES names a server.
func onEach(t *testing.T, test func(r *rig)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(start(t, sqlstore.Options{Dir: t.TempDir()}))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(start(t, postgres(t)))
	})
}

var schemas atomic.Int64

func postgres(t *testing.T) sqlstore.Options {
	server := os.Getenv("PARLEY_TEST_POSTGRES")
	if server == "" {
		t.Skip("not tested on PostgreSQL: set PARLEY_TEST_POSTGRES=postgres://user@host:port/database")
	}
	schema := fmt.Sprintf("directory%d_%d", os.Getpid(), schemas.Add(1))
	db, err := sql.Open("pgx", server)
	if err == nil {
		_, err = db.Exec("CREATE SCHEMA " + schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = db.Exec("DROP SCHEMA " + schema + " CASCADE")
		_ = db.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return sqlstore.Options{Dir: t.TempDir(), URL: u.String()}
}

func start(t *testing.T, o sqlstore.Options) *rig {
	shown := prometheus.NewRegistry()
	o.Log, o.Text, o.Registerer = slog.New(slog.DiscardHandler), func(*store.Record) string { return "" }, shown
	st, err := sqlstore.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = st.Serve(ctx) })
	r := &rig{t: t, store: both{st.Log(), st.Users()}, shown: shown}
	r.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(func() { r.stop(); _ = st.Close() })
	r.keys, err = auth.OpenKeys(t.Context(), filepath.Join(o.Dir, "master.key"), st.Settings())
	if err != nil {
		t.Fatal(err)
	}
	r.Service = New(Options{Store: r.store, People: st.People(), Keys: r.keys, Domains: []string{"example.com", "example.org"}, Changed: func(aor string, c Change) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changes = append(r.changes, string(c)+" "+aor)
	}})
	return r
}

// told is what Changed was told since the last call.
func (r *rig) told() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := strings.Join(r.changes, ", ")
	r.changes = nil
	return text
}

// acts are the administrative records as "action of actor via door: address device".
func (r *rig) acts() []string {
	r.t.Helper()
	var list []string
	for after := int64(0); ; {
		page, err := r.store.Read(r.t.Context(), after, 1000)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(page) == 0 {
			return list
		}
		for _, rec := range page {
			after = rec.Seq
			list = append(list, strings.TrimSpace(rec.Kind+" "+rec.Meta[store.MetaAction]+" by "+rec.From+" via "+rec.Meta[store.MetaVia]+": "+rec.To+" "+rec.Device))
		}
	}
}

func (r *rig) add(addresses ...string) {
	r.t.Helper()
	for _, a := range addresses {
		if _, err := r.Add(r.t.Context(), root, []NewUser{{AOR: a, Password: "secret"}}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.told()
}

// Each act is recorded with who did it, and announced.
func TestActsAreRecorded(t *testing.T) {
	onEach(t, func(r *rig) {
		ctx := r.t.Context()
		const alice = "alice@example.com"
		var device store.DevicePassword
		for _, row := range []struct {
			do   func() error
			act  string
			told string
		}{
			{func() error {
				_, err := r.Add(ctx, root, []NewUser{{AOR: " sip:alice@EXAMPLE.com ", Name: " Alice ", Password: "secret", Admin: true}})
				return err
			}, "user.add", "added"},
			{func() error { return r.SetPassword(ctx, root, alice, "other") }, "user.passwd", "password"},
			{func() error { return r.SetDisabled(ctx, root, alice, true) }, "user.disable", "disabled"},
			{func() error { return r.SetDisabled(ctx, root, alice, false) }, "user.enable", "enabled"},
			{func() (err error) {
				device, _, err = r.AddDevice(ctx, root, alice, "desk phone")
				return err
			}, "device.add", "device password added"},
			{func() error { return r.RevokeDevice(ctx, root, alice, device.ID) }, "device.revoke", "device password revoked"},
			{func() error { return r.Remove(ctx, root, alice) }, "user.remove", "removed"},
		} {
			if err := row.do(); err != nil {
				r.t.Fatalf("%s: %v", row.act, err)
			}
			acts := r.acts()
			want := "admin " + row.act + " by root@localhost via cli: " + alice
			if strings.HasPrefix(row.act, "device") {
				want += " " + device.ID
			}
			if got := acts[len(acts)-1]; got != want {
				r.t.Errorf("record %q, want %q", got, want)
			}
			if got := r.told(); got != row.told+" "+alice {
				r.t.Errorf("%s: told %q", row.act, got)
			}
		}
		if n := len(r.acts()); n != 7 {
			r.t.Errorf("%d records, want 7", n)
		}
	})
}

// What cannot be recorded is not done.
func TestUnrecordedActsAreRefused(t *testing.T) {
	onEach(t, func(r *rig) {
		ctx := r.t.Context()
		r.add("alice@example.com")
		device, _, err := r.AddDevice(ctx, root, "alice@example.com", "x")
		if err != nil {
			r.t.Fatal(err)
		}
		before, err := r.Get(ctx, "alice@example.com")
		if err != nil {
			r.t.Fatal(err)
		}
		r.told()
		r.stop()
		for name, do := range map[string]func() error{
			"add": func() error {
				_, err := r.Add(ctx, root, []NewUser{{AOR: "bob@example.com", Password: "p"}})
				return err
			},
			"passwd":     func() error { return r.SetPassword(ctx, root, "alice@example.com", "other") },
			"disable":    func() error { return r.SetDisabled(ctx, root, "alice@example.com", true) },
			"remove":     func() error { return r.Remove(ctx, root, "alice@example.com") },
			"add device": func() error { _, _, err := r.AddDevice(ctx, root, "alice@example.com", ""); return err },
			"revoke":     func() error { return r.RevokeDevice(ctx, root, "alice@example.com", device.ID) },
		} {
			err := do()
			if !errors.Is(err, errs.Unavailable) || !strings.Contains(errs.Reason(err), "nothing was changed") {
				r.t.Errorf("%s: %v (%s)", name, err, errs.Reason(err))
			}
		}
		after, err := r.Get(ctx, "alice@example.com")
		if err != nil || after.Password != before.Password || after.Disabled {
			r.t.Errorf("alice was changed: %+v %v", after, err)
		}
		if list, err := r.Devices(ctx, "alice@example.com"); err != nil || len(list) != 1 || list[0].Revoked {
			r.t.Errorf("devices were changed: %+v %v", list, err)
		}
		if _, err := r.Get(ctx, "bob@example.com"); !errors.Is(err, errs.NotFound) {
			r.t.Errorf("bob: %v", err)
		}
		if told := r.told(); told != "" {
			r.t.Errorf("told %q", told)
		}
	})
}

func TestCanonical(t *testing.T) {
	s := New(Options{Domains: []string{"example.com", "Example.ORG"}})
	for _, row := range []struct{ in, want string }{
		{"alice@example.com", "alice@example.com"},
		{"  sip:alice@EXAMPLE.com ", "alice@example.com"},
		{"SIP:alice@example.com", "alice@example.com"},
		{"Alice@example.com", "Alice@example.com"}, // the user part is case-sensitive, RFC 3261 §19.1.4
		{"alice@example.org", "alice@example.org"},
		{"alice@example.com.", "alice@example.com"},
		{"+4930123@example.com", "+4930123@example.com"},
		{"o'neill.x-y_z~(a)@example.com", "o'neill.x-y_z~(a)@example.com"},
		{"%61lice@example.com", "alice@example.com"},
		{"a%20b@example.com", "a%20b@example.com"},
		{"j%c3%bcrgen@example.com", "j%C3%BCrgen@example.com"},
	} {
		if got, err := s.Canonical(row.in); got != row.want || err != nil {
			t.Errorf("%q: %q %v, want %q", row.in, got, err, row.want)
		}
	}
	for _, in := range []string{
		"", "alice", "@example.com", "alice@", "alice smith@example.com", "alice@other.net", "alice@example.com:5060", "alice:secret@example.com",
		"sips:alice@example.com", "tel:+4930", "alice@example.com;transport=tcp", "alice@example.com?Subject=x", "<sip:alice@example.com>",
		"Alice <alice@example.com>", "alice@example.com\nbob@example.com", "a@b@example.com", "%ff@example.com", "\xff@example.com",
		strings.Repeat("a", 300) + "@example.com", "alice@192.0.2.1", "alice@sub.example.com",
	} {
		got, err := s.Canonical(in)
		if !errors.Is(err, errs.Invalid) || got != "" {
			t.Errorf("%q: %q %v, want a refusal", in, got, err)
			continue
		}
		if text := err.Error(); !strings.Contains(text, "example.com") || len(text) > 600 || strings.ContainsAny(text, "\n") {
			t.Errorf("%q: the error does not help: %s", in, text)
		}
	}
}

// A name in its own letters is the same account as with escapes.
func TestUnicode(t *testing.T) {
	s := New(Options{Domains: []string{"example.com"}})
	for _, in := range []string{"jürgen@example.com", "j\u00fcrgen@example.com", "ju\u0308rgen@example.com", "j%C3%BCrgen@example.com"} {
		if got, err := s.Canonical(in); got != "j%C3%BCrgen@example.com" || err != nil {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
}

// One user of the list exists: the error names it, and nobody is added or recorded.
func TestTaken(t *testing.T) {
	onEach(t, func(r *rig) {
		ctx := r.t.Context()
		r.add("alice@example.com", "bob@example.com")
		records := len(r.acts())
		list := []NewUser{{AOR: "new@example.com", Password: "p"}, {AOR: "Bob@example.com", Password: "p"}, {AOR: "bob@EXAMPLE.com", Password: "p"}}
		_, err := r.Add(ctx, root, list)
		if !errors.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "bob@example.com") {
			r.t.Errorf("%v", err)
		}
		_, err = r.Add(ctx, root, []NewUser{{AOR: "new@example.com", Password: "p"}, {AOR: "sip:new@example.com", Password: "p"}})
		if !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "new@example.com is listed twice") {
			r.t.Errorf("%v", err)
		}
		if n := len(r.acts()); n != records {
			r.t.Errorf("%d records of what was not done", n-records)
		}
		if _, err := r.Get(ctx, "new@example.com"); !errors.Is(err, errs.NotFound) {
			r.t.Errorf("new was added: %v", err)
		}
	})
}

func TestMissing(t *testing.T) {
	onEach(t, func(r *rig) {
		ctx := r.t.Context()
		for name, do := range map[string]func() error{
			"get":     func() error { _, err := r.Get(ctx, "nobody@example.com"); return err },
			"passwd":  func() error { return r.SetPassword(ctx, root, "nobody@example.com", "p") },
			"disable": func() error { return r.SetDisabled(ctx, root, "nobody@example.com", true) },
			"remove":  func() error { return r.Remove(ctx, root, "nobody@example.com") },
			"device":  func() error { _, _, err := r.AddDevice(ctx, root, "nobody@example.com", ""); return err },
		} {
			if err := do(); !errors.Is(err, errs.NotFound) || !strings.Contains(errs.Reason(err), "nobody@example.com") {
				r.t.Errorf("%s: %v (%s)", name, err, errs.Reason(err))
			}
		}
		r.add("alice@example.com")
		records := len(r.acts())
		if err := r.RevokeDevice(ctx, root, "alice@example.com", "nothing"); !errors.Is(err, errs.NotFound) {
			r.t.Errorf("revoke: %v", err)
		}
		if n := len(r.acts()); n != records {
			r.t.Error("an act that was not done is recorded")
		}
	})
}

func TestPasswords(t *testing.T) {
	onEach(t, func(r *rig) {
		ctx := r.t.Context()
		for _, bad := range []string{"", strings.Repeat("x", auth.MaxPassword+1), "a\x00b"} {
			_, err := r.Add(ctx, root, []NewUser{{AOR: "alice@example.com", Password: bad}})
			if !errors.Is(err, errs.Invalid) || !strings.Contains(errs.Reason(err), "the password of alice@example.com cannot be used: it ") {
				r.t.Errorf("%.10q: %v (%s)", bad, err, errs.Reason(err))
			}
		}
		r.add("alice@example.com")
		u, err := r.Get(ctx, "alice@example.com")
		if err != nil {
			r.t.Fatal(err)
		}
		if !auth.VerifyPassword(u.Password, "secret") || !strings.HasPrefix(u.Password, "$argon2id$") {
			r.t.Errorf("the hash %q is not of the password", u.Password)
		}
		for _, sealed := range [][]byte{u.HA1MD5, u.HA1SHA256} {
			if len(sealed) < 32 || strings.Contains(string(sealed), "secret") {
				r.t.Errorf("not sealed: %q", sealed)
			}
		}
		if !r.keys.VerifySealed(u.AOR, u.HA1SHA256, "secret") || r.keys.VerifySealed(u.AOR, u.HA1SHA256, "other") {
			r.t.Error("the sealed value is not of the password")
		}
		if err := r.SetPassword(ctx, root, u.AOR, "other"); err != nil {
			r.t.Fatal(err)
		}
		u, err = r.Get(ctx, u.AOR)
		if err != nil || !auth.VerifyPassword(u.Password, "other") || !r.keys.VerifySealed(u.AOR, u.HA1SHA256, "other") {
			r.t.Errorf("the new password does not fit: %v", err)
		}
		d, password, err := r.AddDevice(ctx, root, u.AOR, "desk phone")
		if err != nil || d.Label != "desk phone" || !r.keys.VerifySealed(u.AOR, d.HA1SHA256, password) {
			r.t.Errorf("device password: %+v %v", d, err)
		}
	})
}

func TestNames(t *testing.T) {
	onEach(t, func(r *rig) {
		ctx := r.t.Context()
		for _, bad := range []string{"two\nlines", "bell\a", "\xff", strings.Repeat("n", 300)} {
			if _, err := r.Add(ctx, root, []NewUser{{AOR: "a@example.com", Name: bad, Password: "p"}}); !errors.Is(err, errs.Invalid) {
				r.t.Errorf("%.10q: %v", bad, err)
			}
		}
		if _, err := r.Add(ctx, root, []NewUser{{AOR: "a@example.com", Name: " Jürgen \"J\" Müller ", Password: "p"}}); err != nil {
			r.t.Fatal(err)
		}
		if u, err := r.Get(ctx, "a@example.com"); err != nil || u.Name != `Jürgen "J" Müller` {
			r.t.Errorf("%+v %v", u, err)
		}
	})
}

// commits is how many transactions the log has taken.
func (r *rig) commits() int {
	r.t.Helper()
	families, err := r.shown.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "parley_log_batch_records" {
			return int(f.GetMetric()[0].GetHistogram().GetSampleCount())
		}
	}
	r.t.Fatal("no histogram of the log's transactions")
	return 0
}

// 10,000 users in seconds: many in a transaction, as each costs a sync.
func TestMany(t *testing.T) {
	onEach(t, func(r *rig) {
		ctx := r.t.Context()
		list := make([]NewUser, 10_000)
		for i := range list {
			list[i] = NewUser{AOR: fmt.Sprintf("user%05d@example.com", i), Name: fmt.Sprint("User ", i), Password: fmt.Sprint("password ", i)}
		}
		n, err := r.Add(ctx, root, list)
		if n != len(list) || err != nil {
			r.t.Fatal(n, err)
		}
		if n := r.commits(); n == 0 || n > len(list)/10 {
			r.t.Errorf("%d users took %d transactions", len(list), n)
		} else {
			r.t.Logf("%d users took %d transactions", len(list), n)
		}
		if n, err := r.store.CountUsers(ctx); n != len(list) || err != nil {
			r.t.Errorf("%d users %v", n, err)
		}
		if n := len(r.acts()); n != len(list) {
			r.t.Errorf("%d records", n)
		}
		u, err := r.Get(ctx, "user09999@example.com")
		if err != nil || !r.keys.VerifySealed(u.AOR, u.HA1SHA256, "password 9999") {
			r.t.Errorf("%+v %v", u, err)
		}
		list[9_500].AOR = "fresh@example.com"
		if _, err := r.Add(ctx, root, list[9_499:]); !errors.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "user09499@example.com") || strings.Count(err.Error(), "@") > 6 {
			r.t.Errorf("%v", err)
		}
		page, err := r.List(ctx, store.UserFilter{After: "user09997@example.com", Limit: 5})
		if err != nil || len(page) != 2 || page[0].AOR != "user09998@example.com" {
			r.t.Errorf("%+v %v", page, err)
		}
	})
}

// stutter is the log of a disk that stalls: it refuses so many records, then goes on.
type stutter struct {
	store.Log
	left atomic.Int64
}

func (s *stutter) Append(r *store.Record, done func(error)) {
	if s.left.Add(-1) >= 0 {
		go done(store.ErrUnavailable)
		return
	}
	s.Log.Append(r, done)
}

// A moment without the disk does not end an import, and no user is recorded twice.
func TestImportOutlastsAStall(t *testing.T) {
	onEach(t, func(r *rig) {
		log := &stutter{Log: r.store.Log}
		log.left.Store(30)
		s := New(Options{Store: both{log, r.store.accounts}, Keys: r.keys, Domains: []string{"example.com"}, Changed: func(string, Change) {}})
		list := make([]NewUser, 20)
		for i := range list {
			list[i] = NewUser{AOR: fmt.Sprintf("u%d@example.com", i), Password: "p"}
		}
		if n, err := s.Add(r.t.Context(), root, list); n != 20 || err != nil {
			r.t.Fatal(n, err)
		}
		if n := len(r.acts()); n != 20 {
			r.t.Errorf("%d records", n)
		}
		log.left.Store(1)
		if err := s.Remove(r.t.Context(), root, "u1@example.com"); !errors.Is(err, errs.Unavailable) {
			r.t.Errorf("a single act was not refused: %v", err)
		}
	})
}
