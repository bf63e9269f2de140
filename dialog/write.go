package dialog

import (
	"bytes"
	"cmp"
	"strconv"
	"time"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/sip"
)

// A change is told to hundreds of watchers, so that their NOTIFYs are written
// straight into the bytes that are sent. What is unusual goes by way of a draft.

// notice is one NOTIFY.
type notice struct {
	contact string // ours
	now     time.Time
	typ     string
	body    []byte
}

// eventRow writes the value of Event.
func (s *Subscription) eventRow(b []byte) []byte {
	b = append(b, cmp.Or(s.event, s.n.o.Event)...)
	if s.eventID != "" {
		b = append(append(b, ";id="...), s.eventID...)
	}
	return b
}

// draft is the next NOTIFY of the dialog. s.mu is held.
func (s *Subscription) draft(v *notice) *sip.Draft {
	d := s.d.Request(sip.NOTIFY)
	d.Add(sip.HContact, "<"+v.contact+">")
	d.Add(sip.HEvent, string(s.eventRow(nil)))
	s.demand(d)
	d.Add(sip.HSubscriptionState, string(s.appendState(nil, v.now)))
	if len(v.body) > 0 {
		d.Body(v.typ, v.body)
	}
	return d
}

// noticeRows is what write adds to the values of a NOTIFY, at most: names, line
// ends, numbers.
const noticeRows = 320

// write is the next NOTIFY as transaction.Layer.SendBytes takes it, and the
// length of its request line, the same as draft makes it; nil when only a draft
// can: the request has a route set, or a value holds what does not belong into
// a row. Then nothing has changed. s.mu is held.
func (s *Subscription) write(v *notice) (b []byte, line int) {
	d := &s.d
	if len(d.Routes) > 0 {
		return nil, 0
	}
	b = make([]byte, transaction.ViaRoom, transaction.ViaRoom+noticeRows+len(d.Target)+len(d.LocalURI)+len(d.Local)+len(d.RemoteURI)+len(d.Remote)+
		len(d.CallID)+len(v.contact)+len(s.event)+len(s.n.o.Event)+len(s.eventID)+len(s.require)+len(s.reason)+len(v.typ)+len(v.body))
	b = append(append(append(b, "NOTIFY "...), d.Target...), " SIP/2.0\r\n"...)
	line = len(b) - transaction.ViaRoom
	rows := 10
	b = append(append(append(append(b, "Max-Forwards: 70\r\nFrom: "...), d.LocalURI...), ";tag="...), d.Local...)
	b = append(append(b, "\r\nTo: "...), d.RemoteURI...)
	if d.Remote != "" {
		b = append(append(b, ";tag="...), d.Remote...)
	}
	b = append(append(b, "\r\nCall-ID: "...), d.CallID...)
	b = strconv.AppendUint(append(b, "\r\nCSeq: "...), uint64(d.following()), 10)
	b = append(append(b, " NOTIFY\r\nContact: <"...), v.contact...)
	b = s.eventRow(append(b, ">\r\nEvent: "...))
	if s.require != "" {
		b = append(append(b, "\r\nRequire: "...), s.require...)
		rows++
	}
	b = s.appendState(append(b, "\r\nSubscription-State: "...), v.now)
	if len(v.body) > 0 && v.typ != "" {
		b = append(append(b, "\r\nContent-Type: "...), v.typ...)
		rows++
	}
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(len(v.body)), 10)
	b = append(b, "\r\n"...)
	if !clean(b[transaction.ViaRoom:], line, rows) {
		return nil, 0
	}
	d.LocalSeq = d.following()
	b = append(b, "\r\n"...)
	return append(b, v.body...), line
}

// clean tells whether a head has so many line ends, and no others, no NUL, and
// a request line of printable characters with no space in its URI.
func clean(head []byte, line, rows int) bool {
	if bytes.Count(head, []byte("\n")) != rows || bytes.Count(head, []byte("\r")) != rows || bytes.IndexByte(head, 0) >= 0 {
		return false
	}
	for _, c := range head[len("NOTIFY ") : line-len(" SIP/2.0\r\n")] {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
