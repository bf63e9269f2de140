package message

import (
	"context"
	"sync"
)

// readers are the goroutines that wait for the database, so that shards do not. What is queued is bounded by the
// number of people: a mailbox has one load and a device one read under way.
type readers struct {
	mu    sync.Mutex // guards queue
	queue []func(context.Context)
	wake  chan struct{}
}

const readerCount = 4

func newReaders() *readers {
	return &readers{wake: make(chan struct{}, readerCount)}
}

// do queues f for one of the goroutines. It never blocks.
func (r *readers) do(f func(context.Context)) {
	r.mu.Lock()
	r.queue = append(r.queue, f)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *readers) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	for range readerCount {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-r.wake:
				}
				for f := r.take(); f != nil && ctx.Err() == nil; f = r.take() {
					f(ctx)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func (r *readers) take() func(context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		r.queue = nil
		return nil
	}
	f := r.queue[0]
	r.queue = r.queue[1:]
	return f
}
