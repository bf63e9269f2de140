package transaction

// The INVITE server transaction: RFC 3261 §17.2.1 with figure 7 of RFC 6026 §8.6.
//
// A transport error leaves every state as it is (RFC 6026 §7.1): retransmissions of the INVITE go on being absorbed, and
// the next response may find a way. It is counted and logged when it happens.

// inviteProceeding: RFC 3261 §17.2.1, "Proceeding".
func (t *serverTx) inviteProceeding(e event) {
	switch e.kind {
	case evRequest: // INVITE: send response
		t.repeat()
	case evRetransmit: // 200 ms: send 100 if the TU has not
		t.next = 0
		t.arm(t)
		t.send(t.trying100())
	case evProvisional: // 101-199 from TU, or its own 100: send response
		t.next = 0
		t.arm(t)
		t.send(e.data)
	case evSuccess: // 2xx from TU: send response
		t.state = accepted
		t.final(e.data)
		t.last = nil // the TU alone repeats a 2xx
		t.wait(t, 0, t.l.clock.long)
	case evFailure: // 300-699 from TU: send response
		t.state = completed
		t.final(e.data)
		t.l.servers.retire(t)
		if t.reliable {
			t.wait(t, 0, t.l.clock.long)
			return
		}
		t.interval = t.l.clock.t1
		t.wait(t, t.interval, t.l.clock.long)
	case evCancel: // RFC 3261 §9.2: tell the TU, once
		if t.cancelled {
			return
		}
		t.cancelled = true
		if t.onCancel == nil {
			t.cancel = e.msg
			return
		}
		t.note(action{op: opCancel, msg: e.msg})
	}
}

// inviteCompleted: RFC 3261 §17.2.1, "Completed". Timer G repeats the response over UDP, timer H gives up.
func (t *serverTx) inviteCompleted(e event) {
	switch e.kind {
	case evRequest: // INVITE: send response
		t.repeat()
	case evRetransmit: // timer G: send response
		t.again(t, min(2*t.interval, t.l.clock.t2))
		t.repeat()
	case evAck:
		t.state = confirmed
		t.last = nil
		if t.reliable { // timer I is zero
			t.terminate()
			return
		}
		t.wait(t, 0, t.l.clock.t4)
	case evTimeout: // timer H: the ACK never came
		t.l.metrics.timeouts.ack.Inc()
		t.terminate()
	case evEvict:
		t.terminate()
	}
}

// inviteConfirmed: RFC 3261 §17.2.1, "Confirmed". It absorbs further ACKs until timer I.
func (t *serverTx) inviteConfirmed(e event) {
	switch e.kind {
	case evTimeout, evEvict: // timer I
		t.terminate()
	}
}

// inviteAccepted: RFC 6026 §7.1, "Accepted". It absorbs retransmissions of the INVITE until timer L.
func (t *serverTx) inviteAccepted(e event) {
	switch e.kind {
	case evSuccess: // 2xx from TU: send response
		t.send(e.data)
		t.last = nil
	case evAck: // ACK to TU
		t.note(action{op: opAck, msg: e.msg, flow: e.flow})
	case evTimeout: // timer L
		t.terminate()
	}
}
