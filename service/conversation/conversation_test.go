package conversation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

const (
	alice = "alice@example.com"
	bob   = "bob@example.com"
	carol = "carol@example.com"
)

// rig is a service over a store.
type rig struct {
	*Service
	t     *testing.T
	store *sqlstore.Store

	mu      sync.Mutex // guards what follows
	taken   map[string]int64
	silent  map[string]bool // who does not tell what was read
	changed []string        // drafts
}

// onEach runs a test on SQLite, and on PostgreSQL when PARLEY_TEST_POSTGRES names a server.
func onEach(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newRig(t, ""))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newRig(t, schema(t)))
	})
}

var schemas atomic.Int64

// schema makes a schema of its own for the test, and returns its URL.
func schema(t *testing.T) string {
	t.Helper()
	server := os.Getenv("PARLEY_TEST_POSTGRES")
	if server == "" {
		t.Skip("not tested on PostgreSQL: set PARLEY_TEST_POSTGRES=postgres://user@host:port/database")
	}
	name := fmt.Sprintf("c%d_%d", os.Getpid(), schemas.Add(1))
	db, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE SCHEMA " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = db.Exec("DROP SCHEMA " + name + " CASCADE") // what is left is the next run's to drop
		_ = db.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}

func newRig(t *testing.T, database string) *rig {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	st, err := sqlstore.Open(t.Context(), sqlstore.Options{Dir: t.TempDir(), URL: database, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := st.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		served.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, store: st, taken: map[string]int64{}, silent: map[string]bool{}}
	r.Service = New(Options{Log: st.Log(), Index: st.Index(), Talks: st.Talks(), Drafts: st.Drafts(), User: st.Users().User,
		Taken: func(_ context.Context, aor string) (int64, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.taken[aor], nil
		},
		TellsRead: func(_ context.Context, aor string) (bool, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return !r.silent[aor], nil
		},
		DraftChanged: func(owner, device, peer string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.changed = append(r.changed, owner+" "+device+" "+peer)
		},
	})
	r.within = time.Minute // on a machine that is busy the index may be behind for longer
	r.account(alice, "Alice")
	r.account(bob, "Bob")
	return r
}

func (r *rig) account(aor, name string) {
	r.t.Helper()
	if err := r.store.Users().AddUsers(r.t.Context(), []store.User{{AOR: aor, Name: name}}); err != nil {
		r.t.Fatal(err)
	}
}

// put records something. A machine that is busy may refuse it for the moment.
func (r *rig) put(rec store.Record) *store.Record {
	r.t.Helper()
	for range 60 {
		own := rec
		done := make(chan error, 1)
		r.store.Log().Append(&own, func(err error) { done <- err })
		if err := <-done; err == nil {
			return &own
		}
	}
	r.t.Fatal("the log refuses everything")
	return nil
}

func (r *rig) say(from, to, text string) *store.Record {
	r.t.Helper()
	return r.put(store.Record{Kind: store.KindMessage, From: from, To: to, ContentType: "text/plain", Body: []byte(text)})
}

func (r *rig) change(kind string, m *store.Record, text string) *store.Record {
	r.t.Helper()
	return r.put(store.Record{Kind: kind, From: m.From, To: m.To, Ref: m.ID, ContentType: "text/plain", Body: []byte(text)})
}

func (r *rig) read(m *store.Record) *store.Record {
	r.t.Helper()
	return r.put(store.Record{Kind: store.KindReceipt, From: m.To, To: m.From, Ref: m.ID,
		Meta: map[string]string{store.MetaOutcome: store.OutcomeDisplayed, store.MetaSeq: fmt.Sprint(m.Seq)}})
}

func texts(list []Said) string {
	var out []string
	for _, m := range list {
		out = append(out, string(m.Body))
	}
	return strings.Join(out, " ")
}

// The list has each conversation with its newest message, how far both sides are, and drafts: at once, and page by page.
func TestList(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		m1 := r.say(bob, alice, "one")
		r.say(bob, alice, "two")
		r.say(carol, alice, "from somebody without an account")
		own := r.say(alice, bob, "three")
		r.say(bob, carol, "not for alice")
		last := r.say(bob, alice, "four")
		if err := r.SetDraft(ctx, alice, "web:1", "sip:"+bob, "nearly"); err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		r.taken[bob] = own.Seq - 1
		r.mu.Unlock()
		l, err := r.List(ctx, alice, 0, 0)
		if err != nil || len(l.Conversations) != 2 || l.More || l.Position < last.Seq {
			t.Fatalf("%+v, %v", l, err)
		}
		b, c := l.Conversations[0], l.Conversations[1]
		if b.Peer != bob || b.Name != "Bob" || !b.Known || string(b.Last.Body) != "four" || b.Unread != 1 || b.Draft == nil || b.Draft.Text != "nearly" {
			t.Errorf("%+v", b)
		}
		if b.PeerRead != last.Seq || b.PeerDelivered != last.Seq { // who has answered has read
			t.Errorf("bob has read %d, has %d", b.PeerRead, b.PeerDelivered)
		}
		if c.Peer != carol || c.Known || c.Unread != 1 || c.Draft != nil {
			t.Errorf("%+v", c)
		}
		first, err := r.List(ctx, alice, 0, 1)
		if err != nil || len(first.Conversations) != 1 || !first.More {
			t.Fatalf("%+v, %v", first, err)
		}
		second, err := r.List(ctx, alice, first.Next, 1)
		if err != nil || len(second.Conversations) != 1 || second.More || second.Conversations[0].Peer != carol {
			t.Errorf("%+v, %v", second, err)
		}
		r.put(store.Record{Kind: store.KindReceipt, From: alice, To: bob, Ref: last.ID, Meta: map[string]string{store.MetaOutcome: store.OutcomeDisplayed, store.MetaSeq: fmt.Sprint(last.Seq)}})
		newest := r.say(alice, bob, "five")
		got, err := r.Get(ctx, alice, bob)
		if err != nil || got.Unread != 0 || got.Read != last.Seq || got.PeerRead != last.Seq || got.PeerDelivered >= newest.Seq {
			t.Errorf("%+v, %v", got, err)
		}
		r.put(store.Record{Kind: store.KindDelivery, From: alice, To: bob, Ref: newest.ID, Device: "plain", Meta: map[string]string{store.MetaOutcome: store.OutcomeDelivered}})
		if got, err = r.Get(ctx, alice, bob); err != nil || got.PeerDelivered != newest.Seq || got.PeerRead != last.Seq {
			t.Errorf("%+v, %v", got, err)
		}
		r.read(newest)
		if got, err = r.Get(ctx, alice, bob); err != nil || got.PeerRead != newest.Seq {
			t.Errorf("%+v, %v", got, err)
		}
		r.mu.Lock()
		r.silent[bob] = true
		r.mu.Unlock()
		if got, err = r.Get(ctx, alice, bob); err != nil || got.PeerRead != last.Seq {
			t.Errorf("bob does not tell: %+v, %v", got, err)
		}
		empty, err := r.Get(ctx, alice, "nobody@example.com")
		if err != nil || empty.Last != nil || empty.Known || empty.Peer != "nobody@example.com" {
			t.Errorf("%+v, %v", empty, err)
		}
		_ = m1
		for _, bad := range []func() error{
			func() error { _, err := r.List(ctx, alice, 0, 201); return err },
			func() error { _, err := r.List(ctx, alice, 0, -1); return err },
			func() error { _, err := r.Get(ctx, alice, "no address"); return err },
			func() error { return r.SetDraft(ctx, alice, "", bob, strings.Repeat("x", MaxDraft+1)) },
			func() error { return r.SetDraft(ctx, alice, "", "", "x") },
			func() error { return r.SetDraft(ctx, alice, "", strings.Repeat("x", 300)+"@example.com", "x") },
		} {
			if err := bad(); errs.KindOf(err) != errs.Invalid {
				t.Errorf("got %v", err)
			}
		}
		if _, err := r.List(ctx, "nobody@example.com", 0, 0); errs.KindOf(err) != errs.Unauthorized {
			t.Errorf("an account that is gone: %v", err)
		}
		if !slices.Equal(r.changed, []string{alice + " web:1 " + bob}) {
			t.Errorf("drafts that changed: %v", r.changed)
		}
	})
}

// Pages go both ways, around a message, and from a time on; what was done to messages is with them.
func TestMessages(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		var all []*store.Record
		for i := range 9 {
			from, to := alice, bob
			if i%2 == 1 {
				from, to = bob, alice
			}
			all = append(all, r.say(from, to, fmt.Sprint(i)))
			r.say(from, carol, "elsewhere")
		}
		edit := r.change(store.KindEdit, all[4], "4!")
		r.change(store.KindRetract, all[6], "")
		call := r.put(store.Record{Kind: store.KindCallStart, From: bob, To: alice, Body: []byte("call")})
		r.put(store.Record{Kind: store.KindCallEnd, From: bob, To: alice, Ref: call.ID})
		page := func(q PageQuery) (string, Page) {
			t.Helper()
			q.Peer = bob
			p, err := r.Messages(t.Context(), alice, q)
			if err != nil {
				t.Fatal(err)
			}
			if p.Position < edit.Seq {
				t.Errorf("at %d", p.Position)
			}
			return fmt.Sprint(texts(p.Messages), " ", p.MoreBefore, p.MoreAfter), p
		}
		for _, c := range []struct {
			q    PageQuery
			want string
		}{
			{PageQuery{Limit: 3}, "7 8 call true false"},
			{PageQuery{}, "0 1 2 3 4 5 6 7 8 call false false"},
			{PageQuery{Before: all[2].Seq, Limit: 5}, "0 1 false true"},
			{PageQuery{Before: all[5].Seq, Limit: 2}, "3 4 true true"},
			{PageQuery{After: all[5].Seq, Limit: 2}, "6 7 true true"},
			{PageQuery{After: all[7].Seq}, "8 call true false"},
			{PageQuery{Around: all[4].Seq, Limit: 4}, "2 3 4 5 true true"},
			{PageQuery{Around: all[4].Seq}, "0 1 2 3 4 5 6 7 8 call false false"},
			{PageQuery{At: all[0].At, Limit: 2}, "0 1 false true"},
			{PageQuery{At: time.Now().Add(time.Hour), Limit: 2}, "8 call true false"},
		} {
			if got, _ := page(c.q); got != c.want {
				t.Errorf("%+v: got %s, want %s", c.q, got, c.want)
			}
		}
		_, p := page(PageQuery{})
		for i, want := range map[int]string{3: "", 4: store.KindEdit, 6: store.KindRetract, 9: store.KindCallEnd} {
			about := p.Messages[i].About
			if want == "" && len(about) > 0 || want != "" && (len(about) != 1 || about[0].Kind != want) {
				t.Errorf("%d: %v, want %s", i, about, want)
			}
		}
		for _, q := range []PageQuery{{Before: 1, After: 1}, {Around: -1}, {Limit: 201}, {Limit: -1}, {At: time.Now(), Before: 1}} {
			q.Peer = bob
			if _, err := r.Messages(t.Context(), alice, q); errs.KindOf(err) != errs.Invalid {
				t.Errorf("%+v: %v", q, err)
			}
		}
	})
}

// One message has what became of it and what it said before; nobody finds one that is not his.
func TestMessage(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		m := r.say(alice, bob, "first")
		r.put(store.Record{Kind: store.KindDelivery, From: alice, To: bob, Ref: m.ID, Device: "plain", Meta: map[string]string{store.MetaOutcome: store.OutcomeDelivered}})
		r.change(store.KindEdit, m, "second")
		r.change(store.KindEdit, m, "third")
		r.put(store.Record{Kind: store.KindEdit, From: bob, To: alice, Ref: m.ID, Body: []byte("forged")})
		later := r.say(alice, bob, "later")
		read := r.read(later)
		r.read(r.say(alice, bob, "last"))
		d, err := r.Message(ctx, alice, m.ID.String())
		if err != nil || len(d.Fates) != 2 || d.Fates[0].Kind != store.KindDelivery || d.Fates[1].Seq != read.Seq || len(d.Versions) != 3 || string(d.Versions[1].Body) != "second" || string(d.Versions[2].Body) != "third" {
			t.Errorf("%+v, %v", d, err)
		}
		r.change(store.KindRetract, m, "")
		if d, err = r.Message(ctx, bob, m.ID.String()); err != nil || len(d.Versions) != 0 || len(d.About) != 3 {
			t.Errorf("retracted: %+v, %v", d, err)
		}
		r.account(carol, "Carol")
		said := map[string]bool{}
		for _, rid := range []string{m.ID.String(), id.New().String(), read.ID.String(), "x", "", id.ID{}.String()} {
			_, err := r.Message(ctx, carol, rid)
			if errs.KindOf(err) != errs.NotFound {
				t.Errorf("%q: %v", rid, err)
			}
			said[errs.Reason(err)] = true
		}
		if len(said) != 1 {
			t.Errorf("answers differ: %v", said)
		}
	})
}

// Who searches finds what messages say now: not what was edited away, not what was taken back, and nobody else's.
func TestSearch(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		r.say(alice, bob, "apple pie")
		edited := r.say(bob, alice, "apple tart")
		r.change(store.KindEdit, edited, "cherry tart")
		kept := r.say(bob, alice, "apple cake")
		r.change(store.KindEdit, kept, "apple cake, please")
		gone := r.say(bob, alice, "apple juice")
		r.change(store.KindRetract, gone, "")
		r.say(bob, carol, "apple for carol")
		r.say(carol, alice, "apples")
		find := func(q SearchQuery) string {
			t.Helper()
			var out []string
			for {
				f, err := r.Search(ctx, alice, q)
				if err != nil {
					t.Fatal(err)
				}
				if s := texts(f.Messages); s != "" {
					out = append(out, s)
				}
				if f.Next == 0 {
					return strings.Join(out, " | ")
				}
				q.Before = f.Next
			}
		}
		for _, c := range []struct {
			q    SearchQuery
			want string
		}{
			{SearchQuery{Words: "apple"}, "apple cake apple pie"},
			{SearchQuery{Words: "apple*", Limit: 1}, "apples | apple cake | apple pie"},
			{SearchQuery{Words: "apple*", Peer: bob}, "apple cake apple pie"},
			{SearchQuery{Words: "apple", From: "sip:" + bob}, "apple cake"},
			{SearchQuery{Words: "tart cherry"}, "apple tart"}, // the record; its edit says cherry
			{SearchQuery{Words: "please"}, "apple cake"},
			{SearchQuery{Words: "juice"}, ""},
			{SearchQuery{Words: "apple", Since: time.Now().Add(time.Hour)}, ""},
		} {
			if got := find(c.q); got != c.want {
				t.Errorf("%+v: got %q, want %q", c.q, got, c.want)
			}
		}
		for _, q := range []SearchQuery{{}, {Words: " "}, {Words: "!"}, {Words: "x", Limit: 101}, {Words: "x", Before: -1}, {Words: "x", Peer: "no address"}} {
			if _, err := r.Search(ctx, alice, q); errs.KindOf(err) != errs.Invalid {
				t.Errorf("%+v: %v", q, err)
			}
		}
	})
}

// Nobody sees what was said to an earlier account of the same name.
func TestEarlierAccount(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		old := r.say(bob, alice, "secret of the first")
		r.say(carol, alice, "another secret")
		if err := r.store.Users().RemoveUser(ctx, alice); err != nil {
			t.Fatal(err)
		}
		r.account(alice, "another Alice")
		if l, err := r.List(ctx, alice, 0, 0); err != nil || len(l.Conversations) != 0 {
			t.Errorf("%+v, %v", l, err)
		}
		if c, err := r.Get(ctx, alice, bob); err != nil || c.Last != nil || c.Unread != 0 || c.Read != 0 {
			t.Errorf("%+v, %v", c, err)
		}
		now := r.say(bob, alice, "hello to the second, no secret")
		if l, err := r.List(ctx, alice, 0, 0); err != nil || len(l.Conversations) != 1 || l.Conversations[0].Unread != 1 {
			t.Errorf("%+v, %v", l, err)
		}
		for _, q := range []PageQuery{{}, {Before: now.Seq + 1}, {After: 1}, {Around: old.Seq}, {At: old.At}} {
			q.Peer = bob
			p, err := r.Messages(ctx, alice, q)
			if err != nil || len(p.Messages) != 1 || p.Messages[0].Seq != now.Seq || p.MoreBefore || p.MoreAfter {
				t.Errorf("%+v: %+v, %v", q, p, err)
			}
		}
		if f, err := r.Search(ctx, alice, SearchQuery{Words: "secret"}); err != nil || len(f.Messages) != 1 {
			t.Errorf("%+v, %v", f, err)
		}
		if _, err := r.Message(ctx, alice, old.ID.String()); !errors.Is(err, errs.NotFound) {
			t.Errorf("got %v", err)
		}
		if l, err := r.List(ctx, bob, 0, 0); err != nil || len(l.Conversations) != 1 || texts([]Said{*l.Conversations[0].Last}) == "" {
			t.Errorf("bob keeps his: %+v, %v", l, err)
		}
	})
}

// never is an index that is being made again.
type never struct {
	Index
	waiting atomic.Int64
}

func (*never) Position() int64 { return 5 }
func (x *never) WaitFor(int64, func()) (cancel func()) {
	x.waiting.Add(1)
	return func() { x.waiting.Add(-1) }
}

type head struct{ Store }

func (head) Head() int64 { return 7 }

// What is asked for while the index is made again is answered with what is there, and nobody goes on waiting.
func TestGivesUpWaiting(t *testing.T) {
	t.Parallel()
	x := &never{}
	s := New(Options{Log: head{}, Index: x})
	s.within = time.Millisecond
	if position, err := s.settle(t.Context()); position != 5 || err != nil {
		t.Errorf("position %d, %v", position, err)
	}
	s.within = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.settle(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := x.waiting.Load(); n != 0 {
		t.Errorf("%d go on waiting", n)
	}
}
