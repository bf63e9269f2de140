package transport

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/transport/ws"
)

// deadlines of a stream, on the layer's clock in ns. The timer is moved
// lazily, as long as it is not to fire earlier: when it does, tick looks here.
type deadlines struct {
	end atomic.Int64 // of a closing connection

	mu     sync.Mutex
	timer  *time.Timer   // nil: not yet open, or over
	limit  time.Duration // of silence; 0 is the layer's
	idle   int64
	part   int64 // of an incomplete message; 0 is none
	armed  int64 // when the timer fires
	heard  int64 // when the peer was heard last
	pinged bool  // and has not been heard since
}

// opened sets the first deadline of an open connection.
func (s *stream) opened() {
	u := &s.until
	u.mu.Lock()
	defer u.mu.Unlock()
	u.heard = s.l.now()
	s.extend()
	if s.direction == in {
		u.idle = s.after(s.limits().Greeting)
	}
	u.timer = time.AfterFunc(time.Hour, s.tick)
	s.arm()
}

// extend gives the peer its time of silence from now. s.until.mu is held.
func (s *stream) extend() {
	d := s.until.limit
	if d <= 0 {
		d = s.limits().Idle
	}
	s.until.idle = s.after(d)
}

func (s *stream) setIdle(d time.Duration) {
	s.until.mu.Lock()
	defer s.until.mu.Unlock()
	s.until.limit = d
	if s.state.Load() == open {
		s.extend()
		s.arm()
	}
}

// rearm has the timer fire for a deadline that has just been set.
func (s *stream) rearm() {
	s.until.mu.Lock()
	defer s.until.mu.Unlock()
	s.arm()
}

// disarm stops the timer for good.
func (s *stream) disarm() {
	s.until.mu.Lock()
	defer s.until.mu.Unlock()
	if s.until.timer != nil {
		s.until.timer.Stop()
		s.until.timer = nil
	}
}

// arm sets the timer to the next deadline. s.until.mu is held.
func (s *stream) arm() {
	u := &s.until
	if u.timer == nil {
		return
	}
	at := u.idle
	if u.part != 0 {
		at = min(at, u.part)
	}
	if s.k >= WS {
		at = min(at, s.pingAt())
	}
	if s.state.Load() >= ending {
		at = u.end.Load()
	}
	u.armed = at
	u.timer.Reset(max(time.Duration(at-s.l.now()), 0))
}

// pingAt is when a silent WebSocket peer is pinged, or given up.
// s.until.mu is held.
func (s *stream) pingAt() int64 {
	wait := s.limits().Ping
	if s.until.pinged {
		wait += wait / 2
	}
	return s.until.heard + int64(wait)
}

// tick is called by the timer. It closes a connection whose time is up, pings
// a WebSocket peer, or only waits on.
func (s *stream) tick() {
	u := &s.until
	u.mu.Lock()
	now := s.l.now()
	state := s.state.Load()
	up := now >= u.idle || u.part != 0 && now >= u.part
	if state >= ending {
		up = now >= u.end.Load()
	}
	silent := s.k >= WS && state < ending && now >= s.pingAt()
	ping := silent && !u.pinged
	if ping {
		u.pinged = true
	}
	if !up && (ping || !silent) {
		s.arm()
	}
	incomplete := u.part != 0 && now >= u.part
	u.mu.Unlock()
	switch {
	case state >= ending && up:
		s.fail(ErrClosed)
	case incomplete:
		s.drop(dropSlow)
		s.fail(fmt.Errorf("%w: incomplete message", ErrSlow))
	case up:
		s.drop(dropIdle)
		s.fail(ErrIdle)
	case ping:
		// RFC 7118 §6: either side may ping; browsers have no way to do it.
		_ = s.enqueue(ws.Ping, nil)
	case silent:
		s.drop(dropIdle)
		s.fail(fmt.Errorf("%w: no pong", ErrIdle))
	}
}

// complete ends the time of a message; what follows it has its own.
func (s *stream) complete() {
	s.until.mu.Lock()
	s.until.part = 0
	s.until.mu.Unlock()
}

// active notes that the peer sent something, and where its message stands. A
// connection that has not greeted yet gains no time by it.
func (s *stream) active(partial bool) {
	if s.state.Load() >= ending {
		return
	}
	u := &s.until
	u.mu.Lock()
	defer u.mu.Unlock()
	u.heard, u.pinged = s.l.now(), false
	if s.greeted || s.direction == out {
		s.extend()
	}
	earlier := u.idle < u.armed
	switch {
	case !partial:
		u.part = 0
	case u.part == 0:
		u.part = s.after(s.limits().Partial)
		earlier = earlier || u.part < u.armed
	}
	if earlier {
		s.arm()
	}
}
