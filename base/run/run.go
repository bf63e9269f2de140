// Package run keeps the goroutines of a program: each part has a name, an owner and an end.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/pprof"
	"time"
)

// ErrEnded is wrapped by Serve's error when a part returned nil although nobody asked it to stop.
var ErrEnded = errors.New("ended by itself")

// Group runs parts together. Add them in the order in which they depend on each other, the ground first; then call Serve
// once. A Group is not for concurrent use.
type Group struct {
	log   *slog.Logger
	grace time.Duration
	parts []*part
}

type part struct {
	name   string
	serve  func(context.Context) error
	cancel context.CancelFunc
	done   chan struct{} // closed when serve has returned and err is set
	err    error
}

// New makes an empty group. Grace is how long all parts together may take to stop; after it Serve names the
// part that hangs, cancels the rest and returns. Zero means for ever.
func New(log *slog.Logger, grace time.Duration) *Group {
	return &Group{log: log, grace: grace}
}

// Add puts a part at the end of the group. Serve must block until everything it started is gone, and return soon after
// its context ends; the context's own error is then not a failure.
func (g *Group) Add(name string, serve func(context.Context) error) {
	g.parts = append(g.parts, &part{name: name, serve: serve, done: make(chan struct{})})
}

// Serve starts every part and blocks. When ctx ends, or any part returns, it stops the parts one by one in the reverse
// order, so that a part always outlives those added after it. It returns the error of the part that ended first, nil if
// that was ctx and all parts ended well.
func (g *Group) Serve(ctx context.Context) error {
	ended := make(chan *part, len(g.parts))
	for _, p := range g.parts {
		// A part must not see ctx end before its turn, but keeps ctx's values.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		p.cancel = cancel
		go pprof.Do(own, pprof.Labels("part", p.name), func(own context.Context) {
			p.err = p.serve(own)
			ended <- p
			close(p.done)
		})
	}
	if len(g.parts) == 0 {
		<-ctx.Done()
		return nil
	}
	var first error
	select {
	case <-ctx.Done():
	case p := <-ended:
		first = p.err
		if first == nil {
			first = ErrEnded
		}
		first = fmt.Errorf("%s: %w", p.name, first)
		g.log.Error("a part of the server ended, stopping the rest", "part", p.name, "err", first)
	}
	return errors.Join(first, g.stop(first != nil))
}

// stop ends the parts in reverse order. Failed says that the reason is known already, so that errors which follow from
// it are only logged.
func (g *Group) stop(failed bool) error {
	var expired <-chan time.Time
	if g.grace > 0 {
		t := time.NewTimer(g.grace)
		defer t.Stop()
		expired = t.C
	}
	var errs []error
	for i := len(g.parts) - 1; i >= 0; i-- {
		p := g.parts[i]
		p.cancel()
		select {
		case <-p.done:
		case <-expired:
			for _, rest := range g.parts[:i] {
				rest.cancel()
			}
			return errors.Join(append(errs, fmt.Errorf("run: %s has not stopped, gave up after %v", p.name, g.grace))...)
		}
		if p.err == nil || errors.Is(p.err, context.Canceled) {
			continue
		}
		if failed {
			g.log.Debug("a part ended with an error while stopping", "part", p.name, "err", p.err)
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", p.name, p.err))
	}
	return errors.Join(errs...)
}
