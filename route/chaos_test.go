package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/wire/sip"
)

// TestForkInvariants drives forks with phones that do what they like, and holds
// what RFC 3261 §16.7 promises the caller in every order of events: exactly one
// final that is not 2xx, or one 2xx and more; nothing but 2xx after that; the
// service is told once; and nothing is left over.
func TestForkInvariants(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for seed := range rounds {
		run(t, func(t *testing.T, r *rig) {
			rng := rand.New(rand.NewPCG(uint64(seed), 5393))
			c := &chaos{t: t, r: r, rng: rng, invites: map[string]*sip.Message{}, answered: map[string]bool{}}
			c.run()
			if t.Failed() {
				t.Logf("seed %d: %s", seed, strings.Join(c.log, ", "))
			}
		})
		if t.Failed() {
			return
		}
	}
}

type chaos struct {
	t        *testing.T
	r        *rig
	rng      *rand.Rand
	phones   []string
	invites  map[string]*sip.Message
	answered map[string]bool
	finals   []int
	cancel   bool
	log      []string
}

func (c *chaos) run() {
	r := c.r
	for i := range 1 + c.rng.IntN(5) {
		name := fmt.Sprint("bob", i)
		c.phones = append(c.phones, name)
		r.bind("bob@example.com", name, func(t *Target) {
			t.Q = uint16(500 * c.rng.IntN(3))
			if c.rng.IntN(3) == 0 {
				t.Instance = fmt.Sprint("urn:uuid:", c.rng.IntN(2))
			}
		})
	}
	if c.rng.IntN(3) == 0 {
		r.opts.Ring = 40 * time.Second
	}
	r.from("alice", request("INVITE", "alice", "sip:bob@example.com", "i"))
	for range 30 {
		c.read()
		c.step()
	}
	// Time for everything that waits: transaction timeouts, CANCELs, Timer C.
	for range 60 {
		c.read()
		r.wait(20 * time.Second)
	}
	c.read()
	c.check()
}

// step lets one thing happen.
func (c *chaos) step() {
	name := c.phones[c.rng.IntN(len(c.phones))]
	switch n := c.rng.IntN(20); {
	case n < 6:
		c.respond(name, 180+c.rng.IntN(2)*3)
	case n < 8:
		c.respond(name, []int{200, 202}[c.rng.IntN(2)])
	case n < 13:
		c.respond(name, []int{302, 404, 401, 407, 408, 430, 480, 486, 487, 500, 503, 600, 603}[c.rng.IntN(13)])
	case n < 14 && !c.cancel && len(c.finals) == 0:
		c.cancel = true
		c.note("CANCEL")
		c.r.from("alice", request("CANCEL", "alice", "sip:bob@example.com", "i"))
	case n < 15:
		c.note("%s breaks", name)
		p := c.r.phone(name)
		p.mu.Lock()
		p.broken = true
		p.mu.Unlock()
		p.flow.Close("test")
		c.r.l.Closed(p.flow, nil)
	default:
		c.r.wait(time.Duration(c.rng.IntN(9000)) * time.Millisecond)
	}
}

// respond answers the INVITE of a phone; a second 2xx is another answer of a
// forked INVITE further on.
func (c *chaos) respond(name string, status int) {
	i := c.invites[name]
	if i == nil || c.answered[name] && (status < 200 || status > 299) || !c.r.phone(name).flow.Alive() {
		return
	}
	if status >= 200 {
		c.answered[name] = true
	}
	c.note("%s %d", name, status)
	c.r.answer(name, i, status)
}

// read takes what arrived at all ends; CANCELs are obeyed.
func (c *chaos) read() {
	for _, name := range c.phones {
		for m := c.r.next(name); m != nil; m = c.r.next(name) {
			switch brief(m) {
			case sip.INVITE:
				if c.invites[name] != nil {
					continue // retransmission
				}
				c.invites[name] = m
			case sip.CANCEL:
				c.note("%s is cancelled", name)
				c.r.answer(name, m, 200)
				if c.rng.IntN(4) > 0 {
					c.respond(name, 487)
				}
			}
		}
	}
	for m := c.r.next("alice"); m != nil; m = c.r.next("alice") {
		if m.Method() == sip.INVITE && m.Status() >= 200 {
			c.note("-> %d", m.Status())
			c.finals = append(c.finals, m.Status())
			if m.Status() >= 300 {
				ack := strings.Replace(request("ACK", "alice", "sip:bob@example.com", "i"), "To: <sip:bob@example.com>", "To: "+m.Get(sip.HTo), 1)
				c.r.from("alice", ack)
			}
		}
	}
}

func (c *chaos) note(format string, args ...any) { c.log = append(c.log, fmt.Sprintf(format, args...)) }

func (c *chaos) check() {
	good, bad := 0, 0
	for i, s := range c.finals {
		switch {
		case s < 300:
			good++
			if bad > 0 {
				c.t.Errorf("2xx after another final: %v", c.finals)
			}
		case good > 0:
			c.t.Errorf("%d after 2xx: %v", s, c.finals)
		default:
			if bad++; bad > 1 {
				c.t.Errorf("two finals: %v", c.finals[:i+1])
			}
		}
	}
	if good+bad == 0 {
		c.t.Error("no final response")
	}
	if n := len(c.r.outcomes); n != 1 {
		c.t.Errorf("%d outcomes: %+v", n, c.r.outcomes)
	} else if o := c.r.outcomes[0]; o.Status != c.finals[0] {
		c.t.Errorf("the service was told %d, the caller %d", o.Status, c.finals[0])
	}
	if s, cl := c.r.l.InFlight(); s != 0 || cl != 0 {
		c.t.Errorf("left over: %d server and %d client transactions", s, cl)
	}
}
