package transport

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-im/parley/wire/sip"
)

// collect feeds a stream in pieces and returns its messages.
func collect(fr *framer, pieces ...[]byte) (msgs []string, pings int, bad *sip.Error) {
	for _, p := range pieces {
		f := fr.feed(p, sip.Limits{}, func(b []byte) bool { msgs = append(msgs, string(b)); return true })
		pings += f.pings
		if f.bad != nil {
			return msgs, pings, f.bad
		}
	}
	return msgs, pings, nil
}

func slices(b []byte, size int) (list [][]byte) {
	for len(b) > size {
		list = append(list, b[:size])
		b = b[size:]
	}
	return append(list, b)
}

func TestFramerSlices(t *testing.T) {
	a, b, c := request("a", 0), request("b", 1000), request("c", 3)
	stream := bytes.Join([][]byte{[]byte("\r\n"), a, []byte("\r\n\r\n"), b, c, []byte("\r\n\r\n\r\n\r\n")}, nil)
	for size := 1; size <= len(stream); size++ {
		var fr framer
		msgs, pings, bad := collect(&fr, slices(stream, size)...)
		if bad != nil || pings != 3 || len(msgs) != 3 || msgs[0] != string(a) || msgs[1] != string(b) || msgs[2] != string(c) {
			t.Fatalf("slices of %d: %d messages, %d pings, %v", size, len(msgs), pings, bad)
		}
		if fr.buf != nil || fr.partial() {
			t.Fatalf("slices of %d: memory is held", size)
		}
	}
}

func TestFramerPings(t *testing.T) {
	for in, want := range map[string]int{
		"\r\n": 0, "\r\n\r\n": 1, "\r\n\r\n\r\n": 1, "\n\n\n\n": 0, "\r\r\n\r\n": 1, "\r\n\n\r\n": 0,
		"\r\n\r\r\n\r\n": 1, strings.Repeat("\r\n", 7): 3,
	} {
		var fr framer
		if _, pings, bad := collect(&fr, []byte(in)); pings != want || bad != nil {
			t.Errorf("%q: %d pings, want %d (%v)", in, pings, want, bad)
		}
	}
}

func TestFramerRefuses(t *testing.T) {
	head := "MESSAGE sip:b@example.com SIP/2.0\r\n"
	for name, row := range map[string]struct {
		in     string
		status int
	}{
		"TLS hello":          {"\x16\x03\x01\x02\x00", 400},
		"zeros":              {"\x00\x00", 400},
		"negative length":    {head + "Content-Length: -1\r\n\r\n", 400},
		"no length":          {head + "To: b\r\n\r\n", 400},
		"two lengths":        {head + "l: 1\r\nContent-Length: 2\r\n\r\n", 400},
		"huge length":        {head + "Content-Length: 99999999\r\n\r\n", 413},
		"length of 20 digit": {head + "Content-Length: 99999999999999999999\r\n\r\n", 400},
		"lone LF":            {head + "To: b\nFrom: c\r\n", 400},
		"endless line":       {"MESSAGE " + strings.Repeat("x", 1<<20), 400},
		"header flood":       {head + strings.Repeat("A: b\r\n", 100_000), 400},
	} {
		for _, size := range []int{1, 7, 1000, 1 << 20} {
			var fr framer
			_, _, bad := collect(&fr, slices([]byte(row.in), size)...)
			if bad == nil || bad.Status != row.status {
				t.Errorf("%s in slices of %d: %v, want %d", name, size, bad, row.status)
			}
			if cap(fr.buf) > 2*sip.DefaultHeaderBytes {
				t.Errorf("%s in slices of %d: %d bytes held", name, size, cap(fr.buf))
			}
		}
	}
}

// A peer that sends byte by byte must not make us look at its message again
// and again: eight times the bytes cost about eight times the work, where
// looking at all of them each time would cost 64 times as much. Work is the
// processor time of this thread, so what else the machine does is not in it.
func TestFramerIsLinear(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const small, large = 8_000, 64_000
	lim := sip.Limits{Body: 1 << 20, HeaderBytes: 1 << 20, Line: 1 << 20, Headers: 1 << 20}
	work := func(b []byte) (least time.Duration) {
		for try := range 5 { // a collection may fall into some of them
			start := threadTime(t)
			var fr framer
			for i := range b {
				if f := fr.feed(b[i:i+1], lim, func([]byte) bool { return true }); f.bad != nil {
					t.Fatal(f.bad)
				}
			}
			if d := threadTime(t) - start; try == 0 || d < least {
				least = d
			}
		}
		return least
	}
	head := "MESSAGE sip:b@example.com SIP/2.0\r\n"
	for name, of := range map[string]func(int) []byte{
		"body":        func(n int) []byte { return request("a", n) },
		"long line":   func(n int) []byte { return []byte(head + "B: " + strings.Repeat("x", n)) },
		"short lines": func(n int) []byte { return []byte(head + strings.Repeat("A:\r\n", n/4)) },
	} {
		if a, b := work(of(small)), work(of(large)); b > 24*a {
			t.Errorf("%s: %d bytes take %v, %d bytes %v", name, small, a, large, b)
		} else {
			t.Logf("%s: %d bytes take %v, %d bytes %v", name, small, a, large, b)
		}
	}
}

// threadTime is the processor time that this thread has had.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}

func FuzzFramer(f *testing.F) {
	f.Add(append(request("a", 20), request("b", 0)...), 3)
	f.Add([]byte("\r\n\r\nOPTIONS sip:a@b SIP/2.0\r\nl: 0\r\n\r\n\r\n"), 1)
	f.Add([]byte("A b\nC"), 2)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		if size < 1 {
			size = 1
		}
		var whole, sliced framer
		m1, p1, bad1 := collect(&whole, stream)
		m2, p2, bad2 := collect(&sliced, slices(stream, size)...)
		if p1 != p2 || len(m1) != len(m2) || (bad1 == nil) != (bad2 == nil) {
			t.Fatalf("whole: %d messages, %d pings, %v; sliced: %d, %d, %v", len(m1), p1, bad1, len(m2), p2, bad2)
		}
		for i := range m1 {
			if m1[i] != m2[i] {
				t.Fatalf("message %d differs", i)
			}
		}
	})
}
