// Package sip reads and writes SIP messages: the grammar of RFC 3261 §7, §19.1, §20 and §25 with the
// header fields of the extensions that Parley speaks.
//
// A [Message] is one buffer plus offsets. [Parse] finds the start line and the header rows once;
// everything else is decoded when it is asked for. The strings that a message gives out are views on
// its buffer: they cost nothing and keep the whole buffer alive, so a small piece that is kept for
// long is to be cloned (strings.Clone). A parsed message never changes and may be read by several
// goroutines.
//
// [Check] is the strict reader of everything Parse did not need: it tells what RFC 4475 would have a
// careful element answer. A [Draft] is a message being written, new or spliced from one received.
//
// The package has no sockets, goroutines or clocks.
package sip

// The methods that the IANA registry knows. Methods are plain strings and are case-sensitive
// (RFC 3261 §7.1).
const (
	INVITE    = "INVITE"
	ACK       = "ACK"
	BYE       = "BYE"
	CANCEL    = "CANCEL"
	OPTIONS   = "OPTIONS"
	REGISTER  = "REGISTER"
	MESSAGE   = "MESSAGE"   // RFC 3428
	SUBSCRIBE = "SUBSCRIBE" // RFC 6665
	NOTIFY    = "NOTIFY"    // RFC 6665
	PUBLISH   = "PUBLISH"   // RFC 3903
	REFER     = "REFER"     // RFC 3515
	INFO      = "INFO"      // RFC 6086
	PRACK     = "PRACK"     // RFC 3262
	UPDATE    = "UPDATE"    // RFC 3311
)

// Version is the only protocol version there is (RFC 3261 §7.1).
const Version = "SIP/2.0"

// MagicCookie starts every branch of RFC 3261 §8.1.1.7.
const MagicCookie = "z9hG4bK"
