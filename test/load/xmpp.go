package main

import (
	"errors"
	"slices"
	"time"

	"github.com/parley-im/parley/test/load/xmpp"
)

// overXMPP is the transport of servers that speak XMPP, over plain TCP. They are only ever attached to.
const overXMPP = "xmpp"

func (o *options) checkXMPP() error {
	if !slices.Contains(o.transports, overXMPP) {
		return nil
	}
	switch {
	case len(o.servers) == 0:
		return errors.New("load: -transport xmpp needs -server xmpp=host:port")
	case !slices.Contains(talkerModes, o.mode):
		return errors.New("load: over XMPP the modes are message, register and idle")
	}
	return nil
}

// startStanza sends a chat message from the first user of a pair to the second. XMPP acknowledges nothing to the sender, so
// what was written counts as acknowledged, and the unit ends when the other client has it.
func (t *trial) startStanza(lane int, due time.Duration) {
	_, to := t.pair(lane)
	n := t.ledger.Send(lane)
	t.ledger.Resolve(lane, n, true)
	if err := t.talkers[2*lane].(*xmpp.Client).Send(to.User, n, t.body(lane, n, due)); err != nil {
		t.problem("sending: %v", err)
		go t.driver.Finished(lane, false) // not before this function returns
	}
}

// heard notes a chat message at its receiver.
func (t *trial) heard(body []byte) {
	at := now()
	lane, n, due, ok := parseMark(string(body), ' ')
	if t.ledger == nil || !ok {
		t.unknown.Add(1)
		return
	}
	known, first := t.ledger.ReceiveOnce(lane, n)
	switch {
	case !known:
		t.unknown.Add(1)
	case first:
		t.done.Add(1)
		if t.measured(due) {
			t.receipt.Add(at - due)
		}
		t.driver.Finished(lane, !t.talkers[2*lane].Gone())
	}
}
