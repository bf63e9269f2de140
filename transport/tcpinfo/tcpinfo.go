// Package tcpinfo asks the system what it has seen of the network below a TCP connection.
package tcpinfo

import "time"

// Line is the network below a connection.
type Line struct {
	// RTT is the shortest round trip of the last minutes, 0 when none was measured. The shortest, because a device may hold
	// back an acknowledgement, by up to half a second, which is not the line's fault.
	RTT time.Duration
	// Rate is how fast the peer last took what we sent, in bytes per second, 0 when not measured.
	Rate uint64
	// AtLeast: we had no more to send, so the line may carry more than Rate. So it is with nearly all that is SIP: a
	// connection proves itself slow only when more was sent than fits into its first window, about 14 kB.
	AtLeast bool
}
