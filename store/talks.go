package store

import (
	"context"
	"time"

	"github.com/parley-im/parley/base/id"
)

// Talk is one conversation as its owner has it.
type Talk struct {
	Owner, Peer string // AORs; the same for what somebody says to himself
	Last        int64  // Seq of the newest message or call in it, 0 when nothing was said
	Sent        int64  // Seq of the newest message or call of Owner, 0 for none
	Read        int64  // Seq up to which Owner has read: the highest MetaSeq of his receipts that say "displayed"; 0 for none
}

// MaxAbout is how many records Talks.About returns of one ID: all that people can have done to a message, many times over.
const MaxAbout = 200

// MaxEdits is how many records Talks.Edits returns.
const MaxEdits = 200

// Talks finds what the pages and programs of people show of conversations. It is a part of the index: milliseconds behind
// the log (Index.WaitFor), and made again from it when it is lost. Voided records are never returned, but Talk.Last and
// Talk.Sent may be the Seq of one. Limits of lists are 1 … 1,000, else an error of kind Invalid; fewer records than the limit is the
// end, as far as the index is. Databases that do not answer give errors of kind Unavailable.
type Talks interface {
	// Talks returns conversations of the owner in the order of Last, newest first: those with Last < before; 0: from the
	// newest. Those without a message or call are left out.
	Talks(ctx context.Context, owner string, before int64, limit int) ([]Talk, error)
	// Talk returns one conversation; all Seqs are 0 when the index knows nothing of it.
	Talk(ctx context.Context, owner, peer string) (Talk, error)
	// Unread counts the messages of Peer to Owner after max(Read, Sent), up to most (1 … 1,000).
	Unread(ctx context.Context, t Talk, most int) (int, error)
	// About returns what was done to these, as it stands now, ascending: of each person the latest edit and the latest
	// retraction, and the latest reaction with each emoji, also one that takes it away; for calls their end. Somebody who edits or
	// reacts again and again makes it no longer. Of one ID it returns MaxAbout at most: reactions that were taken away are
	// left out first, then the oldest. Whether their senders may do what they say is the caller's to judge.
	About(ctx context.Context, ids ...id.ID) ([]Record, error)
	// Edits returns the edits that somebody made to a record, ascending: the newest MaxEdits, among the newest 1,000 edits and
	// reactions of anybody.
	Edits(ctx context.Context, rid id.ID, from string) ([]Record, error)
	// Fates returns the deliveries and receipts that have this one as Ref, ascending.
	Fates(ctx context.Context, rid id.ID) ([]Record, error)
	// ConversationAfter returns messages and starts of calls between two AORs after the given Seq, ascending. It is
	// Index.Conversation the other way round.
	ConversationAfter(ctx context.Context, a, b string, after int64, limit int) ([]Record, error)
	// ConversationSince returns the Seq of the first message or call between two AORs at this time or later; 0 for none.
	ConversationSince(ctx context.Context, a, b string, t time.Time) (seq int64, err error)
	// PersonAfter returns messages, edits, retractions, reactions, receipts, and starts and ends of calls from or to the
	// AOR after the given Seq, ascending.
	PersonAfter(ctx context.Context, aor string, after int64, limit int) ([]Record, error)
}
