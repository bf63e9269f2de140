// Package device says what is known of a device from its registration: what kind it is, how good its line is, and how long
// a message may be that is sent to it. It holds no state. What a device says about itself in its presence document
// (namespace urn:parley:presence, see package pidf) wins over all of it.
package device

import (
	"time"

	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/sip"
)

// Registration is what a device told when it registered, and what was measured on its connection.
type Registration struct {
	ID        string     // as in cursors and records: an instance URN, the id of a device password, or "plain"
	Contact   string     // URI by which others reach it: its public GRUU, "" for none
	Params    sip.Params // of its Contact, with +sip.instance and the feature tags of RFC 3840
	UserAgent string
	Transport string // "udp", "tcp", "tls", "ws" or "wss"
	Q         uint16 // 0…1000
	Since     time.Time

	// The line, as transport.Flow.Line tells it, or an RTT that was measured by other means; zero when not known.
	RTT     time.Duration
	Rate    uint64 // bytes per second
	AtLeast bool

	// Limit is the longest body that the server takes, in bytes; 0 when there is none.
	Limit uint32
}

// Of makes the device of a registration. It does no I/O; it allocates what the device keeps, so ask when a device has
// registered and keep the answer.
func Of(r *Registration) compose.Device {
	d := compose.Device{
		ID: r.ID, Contact: r.Contact, Q: r.Q, Since: r.Since,
		Class: classify(r.UserAgent, r.Params, r.Transport),
	}
	// A plain WebSocket most likely has a proxy in front that does TLS, as browsers give the microphone to secure pages
	// only: so its connection is not the device's.
	if r.Transport != "ws" {
		d.Line = lineOf(r.RTT, r.Rate, r.AtLeast)
	}
	d.MaxMessage = maxMessage(d.Class, d.Line, r.Transport, r.Limit)
	d.Service, d.Caps = pidf.FromFeatures(r.Params)
	return d
}
