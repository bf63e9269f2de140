package auth

import "github.com/prometheus/client_golang/prometheus"

// The values of the label "result" of parley_auth_requests_total.
const (
	resultOK         = "ok"         // a fresh digest was right
	resultTrusted    = "trusted"    // taken on the word of the connection
	resultChallenged = "challenged" // came without credentials of ours
	resultStale      = "stale"      // the nonce was old, unknown, or its nc was used
	resultWrong      = "wrong"      // wrong password or unknown user
	resultLocked     = "locked"     // refused after too many wrong passwords
	resultRefused    = "refused"    // algorithm, URI or form that is not accepted
	resultForbidden  = "forbidden"  // the password is right, the account is disabled
	resultFailed     = "failed"     // the store did not answer, or too much waits
)

type metrics struct {
	requests *prometheus.CounterVec
	// Those of requests that nearly all requests count for.
	trusted, ok, challenged prometheus.Counter

	lookup prometheus.Histogram
	broken prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_auth_requests_total", Help: "Requests whose sender was asked for, by what came of it.",
		}, []string{"result"}),
		lookup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "parley_auth_lookup_duration_seconds", Help: "Time to read one account from the store.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8),
		}),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "parley_auth_unreadable_secrets_total", Help: "Stored passwords that do not open with the key of this server.",
		}),
	}
	m.trusted, m.ok = m.requests.WithLabelValues(resultTrusted), m.requests.WithLabelValues(resultOK)
	m.challenged = m.requests.WithLabelValues(resultChallenged)
	return m
}

// register adds the metrics of an authenticator to r.
func (m *metrics) register(r prometheus.Registerer, a *Authenticator) {
	if r == nil {
		return
	}
	r.MustRegister(m.requests, m.lookup, m.broken,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_auth_nonces", Help: "Used nonces that are remembered against replay.",
		}, func() float64 { return float64(a.used.len()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_auth_accounts_cached", Help: "Accounts held in memory.",
		}, func() float64 { return float64(a.accounts.size()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_auth_lookups_waiting", Help: "Accounts that wait to be read from the store.",
		}, func() float64 { return float64(len(a.accounts.queue)) }),
	)
}
