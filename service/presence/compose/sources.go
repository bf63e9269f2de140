// Package compose makes one presence state of everything that is known about a person, and documents of it for those who may
// see more or less. It holds no state and does not wait: what wins is decided in Compose, who sees what in View.
package compose

import (
	"time"

	"github.com/parley-im/parley/wire/pidf"
)

// Sources are all that is known of a person at one moment.
type Sources struct {
	AOR          string // "alice@example.com"
	Devices      []Device
	Publications []Publication
	Manual       Manual
	Calls        Calls
	Meetings     []Meeting
	Now          time.Time
}

// Device is one registered device.
type Device struct {
	ID         string           // as in cursors and records: an instance URN, the id of a device password, or "plain"
	Contact    string           // URI by which others reach it: its public GRUU, "" for none
	Class      pidf.DeviceClass // "" when not known
	Line       pidf.Line        // as measured; what the device publishes wins
	MaxMessage uint32           // bytes; 0 when not known
	Service    *pidf.ServiceCaps
	Caps       *pidf.DeviceCaps
	Q          uint16    // 0…1000, the preference of the registration
	Since      time.Time // when it registered
	Idle       time.Time // since when nobody has used it, told by the device beside what it publishes; zero: in use, or not told
}

// Publication is one document that a device published (RFC 3903).
type Publication struct {
	ETag    string
	Device  string // as Device.ID
	Alone   bool   // Device had no registration when it published this: a calendar, a door. It says something of the person all the same
	Doc     *pidf.Presence
	Updated time.Time // when this document came; refreshing it (RFC 3903 §4.3) is no update
	Expires time.Time // zero: never
}

// Manual is what the person said by hand.
type Manual struct {
	State pidf.Availability // "" leaves it to the rest; Offline: appear offline
	Note  string
	Until time.Time // after which neither counts any more; zero: until it is changed
	Set   time.Time
}

// Holds tells whether the manual state and note still count.
func (m *Manual) Holds(now time.Time) bool { return m.Until.IsZero() || m.Until.After(now) }

// Calls counts what the server itself sees.
type Calls struct {
	Ringing int // calls that ring at the person, or that the person is making
	Talking int
}

// Meeting is an entry of a calendar.
type Meeting struct {
	From, Until time.Time
	Subject     string
	Place       string
}
