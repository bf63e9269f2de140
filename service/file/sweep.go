package file

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// sweepPage is how many files are looked at together.
const sweepPage = 200

// partLife is how long a part, or content, without a file stays: whoever is about to make the file is done by then.
const partLife = time.Hour

// Sweep removes what nobody needs: files that no message named within a day, files that are older than is kept, and what content and parts
// belong to no file. What fails is tried again by the next one. Serve calls it once an hour.
func (s *Service) Sweep(ctx context.Context) {
	now := time.Now()
	steps := []func() error{
		func() error { return s.sweepFiles(ctx, false, now.Add(-claimWithin)) },
		func() error { return s.sweepParts(ctx, now.Add(-partLife)) },
		func() error { return s.sweepContent(ctx, now.Add(-partLife)) },
	}
	if s.o.Keep > 0 {
		steps = append(steps, func() error { return s.sweepFiles(ctx, true, now.Add(-s.o.Keep)) })
	}
	for _, step := range steps {
		if err := step(); err != nil && ctx.Err() == nil {
			s.o.Logger.Warn("file: what nobody needs was not removed", "err", err)
		}
	}
}

// sweepFiles removes files that are older than a time. Of those that no message is known to name, the log is asked.
func (s *Service) sweepFiles(ctx context.Context, recorded bool, before time.Time) error {
	for {
		list, err := s.o.Files.OldFiles(ctx, recorded, before, sweepPage)
		if err != nil || len(list) == 0 {
			return err
		}
		var ids []string
		found := map[string]int64{}
		for i := range list {
			f := &list[i]
			if !recorded && f.Conversation != "" && f.Complete() {
				seq, err := s.findRecord(ctx, f)
				if err != nil {
					return err
				}
				if seq > 0 {
					found[f.ID] = seq
					continue
				}
			}
			ids = append(ids, f.ID)
		}
		err = errors.Join(s.o.Files.RecordFiles(ctx, found), s.o.Files.RemoveFiles(ctx, ids...))
		if err != nil {
			return err
		}
		s.metrics.removed.Add(float64(len(ids)))
		if len(list) < sweepPage {
			return nil
		}
	}
}

// sweepParts removes parts of which the upload is gone, or complete.
func (s *Service) sweepParts(ctx context.Context, before time.Time) error {
	return s.o.Blobs.Parts(ctx, func(part string, _ int64, written time.Time) error {
		if written.After(before) {
			return nil
		}
		f, err := s.o.Files.File(ctx, strings.TrimSuffix(part, "-small"))
		if err != nil && !errors.Is(err, errs.NotFound) {
			return err
		}
		if err == nil && !f.Complete() {
			return nil
		}
		if err := s.o.Blobs.Discard(ctx, part); !errors.Is(err, errs.Conflict) {
			return err
		}
		return nil
	})
}

// sweepContent removes content that no file has.
func (s *Service) sweepContent(ctx context.Context, before time.Time) error {
	return s.o.Blobs.Walk(ctx, func(h store.BlobHash, _ int64, committed time.Time) error {
		if !committed.Before(before) {
			return nil
		}
		used, err := s.o.Files.HasContent(ctx, h)
		if err != nil || used {
			return err
		}
		_, err = s.o.Blobs.Remove(ctx, h, before)
		return err
	})
}
