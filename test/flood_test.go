package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Row 9: more connections than one address may have.
func TestHostileConnections(t *testing.T) {
	const perAddress = 40
	attack(t, func(t *testing.T, s *Server) {
		for i, kind := range []transport.Kind{transport.TCP, transport.TLS, transport.WS} {
			t.Run(kind.String()+" one too many", func(t *testing.T) {
				from := From(fmt.Sprintf("127.0.1.%d", 1+i))
				var open []*Peer
				for range perAddress {
					p := s.Dial(kind, from).For(t)
					open = append(open, p)
					if !p.Refuses(t, p.Raw(sip.OPTIONS, "alice", "sip:example.com").Bytes(), 407) {
						t.Fatalf("connection %d of %d was closed", len(open), perAddress)
					}
				}
				// The next is closed at once, before or after the handshake.
				if p, err := s.TryDial(kind, from); err == nil {
					_ = p.TryWrite(p.Raw(sip.OPTIONS, "alice", "sip:example.com").Bytes()) // it may be closed already
					p.waitClosed(t)
				}
				// Another address is served, and this one again when a connection has gone.
				p := s.Dial(kind, From(fmt.Sprintf("127.0.1.%d", 101+i))).For(t)
				p.Answers(t, p.Raw(sip.OPTIONS, "alice", "sip:example.com").Bytes(), 407)
				p.Close()
				open[0].Close()
				Eventually(t, "a place is free again", func() bool {
					p, err := s.TryDial(kind, from)
					if err != nil {
						return false
					}
					defer p.Close()
					return p.TryWrite(p.Raw(sip.OPTIONS, "alice", "sip:example.com").Bytes()) == nil && func() bool {
						_, err := p.Find(Patience, final)
						return err == nil
					}()
				})
				for _, p := range open[1:] {
					p.Close()
				}
			})
		}
	}, func(c *config.Config) { c.Limits.ConnectionsPerAddress = perAddress })
}

// Row 9, over HTTP: more connections than one address may have. This machine's own addresses of loopback are not limited, so they
// come from another one.
func TestHostileHTTPConnections(t *testing.T) {
	t.Parallel()
	const perAddress = 5
	host := ""
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			host = p.Addr().String()
		}
	}
	if host == "" {
		t.Skip("connections over HTTP are not counted here: this machine has no address but loopback, which is not limited")
	}
	s := Start(t, func(c *config.Config) { c.Limits.ConnectionsPerAddress, c.HTTP.Listen = perAddress, "0.0.0.0:0" })
	_, port, err := net.SplitHostPort(s.Addrs[transport.WS])
	if err != nil {
		t.Fatal(err)
	}
	// dial opens a connection and tells whether it is served.
	dial := func(host string) (net.Conn, bool) {
		t.Helper()
		c, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			return nil, false // it was closed before we knew that it was open
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(Patience))
		_, _ = io.WriteString(c, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n") // it may be closed already
		line, err := bufio.NewReader(c).ReadString('\n')
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("neither answered nor closed")
		}
		return c, strings.HasPrefix(line, "HTTP/1.1 200")
	}
	var first net.Conn
	for n := range perAddress + 1 {
		c, served := dial(host)
		if served != (n < perAddress) {
			t.Fatalf("connection %d of %d: served is %v", n+1, perAddress, served)
		}
		if n == 0 {
			first = c
		}
	}
	for range perAddress + 1 {
		if _, served := dial("127.0.0.1"); !served {
			t.Fatal("this machine itself is limited")
		}
	}
	_ = first.Close()
	Eventually(t, "a place is free again", func() bool { _, served := dial(host); return served })
}

// Row 9: connections that send nothing, a byte now and then, or half a request.
func TestHostileSlowness(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		t.Run("a thousand silent ones", func(t *testing.T) {
			var open []*Peer
			for i := range 1000 {
				p, err := s.TryDial(transport.TCP, From(fmt.Sprintf("127.0.2.%d", 1+i%50)))
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, p)
				switch i % 4 {
				case 1:
					_ = p.TryWrite([]byte("I")) // it may be closed already
				case 2:
					_ = p.TryWrite([]byte("INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/T"))
				case 3:
					_ = p.TryWrite([]byte("\r\n\r\n"))
				}
			}
			for _, p := range open {
				p.waitClosed(t) // by the greeting's deadline, whatever they sent
				p.Close()
			}
		})
		t.Run("a byte at a time", func(t *testing.T) {
			p := s.Dial(transport.TCP, "127.0.3.1").For(t)
			p.Answers(t, p.Raw(sip.OPTIONS, "alice", "sip:example.com").Bytes(), 407)
			// Each byte comes in time; the whole does not.
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			closed := false
			for _, b := range p.Raw(sip.OPTIONS, "alice", "sip:example.com").Add("Subject: " + strings.Repeat("x", 5000)).Bytes() {
				<-tick.C
				if closed = p.TryWrite([]byte{b}) != nil; closed {
					break
				}
			}
			if !closed {
				t.Error("it was given 100 s")
			}
			p.waitClosed(t)
			p.Close()
		})
		t.Run("gone in the middle of an INVITE", func(t *testing.T) {
			for i := range 200 {
				p := s.Dial(transport.TCP, From(fmt.Sprintf("127.0.4.%d", 1+i%20)))
				b := p.Raw(sip.INVITE, "alice", "bob").Bytes()
				p.Write(b[:len(b)*(1+i%9)/10])
				p.Close()
			}
		})
		t.Run("nothing is read", func(t *testing.T) {
			// Requests whose answers are never taken: the write queue is bounded, and the connection ends.
			c := s.deaf(t, "127.0.5.1")
			defer c.Close()
			p := &Peer{Kind: transport.TCP, t: t}
			_ = c.SetWriteDeadline(time.Now().Add(15 * time.Second)) // a TCP connection takes deadlines
			for n := 0; ; n++ {
				if _, err := c.Write(p.Raw(sip.OPTIONS, "alice", "sip:example.com").Bytes()); err != nil {
					if err, ok := err.(interface{ Timeout() bool }); ok && err.Timeout() {
						t.Log("the server has stopped reading")
					}
					return
				}
				if n == 500_000 {
					t.Fatal("500,000 answers wait to be read")
				}
			}
		})
	}, func(c *config.Config) {
		// Long enough for those who have to be served meanwhile, on a machine that does other things beside.
		c.Limits.GreetingTimeout = 4 * time.Second
		c.Limits.MessageTimeout = time.Second
		c.Limits.HandshakeTimeout = 4 * time.Second
		c.Limits.WriteQueue = 1 << 17
	})
}

func (p *Peer) waitClosed(t testing.TB) {
	t.Helper()
	select {
	case <-p.Closed():
	case <-time.After(Patience):
		t.Fatalf("%v from %v is still open", p.Kind, p.Local)
	}
}

// Row 10: a flood of REGISTERs, over UDP and over connections, of strangers and of one user.
func TestHostileFlood(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		each := 20_000
		if raceEnabled {
			each = 2000
		}
		var wg sync.WaitGroup
		for i, kind := range []transport.Kind{transport.UDP, transport.TCP, transport.TLS, transport.WS} {
			p := s.Dial(kind, From(fmt.Sprintf("127.0.6.%d", 1+i)))
			defer p.Close()
			wg.Go(func() {
				for n := range each {
					user := fmt.Sprintf("user%d", n%100)
					if p.TryWrite(p.Raw(sip.REGISTER, user, "sip:example.com").Set("To", "<sip:"+user+"@example.com>").
						Set("Contact", "<sip:"+user+"@192.0.2.1>").Bytes()) != nil {
						return // closed by the server: also a way
					}
				}
			})
			wg.Go(func() {
				for {
					m, err := p.Find(time.Second, func(*sip.Message) bool { return true })
					if err != nil {
						return
					}
					if s := m.Status(); s != 401 && s != 503 {
						t.Errorf("%v: %s", kind, Line(m))
						return
					}
				}
			})
		}
		wg.Wait()
		// One user with a password registers as many contacts as are allowed, and not more.
		u := s.UA("alice", transport.TCP, "127.0.6.9")
		defer u.Close()
		u.For(t)
		allowed := s.Config.Register.Bindings
		for n := range allowed + 20 {
			u.Contact = fmt.Sprintf("<sip:alice@192.0.2.1:%d>", 1000+n)
			want := 200
			if n >= allowed {
				want = 403
			}
			if m := u.Do(u.RegisterRequest(600)); m.Status() != want {
				t.Fatalf("contact %d: %s, want %d", n+1, Line(m), want)
			}
		}
	})
}

// Row 17: what a spoofed sender can make us send to others.
func TestHostileAmplification(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		// One answer of at most three times the size, also to the shortest requests.
		for method, lines := range map[string][]string{
			sip.OPTIONS:  nil,
			sip.REGISTER: nil,
			sip.MESSAGE:  {"Proxy-Require: a,b,c,d,e,f"},
			sip.INVITE:   {"Require: 100rel"},
			"FOO":        nil,
		} {
			p := s.Dial(transport.UDP, "127.0.7.1").For(t)
			short := method + " sip:example.com SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK" + Unique() + ";rport\r\nf:<sip:a@example.com>;tag=1\r\nt:<sip:a@example.com>\r\ni:" +
				Unique() + "\r\nCSeq:1 " + method + "\r\nl:0\r\n"
			for _, l := range lines {
				short += l + "\r\n"
			}
			short += "\r\n"
			p.Write([]byte(short))
			first := p.Wait("an answer", func(m *sip.Message) bool { return !m.IsRequest() })
			if n := p.Received(); n > 3*len(short) {
				t.Errorf("%s of %d bytes got %d bytes", method, len(short), n)
			}
			// Nothing is sent again on our own, and nothing more.
			if m := p.Silence(1300 * time.Millisecond); m != nil || p.Repeats() > 0 {
				t.Errorf("after %s: %v and %d retransmissions", Line(first), m, p.Repeats())
			}
			p.Close()
		}
		// What cannot be read gets no more than that either.
		for _, b := range []string{"X", "INVITE sip:a@b SIP/2.0\r\n\r\n", "OPTIONS sip:a@b SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\n\r\n", "SIP/2.0 200 OK\r\n\r\n"} {
			p := s.Dial(transport.UDP, "127.0.7.2").For(t)
			p.Write([]byte(b))
			p.Silence(200 * time.Millisecond)
			if n := p.Received(); n > 3*len(b) {
				t.Errorf("%q got %d bytes", b, n)
			}
			p.Close()
		}
		// A flood from one address is answered as often as the rate allows.
		p := s.Dial(transport.UDP, "127.0.7.3").For(t)
		start := time.Now()
		for range 6000 {
			p.Write(p.Raw(sip.OPTIONS, "alice", "sip:example.com").Bytes())
		}
		p.Next()
		answers := 1
		for p.Silence(300*time.Millisecond) != nil {
			answers++
		}
		limit := 2*s.Config.Limits.UnprovenRate + int(time.Since(start).Seconds()+1)*s.Config.Limits.UnprovenRate
		if answers > limit || answers == 0 {
			t.Errorf("%d answers, the rate allows %d", answers, limit)
		}
		p.Close()
		// A datagram that finds the server's buffer full is lost, and our user agents do not send it again: wait until the
		// flood is over.
		Eventually(t, "the flood is over", func() bool {
			p := s.Dial(transport.UDP, "127.0.7.5").For(t)
			defer p.Close()
			p.Write(p.Raw(sip.OPTIONS, "alice", "sip:example.com").Bytes())
			return p.Silence(time.Second) != nil
		})
		// Who has shown a password is proven, and is served at any rate.
		u := s.SignedIn("alice", transport.UDP, "127.0.7.4")
		defer u.Close()
		u.For(t)
		for range 1000 {
			u.Ask(u.Request(sip.OPTIONS, "sip:example.com"))
		}
	}, func(c *config.Config) { c.Limits.UnprovenRate = 200 })
}
