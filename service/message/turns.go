package message

import (
	"context"
	"sync"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
)

// turns lets those who change one message do it one after the other: each looks at what was done to it before, and what it finds
// must still be so when its own record is in the log. Without it a text that was edited on one device comes behind its retraction on
// another one.
type turns struct {
	mu sync.Mutex
	m  map[id.ID]*turn // of messages that are being changed
}

type turn struct {
	mine chan struct{} // holds something while somebody has the turn
	want int           // those who have it or wait for it
}

// enter waits for the turn at a message; leave ends it.
func (t *turns) enter(ctx context.Context, rid id.ID) (leave func(), err error) {
	t.mu.Lock()
	if t.m == nil {
		t.m = map[id.ID]*turn{}
	}
	x := t.m[rid]
	if x == nil {
		x = &turn{mine: make(chan struct{}, 1)}
		t.m[rid] = x
	}
	x.want++
	t.mu.Unlock()
	drop := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if x.want--; x.want == 0 {
			delete(t.m, rid)
		}
	}
	select {
	case x.mine <- struct{}{}:
		return func() { <-x.mine; drop() }, nil
	case <-ctx.Done():
		drop()
		return nil, errs.Wrap(errs.Unavailable, ctx.Err(), "message: waiting for another change of the message")
	}
}
