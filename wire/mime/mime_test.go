package mime

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func pack(t testing.TB, encoding string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "raw":
		w, _ = flate.NewWriter(&out, 9)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestInflate(t *testing.T) {
	text := bytes.Repeat([]byte("hello "), 100)
	for encoding, packed := range map[string][]byte{"gzip": pack(t, "gzip", text), "deflate": pack(t, "deflate", text), "Deflate ": pack(t, "raw", text), "identity": text} {
		for max, want := range map[int]error{len(text): nil, len(text) + 1: nil, len(text) - 1: ErrTooLarge} {
			got, err := Inflate(encoding, packed, max)
			if !errors.Is(err, want) || (want == nil && !bytes.Equal(got, text)) {
				t.Errorf("%s, limit %d: %d bytes, %v", encoding, max, len(got), err)
			}
		}
		if encoding != "identity" {
			if _, err := Inflate(encoding, packed[:len(packed)/2], 1<<20); !errors.Is(err, ErrFormat) {
				t.Errorf("%s cut in half: %v", encoding, err)
			}
		}
	}
	bomb := pack(t, "deflate", make([]byte, 10<<20))
	if _, err := Inflate("deflate", bomb, 64<<10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("bomb: %v", err)
	}
	if _, err := Inflate("br", text, 1<<20); !errors.Is(err, ErrEncoding) {
		t.Errorf("unknown encoding: %v", err)
	}
}

func TestMultipart(t *testing.T) { // RFC 5621 §3.1's shape
	body := "--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b1\r\nContent-Type: multipart/alternative; boundary=b2\r\n\r\n" +
		"--b2\r\n\r\nplain\r\n--b2\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n--b2--\r\n--b1--\r\n"
	parts, err := Multipart(`multipart/mixed; boundary="b1"`, []byte(body), DefaultLimits)
	if err != nil || len(parts) != 3 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for i, want := range []string{"application/sdp|v=0", "text/plain|plain", "text/html|<b>x</b>"} {
		if got := parts[i].ContentType + "|" + string(parts[i].Body); got != want {
			t.Errorf("part %d = %q, want %q", i, got, want)
		}
	}
}

func TestMultipartMalformed(t *testing.T) {
	deep := "x"
	for i := range 1000 {
		deep = fmt.Sprintf("--d%d\r\nContent-Type: multipart/mixed; boundary=d%d\r\n\r\n%s\r\n--d%d--\r\n", i+1, i, deep, i+1)
	}
	many := strings.Repeat("--b\r\n\r\nx\r\n", DefaultLimits.Parts+1) + "--b--\r\n"
	for name, c := range map[string]struct {
		contentType, body string
		want              error
	}{
		"no boundary parameter": {"multipart/mixed", "--b\r\n\r\nx\r\n--b--\r\n", ErrFormat},
		"no closing boundary":   {"multipart/mixed;boundary=b", "--b\r\n\r\nx\r\n", ErrFormat},
		"nested 1000 deep":      {"multipart/mixed;boundary=d1000", deep, ErrTooLarge},
		"too many parts":        {"multipart/mixed;boundary=b", many, ErrTooLarge},
		"empty":                 {"multipart/mixed;boundary=b", "", ErrFormat},
	} {
		if _, err := Multipart(c.contentType, []byte(c.body), DefaultLimits); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzMultipart(f *testing.F) {
	f.Add("multipart/mixed;boundary=b", []byte("--b\r\n\r\nx\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, ct string, b []byte) {
		parts, err := Multipart(ct, b, DefaultLimits)
		if err == nil && len(parts) > DefaultLimits.Parts {
			t.Fatalf("%d parts", len(parts))
		}
	})
}
