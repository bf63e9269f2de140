package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/parley-im/parley/transport/idle"
)

// recordSize is the payload of the largest TLS record, in bytes.
const recordSize = 16 << 10

// records lends the buffers that TLS is decrypted into.
var records = sync.Pool{New: func() any { return new([recordSize]byte) }}

// errAgain tells crypto/tls that there is nothing to read now: it keeps what
// it has of a record when an error is temporary.
type errAgain struct{}

func (errAgain) Error() string   { return "transport: nothing to read yet" }
func (errAgain) Timeout() bool   { return true }
func (errAgain) Temporary() bool { return true }

// handshake adds TLS; it takes at most limit. It needs a deep stack, so it
// runs on a goroutine that ends soon.
func (c *sock) handshake(t *tls.Conn, limit time.Duration) error {
	_ = c.TCPConn.SetDeadline(time.Now().Add(limit))
	if err := t.Handshake(); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = ErrSlow
		}
		return fmt.Errorf("transport: TLS handshake: %w", err)
	}
	c.secured(t)
	return nil
}

// secured notes that c's handshake is over.
func (c *sock) secured(t *tls.Conn) {
	c.tls = t
	c.raw = idle.Raw.Of(t)
	idle.Relieve(t)
}

// decrypt gives take what data holds, nil for what is there already.
func (c *sock) decrypt(data []byte, take func([]byte) error) error {
	c.in = data
	if c.raw != nil {
		lend(c.raw)
	}
	buf := records.Get().(*[recordSize]byte)
	defer records.Put(buf)
	for {
		n, err := c.tls.Read(buf[:])
		if n > 0 || data == nil {
			if e := take(buf[:n]); e != nil {
				return e
			}
		}
		if err == (errAgain{}) {
			if c.raw != nil {
				giveBack(c.raw)
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// rawSize is the room for records that is lent to crypto/tls while there is something to read, in bytes.
const rawSize = 4 << 10

var raws = sync.Pool{New: func() any { return new([rawSize]byte) }}

func lend(b *bytes.Buffer) {
	if b.Cap() == 0 {
		*b = *bytes.NewBuffer(raws.Get().(*[rawSize]byte)[:0])
	}
}

// giveBack takes the buffer of b away if there is nothing in it. All that was
// decrypted in it has been read.
func giveBack(b *bytes.Buffer) {
	if b.Len() > 0 {
		return
	}
	b.Reset()
	if room := b.AvailableBuffer(); cap(room) == rawSize {
		raws.Put((*[rawSize]byte)(room[:rawSize]))
	}
	*b = bytes.Buffer{}
}
