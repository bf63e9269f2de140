package call

import "slices"

// A call counts as ringing, for who is called and for who calls, from when it goes out to devices until it is answered or over.
// One that rings nowhere, because nobody is there or the callee does not want to be disturbed, never counts. Once answered
// it counts as talking, for the caller and for everyone who has a confirmed dialog with the caller: of a call that was forwarded
// that is who answered, and not who was called. A person counts once for each call, however many devices and dialogs there are.

// part is what a call is for one person.
type part struct {
	aor     string
	talking bool
}

// tally is how many calls somebody is in, and what was told of it last.
type tally struct {
	ringing, talking         int
	toldRinging, toldTalking int
	queued                   bool // in Service.changed
}

// parts are what a call is for people now. The caller holds Service.mu.
func (c *call) parts() []part {
	var list []part
	add := func(aor string, talking bool) {
		if p := (part{aor, talking}); aor != "" && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	switch {
	case c.ended:
	case c.answered.IsZero() && c.ringing:
		add(c.from, false)
		add(c.to, false)
	case !c.answered.IsZero():
		for tag, l := range c.legs {
			if l.confirmed {
				add(c.from, true)
				add(c.side(tag), true)
			}
		}
	}
	return list
}

// rings notes that a call goes out to devices.
func (s *Service) rings(c *call) {
	s.mu.Lock()
	c.ringing = true
	s.recount(c)
	s.mu.Unlock()
	s.tell()
}

// recount brings the tallies up to date after a change to c. The caller holds Service.mu, and calls tell when it has let go.
func (s *Service) recount(c *call) {
	if s.o.Watch == nil {
		return
	}
	now := c.parts()
	if slices.Equal(now, c.counted) {
		return
	}
	for _, p := range c.counted {
		s.count(p, -1)
	}
	for _, p := range now {
		s.count(p, 1)
	}
	c.counted = now
}

// count adds n to the tally of a person. The caller holds Service.mu.
func (s *Service) count(p part, n int) {
	t := s.tallies[p.aor]
	if t == nil {
		t = &tally{}
		s.tallies[p.aor] = t
	}
	if p.talking {
		t.talking += n
	} else {
		t.ringing += n
	}
	if !t.queued {
		t.queued = true
		s.changed = append(s.changed, p.aor)
	}
}

// tell calls Options.Watch for each tally that has changed. When another goroutine is at it, that one does it: so what is told
// last is what is so.
func (s *Service) tell() {
	if s.o.Watch == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.telling {
		return
	}
	s.telling = true
	for len(s.changed) > 0 {
		aor := s.changed[0]
		s.changed = s.changed[1:]
		t := s.tallies[aor]
		t.queued = false
		ringing, talking := t.ringing, t.talking
		if ringing == 0 && talking == 0 {
			delete(s.tallies, aor)
		}
		if ringing == t.toldRinging && talking == t.toldTalking {
			continue
		}
		t.toldRinging, t.toldTalking = ringing, talking
		s.mu.Unlock()
		s.o.Watch(aor, ringing, talking)
		s.mu.Lock()
	}
	s.changed, s.telling = nil, false
}
