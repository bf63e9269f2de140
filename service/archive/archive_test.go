package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

var root = Actor{Name: "root@localhost", Via: "cli"}

const alice, bob = "alice@example.com", "bob@example.com"

type parts struct {
	store.Log
	store.Index
}

type rig struct {
	*Service
	t     *testing.T
	store parts
	stop  func()
}

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
	schema := fmt.Sprintf("archive%d_%d", os.Getpid(), schemas.Add(1))
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
	o.Log, o.Text = slog.New(slog.DiscardHandler), func(r *store.Record) string { return string(r.Body) }
	st, err := sqlstore.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = st.Serve(ctx) })
	r := &rig{t: t, store: parts{st.Log(), st.Index()}, stop: func() { cancel(); wg.Wait() }}
	r.Service = New(r.store, nil)
	t.Cleanup(func() { r.stop(); _ = st.Close() })
	return r
}

// say appends messages without waiting for more than the log.
func (r *rig) say(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		r.put(store.Record{Kind: store.KindMessage, From: alice, To: bob, ContentType: "text/plain", Body: []byte(text)})
	}
}

// put appends a record. A machine that is busy may refuse it for the moment.
func (r *rig) put(rec store.Record) {
	r.t.Helper()
	for range 60 {
		own, done := rec, make(chan error, 1)
		r.store.Append(&own, func(err error) { done <- err })
		if err := <-done; err == nil {
			return
		}
	}
	r.t.Fatal("the log refuses everything")
}

// What was said just before a search is found: it waits for the index.
func TestFindsWhatWasJustSaid(t *testing.T) {
	onEach(t, func(r *rig) {
		for i := range 50 {
			word := fmt.Sprintf("needle%d", i)
			r.say("hay", word, "hay")
			list, err := r.Search(r.t.Context(), root, store.Query{Words: word, Person: "sip:bob@EXAMPLE.com", Kinds: []string{store.KindMessage}})
			if err != nil || len(list) != 1 || string(list[0].Body) != word {
				r.t.Fatalf("%s: %d records %v", word, len(list), err)
			}
		}
	})
}

// What was said before it was edited or taken back is found, and that it was.
func TestFindsWhatWasChanged(t *testing.T) {
	onEach(t, func(r *rig) {
		for _, kind := range []string{store.KindMessage, store.KindEdit, store.KindRetract, store.KindReaction} {
			r.put(store.Record{Kind: kind, From: alice, To: bob, Body: []byte("words of " + kind)})
		}
		for _, row := range []struct {
			q    store.Query
			want string
		}{
			{store.Query{Person: bob}, "message edit retract reaction"},
			{store.Query{Words: "words", Person: alice}, "message edit"},
			{store.Query{Person: alice, With: bob, Kinds: []string{store.KindRetract, store.KindReaction}}, "retract reaction"},
		} {
			list, err := r.Search(r.t.Context(), root, row.q)
			var got []string
			for _, rec := range list {
				if rec.Kind != store.KindSearch {
					got = append(got, rec.Kind)
				}
			}
			if err != nil || strings.Join(got, " ") != row.want {
				r.t.Errorf("%+v: found %v, %v, want %s", row.q, got, err, row.want)
			}
		}
	})
}

// Who searched for what is on record, before anything is found.
func TestSearchesAreRecorded(t *testing.T) {
	onEach(t, func(r *rig) {
		since := time.Date(2026, 1, 31, 14, 0, 0, 0, time.UTC)
		for _, row := range []struct {
			q    store.Query
			want string
		}{
			{store.Query{}, "everything"},
			{store.Query{Words: `two "words"`, Person: bob}, `words="two \"words\"" person="bob@example.com"`},
			{store.Query{Person: alice, With: "bob@EXAMPLE.com", Since: since, Until: since.Add(time.Hour), Kinds: []string{"message", "admin"}},
				`person="alice@example.com" with="bob@example.com" kinds="message,admin" since="2026-01-31T14:00:00Z" until="2026-01-31T15:00:00Z"`},
		} {
			if _, err := r.Search(r.t.Context(), root, row.q); err != nil {
				r.t.Fatal(err)
			}
			list, err := r.store.Read(r.t.Context(), r.store.Head()-1, 1)
			if err != nil || len(list) != 1 {
				r.t.Fatal(err)
			}
			rec := list[0]
			if rec.Kind != store.KindSearch || rec.From != root.Name || rec.To != row.q.Person || rec.Meta[store.MetaQuery] != row.want || rec.Meta[store.MetaVia] != "cli" {
				r.t.Errorf("record %+v, want the query %s", rec, row.want)
			}
		}
	})
}

func TestUnrecordedSearchIsRefused(t *testing.T) {
	onEach(t, func(r *rig) {
		r.say("hello")
		r.stop()
		list, err := r.Search(r.t.Context(), root, store.Query{Words: "hello"})
		if list != nil || !errors.Is(err, errs.Unavailable) || !strings.Contains(errs.Reason(err), "was not searched") {
			r.t.Errorf("%v %v (%s)", list, err, errs.Reason(err))
		}
	})
}

func TestBadQueries(t *testing.T) {
	onEach(t, func(r *rig) {
		now := time.Now()
		for _, row := range []struct {
			q    store.Query
			says string
		}{
			{store.Query{Limit: -1}, "between 1 and 1000"},
			{store.Query{Limit: 1001}, "between 1 and 1000"},
			{store.Query{Words: strings.Repeat("x", 1001)}, "at most 1000"},
			{store.Query{With: bob}, "both"},
			{store.Query{Person: "bob"}, `"bob" is not an address`},
			{store.Query{Person: alice, With: "b b@x"}, "is not an address"},
			{store.Query{Since: now, Until: now.Add(-time.Hour)}, "before it begins"},
			{store.Query{Kinds: []string{"messages"}}, `kind "messages"; there are message, `},
		} {
			if _, err := r.Search(r.t.Context(), root, row.q); !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), row.says) {
				r.t.Errorf("%+v: %v, want %q", row.q, err, row.says)
			}
		}
		if r.store.Head() != 0 {
			r.t.Error("a search that was not made is recorded")
		}
	})
}

// Pages downwards and upwards hold each record once, though searches are recorded between them.
func TestPaging(t *testing.T) {
	onEach(t, func(r *rig) {
		texts := make([]string, 25)
		for i := range texts {
			texts[i] = fmt.Sprintf("page %02d", i)
		}
		r.say(texts...)
		for _, newest := range []bool{true, false} {
			var got []string
			for q := (store.Query{Words: "page", Newest: newest, Limit: 10, Kinds: []string{store.KindMessage}}); ; {
				list, err := r.Search(r.t.Context(), root, q)
				if err != nil {
					r.t.Fatal(err)
				}
				for _, rec := range list {
					got = append(got, string(rec.Body))
					if q.Before, q.After = rec.Seq, 0; !newest {
						q.Before, q.After = 0, rec.Seq
					}
				}
				if len(list) < q.Limit {
					break
				}
			}
			if len(got) != len(texts) || (got[0] == texts[0]) == newest || (got[24] == texts[24]) == newest {
				r.t.Errorf("newest %v: %q", newest, got)
			}
		}
	})
}

// never is an index that is being made again; the caller goes away when he waits for it.
type never struct {
	parts
	leave   func()
	waiting atomic.Int64
}

func (x *never) WaitFor(int64, func()) (cancel func()) {
	x.waiting.Add(1)
	x.leave()
	return func() { x.waiting.Add(-1) }
}

// A search that was given up does not go on waiting for the index.
func TestGivesUpWaiting(t *testing.T) {
	t.Parallel()
	r := start(t, sqlstore.Options{Dir: t.TempDir()})
	ctx, leave := context.WithCancel(t.Context())
	x := &never{parts: r.store, leave: leave}
	if _, err := New(x, nil).Search(ctx, root, store.Query{}); !errors.Is(err, errs.Unavailable) {
		t.Error(err)
	}
	if n := x.waiting.Load(); n != 0 {
		t.Errorf("%d go on waiting", n)
	}
}
