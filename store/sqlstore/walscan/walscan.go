// Package walscan looks at the write-ahead log of a SQLite database before SQLite does.
package walscan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Scan reads a write-ahead log that no process has open, as SQLite's recovery will, and looks at what SQLite ignores: the
// frames behind the first that is not whole (SQLite's file format, section 4). It returns how many commits at the place of the
// damage or behind it were followed by another transaction.
//
// A transaction is only begun when the one before it is on the disk. So the frames of one torn transaction may be there in
// any choice after a power loss, and nothing of the next one: that is no damage. If anything of the next one is there, a
// commit was acknowledged that SQLite is about to drop.
func Scan(name string) (broken int, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("walscan: reading the write-ahead log: %w", err)
	}
	defer f.Close()
	var head [32]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return 0, nil // empty: nothing was committed since it was emptied
	}
	w := sum{order: binary.BigEndian}
	switch binary.BigEndian.Uint32(head[0:]) {
	case 0x377f0682:
		w.order = binary.LittleEndian
	case 0x377f0683:
	default:
		return 0, nil // no head: the index and the mark know whether anything is missing
	}
	size := int64(binary.BigEndian.Uint32(head[8:]))
	w.add(head[:24])
	if size < 512 || size > 65536 || !w.is(head[24:32]) {
		return 0, nil
	}
	frame := make([]byte, 24+size)
	whole, commits := true, 0
	for {
		if _, err := io.ReadFull(f, frame); err != nil {
			return broken, nil // the end
		}
		// Frames from before the log began anew have other salts; they were copied to the database file.
		ours := string(frame[8:16]) == string(head[16:24])
		w.add(frame[:8])
		w.add(frame[24:])
		fits := ours && w.is(frame[16:24])
		// What follows is chained to the sum that stands here.
		w.a, w.b = binary.BigEndian.Uint32(frame[16:]), binary.BigEndian.Uint32(frame[20:])
		if whole = whole && fits; whole {
			continue
		}
		if fits && commits > broken {
			broken = commits // a frame of a later transaction
		}
		if ours && binary.BigEndian.Uint32(frame[4:]) != 0 {
			commits++
		}
	}
}

// sum is the running checksum of a write-ahead log.
type sum struct {
	a, b  uint32
	order binary.ByteOrder
}

// add takes a multiple of 8 bytes.
func (w *sum) add(p []byte) {
	a, b := w.a, w.b
	if w.order == binary.LittleEndian {
		for ; len(p) >= 8; p = p[8:] {
			a += binary.LittleEndian.Uint32(p) + b
			b += binary.LittleEndian.Uint32(p[4:]) + a
		}
	} else {
		for ; len(p) >= 8; p = p[8:] {
			a += binary.BigEndian.Uint32(p) + b
			b += binary.BigEndian.Uint32(p[4:]) + a
		}
	}
	w.a, w.b = a, b
}

func (w *sum) is(p []byte) bool {
	return w.a == binary.BigEndian.Uint32(p) && w.b == binary.BigEndian.Uint32(p[4:])
}
