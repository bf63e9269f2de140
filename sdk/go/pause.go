package parley

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"connectrpc.com/connect"
)

// pauses double from firstPause to longPause, each with up to half of it taken off at random, so that the clients of a server
// that comes back do not all come at once.
type pauses struct{ next time.Duration }

// wait returns an error when ctx ended meanwhile. A Retry-After of the server is kept.
func (p *pauses) wait(ctx context.Context, why error) error {
	p.next = min(max(2*p.next, firstPause), longPause)
	d := p.next - rand.N(p.next/2)
	var e *connect.Error
	if errors.As(why, &e) {
		if s, err := strconv.Atoi(e.Meta().Get("Retry-After")); err == nil {
			d = max(d, min(time.Duration(s)*time.Second, longPause))
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

func (p *pauses) reset() { p.next = 0 }
