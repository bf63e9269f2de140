// Package store holds what the server remembers: the records of the log and the small interfaces through which services
// append to it, read it and keep their state. It is values and promises only; package sqlstore keeps them, on SQLite and on
// PostgreSQL.
package store

import (
	"time"

	"github.com/parley-im/parley/base/id"
)

// Kinds of records. The kind is part of what is hashed, so a kind is never renamed.
const (
	KindMessage   = "message"    // something said by From to To; Body is what was said
	KindDelivery  = "delivery"   // what became of message Ref at Device of To: MetaOutcome says
	KindReceipt   = "receipt"    // a disposition notification of From about message Ref (RFC 5438), see MetaSeq
	KindEdit      = "edit"       // From says message Ref anew; Body is what it says from now on
	KindRetract   = "retract"    // From takes message Ref back; no Body
	KindReaction  = "reaction"   // From puts the emoji in Body to message Ref, or takes it away: MetaRemoved
	KindCallStart = "call.start" // From called To
	KindCallText  = "call.text"  // said by From in the call of record Ref, after its start
	KindCallEnd   = "call.end"   // the call of record Ref ended: MetaOutcome, MetaDuration
	KindAdmin     = "admin"      // an administrative act of From, concerning To
	KindSearch    = "search"     // From searched the archive
	KindSession   = "session"    // From signed in or out on Device, or signed To out: MetaAction
	KindVoid      = "void"       // record Ref is void: its sender was told that it was not recorded
)

// Keys of Record.Meta. Values are text; services may add keys of their own, in lower case with underscores.
const (
	MetaCallID    = "call_id"    // Call-ID of the request that made the record
	MetaFromTag   = "from_tag"   // its From tag
	MetaToTag     = "to_tag"     // its To tag, when inside a dialog
	MetaCSeq      = "cseq"       // its CSeq number, decimal
	MetaRequestID = "request_id" // id that an API client gave to its request
	MetaMessageID = "message_id" // imdn.Message-ID (RFC 5438 §6.3); for a receipt, that of the message it is about
	MetaOutcome   = "outcome"    // one of the Outcome values, or for a call end how it ended
	MetaStatus    = "status"     // SIP status code, decimal
	MetaReason    = "reason"     // words for people
	MetaDuration  = "duration"   // milliseconds, decimal
	MetaPriority  = "priority"   // Priority header
	MetaSubject   = "subject"    // Subject header
	MetaLanguage  = "language"   // Content-Language header
	MetaGRUU      = "gruu"       // the one device the record was addressed to
	MetaAction    = "action"     // what an admin record did, as "user.add"
	MetaQuery     = "query"      // what a search record looked for
	MetaCount     = "count"      // how many things were concerned, decimal
	MetaVia       = "via"        // the door: "sip", "api", "cli"
	MetaDisplay   = "display"    // display name in From
	MetaHeaders   = "headers"    // of a call: rows of headers with words in them, "Name: value", one a line
	MetaSeq       = "seq"        // Seq of the message that an outcome or a receipt is about, decimal
	MetaPeer      = "peer"       // of a receipt to the reader's own devices: the other side of the conversation, "" when it is To
	MetaReplyTo   = "reply_to"   // ID of the message that this one answers, in text form
	MetaQuoteFrom = "quote_from" // AOR of whom the quoted message is from
	MetaQuote     = "quote"      // beginning of the message that this one answers, or is about, in plain text
	MetaFile      = "file"       // id of the file in the message, when it is one of ours
	MetaCaption   = "caption"    // words to the file in the message, in plain text
	MetaRemoved   = "removed"    // "1" for a reaction that is taken away
)

// Outcomes of a delivery (MetaOutcome).
const (
	OutcomeDelivered = "delivered" // the device answered 2xx
	OutcomeRefused   = "refused"   // the device refused it for good
	OutcomeExpired   = "expired"   // the device was away too long
)

// OutcomeDisplayed is the MetaOutcome of a receipt that says that its message was read (RFC 5438 §7.2.1.2). With MetaSeq it
// says so of everything in the conversation up to that message.
const OutcomeDisplayed = "displayed"

// Limits of one record. Append refuses what is larger with an error of kind Invalid.
const (
	MaxBody = 16 << 20 // bytes of Body
	MaxText = 4 << 10  // bytes of each of Kind, From, To, Device and ContentType
	MaxMeta = 64 << 10 // bytes of all keys and values of Meta together
)

// Record is one entry of the log. It never changes once appended.
type Record struct {
	Seq         int64             // place in the log, from 1, given by the committer; gaps are possible
	ID          id.ID             // time-ordered; given by Append when zero
	At          time.Time         // UTC, whole microseconds; given by Append when zero
	Kind        string            // one of the Kind constants
	From, To    string            // AORs as "alice@example.com"; "" for none
	Device      string            // the sender's device for messages, the device concerned for deliveries
	Ref         id.ID             // the record this one is about; zero for none
	ContentType string            // media type of Body, as received
	Body        []byte            // as received, after Content-Encoding was undone
	Meta        map[string]string // small; nil for none
	Hash        [32]byte          // of all of the above but Seq, see Sum
}

// MetaValue returns Meta[key], "" when there is none.
func (r *Record) MetaValue(key string) string { return r.Meta[key] }
