// Package archive searches what was recorded. A search is itself a record.
package archive

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// Store is what is searched, and where searches are recorded.
type Store interface {
	store.Log
	store.Index
}

// Service is the one way into the archive.
type Service struct{ store Store }

// New makes a service.
func New(s Store) *Service { return &Service{store: s} }

// Actor is who searches, for the record.
type Actor struct {
	Name string
	Via  string // "cli", "api"
}

// Search records the query, waits until everything said before it is indexed, and returns what fits.
// A search that cannot be recorded is refused.
func (s *Service) Search(ctx context.Context, by Actor, q store.Query) ([]store.Record, error) {
	if q.Limit < 0 || q.Limit > 1000 {
		return nil, errs.New(errs.Invalid, "archive: limit must be between 1 and 1000")
	}
	if err := s.record(ctx, by, q); err != nil {
		return nil, errs.Say(errs.Wrap(errs.KindOf(err), err, "archive: recording the search"),
			"the archive was not searched, because the search could not be recorded; try again")
	}
	indexed := make(chan struct{})
	s.store.WaitFor(s.store.Head(), func() { close(indexed) })
	select {
	case <-indexed:
	case <-ctx.Done():
		return nil, errs.Wrap(errs.Unavailable, ctx.Err(), "archive: waiting for the index")
	}
	list, err := s.store.Search(ctx, q)
	if err != nil {
		return nil, errs.Wrap(errs.KindOf(err), err, "archive: searching")
	}
	return list, nil
}

func (s *Service) record(ctx context.Context, by Actor, q store.Query) error {
	done := make(chan error, 1)
	r := &store.Record{Kind: store.KindSearch, From: by.Name, To: q.Person, Meta: map[string]string{
		store.MetaQuery: describe(q), store.MetaVia: by.Via,
	}}
	s.store.Append(r, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
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
