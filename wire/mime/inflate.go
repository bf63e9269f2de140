// Package mime opens the bodies of SIP messages: content encodings and multipart, with limits.
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
)

// Errors of this package.
var (
	ErrTooLarge = errors.New("mime: body is larger than the limit when unpacked")
	ErrEncoding = errors.New("mime: unknown content encoding")
	ErrFormat   = errors.New("mime: malformed body")
)

// Encodings is the value for Accept-Encoding (RFC 3261 §20.2).
const Encodings = "identity, deflate, gzip"

// Inflate undoes a Content-Encoding. The result is at most max bytes, else ErrTooLarge. "deflate" means
// zlib (RFC 9110 §8.4.1.2); the raw form that some clients send is understood as well.
func Inflate(encoding string, body []byte, max int) ([]byte, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		if len(body) > max {
			return nil, ErrTooLarge
		}
		return body, nil
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		return readAll(r, max)
	case "deflate":
		if r, err := zlib.NewReader(bytes.NewReader(body)); err == nil {
			return readAll(r, max)
		}
		return readAll(flate.NewReader(bytes.NewReader(body)), max)
	}
	return nil, fmt.Errorf("%w %q", ErrEncoding, encoding)
}

func readAll(r io.Reader, max int) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, int64(max)+1))
	if len(out) > max {
		return nil, ErrTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return out, nil
}
