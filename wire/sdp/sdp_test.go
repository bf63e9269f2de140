package sdp

import (
	"errors"
	"strings"
	"testing"
)

// rfc4566 is the example of RFC 4566 §5.
const rfc4566 = "v=0\r\no=jdoe 2890844526 2890842807 IN IP4 10.47.16.5\r\ns=SDP Seminar\r\ni=A Seminar on the session description protocol\r\n" +
	"u=http://www.example.com/seminars/sdp.pdf\r\ne=j.doe@example.com (Jane Doe)\r\nc=IN IP4 224.2.17.12/127\r\nt=2873397496 2873404696\r\n" +
	"a=recvonly\r\nm=audio 49170 RTP/AVP 0\r\nm=video 51372 RTP/AVP 99\r\na=rtpmap:99 h263-1998/90000\r\n"

func TestExample(t *testing.T) {
	d, err := Parse([]byte(rfc4566))
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "SDP Seminar" || !strings.HasPrefix(d.Origin, "jdoe ") || len(d.Attributes) != 1 || d.Attributes[0].Name != "recvonly" {
		t.Errorf("session part: %+v", d)
	}
	if len(d.Media) != 2 || d.Media[0].Type != "audio" || d.Media[0].Port != 49170 || d.Media[1].Formats[0] != "99" {
		t.Fatalf("media: %+v", d.Media)
	}
	if v, ok := d.Media[1].Get("RTPMAP"); !ok || v != "99 h263-1998/90000" {
		t.Errorf("rtpmap = %q", v)
	}
}

func TestBad(t *testing.T) {
	head := "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\n"
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"empty":                   {"", ErrFormat},
		"text":                    {"hello bob", ErrFormat},
		"text after":              {head + "hello bob\r\n", ErrFormat},
		"indented":                {head + " m=message 9 TCP/MSRP *\r\n", ErrFormat},
		"other version":           {"v=1\r\ns=-\r\n", ErrFormat},
		"no version":              {"s=-\r\n", ErrFormat},
		"two versions":            {head + "v=0\r\n", ErrFormat},
		"nul":                     {head + "m=audio 9 RTP/AVP 0\x00\r\n", ErrFormat},
		"CVE-2018-1000098":        {head + "m=audio 9 RTP/AVP 4294967296\r\n", ErrFormat},
		"payload 128":             {head + "m=audio 9 RTP/AVP 128\r\n", ErrFormat},
		"port 65536":              {head + "m=audio 65536 RTP/AVP 0\r\n", ErrFormat},
		"port -1":                 {head + "m=audio -1 RTP/AVP 0\r\n", ErrFormat},
		"ports":                   {head + "m=audio 9/99999 RTP/AVP 0\r\n", ErrFormat},
		"short m":                 {head + "m=audio 9\r\n", ErrFormat},
		"CVE-2018-1000099: media": {head + strings.Repeat("m=audio 9 RTP/AVP 0\r\n", 10000), ErrTooLarge},
		"65 media":                {head + strings.Repeat("m=audio 9 RTP/AVP 0\r\n", 65), ErrTooLarge},
		"lines":                   {head + strings.Repeat("a=x\r\n", 2000), ErrTooLarge},
		"bytes":                   {head + "a=" + strings.Repeat("x", MaxBytes), ErrTooLarge},
	} {
		if _, err := Parse([]byte(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for name, body := range map[string]string{
		"64 media":    head + strings.Repeat("m=audio 9 RTP/AVP 127\r\n", 64),
		"lone LF":     strings.ReplaceAll(rfc4566, "\r\n", "\n"),
		"lone CR":     strings.ReplaceAll(rfc4566, "\r\n", "\r"),
		"no last CR":  strings.TrimSuffix(rfc4566, "\r\n"),
		"port counts": head + "m=audio 49170/2 RTP/AVP 31\r\n",
	} {
		if d, err := Parse([]byte(body)); err != nil || len(d.Media) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(rfc4566))
	f.Add([]byte("v=0\r\nm=message 7654 TCP/MSRP *\r\na=path:msrp://a:7654/x;tcp\r\n"))
	f.Add([]byte("v=0\nm=a 1/2 RTP/AVP 1 2 3\ra=:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		// What a careless reader would take for a media line has been seen.
		n := 0
		for _, line := range strings.FieldsFunc(string(b), func(r rune) bool { return r == '\r' || r == '\n' }) {
			if strings.HasPrefix(line, "m=") {
				n++
			}
		}
		if n != len(d.Media) || n > MaxMedia {
			t.Fatalf("%d media lines, %d parsed", n, len(d.Media))
		}
	})
}
