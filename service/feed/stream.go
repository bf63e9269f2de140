package feed

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
)

// ErrEnded is what Next returns after the event Ended.
var ErrEnded = errors.New("feed: the stream has ended")

// Bounds of what waits in a stream.
const (
	mostBytes = 256 << 10 // of events in the queue, and of those that were missed and are read ahead
	mostNotes = 5000      // what is not in the log: presence counts against the follower's limits as well
)

// Start says what a stream begins with.
type Start struct {
	Position int64    // of the last event that arrived; 0: only what comes from now on
	Presence bool     // of everybody in the list of contacts, and the own
	Follow   []string // presence of these people
}

// Stream is one event stream. Next and More are for one goroutine, the other methods for any.
type Stream struct {
	hub      *Hub
	session  *session
	aor      string
	name     string
	after    int64 // nothing up to here is told
	presence bool
	timer    *time.Timer
	missed   *missed // what is being read from the log; nil: nothing
	claim    ack     // what the position that it came with acknowledges
	notesDue bool    // whose turn it is: that of notes, or of the queue
	followed map[string]bool

	wake chan struct{}

	mu       sync.Mutex // guards what follows
	queue    []Event
	bytes    int
	waits    bool // it is among the hub's unhurried
	lost     bool // the queue was full: what came after upto is in the log
	upto     int64
	notes    []note // what changed that is not in the log, each at most once
	values   map[note]any
	end      string // why it ends
	ending   bool
	closed   bool
	follower Follower
}

// note names something that is told as it is now, whatever it was before.
type note struct {
	kind Kind
	name string
}

// Open opens a stream. It must be closed. Errors: Invalid for a negative position, TooMany, Unavailable.
func (h *Hub) Open(ctx context.Context, c Caller, o Start) (*Stream, error) {
	if o.Position < 0 {
		return nil, errs.Say(errs.New(errs.Invalid, "feed: position %d", o.Position), "a position is 0 or more")
	}
	since, err := h.o.Since(ctx, c.AOR)
	if err != nil {
		return nil, err
	}
	taken, err := h.o.Taken(ctx, c.AOR)
	if err != nil {
		return nil, err
	}
	s := &Stream{hub: h, aor: c.AOR, name: id.New().String(), presence: o.Presence, wake: make(chan struct{}, 1)}
	online, err := h.enter(s, c, o, since, max(since, taken))
	if err != nil {
		return nil, err
	}
	h.metrics.opened.Inc()
	h.look()
	if s.claim.to == 0 {
		_ = h.finish(ctx, s.session, s.claim) // needs no reading
		s.claim = ack{}
	}
	if online {
		h.tell(c.AOR)
	}
	if err := s.startFollowing(ctx, o.Follow); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// enter puts a new stream among the others, and tells whether its session was not there before.
func (h *Hub) enter(s *Stream, c Caller, o Start, since, taken int64) (online bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.stop:
		return false, ErrStopping
	default:
	}
	x := h.sessions[c.Session]
	switch {
	case h.open.Load() >= int64(h.o.Limits.Streams):
		return false, errs.Say(errs.New(errs.TooMany, "feed: %d streams are open", h.open.Load()), "this server has as many event streams as it can take; try again later")
	case x != nil && x.aor != c.AOR:
		return false, errs.New(errs.Forbidden, "feed: the session is of somebody else")
	case x != nil && x.streams >= h.o.Limits.PerSession:
		return false, errs.Say(errs.New(errs.TooMany, "feed: %d streams of one session", x.streams), "this session has too many event streams open")
	}
	head := h.o.Records.Head()
	if h.open.Load() == 0 {
		h.pos = head
		h.fates.begin(head)
	}
	from := o.Position
	reset := from > head
	if from == 0 || reset {
		from = h.pos
	}
	if x == nil {
		x = &session{Session: Session{ID: c.Session, AOR: c.AOR, Device: c.Device, Kind: c.Kind, Label: c.Label}, device: c.Device, aor: c.AOR, acked: taken}
		if o.Position == 0 {
			x.acked = max(x.acked, from)
		}
		h.sessions[c.Session] = x
	} else if o.Position == 0 && x.streams > 0 {
		x.skip(from)
	}
	online = x.enter(h)
	if o.Position > 0 && !reset {
		s.claim = x.advance(from, true)
	}
	s.session, s.after, s.upto = x, max(from, since), h.pos
	s.missed = &missed{from: s.after, to: max(h.pos, s.after), first: true, reset: reset}
	p := h.people[s.aor]
	if p == nil {
		p = &person{}
		h.people[s.aor] = p
	}
	p.streams = append(p.streams, s)
	h.open.Add(1)
	for from := range h.typing.to[s.aor] {
		s.note(note{Typing, from}, true)
	}
	return online, nil
}

// Close ends a stream; it may be called again.
func (s *Stream) Close() {
	h := s.hub
	h.mu.Lock()
	s.mu.Lock()
	again := s.closed
	s.closed = true
	follower := s.follower
	s.follower = nil
	s.mu.Unlock()
	if !again {
		p := h.people[s.aor]
		for i, other := range p.streams {
			if other == s {
				p.streams = append(p.streams[:i:i], p.streams[i+1:]...)
				break
			}
		}
		if len(p.streams) == 0 {
			delete(h.people, s.aor)
		}
		h.open.Add(-1)
		s.session.leave(h)
		if h.open.Load() == 0 {
			h.fates.begin(0)
		}
		h.look() // so that the session's grace ends
	}
	h.mu.Unlock()
	if follower != nil {
		follower.Close()
	}
}

// Name is what the stream is called in Follow.
func (s *Stream) Name() string { return s.name }

// put queues what is in the log, or notes that it must be read from there. Somebody waits for what others say; what the owner did on
// another device, and what became of it, goes with the next event or after a moment, because each write to a client costs more
// than all else that an event needs. The hub's lock is held.
func (s *Stream) put(e Event) {
	if e.Position <= s.after {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return
	}
	n := e.size()
	if len(s.queue) > 0 && (len(s.queue) >= s.hub.o.Limits.Queue || s.bytes+n > mostBytes) {
		s.lost, s.upto = true, e.Position-1
		s.hub.metrics.lagged.Inc()
		return
	}
	s.queue = append(s.queue, e)
	s.bytes += n
	switch urgent := e.Kind == Recorded && e.Record.From != s.aor; {
	case urgent || len(s.queue) > s.hub.o.Limits.Queue/2:
		s.signal()
	case !s.waits:
		s.waits = true
		s.hub.unhurried = append(s.hub.unhurried, s)
	}
}

// hurry tells the stream of what has waited for a moment.
func (s *Stream) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = false
	if len(s.queue) > 0 {
		s.signal()
	}
}

// note says that something is different. Who reads slowly hears the last of it only.
func (s *Stream) note(n note, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.values[n]; !there {
		if len(s.notes) >= mostNotes && n.kind != Contacts && n.kind != Settings {
			return
		}
		if s.values == nil {
			s.values = map[note]any{}
		}
		s.notes = append(s.notes, n)
	}
	s.values[n] = value
	s.signal()
}

// stop ends the stream after it has said why.
func (s *Stream) stop(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending {
		s.ending, s.end = true, reason
		s.signal()
	}
}

func (s *Stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// More tells whether Next would return at once, with an event that has waited.
func (s *Stream) More() bool {
	if m := s.missed; m != nil {
		return m.at < len(m.page)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0 && !s.ending
}

// Next waits for the next event. Errors: ErrEnded after the event Ended, Unavailable when the server stops or the log cannot be
// read, and ctx's.
func (s *Stream) Next(ctx context.Context) (Event, error) {
	e, err := s.next(ctx)
	if err == nil {
		s.session.sent(&e)
		s.hub.metrics.events.Inc()
	}
	return e, err
}

func (s *Stream) next(ctx context.Context) (Event, error) {
	if s.timer == nil {
		s.timer = time.NewTimer(s.hub.o.Limits.Heartbeat)
	} else {
		s.timer.Reset(s.hub.o.Limits.Heartbeat)
	}
	for {
		if e, ok := s.ended(); ok {
			if e.Kind == 0 {
				return e, ErrEnded
			}
			return e, nil
		}
		if s.missed != nil {
			if e, ok, err := s.readMissed(ctx); ok || err != nil {
				return e, err
			}
		}
		if claim := s.claim; claim.to > 0 {
			s.claim = ack{}
			if err := s.hub.finish(ctx, s.session, claim); err != nil {
				return Event{}, err
			}
		}
		if n, value, ok := s.takeNote(); ok {
			return s.tellNote(ctx, n, value), nil
		}
		if e, ok := s.take(); ok {
			return e, nil
		}
		if s.missed != nil {
			continue
		}
		select {
		case <-s.wake:
		case <-s.timer.C:
			return Event{Kind: Ping, Position: s.reached()}, nil
		case <-s.hub.stop:
			return Event{}, ErrStopping
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// ended returns the last event when there is one, and an empty one after it.
func (s *Stream) ended() (Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending {
		return Event{}, false
	}
	if s.end == "" {
		return Event{}, true
	}
	e := Event{Kind: Ended, Name: s.end}
	s.end = ""
	return e, true
}

// take takes the next event of the queue. When the queue is empty and has lost some, they are to be read from the log.
func (s *Stream) take() (Event, bool) {
	s.mu.Lock()
	if len(s.queue) > 0 {
		e := s.queue[0]
		s.queue[0] = Event{}
		if s.queue = s.queue[1:]; len(s.queue) == 0 {
			s.queue = nil
		}
		s.bytes -= e.size()
		s.notesDue = true
		s.mu.Unlock()
		return e, true
	}
	lost := s.lost
	s.mu.Unlock()
	if !lost {
		return Event{}, false
	}
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = false
	s.missed = &missed{from: s.upto, to: h.pos}
	return Event{}, false
}

// reached is the position up to which everything was told, 0 when something waits.
func (s *Stream) reached() int64 {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 || s.lost {
		return 0
	}
	return max(s.hub.pos, s.after)
}

// takeNote takes the next note, but lets the queue go between.
func (s *Stream) takeNote() (note, any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.notes) == 0 || !s.notesDue && len(s.queue) > 0 {
		return note{}, nil, false
	}
	s.notesDue = false
	n := s.notes[0]
	value := s.values[n]
	delete(s.values, n)
	if s.notes = s.notes[1:]; len(s.notes) == 0 {
		s.notes, s.values = nil, nil
	}
	return n, value, true
}

func (s *Stream) tellNote(ctx context.Context, n note, value any) Event {
	e := Event{Kind: n.kind, Name: n.name}
	switch n.kind {
	case Contacts:
		e.Version, _ = value.(int64)
		s.followContacts(ctx)
	case Typing:
		e.Active, _ = value.(bool)
	default:
		e.Value = value
	}
	return e
}
