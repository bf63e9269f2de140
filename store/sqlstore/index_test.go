package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/filing"
)

func TestSearch(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		day := func(n int) time.Time { return time.Date(2026, 11, n, 12, 0, 0, 0, time.UTC) }
		add := func(n int, from, to, contentType, text string) {
			m := message(from, to, text)
			m.At, m.ContentType = day(n), contentType
			r.put(t, m)
		}
		add(1, "alice@x", "bob@x", "text/plain", "The quick brown fox's café, naïve ÄRGER")
		add(2, "bob@x", "alice@x", "text/html", `<p class="quick">slow <b>brown</b> dog</p>`)
		add(3, "alice@x", "carol@x", "message/cpim", "From: <im:alice@x>\r\n\r\nContent-Type: text/plain\r\n\r\nsecret plan\r\n\r\nof fox")
		add(4, "carol@x", "alice@x", "text/plain", "東京で会いましょう Straße 10.5%")
		add(5, "bob@x", "carol@x", "application/octet-stream", "brown binary")
		r.put(t, &store.Record{Kind: store.KindCallStart, From: "alice@x", To: "bob@x", At: day(6)},
			&store.Record{Kind: store.KindAdmin, From: "root@x", To: "bob@x", At: day(7)},
			&store.Record{Kind: store.KindDelivery, From: "bob@x", To: "alice@x", At: day(8), Device: "plain"},
			&store.Record{Kind: store.KindReceipt, From: "bob@x", To: "alice@x", At: day(9)})
		r.indexed(t)
		for _, c := range []struct {
			q    store.Query
			want string // days, in the order found
		}{
			{store.Query{Words: "brown"}, "1 2"},
			{store.Query{Words: "BROWN fox"}, "1"},
			{store.Query{Words: "fox"}, "1 3"},
			{store.Query{Words: "fox", Newest: true}, "3 1"},
			{store.Query{Words: "bro*"}, "1 2"},
			{store.Query{Words: "bro"}, ""},
			{store.Query{Words: "cafe naive arger"}, "1"},
			{store.Query{Words: "Café NAÏVE"}, "1"},
			{store.Query{Words: "class"}, ""},
			{store.Query{Words: "secret OR brown"}, ""},
			{store.Query{Words: `"quick" NEAR(fox) -dog ^the * ' ; DROP TABLE log`}, ""},
			{store.Query{Words: `"quick" fox* 's`}, "1"},
			{store.Query{Words: "content"}, ""},
			{store.Query{Words: "東京"}, "4"},
			{store.Query{Words: "strasse"}, ""},
			{store.Query{Words: "straße 10 5"}, "4"},
			{store.Query{Person: "bob@x"}, "1 2 5 6 7"},
			{store.Query{Person: "bob@x", Newest: true, Limit: 2}, "7 6"},
			{store.Query{Person: "bob@x", With: "alice@x"}, "1 2 6"},
			{store.Query{Person: "alice@x", With: "bob@x", Newest: true, Kinds: []string{store.KindMessage}}, "2 1"},
			{store.Query{Person: "carol@x", Words: "fox"}, "3"},
			{store.Query{Since: day(3), Until: day(6)}, "3 4 5"},
			{store.Query{Since: day(3), Until: day(6), Newest: true}, "5 4 3"},
			{store.Query{Kinds: []string{store.KindAdmin, store.KindCallStart}}, "6 7"},
			{store.Query{Kinds: []string{store.KindDelivery, store.KindReceipt}}, "8 9"},
			{store.Query{Kinds: []string{store.KindDelivery}, Person: "bob@x"}, "8"},
			{store.Query{Kinds: []string{store.KindDelivery}, Person: "carol@x"}, ""},
			{store.Query{}, "1 2 3 4 5 6 7"},
			{store.Query{After: 2, Before: 5}, "3 4"},
			{store.Query{After: 2, Limit: 2}, "3 4"},
			{store.Query{Newest: true, Before: 3}, "2 1"},
		} {
			list, err := r.Index().Search(t.Context(), c.q)
			var got []string
			for _, rec := range list {
				got = append(got, fmt.Sprint(rec.At.Day()))
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%+v: got %v, %v, want %s", c.q, got, err, c.want)
			}
		}
		for _, q := range []store.Query{{Words: "?!"}, {With: "bob@x"}, {Limit: 1001}} {
			if _, err := r.Index().Search(t.Context(), q); !errors.Is(err, errs.Invalid) {
				t.Errorf("%+v: %v", q, err)
			}
		}
	})
}

// TestSearchChanges: what was said before and after an edit is found, and that something was taken back.
func TestSearchChanges(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		said := message("alice@x", "bob@x", "the first version")
		r.put(t, said)
		change := func(kind, from, to, text string) {
			r.put(t, &store.Record{Kind: kind, From: from, To: to, Ref: said.ID, ContentType: "text/plain", Body: []byte(text)})
		}
		change(store.KindEdit, "alice@x", "bob@x", "the second version")
		change(store.KindReaction, "bob@x", "alice@x", "👍")
		change(store.KindRetract, "alice@x", "bob@x", "")
		r.indexed(t)
		for _, c := range []struct {
			q    store.Query
			want string
		}{
			{store.Query{}, "message edit reaction retract"},
			{store.Query{Words: "version"}, "message edit"},
			{store.Query{Words: "second"}, "edit"},
			{store.Query{Person: "bob@x", Newest: true}, "retract reaction edit message"},
			{store.Query{Person: "bob@x", With: "alice@x", Kinds: []string{store.KindMessage, store.KindEdit}}, "message edit"},
			{store.Query{Kinds: []string{store.KindRetract, store.KindReaction}}, "reaction retract"},
		} {
			list, err := r.Index().Search(t.Context(), c.q)
			var got []string
			for _, rec := range list {
				got = append(got, rec.Kind)
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%+v: got %v, %v, want %s", c.q, got, err, c.want)
			}
		}
	})
}

// TestSearchPages reads everything in pages of any size, in both directions.
func TestSearchPages(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		var records []*store.Record
		for i := range 700 {
			records = append(records, message([]string{"alice@x", "bob@x"}[i%2], []string{"bob@x", "alice@x", "carol@x"}[i%3], fmt.Sprintf("word%d common", i%7)))
		}
		r.put(t, records...)
		r.indexed(t)
		for name, q := range map[string]store.Query{"all": {}, "words": {Words: "common word3"}, "person": {Person: "alice@x"},
			"with": {Person: "alice@x", With: "bob@x"}, "scan": {Kinds: []string{store.KindMessage, store.KindVoid}, Person: "carol@x"}} {
			var want []int64
			for _, rec := range records {
				with := q.With == "" || rec.From == q.With || rec.To == q.With
				person := q.Person == "" || rec.From == q.Person || rec.To == q.Person
				if with && person && (q.Words == "" || strings.HasPrefix(string(rec.Body), "word3 ")) {
					want = append(want, rec.Seq)
				}
			}
			for _, newest := range []bool{false, true} {
				for _, limit := range []int{1, 7, 1000} {
					q := q
					q.Newest, q.Limit = newest, limit
					if limit == 1 {
						q.After, q.Before = want[2], want[len(want)-1] // the whole takes too long one by one
						if newest {
							q.Before = want[6]
						}
					}
					var got []int64
					for len(got) < 2000 {
						list, err := r.Index().Search(t.Context(), q)
						if err != nil {
							t.Fatal(err)
						}
						if len(list) == 0 || limit == 1 && len(got) == 3 {
							break
						}
						for _, rec := range list {
							got = append(got, rec.Seq)
						}
						if newest {
							q.Before = got[len(got)-1]
						} else {
							q.After = got[len(got)-1]
						}
					}
					expect := want
					if limit == 1 {
						expect = want[3:6]
					}
					if newest {
						slices.Reverse(got)
					}
					if !slices.Equal(got, expect) {
						t.Errorf("%s, newest %t, limit %d: got %d records, want %d", name, newest, limit, len(got), len(expect))
					}
				}
			}
		}
	})
}

// TestMailboxPageIsFull: a page with records that are void, or another's whose key collides, is filled up: fewer than the
// limit would be taken for the end.
func TestMailboxPageIsFull(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		other := message("alice@x", "carol@x", "collides")
		r.put(t, message("alice@x", "bob@x", "one"), other, message("alice@x", "bob@x", "two"), message("alice@x", "bob@x", "three"))
		r.indexed(t)
		x := r.index
		err := x.w.write(t.Context(), &filing.Batch{Filed: []filing.Entry{{Key: filing.Mailbox("bob@x"), Seq: other.Seq}}}, 0, x.Position())
		if err != nil {
			t.Fatal(err)
		}
		for limit, want := range map[int]string{1: "one", 2: "one | two", 3: "one | two | three", 10: "one | two | three"} {
			if box, err := r.Index().Mailbox(t.Context(), "bob@x", 0, limit); err != nil || texts(box) != want {
				t.Errorf("limit %d: %s, %v", limit, texts(box), err)
			}
		}
	})
}

func TestMailboxConversationMessageCalls(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		named := message("alice@x", "bob@x", "two")
		named.Meta[store.MetaMessageID] = "id@1"
		again := message("alice@x", "carol@x", "three")
		again.Meta[store.MetaMessageID] = "id@1"
		r.put(t, message("alice@x", "bob@x", "one"), named, again, message("bob@x", "bob@x", "to myself"),
			&store.Record{Kind: store.KindReceipt, From: "carol@x", To: "bob@x", Body: []byte("receipt")},
			&store.Record{Kind: store.KindDelivery, From: "bob@x", To: "bob@x", Body: []byte("no")})
		open1 := &store.Record{Kind: store.KindCallStart, From: "bob@x", To: "alice@x", Body: []byte("call 1")}
		open2 := &store.Record{Kind: store.KindCallStart, From: "bob@x", To: "carol@x", Body: []byte("call 2")}
		r.put(t, open1, open2)
		r.put(t, &store.Record{Kind: store.KindCallEnd, From: "bob@x", To: "alice@x", Ref: open1.ID})
		r.indexed(t)
		check := func(r *running) {
			t.Helper()
			x, ctx := r.Index(), t.Context()
			box, err := x.Mailbox(ctx, "bob@x", 0, 10)
			if got := texts(box); got != "one | two | to myself | receipt" || err != nil {
				t.Errorf("mailbox: %s, %v", got, err)
			}
			if box, err = x.Mailbox(ctx, "bob@x", box[0].Seq, 1); texts(box) != "two" || err != nil {
				t.Errorf("page of the mailbox: %s, %v", texts(box), err)
			}
			conversation, err := x.Conversation(ctx, "bob@x", "alice@x", 0, 10)
			if got := texts(conversation); got != "call 1 | two | one" || err != nil {
				t.Errorf("conversation: %s, %v", got, err)
			}
			if m, err := x.Message(ctx, "alice@x", "id@1"); err != nil || string(m.Body) != "three" {
				t.Errorf("by Message-ID: %v, %v", m, err)
			}
			if _, err := x.Message(ctx, "bob@x", "id@1"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the Message-ID of another sender: %v", err)
			}
			calls, err := x.OpenCalls(ctx)
			if got := texts(calls); got != "call 2" || err != nil {
				t.Errorf("open calls: %s, %v", got, err)
			}
			if rec, err := r.Log().Find(ctx, named.ID); err != nil || rec.Seq != named.Seq {
				t.Errorf("by id: %v, %v", rec, err)
			}
		}
		check(r)
		r = r.reopen(t, o)
		r.indexed(t)
		check(r)
		check(r.withoutIndex(t, o))
	})
}

// withoutIndex opens the store again without its index, so that everything is made again from the log. On PostgreSQL the
// index knows more than the log, as after a restore of the log alone.
func (r *running) withoutIndex(t testing.TB, o Options) *running {
	t.Helper()
	r.stop()
	r.Close()
	removeIndex(t, o, "UPDATE indexed SET seq = 1000000")
	r = open(t, o)
	r.indexed(t)
	return r
}

// removeIndex removes the files of the index, or runs a statement on PostgreSQL.
func removeIndex(t testing.TB, o Options, text string) {
	t.Helper()
	if o.URL == "" {
		for _, name := range []string{"index.db", "index.db-wal", "index.db-shm"} {
			os.Remove(filepath.Join(o.Dir, name))
		}
		return
	}
	cfg, err := postgresConfig(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	db := postgresPool(cfg, 1, time.Minute)
	defer db.Close()
	if _, err = db.Exec(text); err != nil {
		t.Fatal(err)
	}
}

// TestCorruptIndex: an index file full of garbage, at the start or while it is in use, is made again.
func TestCorruptIndex(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), Log: testLog(t)}
	r := open(t, o)
	var records []*store.Record
	for i := range 3000 {
		records = append(records, message("alice@x", fmt.Sprintf("user%d@x", i%300), fmt.Sprintf("word%d", i)))
	}
	r.put(t, records...)
	r.indexed(t)
	check := func(r *running) {
		t.Helper()
		r.indexed(t)
		box, err := r.Index().Mailbox(t.Context(), "user7@x", 0, 100)
		if err != nil || len(box) != 10 {
			t.Errorf("%d in the mailbox, %v", len(box), err)
		}
		found, err := r.Index().Search(t.Context(), store.Query{Words: "word2999"})
		if err != nil || len(found) != 1 {
			t.Errorf("%d found, %v", len(found), err)
		}
	}
	for _, from := range []int64{0, 4096} { // with and without its header
		r.stop()
		r.Close()
		path := filepath.Join(o.Dir, "index.db")
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		garbage := []byte(strings.Repeat("garbage!", int(st.Size()-from)/8))
		if _, err := f.WriteAt(garbage, from); err != nil {
			t.Fatal(err)
		}
		f.Close()
		r = open(t, o)
		rebuilt := make(chan struct{})
		go func() { // readers that meet the garbage have it made again
			defer close(rebuilt)
			for start := time.Now(); time.Since(start) < patience; {
				box, err := r.Index().Mailbox(t.Context(), "user7@x", 0, 100)
				if err == nil && len(box) == 10 {
					return
				}
			}
		}()
		receive(t, rebuilt)
		check(r)
		r.put(t, message("alice@x", "new@x", "goes on"))
		r.indexed(t)
		if box, err := r.Index().Mailbox(t.Context(), "new@x", 0, 100); err != nil || len(box) == 0 {
			t.Error(box, err)
		}
	}
}

// TestIndexNotSynced: when a checkpoint of the index cannot be synced, a part of it may be lost at the next loss of power, so
// it is made again at once.
func TestIndexNotSynced(t *testing.T) {
	t.Parallel()
	r, f, _ := withFaults(t)
	f.set(fail("sync", "index.db", 1, sqlite3.SQLITE_IOERR_FSYNC), nil)
	for range 20 { // more than the bytes between two checkpoints
		var records []*store.Record
		for i := range 1000 {
			records = append(records, message(fmt.Sprintf("from%d@x", i), fmt.Sprintf("to%d@x", i), "text"))
		}
		r.put(t, records...)
		r.indexed(t)
	}
	for start := time.Now(); testutil.ToFloat64(r.m.indexRebuilds) == 0; {
		if time.Since(start) > patience {
			t.Fatal("the index was not made again")
		}
		r.put(t, message("a@x", "b@x", "more"))
	}
	r.indexed(t)
	box, err := r.Index().Mailbox(t.Context(), "to7@x", 0, 100)
	if err != nil || len(box) != 20 {
		t.Errorf("%d in the mailbox, %v", len(box), err)
	}
}

// TestGivesUpWaiting: who no longer waits for the index is not kept.
func TestGivesUpWaiting(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		far := r.Log().Head() + 1000
		cancel := r.Index().WaitFor(far, func() { t.Error("reached what is not there") })
		ctx, end := context.WithCancel(t.Context())
		end()
		if err := store.Indexed(ctx, r.Index(), far); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if n := r.index.waiting.Len(); n != 1 {
			t.Errorf("%d wait, and should one", n)
		}
		cancel()
		if n := r.index.waiting.Len(); n != 0 {
			t.Errorf("%d wait, and should none", n)
		}
		r.put(t, message("a@x", "b@x", "hello"))
		if err := store.Indexed(t.Context(), r.Index(), r.Log().Head()); err != nil {
			t.Error(err)
		}
	})
}
