package filing

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// TestKeysStay: a key of an index that was made before must be found.
func TestKeysStay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		what, a, b := rapid.Byte().Draw(rt, "what"), rapid.String().Draw(rt, "a"), rapid.String().Draw(rt, "b")
		h := fnv.New64a()
		h.Write([]byte{what})
		h.Write([]byte(a))
		h.Write([]byte{0})
		h.Write([]byte(b))
		if got := hash(what, a, b); got != int64(h.Sum64()) {
			rt.Fatalf("%d, %q, %q: %d is not FNV-1a", what, a, b, got)
		}
	})
	if got := Said("alice@example.com", "bob@example.com"); got != 2532876401215152232 {
		t.Errorf("the key of a conversation is now %d", got)
	}
}

// TestFatesInOrder: what becomes of messages lies in the table in the order of the messages.
func TestFatesInOrder(t *testing.T) {
	t.Parallel()
	last := Fates(id.New())
	for range 1000 {
		k := Fates(id.New())
		if k <= last {
			t.Fatalf("%d after %d", k, last)
		}
		last = k
	}
}

func text(r *store.Record) string { return string(r.Body) }

// batch files records with Seqs from 1.
func batch(known *Known, records ...*store.Record) *Batch {
	b := New(known)
	for i, r := range records {
		r.Seq = int64(i + 1)
		b.Add(r, text)
	}
	b.Finish()
	return b
}

func spoken(from, to string) *store.Record {
	return &store.Record{Kind: store.KindMessage, From: from, To: to}
}

func receipt(from, to string, meta ...string) *store.Record {
	r := &store.Record{Kind: store.KindReceipt, From: from, To: to, Meta: map[string]string{}}
	for i := 0; i < len(meta); i += 2 {
		r.Meta[meta[i]] = meta[i+1]
	}
	return r
}

// talk is a conversation with its keys.
func talk(owner, peer string, read int64) Talk {
	return Talk{Owner: owner, Peer: peer, Out: Said(owner, peer), In: Said(peer, owner), Read: read}
}

// TestTalks: the conversations that a batch writes.
func TestTalks(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxPair)
	for name, c := range map[string]struct {
		records []*store.Record
		want    []Talk
	}{
		"both sides": {[]*store.Record{spoken("a", "b"), spoken("b", "a"), spoken("a", "b")}, []Talk{talk("a", "b", 0), talk("b", "a", 0)}},
		"oneself":    {[]*store.Record{spoken("a", "a")}, []Talk{talk("a", "a", 0)}},
		"a call":     {[]*store.Record{{Kind: store.KindCallStart, From: "a", To: "b"}}, []Talk{talk("a", "b", 0), talk("b", "a", 0)}},
		"no news": {[]*store.Record{{Kind: store.KindEdit, From: "a", To: "b"}, {Kind: store.KindReaction, From: "a", To: "b"}, {Kind: store.KindRetract, From: "a", To: "b"},
			{Kind: store.KindDelivery, From: "a", To: "b"}, {Kind: store.KindCallEnd, From: "a", To: "b"}, {Kind: store.KindAdmin, From: "a", To: "b"}}, nil},
		"read": {[]*store.Record{spoken("a", "b"), spoken("a", "b"), receipt("b", "a", "outcome", "displayed", "seq", "1")},
			[]Talk{talk("a", "b", 0), talk("b", "a", 1)}},
		"read without telling": {[]*store.Record{receipt("b", "b", "outcome", "displayed", "seq", "1", "peer", "a")}, []Talk{talk("b", "a", 1)}},
		"read backwards": {[]*store.Record{spoken("a", "b"), spoken("a", "b"), receipt("b", "a", "outcome", "displayed", "seq", "2"), receipt("b", "a", "outcome", "displayed", "seq", "1")},
			[]Talk{talk("a", "b", 0), talk("b", "a", 2)}},
		"read what is to come": {[]*store.Record{receipt("b", "a", "outcome", "displayed", "seq", "9223372036854775807")}, []Talk{talk("b", "a", 1)}},
		"not read": {[]*store.Record{receipt("b", "a", "outcome", "delivered", "seq", "1"), receipt("b", "a", "outcome", "displayed"),
			receipt("b", "a", "outcome", "displayed", "seq", "-1"), receipt("b", "a", "outcome", "displayed", "seq", "x"), receipt("b", "", "outcome", "displayed", "seq", "1")}, nil},
		"nobody":   {[]*store.Record{spoken("", "b"), spoken("a", "")}, nil},
		"too long": {[]*store.Record{spoken(long, "b"), spoken("b", long)}, nil},
	} {
		if got := batch(nil, c.records...).Talks; !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// TestKnown: a conversation is written once, but for what was read in it, and again when the index begins anew.
func TestKnown(t *testing.T) {
	t.Parallel()
	k := NewKnown()
	write := func(records ...*store.Record) []Talk {
		b := batch(k, records...)
		k.Learn(b)
		return b.Talks
	}
	if got := write(receipt("a", "b", "outcome", "displayed", "seq", "1")); len(got) != 1 {
		t.Errorf("read before anything was said: %v", got)
	}
	if got := write(spoken("a", "b"), spoken("c", "c")); len(got) != 3 {
		t.Errorf("first: %v", got)
	}
	if got := write(spoken("b", "a"), spoken("a", "b"), spoken("c", "c")); len(got) != 0 {
		t.Errorf("again: %v", got)
	}
	if got := write(spoken("b", "a"), receipt("a", "b", "outcome", "displayed", "seq", "1")); !slices.Equal(got, []Talk{talk("a", "b", 1)}) {
		t.Errorf("read: %v", got)
	}
	if got := write(spoken("a", "c")); len(got) != 2 {
		t.Errorf("others: %v", got)
	}
	k.Forget()
	if got := write(spoken("a", "b")); len(got) != 2 {
		t.Errorf("anew: %v", got)
	}
	k.most = 10
	for i := range 35 {
		write(spoken("a", strconv.Itoa(i)))
	}
	if got := write(spoken("a", "34"), spoken("a", "33")); len(k.now)+len(k.before) > 20 || len(got) != 0 {
		t.Errorf("%d and %d are remembered, and not %v", len(k.now), len(k.before), got)
	}
}

// TestKinds: under what each kind of record is found, and whether it is by its words.
func TestKinds(t *testing.T) {
	t.Parallel()
	ref := id.New()
	names := map[int64]string{Mailbox("b"): "mailbox of b", Others("a"): "others of a", Others("b"): "others of b", Said("a", "b"): "conversation",
		Named("a", "m"): "name", About(ref): "about", Fates(ref): "fates"}
	for kind, want := range map[string]string{
		store.KindMessage:   "conversation, mailbox of b, name, others of a, words",
		store.KindEdit:      "about, mailbox of b, others of a, words",
		store.KindRetract:   "mailbox of b, others of a",
		store.KindReaction:  "about, mailbox of b, others of a",
		store.KindReceipt:   "fates, mailbox of b, others of a",
		store.KindDelivery:  "fates",
		store.KindCallStart: "conversation, others of a, others of b, words",
		store.KindCallText:  "others of a, others of b, words",
		store.KindCallEnd:   "others of a, others of b, words",
		store.KindAdmin:     "others of a, others of b, words",
		store.KindSearch:    "others of a, others of b, words",
		store.KindVoid:      "",
	} {
		b := batch(nil, &store.Record{Kind: kind, From: "a", To: "b", Ref: ref, Body: []byte("text"), Meta: map[string]string{store.MetaMessageID: "m"}})
		var got []string
		for _, e := range b.Filed {
			got = append(got, names[e.Key])
		}
		slices.Sort(got)
		if len(b.Words) > 0 {
			got = append(got, "words")
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
		if !slices.IsSortedFunc(b.Filed, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) }) {
			t.Errorf("%s: %v is not in order", kind, b.Filed)
		}
	}
	if b := batch(nil, &store.Record{Kind: store.KindDelivery}, &store.Record{Kind: store.KindReceipt, From: "a"}); len(b.Filed) != 1 {
		t.Errorf("without a Ref: %v", b.Filed)
	}
}

// TestChanges: of what was done to a record the latest counts, of each person, kind and emoji.
func TestChanges(t *testing.T) {
	t.Parallel()
	one, two := id.New(), id.New()
	change := func(ref id.ID, kind, from, body, removed string) *store.Record {
		return &store.Record{Kind: kind, From: from, Ref: ref, Body: []byte(body), Meta: map[string]string{store.MetaRemoved: removed}}
	}
	records := []*store.Record{
		change(one, store.KindEdit, "a", "first", ""),
		change(one, store.KindEdit, "a", "second", ""), // 2
		change(one, store.KindReaction, "a", "x", "1"),
		change(one, store.KindReaction, "a", "x", ""),  // 4
		change(one, store.KindReaction, "b", "x", "1"), // 5
		change(one, store.KindReaction, "a", "y", ""),  // 6
		change(two, store.KindReaction, "a", "x", ""),  // 7
		change(one, store.KindRetract, "a", "", ""),    // 8
		change(two, store.KindCallEnd, "a", "", ""),    // 9
		change(id.ID{}, store.KindEdit, "a", "", ""),
	}
	got := map[int64]bool{} // by seq, whether it is gone
	for _, c := range batch(nil, records...).Changes {
		if r := records[c.Seq-1]; c.About != Changes(r.Ref) || c.What != Same(r) {
			t.Errorf("record %d is at the wrong place", c.Seq)
		}
		got[c.Seq] = c.Gone
	}
	want := map[int64]bool{2: false, 4: false, 5: true, 6: false, 7: false, 8: false, 9: false}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestCallsInOneBatch: a call that began and ended leaves no trace.
func TestCallsInOneBatch(t *testing.T) {
	t.Parallel()
	one, two, before := id.New(), id.New(), id.New()
	b := batch(nil, &store.Record{Kind: store.KindCallStart, ID: one}, &store.Record{Kind: store.KindCallStart, ID: two},
		&store.Record{Kind: store.KindCallEnd, Ref: one}, &store.Record{Kind: store.KindCallEnd, Ref: before})
	if len(b.Opened) != 1 || b.Opened[0].ID != two || !slices.Contains(b.Closed, before) {
		t.Errorf("%v, %v", b.Opened, b.Closed)
	}
}
