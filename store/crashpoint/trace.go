//go:build crash_points

package crashpoint

import (
	"encoding/binary"
	"os"
	"sync"
	"time"
)

// A trace is a list of entries, each with a head of 32 bytes (big endian) and what follows it:
//
//	 0  kind: w write, t truncate, d delete, s a sync begins, S it has succeeded
//	 1  length of the file's name
//	 4  length of the data
//	 8  offset of a write; new size of a truncate; number of a sync, the same at both of its ends
//	16  nanoseconds since 1970
//	24  0
//	32  the name, the data
//
// A write stands where it has returned, and a sync covers the writes that stand before its beginning: what SQLite may rely on
// at least.
type trace struct {
	mu   sync.Mutex // keeps entries whole and in order
	f    *os.File
	sync int64
	buf  []byte
}

// recorder writes the trace; nil when none is wanted.
var recorder = sync.OnceValue(func() *trace {
	name := os.Getenv(envTrace)
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	return &trace{f: f}
})

// put writes an entry. It may be called on a nil trace.
func (t *trace) put(kind byte, file string, number int64, data []byte) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b := append(t.buf[:0], kind, byte(len(file)), 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	b = binary.BigEndian.AppendUint64(b, uint64(number))
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixNano()))
	b = binary.BigEndian.AppendUint64(b, 0)
	b = append(append(b, file...), data...)
	t.buf = b
	if _, err := t.f.Write(b); err != nil {
		panic(err)
	}
}

// syncing numbers a sync that begins.
func (t *trace) syncing(file string) int64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	t.sync++
	n := t.sync
	t.mu.Unlock()
	t.put('s', file, n, nil)
	return n
}

// Wrote adds a write that does not go through SQLite, after it was done.
func Wrote(file string, offset int64, data []byte) { recorder().put('w', file, offset, data) }
