package transaction_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	peer "github.com/emiago/sipgo/sip"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
	"github.com/prometheus/client_golang/prometheus"
)

// The tests in this file talk to sipgo, an implementation that shares no code with ours, over real sockets. Both sides run
// with short timers, so that the tests take seconds and not minutes.

const (
	shortT1 = 150 * time.Millisecond
	longest = time.Minute // before a test gives up
)

var quiet = slog.New(slog.DiscardHandler)

func init() {
	peer.SetTimers(shortT1, 8*shortT1, 10*shortT1)
	peer.SetDefaultLogger(quiet)
}

// ours is our side: a transport and a layer with a core made of channels.
type ours struct {
	t        *testing.T
	l        *transaction.Layer
	addr     map[transport.Kind]netip.AddrPort
	registry *prometheus.Registry

	requests  chan *transaction.Server
	acks      chan *sip.Message
	responses chan *sip.Message
	failures  chan error
}

func start(t *testing.T) *ours {
	t.Helper()
	tl, err := transport.Listen(transport.Options{UDP: []string{"127.0.0.1:0"}, TCP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	o := &ours{
		t:         t,
		addr:      map[transport.Kind]netip.AddrPort{},
		registry:  prometheus.NewRegistry(),
		requests:  make(chan *transaction.Server, 100),
		acks:      make(chan *sip.Message, 100),
		responses: make(chan *sip.Message, 100),
		failures:  make(chan error, 100),
	}
	for _, k := range []transport.Kind{transport.UDP, transport.TCP} {
		o.addr[k] = tl.Addrs(k)[0]
	}
	o.l = transaction.New(transaction.Options{
		Transport: tl, Registerer: o.registry,
		Timers: transaction.Timers{T1: shortT1, T2: 8 * shortT1, T4: 10 * shortT1, D: 64 * shortT1},
	})
	o.l.SetHandler(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- tl.Serve(ctx, o.l) }()
	go func() { done <- o.l.Serve(ctx) }()
	// Connections can be opened as soon as the transport serves.
	for {
		if _, err := tl.Flow(transport.Target{Kind: transport.TCP, Addr: o.addr[transport.TCP]}); err == nil {
			break
		}
		runtime.Gosched()
	}
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return o
}

func (o *ours) Request(s *transaction.Server)                  { o.requests <- s }
func (o *ours) Ack(m *sip.Message, _ transport.Flow)           { o.acks <- m }
func (o *ours) Stray(*sip.Message, transport.Flow)             {}
func (o *ours) Closed(transport.Flow, error)                   {}
func (o *ours) Response(_ *transaction.Client, m *sip.Message) { o.responses <- m }
func (o *ours) Failed(_ *transaction.Client, err error)        { o.failures <- err }

// count is the value of a counter, by the value of its one label.
func (o *ours) count(name, label string) float64 {
	o.t.Helper()
	families, err := o.registry.Gather()
	if err != nil {
		o.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "parley_transaction_"+name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	o.t.Fatalf("no counter %s %s", name, label)
	return 0
}

func take[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(longest):
		t.Fatalf("no %s in %v", what, longest)
		panic("unreachable")
	}
}

// final is the next final response.
func (o *ours) final() *sip.Message {
	o.t.Helper()
	for {
		select {
		case err := <-o.failures:
			o.t.Fatal(err)
		case m := <-o.responses:
			if m.Status() >= 200 {
				return m
			}
		case <-time.After(longest):
			o.t.Fatalf("no final response in %v", longest)
		}
	}
}

// theirs is a sipgo user agent.
type theirs struct {
	t      *testing.T
	client *sipgo.Client
	server *sipgo.Server
	addr   map[transport.Kind]netip.AddrPort
}

func startPeer(t *testing.T, handlers map[peer.RequestMethod]sipgo.RequestHandler) *theirs {
	t.Helper()
	ua, err := sipgo.NewUA(sipgo.WithUserAgent("peer"))
	if err != nil {
		t.Fatal(err)
	}
	p := &theirs{t: t, addr: map[transport.Kind]netip.AddrPort{}}
	if p.server, err = sipgo.NewServer(ua, sipgo.WithServerLogger(quiet)); err != nil {
		t.Fatal(err)
	}
	for method, h := range handlers {
		p.server.OnRequest(method, h)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr[transport.UDP] = netip.MustParseAddrPort(udp.LocalAddr().String())
	p.addr[transport.TCP] = netip.MustParseAddrPort(tcp.Addr().String())
	go func() { _ = p.server.ServeUDP(udp) }()
	go func() { _ = p.server.ServeTCP(tcp) }()
	if p.client, err = sipgo.NewClient(ua, sipgo.WithClientHostname("127.0.0.1"), sipgo.WithClientLogger(quiet)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = udp.Close()
		_ = tcp.Close()
		_ = ua.Close()
	})
	return p
}

// begin sends a request of sipgo's to an address.
func (p *theirs) begin(method peer.RequestMethod, k transport.Kind, to netip.AddrPort) (*peer.Request, peer.ClientTransaction) {
	p.t.Helper()
	var uri peer.Uri
	if err := peer.ParseUri(fmt.Sprintf("sip:bob@%s;transport=%s", to, k), &uri); err != nil {
		p.t.Fatal(err)
	}
	r := peer.NewRequest(method, uri)
	r.SetTransport(k.ViaName())
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	p.t.Cleanup(cancel)
	tx, err := p.client.TransactionRequest(ctx, r)
	if err != nil {
		p.t.Fatal(err)
	}
	return r, tx
}

func (p *theirs) final(tx peer.ClientTransaction) *peer.Response {
	p.t.Helper()
	for {
		select {
		case r := <-tx.Responses():
			if !r.IsProvisional() {
				return r
			}
		case <-tx.Done():
			p.t.Fatalf("sipgo's transaction ended: %v", tx.Err())
		case <-time.After(longest):
			p.t.Fatal("sipgo got no final response")
		}
	}
}

// relay passes datagrams between a peer that sends to its front and a server, and loses the first few of each direction.
type relay struct {
	front, back net.PacketConn
	lost        [2]atomic.Int32 // still to lose: to the server, from the server
}

func startRelay(t *testing.T, server netip.AddrPort, forth, back int) (*relay, netip.AddrPort) {
	t.Helper()
	r := &relay{}
	for _, c := range []*net.PacketConn{&r.front, &r.back} {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		*c = conn
	}
	r.lost[0].Store(int32(forth))
	r.lost[1].Store(int32(back))
	var client atomic.Value
	go pump(r.front, &r.lost[0], func(b []byte, from net.Addr) {
		client.Store(from)
		_, _ = r.back.WriteTo(b, net.UDPAddrFromAddrPort(server))
	})
	go pump(r.back, &r.lost[1], func(b []byte, _ net.Addr) {
		if to, ok := client.Load().(net.Addr); ok {
			_, _ = r.front.WriteTo(b, to)
		}
	})
	return r, netip.MustParseAddrPort(r.front.LocalAddr().String())
}

func pump(c net.PacketConn, lose *atomic.Int32, pass func([]byte, net.Addr)) {
	b := make([]byte, 65536)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		if lose.Add(-1) < 0 {
			pass(b[:n], from)
		}
	}
}

// both runs a test over UDP and TCP.
func both(t *testing.T, f func(t *testing.T, k transport.Kind)) {
	for _, k := range []transport.Kind{transport.UDP, transport.TCP} {
		t.Run(k.String(), func(t *testing.T) { t.Parallel(); f(t, k) })
	}
}

func TestPeerRequest(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k transport.Kind) {
		o, p := start(t), startPeer(t, nil)
		_, tx := p.begin(peer.MESSAGE, k, o.addr[k])
		s := take(t, o.requests, "request")
		s.Reply(200, "")
		if r := p.final(tx); r.StatusCode != 200 {
			t.Errorf("sipgo got %d", r.StatusCode)
		}
	})
}

// TestPeerLoss: the peer's request and our response are lost twice each. The core sees one request.
func TestPeerLoss(t *testing.T) {
	t.Parallel()
	for _, method := range []peer.RequestMethod{peer.MESSAGE, peer.INVITE} {
		t.Run(string(method), func(t *testing.T) {
			t.Parallel()
			o, p := start(t), startPeer(t, nil)
			_, front := startRelay(t, o.addr[transport.UDP], 2, 2)
			_, tx := p.begin(method, transport.UDP, front)
			s := take(t, o.requests, "request")
			done := make(chan struct{})
			s.OnDone(func() { close(done) })
			s.Reply(404, "")
			if r := p.final(tx); r.StatusCode != 404 {
				t.Errorf("sipgo got %d", r.StatusCode)
			}
			take(t, done, "end of the transaction")
			if len(o.requests) != 0 {
				t.Errorf("the core got %d requests more", len(o.requests))
			}
			if n := o.count("timeouts_total", "ack"); n != 0 {
				t.Errorf("%v ACKs are missing", n)
			}
		})
	}
}

// TestPeerInvite: sipgo's INVITE is refused; its ACK ends our transaction and does not reach the core.
func TestPeerInvite(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k transport.Kind) {
		o, p := start(t), startPeer(t, nil)
		_, tx := p.begin(peer.INVITE, k, o.addr[k])
		s := take(t, o.requests, "request")
		done := make(chan struct{})
		s.OnDone(func() { close(done) })
		s.Reply(180, "")
		s.Reply(486, "")
		if r := p.final(tx); r.StatusCode != 486 {
			t.Errorf("sipgo got %d", r.StatusCode)
		}
		take(t, done, "end of the transaction")
		if n := o.count("timeouts_total", "ack"); n != 0 || len(o.acks) != 0 {
			t.Errorf("%v ACKs are missing, the core got %d", n, len(o.acks))
		}
	})
}

func TestPeerCancels(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k transport.Kind) {
		o, p := start(t), startPeer(t, nil)
		invite, tx := p.begin(peer.INVITE, k, o.addr[k])
		s := take(t, o.requests, "request")
		s.OnCancel(func(*sip.Message) { s.Reply(487, "") })
		s.Reply(180, "")
		take(t, tx.Responses(), "180")

		cancel := peer.NewRequest(peer.CANCEL, invite.Recipient)
		cancel.AppendHeader(peer.HeaderClone(invite.Via()))
		for _, name := range []string{"From", "To", "Call-ID", "Max-Forwards"} {
			peer.CopyHeaders(name, invite, cancel)
		}
		cancel.AppendHeader(&peer.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: peer.CANCEL})
		cancel.SetBody(nil) // writes Content-Length, which a stream needs
		cancel.SetTransport(invite.Transport())
		cancel.SetDestination(invite.Destination())
		ctx, end := context.WithTimeout(context.Background(), longest)
		defer end()
		asIs := func(*sipgo.Client, *peer.Request) error { return nil }
		cancelTx, err := p.client.TransactionRequest(ctx, cancel, asIs)
		if err != nil {
			t.Fatal(err)
		}
		if r := p.final(cancelTx); r.StatusCode != 200 {
			t.Errorf("CANCEL got %d", r.StatusCode)
		}
		if r := p.final(tx); r.StatusCode != 487 {
			t.Errorf("INVITE got %d", r.StatusCode)
		}
	})
}

// our is a request of ours.
func our(method string) *sip.Draft {
	return sip.NewRequest(method, "sip:bob@127.0.0.1").
		Add(sip.HMaxForwards, "70").
		Add(sip.HFrom, "<sip:alice@example.com>;tag=a1").
		Add(sip.HTo, "<sip:bob@example.com>").
		Add(sip.HCallID, fmt.Sprintf("%d@example.com", time.Now().UnixNano())).
		Add(sip.HContact, "<sip:alice@127.0.0.1>").
		Add(sip.HCSeq, "7 "+method)
}

func answer(t *testing.T, status int) sipgo.RequestHandler {
	return func(r *peer.Request, tx peer.ServerTransaction) {
		if err := tx.Respond(peer.NewResponseFromRequest(r, status, "", nil)); err != nil {
			t.Errorf("sipgo: %v", err)
		}
	}
}

func TestPeerAnswers(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k transport.Kind) {
		o, p := start(t), startPeer(t, map[peer.RequestMethod]sipgo.RequestHandler{peer.MESSAGE: answer(t, 202)})
		o.l.Send(transaction.Hop{Target: transport.Target{Kind: k, Addr: p.addr[k]}}, our("MESSAGE"), o)
		if m := o.final(); m.Status() != 202 {
			t.Errorf("got %d", m.Status())
		}
	})
}

// TestPeerAnswersLoss: our request and the peer's response are lost twice each. sipgo's core sees one request.
func TestPeerAnswersLoss(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	o, p := start(t), startPeer(t, map[peer.RequestMethod]sipgo.RequestHandler{
		peer.MESSAGE: func(r *peer.Request, tx peer.ServerTransaction) { seen.Add(1); answer(t, 200)(r, tx) },
	})
	_, front := startRelay(t, p.addr[transport.UDP], 2, 2)
	o.l.Send(transaction.Hop{Target: transport.Target{Kind: transport.UDP, Addr: front}}, our("MESSAGE"), o)
	if m := o.final(); m.Status() != 200 || seen.Load() != 1 {
		t.Errorf("got %d, sipgo saw %d requests", m.Status(), seen.Load())
	}
	if n := o.count("retransmissions_total", "sent"); n < 4 {
		t.Errorf("%v retransmissions for 4 losses", n)
	}
}

// TestPeerRefuses: sipgo refuses our INVITE and waits for the ACK, which the layer sends.
func TestPeerRefuses(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k transport.Kind) {
		acks := make(chan *peer.Request, 10)
		o, p := start(t), startPeer(t, map[peer.RequestMethod]sipgo.RequestHandler{
			peer.INVITE: func(r *peer.Request, tx peer.ServerTransaction) {
				answer(t, 180)(r, tx)
				answer(t, 603)(r, tx)
				select {
				case ack := <-tx.Acks():
					acks <- ack
				case <-tx.Done():
				}
			},
		})
		o.l.Send(transaction.Hop{Target: transport.Target{Kind: k, Addr: p.addr[k]}}, our("INVITE"), o)
		if m := o.final(); m.Status() != 603 {
			t.Errorf("got %d", m.Status())
		}
		take(t, acks, "ACK at sipgo")
	})
}

func TestPeerIsCancelled(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k transport.Kind) {
		cancelled := make(chan struct{})
		o, p := start(t), startPeer(t, map[peer.RequestMethod]sipgo.RequestHandler{
			peer.INVITE: func(r *peer.Request, tx peer.ServerTransaction) {
				tx.OnCancel(func(*peer.Request) { close(cancelled) })
				answer(t, 180)(r, tx)
				<-tx.Done()
			},
		})
		c := o.l.Send(transaction.Hop{Target: transport.Target{Kind: k, Addr: p.addr[k]}}, our("INVITE"), o)
		for take(t, o.responses, "180").Status() != 180 {
		}
		c.Cancel()
		take(t, cancelled, "CANCEL at sipgo")
		if m := o.final(); m.Status() != 487 {
			t.Errorf("got %d", m.Status())
		}
	})
}

// TestPeerAccepts: the 2xx comes up, the ACK goes out without a transaction.
func TestPeerAccepts(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k transport.Kind) {
		acks := make(chan struct{}, 10)
		o, p := start(t), startPeer(t, map[peer.RequestMethod]sipgo.RequestHandler{
			peer.INVITE: answer(t, 200),
			peer.ACK:    func(*peer.Request, peer.ServerTransaction) { acks <- struct{}{} },
		})
		hop := transaction.Hop{Target: transport.Target{Kind: k, Addr: p.addr[k]}}
		o.l.Send(hop, our("INVITE"), o)
		m := o.final()
		if m.Status() != 200 {
			t.Fatalf("got %d", m.Status())
		}
		ack := our("ACK").Set(sip.HTo, m.Get(sip.HTo)).Set(sip.HCallID, m.CallID())
		if err := o.l.SendStateless(hop, ack); err != nil {
			t.Fatal(err)
		}
		take(t, acks, "ACK at sipgo")
	})
}

// TestPeerWithoutTCP: a large request to a port where nothing listens on TCP goes over UDP after all.
func TestPeerWithoutTCP(t *testing.T) {
	t.Parallel()
	o, p := start(t), startPeer(t, map[peer.RequestMethod]sipgo.RequestHandler{peer.MESSAGE: answer(t, 200)})
	d := our("MESSAGE").Body("text/plain", make([]byte, 3000))
	o.l.Send(transaction.Hop{Target: transport.Target{Kind: transport.UDP, Addr: p.addr[transport.UDP]}}, d, o)
	if m := o.final(); m.Status() != 200 {
		t.Errorf("got %d", m.Status())
	}
	if n := o.count("large_requests_total", "fellback"); n != 1 {
		t.Errorf("%v requests fell back", n)
	}
}
