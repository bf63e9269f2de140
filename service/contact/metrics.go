package contact

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	bytes prometheus.Gauge
	reads prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "parley_contact_cache_bytes", Help: "Lists of contacts in memory, estimated."}),
		reads: prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_contact_reads_total", Help: "Lists of contacts read from the store."}),
	}
	if r != nil {
		r.MustRegister(m.bytes, m.reads)
	}
	return m
}
