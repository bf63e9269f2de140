// Package receipt writes and reads what RFC 5438 lets people learn of their messages: that one was delivered, that one was read.
package receipt

import (
	"strings"
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
)

// Asked is what the sender of a message wants to be told.
type Asked struct {
	MessageID string // the message's name in receipts (imdn.Message-ID); "" for none, and then nothing is asked
	Delivery  bool   // when it has been delivered
	Display   bool   // when it has been read
}

// Of tells what is asked in the wrapper in which a SIP client sent a message (RFC 5438 §6.2).
func Of(r *store.Record) Asked {
	if r.Kind != store.KindMessage || mime(r.ContentType) != cpim.ContentType {
		return Asked{}
	}
	m, err := cpim.Parse(r.Body)
	if err != nil {
		return Asked{}
	}
	name, want := imdn.Request(m)
	if name == "" || mime(m.ContentType()) == imdn.ContentType { // RFC 5438 §7.2.1: no receipts for receipts
		return Asked{}
	}
	a := Asked{MessageID: name}
	for _, w := range want {
		w, _, _ = strings.Cut(w, ";")
		switch strings.ToLower(strings.TrimSpace(w)) {
		case "positive-delivery":
			a.Delivery = true
		case "display":
			a.Display = true
		}
	}
	return a
}

func mime(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// Body is the receipt for a message, as its receiver sends it to its sender: in a wrapper, as the sender's client has shown to know
// them. name is Asked.MessageID. RFC 5438 §7.2.1.1, §7.2.1.2.
func Body(m *store.Record, name string, kind imdn.Kind) []byte {
	said := m.At
	if inner, err := cpim.Parse(m.Body); err == nil && !inner.DateTime().IsZero() {
		said = inner.DateTime()
	}
	status := store.OutcomeDisplayed
	if kind == imdn.Delivery {
		status = store.OutcomeDelivered
	}
	n := imdn.Notification{MessageID: name, DateTime: said, Recipient: "sip:" + m.To, Kind: kind, Status: status}
	w := wrapper(m.To, m.From, time.Now())
	w.Headers = append(w.Headers, cpim.Header{NS: imdn.HeaderNS, Name: "Message-ID", Value: id.New().String()}) // RFC 5438 §7.2.1
	w.ContentHeaders = []cpim.Header{{Name: "Content-Type", Value: imdn.ContentType}, {Name: "Content-Disposition", Value: "notification"}}
	w.Content = n.Bytes()
	return w.Bytes()
}

// Ask puts a message of the API into a wrapper that asks for receipts (RFC 5438 §6.2): who wrote it wants to know.
func Ask(r *store.Record, contentType string, body []byte) []byte {
	m := wrapper(r.From, r.To, r.At)
	m.Headers = append(m.Headers,
		cpim.Header{NS: imdn.HeaderNS, Name: "Message-ID", Value: r.MetaValue(store.MetaMessageID)},
		cpim.Header{NS: imdn.HeaderNS, Name: "Disposition-Notification", Value: "positive-delivery, display"})
	m.ContentHeaders = []cpim.Header{{Name: "Content-Type", Value: contentType}}
	m.Content = body
	return m.Bytes()
}

// wrapper is an empty CPIM message (RFC 3862).
func wrapper(from, to string, at time.Time) *cpim.Message {
	return &cpim.Message{Headers: []cpim.Header{
		{Name: "From", Value: "<sip:" + from + ">"}, {Name: "To", Value: "<sip:" + to + ">"},
		{Name: "DateTime", Value: at.UTC().Format(time.RFC3339)},
	}}
}
