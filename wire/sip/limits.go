package sip

// Limits bound what is read from a peer. A zero field means the default.
type Limits struct {
	Headers     int // header rows, at most 65,535
	HeaderBytes int // start line, header rows and the empty line, in bytes, at most 65,535
	Body        int // body in bytes
	Vias        int // Via values in one message
	Line        int // one row with its continuation lines, and the start line, in bytes without the line end
}

// The default limits. The body's 64 kB of text may come in an envelope (CPIM, multipart), for which 8 kB are added.
const (
	DefaultHeaders     = 256
	DefaultHeaderBytes = 16 << 10
	DefaultBody        = 64<<10 + 8<<10
	DefaultVias        = 70
	DefaultLine        = 8 << 10
)

// DefaultLimits returns the limits that Parse uses.
func DefaultLimits() Limits {
	return Limits{DefaultHeaders, DefaultHeaderBytes, DefaultBody, DefaultVias, DefaultLine}
}

// maxOffset is what the 16-bit offsets of the header index can reach.
const maxOffset = 1<<16 - 1

// filled replaces zeros by the defaults and cuts to what the header index can hold.
func (l Limits) filled() Limits {
	d := DefaultLimits()
	pick := func(v, def int) int {
		if v <= 0 {
			return def
		}
		return v
	}
	return Limits{
		Headers:     min(pick(l.Headers, d.Headers), maxOffset),
		HeaderBytes: min(pick(l.HeaderBytes, d.HeaderBytes), maxOffset),
		Body:        pick(l.Body, d.Body),
		Vias:        pick(l.Vias, d.Vias),
		Line:        pick(l.Line, d.Line),
	}
}

// Error is what is wrong with a message, and how to answer it if it is a request that can be
// answered. Malformed responses are dropped whatever Status says (RFC 3261 §18.3).
type Error struct {
	Status int    // 400, 413, 416, 505
	Reason string // reason phrase for the answer; a constant of this package, without text of the peer
	Detail string // for the log; may hold a piece of the peer's text
}

// Error tells the reason and the detail, prefixed with the package.
func (e *Error) Error() string {
	if e.Detail == "" {
		return "sip: " + e.Reason
	}
	return "sip: " + e.Reason + ": " + e.Detail
}

// bad is a 400 with a reason phrase that helps the sender's developer (RFC 3261 §21.4.1).
func bad(reason, detail string) *Error {
	const most = 64
	if len(detail) > most {
		detail = detail[:most]
	}
	return &Error{Status: 400, Reason: reason, Detail: detail}
}
