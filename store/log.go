package store

import (
	"context"
	"time"

	"github.com/parley-im/parley/base/id"
)

// Log is the one append-only log of everything said and done. Offline delivery, history, search and events are readers of
// it with a cursor. Voided records are never returned by any method.
type Log interface {
	// Append queues r and returns at once; it never blocks and never calls done itself. Done runs exactly once, on the
	// log's callback goroutine, in the order of the calls of Append (only refusals without a try, like ErrBusy, may
	// overtake); it must not block. It gets nil when r is durable, and r.Seq is set by then; else ErrBusy, ErrUnavailable,
	// ErrClosed, or an error of kind Invalid when r is beyond the limits or holds text that is not UTF-8. It has run
	// within a second, whatever the database does.
	//
	// Append sets ID and At when they are zero, cuts At to microseconds and sets Hash. The record belongs to the log until
	// done runs, and must not be changed after.
	Append(r *Record, done func(error))

	// Head is the highest Seq that readers may see; all records up to it are durable.
	Head() int64

	// Read returns up to limit records (1 … 1,000) after the given Seq in ascending order. Fewer than limit does not mean
	// the end: compare with Head.
	Read(ctx context.Context, after int64, limit int) ([]Record, error)

	// Newest returns all records after the given Seq up to Head, if they are still in memory: about a thousand are, of this
	// server's own. False says that they must be read. They are shared, and must not be changed.
	Newest(after int64) ([]*Record, bool)

	// Get returns the records with these Seqs, ascending; those that do not exist are left out.
	Get(ctx context.Context, seqs ...int64) ([]Record, error)

	// Find returns the record with this ID, or ErrNotFound. It is a search in the log around the time in the ID, and it
	// finds what was appended under an ID made by id.New shortly before.
	Find(ctx context.Context, rid id.ID) (*Record, error)

	// Tail calls fn for each message, edit, retraction, reaction and receipt since the given time, newest first, until fn
	// returns an error (ErrStop: Tail returns nil). Only Seq, ID, At, Kind, From, To, Device, Ref and Meta are filled: it is for
	// the window of known requests. The bounds in time are as good as the clock was; Tail prefers to return more.
	Tail(ctx context.Context, since time.Time, fn func(*Record) error) error

	// Subscribe calls fn with the new Head whenever it moved, on the callback goroutine, after the done functions of these
	// records; fn must not block. It is a hint: a reader also looks at Head when it starts and from time to time.
	Subscribe(fn func(head int64)) (cancel func())
}

// Query is what Index.Search looks for; the zero Query is everything.
type Query struct {
	Words  string    // all of these words must be in the text, in any order; "wor*" is any word that begins so
	Person string    // AOR: in From or To
	With   string    // AOR: with Person, only what went between the two
	Since  time.Time // at this time or later; zero: from the beginning
	Until  time.Time // before this time; zero: to the end
	Kinds  []string  // any of these; none: messages, edits, retractions, reactions, calls, administrative acts and searches
	After  int64     // only Seqs above (paging upwards)
	Before int64     // only Seqs below; 0: no bound (paging downwards)
	Newest bool      // newest first, else oldest first
	Limit  int       // most records to return, 1 … 1,000; 0: 100
}

// Index finds records in the log. It is a reader of the log, milliseconds behind, in a database of its own, and is
// rebuilt from the log when it is lost.
type Index interface {
	// Position is the Seq up to which the log is indexed.
	Position() int64
	// WaitFor calls done once, from the indexer's goroutine or at once from the caller's, when everything up to seq is
	// indexed, or when the store stops. Done must not block. Cancel gives up: whoever no longer waits calls it, for while the
	// index is made again all others do so for minutes. Done is not called after it, but may be running. See Indexed.
	WaitFor(seq int64, done func()) (cancel func())
	// Mailbox returns up to limit (1 … 1,000) messages, edits, retractions, reactions and receipts to the AOR after the given
	// Seq, ascending. Fewer than limit is the end, as far as the index is.
	Mailbox(ctx context.Context, aor string, after int64, limit int) ([]Record, error)
	// Conversation returns up to limit (1 … 1,000) messages and starts of calls between two AORs before the given Seq (0: the
	// end), newest first. Fewer than limit is the beginning.
	Conversation(ctx context.Context, a, b string, before int64, limit int) ([]Record, error)
	// Message returns the message of this sender with this imdn.Message-ID, the newest if there are several, or
	// ErrNotFound.
	Message(ctx context.Context, from, messageID string) (*Record, error)
	// Search returns what fits the query, at most Limit. Fewer than Limit is the end. Page with After or Before.
	Search(ctx context.Context, q Query) ([]Record, error)
	// OpenCalls returns the call.start records that have no call.end, ascending.
	OpenCalls(ctx context.Context) ([]Record, error)
}

// Waiter is the part of an Index that tells how far it is.
type Waiter interface {
	WaitFor(seq int64, done func()) (cancel func())
}

// Indexed waits until everything up to seq is indexed, or the store stops; or until ctx ends, and returns ctx.Err() then.
func Indexed(ctx context.Context, x Waiter, seq int64) error {
	done := make(chan struct{})
	cancel := x.WaitFor(seq, func() { close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		cancel()
		return ctx.Err()
	}
}
