package session

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// When what is noted of sessions is written, and how much at a time.
const (
	writeEvery = 30 * time.Second
	writeAfter = time.Minute // since the last time for a session
	sweepEvery = 10 * time.Minute
	together   = 500
)

// Serve writes the last use of sessions from time to time and ends those that expire, until ctx ends.
func (s *Service) Serve(ctx context.Context) error {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	swept := time.Time{}
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			s.write(last, 0)
			return nil
		case <-tick.C:
			s.write(ctx, writeAfter)
			if now := s.o.Now(); now.Sub(swept) >= sweepEvery {
				swept = now
				s.sweep(ctx, now)
			}
		}
	}
}

// write writes the last use of sessions that was not written for so long.
func (s *Service) write(ctx context.Context, after time.Duration) {
	now := s.o.Now()
	used := map[string]store.SessionUse{}
	flush := func() bool {
		if len(used) == 0 {
			return true
		}
		err := s.o.Store.TouchSessions(ctx, used)
		if err != nil {
			s.o.Log.Debug("last use of sessions not written", "err", err)
		}
		clear(used)
		return err == nil
	}
	var due []*entry
	s.mu.Lock()
	for _, e := range s.byHash {
		if e.used && now.Sub(e.written) >= after {
			due = append(due, e)
		}
	}
	s.mu.Unlock()
	for len(due) > 0 {
		part := due[:min(together, len(due))]
		due = due[len(part):]
		s.mu.Lock()
		for _, e := range part {
			used[e.ID] = store.SessionUse{Seen: e.Seen, Expires: e.Expires, Address: e.Address}
			e.used, e.written = false, now
		}
		s.mu.Unlock()
		if !flush() {
			s.mu.Lock()
			for _, e := range part {
				e.used = true
			}
			s.mu.Unlock()
			return
		}
	}
}

// sweep ends what has expired, and forgets what was not used lately: it is in the store.
func (s *Service) sweep(ctx context.Context, now time.Time) {
	s.mu.Lock()
	for _, e := range s.byHash {
		if !e.used && now.Sub(e.Seen) > 2*sweepEvery {
			s.drop(e)
		}
	}
	s.mu.Unlock()
	over, err := s.o.Store.SweepSessions(ctx, now)
	if err != nil {
		s.o.Log.Debug("expired sessions not removed", "err", err)
	}
	for i := range over {
		s.Gone(over[i].AOR, over[i].ID)
		s.o.Ended(over[i].AOR, over[i].ID, "", "the session was not used for too long")
	}
}

type metrics struct{ signIns *prometheus.CounterVec }

func newMetrics(reg prometheus.Registerer, s *Service) *metrics {
	m := &metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "parley_session_sign_ins_total", Help: "Attempts to sign in over HTTP, by what came of them.",
	}, []string{"result"})}
	if reg != nil {
		reg.MustRegister(m.signIns, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_sessions_cached", Help: "Sessions over HTTP that were used lately.",
		}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(len(s.byHash))
		}))
	}
	return m
}

func (m *metrics) signIn(err error) { m.signIns.WithLabelValues(errs.KindOf(err).String()).Inc() }
