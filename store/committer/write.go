package committer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/crashpoint"
)

// Writer is what the committer needs of a database. All methods but Lost are called from one goroutine at a time.
type Writer interface {
	// Commit writes records, and that they void the given seqs (void records only; else nil), in one transaction, and syncs.
	// Gate is called before the step that may make it durable; when it says false nothing is written and ErrDropped
	// returned. On success every Seq is set, ascending without gaps, and the highest is returned.
	Commit(records []*store.Record, voids []int64, gate func() bool) (head int64, err error)
	// Judge says what an error of the other methods means.
	Judge(err error) Verdict
	// Recover brings the database back to a known state: whatever Commit tried before has landed or never will, what has
	// landed is durable, and the database takes writes.
	Recover(ctx context.Context) error
	// Probe writes, in a transaction of its own, something that changes nothing.
	Probe() error
	// Find returns those of the ids that are in the log above base and not void, in ascending order.
	Find(base int64, ids []id.ID) ([]Place, error)
	// Limit is how long the log may stay in an unknown state before the process must end; 0: as long as it takes.
	Limit() time.Duration
	// Lost receives what has failed beside the commits so that only a new process can go on.
	Lost() <-chan error
	Close() error
}

// Place is where a record is in the log.
type Place struct {
	Seq int64
	ID  id.ID
}

// Verdict is what a failure means.
type Verdict uint8

const (
	Again    Verdict = iota // not written, and worth another try soon (locked, full, busy)
	Doubtful                // may have landed, or the database is not to be trusted: recover first
	Fatal                   // the state cannot be recovered by this process
	Poisoned                // not written, and never will be as it is: something is wrong with a record
)

// run is the goroutine that writes. It returns when ctx has ended and nothing waits, or with store.ErrLogLost.
func (c *Committer) run(ctx context.Context) error {
	for {
		batch, err := c.take(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", store.ErrLogLost, err)
		}
		if batch == nil {
			return nil
		}
		switch &batch[0] {
		case &taskProbe[0]:
			err = c.try(ctx)
		default:
			err = c.write(ctx, batch)
			c.pace.records, c.pace.ended = len(batch), time.Now()
		}
		if err != nil {
			return err
		}
	}
}

// try writes nothing of importance, to learn whether the log can be written again.
func (c *Committer) try(ctx context.Context) error {
	err := c.w.Probe()
	if err == nil {
		c.sick.Store(nil)
		return nil
	}
	c.fail(err)
	if c.w.Judge(err) == Doubtful {
		_, err := c.restore(ctx, 0, nil)
		return err
	}
	return nil
}

// write brings a batch into the log, or drops it, or voids it: it returns when one of the three is certain.
func (c *Committer) write(ctx context.Context, batch []entry) error {
	records := make([]*store.Record, len(batch))
	for i := range batch {
		records[i] = batch[i].rec
	}
	base := c.seen.head.Load()
	for try := 0; ; try++ {
		start := time.Now()
		crashpoint.Hit("commit.begin")
		head, err := c.w.Commit(records, nil, c.pointOfNoReturn)
		switch {
		case err == nil:
			c.m.commitSeconds.Observe(time.Since(start).Seconds())
			c.m.batchRecords.Observe(float64(len(batch)))
			return c.settleLanded(ctx, base, batch, records, head)
		case errors.Is(err, ErrDropped):
			c.dropped(store.ErrUnavailable)
			return nil
		}
		c.fail(err)
		switch c.w.Judge(err) {
		case Again:
			if !c.back() {
				c.dropped(store.ErrUnavailable)
				return nil
			}
			if try == 0 {
				c.o.Log.Warn("the log cannot be written at the moment, trying again", "err", err)
			}
			c.m.retries.Inc()
			time.Sleep(min(time.Duration(try+1)*5*time.Millisecond, 50*time.Millisecond))
		case Poisoned:
			if !c.back() {
				c.dropped(store.ErrUnavailable)
				return nil
			}
			if len(batch) == 1 {
				c.o.Log.Error("the database refuses a record", "id", batch[0].rec.ID, "err", err)
				c.dropped(errs.Wrap(errs.Internal, err, "committer: the database refuses the record"))
				return nil
			}
			c.requeue(batch)
			return nil
		default:
			c.m.failures.WithLabelValues("commit").Inc()
			c.o.Log.Error("a commit of the log failed, nothing is acknowledged until it is verified", "err", err)
			head, err := c.restore(ctx, base, records)
			if err != nil {
				return err
			}
			if head > 0 {
				return c.settleLanded(ctx, base, batch, records, head)
			}
			if !c.back() {
				c.dropped(store.ErrUnavailable)
				return nil
			}
		}
	}
}

// settleLanded acknowledges a batch that is durable, or voids it if it was refused meanwhile.
func (c *Committer) settleLanded(ctx context.Context, base int64, batch []entry, records []*store.Record, head int64) error {
	crashpoint.Hit("commit.wake")
	if !c.landed(batch, records, head) {
		return c.void(ctx, base, batch)
	}
	c.o.Landed(records)
	return nil
}

// restore brings the log back to a known state after a failure, and finds out whether records landed: the highest seq of
// them, or 0. It gives up with store.ErrLogLost after the writer's limit, and when ctx ends.
func (c *Committer) restore(ctx context.Context, base int64, records []*store.Record) (head int64, err error) {
	start := time.Now()
	limit := c.w.Limit()
	for try := 0; ; try++ {
		if err = c.w.Recover(ctx); err == nil {
			var found []Place
			if len(records) > 0 {
				found, err = c.w.Find(base, ids(records))
			}
			if err == nil && len(found) != 0 && len(found) != len(records) {
				err = fmt.Errorf("committer: %d of %d records of one transaction are in the log", len(found), len(records))
			}
			if err == nil {
				for i, p := range found { // one transaction gives ascending seqs in the order of its records
					records[i].Seq, head = p.Seq, p.Seq
				}
				// Whether it can be written is not known yet: the next batch tells, or the next probe.
				c.m.recoveries.Inc()
				c.o.Log.Info("the log is in a known state again", "landed", len(found), "tries", try+1)
				return head, nil
			}
		}
		c.fail(err)
		verdict := c.w.Judge(err)
		if verdict == Again {
			start = time.Now() // locked: that says nothing about the disk
		}
		if verdict == Fatal || limit > 0 && time.Since(start) > limit {
			return 0, fmt.Errorf("%w: %w", store.ErrLogLost, err)
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("%w: stopped while it was being verified: %w", store.ErrLogLost, err)
		}
		if try == 0 {
			c.o.Log.Error("the log cannot be verified yet, trying on", "err", err)
		}
		c.m.failures.WithLabelValues("recover").Inc()
		select {
		case <-time.After(min(time.Duration(try+1)*20*time.Millisecond, 500*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

func ids(records []*store.Record) []id.ID {
	list := make([]id.ID, len(records))
	for i, r := range records {
		list[i] = r.ID
	}
	return list
}

// void appends a void record for each record of a batch that has landed although its senders were refused. Readers see
// neither before this is durable, so there is no giving up but with the process.
func (c *Committer) void(ctx context.Context, base int64, batch []entry) error {
	list := make([]id.ID, len(batch))
	for i := range batch {
		list[i] = batch[i].rec.ID
	}
	c.awaitRefusal()
	head, err := c.voidIDs(ctx, base, list)
	if err != nil {
		return err
	}
	c.voided(head)
	return nil
}

// voidIDs voids those of the ids that are in the log above base and not void yet. It returns the highest seq in use after.
func (c *Committer) voidIDs(ctx context.Context, base int64, list []id.ID) (head int64, err error) {
	always := func() bool { return true }
	for try := 0; ; try++ {
		var found []Place
		if found, err = c.w.Find(base, list); err == nil {
			if len(found) == 0 {
				return head, nil
			}
			records, seqs := make([]*store.Record, len(found)), make([]int64, len(found))
			for i, p := range found {
				records[i] = &store.Record{Kind: store.KindVoid, Ref: p.ID,
					Meta: map[string]string{store.MetaReason: "its sender was told that it could not be recorded in time"}}
				if err := Prepare(records[i]); err != nil {
					return 0, err
				}
				seqs[i] = p.Seq
			}
			crashpoint.Hit("void.before")
			if head, err = c.w.Commit(records, seqs, always); err == nil {
				crashpoint.Hit("void.after")
				c.m.voids.Add(float64(len(seqs)))
				c.o.Log.Warn("records that became durable too late were voided", "count", len(seqs))
				return head, nil
			}
		}
		if c.w.Judge(err) == Doubtful {
			c.m.failures.WithLabelValues("void").Inc()
			// Whether the void records landed shows in find, which leaves out what is void.
			if _, err := c.restore(ctx, 0, nil); err != nil {
				return 0, err
			}
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("%w: late records could not be voided: %w", store.ErrLogLost, err)
		}
		select {
		case <-time.After(min(time.Duration(try+1)*10*time.Millisecond, 200*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}
