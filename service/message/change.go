package message

import (
	"context"
	"strconv"

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

// Limits of what one person does to a message. Each change is a record for ever, which the other side's devices and pages get.
const (
	maxReactions = 20  // different ones at a time
	maxEdits     = 200 // texts after the first
	maxReacted   = 200 // reactions put to it and taken away again
)

// ErrChanges (TooMany) is for somebody who has changed a message, or reactions to it, as often as anybody may: it will not work later.
var ErrChanges = errs.New(errs.TooMany, "message: too many changes of one message")

// metaNth is which edit of a message a record is, or which change of reactions to it, of those of one person.
const metaNth = "nth"

// count numbers r among the changes of its kind that its sender made to the message, and refuses it beyond most, in words for people. A
// repeat is let through, for say to find. Only the latest changes are in about, so each record has its number; those that
// were made without one count once.
func count(r *store.Record, about []store.Record, most int, words string) error {
	n, repeat := 0, false
	for i := range about {
		a := &about[i]
		if a.Kind != r.Kind || a.From != r.From || a.Ref != r.Ref {
			continue
		}
		nth, err := strconv.Atoi(a.MetaValue(metaNth))
		if err != nil {
			nth = 1
		}
		n, repeat = max(n, nth), repeat || saysAgain(a, r)
	}
	if n >= most && !repeat {
		return errs.Say(ErrChanges, words)
	}
	r.Meta[metaNth] = strconv.Itoa(n + 1)
	return nil
}

// Edit replaces the text of an own message; html goes before text. Errors as of Post, NotFound for a message that the caller
// cannot see, Forbidden for one of somebody else, Conflict for one that was taken back, ErrChanges after 200 edits. The record
// of it comes with the same promises as that of Post.
func (s *Service) Edit(ctx context.Context, c Change, text, html string) (*store.Record, error) {
	leave, err := s.turns.enter(ctx, c.Message)
	if err != nil {
		return nil, err
	}
	defer leave()
	r, m, about, err := s.own(ctx, store.KindEdit, c)
	if err != nil {
		return nil, err
	}
	if err := count(r, about, maxEdits, "this message was changed "+strconv.Itoa(maxEdits)+" times, and that is the limit; write a new one"); err != nil {
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
	r, m, _, err := s.own(ctx, store.KindRetract, c)
	if err != nil {
		return nil, err
	}
	set(r, metaDisplay, m.MetaValue(metaDisplay))
	rec, _, err := s.say(ctx, r)
	return rec, err
}

// own begins the record of what somebody does to an own message, which is m, and to which about was done before.
func (s *Service) own(ctx context.Context, kind string, c Change) (r, m *store.Record, about []store.Record, err error) {
	r, m, about, err = s.change(ctx, kind, c)
	if err != nil {
		return nil, nil, nil, err
	}
	if m.From != c.From {
		return nil, nil, nil, refuse(errs.Forbidden, "only who wrote a message can change it")
	}
	for i := range about {
		if a := &about[i]; a.Kind == store.KindRetract && a.From == m.From && !saysAgain(a, r) {
			return nil, nil, nil, refuse(errs.Conflict, "the message was deleted")
		}
	}
	return r, m, about, nil
}

// saysAgain tells whether r says again what is recorded in old: say finds that out and answers.
func saysAgain(old, r *store.Record) bool {
	q := r.MetaValue(store.MetaRequestID)
	return q != "" && old.MetaValue(store.MetaRequestID) == q && old.Kind == r.Kind
}

// React puts an emoji to a message, or takes the caller's own away again. What is so already is not recorded again: the record
// that says it comes back. Errors as of Edit, but anybody who sees a message may react to it; Invalid for what is not one
// emoji, NotFound for taking away what is not there, ErrChanges for more than 20 of one person and after 200 changes.
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
		return nil, errs.Say(ErrChanges, strconv.Itoa(maxReactions)+" different reactions to a message are the limit; take one away first")
	}
	if err := count(r, about, maxReacted, "your reactions to this message changed "+strconv.Itoa(maxReacted)+" times, and that is the limit; answer it in words"); err != nil {
		return nil, err
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
