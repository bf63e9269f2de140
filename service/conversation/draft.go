package conversation

import (
	"context"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// SetDraft keeps what the owner has written on a device but not sent; an empty text removes it. Errors: Invalid, TooMany,
// Unavailable.
func (s *Service) SetDraft(ctx context.Context, owner, device, peer, text string) error {
	if len(text) > MaxDraft {
		return errs.Say(errs.New(errs.Invalid, "conversation: a draft of %d bytes", len(text)), "the draft is too long: 64 kB at most")
	}
	peer, err := sip.ParseAOR(peer)
	if err != nil {
		return err
	}
	d := store.Draft{AOR: owner, Peer: peer, Text: text, Changed: time.Now().UTC().Truncate(time.Microsecond)}
	if err := s.o.Drafts.SetDraft(ctx, d); err != nil {
		return err
	}
	s.o.DraftChanged(owner, device, peer)
	return nil
}

// Draft returns a draft; one without a text when there is none. Errors: Unavailable.
func (s *Service) Draft(ctx context.Context, owner, peer string) (store.Draft, error) {
	d, err := s.o.Drafts.Draft(ctx, owner, peer)
	if errs.KindOf(err) == errs.NotFound {
		return store.Draft{AOR: owner, Peer: peer}, nil
	}
	if err != nil {
		return store.Draft{}, err
	}
	return *d, nil
}
