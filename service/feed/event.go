package feed

import (
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// Kind says what an event is about.
type Kind uint8

// The kinds of events. Recorded and Fated are in the log and have a position; a Ping has the position up to which everything was
// sent, when that is known; Ready and Reset have the position from which on events come as they happen.
const (
	Ready    Kind = iota + 1 // Name is the stream's
	Reset                    // more was missed than is sent again: load anew, and go on from Position
	Ping                     // nothing else came
	Recorded                 // Record; About when it was missed
	Fated                    // Fate
	Typing                   // Name writes, or has stopped: Active
	Seen                     // Value is what is seen of Name now
	Own                      // the owner's own presence is another one
	Contacts                 // the list of contacts is at Version
	Drafted                  // the draft for Name is another one
	Settings                 // the settings are others
	Ended                    // Name says why; the stream has ended
)

// Event is one thing that a stream tells.
type Event struct {
	Kind     Kind
	Position int64
	Record   *store.Record  // shared by all streams: it is only read
	About    []store.Record // edits, retractions and reactions about Record
	Fate     *Fate          // shared as well
	Name     string
	Active   bool
	Version  int64
	Value    any
}

// Fate is what became of a message at a device, or of all messages up to one.
type Fate struct {
	Seq        int64 // of the outcome; 0: it is put together from what is known, after a long absence
	At         time.Time
	Message    id.ID // zero: all of the conversation up to MessageSeq
	MessageSeq int64 // 0 when not known
	From, To   string
	Device     string // of To
	Outcome    string // one of store's
}

// size is what an event holds in memory, about, in bytes.
func (e *Event) size() int {
	const struct_ = 400
	if e.Record == nil {
		return struct_
	}
	return struct_ + recordSize(e.Record)
}

func recordSize(r *store.Record) int {
	n := 400 + len(r.Body)
	for k, v := range r.Meta {
		n += len(k) + len(v) + 32
	}
	return n
}

// about tells whether somebody may be told of a record, and is: whoever said it, and to whom.
func about(r *store.Record) (from, to string, ok bool) {
	switch r.Kind {
	case store.KindMessage, store.KindEdit, store.KindRetract, store.KindReaction, store.KindReceipt, store.KindCallStart, store.KindCallEnd:
		return r.From, r.To, true
	}
	return "", "", false
}
