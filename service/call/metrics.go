package call

import "github.com/prometheus/client_golang/prometheus"

// metrics of this package; none has labels.
type metrics struct {
	started, answered prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Service) *metrics {
	m := &metrics{
		started:  prometheus.NewCounter(prometheus.CounterOpts{Namespace: "parley", Subsystem: "call", Name: "started_total", Help: "Calls that were recorded and rang."}),
		answered: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "parley", Subsystem: "call", Name: "answered_total", Help: "Calls that were answered."}),
	}
	reg.MustRegister(m.started, m.answered, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "parley", Subsystem: "call", Name: "open", Help: "Calls ringing or going on.",
	}, func() float64 { return float64(s.Open()) }))
	return m
}
