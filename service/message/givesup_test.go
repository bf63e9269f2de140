package message

import "testing"

// never is a store whose index is being made again.
type never struct {
	Store
	waiting int
}

func (x *never) WaitFor(int64, func()) (cancel func()) {
	x.waiting++
	return func() { x.waiting-- }
}

// A device that is dropped does not go on waiting for the index.
func TestGivesUpWaiting(t *testing.T) {
	t.Parallel()
	x := &never{}
	b := &mailbox{w: &shard{s: &Service{o: Options{Store: x}}}, aor: "alice@example.com", outboxes: map[string]*outbox{}}
	for _, device := range []string{"reads", "idle"} {
		b.outboxes[device] = &outbox{box: b, device: device, latest: 7}
	}
	b.outboxes["reads"].readMore()
	if x.waiting != 1 {
		t.Errorf("%d wait, and should one", x.waiting)
	}
	b.drop(b.outboxes["reads"])
	b.drop(b.outboxes["idle"])
	if x.waiting != 0 || len(b.outboxes) != 0 {
		t.Errorf("%d go on waiting", x.waiting)
	}
}
