package presence

import (
	"context"
	"time"

	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/wire/pidf"
)

// Hidden tells whether owner looks offline to from, whatever is so: by the owner's own hand, or because from is blocked. It does
// not wait; when it is not in memory whether from is blocked, nobody is, and that is read for the next time.
func (s *Service) Hidden(owner, from string) bool {
	hidden, known := s.hidden(owner, from)
	if !known {
		e := s.table.get(owner)
		s.warm(e)
		s.unpin(e)
	}
	return hidden
}

// AskHidden is Hidden for those who can wait for an answer that is right: done is called once, now or later.
func (s *Service) AskHidden(owner, from string, done func(hidden bool)) {
	hidden, known := s.hidden(owner, from)
	if hidden || known {
		done(hidden)
		return
	}
	ok := s.jobs.try(func(ctx context.Context) {
		level, _, err := s.o.Contacts.Level(ctx, owner, from)
		done(err != nil || level == policy.Blocked)
	})
	if !ok {
		done(true)
	}
}

func (s *Service) hidden(owner, from string) (hidden, known bool) {
	if owner == from {
		return false, true
	}
	if e := s.table.find(owner); e != nil {
		e.mu.Lock()
		hidden = e.manual.State == pidf.Offline && e.manual.Holds(time.Now())
		e.mu.Unlock()
		s.unpin(e)
		if hidden {
			return true, true
		}
	}
	level, known := s.o.Contacts.Known(owner, from)
	return known && level == policy.Blocked, known
}
