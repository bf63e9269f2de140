package parley

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
)

// Handlers are told what happens, one after the other; what takes long keeps the rest waiting. Those that are nil are left out.
type Handlers struct {
	Message   func(*v1.Message) // said by or to the person, also from another device
	Edited    func(*v1.MessageEdited)
	Retracted func(*v1.MessageRetracted)
	Reaction  func(*v1.ReactionChanged)
	Read      func(*v1.ReadChanged)
	Delivery  func(*v1.DeliveryChanged)
	CallEnded func(*v1.CallEnded)
	Typing    func(*v1.TypingChanged)
	Presence  func(*v1.SeenPresence)
	// Ready is called when the stream is there, at first and after each time it broke off.
	Ready func(*v1.Ready)
	// Reset is called when too much was missed: what was said meanwhile is in Conversations.
	Reset func(*v1.Reset)
	// Other gets every event that has no handler above.
	Other func(*v1.Event)
	// Position is called after the handler of each event that has one, and after Reset, when it may be a lower one than before. A
	// program that keeps it, and gives it to From when it starts again, misses nothing.
	Position func(int64)
}

// ListenOption changes what Listen asks for.
type ListenOption func(*v1.StreamRequest)

// From begins after the event with this position; without it, only what comes from now on is told.
func From(position int64) ListenOption {
	return func(r *v1.StreamRequest) { r.Position = position }
}

// WithPresence tells of the presence of the person's contacts, and of people.
func WithPresence(people ...string) ListenOption {
	return func(r *v1.StreamRequest) { r.Presence, r.Follow = true, people }
}

// ErrSessionEnded is what Listen returns when the session was ended elsewhere. The error says why.
var ErrSessionEnded = errors.New("parley: the session has ended")

// silence is how long a stream may say nothing: the server pings every 20 s.
const silence = 45 * time.Second

// Listen calls h for all that happens until ctx or the session ends. It connects again whenever the connection is lost, and goes
// on after the last event, so that each event is told once. What h was told counts as delivered to this device.
func (c *Client) Listen(ctx context.Context, h Handlers, opts ...ListenOption) error {
	req := &v1.StreamRequest{}
	for _, f := range opts {
		f(req)
	}
	l := &listener{c: c, h: h, req: req, acks: make(chan struct{}, 1)}
	l.told.Store(req.Position)
	ctx, stop := context.WithCancel(ctx)
	acknowledged := make(chan struct{})
	go func() { defer close(acknowledged); l.acknowledge(ctx) }()
	defer func() { stop(); <-acknowledged }()
	var pause pauses
	for {
		err := l.stream(ctx, &pause)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrSessionEnded):
			return err
		case connect.CodeOf(err) == connect.CodeUnauthenticated:
			return fmt.Errorf("%w: %s", ErrSessionEnded, Reason(err))
		case err != nil && !passing(err):
			return err
		}
		if err := pause.wait(ctx, err); err != nil {
			return err
		}
	}
}

// listener is one call of Listen.
type listener struct {
	c    *Client
	h    Handlers
	req  *v1.StreamRequest
	told atomic.Int64  // position of the last event that h was told
	acks chan struct{} // told has moved
}

// stream reads one stream until it ends. It returns nil when the server ended it.
func (l *listener) stream(ctx context.Context, pause *pauses) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(silence, cancel)
	defer watchdog.Stop()
	req := &v1.StreamRequest{Position: l.told.Load(), Presence: l.req.Presence, Follow: l.req.Follow}
	s, err := l.c.Events.Stream(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	defer s.Close()
	for s.Receive() {
		watchdog.Reset(silence)
		pause.reset()
		if err := l.take(s.Msg()); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return connect.NewError(connect.CodeUnavailable, errors.New("parley: the stream was silent"))
	}
	return s.Err()
}

// take tells h of one event.
func (l *listener) take(e *v1.Event) error {
	if e.Position != 0 && e.Position <= l.told.Load() {
		return nil
	}
	switch x := e.Event.(type) {
	case *v1.Event_Ping: // nothing else came up to its position
		l.moved(e.Position)
		return nil
	case *v1.Event_SessionEnded:
		return fmt.Errorf("%w: %s", ErrSessionEnded, x.SessionEnded.Reason)
	case *v1.Event_Ready:
		l.moved(x.Ready.Position)
	case *v1.Event_Reset_: // also backwards: the server was restored from a backup
		l.told.Store(x.Reset_.Position)
		l.h.tell(e)
		if l.h.Position != nil {
			l.h.Position(x.Reset_.Position)
		}
		return nil
	}
	l.h.tell(e)
	if e.Position != 0 {
		l.moved(e.Position)
		select {
		case l.acks <- struct{}{}:
		default:
		}
	}
	return nil
}

func (l *listener) moved(position int64) {
	if position <= l.told.Load() {
		return
	}
	l.told.Store(position)
	if l.h.Position != nil {
		l.h.Position(position)
	}
}

// acknowledge says how far the events have come: at once, and then once a second at most.
func (l *listener) acknowledge(ctx context.Context) {
	said := l.told.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.acks:
		}
		if p := l.told.Load(); p != said {
			if _, err := l.c.Events.Acknowledge(ctx, connect.NewRequest(&v1.AcknowledgeRequest{Position: p})); err == nil {
				said = p
			} else {
				l.again()
			}
		}
		t := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

func (l *listener) again() {
	select {
	case l.acks <- struct{}{}:
	default:
	}
}

// tell calls the handler of an event.
func (h *Handlers) tell(e *v1.Event) {
	switch x := e.Event.(type) {
	case *v1.Event_Message:
		call(h, h.Message, x.Message, e)
	case *v1.Event_Edited:
		call(h, h.Edited, x.Edited, e)
	case *v1.Event_Retracted:
		call(h, h.Retracted, x.Retracted, e)
	case *v1.Event_Reaction:
		call(h, h.Reaction, x.Reaction, e)
	case *v1.Event_Read:
		call(h, h.Read, x.Read, e)
	case *v1.Event_Delivery:
		call(h, h.Delivery, x.Delivery, e)
	case *v1.Event_CallEnded:
		call(h, h.CallEnded, x.CallEnded, e)
	case *v1.Event_Typing:
		call(h, h.Typing, x.Typing, e)
	case *v1.Event_Presence:
		call(h, h.Presence, x.Presence, e)
	case *v1.Event_Ready:
		call(h, h.Ready, x.Ready, e)
	case *v1.Event_Reset_:
		call(h, h.Reset, x.Reset_, e)
	default:
		call[struct{}](h, nil, nil, e)
	}
}

// call tells one handler, or Other when there is none.
func call[T any](h *Handlers, f func(*T), x *T, e *v1.Event) {
	switch {
	case f != nil:
		f(x)
	case h.Other != nil:
		h.Other(e)
	}
}
