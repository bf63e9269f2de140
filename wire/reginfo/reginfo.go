// Package reginfo reads and writes application/reginfo+xml: the registration state of
// RFC 3680 with the GRUU elements of RFC 5628.
package reginfo

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/parley-im/parley/wire/xmlsafe"
)

// ContentType is the media type of a document.
const ContentType = "application/reginfo+xml"

// The namespaces of RFC 3680 §5.1 and RFC 5628 §9.
const (
	Namespace     = "urn:ietf:params:xml:ns:reginfo"
	GRUUNamespace = "urn:ietf:params:xml:ns:gruuinfo"
)

// Limits of documents that are read.
const (
	MaxBytes = 256 << 10
	MaxDepth = 16
)

// States of registrations and contacts (RFC 3680 §5.1).
const (
	Init       = "init"
	Active     = "active"
	Terminated = "terminated"
)

// Events that brought a contact into its state (RFC 3680 §4.7.1).
const (
	Registered   = "registered"
	Created      = "created"
	Refreshed    = "refreshed"
	Shortened    = "shortened"
	Expired      = "expired"
	Deactivated  = "deactivated"
	Probation    = "probation"
	Unregistered = "unregistered"
	Rejected     = "rejected"
)

// ErrInvalid is wrapped by the errors of Parse that are about meaning, not XML.
var ErrInvalid = errors.New("reginfo: invalid document")

// Document is one notification body. Version counts from 0 within a subscription.
type Document struct {
	Version       uint32
	Partial       bool // only what changed since the document before (RFC 3680 §5.1)
	Registrations []Registration
}

// Registration is the state of one address-of-record. ID stays the same for the whole
// subscription. State is Init, Active or Terminated.
type Registration struct {
	AOR, ID, State string
	Contacts       []Contact
}

// Contact is one binding. State is Active or Terminated.
type Contact struct {
	ID, State, Event string
	Duration         uint64  // seconds since it was registered; 0 is not written
	Expires          *uint64 // seconds left; required with the event Shortened
	RetryAfter       *uint64 // seconds; required with the event Probation
	Q                string  // "0.8"; "" when not given
	CallID           string
	CSeq             *uint32
	URI, DisplayName string
	Params           []Param // Contact parameters that RFC 3261 does not define
	PubGRUU          string  // RFC 5628
	TempGRUU         string  // RFC 5628: the newest temporary GRUU …
	FirstCSeq        uint32  // … and the CSeq of the oldest one that is still valid
}

// Param is one Contact header parameter, its value as it stood, quotes included.
type Param struct{ Name, Value string }

// Bytes writes the document. Characters that XML 1.0 cannot carry become U+FFFD.
func (d *Document) Bytes() []byte {
	w := &writer{}
	w.raw(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	w.raw(`<reginfo xmlns="` + Namespace + `" xmlns:gr="` + GRUUNamespace + `"`)
	w.attr("version", strconv.FormatUint(uint64(d.Version), 10))
	state := "full"
	if d.Partial {
		state = "partial"
	}
	w.attr("state", state)
	w.raw(">\n")
	for i := range d.Registrations {
		d.Registrations[i].write(w)
	}
	w.raw("</reginfo>\n")
	return w.b
}

func (r *Registration) write(w *writer) {
	w.raw("  <registration")
	w.attr("aor", r.AOR)
	w.attr("id", r.ID)
	w.attr("state", r.State)
	if len(r.Contacts) == 0 {
		w.raw("/>\n")
		return
	}
	w.raw(">\n")
	for i := range r.Contacts {
		r.Contacts[i].write(w)
	}
	w.raw("  </registration>\n")
}

func (c *Contact) write(w *writer) {
	w.raw("    <contact")
	w.attr("id", c.ID)
	w.attr("state", c.State)
	w.attr("event", c.Event)
	if c.Duration > 0 {
		w.attr("duration-registered", strconv.FormatUint(c.Duration, 10))
	}
	if c.Expires != nil {
		w.attr("expires", strconv.FormatUint(*c.Expires, 10))
	}
	if c.RetryAfter != nil {
		w.attr("retry-after", strconv.FormatUint(*c.RetryAfter, 10))
	}
	if c.Q != "" {
		w.attr("q", c.Q)
	}
	if c.CallID != "" {
		w.attr("callid", c.CallID)
	}
	if c.CSeq != nil {
		w.attr("cseq", strconv.FormatUint(uint64(*c.CSeq), 10))
	}
	w.raw(">\n")
	w.element("uri", c.URI)
	if c.DisplayName != "" {
		w.element("display-name", c.DisplayName)
	}
	for _, p := range c.Params {
		w.raw("      <unknown-param")
		w.attr("name", p.Name)
		w.raw(">")
		w.text(p.Value)
		w.raw("</unknown-param>\n")
	}
	// RFC 5628 §5: children of contact.
	if c.PubGRUU != "" {
		w.raw("      <gr:pub-gruu")
		w.attr("uri", c.PubGRUU)
		w.raw("/>\n")
	}
	if c.TempGRUU != "" {
		w.raw("      <gr:temp-gruu")
		w.attr("uri", c.TempGRUU)
		w.attr("first-cseq", strconv.FormatUint(uint64(c.FirstCSeq), 10))
		w.raw("/>\n")
	}
	w.raw("    </contact>\n")
}

// Parse reads a document. Elements and attributes that are not known are ignored
// (RFC 3680 §5.1). Errors wrap ErrInvalid or one of xmlsafe's.
func Parse(doc []byte) (*Document, error) {
	var x xmlReginfo
	if err := xmlsafe.Unmarshal(doc, MaxBytes, MaxDepth, &x); err != nil {
		return nil, fmt.Errorf("reginfo: parse: %w", err)
	}
	d := &Document{Partial: x.State == "partial"}
	if !d.Partial && x.State != "full" {
		return nil, fmt.Errorf("%w: state %q", ErrInvalid, clip(x.State))
	}
	v, err := strconv.ParseUint(x.Version, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%w: version %q", ErrInvalid, clip(x.Version))
	}
	d.Version = uint32(v)
	for _, xr := range x.Registrations {
		r := Registration{AOR: xr.AOR, ID: xr.ID, State: xr.State}
		if r.AOR == "" || r.ID == "" || r.State != Init && r.State != Active && r.State != Terminated {
			return nil, fmt.Errorf("%w: registration without aor, id or state", ErrInvalid)
		}
		for _, xc := range xr.Contacts {
			c, err := xc.contact()
			if err != nil {
				return nil, err
			}
			r.Contacts = append(r.Contacts, c)
		}
		d.Registrations = append(d.Registrations, r)
	}
	return d, nil
}

type xmlReginfo struct {
	XMLName       xml.Name          `xml:"urn:ietf:params:xml:ns:reginfo reginfo"`
	Version       string            `xml:"version,attr"`
	State         string            `xml:"state,attr"`
	Registrations []xmlRegistration `xml:"urn:ietf:params:xml:ns:reginfo registration"`
}

type xmlRegistration struct {
	AOR      string       `xml:"aor,attr"`
	ID       string       `xml:"id,attr"`
	State    string       `xml:"state,attr"`
	Contacts []xmlContact `xml:"urn:ietf:params:xml:ns:reginfo contact"`
}

type xmlContact struct {
	ID         string `xml:"id,attr"`
	State      string `xml:"state,attr"`
	Event      string `xml:"event,attr"`
	Duration   string `xml:"duration-registered,attr"`
	Expires    string `xml:"expires,attr"`
	RetryAfter string `xml:"retry-after,attr"`
	Q          string `xml:"q,attr"`
	CallID     string `xml:"callid,attr"`
	CSeq       string `xml:"cseq,attr"`
	URI        string `xml:"urn:ietf:params:xml:ns:reginfo uri"`
	Display    string `xml:"urn:ietf:params:xml:ns:reginfo display-name"`
	Params     []struct {
		Name  string `xml:"name,attr"`
		Value string `xml:",chardata"`
	} `xml:"urn:ietf:params:xml:ns:reginfo unknown-param"`
	Pub  xmlGRUU `xml:"urn:ietf:params:xml:ns:gruuinfo pub-gruu"`
	Temp xmlGRUU `xml:"urn:ietf:params:xml:ns:gruuinfo temp-gruu"`
}

type xmlGRUU struct {
	URI       string `xml:"uri,attr"`
	FirstCSeq string `xml:"first-cseq,attr"`
}

func (x *xmlContact) contact() (Contact, error) {
	c := Contact{
		ID: x.ID, State: x.State, Event: x.Event, Q: x.Q, CallID: x.CallID,
		URI: strings.TrimSpace(x.URI), DisplayName: strings.TrimSpace(x.Display),
		PubGRUU: join(x.Pub.URI), TempGRUU: join(x.Temp.URI),
	}
	if c.ID == "" || c.Event == "" || c.State != Active && c.State != Terminated {
		return c, fmt.Errorf("%w: contact without id, event or state", ErrInvalid)
	}
	for _, p := range x.Params {
		c.Params = append(c.Params, Param{p.Name, strings.TrimSpace(p.Value)})
	}
	var err error
	number := func(name, s string, bits int) (n uint64, given bool) {
		if s == "" || err != nil {
			return 0, false
		}
		if n, err = strconv.ParseUint(s, 10, bits); err != nil {
			err = fmt.Errorf("%w: %s %q", ErrInvalid, name, clip(s))
		}
		return n, true
	}
	c.Duration, _ = number("duration-registered", x.Duration, 64)
	if n, ok := number("expires", x.Expires, 64); ok {
		c.Expires = &n
	}
	if n, ok := number("retry-after", x.RetryAfter, 64); ok {
		c.RetryAfter = &n
	}
	if n, ok := number("cseq", x.CSeq, 32); ok {
		seq := uint32(n)
		c.CSeq = &seq
	}
	first, _ := number("first-cseq", x.Temp.FirstCSeq, 32)
	c.FirstCSeq = uint32(first)
	return c, err
}

// join removes the line breaks that attribute values may carry inside URIs.
func join(s string) string { return strings.Join(strings.Fields(s), "") }

func clip(s string) string {
	if len(s) > 40 {
		return s[:40]
	}
	return s
}

// writer appends escaped XML.
type writer struct{ b []byte }

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

func (w *writer) attr(name, value string) {
	w.raw(" " + name + `="`)
	w.text(value)
	w.raw(`"`)
}

func (w *writer) element(name, value string) {
	w.raw("      <" + name + ">")
	w.text(value)
	w.raw("</" + name + ">\n")
}

// text escapes for both content and attribute values.
func (w *writer) text(s string) {
	for _, r := range s {
		switch {
		case r == '<':
			w.raw("&lt;")
		case r == '>':
			w.raw("&gt;")
		case r == '&':
			w.raw("&amp;")
		case r == '"':
			w.raw("&quot;")
		case r == '\t' || r == '\n' || r == '\r':
			w.raw("&#" + strconv.Itoa(int(r)) + ";")
		case r < 0x20 || r == 0xFFFE || r == 0xFFFF:
			w.raw("\uFFFD")
		default:
			w.b = utf8.AppendRune(w.b, r)
		}
	}
}
