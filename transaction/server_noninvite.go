package transaction

// The non-INVITE server transaction: RFC 3261 §17.2.2 and figure 8, with RFC 4320 §4.
//
// As in figure 7 of RFC 6026 (and in RFC 6026 §8.8 for both kinds), a transport error leaves the state as it is.

// trying: RFC 3261 §17.2.2, "Trying". Retransmissions of the request are discarded.
func (t *serverTx) trying(e event) {
	switch e.kind {
	case evRetransmit: // RFC 4320 §4.1: send 100 when timer E of the client has reached T2
		t.state = proceeding
		t.next = 0
		t.arm(t)
		t.send(t.trying100())
	case evProvisional: // 1xx from TU: send response
		t.state = proceeding
		t.next = 0
		t.arm(t)
		t.send(e.data)
	case evSuccess, evFailure: // 200-699 from TU: send response
		t.complete(e)
	case evTimeout:
		t.abandon()
	}
}

// proceeding: RFC 3261 §17.2.2, "Proceeding".
func (t *serverTx) proceeding(e event) {
	switch e.kind {
	case evRequest: // Request: send response
		t.repeat()
	case evProvisional: // 1xx from TU: send response
		t.send(e.data)
	case evSuccess, evFailure: // 200-699 from TU: send response
		t.complete(e)
	case evTimeout:
		t.abandon()
	}
}

// completed: RFC 3261 §17.2.2, "Completed". It exists to answer retransmissions over UDP until timer J; other final
// responses are discarded.
func (t *serverTx) completed(e event) {
	switch e.kind {
	case evRequest: // Request: send response
		t.repeat()
	case evTimeout, evEvict: // timer J
		t.terminate()
	}
}

// complete sends the final response and enters Completed, which over a reliable transport takes no time.
func (t *serverTx) complete(e event) {
	t.state = completed
	t.final(e.data)
	if t.reliable { // timer J is zero
		t.terminate()
		return
	}
	if t.keepable() {
		t.wait(t, 0, 0)
		t.kept = true
		t.l.servers.keep(t, e.data, t.l.wheel.after(0)+t.l.clock.long, t.l.wheel)
		return
	}
	t.wait(t, 0, t.l.clock.long)
	t.l.servers.retire(t)
}

// abandon ends a transaction that the TU never answered. After 64*T1 the client has given up (its timer F) and an answer
// would be of no use (RFC 4320 §4.2: then no final response is sent at all).
func (t *serverTx) abandon() {
	t.l.metrics.timeouts.unanswered.Inc()
	t.terminate()
}
