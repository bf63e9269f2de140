package dialog

import "github.com/prometheus/client_golang/prometheus"

// metrics of one event package; the constant label "event" is its name.
type metrics struct {
	created, refused, notifies, lost prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, event string, count, waiting func() int) *metrics {
	labels := prometheus.Labels{"event": event}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
	}
	m := &metrics{
		created:  counter("parley_subscriptions_created_total", "Subscriptions accepted."),
		refused:  counter("parley_subscriptions_refused_total", "Subscriptions refused because of a limit."),
		notifies: counter("parley_notifies_total", "NOTIFY requests sent."),
		lost:     counter("parley_subscriptions_lost_total", "Subscriptions ended because a NOTIFY failed."),
	}
	if reg != nil {
		reg.MustRegister(m.created, m.refused, m.notifies, m.lost, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_subscriptions", Help: "Subscriptions that exist.", ConstLabels: labels},
			func() float64 { return float64(count()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "parley_notifies_waiting", Help: "Subscriptions whose NOTIFY waits because of the rate.", ConstLabels: labels},
				func() float64 { return float64(waiting()) }))
	}
	return m
}
