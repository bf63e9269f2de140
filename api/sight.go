package api

import (
	"context"

	v1 "github.com/parley-im/parley/api/parley/v1"
)

// Sight tells whether viewer may know on which devices owner is and reads (policy.Sight). It may wait. nil: nobody knows that of others.
type Sight func(ctx context.Context, owner, viewer string) bool

// devices is Sight for one viewer. It remembers the last owner: a list is of few conversations, mostly of one.
type devices struct {
	sight  Sight
	viewer string
	owner  string // "" for none yet
	sees   bool   // them of owner
}

func (s Sight) of(viewer string) *devices { return &devices{sight: s, viewer: viewer} }

// of is a device of owner, "" when it is not for the viewer to know.
func (d *devices) of(ctx context.Context, owner, device string) string {
	if device == "" || owner == d.viewer {
		return device
	}
	if owner != d.owner {
		d.owner, d.sees = owner, d.sight != nil && d.sight(ctx, owner, d.viewer)
	}
	if !d.sees {
		return ""
	}
	return device
}

// event takes out of an event what is not for the viewer to know.
func (d *devices) event(ctx context.Context, e *v1.Event) {
	switch x := e.GetEvent().(type) {
	case *v1.Event_Message:
		x.Message.Device = d.of(ctx, x.Message.From, x.Message.Device)
	case *v1.Event_Delivery:
		x.Delivery.Device = d.of(ctx, x.Delivery.Conversation, x.Delivery.Device) // whose devices have it
	}
}
