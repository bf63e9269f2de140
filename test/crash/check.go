package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/base/id"
)

// violation is one broken promise.
type violation struct {
	Rule string // one of the rules below
	Text string
}

// The rules are the invariants of docs/architecture.md, as far as they can be seen from outside.
const (
	ruleAcknowledged = "acknowledged, not recorded"          // invariant 1
	ruleReceived     = "delivered, not recorded"             // invariant 2
	ruleContent      = "recorded otherwise than sent"        // 1 and 2: the record is of this message
	ruleOwed         = "recorded, not delivered to a device" // invariant 3
	ruleOutcome      = "delivered, outcome not recorded"     // invariant 3
	ruleTaken        = "answered 200, taken by no device"    // 200 says that a device took it
	ruleCallID       = "redelivered with another Call-ID"    // invariant 3
	ruleRepeat       = "recorded twice"                      // invariant 4
	ruleOrder        = "delivered out of order"              // invariant 5
	ruleSequence     = "recorded out of order"               // invariant 5: the log has the order of the sender
	ruleRefused      = "refused, yet recorded or delivered"  // invariant 6
	ruleSlow         = "refused too late"                    // a refusal takes less than a second
	ruleID           = "ids go back"                         // ids are ordered by time, and so is the log
)

// refusalLimit is how long a refusal may take, seen by a client: the server has a second. A book may have a limit of its own.
const refusalLimit = 1500 * time.Millisecond

// statusRefused is how the server says that it could not record a message.
const statusRefused = 500

// verdict is what the checker found.
type verdict struct {
	Violations []violation

	Sent, Acknowledged, Refused, Unanswered, Other int
	Recorded, Received, Redelivered, Repeats       int
	SlowestRefusal                                 time.Duration
	Undelivered                                    int // what may still come: owed and not there yet
}

func (v *verdict) addf(rule, format string, args ...any) {
	v.Violations = append(v.Violations, violation{rule, fmt.Sprintf(format, args...)})
}

// index is the book by key.
type index struct {
	book
	sent     map[string]*sent
	answers  map[string]*answer
	records  map[string]*record // the first with this key
	byID     map[string]*record
	receipts map[string][]*received
	outcomes map[pair]string
}

// pair is a message, by its key, at a device.
type pair struct{ key, device string }

func newIndex(b book) *index {
	x := &index{book: b, sent: map[string]*sent{}, answers: map[string]*answer{}, records: map[string]*record{},
		byID: map[string]*record{}, receipts: map[string][]*received{}, outcomes: map[pair]string{}}
	for i := range b.Sent {
		x.sent[b.Sent[i].Key] = &b.Sent[i]
	}
	for i := range b.Answers {
		x.answers[b.Answers[i].Key] = &b.Answers[i]
	}
	for i := range b.Received {
		r := &b.Received[i]
		x.receipts[r.Key] = append(x.receipts[r.Key], r)
	}
	for i := range b.Archive {
		if r := &b.Archive[i]; r.Kind == "message" {
			x.byID[r.ID] = r
			if x.records[r.Key] == nil {
				x.records[r.Key] = r
			}
		}
	}
	for i := range b.Archive {
		if r := &b.Archive[i]; r.Kind == "delivery" && x.byID[r.Ref] != nil {
			x.outcomes[pair{x.byID[r.Ref].Key, r.Device}] = r.Outcome
		}
	}
	return x
}

// check judges a run that has come to rest: every device has signed in and stayed.
func check(b book) verdict {
	x := newIndex(b)
	v := verdict{Sent: len(b.Sent), Received: len(b.Received)}
	x.checkRecords(&v)
	x.checkAnswers(&v)
	x.checkReceipts(&v)
	x.checkOwed(&v)
	x.checkDeliveryOrder(&v)
	x.checkSequence(&v)
	x.checkIDs(&v)
	return v
}

// checkRecords: one record for each message, and no other than was sent.
func (x *index) checkRecords(v *verdict) {
	for i := range x.Archive {
		r := &x.Archive[i]
		if r.Kind != "message" {
			continue
		}
		v.Recorded++
		s := x.sent[r.Key]
		switch {
		case s == nil:
			v.addf(ruleContent, "record %d with the text %q, which nobody sent", r.Seq, r.Key)
		case s.From != r.From || s.To != r.To || s.CallID != r.CallID:
			v.addf(ruleContent, "record %d of %s is from %s to %s, Call-ID %s; it was sent from %s to %s, Call-ID %s",
				r.Seq, r.Key, r.From, r.To, r.CallID, s.From, s.To, s.CallID)
		}
		if first := x.records[r.Key]; first != r {
			v.addf(ruleRepeat, "%s is record %d and record %d", r.Key, first.Seq, r.Seq)
		}
	}
}

// checkAnswers: what was acknowledged is recorded, what was refused is not.
func (x *index) checkAnswers(v *verdict) {
	v.Unanswered = len(x.Sent) - len(x.answers)
	for i := range x.Answers {
		a := &x.Answers[i]
		r := x.records[a.Key]
		if a.Attempts > 1 {
			v.Repeats++
		}
		switch {
		case a.Status >= 200 && a.Status < 300 || a.Status == statusUnwanted:
			v.Acknowledged++
			if r == nil {
				v.addf(ruleAcknowledged, "%s was answered %d at %s", a.Key, a.Status, clock(a.At))
			} else if a.Status == 200 && !slices.ContainsFunc(x.receipts[a.Key], func(r *received) bool { return r.Status == 200 }) {
				// A repeat may hear 202 only, so 200 means what it says.
				v.addf(ruleTaken, "%s (record %d)", a.Key, r.Seq)
			}
		case a.Status == statusRefused:
			v.Refused++
			if !a.Excused {
				v.SlowestRefusal = max(v.SlowestRefusal, a.Took)
			}
			if r != nil {
				v.addf(ruleRefused, "%s was refused at %s, after %d attempts, and is record %d", a.Key, clock(a.At), a.Attempts, r.Seq)
			}
			if n := len(x.receipts[a.Key]); n > 0 {
				v.addf(ruleRefused, "%s was refused at %s and delivered %d times", a.Key, clock(a.At), n)
			}
			if a.RetryAfter == "" {
				v.addf(ruleRefused, "%s was refused without Retry-After", a.Key)
			}
			if a.Took > cmp.Or(x.Limit, refusalLimit) && !a.Excused {
				v.addf(ruleSlow, "%s after %v", a.Key, a.Took)
			}
		default:
			v.Other++
		}
	}
}

// checkReceipts: what was delivered is recorded, and a redelivery is recognisable.
func (x *index) checkReceipts(v *verdict) {
	for key, list := range x.receipts {
		if x.records[key] == nil {
			v.addf(ruleReceived, "%s reached %s at %s", key, list[0].Device, clock(list[0].At))
		}
		first := map[string]*received{}
		for _, r := range list {
			f := first[r.Device]
			if f == nil {
				first[r.Device] = r
				continue
			}
			v.Redelivered++
			if f.CallID != r.CallID {
				v.addf(ruleCallID, "%s reached %s with %s and with %s", key, r.Device, f.CallID, r.CallID)
			}
		}
	}
}

// checkOwed: every device has what was sent to its user since it signed in, and the outcome is on record.
func (x *index) checkOwed(v *verdict) {
	type arrival struct{ accepted, refused bool }
	there := map[pair]arrival{}
	for i := range x.Received {
		r := &x.Received[i]
		p := pair{r.Key, r.Device}
		a := there[p]
		a.accepted = a.accepted || r.Status == 200
		a.refused = a.refused || r.Status != 200
		there[p] = a
	}
	devices := map[string][]*device{}
	for i := range x.Devices {
		devices[x.Devices[i].AOR] = append(devices[x.Devices[i].AOR], &x.Devices[i])
	}
	for i := range x.Archive {
		r := &x.Archive[i]
		s := x.sent[r.Key]
		if r.Kind != "message" || s == nil || x.records[r.Key] != r {
			continue
		}
		for _, d := range devices[r.To] {
			a, came := there[pair{r.Key, d.Device}]
			outcome := x.outcomes[pair{r.Key, d.Device}]
			switch {
			case !came && s.At.After(d.Since):
				v.Undelivered++
				v.addf(ruleOwed, "%s (record %d, sent %s) never reached %s of %s, which signed in at %s; outcome %q",
					r.Key, r.Seq, clock(s.At), d.Name, d.AOR, clock(d.Since), outcome)
			case came && outcome == "", a.refused && outcome != "refused", a.accepted && outcome != "delivered":
				v.Undelivered++
				v.addf(ruleOutcome, "%s (record %d) at %s of %s: outcome %q", r.Key, r.Seq, d.Name, d.AOR, outcome)
			}
		}
	}
}

// checkDeliveryOrder: within one life of the server a device gets the messages of a conversation in the log's order.
// After a restart it may get again what it had.
func (x *index) checkDeliveryOrder(v *verdict) {
	type stream struct {
		device, from string
		life         int
	}
	last := map[stream]*record{}
	for i := range x.Received {
		got := &x.Received[i]
		r := x.records[got.Key]
		if r == nil {
			continue
		}
		s := stream{got.Device, r.From, got.Life}
		if l := last[s]; l != nil && r.Seq < l.Seq {
			v.addf(ruleOrder, "%s got %s (record %d) after %s (record %d), at %s", got.Device, r.Key, r.Seq, l.Key, l.Seq, clock(got.At))
		}
		last[s] = r
	}
}

// checkSequence: the log has a sender's messages in the order in which they were written on one connection.
func (x *index) checkSequence(v *verdict) {
	type stream struct {
		link int
		to   string
	}
	streams := map[stream][]*sent{}
	for i := range x.Sent {
		s := &x.Sent[i]
		a := x.answers[s.Key]
		if s.Link != 0 && x.records[s.Key] != nil && a != nil && a.Attempts == 1 {
			k := stream{s.Link, s.To}
			streams[k] = append(streams[k], s)
		}
	}
	for _, list := range streams {
		slices.SortFunc(list, func(a, b *sent) int { return a.Place - b.Place })
		for i := 1; i < len(list); i++ {
			a, b := x.records[list[i-1].Key], x.records[list[i].Key]
			if b.Seq < a.Seq {
				v.addf(ruleSequence, "%s was written before %s and is record %d after %d", a.Key, b.Key, a.Seq, b.Seq)
			}
		}
	}
}

// idSlack is how much the order of ids may differ from that of the log: an id is given before the record stands in its queue.
const idSlack = time.Second

// checkIDs: an id is later than those well before it in the log, whatever the clock did.
func (x *index) checkIDs(v *verdict) {
	var latest time.Time
	for i := range x.Archive {
		d, err := id.Parse(x.Archive[i].ID)
		if err != nil {
			v.addf(ruleID, "record %d has the id %q", x.Archive[i].Seq, x.Archive[i].ID)
			continue
		}
		if d.Time().Before(latest.Add(-idSlack)) {
			v.addf(ruleID, "record %d has an id of %s, after one of %s", x.Archive[i].Seq, clock(d.Time()), clock(latest))
		}
		if d.Time().After(latest) {
			latest = d.Time()
		}
	}
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

// String is the verdict for people.
func (v *verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sent %d, acknowledged %d, refused %d, answered otherwise %d, unanswered %d\n", v.Sent, v.Acknowledged, v.Refused, v.Other, v.Unanswered)
	fmt.Fprintf(&b, "recorded %d, received %d, of these %d again; %d were sent more than once\n", v.Recorded, v.Received, v.Redelivered, v.Repeats)
	if v.Refused > 0 {
		fmt.Fprintf(&b, "slowest refusal %v\n", v.SlowestRefusal.Round(time.Millisecond))
	}
	if len(v.Violations) == 0 {
		b.WriteString("lost or unrecorded: 0\n")
		return b.String()
	}
	count := map[string]int{}
	for _, x := range v.Violations {
		if count[x.Rule]++; count[x.Rule] <= 5 {
			b.WriteString("VIOLATION " + x.Rule + ": " + x.Text + "\n")
		}
	}
	rules := make([]string, 0, len(count))
	for r, n := range count {
		rules = append(rules, strconv.Itoa(n)+" × "+r)
	}
	slices.Sort(rules)
	b.WriteString("violations: " + strings.Join(rules, "; ") + "\n")
	return b.String()
}
