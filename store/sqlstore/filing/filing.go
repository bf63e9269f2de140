// Package filing says what each record adds to the index: the keys under which it is found, its words, and what it changes
// in the conversation that it belongs to. It is pure; package sqlstore writes what it says.
//
// A key is 8 bytes of a hash of what people look for. Whether a record really belongs there is decided by the record, so
// that a collision costs a look and nothing else.
package filing

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/words"
)

// Batch collects what some records add to the index.
type Batch struct {
	Filed   []Entry
	Opened  []OpenCall // calls that started
	Closed  []id.ID    // calls that ended
	Words   []Words
	Talks   []Talk   // made by Finish
	Changes []Change // made by Finish

	known   *Known
	talks   map[pair]*Talk
	changes map[place]Change
	folded  []byte // scratch
}

// Entry is a record under a key.
type Entry struct{ Key, Seq int64 }

// OpenCall is a call.start record.
type OpenCall struct {
	ID  id.ID
	Seq int64
}

// Words are those of a record.
type Words struct {
	Seq  int64
	Text string // words with spaces between
}

// Talk is a conversation as its owner has it. What was said last in it is found under its keys.
type Talk struct {
	Owner, Peer string
	Out, In     int64 // keys: Said(Owner, Peer) and Said(Peer, Owner)
	Read        int64 // Seq up to which Owner has read; 0: that is not changed
}

type pair struct{ owner, peer string }

// New makes a batch. Conversations that are known are in the index already; all of them are written when it is nil.
func New(known *Known) *Batch { return &Batch{known: known} }

// maxPair is how long two addresses may be together, in bytes, to have a talk: a key of PostgreSQL must not be longer than 2,700.
const maxPair = 2000

// Delivery is the entry of a delivery; ok is false when it has none. It is all that a delivery adds.
func Delivery(r *store.Record) (e Entry, ok bool) {
	return Entry{Fates(r.Ref), r.Seq}, !r.Ref.IsZero()
}

// Add files one record. Text is the text of a record for its words.
func (b *Batch) Add(r *store.Record, text func(*store.Record) string) {
	switch r.Kind {
	case store.KindMessage:
		b.mail(r)
		b.said(r)
		if m := r.Meta[store.MetaMessageID]; m != "" {
			b.file(Named(r.From, m), r.Seq)
		}
	case store.KindEdit:
		b.mail(r)
		b.change(r)
	case store.KindRetract, store.KindReaction:
		b.mail(r)
		b.change(r)
		return // holds no words
	case store.KindReceipt:
		b.mail(r)
		b.read(r)
		if !r.Ref.IsZero() {
			b.file(Fates(r.Ref), r.Seq)
		}
		return
	case store.KindDelivery:
		if e, ok := Delivery(r); ok {
			b.Filed = append(b.Filed, e)
		}
		return
	case store.KindCallStart:
		b.people(r, "")
		b.said(r)
		b.Opened = append(b.Opened, OpenCall{r.ID, r.Seq})
	case store.KindCallEnd:
		b.people(r, "")
		b.change(r)
		b.Closed = append(b.Closed, r.Ref)
	case store.KindAdmin, store.KindSearch, store.KindCallText, store.KindSession:
		b.people(r, "")
	default:
		return
	}
	if b.folded = words.Fold(b.folded[:0], text(r)); len(b.folded) > 0 {
		b.Words = append(b.Words, Words{r.Seq, string(b.folded)})
	}
}

func (b *Batch) file(key, seq int64) { b.Filed = append(b.Filed, Entry{key, seq}) }

// mail files a record into its mailbox, and under its sender.
func (b *Batch) mail(r *store.Record) {
	if r.To != "" {
		b.file(Mailbox(r.To), r.Seq)
	}
	b.people(r, r.To)
}

// people files a record under its addresses, except those that its mailbox entry covers.
func (b *Batch) people(r *store.Record, covered string) {
	if r.From != "" && r.From != covered {
		b.file(Others(r.From), r.Seq)
	}
	if r.To != "" && r.To != r.From && r.To != covered {
		b.file(Others(r.To), r.Seq)
	}
}

// said files a message or call into its conversation.
func (b *Batch) said(r *store.Record) {
	b.file(Said(r.From, r.To), r.Seq)
	if !b.known.has(r.From, r.To) {
		b.talk(r.From, r.To)
		b.talk(r.To, r.From)
	}
}

// read notes how far the sender of a receipt has read. Nobody has read what was said later.
func (b *Batch) read(r *store.Record) {
	if r.Meta[store.MetaOutcome] != store.OutcomeDisplayed {
		return
	}
	seq, err := strconv.ParseInt(r.Meta[store.MetaSeq], 10, 64)
	if err != nil || seq <= 0 {
		return
	}
	if t := b.talk(r.From, cmp.Or(r.Meta[store.MetaPeer], r.To)); t != nil {
		t.Read = max(t.Read, min(seq, r.Seq))
	}
}

// talk returns a conversation that the batch writes; nil when it can be none.
func (b *Batch) talk(owner, peer string) *Talk {
	if owner == "" || peer == "" || len(owner)+len(peer) > maxPair {
		return nil
	}
	k := pair{owner, peer}
	t := b.talks[k]
	if t == nil {
		if b.talks == nil {
			b.talks = map[pair]*Talk{}
		}
		t = &Talk{Owner: owner, Peer: peer, Out: Said(owner, peer), In: Said(peer, owner)}
		b.talks[k] = t
	}
	return t
}

// Finish puts everything into the order of its table, so that neighbours are written together, and takes out calls that began
// and ended in the batch. Nothing is added after it.
func (b *Batch) Finish() {
	slices.SortFunc(b.Filed, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Seq, b.Seq)) })
	b.Filed = slices.Compact(b.Filed)
	ended := make(map[id.ID]bool, len(b.Closed))
	for _, d := range b.Closed {
		ended[d] = true
	}
	b.Opened = slices.DeleteFunc(b.Opened, func(c OpenCall) bool { return ended[c.ID] })
	b.Talks = make([]Talk, 0, len(b.talks))
	for _, t := range b.talks {
		b.Talks = append(b.Talks, *t)
	}
	slices.SortFunc(b.Talks, func(a, b Talk) int {
		return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.Peer, b.Peer))
	})
	b.Changes = slices.SortedFunc(maps.Values(b.changes), func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.About, b.About), cmp.Compare(a.What, b.What))
	})
}
