package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// writer is what the committer needs of a database. All methods but suspect are called from one goroutine.
type writer interface {
	// commit writes records and the seqs which they void in one transaction and syncs. Gate is called before the step that
	// may make it durable; when it says false nothing is written and errDropped returned. On success every Seq is set
	// and the highest is returned.
	commit(records []*store.Record, voids []int64, gate func() bool) (head int64, err error)
	// judge says what an error of commit means.
	judge(err error) verdict
	// recover brings the database back to a known state: whatever commit tried before has landed or never will, what has
	// landed is durable, and the database takes writes.
	recover(ctx context.Context) error
	// probe writes, in a transaction of its own, something that changes nothing.
	probe() error
	// find returns those of the ids that are in the log above base and not void, in ascending order.
	find(base int64, ids []id.ID) ([]place, error)
	// limit is how long the log may stay in an unknown state before the process must end; 0: as long as it takes.
	limit() time.Duration
	// lost receives what has failed beside the commits so that only a new process can go on.
	lost() <-chan error
	close() error
}

// place is where a record is in the log.
type place struct {
	seq int64
	id  id.ID
}

// verdict is what a failed commit means.
type verdict uint8

const (
	again    verdict = iota // not written, and worth another try soon (locked, full, busy)
	doubtful                // may have landed, or the database is not to be trusted: recover first
	fatal                   // the state cannot be recovered by this process
	poisoned                // not written, and never will be as it is: something is wrong with a record
)

// run is the goroutine that writes. It returns when ctx has ended and nothing waits, or with store.ErrLogLost.
func (c *committer) run(ctx context.Context) error {
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
		}
		if err != nil {
			return err
		}
	}
}

// try writes nothing of importance, to learn whether the log can be written again.
func (c *committer) try(ctx context.Context) error {
	err := c.w.probe()
	if err == nil {
		c.sick.Store(nil)
		return nil
	}
	c.fail(err)
	if c.w.judge(err) == doubtful {
		_, err := c.restore(ctx, 0, nil)
		return err
	}
	return nil
}

// write brings a batch into the log, or drops it, or voids it: it returns when one of the three is certain.
func (c *committer) write(ctx context.Context, batch []entry) error {
	records := make([]*store.Record, len(batch))
	for i := range batch {
		records[i] = batch[i].rec
	}
	base := c.head.Load()
	for try := 0; ; try++ {
		start := time.Now()
		head, err := c.w.commit(records, nil, c.pointOfNoReturn)
		switch {
		case err == nil:
			c.m.commitSeconds.Observe(time.Since(start).Seconds())
			c.m.batchRecords.Observe(float64(len(batch)))
			if c.landed(batch, records, head) {
				return nil
			}
			return c.void(ctx, base, batch)
		case errors.Is(err, errDropped):
			c.dropped(store.ErrUnavailable)
			return nil
		}
		c.fail(err)
		switch c.w.judge(err) {
		case again:
			if !c.back() {
				c.dropped(store.ErrUnavailable)
				return nil
			}
			if try == 0 {
				c.log.Warn("the log cannot be written at the moment, trying again", "err", err)
			}
			c.m.retries.Inc()
			time.Sleep(min(time.Duration(try+1)*5*time.Millisecond, 50*time.Millisecond))
		case poisoned:
			if !c.back() {
				c.dropped(store.ErrUnavailable)
				return nil
			}
			if len(batch) == 1 {
				c.log.Error("the database refuses a record", "id", batch[0].rec.ID, "err", err)
				c.dropped(errs.Wrap(errs.Internal, err, "sqlstore: the database refuses the record"))
				return nil
			}
			c.requeue(batch)
			return nil
		default:
			c.m.failures.WithLabelValues("commit").Inc()
			c.log.Error("a commit of the log failed, nothing is acknowledged until it is verified", "err", err)
			head, err := c.restore(ctx, base, records)
			if err != nil {
				return err
			}
			if head > 0 {
				if c.landed(batch, records, head) {
					return nil
				}
				return c.void(ctx, base, batch)
			}
			if !c.back() {
				c.dropped(store.ErrUnavailable)
				return nil
			}
		}
	}
}

// restore brings the log back to a known state after a failure, and finds out whether records landed: the highest seq of
// them, or 0. It gives up with store.ErrLogLost after the writer's limit, and when ctx ends.
func (c *committer) restore(ctx context.Context, base int64, records []*store.Record) (head int64, err error) {
	start := time.Now()
	limit := c.w.limit()
	for try := 0; ; try++ {
		if err = c.w.recover(ctx); err == nil {
			var found []place
			if len(records) > 0 {
				found, err = c.w.find(base, ids(records))
			}
			if err == nil && len(found) != 0 && len(found) != len(records) {
				err = fmt.Errorf("sqlstore: %d of %d records of one transaction are in the log", len(found), len(records))
			}
			if err == nil {
				for i, p := range found { // one transaction gives ascending seqs in the order of its records
					records[i].Seq, head = p.seq, p.seq
				}
				c.m.recoveries.Inc()
				c.sick.Store(nil)
				c.log.Info("the log is in a known state again", "landed", len(found), "tries", try+1)
				return head, nil
			}
		}
		c.fail(err)
		verdict := c.w.judge(err)
		if verdict == again {
			start = time.Now() // locked: that says nothing about the disk
		}
		if verdict == fatal || limit > 0 && time.Since(start) > limit {
			return 0, fmt.Errorf("%w: %w", store.ErrLogLost, err)
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("%w: stopped while it was being verified: %w", store.ErrLogLost, err)
		}
		if try == 0 {
			c.log.Error("the log cannot be verified yet, trying on", "err", err)
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
func (c *committer) void(ctx context.Context, base int64, batch []entry) error {
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
func (c *committer) voidIDs(ctx context.Context, base int64, list []id.ID) (head int64, err error) {
	always := func() bool { return true }
	for try := 0; ; try++ {
		var found []place
		if found, err = c.w.find(base, list); err == nil {
			if len(found) == 0 {
				return head, nil
			}
			records, seqs := make([]*store.Record, len(found)), make([]int64, len(found))
			for i, p := range found {
				records[i] = &store.Record{Kind: store.KindVoid, Ref: p.id,
					Meta: map[string]string{store.MetaReason: "its sender was told that it could not be recorded in time"}}
				if err := prepare(records[i]); err != nil {
					return 0, err
				}
				seqs[i] = p.seq
			}
			if head, err = c.w.commit(records, seqs, always); err == nil {
				c.m.voids.Add(float64(len(seqs)))
				c.log.Warn("records that became durable too late were voided", "count", len(seqs))
				return head, nil
			}
		}
		if c.w.judge(err) == doubtful {
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
