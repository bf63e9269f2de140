package file

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// passOn makes a file of the content of another one. A repeat, of a request that was not answered, finds what the first has made.
func (s *Service) passOn(ctx context.Context, f *store.File, from, to string) (*store.File, error) {
	g := *f
	g.ID, g.Owner, g.Conversation, g.Created, g.Recorded = s.copyID(f.ID, from, to), from, to, time.Time{}, 0
	old, err := s.o.Files.File(ctx, g.ID)
	switch {
	case err == nil:
		if again, err := s.repeated(ctx, old); err != nil || again {
			return old, err
		}
		g.ID = newID()
	case !errors.Is(err, errs.NotFound):
		return nil, err
	}
	// What was touched is not swept until there is a file again that has it.
	switch err := s.o.Blobs.Touch(ctx, f.SHA256); {
	case errors.Is(err, errs.NotFound):
		return nil, unknown(f.ID) // its time was over just now
	case err != nil:
		return nil, err
	}
	if !f.Thumbnail.IsZero() {
		if err := s.o.Blobs.Touch(ctx, f.Thumbnail); errors.Is(err, errs.NotFound) {
			g.Thumbnail = store.BlobHash{}
		} else if err != nil {
			return nil, err
		}
	}
	if err := s.o.Files.AddFile(ctx, g, s.quota()); err != nil {
		if old, e := s.o.Files.File(ctx, g.ID); e == nil {
			return old, nil // by the same request, at the same time
		}
		return nil, s.explain(err)
	}
	return &g, nil
}

// repeated tells whether a file that was passed on lately may be named once more. One that the receiver cannot fetch, because
// its message was taken back or was for somebody who had that address before, may not.
func (s *Service) repeated(ctx context.Context, old *store.File) (bool, error) {
	if time.Since(old.Created) > claimWithin/2 {
		return false, nil
	}
	if old.Recorded == 0 {
		var err error
		if old.Recorded, err = s.findRecord(ctx, old); err != nil || old.Recorded == 0 {
			return err == nil, err
		}
	}
	for _, side := range []string{old.Owner, old.Conversation} {
		if err := s.may(ctx, side, old); err != nil {
			if errors.Is(err, errs.NotFound) {
				err = nil
			}
			return false, err
		}
	}
	return true, nil
}

// copyID is the id of a file when somebody has passed it on to somebody.
func (s *Service) copyID(id, from, to string) string {
	h := hmac.New(sha256.New, s.o.Key)
	h.Write([]byte("passed on\x00" + id + "\x00" + from + "\x00" + to))
	return hex.EncodeToString(h.Sum(nil)[:16])
}
