package sqlstore

import "github.com/prometheus/client_golang/prometheus"

// metrics of one store beside the committer's. They have no labels.
type metrics struct {
	checkpointFailures prometheus.Counter
	indexPosition      prometheus.Gauge
	indexLagSeconds    prometheus.Gauge
	indexRebuilds      prometheus.Counter
	missing            prometheus.Counter
	damaged            prometheus.Counter

	reg prometheus.Registerer // nil: not registered
	all []prometheus.Collector
}

// newMetrics makes and registers them; reg may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		checkpointFailures: prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_store_checkpoint_failures_total",
			Help: "Checkpoints of SQLite files that failed; when the sync failed the process ends, or makes the index again."}),
		indexPosition: prometheus.NewGauge(prometheus.GaugeOpts{Name: "parley_index_position",
			Help: "Sequence number up to which the log is indexed."}),
		indexLagSeconds: prometheus.NewGauge(prometheus.GaugeOpts{Name: "parley_index_lag_seconds",
			Help: "Age of the oldest durable record that was not indexed when the indexer last looked."}),
		indexRebuilds: prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_index_rebuilds_total",
			Help: "Times the index was thrown away and made again from the log."}),
		missing: prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_store_missing_records_total",
			Help: "Records, at least, that were acknowledged and were missing from the log when the server started; the log says which."}),
		damaged: prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_store_damaged_records_total",
			Help: "Records that were found damaged on the disk since the start."}),
	}
	m.all = []prometheus.Collector{m.checkpointFailures, m.indexPosition, m.indexLagSeconds, m.indexRebuilds, m.missing, m.damaged}
	if m.reg = reg; reg != nil {
		reg.MustRegister(m.all...)
	}
	return m
}

// close takes the metrics back, so that the store can be opened again.
func (m *metrics) close() {
	if m.reg != nil {
		for _, c := range m.all {
			m.reg.Unregister(c)
		}
	}
}
