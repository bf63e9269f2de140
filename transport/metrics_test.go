package transport

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func metric(t testing.TB, c prometheus.Collector) float64 {
	t.Helper()
	return testutil.ToFloat64(c)
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	l := serve(t, Options{UDP: []string{"127.0.0.1:0"}, Registerer: r}, responder())
	exchange(t, dialUDP(t, l.Addrs(UDP)[0]), "a")
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if n := metric(t, l.metrics.messages[UDP][in]); n != 1 {
		t.Errorf("%v messages in", n)
	}
	if _, err := Listen(Options{Registerer: r}); err == nil {
		t.Error("the same metrics were registered twice")
	}
}
