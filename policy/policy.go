// Package policy says who may do what: decisions without side effects. The
// rule behind most of them: what cannot be recorded yet is not carried yet.
package policy

import (
	"slices"
	"strings"

	"github.com/parley-im/parley/config"
)

// Refusal is a decision not to carry something, with what a person is told.
type Refusal struct {
	Status  int
	Reason  string // reason phrase; "" for the standard one
	Warning string // a sentence
	Accept  string // value of an Accept header to add, or ""
}

// Policy holds the configured lists. Its methods are pure; it never changes.
type Policy struct {
	methods    []string
	infoTypes  []string
	federation bool
}

// Options are what a Policy is made of.
type Options struct {
	Methods   []string // let through; ACK and CANCEL always are. nil: the standard ones
	InfoTypes []string // media types INFO may carry, lower case. nil: the defaults
	// Federation lets requests leave the domain.
	Federation bool
}

// New makes a Policy.
func New(o Options) *Policy {
	def := config.Default().SIP
	if o.Methods == nil {
		o.Methods = def.Methods
	}
	if o.InfoTypes == nil {
		o.InfoTypes = def.InfoTypes
	}
	return &Policy{methods: slices.Clone(o.Methods), infoTypes: slices.Clone(o.InfoTypes), federation: o.Federation}
}

// Method judges a method: 0 lets it pass, 405 is for a standard one that is
// not in the list, 501 for one nobody knows. RFC 3261 §21.4.6, §21.5.2.
// Methods are case-sensitive.
func (p *Policy) Method(method string) int {
	switch {
	case method == "ACK" || method == "CANCEL" || slices.Contains(p.methods, method):
		return 0
	case slices.Contains(standard, method):
		return 405
	}
	return 501
}

// standard are the methods that RFCs have registered.
var standard = []string{"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH",
	"REFER", "REGISTER", "SUBSCRIBE", "UPDATE"}

// InfoAllowed tells whether INFO may carry a media type.
func (p *Policy) InfoAllowed(mediaType string) bool {
	return slices.ContainsFunc(p.infoTypes, func(t string) bool { return strings.EqualFold(t, mediaType) })
}

// Leaving judges a request to an address outside our domains.
func (p *Policy) Leaving() *Refusal {
	if p.federation {
		return nil
	}
	return &Refusal{Status: 403, Warning: "this address is outside this server's domains, and federation is not configured"}
}
