package route

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// zone is what the name server of these tests knows.
const zone = `
example.com.      300 IN NAPTR 50 50 "s" "SIPS+D2T" "" _sips._tcp.example.com.
example.com.      300 IN NAPTR 90 50 "s" "SIP+D2T" "" _sip._tcp.example.com.
example.com.      300 IN NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp.example.com.
_sips._tcp.example.com. 300 IN SRV 0 1 5061 server1.example.com.
_sips._tcp.example.com. 300 IN SRV 1 1 5061 server2.example.com.
_sip._udp.example.com.  300 IN SRV 0 1 5060 server1.example.com.
_sip._tcp.example.com.  300 IN SRV 0 1 5060 server1.example.com.
server1.example.com. 300 IN A 192.0.2.11
server1.example.com. 300 IN AAAA 2001:db8::11
server2.example.com. 300 IN A 192.0.2.12
srvonly.example.org. 300 IN A 192.0.2.99
_sip._udp.srvonly.example.org. 300 IN SRV 10 0 5070 h.example.org.
_sip._tcp.srvonly.example.org. 300 IN SRV 10 0 5071 h.example.org.
h.example.org. 1 IN A 192.0.2.21
plain.example.org. 300 IN A 192.0.2.31
gone.example.org. 300 IN A 192.0.2.41
_sip._tcp.gone.example.org. 300 IN SRV 0 0 0 .
weights.example.org. 300 IN NAPTR 1 1 "s" "SIP+D2T" "" _sip._tcp.weights.example.org.
_sip._tcp.weights.example.org. 300 IN SRV 1 0 5060 h.example.org.
_sip._tcp.weights.example.org. 300 IN SRV 0 90 1 plain.example.org.
_sip._tcp.weights.example.org. 300 IN SRV 0 10 2 plain.example.org.
`

// nameServer answers from zone, UDP and TCP, and counts questions.
func nameServer(t *testing.T) (addr string, asked *atomic.Int64) {
	t.Helper()
	records := map[string][]dns.RR{}
	p := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		k := fmt.Sprint(strings.ToLower(rr.Header().Name), rr.Header().Rrtype)
		records[k] = append(records[k], rr)
	}
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	asked = &atomic.Int64{}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		m.Answer = records[fmt.Sprint(strings.ToLower(q.Question[0].Name), q.Question[0].Qtype)]
		if q.Question[0].Name == "broken.example.org." {
			m.Rcode = dns.RcodeServerFailure
		}
		if w.LocalAddr().Network() == "udp" && strings.HasPrefix(q.Question[0].Name, "_sips._tcp.") {
			// Make the resolver come again over TCP.
			m.Answer, m.Truncated = nil, true
		}
		w.WriteMsg(m)
	})
	pc, ln := bothOnOnePort(t)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: ln, Handler: h}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go s.ActivateAndServe()
		<-up
		t.Cleanup(func() { s.Shutdown() })
	}
	return pc.LocalAddr().String(), asked
}

// bothOnOnePort listens over UDP and TCP on a port that is free for both.
func bothOnOnePort(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if ln, err := net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			return pc, ln
		}
		pc.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

func newTestResolver(t *testing.T, o ResolverOptions) *Resolver {
	t.Helper()
	s, err := NewResolver(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Serve(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func lookUp(t *testing.T, s *Resolver, uri string) ([]string, error) {
	t.Helper()
	u, err := sip.ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		list []transport.Target
		err  error
	}
	ch := make(chan answer, 1)
	s.Resolve(u, func(list []transport.Target, err error) { ch <- answer{list, err} })
	a := <-ch
	var out []string
	for _, x := range a.list {
		out = append(out, x.Kind.String()+" "+x.Addr.String()+" "+x.ServerName)
	}
	return out, a.err
}

// TestResolve starts with the example of RFC 3263 §4.1 and §4.2.
func TestResolve(t *testing.T) {
	addr, _ := nameServer(t)
	s := newTestResolver(t, ResolverOptions{Servers: []string{addr}})
	for _, row := range []struct {
		uri  string
		want []string
	}{
		{"sip:user@example.com", []string{"tls [2001:db8::11]:5061 example.com", "tls 192.0.2.11:5061 example.com", "tls 192.0.2.12:5061 example.com"}},
		{"sips:user@example.com", []string{"tls [2001:db8::11]:5061 example.com", "tls 192.0.2.11:5061 example.com", "tls 192.0.2.12:5061 example.com"}},
		{"sip:user@example.com;transport=udp", []string{"udp [2001:db8::11]:5060 example.com", "udp 192.0.2.11:5060 example.com"}},
		{"sip:user@Example.COM;transport=TCP", []string{"tcp [2001:db8::11]:5060 Example.COM", "tcp 192.0.2.11:5060 Example.COM"}},
		{"sip:user@server1.example.com:5080", []string{"udp [2001:db8::11]:5080 server1.example.com", "udp 192.0.2.11:5080 server1.example.com"}},
		{"sips:user@server2.example.com:5080", []string{"tls 192.0.2.12:5080 server2.example.com"}},
		{"sip:user@server2.example.com:5080;transport=tcp", []string{"tcp 192.0.2.12:5080 server2.example.com"}},
		// No NAPTR: SRV for each transport we have, TCP before UDP.
		{"sip:srvonly.example.org", []string{"tcp 192.0.2.21:5071 srvonly.example.org", "udp 192.0.2.21:5070 srvonly.example.org"}},
		// Neither: the address itself, over UDP.
		{"sip:plain.example.org", []string{"udp 192.0.2.31:5060 plain.example.org"}},
		{"sips:plain.example.org", []string{"tls 192.0.2.31:5061 plain.example.org"}},
		{"sip:plain.example.org;transport=tcp", []string{"tcp 192.0.2.31:5060 plain.example.org"}},
		// RFC 2782: a target of "." is no service; here the plain name stands in.
		{"sip:gone.example.org", []string{"udp 192.0.2.41:5060 gone.example.org"}},
		// Numeric hosts are not looked up.
		{"sip:192.0.2.7", []string{"udp 192.0.2.7:5060 "}},
		{"sip:192.0.2.7:5090;transport=tcp", []string{"tcp 192.0.2.7:5090 "}},
		{"sips:192.0.2.7", []string{"tls 192.0.2.7:5061 "}},
		{"sips:192.0.2.7;transport=tcp", []string{"tls 192.0.2.7:5061 "}},
		{"sip:[2001:db8::7]", []string{"udp [2001:db8::7]:5060 "}},
		{"sip:[2001:db8::7]:5090;transport=tls", []string{"tls [2001:db8::7]:5090 "}},
		{"sip:example.com;maddr=192.0.2.8", []string{"udp 192.0.2.8:5060 "}},
		{"sips:192.0.2.7;transport=udp", nil},
		{"sip:nobody.example.net", nil},
		{"sip:broken.example.org", nil},
		{"sip:example.com;transport=carrier-pigeon", nil},
	} {
		got, err := lookUp(t, s, row.uri)
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %q %v, want %q", row.uri, got, err, row.want)
		}
		if row.want == nil && err == nil && !strings.Contains(row.uri, "192.0.2.7") {
			t.Errorf("%s: no error", row.uri)
		}
	}
}

// RFC 2782: lower priority first, and inside one by weight.
func TestResolveWeights(t *testing.T) {
	addr, _ := nameServer(t)
	s := newTestResolver(t, ResolverOptions{Servers: []string{addr}})
	heavy := 0
	for range 1000 {
		got, err := lookUp(t, s, "sip:weights.example.org")
		if err != nil || len(got) != 3 || got[2] != "tcp 192.0.2.21:5060 weights.example.org" {
			t.Fatalf("%q %v", got, err)
		}
		if got[0] == "tcp 192.0.2.31:1 weights.example.org" {
			heavy++
		}
	}
	if heavy < 820 || heavy > 970 {
		t.Errorf("weight 90 of 100 came first %d times in 1000", heavy)
	}
}

// Answers are kept for their TTL, at most so many; failures too.
func TestResolveCache(t *testing.T) {
	addr, asked := nameServer(t)
	s := newTestResolver(t, ResolverOptions{Servers: []string{addr}, Cache: 2})
	lookUp(t, s, "sip:example.com")
	n := asked.Load()
	lookUp(t, s, "sip:other@EXAMPLE.com")
	if asked.Load() != n {
		t.Error("a remembered name was asked for again")
	}
	lookUp(t, s, "sip:nobody.example.net")
	n = asked.Load()
	lookUp(t, s, "sip:nobody.example.net")
	if asked.Load() != n {
		t.Error("a remembered failure was asked for again")
	}
	for i := range 5 {
		lookUp(t, s, fmt.Sprintf("sip:n%d.example.net", i))
	}
	s.mu.Lock()
	if len(s.cache) > 2 {
		t.Errorf("%d names remembered, limit 2", len(s.cache))
	}
	s.mu.Unlock()
	// The TTL of the shortest record counts: h.example.org has 1 s.
	lookUp(t, s, "sip:srvonly.example.org")
	s.mu.Lock()
	for k, c := range s.cache {
		if strings.Contains(k, "srvonly") && time.Until(c.until) > time.Second {
			t.Errorf("kept for %v", time.Until(c.until))
		}
	}
	s.mu.Unlock()
}

// The queue is bounded, and what waits fails when the resolver ends.
func TestResolveBusy(t *testing.T) {
	s, err := NewResolver(ResolverOptions{Servers: []string{"127.0.0.1:1"}, Queue: 2})
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 3)
	for i := range 3 {
		u, _ := sip.ParseURI(fmt.Sprintf("sip:n%d.example.net", i))
		s.Resolve(u, func(_ []transport.Target, err error) { results <- err })
	}
	if err := <-results; err != errBusy {
		t.Errorf("third look-up: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Serve(ctx)
	for range 2 {
		if err := <-results; err == nil {
			t.Error("a look-up succeeded without a server")
		}
	}
}

// A name server that does not answer is passed over.
func TestResolveSecondServer(t *testing.T) {
	addr, _ := nameServer(t)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	s := newTestResolver(t, ResolverOptions{Servers: []string{pc.LocalAddr().String(), addr}, Timeout: time.Second})
	if got, err := lookUp(t, s, "sip:plain.example.org:5062"); err != nil || len(got) != 1 {
		t.Errorf("%q %v", got, err)
	}
}
