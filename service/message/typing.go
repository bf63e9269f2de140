package message

import (
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/sip"
)

// passTyping hands a typing notice to the devices that are there now. It is the only thing that passes
// without a record, and holds nothing but RFC 3994's elements; nobody waits for it and it is never kept.
func (s *Service) passTyping(o *Outgoing, c opened, done func(Result)) {
	if s.o.Quiet(o.To, o.From) {
		s.metrics.quiet.Inc()
		done(Result{Status: 200})
		return
	}
	for _, t := range s.o.Devices.Devices(o.To) {
		if o.ToDevice != "" && o.ToDevice != t.Device {
			continue
		}
		d := newMessage(t, o.From, o.To, "", tagOf(o.From, t.URI), id.New().String())
		d.Add(sip.HExpires, "0") // RFC 3994 §4: of no use later
		d.Body(c.contentType, c.body)
		s.o.Transactions.Send(t.Hop, d, ignored{})
	}
	s.metrics.typing.Inc()
	done(Result{Status: 200})
}

// ignored takes answers that change nothing.
type ignored struct{}

func (ignored) Response(*transaction.Client, *sip.Message) {}
func (ignored) Failed(*transaction.Client, error)          {}
