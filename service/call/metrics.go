package call

import "github.com/prometheus/client_golang/prometheus"

// metrics of this package; none has labels.
type metrics struct {
	started, answered, texts, quiet prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Service) *metrics {
	m := &metrics{
		started:  prometheus.NewCounter(prometheus.CounterOpts{Namespace: "parley", Subsystem: "call", Name: "started_total", Help: "Calls that were recorded and rang."}),
		answered: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "parley", Subsystem: "call", Name: "answered_total", Help: "Calls that were answered."}),
		texts:    prometheus.NewCounter(prometheus.CounterOpts{Namespace: "parley", Subsystem: "call", Name: "texts_total", Help: "Records of what was said in a call after its beginning."}),
		quiet:    prometheus.NewCounter(prometheus.CounterOpts{Namespace: "parley", Subsystem: "call", Name: "quiet_total", Help: "Calls that did not ring because the callee did not want to be disturbed."}),
	}
	reg.MustRegister(m.started, m.answered, m.texts, m.quiet, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "parley", Subsystem: "call", Name: "open", Help: "Calls ringing or going on.",
	}, func() float64 { return float64(s.Open()) }))
	return m
}
