package transport

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/parley-im/parley/wire/sip"
)

// BenchmarkUDP is a 660-byte MESSAGE and its 200 through the layer, with so
// many in flight. The client is in the same process.
func BenchmarkUDP(b *testing.B) {
	for _, flight := range []int{1, 32, 256} {
		b.Run(strconv.Itoa(flight), func(b *testing.B) {
			l := serve(b, Options{UDP: []string{"127.0.0.1:0"}}, responder())
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(l.Addrs(UDP)[0]))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			l.Prove(Flow{link: l.udp[0], remote: addrPort(c.LocalAddr())})
			_ = c.SetReadBuffer(4 << 20)
			msg := request("bench", 300)
			slots := make(chan struct{}, flight)
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, maxDatagram)
				for range b.N {
					_ = c.SetReadDeadline(time.Now().Add(patience))
					if _, err := c.Read(buf); err != nil {
						b.Error(err)
						return
					}
					<-slots
				}
			}()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				slots <- struct{}{}
				if _, err := c.Write(msg); err != nil {
					b.Fatal(err)
				}
			}
			<-done
		})
	}
}

// BenchmarkTCP is the same over one TCP or TLS connection.
func BenchmarkTCP(b *testing.B) {
	for _, k := range []Kind{TCP, TLS} {
		for _, flight := range []int{1, 32, 256} {
			b.Run(k.String()+"/"+strconv.Itoa(flight), func(b *testing.B) {
				o, pool := tlsOptions(b)
				o.TCP = []string{"127.0.0.1:0"}
				l := serve(b, o, responder())
				c, err := net.Dial("tcp", l.Addrs(k)[0].String())
				if err != nil {
					b.Fatal(err)
				}
				if k == TLS {
					c = tls.Client(c, &tls.Config{RootCAs: pool, ServerName: "sip.example.com"})
				}
				defer func() { _ = c.Close() }()
				msg := request("bench", 300)
				m, _ := sip.Parse(msg)
				size := len(sip.NewResponse(m, 200, "").Bytes())
				slots := make(chan struct{}, flight)
				done := make(chan struct{})
				go func() {
					defer close(done)
					buf := make([]byte, 64<<10)
					for left := b.N * size; left > 0; {
						n, err := c.Read(buf)
						if err != nil {
							b.Error(err)
							return
						}
						for range (left+size-1)/size - (left-n+size-1)/size {
							<-slots
						}
						left -= n
					}
				}()
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					slots <- struct{}{}
					if _, err := c.Write(msg); err != nil {
						b.Fatal(err)
					}
				}
				<-done
			})
		}
	}
}

// idleConnections is the number that the memory benchmark opens.
const idleConnections = 2000

// BenchmarkIdle reports the memory of a connection that has said something and
// is idle, in bytes of heap and of stack. The clients are another process.
func BenchmarkIdle(b *testing.B) {
	cert, _ := certificate(b, "sip.example.com", "127.0.0.1")
	for _, k := range []Kind{TCP, TLS, WS, WSS} {
		b.Run(k.String(), func(b *testing.B) {
			o := Options{TCP: []string{"127.0.0.1:0"}, TLS: []string{"127.0.0.1:0"}, Limits: Limits{PerAddress: 1 << 20, Idle: time.Hour}}
			o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
			e := responder()
			seen := make(chan struct{}, idleConnections)
			e.hook = func(*sip.Message, Flow) { seen <- struct{}{} }
			l := serve(b, o, e)
			to := ""
			switch k {
			case TCP, TLS:
				to = l.Addrs(k)[0].String()
			default:
				to = webServer(b, l, k == WSS, &cert)
			}
			before := memory()
			cmd := exec.Command(os.Args[0], "-test.run=^TestIdleClients$", "-test.v")
			cmd.Env = append(os.Environ(), "IDLE_KIND="+k.String(), "IDLE_TO="+to)
			in, err := cmd.StdinPipe()
			if err != nil {
				b.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			for range idleConnections {
				select {
				case <-seen:
				case <-time.After(time.Minute):
					b.Fatal("the clients do not come")
				}
			}
			after := memory()
			for i, unit := range []string{"heap-B/conn", "stack-B/conn", "B/conn"} {
				b.ReportMetric(float64(int64(after[i])-int64(before[i]))/idleConnections, unit)
			}
			b.ReportMetric(0, "ns/op")
			_ = in.Close()
			_ = cmd.Wait()
		})
	}
}

// memory is heap and stack in use after collection.
func memory() [3]uint64 {
	for range 6 { // stacks shrink by half with each
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return [3]uint64{m.HeapAlloc, m.StackInuse, m.HeapAlloc + m.StackInuse}
}

// TestIdleClients is the other process of BenchmarkIdle; on its own it opens
// nothing.
func TestIdleClients(t *testing.T) {
	kind, ok := ParseKind(os.Getenv("IDLE_KIND"))
	if !ok {
		return
	}
	to := os.Getenv("IDLE_TO")
	for i := range idleConnections {
		switch kind {
		case TCP, TLS:
			var c net.Conn
			c, err := net.Dial("tcp", netip.MustParseAddrPort(to).String())
			if err != nil {
				t.Fatal(err)
			}
			if kind == TLS {
				c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			}
			over(t, c).expect200(id(i))
		default:
			c, _, err := websocket.Dial(t.Context(), to, &websocket.DialOptions{Subprotocols: []string{"sip"}, HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Write(t.Context(), websocket.MessageText, request(id(i), 300)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.CloseNow() })
		}
	}
	_, _ = fmt.Fprintln(os.Stderr, "idle")
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}
