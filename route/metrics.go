package route

import (
	"github.com/prometheus/client_golang/prometheus"
)

// coreMetrics counts what enters the chain.
type coreMetrics struct {
	requests *prometheus.CounterVec // method: the 14 standard ones, or "other"
	stray    prometheus.Counter
	panics   prometheus.Counter
}

func newCoreMetrics(reg prometheus.Registerer) *coreMetrics {
	m := &coreMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_route_requests_total", Help: "Requests that entered the chain, by method."}, []string{"method"}),
		stray: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "parley_route_stray_responses_total", Help: "Responses that belonged to no transaction and were dropped."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "parley_route_panics_total", Help: "Requests whose handler panicked."}),
	}
	register(reg, m.requests, m.stray, m.panics)
	return m
}

// proxyMetrics counts what is forwarded.
type proxyMetrics struct {
	branches prometheus.Counter
	active   prometheus.Gauge
	finals   *prometheus.CounterVec // class: 2xx…6xx, none
	flows    *prometheus.CounterVec // result of mid-dialog routing: flow, reached, lost
}

func newProxyMetrics(reg prometheus.Registerer) *proxyMetrics {
	m := &proxyMetrics{
		branches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "parley_proxy_branches_total", Help: "Client transactions started for forwarded requests."}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "parley_proxy_contexts", Help: "Response contexts that wait for a final response."}),
		finals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_proxy_finals_total", Help: "Final responses sent upstream, by class."}, []string{"class"}),
		flows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_proxy_dialog_hops_total", Help: "How the next hop inside dialogs was found: flow, reached, lost."}, []string{"result"}),
	}
	register(reg, m.branches, m.active, m.finals, m.flows)
	return m
}

func register(reg prometheus.Registerer, cs ...prometheus.Collector) {
	if reg == nil {
		return
	}
	for _, c := range cs {
		reg.MustRegister(c)
	}
}

// methodLabel keeps labels few, whatever peers send.
func methodLabel(m string) string {
	if standardMethod(m) {
		return m
	}
	return "other"
}

var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx"}

func classLabel(status int) string {
	if status < 100 || status > 699 {
		return "none"
	}
	return classes[status/100]
}
