// Package transaction is the transaction layer of SIP: the client and server state machines of RFC 3261 §17 with the
// Accepted states of RFC 6026, the limits on non-INVITE responses of RFC 4320, and those parts of RFC 3261 §18 and
// RFC 3581 that need to know a transaction (received and rport in the top Via, the way back of a response, the change
// from UDP to TCP for large requests).
//
// The layer sits between transport, which hands it every message, and a core (Handler), which sees each new request once
// and each response once. Retransmissions in both directions, ACK for non-2xx, CANCEL and its 200 stay inside.
//
//	transport ─ Message ─▶ Layer ─┬─ response ─▶ Client ─ Response, Failed ─▶ ClientHandler
//	                              ├─ request ──▶ Server ─ Request, OnCancel ─▶ Handler
//	                              └─ ACK ──────▶ Server, or Handler.Ack
//
// A transaction is a small struct in a sharded table. It has no goroutine and no time.Timer: all timers sit in one wheel.
// A client transaction is found by an index that travels in our own Via branch under a MAC, a server transaction by a
// keyed hash of branch, sent-by and method. Each state of each machine is one function named as in the figure of the RFC;
// it runs under the transaction's mutex and only notes what is to be done. The notes are carried out after the mutex is
// released, by one goroutine at a time and in order, so that callbacks of one transaction are serial, may call back into
// the transaction, and no lock is held while sending.
package transaction
