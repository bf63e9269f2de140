package transaction

import "github.com/parley-im/parley/base/errs"

// What ClientHandler.Failed is told. They come wrapped, with the cause.
var (
	// ErrTimeout: no final response in time. For a proxy this is like a 408 (RFC 3261 §16.7), which it must not pass on
	// for a request other than INVITE (RFC 4320 §4.2).
	ErrTimeout = errs.New(errs.Unavailable, "transaction: no final response in time")
	// ErrTransport: the request could not be sent, or its connection ended before the final response. For a proxy this is
	// like a 503 (RFC 3261 §16.9).
	ErrTransport = errs.New(errs.Unavailable, "transaction: transport failed")
	// ErrTooMany: the limit on client transactions is reached; nothing was sent.
	ErrTooMany = errs.New(errs.TooMany, "transaction: too many client transactions")
	// ErrClosed: the layer has stopped.
	ErrClosed = errs.New(errs.Unavailable, "transaction: stopped")
	// ErrMessage: the draft is no request, or is an ACK, which has no transaction; nothing was sent.
	ErrMessage = errs.New(errs.Internal, "transaction: not a request for a transaction")
)
