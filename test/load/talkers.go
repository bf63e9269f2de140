package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/parley-im/parley/test/load/page"
	"github.com/parley-im/parley/test/load/xmpp"
)

// A talker is a user who does not speak SIP.
type talker interface {
	SignIn(address string) error
	Ping(done func(ok bool))
	Gone() bool
	Close()
}

// Users of the API: they sign in over HTTP and keep a stream of events open, as the web client does.
const (
	overHTTP  = "http"
	overHTTPS = "https"
)

// talkerModes is what the tool does with talkers.
var talkerModes = []string{"message", "register", "idle"}

func overAPI(transport string) bool { return transport == overHTTP || transport == overHTTPS }

// checkAPI: only a server that the tool started itself takes so many sign-ins from one address.
func (o *options) checkAPI() error {
	switch {
	case !slices.ContainsFunc(o.transports, overAPI):
		return nil
	case len(o.servers) > 0:
		return errors.New("load: http and https are for the private server, without -server")
	case !slices.Contains(talkerModes, o.mode):
		return fmt.Errorf("load: over HTTP the modes are %v", talkerModes)
	}
	return nil
}

// httpConfig is the private server's section http for a transport. Sessions may call as often as the tool likes.
func httpConfig(transport string) string {
	if transport == overHTTP {
		return "tls = \"off\"\nrate = 0\nsign_in_rate = 0\n"
	}
	return "rate = 0\nsign_in_rate = 0\n"
}

// addTalkers makes the talker of every user.
func (t *trial) addTalkers() {
	for i := range t.clients {
		user, password := t.o.user+strconv.Itoa(i), t.o.password+strconv.Itoa(i)
		switch {
		case t.row.transport == overXMPP:
			t.talkers = append(t.talkers, &xmpp.Client{Domain: t.o.domain, User: user, Password: password, Received: t.heard, Problem: t.problem})
		case overAPI(t.row.transport):
			t.talkers = append(t.talkers, &page.Client{Address: user + "@" + t.o.domain, Password: password, Received: t.read, Problem: t.problem})
		}
	}
}

// pick is how a trial starts its units.
func (t *trial) pick(overSIP, talking func(lane int, due time.Duration)) func(lane int, due time.Duration) {
	if t.talkers != nil {
		return talking
	}
	return overSIP
}

// startSaying is how talkers say something.
func (t *trial) startSaying() func(lane int, due time.Duration) {
	if overAPI(t.row.transport) {
		return t.startPost
	}
	return t.startStanza
}

// startPost sends a message from the first user of a pair to the second. The server answers when it is on record.
func (t *trial) startPost(lane int, due time.Duration) {
	_, to := t.pair(lane)
	n := t.ledger.Send(lane)
	from := t.talkers[2*lane].(*page.Client)
	id := strconv.Itoa(lane) + "." + strconv.Itoa(n) + "." + t.id
	from.Send(to.User+"@"+t.o.domain, string(t.body(lane, n, due)), id, func(err error) {
		t.answered(err, due)
		t.ledger.Resolve(lane, n, err == nil)
		t.driver.Finished(lane, !from.Gone())
	})
}

// read notes a message at its receiver.
func (t *trial) read(text string) {
	at := now()
	lane, n, due, ok := parseMark(text, ' ')
	if t.ledger == nil || !ok || !t.ledger.Receive(lane, n) {
		t.unknown.Add(1)
		return
	}
	if t.measured(due) {
		t.receipt.Add(at - due)
	}
}

// startTalker connects a user and signs in.
func (t *trial) startTalker(lane int, due time.Duration) {
	go func() {
		err := t.talkers[lane].SignIn(t.target.addrs[t.row.transport])
		t.answered(err, due)
		t.driver.Finished(lane, false) // once each
	}()
}

// startPing sees whether a connection is still there.
func (t *trial) startPing(lane int, due time.Duration) {
	t.talkers[lane].Ping(func(ok bool) {
		err := errors.New("load: no answer to a ping")
		if ok {
			err = nil
		}
		t.answered(err, due)
		go t.driver.Finished(lane, false)
	})
}

// answered notes how a talker's request ended.
func (t *trial) answered(err error, due time.Duration) {
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
