package transaction

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// line is a UDP path between two layers that loses, doubles and delays datagrams.
type line struct {
	to   *Layer
	back transport.Flow // as the receiver sees the sender
	loss float64
}

func (w *line) send(b []byte) error {
	copies := 1
	switch x := rand.Float64(); {
	case x < w.loss:
		copies = 0
	case x < 2*w.loss:
		copies = 2
	}
	for range copies {
		data := append([]byte(nil), b...)
		time.AfterFunc(time.Duration(rand.IntN(200))*time.Millisecond, func() {
			m, err := sip.Parse(data)
			if err != nil {
				panic(err)
			}
			w.to.Message(m, w.back)
		})
	}
	return nil
}

// node is a Transport with one flow, and a core that answers after a while, from another goroutine.
type node struct {
	flow              transport.Flow
	requests, acks    atomic.Int64
	finals, failures  atomic.Int64
	cancels, answered atomic.Int64
}

func (n *node) Flow(transport.Target) (transport.Flow, error)      { return n.flow, nil }
func (n *node) UDPFlow(_, _ netip.AddrPort) (transport.Flow, bool) { return n.flow, true }
func (n *node) Via(f transport.Flow) (string, string)              { return "UDP", f.Local().String() }
func (n *node) Proven(transport.Flow) bool                         { return true }
func (n *node) Prove(transport.Flow)                               {}
func (n *node) Ack(*sip.Message, transport.Flow)                   { n.acks.Add(1) }
func (n *node) Stray(*sip.Message, transport.Flow)                 {}
func (n *node) Closed(transport.Flow, error)                       {}
func (n *node) Failed(*Client, error)                              { n.failures.Add(1) }
func (n *node) Response(c *Client, m *sip.Message) {
	if m.Status() >= 200 {
		n.finals.Add(1)
	}
}

func (n *node) Request(s *Server) {
	n.requests.Add(1)
	s.OnCancel(func(*sip.Message) { n.cancels.Add(1); s.Reply(487, "") })
	s.OnDone(func() { n.answered.Add(1) })
	time.AfterFunc(time.Duration(rand.IntN(2000))*time.Millisecond, func() {
		if s.Request().Method() == sip.INVITE {
			s.Reply(180, "")
			time.AfterFunc(time.Second, func() { s.Reply(486, "") })
			return
		}
		s.Reply(200, "")
	})
}

// TestLossyLine has many transactions at once between two layers over a bad line: everything is answered once, and in the
// end nothing is left.
func TestLossyLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &node{}, &node{}
		la, lb := New(Options{Transport: a}), New(Options{Transport: b})
		la.SetHandler(a)
		lb.SetHandler(b)
		there := &line{to: lb, loss: 0.1}
		here := &line{to: la, loss: 0.1}
		a.flow = transport.Pipe(transport.PipeOptions{Kind: transport.UDP, Local: ourAddr, Remote: peerAddr, Send: there.send})
		b.flow = transport.Pipe(transport.PipeOptions{Kind: transport.UDP, Local: peerAddr, Remote: ourAddr, Send: here.send})
		there.back, here.back = b.flow, a.flow
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 2)
		go func() { done <- la.Serve(ctx) }()
		go func() { done <- lb.Serve(ctx) }()

		const n = 1500
		invites, cancelled := 0, 0
		for i := range n {
			method := sip.MESSAGE
			if i%3 == 0 {
				method = sip.INVITE
				invites++
			}
			d := draft(method).Set(sip.HCallID, fmt.Sprint("c", i))
			c := la.Send(Hop{Flow: a.flow}, d, a)
			if i%6 == 0 {
				cancelled++
				time.AfterFunc(time.Duration(rand.IntN(2500))*time.Millisecond, func() { c.Cancel() })
			}
			if i%10 == 0 {
				time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			}
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := b.requests.Load(); got != n {
			t.Errorf("%d requests were taken for new ones, %d were sent", got, n)
		}
		if got := a.finals.Load(); got != n || a.failures.Load() != 0 {
			t.Errorf("%d final responses and %d failures for %d requests", got, a.failures.Load(), n)
		}
		if got := b.answered.Load(); got != n {
			t.Errorf("%d server transactions ended of %d", got, n)
		}
		if got := b.cancels.Load(); got == 0 || got > int64(cancelled) {
			t.Errorf("%d of %d CANCELs came to the core", got, cancelled)
		}
		if got := b.acks.Load(); got != 0 {
			t.Errorf("%d ACKs for non-2xx came to the core", got)
		}
		for name, l := range map[string]*Layer{"a": la, "b": lb} {
			server, client := l.InFlight()
			if server != 0 || client != 0 || l.wheel.len() != 0 || len(l.servers.all()) != 0 || len(l.clients.all()) != 0 {
				t.Errorf("%s: left over %d server, %d client transactions, %d timers", name, server, client, l.wheel.len())
			}
		}
		cancel()
		<-done
		<-done
	})
}
