package dialog

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// State is the state of a subscription. RFC 6665 §4.1.2.
type State uint8

// The states a subscription can be in.
const (
	Pending State = iota + 1 // accepted, not yet allowed to see
	Active
	Terminated
)

// String is the word for Subscription-State.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Active:
		return "active"
	}
	return "terminated"
}

// Watcher is who subscribes.
type Watcher struct {
	AOR    string // "" for nobody signed in
	Device string
	Admin  bool
}

// Subscription is one watcher's interest in one resource. What its accessors
// return never changes after the SUBSCRIBE was accepted.
type Subscription struct {
	n        *Notifier
	watcher  Watcher
	resource string
	eventID  string // id parameter of Event, "" for none
	mediaRow string // Accept of the SUBSCRIBE, "" for the package's default
	require  string // Decision.Require
	event    string // Decision.Event
	ours     string // our Contact before a restart, "" for one made since

	resAt, aorAt int32 // its places in byRes and byAOR, guarded by Notifier.mu
	place        place // guarded by queue.mu

	mu       sync.Mutex
	d        Dialog
	flow     transport.Flow // where the last SUBSCRIBE came from
	expires  instant
	timer    *transaction.Timer // expiry
	pause    *transaction.Timer // the rest of the least interval, or the wait after a failure
	last     instant            // when the last NOTIFY left; 0: none has
	data     any                // the Source's own
	reason   string             // why terminated
	retry    uint32             // retry-after of a termination, seconds
	state    State
	failures uint8 // NOTIFYs refused in a row
	fetch    bool  // Expires was 0 from the start; never changes
	is       flags
}

// instant is a time in ns since Notifier.base: a third of a time.Time, of which
// a subscription holds two. Like base it does not follow the system's clock.
type instant int64

func (n *Notifier) instant(t time.Time) instant { return instant(t.Sub(n.base)) }

func (n *Notifier) time(i instant) time.Time { return n.base.Add(time.Duration(i)) }

// flags are what a subscription is at, guarded by its mutex.
type flags struct {
	held     bool // a SUBSCRIBE was just accepted, its NOTIFY comes in a moment
	inFlight bool // a NOTIFY is out, or on its way
	dirty    bool // there may be something newer to say
	full     bool // the watcher must be told everything
	asked    bool // a NOTIFY is owed, whatever there is to tell
	more     bool // the Source has more to say than fitted
	retrying bool // pause is the wait after a failure
	stepping bool // the Source is being asked what there is to tell
	closing  bool // the NOTIFY that is out says "terminated"
	gone     bool // taken off the tables

	// With Options.Keep:
	unsaved   bool // on the saver's list
	saved     bool // there is a row of it
	restored  bool // from before the start, no NOTIFY since
	asleep    bool // restored, and Serve does not run yet
	undecided bool // restored, and the Source has not decided
	waiting   bool // there is no way to the watcher
}

// Watcher is who subscribed.
func (s *Subscription) Watcher() Watcher { return s.watcher }

// Resource is what is watched, an AOR as a rule.
func (s *Subscription) Resource() string { return s.resource }

// Event is the event package's name.
func (s *Subscription) Event() string { return s.n.o.Event }

// Fetch tells whether the watcher only wanted the state once (Expires: 0).
func (s *Subscription) Fetch() bool { return s.fetch }

// Accepts tells whether the watcher takes a media type: its Accept header
// lists it, or it sent none and the type is the package's default, the first
// of Options.Types. RFC 6665 §3.1.3.
func (s *Subscription) Accepts(mediaType string) bool {
	return accepts(s.mediaRow, mediaType, s.n.o.Types)
}

// Version counts the NOTIFYs of this subscription; inside Source.State and
// Stepper.Next it is the number of the one being made, the first is 0. It never
// goes back, and grows by one unless the server was started again.
func (s *Subscription) Version() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.d.LocalSeq
}

// Data is what SetData was given, nil before.
func (s *Subscription) Data() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// SetData keeps a value of the Source's own with the subscription.
func (s *Subscription) SetData(v any) {
	s.mu.Lock()
	s.data = v
	s.mu.Unlock()
}

// Expires is when it ends unless it is refreshed.
func (s *Subscription) Expires() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n.time(s.expires)
}

// demand adds the option tag that the watcher has to know.
func (s *Subscription) demand(d *sip.Draft) {
	if s.require != "" {
		d.Add(sip.HRequire, s.require)
	}
}

// State is the present state.
func (s *Subscription) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// ID is the identity of the subscription's dialog.
func (s *Subscription) ID() ID { return s.d.ID }

// accepts looks for a media type in an Accept value. RFC 3261 §20.1.
func accepts(row, mediaType string, types []string) bool {
	if row == "" {
		return len(types) == 0 || strings.EqualFold(types[0], mediaType)
	}
	kind, _, _ := strings.Cut(mediaType, "/")
	for v := range strings.SplitSeq(row, ",") {
		v, params, _ := strings.Cut(v, ";")
		v = strings.TrimSpace(v)
		if q := strings.ReplaceAll(params, " ", ""); q == "q=0" || q == "q=0.0" {
			continue
		}
		if strings.EqualFold(v, mediaType) || v == "*/*" || strings.EqualFold(v, kind+"/*") {
			return true
		}
	}
	return false
}

// acceptRow joins the Accept rows of a request.
func acceptRow(m *sip.Message) string {
	row := ""
	for v := range m.Each(sip.HAccept) {
		if row != "" {
			row += ","
		}
		row += v
	}
	return row
}

// own copies what is a view on the SUBSCRIBE. Who watches whom is a part of
// From and To, as a rule, and is not copied twice.
func (s *Subscription) own() {
	list := []*string{&s.eventID, &s.d.CallID, &s.d.Local, &s.d.Remote, &s.d.LocalURI, &s.d.RemoteURI, &s.d.Target}
	if !strings.Contains(s.d.LocalURI, s.resource) {
		list = append(list, &s.resource)
	}
	s.d.Routes = slices.Clip(s.d.Routes)
	for i := range s.d.Routes {
		list = append(list, &s.d.Routes[i])
	}
	compact(list...)
	s.resource = part(s.d.LocalURI, s.resource)
	s.watcher.AOR = part(s.d.RemoteURI, s.watcher.AOR)
}

// part is s as a part of whole, if it is one.
func part(whole, s string) string {
	if i := strings.Index(whole, s); i >= 0 {
		return whole[i : i+len(s)]
	}
	return s
}

// compact copies strings that are views on a message into one allocation of
// their own, so that a subscription does not keep the message alive.
func compact(list ...*string) {
	n := 0
	for _, s := range list {
		n += len(*s)
	}
	var b strings.Builder
	b.Grow(n)
	for _, s := range list {
		b.WriteString(*s)
	}
	all, at := b.String(), 0
	for _, s := range list {
		end := at + len(*s)
		*s = all[at:end]
		at = end
	}
}
