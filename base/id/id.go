// Package id makes the 16-byte ids of records, messages and devices: ordered by time, in the layout of UUID version 7
// (RFC 9562 §5.7).
package id

import (
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// ID is 48 bits of Unix milliseconds, 12 bits of fraction of that millisecond, and 62 random bits, with version and
// variant in their places. IDs compare as their bytes do, and == works. The zero ID means none.
type ID [16]byte

// Size of an ID in text: 8-4-4-4-12 hexadecimal digits.
const textLen = 36

var errSyntax = errors.New("id: not an id of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")

// last is the highest 60-bit time stamp given out. It is the one variable of this package, because "each ID of this
// process is greater than the ones before" is a statement about the process.
var last atomic.Uint64

// New returns an ID that is greater than every ID this process made before, also when the clock stands still or is set
// back (RFC 9562 §6.2, method 3). It is safe for concurrent use and does not allocate. The random part keeps ids of two
// nodes apart; it is no secret and proves nothing.
func New() ID {
	return at(time.Now(), &last, rand.Uint64())
}

// After makes every ID that this process makes from now on greater than d: what a start knows of the process before it, in case
// the clock was set back meanwhile. An ID from more than limit ahead of the clock is ignored: that clock was wrong, and to follow
// it would be worse.
func After(d ID, limit time.Duration) { after(d, time.Now().Add(limit), &last) }

func after(d ID, latest time.Time, last *atomic.Uint64) {
	if d.Time().After(latest) {
		return
	}
	ms := uint64(d.Time().UnixMilli())
	stamp := ms<<12 | uint64(d[6]&0x0f)<<8 | uint64(d[7])
	for old := last.Load(); stamp > old; old = last.Load() {
		if last.CompareAndSwap(old, stamp) {
			return
		}
	}
}

// at takes the next stamp: milliseconds and 1/4096 of one, or one more than the last stamp if that is later.
func at(now time.Time, last *atomic.Uint64, random uint64) ID {
	us := now.UnixMicro()
	stamp := uint64(us/1000)<<12 | uint64((us%1000)*4096/1000)
	for {
		old := last.Load()
		if stamp <= old {
			stamp = old + 1
		}
		if last.CompareAndSwap(old, stamp) {
			break
		}
	}
	var d ID
	ms := stamp >> 12
	d[0], d[1], d[2], d[3], d[4], d[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	d[6], d[7] = 0x70|byte(stamp>>8)&0x0f, byte(stamp) // version 7
	d[8] = 0x80 | byte(random>>56)&0x3f                // variant 10
	for i := 9; i < 16; i++ {
		d[i] = byte(random >> (8 * (15 - i)))
	}
	return d
}

// IsZero says that d is no id.
func (d ID) IsZero() bool { return d == ID{} }

// Time is when the id was made, to the millisecond, in UTC.
func (d ID) Time() time.Time {
	ms := int64(d[0])<<40 | int64(d[1])<<32 | int64(d[2])<<24 | int64(d[3])<<16 | int64(d[4])<<8 | int64(d[5])
	return time.UnixMilli(ms).UTC()
}

// Compare is -1, 0 or 1 as d is older than, the same as or younger than e.
func (d ID) Compare(e ID) int {
	for i := range d {
		if d[i] != e[i] {
			if d[i] < e[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// AppendText appends the text form to b; with room in b it does not allocate.
func (d ID) AppendText(b []byte) ([]byte, error) { return d.append(b), nil }

func (d ID) append(b []byte) []byte {
	b = hex.AppendEncode(b, d[0:4])
	for _, part := range [...][]byte{d[4:6], d[6:8], d[8:10], d[10:16]} {
		b = append(b, '-')
		b = hex.AppendEncode(b, part)
	}
	return b
}

// String is the text form in lower case.
func (d ID) String() string {
	var b [textLen]byte
	return string(d.append(b[:0]))
}

// MarshalText is the text form, for JSON and logs.
func (d ID) MarshalText() ([]byte, error) { return d.append(make([]byte, 0, textLen)), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *ID) UnmarshalText(b []byte) error {
	e, err := Parse(string(b))
	if err == nil {
		*d = e
	}
	return err
}

// Parse reads the text form, in either case. It does not ask for version 7: the ids of others pass too.
func Parse(s string) (ID, error) {
	var d ID
	if len(s) != textLen {
		return ID{}, errSyntax
	}
	n := 0
	for i := 0; i < textLen; {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return ID{}, errSyntax
			}
			i++
			continue
		}
		hi, ok1 := digit(s[i])
		lo, ok2 := digit(s[i+1])
		if !ok1 || !ok2 {
			return ID{}, errSyntax
		}
		d[n] = hi<<4 | lo
		n++
		i += 2
	}
	return d, nil
}

func digit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
