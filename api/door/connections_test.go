package door

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// from is a connection that comes from an address, and notes whether it was closed.
type from struct {
	net.Conn
	addr   string
	closed bool
}

func (f *from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.addr))
}
func (f *from) Close() error { f.closed = true; return nil }

// There are so many connections of one address, and of all; this machine's own and those of proxies count for all only.
func TestConnections(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := NewConnections(8, 2, trusted, reg)
	open := func(addr string) *from {
		nc := &from{addr: addr}
		c.State(nc, http.StateNew)
		c.State(nc, http.StateActive)
		c.State(nc, http.StateIdle)
		return nc
	}
	one, two := open("192.0.2.1:1"), open("[::ffff:192.0.2.1]:2")
	three := open("192.0.2.1:3")
	if one.closed || two.closed || !three.closed {
		t.Errorf("of one address: %v %v %v", one.closed, two.closed, three.closed)
	}
	c.State(three, http.StateClosed)
	if again := open("192.0.2.1:4"); !again.closed {
		t.Error("one that was refused makes room for another one when it is gone")
	}
	if a, b, d := open("[2001:db8::1]:1"), open("[2001:db8::2]:1"), open("[2001:db8::3]:1"); a.closed || b.closed || !d.closed {
		t.Error("a /64 is not one")
	}
	c.State(one, http.StateHijacked) // a WebSocket: its own limits
	if again := open("192.0.2.1:5"); again.closed {
		t.Error("there is no room after one was taken over")
	}
	c.State(one, http.StateClosed)
	if again := open("192.0.2.1:6"); !again.closed {
		t.Error("one that was taken over counts twice when it ends")
	}
	for _, addr := range []string{"127.0.0.1:1", "127.0.0.1:2", "10.0.0.1:1", "10.0.0.1:2"} { // eight with the four above
		if open(addr).closed {
			t.Error(addr, "is limited")
		}
	}
	if open("127.0.0.1:3").closed != true || open("203.0.113.1:1").closed != true {
		t.Error("there are more than may be in all")
	}
	if n := testutil.ToFloat64(c.open); n != 8 {
		t.Errorf("%v are shown to be open", n)
	}
	if a, l := testutil.ToFloat64(c.refused.WithLabelValues("address")), testutil.ToFloat64(c.refused.WithLabelValues("limit")); a != 4 || l != 2 {
		t.Errorf("refused %v %v", a, l)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// With a real server: what is too much is closed at once, over TLS as well, the others go on, and one that ends makes room.
func TestConnectionsOfServer(t *testing.T) {
	for _, secure := range []bool{false, true} {
		c := NewConnections(3, 2, nil, nil)
		c.exempt = func(netip.Addr) bool { return false } // all tests come from this machine
		gone := make(chan struct{}, 10)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
		s.Config.ConnState = func(nc net.Conn, state http.ConnState) {
			c.State(nc, state)
			if state == http.StateClosed {
				gone <- struct{}{}
			}
		}
		if secure {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		dial := func() (net.Conn, error) {
			nc, err := net.Dial("tcp", s.Listener.Addr().String())
			if err == nil {
				t.Cleanup(func() { _ = nc.Close() })
			}
			return nc, err
		}
		first, err := dial()
		if _, also := dial(); err != nil || also != nil {
			t.Fatal(err, also)
		}
		if third, err := dial(); err == nil { // or it was closed before we knew that it was open
			_ = third.SetReadDeadline(time.Now().Add(patience))
			if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("TLS %v: the third is let in: %v", secure, err)
			}
		}
		<-gone // the third
		_ = first.Close()
		<-gone
		resp, err := s.Client().Get(s.URL)
		if err != nil {
			t.Fatalf("TLS %v: after one has ended: %v", secure, err)
		}
		_ = resp.Body.Close()
	}
}
