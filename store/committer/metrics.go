package committer

import "github.com/prometheus/client_golang/prometheus"

// metrics of one committer. Label values of result: "ok", "busy", "unavailable", "invalid"; of what: "commit", "recover",
// "void".
type metrics struct {
	appendSeconds prometheus.Histogram
	appends       *prometheus.CounterVec
	batchRecords  prometheus.Histogram
	commitSeconds prometheus.Histogram
	queueRecords  prometheus.Gauge
	queueBytes    prometheus.Gauge
	retries       prometheus.Counter
	failures      *prometheus.CounterVec
	recoveries    prometheus.Counter
	voids         prometheus.Counter
	head          prometheus.Gauge

	reg prometheus.Registerer // nil: not registered
	all []prometheus.Collector
}

// newMetrics makes and registers them; reg may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	seconds := []float64{.0002, .0005, .001, .002, .003, .005, .01, .02, .05, .1, .2, .5, .8, 1, 5}
	m := &metrics{
		appendSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "parley_log_append_seconds",
			Help: "Time from appending a record until it was durable or refused.", Buckets: seconds}),
		appends: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_log_appends_total",
			Help: "Records appended, by result."}, []string{"result"}),
		batchRecords: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "parley_log_batch_records",
			Help: "Records in one commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 13)}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "parley_log_commit_seconds",
			Help: "Duration of one commit with its sync.", Buckets: seconds}),
		queueRecords: prometheus.NewGauge(prometheus.GaugeOpts{Name: "parley_log_queue_records",
			Help: "Records that wait to be durable or for their callback."}),
		queueBytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "parley_log_queue_bytes",
			Help: "Memory held by these records."}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_log_retries_total",
			Help: "Commits that were tried again because the database was locked, full or busy."}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_log_failures_total",
			Help: "Input/output errors, failed syncs and lost connections, by what was being done."}, []string{"what"}),
		recoveries: prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_log_recoveries_total",
			Help: "Times the log was brought back to a known state after a failure."}),
		voids: prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_log_voids_total",
			Help: "Records that became durable after their sender was told otherwise, and were voided."}),
		head: prometheus.NewGauge(prometheus.GaugeOpts{Name: "parley_log_head",
			Help: "Sequence number of the last durable record."}),
	}
	m.all = []prometheus.Collector{m.appendSeconds, m.appends, m.batchRecords, m.commitSeconds, m.queueRecords, m.queueBytes,
		m.retries, m.failures, m.recoveries, m.voids, m.head}
	if m.reg = reg; reg != nil {
		reg.MustRegister(m.all...)
	}
	return m
}

// close takes the metrics back, so that the log can be opened again.
func (m *metrics) close() {
	if m.reg != nil {
		for _, c := range m.all {
			m.reg.Unregister(c)
		}
	}
}
