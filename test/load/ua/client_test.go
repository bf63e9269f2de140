package ua

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/wire/sip"
)

// far is the other end of a client's UDP link.
type far struct {
	t    *testing.T
	conn *net.UDPConn
	to   net.Addr
}

func newFar(t *testing.T) (*far, *Client) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	run := &Run{ID: "run", Problem: func(format string, args ...any) { t.Errorf("a problem: "+format, args...) }}
	c := New(run, 1, "alice", "secret", "example.com")
	if err := c.Connect("udp", conn.LocalAddr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Disconnect()
		run.Readers.Wait()
		_ = conn.Close() // nobody reads any more
	})
	return &far{t: t, conn: conn}, c
}

func (f *far) read() *sip.Message {
	f.t.Helper()
	buf := make([]byte, 4096)
	_ = f.conn.SetReadDeadline(time.Now().Add(time.Minute))
	n, from, err := f.conn.ReadFrom(buf)
	if err != nil {
		f.t.Fatal(err)
	}
	f.to = from
	m := &sip.Message{}
	if err := m.Parse(buf[:n]); err != nil {
		f.t.Fatalf("%v in %q", err, buf[:n])
	}
	return m
}

func (f *far) write(text string) {
	f.t.Helper()
	if _, err := f.conn.WriteTo([]byte(text), f.to); err != nil {
		f.t.Fatal(err)
	}
}

// answer is a response to m.
func answer(m *sip.Message, status int, more string) string {
	return fmt.Sprintf("SIP/2.0 %d x\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=f\r\nCall-ID: %s\r\nCSeq: %s\r\n%sContent-Length: 0\r\n\r\n",
		status, m.Get(sip.HVia), m.Get(sip.HFrom), m.Get(sip.HTo), m.CallID(), m.Get(sip.HCSeq), more)
}

// A challenge is answered once for each request, with the next nonce count.
func TestChallenge(t *testing.T) {
	f, c := newFar(t)
	ended := make(chan int, 1)
	for i, want := range []string{"nc=00000001", "nc=00000002"} {
		c.Register(60, func(m *sip.Message) { ended <- m.Status() })
		m := f.read()
		if i == 0 {
			f.write(answer(m, 401, `WWW-Authenticate: Digest realm="example.com", nonce="n", qop="auth", algorithm=MD5`+"\r\n"))
			m = f.read()
		}
		if !strings.Contains(m.Get(sip.HAuthorization), want) {
			t.Errorf("the answer to the challenge is %q, want %s", m.Get(sip.HAuthorization), want)
		}
		f.write(answer(m, 200, ""))
		if got := <-ended; got != 200 {
			t.Errorf("REGISTER got %d", got)
		}
	}
	if n := c.Run.Challenges.Load(); n != 1 {
		t.Errorf("%d challenges were answered", n)
	}
}

// RFC 3261 §17.1.2.2: a request over UDP is sent again after T1, and twice as long each time; in the end nobody waits any more.
func TestRepetition(t *testing.T) {
	f, c := newFar(t)
	told := ""
	c.Run.Problem = func(format string, args ...any) { told = fmt.Sprintf(format, args...) }
	ended := make(chan *sip.Message, 1)
	began := Now()
	c.Send(&Request{Method: sip.OPTIONS, URI: "sip:example.com", To: "<sip:example.com>", CallID: "c", Done: func(m *sip.Message) { ended <- m }})
	first := f.read()
	c.Tick(began + t1 - time.Millisecond)
	c.Tick(Now() + t1)
	if again := f.read(); again.Get(sip.HVia) != first.Get(sip.HVia) || c.Run.Resent.Load() != 1 {
		t.Errorf("after T1 came %q, %d were sent again", again.Get(sip.HVia), c.Run.Resent.Load())
	}
	c.Tick(Now() + requestTimeout + time.Second)
	if m := <-ended; m != nil || told != "OPTIONS was not answered in time" {
		t.Errorf("the end is %v, %q was told", m, told)
	}
}

// RFC 3261 §9.1: a CANCEL has the branch and the number of its INVITE; §17.1.1.3: so has the ACK of the refusal.
func TestCancel(t *testing.T) {
	f, c := newFar(t)
	ended := make(chan int, 1)
	r := &Request{Method: sip.INVITE, URI: "sip:bob@example.com", To: "<sip:bob@example.com>", CallID: "c", Contact: true, Body: SDP,
		ContentType: "application/sdp", Done: func(m *sip.Message) { ended <- m.Status() }}
	c.Send(r)
	invite := f.read()
	f.write(answer(invite, 180, ""))
	c.Cancel(r)
	cancel := f.read()
	if cancel.Method() != sip.CANCEL || cancel.Get(sip.HVia) != invite.Get(sip.HVia) || cancel.CallID() != "c" {
		t.Errorf("the CANCEL is %q", cancel.Bytes())
	}
	f.write(answer(cancel, 200, ""))
	f.write(answer(invite, 487, ""))
	if ack := f.read(); ack.Method() != sip.ACK || ack.Get(sip.HVia) != invite.Get(sip.HVia) {
		t.Errorf("the ACK is %q", ack.Bytes())
	}
	if got := <-ended; got != 487 {
		t.Errorf("INVITE got %d", got)
	}
	c.Cancel(r) // over: nothing is sent
	c.Send(&Request{Method: sip.OPTIONS, URI: "sip:example.com", To: "<sip:example.com>", CallID: "o", Done: func(*sip.Message) {}})
	if m := f.read(); m.Method() != sip.OPTIONS {
		t.Errorf("behind the call came %s", m.Method())
	}
}

// RFC 4028 §9: who is called agrees to a session timer that the caller knows; §13.3.1.4 of RFC 3261: its 200 comes until the ACK does.
func TestAccept(t *testing.T) {
	f, c := newFar(t)
	c.Run.Received = func(*sip.Message) {}
	c.On = func(m *sip.Message, again bool) bool {
		if m.Method() == sip.INVITE && !again {
			c.Accept(m)
			return true
		}
		return false
	}
	c.Send(&Request{Method: sip.OPTIONS, URI: "sip:example.com", To: "<sip:example.com>", CallID: "o", Done: func(*sip.Message) {}})
	f.write(answer(f.read(), 200, ""))
	head := func(method string) string {
		return method + " sip:alice@x SIP/2.0\r\nVia: SIP/2.0/UDP far;branch=z9hG4bK" + method + "\r\nMax-Forwards: 70\r\nFrom: <sip:bob@example.com>;tag=b\r\n" +
			"To: <sip:alice@example.com>\r\nCall-ID: call\r\nCSeq: 1 " + method + "\r\nContact: <sip:bob@far>\r\n"
	}
	f.write(head("INVITE") + "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\nContent-Length: 0\r\n\r\n")
	for i := range 2 {
		ok := f.read()
		if ok.Status() != 200 || ok.Get(sip.HSessionExpires) != "90;refresher=uac" || !ok.HasToken(sip.HRequire, "timer") {
			t.Errorf("the answer is %q", ok.Bytes())
		}
		if i == 0 {
			f.write(head("OPTIONS") + "Content-Length: 0\r\n\r\n")
			f.read() // the answer: the reader is behind Accept
			c.Tick(Now() + t1)
		}
	}
	f.write(head("ACK") + "Content-Length: 0\r\n\r\n")
	f.write(head("BYE") + "Content-Length: 0\r\n\r\n")
	if m := f.read(); m.Status() != 200 || !strings.HasSuffix(m.Get(sip.HCSeq), "BYE") {
		t.Errorf("BYE got %q", m.Bytes())
	}
	before := c.Run.Resent.Load()
	c.Tick(Now() + time.Minute)
	if n := c.Run.Resent.Load(); n != before {
		t.Errorf("the 200 comes again after its ACK")
	}
}
