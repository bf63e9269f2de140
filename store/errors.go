package store

import (
	"errors"

	"github.com/parley-im/parley/base/errs"
)

// What can go wrong. Each has its kind, so that callers may ask either for the error or for the kind.
var (
	// ErrBusy (TooMany): too much waits to be recorded already. Nothing was queued.
	ErrBusy = errs.New(errs.TooMany, "store: the queue of the log is full")
	// ErrUnavailable (Unavailable): the record was not durable within 800 ms. It is void and will never be read.
	ErrUnavailable = errs.New(errs.Unavailable, "store: the log cannot be written now")
	// ErrClosed (Unavailable): the store is stopping.
	ErrClosed = errs.New(errs.Unavailable, "store: closed")
	// ErrLogLost is what Serve returns when the log could not be brought back to a known state. The process must exit:
	// only a fresh start, which reads what is really on the disk, may acknowledge again.
	ErrLogLost = errs.New(errs.Internal, "store: the log is in an unknown state and cannot be written")
	// ErrNotFound (NotFound): there is no such user, password, record or value.
	ErrNotFound = errs.New(errs.NotFound, "store: not found")
	// ErrNewerSchema (Conflict): the data was written by a newer version of the program.
	ErrNewerSchema = errs.New(errs.Conflict, "store: the data was written by a newer version")
	// ErrInUse (Conflict): another server runs on this data folder.
	ErrInUse = errs.New(errs.Conflict, "store: the data folder is in use")

	// ErrStop may be returned by callbacks of Tail to end it without an error.
	ErrStop = errors.New("store: stop")
)
