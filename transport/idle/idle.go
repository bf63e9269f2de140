// Package idle lets connections cost little as long as nothing comes: many of them wait for hours.
package idle

import (
	"bytes"
	"crypto/tls"
	"net"
	"reflect"
	"unsafe"
)

// crypto/tls keeps what it has once read into, about 4 kB after a handshake,
// as long as the connection lives, and there is no public way to tell it that
// nothing will come for hours. So its two buffers are reached by name: the one
// for records, and the one for handshakes. If they are called otherwise one
// day, TestBuffers fails, and a connection is that much larger.

// Buffer is where such a buffer is in a tls.Conn; 0 if there is none. To look for it takes a deep stack.
type Buffer uintptr

// The buffers of a tls.Conn. Only whoever reads from it may touch them, while not reading.
var (
	Raw  = find("rawInput") // what is not decrypted yet
	Hand = find("hand")     // parts of handshakes
)

func find(name string) Buffer {
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[bytes.Buffer]() {
		return 0
	}
	return Buffer(f.Offset)
}

// Of is the buffer of t; nil if there is none.
func (b Buffer) Of(t *tls.Conn) *bytes.Buffer {
	if b == 0 {
		return nil
	}
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t), b)) //nolint:gosec // see above
}

// Relieve takes away the buffers of t in which nothing waits; crypto/tls makes new ones when something comes.
func Relieve(t *tls.Conn) {
	for _, where := range [...]Buffer{Raw, Hand} {
		if b := where.Of(t); b != nil && b.Len() == 0 {
			*b = bytes.Buffer{}
		}
	}
}

// Await waits until something comes on a connection that was taken over from an HTTP server, be it its end, and holds nothing
// meanwhile but half of the stack that a Read needs to wait. Only whoever reads from c may call it, when TLS has nothing more to
// give of what it has taken from the socket. Where it cannot wait it returns at once: Read does.
func Await(c net.Conn) error {
	if t, ok := c.(*tls.Conn); ok {
		Relieve(t)
		c = t.NetConn()
	}
	return readable(c)
}
