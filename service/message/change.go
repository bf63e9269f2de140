package message

import (
	"context"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/store"
)

// Change is something that is done to a message afterwards: a record of its own, for the log keeps what was.
type Change struct {
	From      string // AOR of who does it
	Device    string // by which session, as it is called in records
	RequestID string // makes a repeat recognisable, up to 64 bytes; "" for none
	Message   id.ID  // to which message
}

// maxReactions is how many different reactions one person may put to a message.
const maxReactions = 20

// Edit replaces the text of an own message; html goes before text. Errors as of Post, NotFound for a message that the caller
// cannot see, Forbidden for one of somebody else, Conflict for one that was taken back. The record of it comes with the
// same promises as that of Post.
func (s *Service) Edit(ctx context.Context, c Change, text, html string) (*store.Record, error) {
	leave, err := s.turns.enter(ctx, c.Message)
	if err != nil {
		return nil, err
	}
	defer leave()
	r, m, err := s.own(ctx, store.KindEdit, c)
	if err != nil {
		return nil, err
	}
	if err := s.write(r, text, html); err != nil {
		return nil, err
	}
	set(r, metaDisplay, m.MetaValue(metaDisplay))
	rec, _, err := s.say(ctx, r)
	return rec, err
}

// Retract takes an own message back. Errors as of Edit.
func (s *Service) Retract(ctx context.Context, c Change) (*store.Record, error) {
	leave, err := s.turns.enter(ctx, c.Message)
	if err != nil {
		return nil, err
	}
	defer leave()
	r, m, err := s.own(ctx, store.KindRetract, c)
	if err != nil {
		return nil, err
	}
	set(r, metaDisplay, m.MetaValue(metaDisplay))
	rec, _, err := s.say(ctx, r)
	return rec, err
}

// own begins the record of what somebody does to an own message, which is m.
func (s *Service) own(ctx context.Context, kind string, c Change) (r, m *store.Record, err error) {
	r, m, about, err := s.change(ctx, kind, c)
	if err != nil {
		return nil, nil, err
	}
	if m.From != c.From {
		return nil, nil, refuse(errs.Forbidden, "only who wrote a message can change it")
	}
	for i := range about {
		if a := &about[i]; a.Kind == store.KindRetract && a.From == m.From && !saysAgain(a, r) {
			return nil, nil, refuse(errs.Conflict, "the message was deleted")
		}
	}
	return r, m, nil
}

// saysAgain tells whether r says again what is recorded in old: say finds that out and answers.
func saysAgain(old, r *store.Record) bool {
	q := r.MetaValue(store.MetaRequestID)
	return q != "" && old.MetaValue(store.MetaRequestID) == q && old.Kind == r.Kind
}

// React puts an emoji to a message, or takes the caller's own away again. What is so already is not recorded again: the record
// that says it comes back. Errors as of Edit, but anybody who sees a message may react to it; Invalid for what is not one
// emoji, NotFound for taking away what is not there, TooMany for more than 20 of one person.
func (s *Service) React(ctx context.Context, c Change, emoji string, remove bool) (*store.Record, error) {
	if !content.IsEmoji(emoji) {
		return nil, refuse(errs.Invalid, "a reaction is one emoji")
	}
	leave, err := s.turns.enter(ctx, c.Message)
	if err != nil {
		return nil, err
	}
	defer leave()
	r, m, about, err := s.change(ctx, store.KindReaction, c)
	if err != nil {
		return nil, err
	}
	latest := map[string]*store.Record{} // by emoji
	for i := range about {
		switch a := &about[i]; {
		case a.Kind == store.KindRetract && a.From == m.From:
			return nil, refuse(errs.Conflict, "the message was deleted")
		case a.Kind == store.KindReaction && a.From == c.From:
			latest[string(a.Body)] = a
		}
	}
	last := latest[emoji]
	there := last != nil && last.MetaValue(store.MetaRemoved) == ""
	switch {
	case there == !remove && last != nil:
		return last, nil
	case remove && !there:
		return nil, refuse(errs.NotFound, "there is no such reaction")
	}
	n := 0
	for _, a := range latest {
		if a.MetaValue(store.MetaRemoved) == "" {
			n++
		}
	}
	if !remove && n >= maxReactions {
		return nil, refuse(errs.TooMany, "that are enough reactions to one message")
	}
	r.ContentType, r.Body = content.PlainType, []byte(emoji)
	if remove {
		r.Meta[store.MetaRemoved] = "1"
	}
	rec, _, err := s.say(ctx, r)
	return rec, err
}

// change begins the record of what somebody does to a message, which is m, and to which about was done before.
func (s *Service) change(ctx context.Context, kind string, c Change) (r, m *store.Record, about []store.Record, err error) {
	m, err = s.o.Store.Find(ctx, c.Message)
	switch {
	case errs.KindOf(err) == errs.NotFound && err != nil:
		return nil, nil, nil, errNoMessage
	case err != nil:
		return nil, nil, nil, errs.Wrap(errs.KindOf(err), err, "message: looking for a message")
	}
	to := m.To
	switch c.From {
	case m.From:
	case m.To:
		to = m.From
	default:
		return nil, nil, nil, errNoMessage // as if it were not there: nobody shall learn that somebody said something
	}
	o := Outgoing{From: c.From, To: to}
	peer, err := s.mayPost(ctx, &o, c.RequestID)
	if err != nil {
		return nil, nil, nil, err
	}
	if m, err = s.between(ctx, c.From, peer, c.Message); err != nil {
		return nil, nil, nil, err
	}
	quote, about, err := s.current(ctx, m)
	if err != nil {
		return nil, nil, nil, err
	}
	r = s.newSaid(kind, c.From, c.Device, to, c.RequestID)
	r.Ref = m.ID
	set(r, store.MetaQuote, quote)
	return r, m, about, nil
}
