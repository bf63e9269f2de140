package conversation

import (
	"context"
	"slices"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// PageQuery says which messages of a conversation are wanted. At most one of Before, After, Around and At is given; none: the newest.
type PageQuery struct {
	Peer   string
	Before int64 // position: the ones before it
	After  int64 // position: the ones after it
	Around int64 // position: it, and half a page to both sides
	At     time.Time
	Limit  int // 1 … MaxPage; 0: DefaultPage
}

// Page is a page of messages and calls, ascending.
type Page struct {
	Messages              []Said
	MoreBefore, MoreAfter bool
	Position              int64 // everything up to here that changes these messages is in them
}

func (q *PageQuery) check() error {
	n := 0
	for _, given := range []bool{q.Before != 0, q.After != 0, q.Around != 0, !q.At.IsZero()} {
		if given {
			n++
		}
	}
	if n > 1 || q.Before < 0 || q.After < 0 || q.Around < 0 {
		return errs.Say(errs.New(errs.Invalid, "conversation: %+v", *q), "at most one of before, after, around and at can be given, and none below 0")
	}
	return nil
}

// Messages returns a page. Errors: Invalid, Unavailable.
func (s *Service) Messages(ctx context.Context, owner string, q PageQuery) (Page, error) {
	n, err := limit(q.Limit, DefaultPage, MaxPage)
	if err == nil {
		err = q.check()
	}
	if err != nil {
		return Page{}, err
	}
	peer, err := sip.ParseAOR(q.Peer)
	if err != nil {
		return Page{}, err
	}
	u, err := s.owner(ctx, owner)
	if err != nil {
		return Page{}, err
	}
	position, err := s.settle(ctx)
	if err != nil {
		return Page{}, err
	}
	r := reader{s, ctx, owner, peer, u.Since}
	if !q.At.IsZero() {
		if q.Around, err = s.o.Talks.ConversationSince(ctx, owner, peer, q.At); err != nil {
			return Page{}, err
		}
		// Nothing later: the newest. Nothing that belongs to this account: the oldest.
		if q.Around > 0 {
			q.Around = max(q.Around, u.Since+1)
		}
	}
	p, list, err := r.page(q, n)
	if err != nil {
		return Page{}, err
	}
	p.Position = position
	p.Messages, err = s.changes(ctx, list)
	return p, err
}

// reader reads one conversation, from the time on at which the account was made.
type reader struct {
	s           *Service
	ctx         context.Context
	owner, peer string
	since       int64
}

func (r reader) page(q PageQuery, n int) (p Page, list []store.Record, err error) {
	switch {
	case q.After != 0:
		list, p.MoreAfter, err = r.after(q.After, n)
		p.MoreBefore = err == nil && r.any(q.After+1)
	case q.Around != 0:
		var later []store.Record
		if list, p.MoreBefore, err = r.before(q.Around, n/2); err != nil {
			return p, nil, err
		}
		later, p.MoreAfter, err = r.after(q.Around-1, n-len(list))
		list = append(list, later...)
	default:
		list, p.MoreBefore, err = r.before(q.Before, n)
		p.MoreAfter = err == nil && q.Before > 0 && r.anyFrom(q.Before)
	}
	return p, list, err
}

// before returns the n before a position (0: the end), ascending, and whether there are more.
func (r reader) before(position int64, n int) (list []store.Record, more bool, err error) {
	list, err = r.s.o.Index.Conversation(r.ctx, r.owner, r.peer, position, n+1)
	if err != nil {
		return nil, false, err
	}
	if i := slices.IndexFunc(list, func(x store.Record) bool { return x.Seq <= r.since }); i >= 0 {
		list = list[:i]
	}
	if more = len(list) > n; more {
		list = list[:n]
	}
	slices.Reverse(list)
	return list, more, nil
}

func (r reader) after(position int64, n int) (list []store.Record, more bool, err error) {
	list, err = r.s.o.Talks.ConversationAfter(r.ctx, r.owner, r.peer, max(position, r.since), n+1)
	if err != nil {
		return nil, false, err
	}
	if more = len(list) > n; more {
		list = list[:n]
	}
	return list, more, nil
}

// any tells whether there is something before a position; anyFrom, at it or later. What cannot be read is not there: the page
// itself was read.
func (r reader) any(position int64) bool {
	list, _, err := r.before(position, 1)
	return err == nil && len(list) > 0
}

func (r reader) anyFrom(position int64) bool {
	list, _, err := r.after(position-1, 1)
	return err == nil && len(list) > 0
}
