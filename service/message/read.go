package message

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
)

// maxReceipts is how many messages one MarkRead acknowledges one by one, the newest ones, and how many records it looks at for them.
const (
	maxReceipts = 100
	maxLooked   = 1000
)

// MarkRead records that reader has read everything of peer's up to a position in the log. With tell peer learns of it: pages by the
// record, SIP clients that have asked for it by the receipts of RFC 5438; without it only the reader's own devices do. What
// was read before is not recorded again. Errors: Invalid, Unavailable.
func (s *Service) MarkRead(ctx context.Context, reader, device, peer string, seq int64, tell bool) error {
	if seq < 1 || seq > s.o.Store.Head() {
		return refuse(errs.Invalid, "there is nothing at this position")
	}
	self, err := s.account(ctx, reader)
	if err != nil {
		return err
	}
	list, err := s.unread(ctx, self, peer, seq)
	if err != nil || len(list) == 0 {
		return err
	}
	for i := range list {
		m, last := &list[i], i == len(list)-1
		r := s.newSaid(store.KindReceipt, reader, device, peer, "")
		r.Ref = m.ID
		r.Meta[store.MetaOutcome] = store.OutcomeDisplayed
		r.Meta[store.MetaSeq] = strconv.FormatInt(m.Seq, 10)
		messageID, asked := content.Wants(m)
		switch {
		case !tell:
			r.To = reader
			r.Meta[store.MetaPeer] = peer
		case asked:
			r.Meta[store.MetaMessageID] = messageID
			r.ContentType, r.Body = cpim.ContentType, displayed(m, messageID)
		}
		if last || tell && asked {
			if _, _, err := s.say(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// unread are messages of peer to an account that it has not read yet, up to a position, ascending: the newest of them.
func (s *Service) unread(ctx context.Context, self *store.User, peer string, seq int64) ([]store.Record, error) {
	indexed := make(chan struct{})
	s.o.Store.WaitFor(s.o.Store.Head(), func() { close(indexed) })
	select {
	case <-indexed:
	case <-ctx.Done():
		return nil, errs.Wrap(errs.Unavailable, ctx.Err(), "message: waiting for the index")
	}
	talk, err := s.o.Store.Talk(ctx, self.AOR, peer)
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, "message: reading a conversation")
	}
	var list []store.Record
	for before, looked := seq+1, 0; before > talk.Read+1 && looked < maxLooked && len(list) < maxReceipts; {
		page, err := s.o.Store.Conversation(ctx, self.AOR, peer, before, maxReceipts)
		if err != nil {
			return nil, errs.Wrap(errs.Unavailable, err, "message: reading a conversation")
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			if m := &page[i]; m.Kind == store.KindMessage && m.From == peer && m.To == self.AOR && m.Seq > talk.Read && knows(self, m) && len(list) < maxReceipts {
				list = append(list, *m)
			}
		}
		before, looked = page[len(page)-1].Seq, looked+len(page)
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list, nil
}

// displayed is the receipt for a message of a SIP client (RFC 5438 §7.2.1.2), in a wrapper as its client has shown to know them.
func displayed(m *store.Record, messageID string) []byte {
	said := m.At
	if inner, err := cpim.Parse(m.Body); err == nil && !inner.DateTime().IsZero() {
		said = inner.DateTime()
	}
	n := imdn.Notification{MessageID: messageID, DateTime: said, Recipient: "sip:" + m.To, Kind: imdn.Display, Status: store.OutcomeDisplayed}
	w := wrapper(m.To, m.From, time.Now())
	w.Headers = append(w.Headers, cpim.Header{NS: imdn.HeaderNS, Name: "Message-ID", Value: id.New().String()}) // RFC 5438 §7.2.1
	w.ContentHeaders = []cpim.Header{{Name: "Content-Type", Value: imdn.ContentType}, {Name: "Content-Disposition", Value: "notification"}}
	w.Content = n.Bytes()
	return w.Bytes()
}

// wrapper is an empty CPIM message (RFC 3862).
func wrapper(from, to string, at time.Time) *cpim.Message {
	return &cpim.Message{Headers: []cpim.Header{
		{Name: "From", Value: "<sip:" + from + ">"}, {Name: "To", Value: "<sip:" + to + ">"},
		{Name: "DateTime", Value: at.UTC().Format(time.RFC3339)},
	}}
}

// refer finds the message that a receipt of a SIP client is about, so that readers of the log know up to where it was read.
// Without it the receipt is recorded as it came.
func (s *Service) refer(ctx context.Context, r *store.Record) {
	name := r.MetaValue(store.MetaMessageID)
	var m *store.Record
	var err error
	if about := cmp.Or(r.Ref, ownID(name)); about.IsZero() {
		m, err = s.o.Store.Message(ctx, r.To, name)
	} else {
		m, err = s.o.Store.Find(ctx, about)
	}
	if err != nil || m.Kind != store.KindMessage || m.From != r.To || m.To != r.From {
		return
	}
	r.Ref = m.ID
	r.Meta[store.MetaSeq] = strconv.FormatInt(m.Seq, 10)
}

// ownID is the id of the message whose Call-ID we made, zero for another name: liblinphone sends receipts also for messages
// without a wrapper, and names those by their Call-ID.
func ownID(name string) id.ID {
	name, _, _ = strings.Cut(name, "@")
	rid, err := id.Parse(name)
	if err != nil {
		return id.ID{}
	}
	return rid
}
