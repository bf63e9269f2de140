package contact

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

const alice, bob, carol = "alice@example.com", "bob@example.com", "carol@example.com"

var (
	ctx   = context.Background()
	self  = Actor{Name: alice, Via: "api"}
	admin = Actor{Name: "root@localhost", Via: "cli", Admin: true}
)

// parts are what the service sees of a store, and what tests need beside it.
type parts struct {
	store.Contacts
	store.Users
	store.Log
}

// rig is the service on a real store.
type rig struct {
	*Service
	t     testing.TB
	store parts
	stop  func() // the store, so that nothing can be recorded

	mu      sync.Mutex
	changes []Change
}

// onEach runs a test on SQLite, and on PostgreSQL when PARLEY_TEST_POSTGRES names a server.
func onEach(t *testing.T, test func(r *rig)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(start(t, sqlstore.Options{Dir: t.TempDir()}, Options{}))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(start(t, postgres(t), Options{}))
	})
}

var schemas atomic.Int64

func postgres(t *testing.T) sqlstore.Options {
	server := os.Getenv("PARLEY_TEST_POSTGRES")
	if server == "" {
		t.Skip("not tested on PostgreSQL: set PARLEY_TEST_POSTGRES=postgres://user@host:port/database")
	}
	schema := fmt.Sprintf("contact%d_%d", os.Getpid(), schemas.Add(1))
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

// start makes a service with the accounts alice, bob and carol.
func start(t testing.TB, so sqlstore.Options, o Options) *rig {
	so.Text = func(*store.Record) string { return "" }
	st, err := sqlstore.Open(ctx, so)
	if err != nil {
		t.Fatal(err)
	}
	serving, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = st.Serve(serving) })
	r := &rig{t: t, store: parts{st.Contacts(), st.Users(), st.Log()}}
	r.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(func() { r.stop(); _ = st.Close() })
	o.Domains = []string{"example.com", "example.org"}
	o.Changed = func(c Change) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changes = append(r.changes, c)
	}
	if o.Store == nil {
		o.Store = r.store
	}
	r.Service = New(o)
	if err := st.Users().AddUsers(ctx, []store.User{{AOR: alice}, {AOR: bob}, {AOR: carol}}); err != nil {
		t.Fatal(err)
	}
	return r
}

// told is what Changed was told since the last call: "owner", and behind it "levels of x,y" or "levels".
func (r *rig) told() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, c := range r.changes {
		text := c.Owner
		if c.Levels {
			text = strings.TrimSuffix(text+" levels of "+strings.Join(c.People, ","), " of ")
		}
		list = append(list, text)
	}
	r.changes = nil
	return strings.Join(list, "; ")
}

// acts are the administrative records as "action of actor: address about".
func (r *rig) acts() []string {
	r.t.Helper()
	page, err := r.store.Read(ctx, 0, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	var list []string
	for _, rec := range page {
		list = append(list, rec.Meta[store.MetaAction]+" of "+rec.From+" via "+rec.Meta[store.MetaVia]+": "+rec.To+" "+rec.Meta[metaAbout])
	}
	return list
}

// list is alice's as the others see it: addresses in order.
func (r *rig) list() string {
	r.t.Helper()
	l, err := r.List(ctx, alice)
	if err != nil {
		r.t.Fatal(err)
	}
	var list []string
	for i := range l.Len() {
		list = append(list, l.Address(i))
	}
	return strings.Join(list, " ")
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// refused checks the kind of an error and its words.
func (r *rig) refused(err error, kind errs.Kind, says string) {
	r.t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error()+" "+errs.Reason(err), says) {
		r.t.Errorf("%v: want %v with %q", err, kind, says)
	}
}

func (r *rig) add(addresses ...string) []store.Contact {
	r.t.Helper()
	var list []NewContact
	for _, a := range addresses {
		list = append(list, NewContact{Address: a})
	}
	added, err := r.Add(ctx, self, alice, list)
	r.must(err)
	return added
}

func (r *rig) group(name string) int64 {
	r.t.Helper()
	g, err := r.AddGroup(ctx, self, alice, name)
	r.must(err)
	return g.ID
}

func (r *rig) level(want, watcher string) {
	r.t.Helper()
	l, err := r.List(ctx, alice)
	r.must(err)
	if got, why := l.Level(r.o.Domains, alice, watcher); got.String() != want {
		r.t.Errorf("%s is %v to alice because %v, want %s", watcher, got, why, want)
	}
}

func relation(kind, subject string) store.RelationKey {
	return store.RelationKey{Kind: kind, Subject: subject}
}

func of[T any](v T) *T { return &v }

func sameIDs(got []int64, want ...int64) bool { return slices.Equal(got, want) }
