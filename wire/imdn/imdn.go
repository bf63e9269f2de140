// Package imdn reads and writes the Instant Message Disposition Notifications of RFC 5438.
package imdn

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/xmlsafe"
)

// The media type of a notification and the namespaces of RFC 5438 §14 and §11.1.
const (
	ContentType = "message/imdn+xml"
	HeaderNS    = "urn:ietf:params:imdn"
	xmlNS       = "urn:ietf:params:xml:ns:imdn"
)

// Limits of Parse.
const (
	maxBytes = 16 << 10
	maxDepth = 8
)

// ErrFormat is wrapped by every error of Parse.
var ErrFormat = errors.New("imdn: malformed notification")

// Kind says which of the three notifications this is (RFC 5438 §11.1.6).
type Kind string

// The kinds of notification.
const (
	Delivery   Kind = "delivery"
	Display    Kind = "display"
	Processing Kind = "processing"
)

// Notification tells what became of one message.
type Notification struct {
	MessageID string    // of the message it is about
	DateTime  time.Time // when the message was sent
	Recipient string    // URI that the message was addressed to; may be empty
	Kind      Kind
	Status    string // delivered, displayed, processed, stored, failed, forbidden, error
}

type element struct {
	XMLName xml.Name
	Inner   []element `xml:",any"`
}

type document struct {
	XMLName    xml.Name `xml:"urn:ietf:params:xml:ns:imdn imdn"`
	MessageID  string   `xml:"message-id"`
	DateTime   string   `xml:"datetime"`
	Recipient  string   `xml:"recipient-uri,omitempty"`
	Delivery   *element `xml:"delivery-notification"`
	Display    *element `xml:"display-notification"`
	Processing *element `xml:"processing-notification"`
}

// Parse reads a notification body of at most 16 kB.
func Parse(body []byte) (Notification, error) {
	if err := xmlsafe.Check(body, maxBytes, maxDepth); err != nil {
		return Notification{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	var d document
	if err := xml.Unmarshal(body, &d); err != nil {
		return Notification{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	n := Notification{MessageID: strings.TrimSpace(d.MessageID), Recipient: strings.TrimSpace(d.Recipient)}
	if n.MessageID == "" {
		return Notification{}, fmt.Errorf("%w: no message-id", ErrFormat)
	}
	// Clients write times in many ways; a bad one does not make the receipt worthless.
	n.DateTime, _ = time.Parse(time.RFC3339, strings.TrimSpace(d.DateTime))
	for kind, e := range map[Kind]*element{Delivery: d.Delivery, Display: d.Display, Processing: d.Processing} {
		if e == nil {
			continue
		}
		if n.Kind != "" {
			return Notification{}, fmt.Errorf("%w: more than one notification", ErrFormat)
		}
		n.Kind, n.Status = kind, e.status()
	}
	if n.Kind == "" || n.Status == "" {
		return Notification{}, fmt.Errorf("%w: no status", ErrFormat)
	}
	return n, nil
}

// status is the name of the element inside <status>.
func (e *element) status() string {
	for _, s := range e.Inner {
		if s.XMLName.Local == "status" && len(s.Inner) > 0 {
			return s.Inner[0].XMLName.Local
		}
	}
	return ""
}

// written is a notification as it is sent. Its elements have no names of their own: the encoder would take such an element out of the
// namespace of the one around it, and no client would know the receipt.
type written struct {
	XMLName    xml.Name `xml:"urn:ietf:params:xml:ns:imdn imdn"`
	MessageID  string   `xml:"message-id"`
	DateTime   string   `xml:"datetime"`
	Recipient  string   `xml:"recipient-uri,omitempty"`
	Delivery   *outcome `xml:"delivery-notification"`
	Display    *outcome `xml:"display-notification"`
	Processing *outcome `xml:"processing-notification"`
}

type outcome struct {
	Status struct {
		Name string `xml:",innerxml"` // an empty element
	} `xml:"status"`
}

// Bytes writes the notification. Its status must be one of those above.
func (n Notification) Bytes() []byte {
	o := &outcome{}
	o.Status.Name = "<" + n.Status + "/>"
	d := written{MessageID: n.MessageID, DateTime: n.DateTime.Format(time.RFC3339), Recipient: n.Recipient}
	switch n.Kind {
	case Delivery:
		d.Delivery = o
	case Display:
		d.Display = o
	case Processing:
		d.Processing = o
	}
	out, err := xml.Marshal(d)
	if err != nil { // only strings inside: cannot fail
		return nil
	}
	return append([]byte(xml.Header), out...)
}

// Request tells which message id a CPIM message carries and which notifications its sender
// wants (RFC 5438 §6.2, §6.3). The id is empty when it carries none.
func Request(m *cpim.Message) (messageID string, want []string) {
	for _, w := range strings.Split(m.Get(HeaderNS, "Disposition-Notification"), ",") {
		if w = strings.TrimSpace(w); w != "" {
			want = append(want, w)
		}
	}
	return m.Get(HeaderNS, "Message-ID"), want
}
