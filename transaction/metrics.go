package transaction

import "github.com/prometheus/client_golang/prometheus"

// metrics of the layer. Everything is resolved once, so that counting costs an atomic addition.
type metrics struct {
	created struct{ inviteServer, server, inviteClient, client prometheus.Counter }
	// request: an INVITE or other request came again. response: a response of ours was sent again. sent: a request of ours
	// was sent again. received: a final response came again.
	retransmitted struct{ request, response, sent, received prometheus.Counter }
	// client: timers B and F. ack: timer H. unanswered: our core never answered.
	timeouts        struct{ client, ack, unanswered prometheus.Counter }
	transportErrors struct{ client, server, stateless prometheus.Counter }
	// Messages that belong to nothing. foreign: a response without a genuine branch of ours. late: its transaction has
	// ended. mismatched: another method, sent-by or loop part than that transaction's. ack: for a stateless response. And
	// queue: a datagram of ours for which the transport had no room.
	dropped   struct{ malformed, foreign, late, mismatched, ack, queue prometheus.Counter }
	stateless struct{ overload, malformed, cancel200, cancel481 prometheus.Counter }
	// Responses not sent to an unproven UDP source. size: more than three times the request. count: no request left to
	// answer.
	withheld struct{ size, count prometheus.Counter }
	// Large requests. changed: to TCP. fellback: to UDP again. stayed: on UDP, TCP was not to be had.
	tooLarge       struct{ changed, fellBack, stayed prometheus.Counter }
	suppressed4320 prometheus.Counter
	connectedBack  prometheus.Counter
	refused        prometheus.Counter
	evicted        prometheus.Counter
	panics         prometheus.Counter
}

// newMetrics makes the metrics and registers them, unless r is nil. Label values: side is server or client; method is
// invite or other; kind and reason are the fields of the same name above.
func newMetrics(r prometheus.Registerer, l *Layer) *metrics {
	const ns, sub = "parley", "transaction"
	var all []prometheus.Collector
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
		all = append(all, v)
		return v
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
		all = append(all, c)
		return c
	}
	gauge := func(name, help, side string, f func() float64) {
		o := prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}
		if side != "" {
			o.ConstLabels = prometheus.Labels{"side": side}
		}
		all = append(all, prometheus.NewGaugeFunc(o, f))
	}

	m := &metrics{}
	v := vec("created_total", "Transactions begun, by side and method.", "side", "method")
	m.created.inviteServer, m.created.server = v.WithLabelValues("server", "invite"), v.WithLabelValues("server", "other")
	m.created.inviteClient, m.created.client = v.WithLabelValues("client", "invite"), v.WithLabelValues("client", "other")

	v = vec("retransmissions_total", "Messages sent or received once more, by kind.", "kind")
	m.retransmitted.request, m.retransmitted.response = v.WithLabelValues("request"), v.WithLabelValues("response")
	m.retransmitted.sent, m.retransmitted.received = v.WithLabelValues("sent"), v.WithLabelValues("received")

	v = vec("timeouts_total", "Transactions that ended for want of a message, by kind.", "kind")
	m.timeouts.client, m.timeouts.ack = v.WithLabelValues("client"), v.WithLabelValues("ack")
	m.timeouts.unanswered = v.WithLabelValues("unanswered")

	v = vec("transport_errors_total", "Messages that could not be sent, by side.", "side")
	m.transportErrors.client, m.transportErrors.server = v.WithLabelValues("client"), v.WithLabelValues("server")
	m.transportErrors.stateless = v.WithLabelValues("stateless")

	v = vec("dropped_total", "Messages that came to nothing, by reason.", "reason")
	m.dropped.malformed, m.dropped.foreign = v.WithLabelValues("malformed"), v.WithLabelValues("foreign")
	m.dropped.late, m.dropped.mismatched = v.WithLabelValues("late"), v.WithLabelValues("mismatched")
	m.dropped.ack, m.dropped.queue = v.WithLabelValues("ack"), v.WithLabelValues("queue")

	v = vec("stateless_total", "Requests answered without a transaction, by reason.", "reason")
	m.stateless.overload, m.stateless.malformed = v.WithLabelValues("overload"), v.WithLabelValues("malformed")
	m.stateless.cancel200, m.stateless.cancel481 = v.WithLabelValues("cancel200"), v.WithLabelValues("cancel481")

	v = vec("withheld_total", "Responses not sent to unproven UDP sources, by reason.", "reason")
	m.withheld.size, m.withheld.count = v.WithLabelValues("size"), v.WithLabelValues("count")

	v = vec("large_requests_total", "Requests too large for UDP, by what became of them.", "kind")
	m.tooLarge.changed, m.tooLarge.fellBack = v.WithLabelValues("changed"), v.WithLabelValues("fellback")
	m.tooLarge.stayed = v.WithLabelValues("stayed")

	m.suppressed4320 = counter("suppressed_total", "Responses that RFC 4320 forbids and that were not sent.")
	m.connectedBack = counter("connected_back_total", "Responses sent over a new connection because the old one was gone.")
	m.refused = counter("refused_total", "Requests of ours not sent because of the limit on client transactions.")
	m.evicted = counter("evicted_total", "Answered server transactions that ended early to make room.")
	m.panics = counter("panics_total", "Panics in handlers.")
	const inFlight, inFlightHelp = "in_flight", "Transactions that exist, by side."
	gauge(inFlight, inFlightHelp, "server", func() float64 { return float64(l.servers.count.Load()) })
	gauge(inFlight, inFlightHelp, "client", func() float64 { return float64(l.clients.count.Load()) })
	gauge("timers", "Timers that are set.", "", func() float64 { return float64(l.wheel.len()) })
	if r != nil {
		r.MustRegister(all...)
	}
	return m
}
