package ws

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The frames of RFC 6455 §5.7 that a client may send, and those that a server may.
func TestExamples(t *testing.T) {
	f, n, err := Parse([]byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58more"), 100)
	if err != nil || n != 11 || !f.Fin || f.Op != Text || string(f.Payload) != "Hello" {
		t.Errorf("masked text: %v %d %v", f, n, err)
	}
	f, n, err = Parse([]byte("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), 0)
	if err != nil || n != 11 || f.Op != Pong || string(f.Payload) != "Hello" {
		t.Errorf("masked pong: %v %d %v", f, n, err)
	}
	for _, row := range []struct {
		op   byte
		size int
		head string
	}{{Text, 5, "\x81\x05"}, {Ping, 125, "\x89\x7d"}, {Binary, 256, "\x82\x7e\x01\x00"}, {Binary, 65536, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"}} {
		b := bytes.Repeat([]byte("x"), row.size)
		if got := Append([]byte("before"), row.op, b); string(got) != "before"+row.head+string(b) {
			t.Errorf("%d bytes: %q", row.size, got[:16])
		}
	}
	if got := AppendClose(nil, TooBig, strings.Repeat("long ", 50)); len(got) != 2+2+120 || string(got[:4]) != "\x88\x7a\x03\xf1" {
		t.Errorf("close: %q", got)
	}
	// RFC 6455 §1.3.
	if got := Accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("accept %q", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, row := range map[string]struct {
		in   string
		code uint16
	}{
		"not masked":         {"\x81\x01x", Protocol},
		"reserved bit":       {"\xc1\x80", Protocol},
		"opcode 3":           {"\x83\x80", Protocol},
		"opcode 11":          {"\x8b\x80", Protocol},
		"long ping":          {"\x89\xfe", Protocol},
		"fragmented close":   {"\x08\x80", Protocol},
		"too large":          {"\x82\xfe\x00\xc9", TooBig},
		"larger than memory": {"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", TooBig},
	} {
		var bad *Error
		if _, n, err := Parse([]byte(row.in), 200); n != 0 || !errors.As(err, &bad) || bad.Code != row.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefuse(t *testing.T) {
	for name, row := range map[string]struct {
		change func(r *http.Request)
		status int
	}{
		"good":        {func(*http.Request) {}, 0},
		"words":       {func(r *http.Request) { r.Header.Set("Connection", "keep-alive, Upgrade") }, 0},
		"POST":        {func(r *http.Request) { r.Method = http.MethodPost }, 405},
		"HTTP/1.0":    {func(r *http.Request) { r.ProtoMinor = 0 }, 405},
		"no upgrade":  {func(r *http.Request) { r.Header.Del("Upgrade") }, 426},
		"other":       {func(r *http.Request) { r.Header.Set("Upgrade", "h2c") }, 426},
		"version 8":   {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, 426},
		"short key":   {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "c2hvcnQ=") }, 400},
		"two keys":    {func(r *http.Request) { r.Header.Add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==") }, 400},
		"our origin":  {func(r *http.Request) { r.Header.Set("Origin", "https://EXAMPLE.com") }, 0},
		"pattern":     {func(r *http.Request) { r.Header.Set("Origin", "https://a.example.org") }, 0},
		"with scheme": {func(r *http.Request) { r.Header.Set("Origin", "https://app.example.net") }, 0},
		"no scheme":   {func(r *http.Request) { r.Header.Set("Origin", "http://app.example.net") }, 403},
		"other site":  {func(r *http.Request) { r.Header.Set("Origin", "https://evil.test") }, 403},
		"null":        {func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://example.com/sip", nil)
		for _, kv := range [][2]string{{"Connection", "upgrade"}, {"Upgrade", "WebSocket"}, {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}} {
			r.Header.Set(kv[0], kv[1])
		}
		row.change(r)
		if status, text := Refuse(r, []string{"*.example.org", "https://app.example.net"}); status != row.status {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

// Whatever comes, Parse never reads beyond its input, and finds the same frame however much follows.
func FuzzParse(f *testing.F) {
	f.Add([]byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"))
	f.Add([]byte("\x82\xfe\x00\x7e\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, n, err := Parse(bytes.Clone(data), 1000)
		if n > len(data) || err != nil && n != 0 || len(a.Payload) > max(n, 0) || len(a.Payload) > 1000 {
			t.Fatalf("%d bytes of %d, %v", n, len(data), err)
		}
		b, m, err2 := Parse(append(bytes.Clone(data), 1, 2, 3), 1000)
		if n > 0 && (m != n || err2 != nil || a.Op != b.Op || a.Fin != b.Fin || !bytes.Equal(a.Payload, b.Payload)) {
			t.Fatalf("%v and then %v", a, b)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	frame := Append(nil, Text, bytes.Repeat([]byte("x"), 700))
	frame[1] |= 0x80
	frame = append(frame[:4:4], append([]byte{1, 2, 3, 4}, frame[4:]...)...)
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if _, n, err := Parse(frame, 1000); n != len(frame) || err != nil {
			b.Fatal(n, err)
		}
	}
}
