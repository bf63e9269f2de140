package feed

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

const (
	pageOfMissed = 50 // records that one stream reads at a time
	oldTalks     = 100
)

// missed is what a stream has to read from the log: it was away, or slow.
type missed struct {
	from, to int64 // positions: after from, up to to
	first    bool  // the stream begins: Ready follows
	reset    bool  // the position it came with is unknown
	indexed  bool
	fates    bool // outcomes in between are known one by one
	count    int
	page     []Event
	at       int
}

// readMissed returns the next event of those that were missed; false when there are no more, or when there is something else to
// tell meanwhile.
func (s *Stream) readMissed(ctx context.Context) (Event, bool, error) {
	m, h := s.missed, s.hub
	if m.reset {
		m.reset = false
		h.metrics.resets.Inc()
		return Event{Kind: Reset, Position: m.to}, true, nil
	}
	for m.at == len(m.page) {
		if m.from >= m.to {
			s.missed = nil
			if m.first {
				return Event{Kind: Ready, Position: m.to, Name: s.name}, true, nil
			}
			return Event{}, false, nil
		}
		if e, ok, err := s.waitForIndex(ctx); ok || err != nil {
			return e, ok, err
		}
		if err := s.readPage(ctx); err != nil {
			if ctx.Err() != nil {
				return Event{}, false, ctx.Err()
			}
			return Event{}, false, errs.Wrap(errs.Unavailable, err, "feed: reading what was missed")
		}
	}
	e := m.page[m.at]
	m.page[m.at] = Event{}
	if m.at++; m.at == len(m.page) {
		m.page, m.at = nil, 0
	}
	if m.count++; m.count > h.o.Limits.Missed {
		h.metrics.resets.Inc()
		to := m.to
		s.missed = &missed{from: to, to: to, first: m.first}
		return Event{Kind: Reset, Position: to}, true, nil
	}
	h.metrics.missed.Inc()
	return e, true, nil
}

// waitForIndex waits until the index has everything that was missed. A Ping comes meanwhile when that takes long.
func (s *Stream) waitForIndex(ctx context.Context) (Event, bool, error) {
	m := s.missed
	if m.indexed {
		return Event{}, false, nil
	}
	ready := make(chan struct{})
	cancel := s.hub.o.Index.WaitFor(m.to, func() { close(ready) })
	defer cancel()
	for {
		select {
		case <-ready:
			m.indexed = true
			return Event{}, false, s.startMissed(ctx)
		case <-s.timer.C:
			return Event{Kind: Ping}, true, nil
		case <-s.wake:
			if e, ok := s.ended(); ok {
				if e.Kind == 0 {
					return e, false, ErrEnded
				}
				return e, true, nil
			}
		case <-s.hub.stop:
			return Event{}, false, ErrStopping
		case <-ctx.Done():
			return Event{}, false, ctx.Err()
		}
	}
}

// startMissed finds out what became of the owner's messages meanwhile, one by one or, after a long time, together.
func (s *Stream) startMissed(ctx context.Context) error {
	m, h := s.missed, s.hub
	if err := h.fatesAfter(ctx, m.from); err != nil {
		return err
	}
	h.mu.Lock()
	_, m.fates = h.fates.between(s.aor, m.from, m.from)
	h.mu.Unlock()
	if m.fates {
		return nil
	}
	return s.addTaken(ctx)
}

// addTaken adds to the page up to where the other sides have everything.
func (s *Stream) addTaken(ctx context.Context) error {
	m, h := s.missed, s.hub
	talks, err := h.o.Talks.Talks(ctx, s.aor, 0, oldTalks)
	if err != nil {
		return err
	}
	for _, t := range talks {
		if t.Sent == 0 || t.Peer == s.aor {
			continue
		}
		taken, err := h.o.Taken(ctx, t.Peer)
		if err != nil {
			return err
		}
		if taken = min(taken, t.Sent); taken > 0 {
			m.page = append(m.page, Event{Kind: Fated, Fate: &Fate{At: time.Now(), MessageSeq: taken, From: s.aor, To: t.Peer, Outcome: store.OutcomeDelivered}})
		}
	}
	return nil
}

// readPage reads the next page. A few streams read at a time, so that many which come back at once do not need the memory
// of all of them.
func (s *Stream) readPage(ctx context.Context) error {
	m, h := s.missed, s.hub
	if len(m.page) > 0 {
		return nil
	}
	select {
	case h.reads <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.reads }()
	list, err := h.o.Talks.PersonAfter(ctx, s.aor, m.from, pageOfMissed)
	if err != nil {
		return err
	}
	upto := m.to
	if len(list) == pageOfMissed {
		upto = min(upto, list[len(list)-1].Seq)
	}
	bytes := 0
	for i := range list {
		if list[i].Seq > upto {
			list = list[:i]
			break
		}
		if bytes += recordSize(&list[i]); bytes > mostBytes && i > 0 {
			list, upto = list[:i], list[i-1].Seq
			break
		}
	}
	about, err := h.changesOf(ctx, list)
	if err != nil {
		return err
	}
	for i := range list {
		r := &list[i]
		e := Event{Kind: Recorded, Position: r.Seq, Record: r}
		switch r.Kind {
		case store.KindMessage, store.KindCallStart:
			e.About = about[r.ID]
		case store.KindEdit:
			if retracted(about[r.Ref], r.From) {
				continue // nobody sees it any more
			}
		}
		m.page = append(m.page, e)
	}
	if m.fates {
		h.mu.Lock()
		fates, ok := h.fates.between(s.aor, m.from, upto)
		h.mu.Unlock()
		for _, f := range fates {
			m.page = append(m.page, Event{Kind: Fated, Position: f.Seq, Fate: f})
		}
		slices.SortFunc(m.page, func(a, b Event) int { return cmp.Compare(a.Position, b.Position) })
		if m.fates = ok; !ok { // some were forgotten while the stream was read slowly
			if err := s.addTaken(ctx); err != nil {
				return err
			}
		}
	}
	m.from = upto
	return nil
}

// changesOf finds what was done to messages, to those that edits are about, and to those that are answered.
func (h *Hub) changesOf(ctx context.Context, list []store.Record) (map[id.ID][]store.Record, error) {
	var ids []id.ID
	answers := map[id.ID][]id.ID{}
	for i := range list {
		switch r := &list[i]; r.Kind {
		case store.KindMessage, store.KindCallStart:
			ids = append(ids, r.ID)
			if to, err := id.Parse(r.MetaValue(store.MetaReplyTo)); err == nil {
				ids = append(ids, to)
				answers[to] = append(answers[to], r.ID)
			}
		case store.KindEdit:
			ids = append(ids, r.Ref)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	changes, err := h.o.Talks.About(ctx, ids...)
	if err != nil || len(changes) == 0 {
		return nil, err
	}
	about := make(map[id.ID][]store.Record, len(changes))
	for _, c := range changes {
		about[c.Ref] = append(about[c.Ref], c)
		if c.Kind != store.KindRetract {
			continue
		}
		for _, answer := range answers[c.Ref] {
			about[answer] = append(about[answer], c)
		}
	}
	return about, nil
}

// retracted tells whether somebody took back a message.
func retracted(about []store.Record, from string) bool {
	return slices.ContainsFunc(about, func(r store.Record) bool { return r.Kind == store.KindRetract && r.From == from })
}
