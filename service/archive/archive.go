// Package archive searches what was recorded. A search is itself a record.
package archive

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// Store is what is searched, and where searches are recorded.
type Store interface {
	store.Log
	store.Index
}

// Service is the one way into the archive.
type Service struct {
	store   Store
	content Content
}

// New makes a service. Content opens the files in messages.
func New(s Store, content Content) *Service { return &Service{store: s, content: content} }

// Actor is who searches, for the record.
type Actor struct {
	Name string
	Via  string // "cli", "api"
}

// Limits of a query.
const (
	maxPage  = 1000
	maxWords = 1000 // bytes
)

// kinds are those that can be asked for.
var kinds = []string{store.KindMessage, store.KindEdit, store.KindRetract, store.KindReaction, store.KindDelivery, store.KindReceipt,
	store.KindCallStart, store.KindCallText, store.KindCallEnd, store.KindAdmin, store.KindSearch, store.KindSession}

// check refuses what cannot be searched, and writes addresses as the log has them.
func check(q *store.Query) error {
	if q.Limit < 0 || q.Limit > maxPage {
		return errs.New(errs.Invalid, "archive: limit must be between 1 and %d", maxPage)
	}
	if len(q.Words) > maxWords {
		return errs.New(errs.Invalid, "archive: the words have %d bytes; at most %d can be searched", len(q.Words), maxWords)
	}
	if q.With != "" && q.Person == "" {
		return errs.New(errs.Invalid, "archive: a search between two people needs both")
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		return errs.New(errs.Invalid, "archive: the time to search ends (%s) before it begins (%s)", instant(q.Until), instant(q.Since))
	}
	for _, k := range q.Kinds {
		if !slices.Contains(kinds, k) {
			return errs.New(errs.Invalid, "archive: there are no records of kind %q; there are %s", k, strings.Join(kinds, ", "))
		}
	}
	for _, person := range []*string{&q.Person, &q.With} {
		if *person == "" {
			continue
		}
		u, err := sip.ParseURI("sip:" + strings.TrimPrefix(strings.TrimSpace(*person), "sip:"))
		if err != nil || u.AOR() == "" {
			return errs.New(errs.Invalid, "archive: %q is not an address; write it as alice@example.com", *person)
		}
		*person = u.AOR()
	}
	return nil
}

// Search records the query, waits until everything said before it is indexed, and returns what fits.
// A search that cannot be recorded is refused.
func (s *Service) Search(ctx context.Context, by Actor, q store.Query) ([]store.Record, error) {
	if err := check(&q); err != nil {
		return nil, err
	}
	seq, err := s.append(ctx, by, q.Person, describe(q))
	if err != nil {
		return nil, errs.Say(errs.Wrap(errs.KindOf(err), err, "archive: recording the search"),
			"the archive was not searched, because the search could not be recorded; try again")
	}
	if q.Before == 0 || q.Before > seq {
		q.Before = seq // the search does not find itself
	}
	if err := store.Indexed(ctx, s.store, seq); err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, "archive: waiting for the index")
	}
	list, err := s.store.Search(ctx, q)
	if err != nil {
		return nil, errs.Wrap(errs.KindOf(err), err, "archive: searching")
	}
	return list, nil
}

// append records that somebody looked for something, of a person or ""; it returns the Seq.
func (s *Service) append(ctx context.Context, by Actor, person, what string) (int64, error) {
	done := make(chan error, 1)
	r := &store.Record{Kind: store.KindSearch, From: by.Name, To: person, Meta: map[string]string{
		store.MetaQuery: what, store.MetaVia: by.Via,
	}}
	s.store.Append(r, func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			return 0, err
		}
		return r.Seq, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// describe writes a query as one line.
func describe(q store.Query) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+strconv.Quote(strings.ToValidUTF8(value, "\uFFFD")))
		}
	}
	add("words", q.Words)
	add("person", q.Person)
	add("with", q.With)
	add("kinds", strings.Join(q.Kinds, ","))
	add("since", instant(q.Since))
	add("until", instant(q.Until))
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " ")
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
