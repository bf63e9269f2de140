package dialog

import "github.com/parley-im/parley/wire/sip"

// Source is an event package: who may subscribe, and what there is to see. It
// may also be an Asker, a Stepper, an Ender or a Resumer.
type Source interface {
	// Authorize decides about a new subscription and calls done once, now or
	// later. It must not block.
	Authorize(s *Subscription, done func(Decision))
	// State is the full state of the subscription's resource as its watcher may
	// see it; an empty body makes a NOTIFY without one. It must not block.
	State(s *Subscription) (contentType string, body []byte)
}

// Asker is a Source that wants to see the SUBSCRIBE: its body may be a list,
// RFC 5367 §5.
type Asker interface {
	// Ask comes instead of Authorize when a SUBSCRIBE makes a subscription. m is
	// valid during the call only. Like Authorize it calls done once, now or
	// later, and must not block.
	Ask(s *Subscription, m *sip.Message, done func(Decision))
}

// Stepper is a Source that tells what has changed, and large states in parts.
type Stepper interface {
	// Next comes instead of State, for one subscription never twice at a time,
	// after the last one was answered. It must not block nor call Notify.
	//
	// full: the watcher must be told everything, because this is the first
	// NOTIFY, or the one after a SUBSCRIBE or after one that the watcher refused
	// or a restart. Otherwise what is newer than the last Next is enough.
	//
	// ok false: there is nothing to tell, and nothing is sent unless a SUBSCRIBE
	// or a change of the subscription's own state asks for a NOTIFY, which has
	// then the body that was returned, or none.
	//
	// more: this was not all; Next is called again, with full false, as soon as
	// the watcher has accepted this part, without waiting for Options.Interval.
	// The subscription is not over before the last part was sent.
	Next(s *Subscription, full bool) (contentType string, body []byte, more, ok bool)
}

// Ender is a Source that keeps something for each subscription.
type Ender interface {
	// Ended is called once for each subscription that was accepted or loaded
	// (Notifier.Load), when it is off the tables; no Next comes afterwards. One
	// that was loaded may end before Resume has decided. It is not called for
	// those that are there when the process ends. It must not block.
	Ended(s *Subscription)
}

// Decision is a Source's answer.
type Decision struct {
	// Status refuses when it is not 0: 403, 404 …
	Status  int
	Reason  string // reason phrase, "" for the standard one
	Warning string // a sentence for a person, or ""
	// State is Active, or Pending while somebody has to be asked. 0 is Active.
	State State
	// Require is an option tag for the 200 and each NOTIFY, "eventlist" for a
	// list (RFC 4662 §4.1), or for a refusal with 421; "" for none.
	Require string
	// Event is how NOTIFYs spell the event package for this watcher, "" for
	// Options.Event. RFC 6665 §8.2.1 compares byte by byte; not all do so.
	Event string
	// Headers are further header fields, name and value, of the response to this
	// SUBSCRIBE: Accept of a 415, for example.
	Headers [][2]string
}
