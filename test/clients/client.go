package main

import (
	"context"
	"strings"
	"time"
)

// domain is the SIP domain of the run. Clients find the server as their outbound proxy, not through DNS.
const domain = "rtc.test"

// patience is how long one step of a client may take. It is many times what a step takes on an idle machine.
const patience = time.Minute

// client is one signed-in program.
type client interface {
	label() string // the client and its transport: "baresip/tls"
	user() string  // the name part of its address

	// signIn starts the program and returns when its registration was accepted.
	signIn(ctx context.Context) error

	// send writes a text to a SIP URI. It returns when the client took it, which need not mean that it was sent.
	send(ctx context.Context, to, text string) error

	// received returns when the client has shown a text from a user; the time is the one that the client shows for it,
	// or zero if it shows none.
	received(ctx context.Context, from, text string) (time.Time, error)

	// signOut ends the program, which takes its registration back if it knows how to.
	signOut()
}

// address is a client's SIP URI.
func address(c client) string { return "sip:" + c.user() + "@" + domain }

// kind is the first half of a label.
func kind(c client) string { k, _, _ := strings.Cut(c.label(), "/"); return k }

// account is what every driver needs to know.
type account struct {
	lab    *lab
	server *target
	name   string // label
}

func (a account) label() string     { return a.name }
func (a account) user() string      { return strings.ReplaceAll(a.name, "/", "-") }
func (a account) transport() string { _, t, _ := strings.Cut(a.name, "/"); return t }

// same compares a text as sent with a text as shown: ends of lines differ between programs, nothing else may.
func same(sent, shown string) bool {
	return strings.TrimRight(strings.ReplaceAll(shown, "\r\n", "\n"), "\n") == sent
}

// isFrom says whether a URI or bare address names a user of the run.
func isFrom(shown, user string) bool {
	shown = strings.TrimPrefix(strings.TrimPrefix(shown, "sips:"), "sip:")
	shown, _, _ = strings.Cut(shown, ";")
	return shown == user+"@"+domain
}
