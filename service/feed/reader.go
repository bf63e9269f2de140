package feed

import (
	"context"
	"strconv"
	"time"

	"github.com/parley-im/parley/store"
)

const (
	batch       = 500                   // records read at a time
	lookAnyway  = time.Second           // looks at the log even if nobody told it, while somebody listens
	sweepEvery  = time.Second           // looks for what ends by itself
	againAfter  = time.Second           // tries again after an error of the log
	moment      = 20 * time.Millisecond // for which events wait that nobody waits for
	keptFates   = 8192                  // outcomes of late, for streams that come back
	fatesBefore = 2 * keptFates         // records that are read for outcomes from before the hub began to read
	stepOfFates = 1000                  // at a time
)

// Serve reads the log for all streams until ctx ends; then they end too.
func (h *Hub) Serve(ctx context.Context) error {
	defer h.Stop()
	cancel := h.o.Records.Subscribe(func(int64) {
		if h.open.Load() > 0 {
			h.look()
		}
	})
	defer cancel()
	timer := time.NewTimer(lookAnyway)
	defer timer.Stop()
	pause := time.NewTimer(moment)
	defer pause.Stop()
	pausing, failing := true, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
			pausing = false
			h.hurry()
			continue
		case <-h.wake:
		case <-timer.C:
		}
		wait := lookAnyway
		waits, err := h.readOn(ctx)
		if err != nil && ctx.Err() == nil {
			wait = againAfter
			if !failing {
				h.o.Log.Warn("feed: reading the log failed, trying again until it can be read", "err", err)
			}
		}
		failing = err != nil
		if waits && !pausing {
			pausing = true
			pause.Reset(moment)
		}
		if more := h.sweep(time.Now()); more || h.open.Load() > 0 {
			timer.Reset(min(wait, sweepEvery))
		} else {
			timer.Stop() // the next stream wakes us
		}
	}
}

// readOn reads up to the head and hands out what it finds. Waits says that some streams are to be told of theirs after a moment.
func (h *Hub) readOn(ctx context.Context) (waits bool, err error) {
	for {
		h.mu.Lock()
		after := h.pos
		waits = len(h.unhurried) > 0
		h.mu.Unlock()
		head := h.o.Records.Head()
		if after >= head || h.open.Load() == 0 {
			return waits, nil
		}
		list, ok := h.o.Records.Newest(after)
		if !ok {
			if list, err = h.read(ctx, after); err != nil {
				return waits, err
			}
		}
		to := head
		if n := len(list); n > 0 {
			if to = list[n-1].Seq; n < batch {
				to = max(head, to) // the head may have moved before they were read
			}
		}
		h.metrics.read.Add(float64(len(list)))
		h.handOut(list, after, to)
	}
}

// hurry tells streams of what has waited for a moment.
func (h *Hub) hurry() {
	h.mu.Lock()
	list := h.unhurried
	h.unhurried = nil
	h.mu.Unlock()
	for _, s := range list {
		s.hurry()
	}
}

// read reads up to a batch of records from the log.
func (h *Hub) read(ctx context.Context, after int64) ([]*store.Record, error) {
	list, err := h.o.Records.Read(ctx, after, batch)
	if err != nil {
		return nil, err
	}
	own := make([]*store.Record, len(list))
	for i := range list {
		r := list[i] // who keeps one does not keep all of them
		own[i] = &r
	}
	return own, nil
}

// handOut gives records to the streams. These are all after one position and up to another.
func (h *Hub) handOut(list []*store.Record, after, to int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pos != after || len(h.people) == 0 {
		return // all streams have gone meanwhile, and others may have come
	}
	for _, r := range list {
		if r.Kind == store.KindDelivery {
			f := fateOf(r)
			h.fates.add(f)
			if p := h.people[r.From]; p != nil {
				p.put(Event{Kind: Fated, Position: r.Seq, Fate: f})
			}
			continue
		}
		from, to, ok := about(r)
		if !ok {
			continue
		}
		if r.Kind == store.KindMessage {
			h.hasSpoken(from, to)
		}
		e := Event{Kind: Recorded, Position: r.Seq, Record: r}
		for j, aor := range [2]string{from, to} {
			p := h.people[aor]
			if p != nil && (j == 0 || to != from) {
				p.put(e)
			}
		}
	}
	h.pos = to
	h.fates.read(to)
}

func (p *person) put(e Event) {
	for _, s := range p.streams {
		s.put(e)
	}
}

// fateOf reads the record of a delivery.
func fateOf(r *store.Record) *Fate {
	f := &Fate{Seq: r.Seq, At: r.At, Message: r.Ref, From: r.From, To: r.To, Device: r.Device, Outcome: r.MetaValue(store.MetaOutcome)}
	for _, key := range [...]string{store.MetaSeq, "message_seq"} { // the second is of records from before the first was there
		if seq, err := strconv.ParseInt(r.MetaValue(key), 10, 64); err == nil {
			f.MessageSeq = seq
			break
		}
	}
	return f
}

// fates are outcomes of late, for streams that were away for a moment: the index does not find them by whom they are for.
type fates struct {
	since, to int64 // all outcomes after since and up to to are here
	list      []*Fate
}

// begin forgets everything and begins after a position.
func (f *fates) begin(pos int64) { *f = fates{since: pos, to: pos} }

func (f *fates) add(x *Fate) {
	if len(f.list) == keptFates {
		f.since = f.list[keptFates/4].Seq
		f.list = append(make([]*Fate, 0, keptFates), f.list[keptFates/4+1:]...)
	}
	f.list = append(f.list, x)
}

func (f *fates) read(to int64) { f.to = to }

// before puts those in front that are after since and not after f.since.
func (f *fates) before(since int64, list []*Fate) {
	if room := keptFates - len(f.list); len(list) > room {
		since = list[len(list)-room-1].Seq
		list = list[len(list)-room:]
	}
	f.since, f.list = since, append(list[:len(list):len(list)], f.list...)
}

// between returns those for somebody after a position and up to another; false when not all of them are here.
func (f *fates) between(aor string, after, to int64) (list []*Fate, ok bool) {
	for i := len(f.list) - 1; i >= 0 && f.list[i].Seq > after; i-- {
		if x := f.list[i]; x.Seq <= to && x.From == aor {
			list = append(list, x)
		}
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list, after >= f.since
}

// fatesAfter makes sure that outcomes after a position are known, if that is not long ago. One reads at a time, for all.
func (h *Hub) fatesAfter(ctx context.Context, position int64) error {
	missing := func() (since int64, some bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		since = h.fates.since
		return since, position < since && h.fates.to-position <= fatesBefore && len(h.fates.list) < keptFates
	}
	if _, some := missing(); !some {
		return nil
	}
	select {
	case h.extend <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.extend }()
	since, some := missing()
	if !some {
		return nil
	}
	var found []*Fate
	for at := position; at < since; {
		list, err := h.o.Records.Read(ctx, at, stepOfFates)
		if err != nil {
			return err
		}
		for i := range list {
			if r := &list[i]; r.Kind == store.KindDelivery && r.Seq <= since {
				found = append(found, fateOf(r))
			}
		}
		if len(list) < stepOfFates {
			break
		}
		at = list[len(list)-1].Seq
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fates.since == since { // else the hub has begun anew, or forgotten some
		h.fates.before(position, found)
	}
	return nil
}
