package file

import (
	"context"

	"github.com/parley-im/parley/wire/sip"
)

// Line is that of a device that somebody has and that is there now.
type Line struct {
	Slow bool
	Rate int64 // bytes in a second that it carries at most; 0 when not known
}

// Check tells before an upload how long a file of so many bytes takes to the other side: slow when each device that is there has a slow line,
// seconds on the best of them, 0 when not known.
func (s *Service) Check(ctx context.Context, from, conversation string, size int64) (slow bool, seconds int64, err error) {
	to, err := sip.ParseAOR(conversation)
	if err != nil || s.o.Lines == nil {
		return false, 0, err
	}
	lines := s.o.Lines(ctx, from, to)
	slow = len(lines) > 0
	best, known := int64(0), len(lines) > 0
	for _, l := range lines {
		slow = slow && l.Slow
		known = known && l.Rate > 0
		best = max(best, l.Rate)
	}
	if known && size > 0 {
		seconds = (size + best - 1) / best
	}
	return slow, seconds, nil
}
