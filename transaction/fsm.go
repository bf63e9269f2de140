package transaction

import (
	"sync"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Timers are the values of RFC 3261 Table 4 from which all others follow. Zero fields get the defaults.
type Timers struct {
	T1 time.Duration // round-trip estimate; 500 ms
	T2 time.Duration // longest retransmission interval for non-INVITE requests and INVITE responses; 4 s
	T4 time.Duration // longest time a message stays in the network; 5 s
	D  time.Duration // wait for response retransmissions of an INVITE over UDP; at least 32 s by the RFC
}

// clock is Timers in ticks, with what RFC 3261 derives from them.
type clock struct {
	t1, t2, t4 int64
	d          int64
	long       int64 // 64*T1: timers B, F, H, J, L and M
	trying     int64 // 200 ms: RFC 3261 §17.2.1, when an INVITE gets its 100
	slow       int64 // when timer E reaches T2: RFC 4320 §4.1, when a non-INVITE request gets its 100
	connect    int64 // 1 s: how long a TCP connection may take before a large request goes over UDP after all
}

func (t Timers) clock() clock {
	set := func(d *time.Duration, def time.Duration) int64 {
		if *d <= 0 {
			*d = def
		}
		return ticks(*d)
	}
	c := clock{
		t1: set(&t.T1, 500*time.Millisecond), t2: set(&t.T2, 4*time.Second), t4: set(&t.T4, 5*time.Second),
		trying: ticks(200 * time.Millisecond), connect: ticks(time.Second),
	}
	c.long = 64 * c.t1
	c.d = set(&t.D, max(32*time.Second, 64*t.T1))
	// Timer E goes T1, 2*T1 … until it is set to T2: with the defaults after 0.5+1+2 = 3.5 s.
	for e := c.t1; e < c.t2; e *= 2 {
		c.slow += e
	}
	return c
}

// state is a state of the figures 5 to 8 of RFC 3261 and RFC 6026.
type state uint8

const (
	calling state = iota
	trying
	proceeding
	completed
	confirmed
	accepted
	terminated
	states
)

var stateNames = [states]string{"Calling", "Trying", "Proceeding", "Completed", "Confirmed", "Accepted", "Terminated"}

func (s state) String() string { return stateNames[s] }

// eventKind is what stands over an arrow in the figures.
type eventKind uint8

const (
	evRequest        eventKind = iota // server: the request came again
	evAck                             // server: ACK came
	evCancel                          // server: a CANCEL for this transaction came
	evProvisional                     // 1xx: from the TU to a server, from the network to a client
	evSuccess                         // 2xx
	evFailure                         // 300-699
	evRetransmit                      // the first of the two timers of a state: A, E, G, or the wait for a 100
	evTimeout                         // the second one: B, D, F, H, I, J, K, L, M
	evTransportError                  // what was sent did not leave, or the connection ended
	evClosed                          // the layer stops
	evEvict                           // server: room is needed
)

// event is an input of a state machine.
type event struct {
	kind eventKind
	msg  *sip.Message    // what came from the network
	flow *transport.Flow // with evAck: where it came from
	data []byte          // a response of the TU, rendered
	err  error
}

// responseEvent is the kind of a response with this status code.
func responseEvent(status int) eventKind {
	switch {
	case status < 200:
		return evProvisional
	case status < 300:
		return evSuccess
	}
	return evFailure
}

// action is something that a state wants done outside the mutex.
type action struct {
	op     op
	server *Server // opRequest
	msg    *sip.Message
	flow   *transport.Flow
	data   []byte
	err    error
	to     ClientHandler // opResponse, opFailed
}

type op uint8

const (
	opSend     op = iota // data to the peer
	opRequest            // server: the request to the core
	opAck                // server: msg, an ACK for a 2xx, to the core
	opCancel             // server: msg to OnCancel; client: send a CANCEL
	opResponse           // client: msg to the handler
	opFailed             // client: err to the handler
	opClose              // client: give a connection up
	opDone               // it is over: leave the tables, tell OnDone
)

// core is what client and server transactions share: the mutex, the state, one wheel timer that serves the two times a
// state may wait for, and the notes of what is to be done.
type core struct {
	l  *Layer
	mu sync.Mutex

	// All below belongs to mu.
	state    state
	busy     bool // somebody carries out notes; whoever adds some leaves them to him
	next     int64
	end      int64
	interval int64 // of the last retransmission, in ticks
	timer    wheelTimer
	notes    *notes
}

// notes are actions that wait to be carried out; they are lent from a pool for as long as there are any.
type notes struct{ list, spare []action }

var notesPool = sync.Pool{New: func() any {
	return &notes{list: make([]action, 0, 4), spare: make([]action, 0, 4)}
}}

// note adds an action. c.mu is held.
func (c *core) note(a action) {
	if c.notes == nil {
		c.notes = notesPool.Get().(*notes)
	}
	c.notes.list = append(c.notes.list, a)
}

// performer carries out one action; it is called without the mutex.
type performer interface{ perform(a *action) }

// release carries out the notes in order, with c.mu released, and returns with it released. When another goroutine is at
// it already, or this one further up its stack, the notes are left to that one.
func (c *core) release(p performer) {
	if c.busy || c.notes == nil {
		c.mu.Unlock()
		return
	}
	c.busy = true
	for len(c.notes.list) > 0 {
		n := c.notes
		todo := n.list
		n.list, n.spare = n.spare[:0], nil
		c.mu.Unlock()
		for i := range todo {
			p.perform(&todo[i])
			todo[i] = action{}
		}
		c.mu.Lock()
		n.spare = todo[:0]
	}
	c.busy = false
	n := c.notes
	c.notes = nil
	c.mu.Unlock()
	if cap(n.list)+cap(n.spare) <= 64 {
		notesPool.Put(n)
	}
}

// wait sets the two times of a state, in ticks from now; 0 for none. owner is what c is embedded in. c.mu is held.
func (c *core) wait(owner alarm, next, end int64) {
	now := int64(0)
	if next > 0 || end > 0 {
		now = c.l.wheel.after(0)
	}
	c.waitFrom(owner, now, next, end)
}

// waitFrom is wait from tick now on. c.mu is held.
func (c *core) waitFrom(owner alarm, now, next, end int64) {
	c.next, c.end = 0, 0
	if next > 0 {
		c.next = now + next
	}
	if end > 0 {
		c.end = now + end
	}
	c.arm(owner)
}

// again moves the first time on by interval ticks from when it was due, so that lateness does not add up. c.mu is held.
func (c *core) again(owner alarm, interval int64) {
	c.interval = interval
	c.next += interval
	c.arm(owner)
}

// arm sets the wheel to the earlier of the two times. c.mu is held.
func (c *core) arm(owner alarm) {
	when := c.end
	if c.next != 0 && (when == 0 || c.next < when) {
		when = c.next
	}
	if when == 0 {
		c.l.wheel.stop(&c.timer)
		return
	}
	c.l.wheel.start(&c.timer, owner, when)
}

// rang says which of the two times has come at tick now. An alarm that was on its way while the state changed finds that
// none has. c.mu is held.
func (c *core) rang(owner alarm, now int64) (eventKind, bool) {
	switch {
	case c.end != 0 && now >= c.end:
		c.next, c.end = 0, 0
		return evTimeout, true
	case c.next != 0 && now >= c.next:
		return evRetransmit, true
	}
	c.arm(owner)
	return 0, false
}
