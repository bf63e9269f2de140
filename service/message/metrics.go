package message

import "github.com/prometheus/client_golang/prometheus"

// metrics of this package; none has labels.
type metrics struct {
	recorded, unrecorded, refused, repeats, delivered, deviceRefused, typing, quiet prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, w *repeats) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "parley", Subsystem: "message", Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "parley", Subsystem: "message", Name: "repeat_keys", Help: "Keys held to recognise repeated messages.",
	}, func() float64 { return float64(w.size()) }))
	return &metrics{
		recorded:      counter("recorded_total", "Messages and receipts recorded in the log."),
		unrecorded:    counter("unrecorded_total", "Messages refused because they could not be recorded."),
		refused:       counter("refused_total", "Messages refused for what they are or to whom they go."),
		repeats:       counter("repeats_total", "Messages recognised as repeats of recorded ones."),
		delivered:     counter("delivered_total", "Deliveries that a device took."),
		deviceRefused: counter("device_refused_total", "Deliveries that a device refused for good."),
		typing:        counter("typing_total", "Typing notices passed on."),
		quiet:         counter("quiet_total", "Deliveries made non-urgent, and typing notices not passed on, because their receiver did not want to be disturbed."),
	}
}
