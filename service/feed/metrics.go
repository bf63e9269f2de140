package feed

import "github.com/prometheus/client_golang/prometheus"

// metrics of event streams; none has labels.
type metrics struct {
	opened, events, read, missed, resets, lagged prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, h *Hub) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_feed_" + name, Help: help})
	}
	m := &metrics{
		opened: counter("opened_total", "Event streams that were opened."),
		events: counter("events_total", "Events taken by streams."),
		read:   counter("read_total", "Records read from the log for all streams together."),
		missed: counter("missed_total", "Events read from the log for one stream, because it was away or slow."),
		resets: counter("resets_total", "Streams that had missed too much and had to load anew."),
		lagged: counter("lagged_total", "Times at which a stream was too slow for its queue and went back to the log."),
	}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.opened, m.events, m.read, m.missed, m.resets, m.lagged,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "parley_feed_streams", Help: "Event streams that are open."},
			func() float64 { return float64(h.open.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "parley_feed_sessions", Help: "Sessions that have a stream open, or had one a moment ago."},
			func() float64 {
				h.mu.Lock()
				defer h.mu.Unlock()
				return float64(len(h.sessions))
			}))
	return m
}
