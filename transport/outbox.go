package transport

import (
	"errors"
	"fmt"
	"os"
)

// outbox is what waits to be written on one connection. Messages are put
// together as they come, so that they leave in one write, and one TLS record.
// The stream's mutex guards it.
type outbox struct {
	pending  *buffer // framed, not encrypted; nil: nothing
	messages int     // in pending
	hand     int     // bytes in the writer's hands
	writing  bool    // a writer is at it, or has been asked to
	parting  uint8   // how far the goodbye has come
	left     chan struct{}
}

// Steps of a goodbye.
const (
	unsaid uint8 = iota
	said
	parted // our half of the connection is closed
)

// start tells whether a writer is needed, and notes that it comes.
func (o *outbox) start() bool {
	start := !o.writing && o.pending != nil
	o.writing = o.writing || start
	return start
}

// gone is closed when the writer ends; nil if there is none.
func (o *outbox) gone() chan struct{} {
	if o.writing {
		o.left = make(chan struct{})
	}
	return o.left
}

// send queues one message, and starts the writer if there is none.
func (s *stream) send(_ Flow, b []byte) error { return s.enqueue(0, b) }

// enqueue queues a message or, on a WebSocket, a control frame.
func (s *stream) enqueue(op byte, b []byte) error {
	s.mu.Lock()
	if s.state.Load() >= ending {
		s.mu.Unlock()
		return ErrClosed
	}
	lim, o := s.limits(), &s.out
	waiting := o.hand
	if o.pending != nil {
		waiting += len(o.pending.b)
	}
	if o.messages >= lim.QueueMessages || waiting+len(b) > lim.QueueBytes && waiting > 0 {
		s.mu.Unlock()
		s.l.metrics.queueFull[s.k].Inc()
		s.fail(ErrQueueFull)
		return ErrQueueFull
	}
	if o.pending == nil {
		o.pending = buffers.Get().(*buffer)
	}
	o.pending.b = s.proto.frame(o.pending.b, op, b)
	o.messages++
	start := s.sock != nil && o.start()
	s.mu.Unlock()
	if op == 0 {
		s.l.metrics.count(s.k, out, len(b))
	}
	if start {
		s.loop.push(s)
	}
	return nil
}

// kick has the writer come though nothing is queued: it writes what TLS has to
// say, and the goodbye.
func (s *stream) kick() {
	s.mu.Lock()
	start := !s.out.writing && s.state.Load() < closed
	s.out.writing = s.out.writing || start
	s.mu.Unlock()
	if start {
		s.loop.push(s)
	}
}

// write is the writer: it writes until nothing is left. Without wait it stops,
// with false, when the peer takes no more now; somebody else has to go on. It
// is asked for by setting out.writing, so there is one at a time.
func (s *stream) write(wait bool) (done bool) {
	c, o := s.sock, &s.out
	for {
		var b *buffer
		unsent := c.unsent()
		s.mu.Lock()
		state := s.state.Load()
		if state != closed && !unsent {
			b, o.pending, o.messages = o.pending, nil, 0
			if o.hand = 0; b != nil {
				o.hand = len(b.b)
			}
		}
		if state == closed || b == nil && !unsent && (state != ending || o.parting == parted) {
			c.forget()
			o.pending, o.writing = nil, false
			if o.left != nil {
				close(o.left)
				o.left = nil
			}
			s.mu.Unlock()
			return true
		}
		s.mu.Unlock()
		var err error
		switch {
		case b != nil:
			err = c.encode(b)
		case !unsent:
			err = s.part()
		}
		if err == nil {
			limit := s.limits().Write
			if state == ending {
				limit = 0 // finish has set the deadline
			}
			var full bool
			if full, err = c.flush(wait, limit); full {
				return false
			}
		}
		if err != nil {
			s.unwritten(err)
		}
	}
}

// part says the next step of the goodbye.
func (s *stream) part() error {
	c, o := s.sock, &s.out
	if o.parting++; o.parting == parted {
		if s.l.draining() {
			// All is written; a server that stops does not wait for every
			// peer's goodbye.
			s.until.end.Store(s.after(goodbye))
			s.rearm()
		}
		_ = c.CloseWrite() // it may be closed already
		return nil
	}
	b := buffers.Get().(*buffer)
	if b.b = s.proto.goodbye(b.b, s.reason()); len(b.b) == 0 {
		b.free()
	} else if err := c.encode(b); err != nil {
		return err
	}
	if c.tls != nil {
		return c.tls.CloseWrite()
	}
	return nil
}

// unwritten ends a connection that cannot be written to.
func (s *stream) unwritten(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) && s.state.Load() < closed {
		s.drop(dropWrite)
		err = fmt.Errorf("%w: %w", ErrSlow, err)
	}
	s.fail(fmt.Errorf("transport: write: %w", err))
}
