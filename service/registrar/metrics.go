package registrar

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	registers   *prometheus.CounterVec
	events      *prometheus.CounterVec
	flush       prometheus.Histogram
	flushFailed prometheus.Counter
	dropped     prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		// result: ok, query, or the status code that refused.
		registers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_registrar_requests_total", Help: "REGISTER requests of signed-in users, by what came of them.",
		}, []string{"result"}),
		// event: registered, refreshed, unregistered, expired, disconnected, removed, replaced.
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_registrar_events_total", Help: "Changes of bindings.",
		}, []string{"event"}),
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "parley_registrar_flush_duration_seconds", Help: "Time to write one batch of bindings.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 7),
		}),
		flushFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "parley_registrar_flush_failures_total", Help: "Batches of bindings that the store did not take; they are tried again.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "parley_registrar_events_dropped_total", Help: "Changes that watchers were not told of because too many waited.",
		}),
	}
}

func (m *metrics) register(r prometheus.Registerer, s *Registrar) {
	if r == nil {
		return
	}
	r.MustRegister(m.registers, m.events, m.flush, m.flushFailed, m.dropped,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_registrar_bindings", Help: "Registered contacts.",
		}, func() float64 { return float64(s.total.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_registrar_unwritten", Help: "Changes of bindings that wait to be written to the store.",
		}, func() float64 { return float64(s.dirty.len()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_registrar_events_waiting", Help: "Changes of bindings that watchers have not been told of yet.",
		}, func() float64 { return float64(s.queue.len()) }),
	)
}
