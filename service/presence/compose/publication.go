package compose

import (
	"strings"
	"time"

	"github.com/parley-im/parley/wire/pidf"
)

// reading is what one publication says at a moment.
type reading struct {
	pub          *Publication
	availability pidf.Availability // of the person; "" when it says nothing, never Offline
	set          *pidf.Set         // the activities that say it, nil when something else does
	until        time.Time         // when that is expected to end
	closed       bool              // the device is not there for anybody
	input        pidf.UserInput
	tuple        *pidf.Tuple  // that of the device, nil for none
	device       *pidf.Device // the element about the device, nil for none
}

// read reads a publication. What it says of times to come goes to next.
func read(p *Publication, now time.Time, next *time.Time) reading {
	r := reading{pub: p}
	doc := p.Doc
	for i := range doc.Persons {
		n := &doc.Persons[i]
		r.extra(&n.Extra, now, next)
		for k := range n.Activities {
			r.activities(&n.Activities[k], now, next)
		}
		if r.input.State == "" {
			r.input = n.UserInput
		}
	}
	open, closed := false, false
	for i := range doc.Tuples {
		t := &doc.Tuples[i]
		if !own(t) {
			continue
		}
		// The tuple that can be used is the one that is shown.
		if r.tuple == nil || t.Basic == pidf.Open && r.tuple.Basic != pidf.Open {
			r.tuple = t
		}
		open = open || t.Basic == pidf.Open
		closed = closed || t.Basic == pidf.Closed
		r.extra(&t.Extra, now, next)
	}
	closed = closed && !open
	if r.availability == "" && r.tuple != nil {
		for i := range r.tuple.Notes {
			r.say(wordMeans(r.tuple.Notes[i].Text), nil, time.Time{})
		}
	}
	if len(doc.Devices) > 0 {
		r.device = &doc.Devices[0]
		if r.device.UserInput.State != "" {
			r.input = r.device.UserInput
		}
	}
	if r.tuple != nil && r.tuple.UserInput.State != "" {
		r.input = r.tuple.UserInput
	}
	switch {
	case r.availability == pidf.Offline, closed && (r.availability == "" || r.availability == pidf.Available):
		r.closed, r.availability, r.set, r.until = true, "", nil, time.Time{}
	case closed && r.availability == pidf.Busy:
		// Busy, and not ready for messages: that is what clients publish that have "do not disturb" and no element for it.
		r.availability = pidf.DND
	case r.availability == "" && open:
		r.availability = pidf.Available
	}
	if r.availability == pidf.Available && r.input.State == pidf.Idle {
		// Nobody is there to say so.
		r.availability, r.set, r.until = "", nil, time.Time{}
	}
	soonest(next, p.Expires, now)
	return r
}

// say takes what is said if it is stronger than what was said before.
func (r *reading) say(a pidf.Availability, set *pidf.Set, until time.Time) {
	if strength(a) > strength(r.availability) {
		r.availability, r.set, r.until = a, set, until
	}
}

func (r *reading) extra(e *pidf.Extra, now time.Time, next *time.Time) {
	if e.Availability == "" {
		return
	}
	soonest(next, e.Until, now)
	if holds(time.Time{}, e.Until, now) {
		r.say(e.Availability, nil, e.Until)
	}
}

func (r *reading) activities(s *pidf.Set, now time.Time, next *time.Time) {
	soonest(next, s.From, now)
	soonest(next, s.Until, now)
	if !holds(s.From, s.Until, now) {
		return
	}
	for _, v := range s.Values {
		r.activity(activityMeans(v), s)
	}
	for i := range s.Other {
		r.activity(wordMeans(s.Other[i].Text), s)
	}
}

// activity is say for an activity. What the extension said as strongly is kept, and told with the activities.
func (r *reading) activity(a pidf.Availability, s *pidf.Set) {
	if a != "" && a == r.availability && r.set == nil {
		r.set = s
		if r.until.IsZero() {
			r.until = s.Until
		}
		return
	}
	r.say(a, s, s.Until)
}

// idleSince is since when the device is idle, zero when it is in use or does not tell.
func (r *reading) idleSince(now time.Time) time.Time {
	switch {
	case r.input.State != pidf.Idle:
		return time.Time{}
	case r.input.LastInput.IsZero(), r.input.LastInput.After(now):
		return r.pub.Updated
	}
	return r.input.LastInput
}

// note is what the publication has to say about the person in words, "" for nothing.
func (r *reading) note(now time.Time) pidf.Note {
	doc := r.pub.Doc
	for i := range doc.Persons {
		n := &doc.Persons[i]
		if t := firstNote(n.Notes); t.Text != "" {
			return t
		}
		for k := range n.Activities {
			if s := &n.Activities[k]; holds(s.From, s.Until, now) {
				if t := firstNote(s.Notes); t.Text != "" {
					return t
				}
			}
		}
	}
	return firstNote(doc.Notes)
}

// firstNote is the first that is not the name of a state.
func firstNote(notes []pidf.Note) pidf.Note {
	for i := range notes {
		if t := notes[i]; t.Text != "" && wordMeans(t.Text) == "" {
			return t
		}
	}
	return pidf.Note{}
}

// own tells whether a tuple is about the person and nobody close to them (RFC 4480 §3.9).
func own(t *pidf.Tuple) bool {
	return t.Relationship == nil || len(t.Relationship.Values) == 0 && len(t.Relationship.Other) == 0 || t.Relationship.Has("self")
}

// about tells whether a document is about the person: an entity that is missing is not somebody else's. The scheme does not
// matter (RFC 4479 §3.1), nor do parameters and a port.
func about(entity, aor string) bool {
	if entity == "" {
		return true
	}
	if at := strings.IndexByte(entity, ':'); at >= 0 {
		switch strings.ToLower(entity[:at]) {
		case "sip", "sips", "pres", "im":
			entity = entity[at+1:]
		}
	}
	if at := strings.IndexAny(entity, ";?"); at >= 0 {
		entity = entity[:at]
	}
	at := strings.LastIndexByte(entity, '@')
	if at < 0 {
		return entity == aor
	}
	host := entity[at+1:]
	if c := strings.LastIndexByte(host, ':'); c >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:c]
	}
	user, domain := aor, ""
	if k := strings.LastIndexByte(aor, '@'); k >= 0 {
		user, domain = aor[:k], aor[k+1:]
	}
	return strings.EqualFold(entity[:at], user) && strings.EqualFold(host, domain)
}

// soonest keeps the earliest time that is still to come.
func soonest(next *time.Time, t, now time.Time) {
	if t.After(now) && (next.IsZero() || t.Before(*next)) {
		*next = t
	}
}

// newer orders publications: the later document, and of two at the same time always the same one.
func newer(a, b *Publication) bool {
	if c := a.Updated.Compare(b.Updated); c != 0 {
		return c > 0
	}
	return a.ETag > b.ETag
}
