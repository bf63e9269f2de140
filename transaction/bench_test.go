package transaction

import (
	"bytes"
	"context"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// wire is a transport that keeps the last message and nothing else.
type wire struct {
	last atomic.Pointer[[]byte]
	udp  transport.Flow
	tcp  transport.Flow
}

func newWire() *wire {
	w := &wire{}
	send := func(b []byte) error { w.last.Store(&b); return nil }
	w.udp = transport.Pipe(transport.PipeOptions{Kind: transport.UDP, Local: ourAddr, Remote: peerAddr, Send: send})
	w.tcp = transport.Pipe(transport.PipeOptions{Kind: transport.TCP, Local: ourAddr, Remote: peerAddr, Send: send})
	return w
}

func (w *wire) Flow(t transport.Target) (transport.Flow, error) { return w.tcp, nil }
func (w *wire) UDPFlow(_, _ netip.AddrPort) (transport.Flow, bool) {
	return w.udp, true
}
func (w *wire) Via(f transport.Flow) (string, string) { return f.Kind().ViaName(), "192.0.2.1:5060" }
func (w *wire) Proven(transport.Flow) bool            { return true }
func (w *wire) Prove(transport.Flow)                  {}

// echo answers every request 200.
type echo struct{ responses atomic.Int64 }

func (e *echo) Request(s *Server)                  { s.Reply(200, "") }
func (e *echo) Ack(*sip.Message, transport.Flow)   {}
func (e *echo) Stray(*sip.Message, transport.Flow) {}
func (e *echo) Closed(transport.Flow, error)       {}
func (e *echo) Response(_ *Client, m *sip.Message) { e.responses.Add(1) }
func (e *echo) Failed(_ *Client, err error)        {}

// serve starts a layer for a benchmark; the timers are short so that what UDP keeps does not pile up.
func serve(b *testing.B, w *wire) (*Layer, *echo) {
	l := New(Options{Transport: w, Limits: Limits{Server: 1 << 30, Client: 1 << 30}, Timers: Timers{T1: tick, T2: tick, T4: tick, D: tick}})
	core := &echo{}
	l.SetHandler(core)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	return l, core
}

// BenchmarkServer is a request that was parsed, to the 200 that is handed to the transport; with the parsing, as that
// cannot be done once for all.
func BenchmarkServer(b *testing.B) {
	for _, test := range []struct {
		name  string
		flow  func(w *wire) transport.Flow
		rport string
	}{
		{"udp", func(w *wire) transport.Flow { return w.udp }, ""},
		{"udp rport", func(w *wire) transport.Flow { return w.udp }, ";rport"},
		{"tcp", func(w *wire) transport.Flow { return w.tcp }, ""},
	} {
		b.Run(test.name, func(b *testing.B) {
			w := newWire()
			l, _ := serve(b, w)
			f := test.flow(w)
			const digits = "0123456789"
			text := []byte(request("MESSAGE", "z9hG4bK0000000000"+test.rport))
			at := bytes.Index(text, []byte("0000000000"))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				for n, j := i, at+9; n > 0; n, j = n/10, j-1 {
					text[j] = digits[n%10]
				}
				m, err := sip.Parse(bytes.Clone(text))
				if err != nil {
					b.Fatal(err)
				}
				l.Message(m, f)
			}
		})
	}
	b.Run("parse alone", func(b *testing.B) {
		text := []byte(request("MESSAGE", "z9hG4bK0000000000"))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := sip.Parse(bytes.Clone(text)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkClient is a request from its draft to its 200; with writing and parsing the response.
func BenchmarkClient(b *testing.B) {
	for _, test := range []struct {
		name string
		flow func(w *wire) transport.Flow
	}{
		{"udp", func(w *wire) transport.Flow { return w.udp }},
		{"tcp", func(w *wire) transport.Flow { return w.tcp }},
	} {
		b.Run(test.name, func(b *testing.B) {
			w := newWire()
			l, core := serve(b, w)
			f := test.flow(w)
			b.ReportAllocs()
			n := int64(0)
			for b.Loop() {
				l.Send(Hop{Flow: f}, draft("MESSAGE"), core)
				var sent sip.Message
				if err := sent.Parse(*w.last.Load()); err != nil {
					b.Fatal(err)
				}
				m, err := sip.NewResponse(&sent, 200, "").Message()
				if err != nil {
					b.Fatal(err)
				}
				l.Message(m, f)
				n++
			}
			if got := core.responses.Load(); got != n {
				b.Errorf("%d responses to %d requests", got, n)
			}
		})
	}
}
