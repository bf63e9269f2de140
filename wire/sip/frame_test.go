package sip

import (
	"fmt"
	"strings"
	"testing"
)

func TestFrame(t *testing.T) {
	start := "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n"
	for _, row := range []struct {
		buf    string
		n      int // -1: the whole; -2: up to the end of the headers
		status int
	}{
		{"", 0, 0},
		{start, 0, 0},
		{start + "Content-Length: 0\r\n", 0, 0},
		{start + "Content-Length: 0\r\n\r", 0, 0},
		{start + "Content-Length: 0\r\n\r\n", -1, 0},
		{start + "l:5\r\n\r\nhello", -1, 0},
		{start + "L :\t5 \r\n\r\nhelloBYE sip:x SIP/2.0\r\n", -3, 0},
		{start + "content-length:\r\n 5\r\n\r\nhell", 0, 0},
		{start + "content-length:\r\n 5\r\n\r\nhello", -1, 0},
		{start + "Subject: x\r\n Content-Length: 7\r\nl: 5\r\n\r\nhello", -1, 0},
		{start + "\r\n", -2, 400},
		{start + "Content-Length: -1\r\n\r\n", -2, 400},
		{start + "Content-Length: five\r\n\r\nxxxxx", -2, 400},
		{start + "Content-Length:\r\n\r\n", -2, 400},
		{start + "Content-Length: 5 5\r\n\r\nhello", -2, 400},
		{start + "Content-Length: 4294967296\r\n\r\n", -2, 400},
		{start + "Content-Length: 18446744073709551620\r\n\r\nhell", -2, 400},
		{start + "Content-Length: 5\r\nl: 5\r\n\r\nhello", -2, 400},
		{start + "Content-Length: 4294967295\r\n\r\n", -2, 413},
		{start + fmt.Sprintf("l: %d\r\n\r\n", DefaultBody+1), -2, 413},
		{start + fmt.Sprintf("l: %d\r\n\r\n", DefaultBody), 0, 0},
		{start + fmt.Sprintf("l: %d\r\n\r\n", DefaultBody) + strings.Repeat("x", DefaultBody), -1, 0},
		{"GET / HTTP/1.1\r\n", -1, 400},
		{"\x16\x03\x01", 0, 400},
		{"\r\n", 0, 400},
		{" ", 0, 400},
		{"OPTIONS sip:bob@example.com SIP/2.0\nVia", 36, 400},
	} {
		n, err := Frame([]byte(row.buf), Limits{})
		want := row.n
		switch want {
		case -1:
			want = len(row.buf)
		case -2:
			want = strings.Index(row.buf, "\r\n\r\n") + 4
		case -3:
			want = strings.Index(row.buf, "hello") + 5
		}
		if n != want || statusOf(err) != row.status {
			t.Errorf("Frame(%.200q) = %d, %v, want %d and %d", row.buf, n, err, want, row.status)
		}
	}
}

func statusOf(err error) int {
	if err == nil {
		return 0
	}
	return asError(err).Status
}

// TestFrameAnswerable: what Frame gives up on can be answered.
func TestFrameAnswerable(t *testing.T) {
	for row, status := range map[string]int{
		"Content-Length: 4000000000\r\n\r\nxx": 413, "Content-Length: -1\r\n\r\nxx": 400, "\r\nxx": 400, "Subject: x\nl: 3\r\n\r\nxx": 400, "a: b\r\nl: 0\r\nl: 0\r\n\r\nxx": 400,
	} {
		buf := []byte(strings.TrimSuffix(request(), "\r\n") + row)
		n, err := Frame(buf, Limits{})
		if n == 0 || statusOf(err) != status {
			t.Errorf("%q: Frame = %d, %v", row, n, err)
			continue
		}
		m, _ := Parse(buf[:n:n])
		if !m.Answerable() {
			t.Errorf("%q: not answerable", row)
		}
		if resp := mustParse(t, string(NewResponse(m, asError(err).Status, "").Bytes())); resp.Status() != status || resp.CallID() != "c1" {
			t.Errorf("%q: response\n%s", row, resp.Bytes())
		}
	}
}

// TestFrameByBytes feeds a stream byte by byte: no boundary matters.
func TestFrameByBytes(t *testing.T) {
	stream := typical + request("l: 3") + "abc" + typical
	var buf []byte
	var got []string
	for i := 0; i < len(stream); i++ {
		buf = append(buf, stream[i])
		n, err := Frame(buf, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			got = append(got, string(buf[:n]))
			buf = buf[n:]
		}
	}
	if len(got) != 3 || got[0] != typical || got[1] != request("l: 3")+"abc" || got[2] != typical || len(buf) != 0 {
		t.Errorf("%q, rest %q", got, buf)
	}
}

// TestLimits tries each limit at n-1, n and n+1, in Parse and, where a stream is cut by it, in Frame.
func TestLimits(t *testing.T) {
	base := request("Content-Length: 0")
	rows := strings.Count(base, "\r\n") - 2
	grow := func(text string, size int) string {
		return strings.Replace(text, "Call-ID: c1", "Call-ID: c1\r\nXx: "+strings.Repeat("x", size-len(text)-6), 1)
	}
	vias := func(n int, sep string) string {
		return strings.Replace(base, "branch=z9hG4bK1", "branch=z9hG4bK1"+strings.Repeat(sep+"SIP/2.0/UDP h;branch=z9hG4bK2", n-1), 1)
	}
	for _, row := range []struct {
		name   string
		lim    Limits
		limit  int
		make   func(n int) string
		status int
		frame  bool
	}{
		{"headers", Limits{}, DefaultHeaders, func(n int) string {
			return strings.Replace(base, "To:", strings.Repeat("Accept: a/b\r\n", n-rows)+"To:", 1)
		}, 400, false},
		{"headers set", Limits{Headers: 41}, 41, func(n int) string {
			return strings.Replace(base, "To:", strings.Repeat("Xx: y\r\n", n-rows)+"To:", 1)
		}, 400, false},
		{"header bytes", Limits{Line: 1 << 20}, DefaultHeaderBytes, func(n int) string { return grow(base, n) }, 400, true},
		{"header bytes set", Limits{HeaderBytes: 2000}, 2000, func(n int) string { return grow(base, n) }, 400, true},
		{"header bytes folded", Limits{HeaderBytes: 4000}, 4000, func(n int) string {
			text := strings.Replace(base, "To:", "Xx: "+strings.Repeat("a\r\n\t\t\t", 300)+"\r\nTo:", 1)
			return grow(text, n)
		}, 400, true},
		{"line", Limits{}, DefaultLine, func(n int) string {
			return strings.Replace(base, "To:", "Xx: "+strings.Repeat("x", n-4)+"\r\nTo:", 1)
		}, 400, false},
		{"start line", Limits{Line: 200}, 200, func(n int) string {
			return strings.Replace(base, "sip:bob", "sip:"+strings.Repeat("b", n-len("OPTIONS sip:@example.com SIP/2.0")), 1)
		}, 400, false},
		{"vias in rows", Limits{}, DefaultVias, func(n int) string { return vias(n, "\r\nv: ") }, 400, false},
		{"vias in one row", Limits{}, DefaultVias, func(n int) string { return vias(n, ",") }, 400, false},
		{"body", Limits{}, DefaultBody, func(n int) string {
			return strings.Replace(base, "Length: 0", fmt.Sprintf("Length: %d", n), 1) + strings.Repeat("x", n)
		}, 413, true},
		{"body set", Limits{Body: 10}, 10, func(n int) string {
			return strings.Replace(base, "Length: 0", fmt.Sprintf("Length: %d", n), 1) + strings.Repeat("x", n)
		}, 413, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			for n := row.limit - 1; n <= row.limit+1; n++ {
				want := 0
				if n > row.limit {
					want = row.status
				}
				data := []byte(row.make(n))
				if row.frame {
					if _, err := Frame(data, row.lim); statusOf(err) != want {
						t.Errorf("%d: Frame: %v", n, err)
					}
				}
				m := new(Message)
				if err := m.ParseLimits(data, row.lim); statusOf(err) != want {
					t.Errorf("%d: Parse: %v", n, err)
				}
				if !m.Answerable() {
					t.Errorf("%d: not answerable", n)
				}
			}
		})
	}
	// No setting goes beyond what the offsets hold.
	m := new(Message)
	if err := m.ParseLimits([]byte(grow(base, 70000)), Limits{HeaderBytes: 1 << 30, Line: 1 << 30, Headers: 1 << 30}); statusOf(err) != 400 {
		t.Errorf("70,000 bytes of header: %v", err)
	}
	if err := m.ParseLimits([]byte(grow(base, 65535)), Limits{HeaderBytes: 1 << 30, Line: 1 << 30}); err != nil {
		t.Errorf("65,535 bytes of header: %v", err)
	}
}
