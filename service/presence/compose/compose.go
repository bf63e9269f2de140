package compose

import (
	"time"

	"github.com/parley-im/parley/wire/pidf"
)

// State is what a person's sources come to.
type State struct {
	Availability pidf.Availability
	Reason       Reason    // which source decided
	Until        time.Time // when Availability is expected to end; zero when nobody said
	Note         string    // at most MaxNote bytes
	IdleSince    time.Time // zero when some device is in use, and when the person is offline or talking
	Next         time.Time // when it may change by itself: compose again then; zero: never
}

// MaxNote is how many bytes of a note are shown. A longer one is cut between two characters.
const MaxNote = 1000

// Reason is the source that decided.
type Reason uint8

// The reasons, in the order in which they are asked: the first that has something to say wins.
const (
	AppearOffline    Reason = iota + 1 // set by hand
	NoDevice                           // none is registered
	DevicesClosed                      // each device published that it is closed
	ManualDND                          // set by hand
	PublishedDND                       // by any device
	Talking                            // the server sees a call
	PublishedCall                      // by any device
	ManualState                        // set by hand
	PublishedMeeting                   // by any device
	PublishedBusy                      // by any device
	PublishedAway                      // away or be right back, and no device published later that the person is there
	Calendar                           // a meeting goes on
	DevicesIdle                        // no device is in use
	DeviceThere                        // nothing else: a device is registered
)

// String is the reason in words for people.
func (r Reason) String() string {
	switch r {
	case AppearOffline:
		return "set by hand: appear offline"
	case NoDevice:
		return "no device is signed in"
	case DevicesClosed:
		return "every device says that it is closed"
	case ManualDND:
		return "set by hand: do not disturb"
	case PublishedDND:
		return "a device says: do not disturb"
	case Talking:
		return "the server sees a call"
	case PublishedCall:
		return "a device says: on the phone"
	case ManualState:
		return "set by hand"
	case PublishedMeeting:
		return "a device says: in a meeting"
	case PublishedBusy:
		return "a device says: busy"
	case PublishedAway:
		return "a device says: away"
	case Calendar:
		return "there is a meeting in the calendar"
	case DevicesIdle:
		return "no device is in use"
	case DeviceThere:
		return "a device is signed in"
	}
	return "nothing is known"
}

// Compose decides what a person's state is. The rule is that of docs/presence.md: the first Reason that holds.
// A composition policy is left to the agent by RFC 3856 §3 and RFC 4479 §3.5.
func Compose(src *Sources) State {
	var s scan
	s.fill(src)
	return s.state()
}

func (s *scan) state() State {
	m := &s.src.Manual
	by := pidf.Availability("")
	if m.State.Valid() && m.Holds(s.now) {
		by = m.State
	}
	st := State{Note: clip(s.note.Text), Next: s.next}
	published := func(r *reading) { st.Availability, st.Until = r.availability, r.until }
	switch {
	case by == pidf.Offline:
		st.Availability, st.Reason, st.Until = pidf.Offline, AppearOffline, m.Until
	case len(s.devices) == 0:
		st.Availability, st.Reason = pidf.Offline, NoDevice
	case !s.there:
		st.Availability, st.Reason = pidf.Offline, DevicesClosed
	case by == pidf.DND:
		st.Availability, st.Reason, st.Until = pidf.DND, ManualDND, m.Until
	case s.dnd != nil:
		st.Reason = PublishedDND
		published(s.dnd)
	case s.src.Calls.Talking > 0:
		st.Availability, st.Reason = pidf.InCall, Talking
	case s.call != nil:
		st.Reason = PublishedCall
		published(s.call)
	case by != "":
		st.Availability, st.Reason, st.Until = by, ManualState, m.Until
	case s.meeting != nil:
		st.Reason = PublishedMeeting
		published(s.meeting)
	case s.busy != nil:
		st.Reason = PublishedBusy
		published(s.busy)
	case s.gentle != nil && s.gentle.availability != pidf.Available:
		st.Reason = PublishedAway
		published(s.gentle)
	case s.event != nil:
		st.Availability, st.Reason, st.Until = pidf.InMeeting, Calendar, s.event.Until
	case !s.idleSince.IsZero():
		st.Availability, st.Reason = pidf.Away, DevicesIdle
	default:
		st.Availability, st.Reason = pidf.Available, DeviceThere
	}
	if st.Availability != pidf.Offline && s.src.Calls.Talking == 0 {
		st.IdleSince = s.idleSince
	}
	return st
}

// winner is the publication that decided, nil when something else did.
func (s *scan) winner(r Reason) *reading {
	switch r {
	case PublishedDND:
		return s.dnd
	case PublishedCall:
		return s.call
	case PublishedMeeting:
		return s.meeting
	case PublishedBusy:
		return s.busy
	case PublishedAway:
		return s.gentle
	}
	return nil
}

// clip cuts a note to MaxNote bytes.
func clip(s string) string {
	if len(s) <= MaxNote {
		return s
	}
	n := MaxNote
	for n > MaxNote-4 && s[n]&0xC0 == 0x80 { // not into a character
		n--
	}
	return s[:n]
}
