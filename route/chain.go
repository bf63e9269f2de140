package route

import (
	"log/slog"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Handler takes a request: it answers it, hands it on with Next, or does one
// of these later. It must not block.
type Handler interface {
	ServeSIP(r *Request)
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(r *Request)

// ServeSIP calls f.
func (f HandlerFunc) ServeSIP(r *Request) { f(r) }

// Step is one place in the chain.
type Step struct {
	Name    string // short, for logs and the manual
	Why     string // why it stands where it stands
	Handler Handler
}

// CoreOptions are what a Core is made of.
type CoreOptions struct {
	Chain []Step // in order; the last one answers everything that reaches it
	// Closed is told of every connection that is gone, in this order: the
	// registrar's bindings, trust in auth, subscriptions.
	Closed     []func(f transport.Flow, err error)
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: not registered
}

// Core is the transaction user of the server: it runs the chain for each
// request and each ACK. It implements transaction.Handler and starts nothing.
type Core struct {
	chain   []Step
	closed  []func(transport.Flow, error)
	log     *slog.Logger
	metrics *coreMetrics
}

var _ transaction.Handler = (*Core)(nil)

// NewCore makes a Core.
func NewCore(o CoreOptions) *Core {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Core{chain: o.Chain, closed: o.Closed, log: o.Log, metrics: newCoreMetrics(o.Registerer)}
}

// Request runs the chain for a new request.
func (c *Core) Request(tx *transaction.Server) {
	m := tx.Request()
	c.metrics.requests.WithLabelValues(methodLabel(m.Method())).Inc()
	c.run(NewRequest(m, tx, tx.Flow(), c.chain))
}

// Ack runs the chain for an ACK that belongs to a 2xx. RFC 3261 §13.2.2.4.
func (c *Core) Ack(m *sip.Message, f transport.Flow) {
	c.metrics.requests.WithLabelValues(sip.ACK).Inc()
	c.run(NewRequest(m, nil, f, c.chain))
}

// Stray drops a response that belongs to no transaction.
// RFC 6026 §8.9: a proxy must not forward stray responses.
func (c *Core) Stray(*sip.Message, transport.Flow) { c.metrics.stray.Inc() }

// Closed tells everyone interested that a connection is gone.
func (c *Core) Closed(f transport.Flow, err error) {
	for _, fn := range c.closed {
		fn(f, err)
	}
}

// run is the top of a request's life, and the only place that recovers: a
// mistake of ours with one request must not take the server down.
func (c *Core) run(r *Request) {
	defer func() {
		if p := recover(); p != nil {
			c.metrics.panics.Inc()
			c.log.Error("request handler panicked", "panic", p, "call_id", cut(r.Msg.CallID()), "stack", string(debug.Stack()))
			r.Reply(500, "")
		}
	}()
	r.Next()
}

// cut bounds what a peer can make us log.
func cut(s string) string {
	if len(s) > 128 {
		return s[:128]
	}
	return s
}
