package dialog

import (
	"sync"
	"time"

	"github.com/parley-im/parley/transaction"
)

// The classes of NOTIFYs in a queue, the first one first.
const (
	lastWords = iota // "terminated"
	replies          // what a SUBSCRIBE asked for
	changes
	classes
)

// place is a subscription's entry in a queue: its neighbours and the class they
// are in.
type place struct {
	prev, next *Subscription
	class      int8
	in         bool
}

// queue holds the subscriptions whose NOTIFY is beyond the rate: a token bucket
// of a tenth of a second. A subscription is in it once, so it never grows beyond
// one entry, which the subscription itself has room for, for each.
type queue struct {
	rate, burst float64
	after       func(time.Duration, func()) *transaction.Timer

	mu          sync.Mutex
	tokens      float64
	filled      time.Time // when tokens was right
	armed       bool      // pump will come
	count       int
	first, last [classes]*Subscription
}

func newQueue(rate int, t Transactions) *queue {
	q := &queue{rate: float64(rate), burst: max(1, float64(rate)/10), filled: time.Now()}
	if t != nil {
		q.after = t.After
	}
	q.tokens = q.burst
	return q
}

// len is how many wait.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

// enter tells whether a NOTIFY may leave now; else its subscription waits, and
// begin is called in its turn. The end of a subscription goes at once as long as
// it takes no more than what comes in the next second: a connection may be
// closed right after it.
func (q *queue) enter(s *Subscription, class int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fill()
	if class == lastWords && q.tokens > -q.rate || q.count == 0 && q.tokens >= 1 {
		q.tokens--
		return true
	}
	q.push(s, class)
	q.arm()
	return false
}

// hurry moves a waiting subscription to a better class, or tells that it may
// leave now, as enter does.
func (q *queue) hurry(s *Subscription, class int) bool {
	if class == changes {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !s.place.in || class >= int(s.place.class) {
		return false
	}
	q.unlink(s)
	q.fill()
	if class == lastWords && q.tokens > -q.rate {
		q.tokens--
		return true
	}
	q.push(s, class)
	return false
}

// leave takes a subscription out that is gone.
func (q *queue) leave(s *Subscription) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.place.in {
		q.unlink(s)
	}
}

// refund gives back what a NOTIFY took that was not sent.
func (q *queue) refund() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tokens = min(q.tokens+1, q.burst)
}

// fill counts the tokens that have come; q.mu is held.
func (q *queue) fill() {
	now := time.Now()
	q.tokens = min(q.tokens+now.Sub(q.filled).Seconds()*q.rate, q.burst)
	q.filled = now
}

// arm has pump called when there is a token; q.mu is held.
func (q *queue) arm() {
	if q.armed || q.count == 0 {
		return
	}
	q.armed = true
	q.after(time.Duration(max(0, 1-q.tokens)/q.rate*float64(time.Second)), q.pump)
}

// pumpMost is how many pump looks at, besides those that the rate makes due in
// two ticks: many of them may have nothing to tell or no way, which costs no
// token, and other timers wait meanwhile.
const pumpMost = 256

// pump lets go what there are tokens for.
func (q *queue) pump() {
	defer func() { // also after a panic in begin: the others go on
		q.mu.Lock()
		q.armed = false
		q.arm()
		q.mu.Unlock()
	}()
	q.mu.Lock()
	q.fill()
	for most := pumpMost + int(q.rate/50); q.tokens >= 1 && q.count > 0 && most > 0; most-- {
		class := 0
		for q.first[class] == nil {
			class++
		}
		s := q.first[class]
		q.unlink(s)
		q.tokens--
		q.mu.Unlock()
		s.begin()
		q.mu.Lock()
	}
	q.mu.Unlock()
}

// push puts s behind the others of a class; q.mu is held.
func (q *queue) push(s *Subscription, class int) {
	s.place = place{prev: q.last[class], class: int8(class), in: true}
	if q.last[class] == nil {
		q.first[class] = s
	} else {
		q.last[class].place.next = s
	}
	q.last[class] = s
	q.count++
}

// unlink takes s out; q.mu is held.
func (q *queue) unlink(s *Subscription) {
	p := s.place
	if p.prev == nil {
		q.first[p.class] = p.next
	} else {
		p.prev.place.next = p.next
	}
	if p.next == nil {
		q.last[p.class] = p.prev
	} else {
		p.next.place.prev = p.prev
	}
	s.place = place{}
	q.count--
}
