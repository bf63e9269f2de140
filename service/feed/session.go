package feed

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// Bounds of what is remembered until it is acknowledged.
const (
	mostPending  = 256 // records of a session, and mostBytes together; beyond that they are read from the log again
	pageOfClaims = 500
	mostClaims   = 10_000 // records that are acknowledged at once; what is older is not asked about any more
)

// Caller is who opens a stream.
type Caller struct {
	AOR     string
	Session string // id of the session
	Device  string // its name in records
	Kind    string // desktop, phone or tablet
	Label   string // what people read of it
}

// Session is a session that has a stream open, or had one a moment ago.
type Session struct {
	ID, AOR, Device, Kind, Label string
	Since                        time.Time // when it came
	Idle                         time.Time // since when nobody has used it; zero: somebody does
}

// session is a Session as the hub has it. The hub's lock guards the first part.
type session struct {
	Session
	aor, device string // the same, and never changed
	streams     int
	gone        time.Time // when its last stream was closed; zero: some are open

	mu      sync.Mutex      // guards what follows
	acked   int64           // everything up to here is acknowledged, or is not this session's to acknowledge
	reached int64           // the highest position that was sent
	pending []*store.Record // sent, to the owner, not acknowledged
	bytes   int             // that they hold
	dropped bool            // there are others
}

// enter counts a stream, and tells whether the session was not there before. The hub's lock is held.
func (x *session) enter(h *Hub) (online bool) {
	x.streams++
	if !x.gone.IsZero() {
		x.gone = time.Time{}
		h.leaving = slices.DeleteFunc(h.leaving, func(y *session) bool { return y == x })
		return false
	}
	if x.streams == 1 {
		x.Since = time.Now()
		return true
	}
	return false
}

// leave is told that a stream was closed. The hub's lock is held.
func (x *session) leave(h *Hub) {
	if x.streams--; x.streams > 0 || h.sessions[x.ID] != x {
		return
	}
	x.gone = time.Now()
	h.leaving = append(h.leaving, x)
}

// sent notes what was handed to the session.
func (x *session) sent(e *Event) {
	if e.Position == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if e.Position <= x.reached && e.Kind != Reset {
		return // on another stream, or before
	}
	x.reached = max(x.reached, e.Position)
	if e.Kind == Reset {
		x.drop() // what is loaded anew is not sent
		return
	}
	if e.Kind != Recorded || e.Record.To != x.aor || x.dropped || e.Position <= x.acked {
		return
	}
	n := recordSize(e.Record)
	if len(x.pending) == mostPending || x.bytes+n > mostBytes {
		x.drop()
		return
	}
	x.pending = append(x.pending, e.Record)
	x.bytes += n
}

// drop forgets what is not acknowledged: it will be read from the log. x.mu is held.
func (x *session) drop() { x.pending, x.bytes, x.dropped = nil, 0, true }

// skip is told that a stream begins at a position while the session has others open, which have yet to tell what is before it.
func (x *session) skip(position int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if position > x.reached {
		x.reached = position
		x.drop()
	}
}

// Acknowledge says that a session has everything up to a position. Of what was not sent to it nothing is acknowledged.
func (h *Hub) Acknowledge(ctx context.Context, session string, position int64) error {
	if position < 0 {
		return errs.Say(errs.New(errs.Invalid, "feed: position %d", position), "a position is 0 or more")
	}
	h.mu.Lock()
	x := h.sessions[session]
	h.mu.Unlock()
	if x == nil {
		return nil // the server was started anew: the next stream begins with a position, which says the same
	}
	return h.finish(ctx, x, x.advance(position, false))
}

// ack is what is acknowledged: records, or all that the log has for the session in a range.
type ack struct {
	recs     []*store.Record
	from, to int64 // positions: after from, up to to; from is to when the records are all
}

// advance acknowledges what is up to a position. Claimed says that the session has it although it was not sent: it was listed.
func (x *session) advance(position int64, claimed bool) (a ack) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if claimed {
		x.dropped = x.dropped || position > max(x.acked, x.reached)
		x.reached = max(x.reached, position)
	}
	from, to := x.acked, min(position, x.reached)
	if to <= from {
		return ack{}
	}
	x.acked = to
	if x.dropped {
		x.drop()
		x.dropped = to < x.reached
		return ack{from: from, to: to}
	}
	n := 0
	for n < len(x.pending) && x.pending[n].Seq <= to {
		x.bytes -= recordSize(x.pending[n])
		n++
	}
	a.recs = slices.Clone(x.pending[:n])
	if x.pending = slices.Delete(x.pending, 0, n); len(x.pending) == 0 {
		x.pending = nil
	}
	return a
}

// finish passes on what was acknowledged.
func (h *Hub) finish(ctx context.Context, x *session, a ack) error {
	if len(a.recs) > 0 {
		h.o.Took(x.aor, x.device, a.recs)
	}
	if a.from == a.to {
		return nil
	}
	if err := h.takeRange(ctx, x, a.from, a.to); err != nil {
		x.mu.Lock()
		x.acked = min(x.acked, a.from) // to be said again
		x.drop()
		x.mu.Unlock()
		return err
	}
	return nil
}

// takeRange passes on what the log has for a session after a position and up to another.
func (h *Hub) takeRange(ctx context.Context, x *session, from, to int64) error {
	if err := h.indexed(ctx, to); err != nil {
		return err
	}
	for n := 0; from < to && n < mostClaims; n += pageOfClaims {
		list, err := h.o.Talks.PersonAfter(ctx, x.aor, from, pageOfClaims)
		if err != nil {
			return err
		}
		var recs []*store.Record
		for i := range list {
			if r := &list[i]; r.To == x.aor && r.Seq <= to {
				recs = append(recs, r)
			}
		}
		if len(recs) > 0 {
			h.o.Took(x.aor, x.device, recs)
		}
		if len(list) < pageOfClaims {
			return nil
		}
		from = list[len(list)-1].Seq
	}
	return nil
}

// indexed waits until the index has everything up to a position.
func (h *Hub) indexed(ctx context.Context, to int64) error {
	done := make(chan struct{})
	cancel := h.o.Index.WaitFor(to, func() { close(done) })
	defer cancel()
	select {
	case <-done:
		return nil
	case <-h.stop:
		return ErrStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// OnChange calls f when the sessions of somebody are others, or are used in another way. It is called before Serve.
func (h *Hub) OnChange(f func(aor string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed = append(h.changed, f)
}

func (h *Hub) tell(aor string) {
	h.mu.Lock()
	list := h.changed
	h.mu.Unlock()
	for _, f := range list {
		f(aor)
	}
}

// Online are the sessions of somebody that have a stream open, or had one a moment ago, in the order of their devices.
func (h *Hub) Online(aor string) []Session {
	var list []Session
	h.mu.Lock()
	add := func(x *session) {
		if !slices.ContainsFunc(list, func(s Session) bool { return s.ID == x.ID }) {
			list = append(list, x.Session)
		}
	}
	for _, s := range h.streamsOf(aor) {
		if h.sessions[s.session.ID] == s.session {
			add(s.session)
		}
	}
	for _, x := range h.leaving {
		if x.aor == aor {
			add(x)
		}
	}
	h.mu.Unlock()
	slices.SortFunc(list, func(a, b Session) int {
		switch {
		case a.Device < b.Device:
			return -1
		case a.Device > b.Device:
			return 1
		}
		return 0
	})
	return list
}

// SetIdle notes since when nobody has used the device of a session; zero: somebody does.
func (h *Hub) SetIdle(session string, since time.Time) {
	h.mu.Lock()
	x := h.sessions[session]
	changed := x != nil && !x.Idle.Equal(since)
	if changed {
		x.Idle = since
	}
	h.mu.Unlock()
	if changed {
		h.tell(x.aor)
	}
}

// End ends all streams of a session, which is over; reason is for people.
func (h *Hub) End(session, reason string) {
	h.mu.Lock()
	x := h.sessions[session]
	if x == nil {
		h.mu.Unlock()
		return
	}
	h.drop(x)
	for _, s := range h.streamsOf(x.aor) {
		if s.session == x {
			s.stop(reason)
		}
	}
	h.mu.Unlock()
	h.tell(x.aor)
}

// EndAll ends all streams of somebody, but for those of one session ("": of none).
func (h *Hub) EndAll(aor, but, reason string) {
	for _, x := range h.Online(aor) {
		if x.ID != but {
			h.End(x.ID, reason)
		}
	}
}

// drop forgets a session. h.mu is held.
func (h *Hub) drop(x *session) {
	delete(h.sessions, x.ID)
	h.leaving = slices.DeleteFunc(h.leaving, func(y *session) bool { return y == x })
}

// sweep ends what ends by itself, and tells whether there is more that will.
func (h *Hub) sweep(now time.Time) (more bool) {
	h.mu.Lock()
	h.stopTyping(now)
	n := 0
	for n < len(h.leaving) && now.Sub(h.leaving[n].gone) >= h.o.Limits.Grace {
		delete(h.sessions, h.leaving[n].ID)
		n++
	}
	gone := h.leaving[:n:n]
	if h.leaving = h.leaving[n:]; len(h.leaving) == 0 {
		h.leaving = nil
	}
	more = len(h.leaving) > 0 || h.typing.count > 0
	h.mu.Unlock()
	for _, x := range gone {
		h.tell(x.aor)
	}
	return more
}
