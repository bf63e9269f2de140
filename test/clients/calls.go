package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// talk is how long calls last: sound is heard in its own time.
const talk = 3 * time.Second

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// callWithTones: baresip and liblinphone play a tone each and must hear the other's. Whoever was called hangs up, and
// the caller must notice.
func (m *matrix) callWithTones(ctx context.Context, what string, b *baresip, l *linphone, baresipCalls bool) {
	m.report.check("call", what, func() (string, error) {
		if err := m.ready(b, l); err != nil {
			return "", err
		}
		hears := filepath.Join(m.lab.dir, l.user()+"-hears.wav")
		if err := l.record(filepath.Join(m.lab.dir, "linphone.wav"), hears); err != nil {
			return "", err
		}
		started, bMark, lMark := time.Now(), b.mark(), l.journal.mark()
		var err error
		if baresipCalls {
			_, err = b.command(ctx, "dial", address(l))
		} else {
			err = l.process.command("call", address(b))
		}
		if err != nil {
			return "", err
		}
		if err := b.awaitCall(ctx, bMark, "CALL_ESTABLISHED"); err != nil {
			return "", err
		}
		if err := l.awaitCall(ctx, lMark, "StreamsRunning"); err != nil {
			return "", err
		}
		if err := wait(ctx, talk); err != nil {
			return "", err
		}
		if baresipCalls {
			err = l.process.command("hangup")
		} else {
			_, err = b.command(ctx, "hangup", "")
		}
		if err != nil {
			return "", err
		}
		if err := b.awaitCall(ctx, bMark, "CALL_CLOSED"); err != nil {
			return "", err
		}
		if err := l.awaitCall(ctx, lMark, "Released"); err != nil {
			return "", err
		}
		file, err := b.heard(started)
		if err != nil {
			return "", err
		}
		first, err := heardTone(b.label(), file, linphoneTone)
		if err != nil {
			return "", err
		}
		second, err := heardTone(l.label(), hears, baresipTone)
		return first + ", " + second, err
	})
}

// heardTone checks that a recording carries the tone that the other side played.
func heardTone(who, file string, want int) (string, error) {
	s, err := readSound(file)
	if err != nil {
		return "", fmt.Errorf("%w (what %s heard)", err, who)
	}
	frequency, share, err := s.tone()
	if err != nil {
		return "", fmt.Errorf("%w (what %s heard)", err, who)
	}
	text := fmt.Sprintf("%s heard %d Hz (%.0f %%)", who, frequency, 100*share)
	if frequency < want-10 || frequency > want+10 || share < 0.5 {
		return "", fmt.Errorf("clients: %s, not %d Hz", text, want)
	}
	return text, nil
}

// heard finds the file into which baresip's sndfile module wrote what came in since a time.
func (b *baresip) heard(since time.Time) (string, error) {
	names, err := filepath.Glob(filepath.Join(b.dir, "dump-*-dec.wav"))
	if err != nil {
		return "", fmt.Errorf("clients: %w", err)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(since) {
			return name, nil
		}
	}
	return "", fmt.Errorf("clients: %s recorded nothing", b.label())
}

// callBetweenPages: two browser pages call each other with WebRTC; the packets that each receives must grow in number
// while they talk, and when the called one hangs up the caller must see it.
func (m *matrix) callBetweenPages(ctx context.Context) {
	caller, called := m.pages[0], m.pages[1]
	m.report.check("call", caller.label()+" calls "+called.label(), func() (string, error) {
		if err := m.ready(caller, called); err != nil {
			return "", err
		}
		mark := m.browser.journal.mark()
		if err := caller.dial(address(called)); err != nil {
			return "", err
		}
		both := []*page{caller, called}
		for _, p := range both {
			if err := p.awaitCall(ctx, mark, "confirmed"); err != nil {
				return "", fmt.Errorf("%s: %w", p.label(), err)
			}
		}
		if err := wait(ctx, talk/2); err != nil {
			return "", err
		}
		var before, after [2]event
		for round, counts := range []*[2]event{&before, &after} {
			for i, p := range both {
				var err error
				if counts[i], err = p.stats(ctx); err != nil {
					return "", err
				}
			}
			if round == 0 {
				if err := wait(ctx, talk/2); err != nil {
					return "", err
				}
			}
		}
		for i, p := range both {
			if before[i].PacketsReceived == 0 || after[i].PacketsReceived <= before[i].PacketsReceived || after[i].BytesReceived <= before[i].BytesReceived {
				return "", fmt.Errorf("clients: %s received %d packets, then %d", p.label(), before[i].PacketsReceived, after[i].PacketsReceived)
			}
		}
		if err := called.hangUp(); err != nil {
			return "", err
		}
		if err := caller.awaitCall(ctx, mark, "ended"); err != nil {
			return "", fmt.Errorf("%s: %w", caller.label(), err)
		}
		return fmt.Sprintf("%d and %d audio packets received; hang-up seen", after[0].PacketsReceived, after[1].PacketsReceived), nil
	})
}
