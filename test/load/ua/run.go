// Package ua is a SIP user agent for tools that play many of them at once: it costs little, repeats over UDP what is not
// answered, signs in when it is challenged, and tells what should not happen.
package ua

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/wire/sip"
)

// A Run is what the clients of one run share. The functions are called from many goroutines; Received and Rang may be nil
// when every client has an On of its own.
type Run struct {
	ID       string                           // unlike that of other runs on the same server
	Problem  func(format string, args ...any) // what should not happen
	Received func(m *sip.Message)             // a MESSAGE or BYE came, not a repetition
	Rang     func(m *sip.Message)             // an INVITE came, not a repetition

	Readers    sync.WaitGroup // of the links
	Challenges atomic.Int64   // answered
	Resent     atomic.Int64   // repetitions of ours
	Repeated   atomic.Int64   // repetitions of the server
}

// epoch is what all times count from.
var epoch = time.Now()

// Now is the time that Tick and the due times of a tool count in.
func Now() time.Duration { return time.Since(epoch) }

// SDP offers and accepts a voice call (RFC 3264).
var SDP = []byte("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
	"m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n")
