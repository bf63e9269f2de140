package conversation

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// Detail is a message with what became of it.
type Detail struct {
	Said
	Fates    []store.Record // deliveries, and receipts of the other side, in the order in which they came
	Versions []store.Record // of the text, the message first, when it was edited; none when it was retracted
}

// Message returns one message or call of the owner's conversations. Errors: NotFound, also for what is somebody else's;
// Unavailable.
func (s *Service) Message(ctx context.Context, owner, rid string) (Detail, error) {
	r, err := s.find(ctx, owner, rid)
	if err != nil {
		return Detail{}, err
	}
	if _, err := s.settle(ctx); err != nil {
		return Detail{}, err
	}
	list, err := s.changes(ctx, []store.Record{*r})
	if err != nil {
		return Detail{}, err
	}
	d := Detail{Said: list[0]}
	fates, err := s.o.Talks.Fates(ctx, r.ID)
	if err != nil {
		return Detail{}, err
	}
	for _, f := range fates {
		switch {
		case f.Kind == store.KindDelivery && f.From == r.From && f.To == r.To, f.Kind == store.KindReceipt && f.From == r.To && f.To == r.From:
			d.Fates = append(d.Fates, f)
		}
	}
	if d.Versions, err = s.versions(ctx, &d.Said); err != nil {
		return Detail{}, err
	}
	if r.From == owner && r.Kind == store.KindMessage && !slices.ContainsFunc(d.Fates, isRead) {
		read, err := s.readWith(ctx, r)
		if err != nil {
			return Detail{}, err
		}
		d.Fates = append(d.Fates, read...)
	}
	return d, nil
}

// isRead tells whether a receipt says that its message was read.
func isRead(r store.Record) bool {
	return r.Kind == store.KindReceipt && r.MetaValue(store.MetaOutcome) == store.OutcomeDisplayed
}

// Bounds of the search for a receipt: it comes with one of the messages said soon after.
const (
	pageOfReceipts = 200
	mostReceipts   = 2000
)

// readWith finds the receipt that says that a message was read, together with later ones.
func (s *Service) readWith(ctx context.Context, m *store.Record) ([]store.Record, error) {
	theirs, err := s.o.Talks.Talk(ctx, m.To, m.From)
	if err != nil || theirs.Read < m.Seq {
		return nil, err
	}
	for after, n := m.Seq, 0; n < mostReceipts; n += pageOfReceipts {
		list, err := s.o.Talks.PersonAfter(ctx, m.From, after, pageOfReceipts)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if !isRead(r) || r.From != m.To || r.To != m.From {
				continue
			}
			if upto, err := strconv.ParseInt(r.MetaValue(store.MetaSeq), 10, 64); err == nil && upto >= m.Seq {
				return []store.Record{r}, nil
			}
		}
		if len(list) < pageOfReceipts {
			break
		}
		after = list[len(list)-1].Seq
	}
	return nil, nil
}

// versions are the texts of a message that was edited and not retracted. What was done to it tells of the latest alone.
func (s *Service) versions(ctx context.Context, m *Said) ([]store.Record, error) {
	edited := false
	for _, a := range m.About {
		switch {
		case a.From != m.From:
		case a.Kind == store.KindRetract:
			return nil, nil
		case a.Kind == store.KindEdit:
			edited = true
		}
	}
	if !edited {
		return nil, nil
	}
	edits, err := s.o.Talks.Edits(ctx, m.ID, m.From)
	return append([]store.Record{m.Record}, edits...), err
}

// find returns a message or call that the owner said or was told.
func (s *Service) find(ctx context.Context, owner, rid string) (*store.Record, error) {
	x, err := id.Parse(rid)
	if err != nil || x.IsZero() {
		return nil, errNoMessage(rid)
	}
	u, err := s.owner(ctx, owner)
	if err != nil {
		return nil, err
	}
	r, err := s.o.Log.Find(ctx, x)
	if errors.Is(err, errs.NotFound) {
		return nil, errNoMessage(rid)
	}
	if err != nil {
		return nil, err
	}
	if r.Kind != store.KindMessage && r.Kind != store.KindCallStart || r.From != owner && r.To != owner || r.Seq <= u.Since {
		return nil, errNoMessage(rid)
	}
	return r, nil
}
