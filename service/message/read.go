package message

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/message/receipt"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
	"github.com/parley-im/parley/wire/sip"
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
	peer, err := sip.ParseAOR(peer)
	if err != nil {
		return err
	}
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
	hidden := tell && s.hides(ctx, reader, peer)
	for i := range list {
		m, last := &list[i], i == len(list)-1
		r := s.newSaid(store.KindReceipt, reader, device, peer, "")
		r.Ref = m.ID
		r.Meta[store.MetaOutcome] = store.OutcomeDisplayed
		r.Meta[store.MetaSeq] = strconv.FormatInt(m.Seq, 10)
		asked := receipt.Of(m)
		asked.Display = asked.Display && !hidden
		switch {
		case !tell:
			r.To = reader
			r.Meta[store.MetaPeer] = peer
		case asked.Display:
			r.Meta[store.MetaMessageID] = asked.MessageID
			r.ContentType, r.Body = cpim.ContentType, receipt.Body(m, asked.MessageID, imdn.Display)
		}
		if last || tell && asked.Display {
			if _, _, err := s.say(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// hides tells whether owner's devices must not be heard of by peer, to whom owner looks offline: receipts would say more.
func (s *Service) hides(ctx context.Context, owner, peer string) bool {
	if owner == peer {
		return false
	}
	if s.o.Hidden(owner, peer) {
		return true
	}
	if s.o.Levels == nil {
		return false
	}
	level, _, err := s.o.Levels.Level(ctx, owner, peer)
	return err != nil || level == policy.Blocked
}

// unread are messages of peer to an account that it has not read yet, up to a position, ascending: the newest of them.
func (s *Service) unread(ctx context.Context, self *store.User, peer string, seq int64) ([]store.Record, error) {
	if err := s.indexed(ctx); err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, "message: waiting for the index")
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
