package transport

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// PipeOptions describe a Flow without a socket.
type PipeOptions struct {
	Kind          Kind
	Local, Remote netip.AddrPort
	// ID 0 takes a fresh one.
	ID       uint64
	Listener string
	// Send takes what is sent, on the sender's goroutine.
	Send func(b []byte) error
	// Close is told when the flow is closed; may be nil.
	Close func(reason string)
	// Established may be nil: always.
	Established func() bool
	// Line may be nil: not known.
	Line func() (Line, bool)
}

// pipeID numbers pipes apart from connections and UDP flows of any layer.
var pipeID atomic.Uint64

// Pipe returns a Flow whose other end is a function: for driving the floors
// above without sockets, goroutines or clocks. Each Pipe is a flow of its own.
func Pipe(o PipeOptions) Flow {
	p := &pipe{o: o}
	if p.o.ID == 0 {
		p.o.ID = 1<<62 | pipeID.Add(1)
	}
	return Flow{link: p}
}

type pipe struct {
	o      PipeOptions
	idle   atomic.Int64
	closed atomic.Bool
}

func (p *pipe) flowID(Flow) uint64 { return p.o.ID }
func (p *pipe) kind() Kind         { return p.o.Kind }
func (p *pipe) alive() bool        { return !p.closed.Load() }
func (p *pipe) listener() string   { return p.o.Listener }

func (p *pipe) addrs(Flow) (local, remote netip.AddrPort) { return p.o.Local, p.o.Remote }

func (p *pipe) established() bool { return p.o.Established == nil || p.o.Established() }

func (p *pipe) setIdle(d time.Duration) { p.idle.Store(int64(d)) }

func (p *pipe) send(_ Flow, b []byte) error {
	if p.closed.Load() {
		return ErrClosed
	}
	return p.o.Send(b)
}

func (p *pipe) close(reason string) {
	if !p.o.Kind.Reliable() || p.closed.Swap(true) || p.o.Close == nil {
		return
	}
	p.o.Close(reason)
}
