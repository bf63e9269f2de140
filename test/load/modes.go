package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/test/load/gauge"
	"github.com/parley-im/parley/test/load/pace"
	"github.com/parley-im/parley/test/load/ua"
	"github.com/parley-im/parley/wire/sip"
)

func now() time.Duration { return ua.Now() }

// minBody is room for the numbers of a message.
const minBody = 48

// appendMark writes what a receiver needs to know of a unit: lane, number and due time. padding is for a fixed size.
func appendMark(b []byte, lane, n int, due time.Duration, sep byte) []byte {
	b = append(strconv.AppendInt(b, int64(lane), 10), sep)
	b = append(strconv.AppendInt(b, int64(n), 10), sep)
	return append(strconv.AppendInt(b, int64(due), 10), sep)
}

// parseMark reads what appendMark wrote.
func parseMark(s string, sep byte) (lane, n int, due time.Duration, ok bool) {
	var v [3]int64
	for i := range v {
		end := strings.IndexByte(s, sep)
		if end < 0 {
			return 0, 0, 0, false
		}
		var err error
		if v[i], err = strconv.ParseInt(s[:end], 10, 64); err != nil {
			return 0, 0, 0, false
		}
		s = s[end+1:]
	}
	return int(v[0]), int(v[1]), time.Duration(v[2]), true
}

var padding = bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz "), 60_000/27+1)

// pair is the sender of a lane and its receiver.
func (t *trial) pair(lane int) (from, to *ua.Client) {
	peer := lane
	if t.o.receivers > 0 {
		peer %= t.o.receivers
	}
	return t.clients[2*lane], t.clients[2*peer+1]
}

// body is that of a message.
func (t *trial) body(lane, n int, due time.Duration) []byte {
	b := appendMark(make([]byte, 0, t.o.size), lane, n, due, ' ')
	return append(b, padding[:max(0, t.o.size-len(b))]...)
}

// startMessage sends a MESSAGE from the first user of a pair to the second.
func (t *trial) startMessage(lane int, due time.Duration) {
	from, to := t.pair(lane)
	n := t.ledger.Send(lane)
	from.Send(&ua.Request{
		Method: sip.MESSAGE, URI: to.AOR, To: "<" + to.AOR + ">", CallID: strconv.Itoa(lane) + "." + strconv.Itoa(n) + "." + t.id,
		ContentType: "text/plain", Body: t.body(lane, n, due),
		Done: func(m *sip.Message) {
			t.ledger.Resolve(lane, n, t.acknowledge(due, m))
			t.driver.Finished(lane, !from.Gone())
		},
	})
}

// received notes a MESSAGE or BYE at its receiver.
func (t *trial) received(m *sip.Message) {
	at := now()
	text, sep := string(m.Body()), byte(' ')
	if m.Method() == sip.BYE {
		text, sep = m.CallID(), '.'
	}
	lane, n, due, ok := parseMark(text, sep)
	if t.ledger == nil || !ok || !t.ledger.Receive(lane, n) {
		t.unknown.Add(1)
		return
	}
	if m.Method() == sip.MESSAGE && t.measured(due) {
		t.receipt.Add(at - due)
	}
}

// rang notes an INVITE at its receiver.
func (t *trial) rang(m *sip.Message) {
	at := now()
	_, _, due, ok := parseMark(m.CallID(), '.')
	if !ok {
		t.unknown.Add(1)
		return
	}
	if t.measured(due) {
		t.receipt.Add(at - due)
	}
}

// startCall sets a call up and ends it: INVITE, 180, 200, ACK, BYE, 200.
func (t *trial) startCall(lane int, due time.Duration) {
	from, to := t.pair(lane)
	n := t.ledger.Send(lane)
	invite := &ua.Request{
		Method: sip.INVITE, URI: to.AOR, To: "<" + to.AOR + ">", CallID: string(append(appendMark(nil, lane, n, due, '.'), t.id...)),
		Contact: true, ContentType: "application/sdp", Body: ua.SDP,
	}
	end := func(ok bool) {
		t.ledger.Resolve(lane, n, ok)
		t.driver.Finished(lane, !from.Gone())
	}
	invite.Done = func(m *sip.Message) {
		if m == nil || m.Status()/100 != 2 {
			t.acknowledge(due, m)
			end(false)
			return
		}
		if t.measured(due) {
			t.ack.Add(now() - due)
		}
		bye := from.Acknowledge(invite, m)
		bye.Done = func(m *sip.Message) {
			if m != nil && m.Status()/100 == 2 {
				t.done.Add(1)
				t.status(m.Status())
			} else {
				t.acknowledge(due, m)
			}
			from.Settled(invite)
			end(m != nil && m.Status()/100 == 2)
		}
		from.Send(bye)
	}
	from.Send(invite)
}

// startReregister renews a binding.
func (t *trial) startReregister(lane int, due time.Duration) {
	c := t.clients[lane]
	if t.o.challenge {
		c.Forget()
	}
	c.Register(3600, func(m *sip.Message) {
		t.acknowledge(due, m)
		t.driver.Finished(lane, !c.Gone())
	})
}

// startRegister connects a user and signs in.
func (t *trial) startRegister(lane int, due time.Duration) {
	c := t.clients[lane]
	go func() {
		if err := c.Connect(t.row.transport, t.target.addrs[t.row.transport]); err != nil {
			t.problem("connecting: %v", err)
			t.driver.Finished(lane, false)
			return
		}
		c.Register(3600, func(m *sip.Message) {
			t.acknowledge(due, m)
			t.driver.Finished(lane, false) // once each
		})
	}()
}

// idle measures what connections cost that say nothing, and that they are still there afterwards.
func (t *trial) idle(ctx context.Context, res *result) error {
	began := now()
	before, err := gauge.Measure(t.target.pids, false)
	if err != nil {
		return err
	}
	limit := time.NewTimer(t.o.time)
	defer limit.Stop()
	select {
	case <-limit.C:
	case <-ctx.Done():
	}
	if res.MemoryAfter, err = gauge.Measure(t.target.pids, true); err != nil {
		return err
	}
	res.Idle = append(res.Idle, headcount{Users: len(t.clients), Memory: res.MemoryAfter})
	res.Seconds, res.ServerCPU = (now() - began).Seconds(), res.MemoryAfter.CPU-before.CPU
	if t.target.pprof != "" {
		name := fmt.Sprintf("idle-%s-%d", res.Transport, res.Users)
		err = errors.Join( // the memory has been read: collecting garbage changes no figure
			t.target.fetchProfile(t.o, "heap?gc=1", name+".heap.pprof"),
			t.target.fetchProfile(t.o, "goroutine", name+".goroutine.pprof"))
		if err != nil {
			return err
		}
	}
	return t.stillThere(ctx)
}

// signInSteps signs everyone in, and on the way sees what the first of them cost.
func (t *trial) signInSteps(ctx context.Context, res *result) error {
	done := 0
	for _, n := range t.o.steps {
		if t.o.mode != "idle" || n >= len(t.clients) {
			break
		}
		if err := t.signIn(ctx, t.clients[done:n]); err != nil {
			return err
		}
		done = n
		limit := time.NewTimer(t.o.time)
		select {
		case <-limit.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		u, err := gauge.Measure(t.target.pids, true)
		if err != nil {
			return err
		}
		res.Idle = append(res.Idle, headcount{Users: n, Memory: u})
	}
	return t.signIn(ctx, t.clients[done:])
}

// stillThere registers everyone again.
func (t *trial) stillThere(ctx context.Context) error {
	t.driver = pace.New(len(t.clients), t.pick(t.startRegisterAgain, t.startPing))
	t.driver.Limit(len(t.clients))
	t.open()
	t.driver.RunClosed(64)
	for !t.driver.Exhausted() {
		if t.pause(ctx, time.Second); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (t *trial) startRegisterAgain(lane int, due time.Duration) {
	c := t.clients[lane]
	c.Register(3600, func(m *sip.Message) {
		t.acknowledge(due, m)
		t.driver.Finished(lane, false)
	})
}
