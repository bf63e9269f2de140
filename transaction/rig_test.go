package transaction

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// rig is a layer between a pipe and a core that writes down what it sees. Everything that leaves the layer, down or up,
// becomes a line "time what" in the log, so a test says what goes in and compares the whole log.
type rig struct {
	t     *testing.T
	l     *Layer
	start time.Time
	udp   transport.Flow
	tcp   transport.Flow

	mu        sync.Mutex
	log       []string
	packets   []packet
	servers   []*Server
	acks      []*sip.Message
	strays    []*sip.Message
	proven    map[netip.AddrPort]bool
	proveAll  bool
	dials     map[transport.Target]transport.Flow
	broken    map[string]error // what Send answers, by flow name
	slow      map[string]bool  // connections that are not established, by flow name
	onRequest func(*Server)
	noDone    bool // nobody wants to know when a server transaction ends
}

type packet struct {
	flow string
	data []byte
}

var (
	ourAddr  = netip.MustParseAddrPort("192.0.2.1:5060")
	peerAddr = netip.MustParseAddrPort("198.51.100.7:5070")
)

// run runs f in a bubble, and checks afterwards that nothing is left over.
func run(t *testing.T, o Options, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{
			t: t, start: time.Now(), proveAll: true,
			proven: map[netip.AddrPort]bool{}, dials: map[transport.Target]transport.Flow{},
			broken: map[string]error{}, slow: map[string]bool{},
		}
		o.Transport = r
		r.l = New(o)
		r.l.SetHandler(r)
		r.udp = r.pipe("udp", transport.UDP, peerAddr)
		r.tcp = r.pipe("tcp", transport.TCP, peerAddr)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.l.Serve(ctx) }()
		synctest.Wait()

		f(r)

		r.mu.Lock()
		r.onRequest = nil
		r.mu.Unlock()
		// Whatever was begun is over after the longest of all timers and one more.
		time.Sleep(70 * time.Second)
		synctest.Wait()
		r.empty()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// empty checks that no table holds anything. INVITEs that the test left unanswered are answered first.
func (r *rig) empty() {
	r.t.Helper()
	for _, s := range r.servers {
		if !s.Answered() {
			s.Reply(480, "")
		}
	}
	time.Sleep(70 * time.Second)
	synctest.Wait()
	if server, client := r.l.InFlight(); server != 0 || client != 0 {
		r.t.Errorf("left over: %d server and %d client transactions", server, client)
	}
	if n := r.l.wheel.len(); n != 0 {
		r.t.Errorf("left over: %d timers", n)
	}
	if n := len(r.l.servers.all()); n != 0 {
		r.t.Errorf("left over: %d server keys", n)
	}
	if t, _ := r.l.servers.oldest(key{}); t != nil {
		r.t.Errorf("left over: a retired transaction in %s", t.current())
	}
	if n := len(r.l.clients.all()); n != 0 {
		r.t.Errorf("left over: %d client places", n)
	}
	if n := r.l.flows.len(); n != 0 {
		r.t.Errorf("left over: %d flow lists", n)
	}
}

func (r *rig) pipe(name string, k transport.Kind, remote netip.AddrPort) transport.Flow {
	return transport.Pipe(transport.PipeOptions{
		Kind: k, Local: ourAddr, Remote: remote, Listener: name,
		Send: func(b []byte) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if err := r.broken[name]; err != nil {
				r.note("broken %s %s", name, brief(b))
				return err
			}
			r.packets = append(r.packets, packet{name, b})
			r.note("%s %s", name, brief(b))
			return nil
		},
		Close:       func(reason string) { r.line("close %s", name) },
		Established: func() bool { r.mu.Lock(); defer r.mu.Unlock(); return !r.slow[name] },
	})
}

// brief is the start of a message: the method or the status.
func brief(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\r\n")
	line = strings.TrimPrefix(line, "SIP/2.0 ")
	line, _, _ = strings.Cut(line, " ")
	return line
}

func (r *rig) line(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(format, args...)
}

func (r *rig) note(format string, args ...any) {
	r.log = append(r.log, time.Since(r.start).String()+" "+fmt.Sprintf(format, args...))
}

// want compares the log with the lines and empties it.
func (r *rig) want(lines ...string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.log, lines) {
		r.t.Errorf("log:\n\t%s\nwant:\n\t%s", strings.Join(r.log, "\n\t"), strings.Join(lines, "\n\t"))
	}
	r.log = nil
}

// wait lets d pass, and everything happen that is due by then.
func (r *rig) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// last is the last message that left.
func (r *rig) last() *sip.Message {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.packets) == 0 {
		r.t.Fatal("nothing was sent")
	}
	return parse(r.t, r.packets[len(r.packets)-1].data)
}

func parse(t testing.TB, b []byte) *sip.Message {
	t.Helper()
	m, err := sip.Parse(slices.Clone(b))
	if err != nil {
		t.Fatalf("parse: %v\n%s", err, b)
	}
	return m
}

// Transport.

func (r *rig) Flow(t transport.Target) (transport.Flow, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.broken["dial"]; err != nil {
		return transport.Flow{}, err
	}
	f, ok := r.dials[t]
	if !ok {
		name := "to:" + t.Kind.String() + ":" + t.Addr.String()
		f = r.pipe(name, t.Kind, t.Addr)
		r.dials[t] = f
	}
	return f, nil
}

func (r *rig) UDPFlow(local, remote netip.AddrPort) (transport.Flow, bool) {
	f, err := r.Flow(transport.Target{Kind: transport.UDP, Addr: remote})
	return f, err == nil
}

func (r *rig) Via(f transport.Flow) (string, string) { return f.Kind().ViaName(), "192.0.2.1:5060" }

func (r *rig) Proven(f transport.Flow) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proveAll || r.proven[f.Remote()]
}

func (r *rig) Prove(f transport.Flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proven[f.Remote()] = true
}

// Handler.

func (r *rig) Request(s *Server) {
	r.mu.Lock()
	r.servers = append(r.servers, s)
	r.note("up %s", s.Request().Method())
	f := r.onRequest
	r.mu.Unlock()
	s.OnCancel(func(*sip.Message) { r.line("up cancel") })
	if !r.noDone {
		s.OnDone(func() { r.line("done") })
	}
	if f != nil {
		f(s)
	}
}

func (r *rig) Ack(m *sip.Message, f transport.Flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acks = append(r.acks, m)
	r.note("up ACK")
}

func (r *rig) Stray(m *sip.Message, f transport.Flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.strays = append(r.strays, m)
	r.note("up stray %d", m.Status())
}

func (r *rig) Closed(f transport.Flow, err error) { r.line("up closed %s", f.Listener()) }

// ClientHandler.

func (r *rig) Response(c *Client, m *sip.Message) { r.line("up %d", m.Status()) }

func (r *rig) Failed(c *Client, err error) {
	for name, target := range map[string]error{
		"timeout": ErrTimeout, "transport": ErrTransport, "too many": ErrTooMany, "closed": ErrClosed, "message": ErrMessage,
	} {
		if errors.Is(err, target) {
			r.line("failed %s", name)
			return
		}
	}
	r.line("failed %v", err)
}

// server is the server transaction that the core got last.
func (r *rig) server() *Server {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.servers) == 0 {
		r.t.Fatal("the core got no request")
	}
	return r.servers[len(r.servers)-1]
}

// request is a request of a peer, with a branch.
func request(method, branch string) string {
	return method + " sip:bob@example.com SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP 198.51.100.7:5070;branch=" + branch + "\r\n" +
		"Max-Forwards: 70\r\n" +
		"From: Alice <sip:alice@example.com>;tag=a1\r\n" +
		"To: Bob <sip:bob@example.com>\r\n" +
		"Call-ID: 987asjd97y7atg\r\n" +
		"CSeq: 986759 " + method + "\r\n" +
		"Content-Length: 0\r\n\r\n"
}

// receive hands the layer a message that came over a flow.
func (r *rig) receive(f transport.Flow, text string) {
	r.t.Helper()
	r.l.Message(parse(r.t, []byte(text)), f)
	synctest.Wait()
}

const branch = "z9hG4bK77asjd"

// toTag is the text with a To tag.
func toTag(text, tag string) string {
	return strings.Replace(text, "To: Bob <sip:bob@example.com>", "To: Bob <sip:bob@example.com>;tag="+tag, 1)
}

// draft is a request of ours.
func draft(method string) *sip.Draft {
	return sip.NewRequest(method, "sip:bob@198.51.100.7").
		Add(sip.HMaxForwards, "70").
		Add(sip.HFrom, "<sip:alice@example.com>;tag=a1").
		Add(sip.HTo, "<sip:bob@example.com>").
		Add(sip.HCallID, "c1").
		Add(sip.HCSeq, "7 "+method)
}

// send starts a client transaction over a flow.
func (r *rig) send(f transport.Flow, method string) *Client {
	return r.l.Send(Hop{Flow: f}, draft(method), r)
}

// respond is the peer's response to the last request that was sent with that method.
func (r *rig) respond(f transport.Flow, method string, status int) {
	r.t.Helper()
	r.l.Message(r.response(method, status), f)
	synctest.Wait()
}

func (r *rig) response(method string, status int) *sip.Message {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.packets) - 1; i >= 0; i-- {
		if m := parse(r.t, r.packets[i].data); m.IsRequest() && m.Method() == method {
			return parse(r.t, sip.NewResponse(m, status, "").SetToTag("b1").Bytes())
		}
	}
	r.t.Fatalf("no %s was sent", method)
	return nil
}

// breaks has a flow answer Send with err, or "dial" Transport.Flow.
func (r *rig) breaks(flow string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken[flow] = err
}

// hangs keeps a connection from being established.
func (r *rig) hangs(flow string, yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow[flow] = yes
}

func contextEnded() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx, cancel
}

func (c *core) current() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}
