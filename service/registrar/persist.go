package registrar

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transport"
)

const (
	flushBatch = 1000            // bindings in one transaction
	flushRetry = 2 * time.Second // after the store failed
	flushLast  = 3 * time.Second // for what is left at the end
)

// dirty is what the store does not know yet: for each binding its last state, nil when it
// is gone. It is bounded by the number of bindings.
type dirty struct {
	mu      sync.Mutex
	changed map[store.BindingKey]*Binding
	wake    chan struct{}
}

func (d *dirty) put(b *Binding) { d.set(b, b) }
func (d *dirty) del(b *Binding) { d.set(b, nil) }

func (d *dirty) set(b, state *Binding) {
	d.mu.Lock()
	d.changed[store.BindingKey{AOR: b.AOR, Key: b.Key}] = state
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// take removes up to a batch.
func (d *dirty) take() map[store.BindingKey]*Binding {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.changed) <= flushBatch {
		list := d.changed
		d.changed = make(map[store.BindingKey]*Binding)
		return list
	}
	list := make(map[store.BindingKey]*Binding, flushBatch)
	for k, b := range d.changed {
		list[k] = b
		delete(d.changed, k)
		if len(list) == flushBatch {
			break
		}
	}
	return list
}

// giveBack puts a batch back that could not be written, except where something newer is.
func (d *dirty) giveBack(list map[store.BindingKey]*Binding) {
	d.mu.Lock()
	for k, b := range list {
		if _, newer := d.changed[k]; !newer {
			d.changed[k] = b
		}
	}
	d.mu.Unlock()
}

func (d *dirty) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.changed)
}

// writeBehind writes changes until ctx ends, and then what is left.
func (s *Registrar) writeBehind(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLast)
			defer cancel()
			for s.dirty.len() > 0 {
				if err := s.flush(last); err != nil {
					s.log.Error("bindings not written at the end", "err", err, "count", s.dirty.len())
					return
				}
			}
			return
		case <-s.dirty.wake:
		}
		// A moment later there is more to write in one transaction.
		pause.Reset(s.o.FlushEvery)
		select {
		case <-ctx.Done():
			continue
		case <-pause.C:
		}
		for s.dirty.len() > 0 && ctx.Err() == nil {
			if err := s.flush(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("bindings not written, will try again", "err", err, "count", s.dirty.len())
				pause.Reset(flushRetry)
				select {
				case <-ctx.Done():
				case <-pause.C:
				}
			}
		}
	}
}

// flush writes one batch.
func (s *Registrar) flush(ctx context.Context) error {
	list := s.dirty.take()
	put := make([]store.Binding, 0, len(list))
	var del []store.BindingKey
	for k, b := range list {
		if b == nil {
			del = append(del, k)
		} else {
			put = append(put, b.Stored())
		}
	}
	start := time.Now()
	if err := s.o.Store.SaveBindings(ctx, put, del); err != nil {
		s.metrics.flushFailed.Inc()
		s.dirty.giveBack(list)
		return err
	}
	s.metrics.flush.Observe(time.Since(start).Seconds())
	return nil
}

// Load reads the bindings of the store. Call it once, before requests come in. Those on
// UDP are reachable at once; those that came on a connection are as soon as their device
// connects again, or when their contact can be connected to.
func (s *Registrar) Load(ctx context.Context) error {
	list, err := s.o.Store.LoadBindings(ctx)
	if err != nil {
		return fmt.Errorf("registrar: loading bindings: %w", err)
	}
	now := s.now()
	bindings := parseAll(list)
	s.contacts.refs = make(map[string][]ref, len(list))
	s.gruu.epochs = make(map[uint64]device, len(list))
	dues := make([]due, 0, len(list))
	for i, b := range bindings {
		if b == nil || !b.Expires.After(now) {
			s.dirty.del(&Binding{AOR: list[i].AOR, Key: list[i].Key})
			continue
		}
		if b.Transport == transport.UDP.String() {
			b.Flow, _ = s.o.UDPFlow(b.Local, b.Remote)
		}
		sh := s.shard(b.AOR)
		sh.mu.Lock()
		e := sh.entries[b.AOR]
		if e == nil {
			e = &entry{}
			sh.entries[b.AOR] = e
		}
		b.due = b.Expires
		e.bindings = append(e.bindings, b)
		s.contacts.add(b)
		s.restoreEpoch(e, b)
		sh.mu.Unlock()
		dues = append(dues, due{b.Expires, ref{b.AOR, b.Key}})
	}
	s.total.Add(int64(len(dues)))
	s.expiry.fill(dues)
	s.log.Info("bindings loaded", "count", len(dues))
	return nil
}

// parseAll restores all on all cores; what makes no sense is nil.
func parseAll(list []store.Binding) []*Binding {
	out := make([]*Binding, len(list))
	var wg sync.WaitGroup
	per := len(list)/runtime.GOMAXPROCS(0) + 1
	for from := 0; from < len(list); from += per {
		wg.Go(func() {
			for i := from; i < min(from+per, len(list)); i++ {
				if b, ok := restored(&list[i]); ok {
					out[i] = b
				}
			}
		})
	}
	wg.Wait()
	return out
}

// restoreEpoch makes the temporary GRUUs of a binding valid again: of several bindings of
// one instance the one that was refreshed last knows best.
func (s *Registrar) restoreEpoch(e *entry, b *Binding) {
	if b.Instance == "" || b.temp.epoch == 0 {
		return
	}
	for _, other := range e.bindings {
		if other != b && other.Instance == b.Instance && other.Updated.After(b.Updated) {
			return
		}
	}
	if old := e.temps.of(b.Instance); old.epoch != b.temp.epoch {
		s.gruu.end(old)
	}
	e.temps = e.temps.with(b.Instance, b.temp)
	s.gruu.restore(device{b.AOR, b.Instance}, b.temp)
}
