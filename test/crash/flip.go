package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// flipRound damages what was synced, which no program can promise to survive. It is done to a copy; the server on the copy
// must say at ERROR level that something is missing, or not start. Then the folder is opened again and again with other bytes
// flipped.
func flipRound(ctx context.Context, x *run, _ int) (string, error) {
	pause(ctx, x.between(300*time.Millisecond, 1500*time.Millisecond))
	x.server.kill()
	before := x.ledger.snapshot(nil)
	copied := filepath.Join(x.dir, "flipped")
	sound := filepath.Join(x.dir, "sound")
	if err := errors.Join(copyFolder(x.server.data, copied), copyFolder(x.server.data, sound)); err != nil {
		return "", err
	}
	if _, err := x.again(ctx); err != nil {
		return "", err
	}
	f, err := os.OpenFile(x.walOf(copied), os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("crash: %w", err)
	}
	defer f.Close()
	end, err := usedWAL(f)
	if err != nil || end <= 32 {
		return "the WAL is empty", err
	}
	at := max(32, end-1-x.rand.Int64N(min(end-32, 40*4120)))
	b := []byte{0}
	if _, err = f.ReadAt(b, at); err == nil {
		b[0] ^= 0xff
		_, err = f.WriteAt(b, at)
	}
	if err != nil {
		return "", fmt.Errorf("crash: %w", err)
	}
	note := fmt.Sprintf("byte %d of %d", at, end)
	place := filepath.Join(x.dir, "flip")
	if err := errors.Join(os.RemoveAll(place), os.Mkdir(place, 0o700)); err != nil {
		return note, fmt.Errorf("crash: %w", err)
	}
	other, err := newServer(x.server.program, place, copied, "")
	if err != nil {
		return note, err
	}
	if err := other.start(ctx); err != nil {
		return note + ", refuses to start: " + other.tail(), nil //nolint:nilerr // that is saying it
	}
	defer other.kill()
	archive, err := other.archive(ctx, 0)
	if err != nil {
		return note, err
	}
	before.Archive = archive
	gone := 0
	for _, w := range check(before).Violations {
		if w.Rule == ruleAcknowledged {
			gone++
		}
	}
	said := strings.Contains(other.text(), "level=ERROR")
	note += fmt.Sprintf(", %d acknowledged messages gone, said so: %v", gone, said)
	if gone > 0 && !said {
		x.printf("  VIOLATION damaged WAL: %d acknowledged messages are gone and the server does not say so (%s)\n", gone, note)
		x.silent++
	}
	x.crew.loading.Store(false)
	more, err := flipAround(ctx, x, sound, before)
	return note + "; " + more, err
}

// flipAround opens copies of a folder with a few bytes flipped in one of its files.
func flipAround(ctx context.Context, x *run, sound string, seen book) (string, error) {
	whole := filepath.Join(x.dir, "whole")
	if err := copyFolder(sound, whole); err != nil {
		return "", err
	}
	all, _, err := openFolder(ctx, whole, nil)
	if err != nil {
		return "", fmt.Errorf("crash: a folder without damage: %w", err)
	}
	// The last transaction may have been on its way when the server was killed: nobody was told of it, so it need not be missed.
	told := map[string]bool{}
	for i := range seen.Answers {
		told[seen.Answers[i].Key] = seen.Answers[i].Status != statusRefused
	}
	for i := range seen.Received {
		told[seen.Received[i].Key] = true
	}
	spoilt := filepath.Join(x.dir, "spoilt")
	const tries = 15
	refused, short := 0, 0
	for range tries {
		if err := copyFolder(sound, spoilt); err != nil {
			return "", err
		}
		name := []string{"log.db", "log.db-wal"}[x.rand.IntN(2)]
		where, err := flipBytes(filepath.Join(spoilt, name), x.rand)
		if err != nil {
			return "", err
		}
		var said bytes.Buffer
		list, _, err := openFolder(ctx, spoilt, &said)
		if err != nil {
			refused++
			continue
		}
		n, gone := 0, 0
		for i := range all {
			if n < len(list) && list[n].Seq == all[i].Seq {
				if !same(&list[n], &all[i]) {
					x.printf("  VIOLATION damaged %s at %v: record %d is shown otherwise than it was\n", name, where, all[i].Seq)
					x.silent++
				}
				n++
			} else if key, _, _ := strings.Cut(string(all[i].Body), " "); told[key] {
				gone++
			}
		}
		if n < len(list) {
			x.printf("  VIOLATION damaged %s at %v: record %d is shown, which was never there\n", name, where, list[n].Seq)
			x.silent++
		}
		if gone == 0 {
			continue
		}
		if short++; said.Len() == 0 {
			x.printf("  VIOLATION damaged %s at %v: %d of %d records are shown, %d messages that clients had seen are not, and no error says so\n",
				name, where, len(list), len(all), gone)
			x.silent++
		}
	}
	return fmt.Sprintf("of %d other damages %d were refused, %d cost records and said so", tries, refused, short), nil
}

// flipBytes inverts one to three bytes of a file.
func flipBytes(name string, r *rand.Rand) (where []int, err error) {
	text, err := os.ReadFile(name)
	if err != nil || len(text) == 0 {
		return nil, err
	}
	for range 1 + r.IntN(3) {
		i := r.IntN(len(text))
		text[i] ^= byte(1 + r.IntN(255))
		where = append(where, i)
	}
	return where, os.WriteFile(name, text, 0o600)
}
