package transaction

// The non-INVITE client transaction: RFC 3261 §17.1.2 and figure 6.

// trying: RFC 3261 §17.1.2.2, "Trying".
func (c *Client) trying(e event) {
	switch e.kind {
	case evRetransmit: // timer E: send request
		if c.fallback != nil {
			c.connected()
			return
		}
		c.again(c, min(2*c.interval, c.l.clock.t2))
		c.retransmit()
	case evTimeout: // timer F: inform TU
		c.timedOut()
	case evTransportError: // inform TU
		c.transportError(e.err)
	case evProvisional: // 1xx: resp. to TU
		c.state = proceeding
		if c.fallback != nil {
			c.fallback, c.next = nil, 0
			c.arm(c)
		}
		c.pass(e)
	case evSuccess, evFailure: // 200-699: resp. to TU
		c.complete(e)
	}
}

// proceeding: RFC 3261 §17.1.2.2, "Proceeding".
func (c *Client) proceeding(e event) {
	switch e.kind {
	case evRetransmit: // timer E: send request
		c.again(c, c.l.clock.t2)
		c.retransmit()
	case evTimeout: // timer F: inform TU
		c.timedOut()
	case evTransportError: // inform TU
		c.transportError(e.err)
	case evProvisional: // 1xx: resp. to TU
		c.pass(e)
	case evSuccess, evFailure: // 200-699: resp. to TU
		c.complete(e)
	}
}

// complete: resp. to TU; timer K, which over a reliable transport is zero. For its time the place in the table absorbs
// retransmissions of the response, without the transaction; that of a CANCEL is the INVITE's.
func (c *Client) complete(e event) {
	c.state = completed
	c.pass(e)
	c.settle()
	switch {
	case c.flow.Kind().Reliable():
		c.terminate()
	case c.parent != nil:
		c.wait(c, 0, c.l.clock.t4)
	default:
		c.wait(c, 0, 0)
		c.l.clients.count.Add(-1)
		c.l.clients.rest(c.id, c.l.wheel.after(0)+c.l.clock.t4)
	}
}

// completed: RFC 3261 §17.1.2.2, "Completed", of a CANCEL. It absorbs retransmissions of the response.
func (c *Client) completed(e event) {
	switch e.kind {
	case evProvisional, evSuccess, evFailure:
		c.l.metrics.retransmitted.received.Inc()
	case evTimeout: // timer K
		c.terminate()
	}
}
