package device

import (
	"math"
	"time"

	"github.com/parley-im/parley/wire/pidf"
)

// slowRTT is the longest round trip of a line that is not slow: satellites and mobile networks of the second generation
// are above it, everything else is far below.
const slowRTT = 500 * time.Millisecond

// Slow tells whether nobody should be made to wait for a large file on a line: one that carries less than 256 kbit/s (see
// pidf.ThroughputOf for the classes), or takes longer than slowRTT there and back. A line of which nothing is known is
// not slow.
func Slow(l pidf.Line) bool { return l.Throughput == pidf.Slow || l.RTT > slowRTT }

// lineOf is the class of a line: rtt is its round trip, rate its throughput in bytes per second, 0 for what is not known.
// atLeast says that the line may carry more than rate: then it is never called slow, and a low rate says nothing. So a
// line is slow only if that is proven.
//
// The round trip is rounded up to 1, 2, 5, 10, 20, 50… ms: so a document does not change with every measurement, and what
// is above slowRTT stays above it. Above a minute it is a minute.
func lineOf(rtt time.Duration, rate uint64, atLeast bool) pidf.Line {
	var l pidf.Line
	if rtt > 0 {
		l.RTT = roundUp(rtt)
	}
	t := pidf.ThroughputOf(8 * min(rate, math.MaxUint64/8))
	if !atLeast || t != pidf.Slow {
		l.Throughput = t
	}
	return l
}

// roundUp rounds to the next of 1, 2, 5, 10, … ms.
func roundUp(d time.Duration) time.Duration {
	for step := time.Millisecond; step < time.Minute; step *= 10 {
		for _, times := range []time.Duration{1, 2, 5} {
			if d <= times*step {
				return min(times*step, time.Minute)
			}
		}
	}
	return time.Minute
}

// The longest messages that are welcome, in bytes of the body, when the device has not told another number.
const (
	// deskScreen is what can be read on a display of a few lines.
	deskScreen = 1000
	// deskDatagram leaves room for the headers of a MESSAGE, 500 to 800 bytes, in the 1,300 bytes of a request that goes
	// over UDP as it is (RFC 3261 §18.1.1). A larger one is tried over TCP, which few such phones listen on.
	deskDatagram = 500
	// fragments is what the other devices get over UDP when TCP does not reach them: a datagram in three pieces. The more
	// pieces, the likelier is that a NAT or the line loses one.
	fragments = 4000
	// phoneScreen is some pages on a small screen.
	phoneScreen = 8000
	// slowLine takes half a second at 256 kbit/s.
	slowLine = 16_000
)

// maxMessage is the longest body in bytes that is welcome on a device: for longer ones a file is the better way. 0 when
// there is no limit to tell. class may be "", line is what lineOf says, transport as in Registration, limit what the
// server takes (0: any). These are the defaults; when several apply the smallest counts:
//
//	a desk phone          1,000   a few lines of screen
//	a desk phone on UDP   500     one datagram with its headers
//	any other on UDP      4,000   a datagram in three fragments, if TCP does not work
//	a phone               8,000   a small screen
//	on a slow line        16,000  half a second
//	all others            limit   a tablet, a desktop, a browser, or not known
func maxMessage(class pidf.DeviceClass, line pidf.Line, transport string, limit uint32) uint32 {
	most := uint32(math.MaxUint32)
	if limit > 0 {
		most = limit
	}
	switch class {
	case pidf.DeskPhone:
		most = min(most, deskScreen)
	case pidf.Phone:
		most = min(most, phoneScreen)
	}
	switch {
	case transport == "udp" && class == pidf.DeskPhone:
		most = min(most, deskDatagram)
	case transport == "udp":
		most = min(most, fragments)
	}
	if Slow(line) {
		most = min(most, slowLine)
	}
	if most == math.MaxUint32 {
		return 0
	}
	return most
}
