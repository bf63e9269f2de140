package api

import (
	"context"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/service/feed"
)

// Hidden tells whether owner looks offline to viewer, whatever is so: who is blocked does not learn from what becomes of messages
// what presence does not tell. It may wait. nil: nobody does.
type Hidden func(ctx context.Context, owner, viewer string) bool

// from tells whether what owner's devices do is not told to viewer.
func (h Hidden) from(ctx context.Context, owner, viewer string) bool {
	return h != nil && owner != viewer && h(ctx, owner, viewer)
}

// tells tells whether an event that says what somebody's devices did is for viewer to know.
func (h Hidden) tells(ctx context.Context, e *feed.Event, out *v1.Event, viewer string) bool {
	switch x := out.GetEvent().(type) {
	case *v1.Event_Delivery:
		return !h.from(ctx, x.Delivery.Conversation, viewer)
	case *v1.Event_Read:
		return e.Record.From == viewer || !h.from(ctx, e.Record.From, viewer)
	}
	return true
}
