package main

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/parley-im/parley/test/load/xmpp"
)

// overXMPP is the transport of servers that speak XMPP, over plain TCP. They are only ever attached to.
const overXMPP = "xmpp"

// xmppModes is what the tool does with them.
var xmppModes = []string{"message", "register", "idle"}

func (o *options) checkXMPP() error {
	if !slices.Contains(o.transports, overXMPP) {
		return nil
	}
	switch {
	case len(o.servers) == 0:
		return errors.New("load: -transport xmpp needs -server xmpp=host:port")
	case !slices.Contains(xmppModes, o.mode):
		return errors.New("load: over XMPP the modes are message, register and idle")
	}
	return nil
}

// addTalkers makes the XMPP client of every user.
func (t *trial) addTalkers() {
	if t.row.transport != overXMPP {
		return
	}
	for i := range t.clients {
		t.talkers = append(t.talkers, &xmpp.Client{
			Domain: t.o.domain, User: t.o.user + strconv.Itoa(i), Password: t.o.password + strconv.Itoa(i),
			Received: t.heard, Problem: t.problem,
		})
	}
}

// pick is how a trial starts its units.
func pick(t *trial, overSIP, overXMPP func(lane int, due time.Duration)) func(lane int, due time.Duration) {
	if t.talkers != nil {
		return overXMPP
	}
	return overSIP
}

// startStanza sends a chat message from the first user of a pair to the second. XMPP acknowledges nothing to the sender, so
// what was written counts as acknowledged, and the unit ends when the other client has it.
func (t *trial) startStanza(lane int, due time.Duration) {
	_, to := t.pair(lane)
	n := t.ledger.Send(lane)
	t.ledger.Resolve(lane, n, true)
	if err := t.talkers[2*lane].Send(to.User, n, t.body(lane, n, due)); err != nil {
		t.problem("sending: %v", err)
		go t.driver.finished(lane, false) // not before this function returns
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
		t.driver.finished(lane, !t.talkers[2*lane].Gone())
	}
}

// startTalker connects a user and signs in.
func (t *trial) startTalker(lane int, due time.Duration) {
	go func() {
		err := t.talkers[lane].SignIn(t.target.addrs[overXMPP])
		t.signedIn(err, due)
		t.driver.finished(lane, false) // once each
	}()
}

// startPing sees whether a connection is still there.
func (t *trial) startPing(lane int, due time.Duration) {
	t.talkers[lane].Ping(func(ok bool) {
		err := errors.New("load: no answer to a ping")
		if ok {
			err = nil
		}
		t.signedIn(err, due)
		go t.driver.finished(lane, false)
	})
}

func (t *trial) signedIn(err error, due time.Duration) {
	if err != nil {
		t.status(0)
		t.problem("%v", err)
		return
	}
	t.status(200) // as in SIP
	t.done.Add(1)
	if t.measured(due) {
		t.ack.Add(now() - due)
	}
}
