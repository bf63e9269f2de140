package transport

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// dropReason is why something that arrived or was to be sent came to nothing.
type dropReason uint8

const (
	dropRate      dropReason = iota // UDP request of an unproven source over its rate
	dropOversize                    // datagram over the limit
	dropMalformed                   // unanswerable
	dropEmpty                       // UDP keep-alive of blanks or zeros
	dropSend                        // the system refused a datagram
	dropAddress                     // connection over the cap of its address
	dropLimit                       // connection over the cap of all
	dropHandshake                   // TLS or WebSocket handshake failed or was too slow
	dropIdle                        // connection idle, or without a greeting
	dropSlow                        // message not complete in time
	dropGarbage                     // stream that is no SIP
	dropWrite                       // peer took nothing in time
	dropDial                        // dial failed
	dropReasons
)

var dropNames = [dropReasons]string{
	"rate", "oversize", "malformed", "empty", "send", "address", "limit", "handshake", "idle", "slow", "garbage", "write", "dial",
}

// metrics of the layer. Labels: kind is udp, tcp, tls, ws or wss; direction is
// in or out; reason is one of dropNames.
type metrics struct {
	connections [kinds][2]prometheus.Gauge
	messages    [kinds][2]prometheus.Counter
	bytes       [kinds][2]prometheus.Counter
	drops       [kinds][dropReasons]prometheus.Counter
	queueFull   [kinds]prometheus.Counter
	malformed   [kinds]prometheus.Counter
	keepalives  [kinds]prometheus.Counter
	panics      prometheus.Counter
	acceptError prometheus.Counter
}

const (
	in  = 0
	out = 1
)

var directions = [2]string{"in", "out"}

// newMetrics makes the metrics, with all label values present from the start,
// and registers them if r is not nil.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	const ns, sub = "parley", "transport"
	kd := []string{"kind", "direction"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	connections := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "connections",
		Help: "Open connections; in: accepted, out: dialled."}, kd)
	messages := counter("messages_total", "SIP messages received and written.", kd...)
	bytes := counter("bytes_total", "Bytes of SIP messages received and written.", kd...)
	drops := counter("drops_total", "Messages and connections that were dropped, by reason.", "kind", "reason")
	queueFull := counter("queue_full_total", "Messages refused because a write queue was full.", "kind")
	malformed := counter("malformed_total", "Messages that could not be parsed.", "kind")
	keepalives := counter("keepalives_total", "Keep-alives answered: CRLF, STUN and WebSocket pings.", "kind")
	m := &metrics{
		panics: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "panics_total",
			Help: "Panics of message handlers that were recovered."}),
		acceptError: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "accept_errors_total",
			Help: "Failures to accept a connection or to read a socket, such as too many open files."}),
	}
	for k := UDP; k < kinds; k++ {
		name := k.String()
		for d, dir := range directions {
			if k.Reliable() {
				m.connections[k][d] = connections.WithLabelValues(name, dir)
			}
			m.messages[k][d] = messages.WithLabelValues(name, dir)
			m.bytes[k][d] = bytes.WithLabelValues(name, dir)
		}
		for reason, text := range dropNames {
			m.drops[k][reason] = drops.WithLabelValues(name, text)
		}
		m.queueFull[k] = queueFull.WithLabelValues(name)
		m.malformed[k] = malformed.WithLabelValues(name)
		m.keepalives[k] = keepalives.WithLabelValues(name)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{connections, messages, bytes, drops, queueFull, malformed, keepalives, m.panics, m.acceptError} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("transport: register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) count(k Kind, direction, size int) {
	m.messages[k][direction].Inc()
	m.bytes[k][direction].Add(float64(size))
}

func (m *metrics) drop(k Kind, why dropReason) { m.drops[k][why].Inc() }
