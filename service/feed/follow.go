package feed

import (
	"context"

	"github.com/parley-im/parley/base/errs"
)

// mostFollowed is how many people beside the contacts one call may name.
const mostFollowed = 1000

// startFollowing begins with the presence of the contacts and of these people.
func (s *Stream) startFollowing(ctx context.Context, people []string) error {
	if len(people) > mostFollowed {
		return tooManyPeople()
	}
	if s.presence {
		contacts, err := s.hub.o.Contacts(ctx, s.aor)
		if err != nil {
			return err
		}
		s.followed = make(map[string]bool, len(contacts))
		for _, c := range contacts {
			s.followed[c] = true
		}
		people = append(append(contacts, people...), s.aor)
	}
	return s.follow(ctx, people)
}

func tooManyPeople() error {
	return errs.Say(errs.New(errs.Invalid, "feed: too many people to follow"), "at most 1,000 people can be named at once")
}

// follow adds people.
func (s *Stream) follow(ctx context.Context, people []string) error {
	if len(people) == 0 {
		return nil
	}
	s.mu.Lock()
	f := s.follower
	s.mu.Unlock()
	if f != nil {
		return f.Add(ctx, people...)
	}
	f, err := s.hub.o.Follow(ctx, s.aor, people, s.seen)
	if err != nil {
		return err
	}
	s.mu.Lock()
	again := s.closed || s.follower != nil
	if !again {
		s.follower = f
	}
	other := s.follower
	s.mu.Unlock()
	if !again {
		return nil
	}
	f.Close()
	if other != nil { // two calls at once
		return other.Add(ctx, people...)
	}
	return ErrEnded
}

// seen is told what is seen of somebody.
func (s *Stream) seen(owner string, value any) {
	if owner == s.aor && s.presence {
		s.note(note{kind: Own}, nil)
		return
	}
	s.note(note{Seen, owner}, value)
}

// followContacts follows who came into the list of contacts, and no more who left it.
func (s *Stream) followContacts(ctx context.Context) {
	if !s.presence {
		return
	}
	contacts, err := s.hub.o.Contacts(ctx, s.aor)
	if err != nil {
		s.hub.o.Log.Warn("feed: a list of contacts cannot be read", "aor", s.aor, "err", err)
		return
	}
	now := make(map[string]bool, len(contacts))
	var came, left []string
	for _, c := range contacts {
		if now[c] = true; !s.followed[c] {
			came = append(came, c)
		}
	}
	for c := range s.followed {
		if !now[c] && c != s.aor {
			left = append(left, c)
		}
	}
	s.followed = now
	s.mu.Lock()
	f := s.follower
	s.mu.Unlock()
	if f != nil && len(left) > 0 {
		f.Remove(left...)
	}
	if err := s.follow(ctx, came); err != nil && ctx.Err() == nil {
		s.hub.o.Log.Warn("feed: new contacts cannot be followed", "aor", s.aor, "err", err)
	}
}

// Follow adds people whose presence one of a session's streams tells of. Errors: NotFound when there is no such stream, Invalid,
// TooMany, Unavailable.
func (h *Hub) Follow(ctx context.Context, session, stream string, people []string) error {
	if len(people) > mostFollowed {
		return tooManyPeople()
	}
	var found *Stream
	h.mu.Lock()
	if x := h.sessions[session]; x != nil {
		for _, s := range h.streamsOf(x.aor) {
			if s.session == x && s.name == stream {
				found = s
			}
		}
	}
	h.mu.Unlock()
	if found == nil {
		return errs.Say(errs.New(errs.NotFound, "feed: no such stream"), "there is no such event stream")
	}
	return found.follow(ctx, people)
}
