package main

import (
	"context"
	"time"

	"github.com/parley-im/parley/test/load/gauge"
)

// maxLag is how far the index may be behind the log at the end of a row: a server that leaves work for later shows too
// little processor time.
const maxLag = time.Second

// indexLag is how long the index of a Parley takes to come to where the log is now, in seconds, under the load that goes
// on meanwhile. It is 0 for a server without such metrics, and the time waited if the index did not come that far.
func (t *trial) indexLag(ctx context.Context) float64 {
	began := now()
	m, err := gauge.Scrape(t.target.metrics)
	if err != nil || m == nil {
		return 0
	}
	head := m["parley_log_head"]
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for m["parley_index_position"] < head && now()-began < t.o.drain {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return (now() - began).Seconds()
		}
		if m, err = gauge.Scrape(t.target.metrics); err != nil {
			break
		}
	}
	return (now() - began).Seconds()
}
