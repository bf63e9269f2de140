package presence

import "github.com/prometheus/client_golang/prometheus"

// metrics of the presence agent.
type metrics struct {
	changes, rendered, published prometheus.Counter
	// refused has the label "why": foreign (for somebody else), stale (412), brief (423), type (415), large (413), malformed
	// (400), limit, entries (of lists).
	refused *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, s *Service) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		changes:   counter("parley_presence_changes_total", "Changes of the availability of people."),
		rendered:  counter("parley_presence_documents_total", "Documents written: one for each change and level of those who watch."),
		published: counter("parley_presence_published_total", "PUBLISH requests that were accepted."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_presence_refused_total",
			Help: "PUBLISH requests and lists that were refused."}, []string{"why"}),
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, f func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	reg.MustRegister(m.changes, m.rendered, m.published, m.refused,
		gauge("parley_presence_people", "People who have a state or are watched.", func() float64 { return float64(s.table.len()) }),
		gauge("parley_presence_publications", "Publications that are held.", func() float64 { return float64(s.publish.count.Load()) }),
		gauge("parley_presence_published_bytes", "Bytes of the publications that are held.", func() float64 { return float64(s.publish.bytes.Load()) }),
		gauge("parley_presence_list_entries", "Entries of lists that are watched.", func() float64 { return float64(s.lists.len()) }),
		gauge("parley_presence_queue", "People whose state is to be composed.", func() float64 { return float64(s.queued()) }),
		gauge("parley_presence_jobs", "Things that wait for the store.", func() float64 { return float64(s.jobs.len()) }),
	)
	return m
}

func (s *Service) queued() int {
	n := 0
	for _, q := range s.queues {
		n += q.len()
	}
	return n
}
