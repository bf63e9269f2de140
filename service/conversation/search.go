package conversation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// SearchQuery says what is looked for in the owner's conversations.
type SearchQuery struct {
	Words  string // all of them, in any order; "wor*" is any word that begins so
	Peer   string // only this conversation; "" for all
	From   string // address of the sender; "" for anybody
	Since  time.Time
	Until  time.Time
	Before int64 // page: Found.Next
	Limit  int   // 1 … MaxFound; 0: DefaultFound
}

// Found is what a search found, newest first: by when it was said, or edited to say so.
type Found struct {
	Messages []Said
	Next     int64 // Before of the next page; 0: no more
}

// searched are the kinds of records in which people search.
var searched = []string{store.KindMessage, store.KindEdit}

// Search finds messages by words that are in them now: not what was edited away, and not what was retracted. Errors: Invalid,
// Unavailable.
func (s *Service) Search(ctx context.Context, owner string, q SearchQuery) (Found, error) {
	n, err := limit(q.Limit, DefaultFound, MaxFound)
	if err != nil {
		return Found{}, err
	}
	if strings.TrimSpace(q.Words) == "" || q.Before < 0 {
		return Found{}, errs.Say(errs.New(errs.Invalid, "conversation: a search for nothing"), "say which words to look for")
	}
	for _, a := range []*string{&q.Peer, &q.From} {
		if *a == "" {
			continue
		}
		if *a, err = sip.ParseAOR(*a); err != nil {
			return Found{}, err
		}
	}
	u, err := s.owner(ctx, owner)
	if err != nil {
		return Found{}, err
	}
	if _, err := s.settle(ctx); err != nil {
		return Found{}, err
	}
	var found Found
	before := q.Before
	for looked := 0; looked < mostLooked; looked += pageOfFind {
		list, err := s.o.Index.Search(ctx, store.Query{Words: q.Words, Person: owner, With: q.Peer, Since: q.Since, Until: q.Until, Kinds: searched,
			After: u.Since, Before: before, Newest: true, Limit: pageOfFind})
		if err != nil {
			return Found{}, noWord(err, q.Words)
		}
		hits, err := s.current(ctx, owner, list, q)
		if err != nil {
			return Found{}, err
		}
		for i := range list {
			m, ok := hits[list[i].Seq]
			before = list[i].Seq
			if !ok {
				continue
			}
			if found.Messages = append(found.Messages, m); len(found.Messages) == n {
				found.Next = before
				return found, nil
			}
		}
		if len(list) < pageOfFind {
			return found, nil
		}
	}
	found.Next = before // there is a lot that does not count: go on from here
	return found, nil
}

// noWord says in other words that there is no word in what is looked for.
func noWord(err error, text string) error {
	if errs.KindOf(err) == errs.Invalid {
		return errs.Say(err, "there is no word to look for in “"+text+"”")
	}
	return err
}

// current returns the messages that have their hits in what they say now, by the Seq of the hit.
func (s *Service) current(ctx context.Context, owner string, hits []store.Record, q SearchQuery) (map[int64]Said, error) {
	var messages []store.Record
	for i := range hits {
		r := &hits[i]
		if q.From != "" && r.From != q.From || q.Peer != "" && q.Peer == owner && r.From != r.To {
			continue
		}
		if r.Kind == store.KindMessage {
			messages = append(messages, *r)
			continue
		}
		m, err := s.o.Log.Find(ctx, r.Ref)
		if errors.Is(err, errs.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// Who may edit was decided when the edit was recorded; a record that lies about it finds nothing.
		if m.Kind == store.KindMessage && m.From == r.From && m.To == r.To {
			messages = append(messages, *m)
		}
	}
	slices.SortFunc(messages, func(a, b store.Record) int { return a.ID.Compare(b.ID) })
	messages = slices.CompactFunc(messages, func(a, b store.Record) bool { return a.ID == b.ID })
	list, err := s.changes(ctx, messages)
	if err != nil {
		return nil, err
	}
	found := make(map[int64]Said, len(list))
	for i := range list {
		if seq, ok := says(&list[i]); ok {
			found[seq] = list[i]
		}
	}
	return found, nil
}

// says is the Seq of the record that has what a message says now; false when it was retracted.
func says(m *Said) (seq int64, ok bool) {
	seq = m.Seq
	for _, a := range m.About {
		switch {
		case a.From != m.From:
		case a.Kind == store.KindRetract:
			return 0, false
		case a.Kind == store.KindEdit:
			seq = a.Seq
		}
	}
	return seq, true
}
