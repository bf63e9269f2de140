package push

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/store"
)

// Limits of what a push service puts off (RFC 8030 §8.4).
const (
	shortest = time.Second
	longest  = time.Hour
	mostTry  = 5 // attempts at one notification
)

// pair is who reads, and who wrote.
type pair struct{ to, from string }

// waiting is what is known of notifications that were not sent yet. Its size is bounded by theirs.
type waiting struct {
	mu    sync.Mutex // guards what follows
	reads map[pair]*reads
	until map[string]time.Time // push services that want to be left alone, by host
	held  map[heldKey]*notification
}

// reads is how far somebody has read in a conversation of which notifications wait.
type reads struct {
	waiting int
	upTo    int64
}

// heldKey has one notification: of one conversation a device hears once, as the push service does it with Topic.
type heldKey struct{ endpoint, from string }

func newWaiting() *waiting {
	return &waiting{reads: map[pair]*reads{}, until: map[string]time.Time{}, held: map[heldKey]*notification{}}
}

// begin counts a notification that waits from now on, until end.
func (w *waiting) begin(n *notification) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := pair{n.to.AOR, n.from}
	x := w.reads[p]
	if x == nil {
		x = &reads{}
		w.reads[p] = x
	}
	x.waiting++
}

func (w *waiting) end(n *notification) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended(n)
}

// ended is end. mu is held.
func (w *waiting) ended(n *notification) {
	p := pair{n.to.AOR, n.from}
	if x := w.reads[p]; x != nil {
		if x.waiting--; x.waiting <= 0 {
			delete(w.reads, p)
		}
	}
}

// read notes how far somebody has read, if anything waits that this is about.
func (w *waiting) read(p pair, upTo int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x := w.reads[p]; x != nil {
		x.upTo = max(x.upTo, upTo)
	}
}

// known tells whether what a notification is about was read.
func (w *waiting) known(n *notification) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.reads[pair{n.to.AOR, n.from}]
	return x != nil && n.seq <= x.upTo
}

// hold keeps a notification for a push service that wants to be left alone, for so long from now on or since it has said so, and
// tells whether it does. The one that is left out for it, nil for none, was about the same conversation, or was one too many.
func (w *waiting) hold(n *notification, now time.Time, wait time.Duration) (held bool, out *notification) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if until := now.Add(wait); wait > 0 && until.After(w.until[n.host]) {
		w.until[n.host] = until
	}
	if !now.Before(w.until[n.host]) {
		return false, nil
	}
	k := heldKey{n.to.Endpoint, n.from}
	old := w.held[k]
	switch {
	case old != nil && old.seq > n.seq:
		out = n
	case old == nil && len(w.held) >= queued:
		out = n
	default:
		w.held[k], out = n, old
	}
	if out != nil {
		w.ended(out)
	}
	return true, out
}

// due takes out what may be sent now, and tells when the next may be: the zero time for never.
func (w *waiting) due(now time.Time) (list []*notification, next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for host, until := range w.until {
		if !now.Before(until) {
			delete(w.until, host)
		} else if next.IsZero() || until.Before(next) {
			next = until
		}
	}
	for k, n := range w.held {
		if _, alone := w.until[n.host]; !alone {
			delete(w.held, k)
			list = append(list, n)
		}
	}
	return list, next
}

// retryAfter is how long a push service wants to be left alone, 0 when it does not say (RFC 9110 §10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	d := longest
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(text); err == nil {
		d = t.Sub(now)
	} else if strings.Trim(text, "0123456789") != "" { // else a number that is too large
		return 0
	}
	return min(max(d, shortest), longest)
}

// readUpTo is who says in a record how far a conversation was read; ok is false when it says no such thing.
func readUpTo(r *store.Record) (p pair, upTo int64, ok bool) {
	if r.Kind != store.KindReceipt || r.MetaValue(store.MetaOutcome) != store.OutcomeDisplayed {
		return p, 0, false
	}
	n, err := strconv.ParseInt(r.MetaValue(store.MetaSeq), 10, 64)
	return pair{r.From, r.To}, n, err == nil
}
