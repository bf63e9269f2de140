package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/filing"
)

// said is what was recorded, in order. It answers as store.Talks does, by looking at everything.
type said []*store.Record

func (m said) filter(fits func(r *store.Record) bool) (list []int64) {
	for _, r := range m {
		if fits(r) {
			list = append(list, r.Seq)
		}
	}
	return list
}

func talked(a, b string) func(r *store.Record) bool {
	return func(r *store.Record) bool {
		return (r.Kind == store.KindMessage || r.Kind == store.KindCallStart) && (r.From == a && r.To == b || r.From == b && r.To == a)
	}
}

func (m said) talk(owner, peer string) store.Talk {
	t := store.Talk{Owner: owner, Peer: peer}
	for _, r := range m {
		if talked(owner, peer)(r) {
			t.Last = r.Seq
			if r.From == owner {
				t.Sent = r.Seq
			}
		}
		about := r.Meta[store.MetaPeer]
		if about == "" {
			about = r.To
		}
		if r.Kind == store.KindReceipt && r.From == owner && about == peer && r.Meta[store.MetaOutcome] == store.OutcomeDisplayed {
			if seq, err := strconv.ParseInt(r.Meta[store.MetaSeq], 10, 64); err == nil {
				t.Read = max(t.Read, seq)
			}
		}
	}
	return t
}

func (m said) talks(owner string, people []string) (list []store.Talk) {
	for _, p := range people {
		if t := m.talk(owner, p); t.Last > 0 {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b store.Talk) int { return cmp.Compare(b.Last, a.Last) })
	return list
}

func seqsOf(list []store.Record) (seqs []int64) {
	for i := range list {
		seqs = append(seqs, list[i].Seq)
	}
	return seqs
}

// ascending reads all pages.
func ascending(read func(after int64) ([]store.Record, error), limit int) (all []int64, err error) {
	for after := int64(0); ; {
		list, err := read(after)
		if err != nil {
			return nil, err
		}
		all = append(all, seqsOf(list)...)
		if len(list) < limit {
			return all, nil
		}
		after = all[len(all)-1]
	}
}

// look is what check looks at: the pages of one conversation and of its first person, and everybody's talks.
type look struct {
	people []string
	a, b   string
	limit  int
	since  time.Time
}

// check compares the store with the model.
func (m said) check(ctx context.Context, r *running, l look) error {
	var bad []error
	compare := func(what string, want, got any, err error) {
		if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			bad = append(bad, fmt.Errorf("%s: %s%w", what, diff, err))
		}
	}
	x := r.Talks()
	for _, a := range l.people {
		var talks []store.Talk
		for before := int64(0); ; before = talks[len(talks)-1].Last {
			list, err := x.Talks(ctx, a, before, l.limit)
			if talks = append(talks, list...); err != nil {
				return err
			}
			if len(list) < l.limit {
				break
			}
		}
		compare("talks of "+a, m.talks(a, l.people), talks, nil)
		for _, b := range l.people {
			t, err := x.Talk(ctx, a, b)
			compare("talk of "+a+" and "+b, m.talk(a, b), t, err)
			n, err := x.Unread(ctx, t, l.limit)
			unread := m.filter(func(r *store.Record) bool {
				return r.Kind == store.KindMessage && r.From == b && r.To == a && r.Seq > t.Read && r.Seq > t.Sent
			})
			compare("unread of "+a+" from "+b, min(l.limit, len(unread)), n, err)
		}
	}
	a, b, limit := l.a, l.b, l.limit
	got, err := ascending(func(after int64) ([]store.Record, error) { return x.PersonAfter(ctx, a, after, limit) }, limit)
	compare("all of "+a, m.filter(func(r *store.Record) bool {
		return (r.From == a || r.To == a) && r.Kind != store.KindDelivery && r.Kind != store.KindAdmin
	}), got, err)
	got, err = ascending(func(after int64) ([]store.Record, error) { return r.Index().Mailbox(ctx, a, after, limit) }, limit)
	compare("mailbox of "+a, m.filter(func(r *store.Record) bool {
		return r.To == a && !slices.Contains([]string{store.KindDelivery, store.KindAdmin, store.KindCallStart, store.KindCallEnd}, r.Kind)
	}), got, err)
	want := m.filter(talked(a, b))
	got, err = ascending(func(after int64) ([]store.Record, error) { return x.ConversationAfter(ctx, a, b, after, limit) }, limit)
	compare("conversation of "+a+" and "+b, want, got, err)
	var back []int64
	for before := int64(0); ; before = back[len(back)-1] {
		list, err := r.Index().Conversation(ctx, a, b, before, limit)
		if back = append(back, seqsOf(list)...); err != nil {
			return err
		}
		if len(list) < limit {
			break
		}
	}
	slices.Reverse(back)
	compare("conversation of "+a+" and "+b+" backwards", want, back, nil)
	since := append(m.filter(func(r *store.Record) bool { return talked(a, b)(r) && !r.At.Before(l.since) }), 0)[0]
	seq, err := x.ConversationSince(ctx, a, b, l.since)
	compare(fmt.Sprintf("conversation of %s and %s since %s", a, b, l.since), since, seq, err)
	for i, rec := range m {
		if i >= 5 && i < len(m)-1 { // the first ones have the most about them
			continue
		}
		about, err := x.About(ctx, rec.ID)
		compare("about one", m.changes(rec.ID), seqsOf(about), err)
		edits, err := x.Edits(ctx, rec.ID, a)
		compare("edits", m.filter(func(r *store.Record) bool { return r.Ref == rec.ID && r.Kind == store.KindEdit && r.From == a }), seqsOf(edits), err)
		fates, err := x.Fates(ctx, rec.ID)
		compare("fates", m.filter(func(r *store.Record) bool {
			return r.Ref == rec.ID && (r.Kind == store.KindDelivery || r.Kind == store.KindReceipt)
		}), seqsOf(fates), err)
	}
	var ids []id.ID
	for _, rec := range m {
		ids = append(ids, rec.ID)
	}
	list, err := x.About(ctx, ids...)
	compare("about all", m.changes(ids...), seqsOf(list), err)
	return errors.Join(bad...)
}

// changes are what was done to some records, as it stands now: the latest of each person, kind and emoji.
func (m said) changes(ids ...id.ID) []int64 {
	type key struct {
		ref               id.ID
		kind, from, emoji string
	}
	latest := map[key]int64{}
	for _, r := range m {
		if !slices.Contains(ids, r.Ref) || !slices.Contains([]string{store.KindEdit, store.KindRetract, store.KindReaction, store.KindCallEnd}, r.Kind) {
			continue
		}
		k := key{r.Ref, r.Kind, r.From, ""}
		if r.Kind == store.KindReaction {
			k.emoji = string(r.Body)
		}
		latest[k] = r.Seq
	}
	return slices.Sorted(maps.Values(latest))
}

// TestTalksModel compares conversations with a plain model over any sequence of records, which are indexed in batches of any
// size; then all of it once more with an index that was made again.
func TestTalksModel(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx := t.Context()
		clock := time.Now().UTC().Add(-1000 * time.Hour).Truncate(time.Second)
		var again []func(r *running) error
		run := 0
		rapid.Check(t, func(rt *rapid.T) {
			run++
			people := []string{fmt.Sprintf("a@x%d", run), fmt.Sprintf("b@x%d", run), fmt.Sprintf("c@x%d", run)}
			person := rapid.SampledFrom(people)
			var m said
			var times []time.Time
			for range rapid.IntRange(1, 5).Draw(rt, "batches") {
				var batch []*store.Record
				for range rapid.IntRange(1, 12).Draw(rt, "records") {
					rec := &store.Record{From: person.Draw(rt, "from"), To: person.Draw(rt, "to"), ContentType: "text/plain", Body: []byte("words"),
						Kind: rapid.SampledFrom([]string{store.KindMessage, store.KindMessage, store.KindMessage, store.KindCallStart, store.KindCallEnd, store.KindEdit,
							store.KindRetract, store.KindReaction, store.KindReceipt, store.KindReceipt, store.KindDelivery, store.KindAdmin}).Draw(rt, "kind")}
					clock = clock.Add(time.Minute)
					rec.At = clock.Add(time.Duration(rapid.IntRange(-30, 30).Draw(rt, "skew")) * time.Minute)
					times = append(times, rec.At)
					if len(m) > 0 {
						about := rapid.SampledFrom(m).Draw(rt, "about")
						rec.Ref = about.ID
						if rec.Kind == store.KindReaction {
							rec.Body = []byte(rapid.SampledFrom([]string{"👍", "👎"}).Draw(rt, "emoji"))
							if rapid.Bool().Draw(rt, "removed") {
								rec.Meta = map[string]string{store.MetaRemoved: "1"}
							}
						}
						if rec.Kind == store.KindReceipt {
							rec.Meta = map[string]string{store.MetaOutcome: rapid.SampledFrom([]string{store.OutcomeDisplayed, store.OutcomeDelivered}).Draw(rt, "outcome")}
							if rapid.Bool().Draw(rt, "seq") {
								rec.Meta[store.MetaSeq] = strconv.FormatInt(about.Seq, 10)
							}
							if rapid.Bool().Draw(rt, "untold") {
								rec.Meta[store.MetaPeer], rec.To = rec.To, rec.From
							}
						}
					}
					batch = append(batch, rec)
				}
				r.put(t, batch...)
				m = append(m, batch...)
				slices.SortFunc(m, func(a, b *store.Record) int { return cmp.Compare(a.Seq, b.Seq) })
				if rapid.Bool().Draw(rt, "index") {
					r.indexed(t)
				}
			}
			r.indexed(t)
			l := look{people, person.Draw(rt, "a"), person.Draw(rt, "b"), rapid.IntRange(1, 12).Draw(rt, "limit"), rapid.SampledFrom(times).Draw(rt, "since")}
			if err := m.check(ctx, r, l); err != nil {
				rt.Fatal(err)
			}
			if len(again) < 20 {
				again = append(again, func(r *running) error { return m.check(ctx, r, l) })
			}
		})
		r = r.withoutIndex(t, o)
		for _, check := range again {
			if err := check(r); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestTalksPagesAreFull: pages with records that are void, or another's whose key collides, are filled up.
func TestTalksPagesAreFull(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx := t.Context()
		var m said
		put := func(from, to string) *store.Record {
			rec := message(from, to, fmt.Sprint(len(m)))
			r.put(t, rec)
			return rec
		}
		var collide, void []int64
		keys := []int64{filing.Said("a@x", "b@x"), filing.Mailbox("b@x"), filing.Others("a@x")}
		for i := range 60 {
			switch {
			case i%3 == 0:
				m = append(m, put("a@x", "b@x"))
			case i%3 == 1:
				collide = append(collide, put("c@x", "d@x").Seq)
			default:
				void = append(void, put("a@x", "b@x").Seq)
			}
		}
		about := put("a@x", "b@x")
		m = append(m, about)
		r.indexed(t)
		var b filing.Batch
		for _, seq := range collide {
			for _, k := range append(keys, filing.About(about.ID), filing.Fates(about.ID)) {
				b.Filed = append(b.Filed, filing.Entry{Key: k, Seq: seq})
			}
			b.Changes = append(b.Changes, filing.Change{About: filing.Changes(about.ID), What: seq, Seq: seq})
		}
		if err := r.index.w.write(ctx, &b, 0, r.index.Position()); err != nil {
			t.Fatal(err)
		}
		db := r.state.write // on PostgreSQL, one database
		if o.URL == "" {
			db = sqlitePool(o.Dir+"/log.db", 1, "")
			defer db.Close()
		}
		for _, seq := range void {
			if _, err := db.Exec(`INSERT INTO voided (seq, void) VALUES ($1, $2)`, seq, about.Seq); err != nil {
				t.Fatal(err)
			}
		}
		for _, limit := range []int{1, 2, 7, 21, 1000} {
			for _, since := range []time.Time{m[0].At, about.At} {
				if err := m.check(ctx, r, look{[]string{"a@x", "b@x"}, "a@x", "b@x", limit, since}); err != nil {
					t.Errorf("limit %d: %v", limit, err)
				}
			}
		}
	})
}

// TestAboutIsBounded: whoever edits and reacts all day makes nothing longer, and what stands is right; also where the latest
// of it is void.
func TestAboutIsBounded(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		ctx := t.Context()
		of, other := message("a@x", "b@x", "of"), message("a@x", "b@x", "other")
		r.put(t, of, other)
		change := func(ref id.ID, kind, from, body string, meta ...string) *store.Record {
			rec := &store.Record{Kind: kind, From: from, To: "b@x", Ref: ref, ContentType: "text/plain", Body: []byte(body)}
			if len(meta) > 0 {
				rec.Meta = map[string]string{store.MetaRemoved: "1"}
			}
			return rec
		}
		kept := change(of.ID, store.KindReaction, "a@x", "kept")
		r.put(t, kept)
		var batch []*store.Record
		for i := range 600 {
			batch = append(batch, change(of.ID, store.KindReaction, "b@x", "👍"), change(of.ID, store.KindReaction, "b@x", "👍", "gone"),
				change(of.ID, store.KindEdit, "a@x", fmt.Sprint("edit ", i)))
		}
		r.put(t, batch...)
		before, last := change(of.ID, store.KindReaction, "b@x", "👍"), change(of.ID, store.KindReaction, "b@x", "👍", "gone")
		r.put(t, before)
		r.put(t, last)
		for i := range store.MaxAbout + 5 { // each another one, and all taken away
			r.put(t, change(other.ID, store.KindReaction, "b@x", fmt.Sprint(i), "gone"))
		}
		stands := change(other.ID, store.KindReaction, "a@x", "stands")
		r.put(t, stands)
		for i := range 5 {
			r.put(t, change(other.ID, store.KindReaction, "b@x", fmt.Sprint("more ", i), "gone"))
		}
		r.indexed(t)
		about := func(ids ...id.ID) []store.Record {
			t.Helper()
			list, err := r.Talks().About(ctx, ids...)
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		m := said(append(batch, kept, before, last))
		slices.SortFunc(m, func(a, b *store.Record) int { return cmp.Compare(a.Seq, b.Seq) })
		want := m.changes(of.ID)
		if got := seqsOf(about(of.ID)); len(got) != 3 || !slices.Equal(got, want) {
			t.Errorf("about: %v, want %v", got, want)
		}
		edits := m.filter(func(r *store.Record) bool { return r.Kind == store.KindEdit })
		if got, err := r.Talks().Edits(ctx, of.ID, "a@x"); err != nil || len(got) != store.MaxEdits || !slices.Equal(seqsOf(got), edits[len(edits)-store.MaxEdits:]) {
			t.Errorf("%d edits, and not the newest, %v", len(got), err)
		}
		if got := about(other.ID); len(got) != store.MaxAbout || !slices.Contains(seqsOf(got), stands.Seq) {
			t.Errorf("%d about the other, and what stands is %t", len(got), slices.Contains(seqsOf(got), stands.Seq))
		}
		if got := about(of.ID, other.ID); len(got) != store.MaxAbout+3 {
			t.Errorf("%d about both", len(got))
		}
		db := r.state.write // on PostgreSQL, one database
		if o.URL == "" {
			db = sqlitePool(o.Dir+"/log.db", 1, "")
			defer db.Close()
		}
		if _, err := db.Exec(`INSERT INTO voided (seq, void) VALUES ($1, $2)`, last.Seq, stands.Seq); err != nil {
			t.Fatal(err)
		}
		want[2] = before.Seq
		if got := seqsOf(about(of.ID)); !slices.Equal(got, want) {
			t.Errorf("about, when the last is void: %v, want %v", got, want)
		}
	})
}

// TestTalksErrors: limits, strangers, and addresses too long for a key.
func TestTalksErrors(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		x, ctx := r.Talks(), t.Context()
		for _, limit := range []int{-1, 0, 1001} {
			_, err1 := x.Talks(ctx, "a@x", 0, limit)
			_, err2 := x.Unread(ctx, store.Talk{Owner: "a@x", Peer: "b@x", Last: 1}, limit)
			_, err3 := x.ConversationAfter(ctx, "a@x", "b@x", 0, limit)
			_, err4 := x.PersonAfter(ctx, "a@x", 0, limit)
			_, err5 := r.Index().Conversation(ctx, "a@x", "b@x", 0, limit)
			_, err6 := r.Index().Mailbox(ctx, "a@x", 0, limit)
			for i, err := range []error{err1, err2, err3, err4, err5, err6} {
				if !errors.Is(err, errs.Invalid) {
					t.Errorf("limit %d, call %d: %v", limit, i+1, err)
				}
			}
		}
		letters := make([]byte, store.MaxText-2)
		for i := range letters {
			letters[i] = 'a' + byte(rand.N(26)) // which no database can compress
		}
		long := string(letters) + "@x"
		r.put(t, message(long, "b@x", "from far"), message("a@x", "b@x", "from near"))
		r.indexed(t)
		if list, err := x.Talks(ctx, "b@x", 0, 10); err != nil || len(list) != 1 || list[0].Peer != "a@x" {
			t.Errorf("talks: %+v, %v", list, err)
		}
		if tk, err := x.Talk(ctx, "b@x", long); err != nil || tk != (store.Talk{Owner: "b@x", Peer: long}) {
			t.Errorf("too long for a talk: %+v, %v", tk, err)
		}
		if list, err := x.ConversationAfter(ctx, "b@x", long, 0, 10); err != nil || texts(list) != "from far" {
			t.Errorf("too long for a talk: %s, %v", texts(list), err)
		}
		if list, err := x.About(ctx); len(list) != 0 || err != nil {
			t.Errorf("about nothing: %v, %v", list, err)
		}
		if list, err := x.Fates(ctx, id.ID{}); len(list) != 0 || err != nil {
			t.Errorf("fates of nothing: %v, %v", list, err)
		}
		if seq, err := x.ConversationSince(ctx, "a@x", "b@x", time.Now().Add(time.Hour)); seq != 0 || err != nil {
			t.Errorf("in an hour: %v, %v", seq, err)
		}
	})
}

// TestOldIndex: an index that a program made before there were talks is made again, and has them.
func TestOldIndex(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		hello := message("a@x", "b@x", "hello")
		r.put(t, hello)
		edit := &store.Record{Kind: store.KindEdit, From: "a@x", To: "b@x", Ref: hello.ID, ContentType: "text/plain", Body: []byte("hello again")}
		fate := &store.Record{Kind: store.KindDelivery, From: "a@x", To: "b@x", Ref: hello.ID, Device: "plain"}
		r.put(t, edit, fate)
		head := r.Log().Head()
		r.stop()
		r.Close()
		removeIndex(t, o, "DROP TABLE filed, open_calls, words, indexed, talks, changes, schema_index")
		words := "INSERT INTO words (rowid, text) VALUES (1, 'old')"
		if o.URL != "" {
			words = "INSERT INTO words (seq, text) VALUES (1, array_to_tsvector(ARRAY['old']))"
		}
		oldPart(t, o, "index", 1, words, fmt.Sprintf("INSERT INTO filed (key, seq) VALUES (%d, 1)", filing.Mailbox("b@x")), fmt.Sprintf("UPDATE position SET seq = %d", head))
		r = open(t, o)
		r.indexed(t)
		ctx := t.Context()
		talk, err := r.Talks().Talk(ctx, "b@x", "a@x")
		if err != nil || talk.Last != hello.Seq {
			t.Errorf("talk: %+v, %v", talk, err)
		}
		about, err1 := r.Talks().About(ctx, hello.ID)
		fates, err2 := r.Talks().Fates(ctx, hello.ID)
		box, err3 := r.Index().Mailbox(ctx, "b@x", 0, 10)
		old, err4 := r.Index().Search(ctx, store.Query{Words: "old"})
		again, err5 := r.Index().Search(ctx, store.Query{Words: "again"})
		if texts(about) != "hello again" || len(fates) != 1 || fates[0].Seq != fate.Seq || !strings.HasPrefix(texts(box), "hello") || len(box) != 2 || len(old) != 0 || texts(again) != "hello again" {
			t.Errorf("about %s, fates %v, mailbox %s, old %s, again %s", texts(about), fates, texts(box), texts(old), texts(again))
		}
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			t.Error(err)
		}
	})
}
