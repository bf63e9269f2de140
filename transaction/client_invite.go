package transaction

import (
	"bytes"
	"fmt"

	"github.com/parley-im/parley/wire/sip"
)

// The INVITE client transaction: RFC 3261 §17.1.1 with figure 5 of RFC 6026 §8.4.
//
// RFC 3581 §3 would have a client behind a NAT repeat its INVITE every 20 s. A server is reached through the NAT of the
// other side, which the other side keeps open (RFC 5626 §4.4), so we do not.

// calling: RFC 3261 §17.1.1.2, "Calling".
func (c *Client) calling(e event) {
	switch e.kind {
	case evRetransmit: // timer A: reset A, INVITE sent
		if c.fallback != nil {
			c.connected()
			return
		}
		c.again(c, 2*c.interval)
		c.retransmit()
	case evTimeout: // timer B: inform TU
		c.timedOut()
	case evTransportError: // inform TU
		c.transportError(e.err)
	case evProvisional: // 1xx to TU
		c.state = proceeding
		c.fallback = nil
		c.wait(c, 0, 0) // from here on the TU decides how long: timer C of a proxy (RFC 3261 §16.6 step 11)
		c.pass(e)
		if c.cancelling {
			c.note(action{op: opCancel})
		}
	case evSuccess:
		c.accept(e)
	case evFailure:
		c.refuse(e)
	}
}

// inviteProceeding: RFC 3261 §17.1.1.2, "Proceeding".
func (c *Client) inviteProceeding(e event) {
	switch e.kind {
	case evTimeout: // RFC 3261 §9.1: no final response 64*T1 after our CANCEL
		c.timedOut()
	case evTransportError:
		c.transportError(e.err)
	case evProvisional: // 1xx to TU
		c.pass(e)
	case evSuccess:
		c.accept(e)
	case evFailure:
		c.refuse(e)
	}
}

// accept: 2xx to TU, which sends the ACK; timer M.
func (c *Client) accept(e event) {
	c.state = accepted
	c.pass(e)
	handler := c.handler
	c.settle()
	c.handler = handler // further 2xx are for it
	c.wait(c, 0, c.l.clock.long)
	c.unwatch()
}

// refuse: ACK sent, response to TU; timer D, which over a reliable transport is zero.
func (c *Client) refuse(e event) {
	c.state = completed
	c.ack = makeAck(c.request, e.msg)
	c.note(action{op: opSend, data: c.ack})
	c.pass(e)
	c.settle()
	if c.flow.Kind().Reliable() {
		c.terminate()
		return
	}
	c.wait(c, 0, c.l.clock.d)
}

// inviteCompleted: RFC 3261 §17.1.1.2, "Completed". The TU has its final response, so a transport error ends the
// transaction without a word.
func (c *Client) inviteCompleted(e event) {
	switch e.kind {
	case evFailure: // 300-699: ACK sent
		c.l.metrics.retransmitted.received.Inc()
		c.note(action{op: opSend, data: c.ack})
	case evTimeout, evTransportError: // timer D
		c.terminate()
	}
}

// inviteAccepted: RFC 6026 §7.2, "Accepted".
func (c *Client) inviteAccepted(e event) {
	switch e.kind {
	case evSuccess: // 2xx to TU
		c.pass(e)
	case evTimeout: // timer M
		c.terminate()
	}
}

// Cancel asks the server to give up an INVITE that has no final response yet; the INVITE still ends in its own way, most
// often with 487. RFC 3261 §9.1: the CANCEL waits for a provisional response, and if there is no final response 64*T1
// after it, the INVITE fails with ErrTimeout. For other methods, after a final response and the second time Cancel does
// nothing. headers may add to the CANCEL, a Reason for instance; they are called later, from any goroutine.
func (c *Client) Cancel(headers ...func(*sip.Draft)) {
	c.mu.Lock()
	if c.method == sip.INVITE && !c.cancelling && (c.state == calling || c.state == proceeding) {
		c.cancelling, c.headers = true, headers
		if c.state == proceeding {
			c.note(action{op: opCancel})
		}
	}
	c.release(c)
}

// sendCancel starts the client transaction of the CANCEL. It shares the branch, hence the place in the table, with the
// INVITE.
func (c *Client) sendCancel() {
	c.mu.Lock()
	if c.state != proceeding {
		c.mu.Unlock() // the final response was faster
		return
	}
	request, headers := c.request, c.headers
	n := &Client{id: c.id, method: sip.CANCEL, loop: c.loop, parent: c, target: c.target, sticky: c.sticky, flow: c.flow, sentBy: c.sentBy}
	c.mu.Unlock()

	d := followUp(sip.CANCEL, request)
	if d == nil {
		return
	}
	for _, h := range headers {
		c.l.guard("cancel header", func() { h(d) })
	}
	n.l = c.l
	n.state = trying
	n.request = d.Bytes()
	c.mu.Lock()
	if c.state != proceeding {
		c.mu.Unlock()
		return
	}
	c.holds.Add(1)
	c.l.clients.count.Add(1)
	c.cancel = n
	c.wait(c, 0, c.l.clock.long)
	c.mu.Unlock()
	c.l.metrics.created.client.Inc()
	n.begin(nil, n.l.wheel.after(0))
}

// makeAck is RFC 3261 §17.1.1.3: the ACK for a final response that is no 2xx.
func makeAck(invite []byte, response *sip.Message) []byte {
	d := followUp(sip.ACK, invite)
	if d == nil {
		return nil
	}
	return d.Set(sip.HTo, response.Get(sip.HTo)).Bytes()
}

// followUp is what CANCEL (RFC 3261 §9.1) and ACK (§17.1.1.3) have in common: Request-URI, top Via, From, To, Call-ID,
// the number of CSeq and the Route set of the INVITE.
func followUp(method string, invite []byte) *sip.Draft {
	m, err := sip.Parse(bytes.Clone(invite)) // Parse may rearrange what it is given
	if err != nil {
		return nil // what we rendered ourselves can be read
	}
	cseq, err := m.CSeq()
	if err != nil {
		return nil
	}
	d := sip.NewRequest(method, m.RequestURI()).Add(sip.HVia, m.Get(sip.HVia))
	for route := range m.Each(sip.HRoute) {
		d.Add(sip.HRoute, route)
	}
	return d.Add(sip.HMaxForwards, "70").
		Add(sip.HFrom, m.Get(sip.HFrom)).
		Add(sip.HTo, m.Get(sip.HTo)).
		Add(sip.HCallID, m.CallID()).
		Add(sip.HCSeq, fmt.Sprintf("%d %s", cseq.Seq, method))
}
