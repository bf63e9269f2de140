//go:build unix

package transport

import (
	"io"
	"syscall"
)

// readNow reads without waiting. done is false if there is nothing.
func readNow(fd uintptr, p []byte) (n int, err error, done bool) {
	for {
		n, err = syscall.Read(int(fd), p)
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return 0, nil, false
		}
		if n == 0 && err == nil {
			err = io.EOF
		}
		return max(n, 0), err, true
	}
}

// serve waits for readability and borrows a buffer only then.
func (c *tcpChannel) serve(s *stream) error {
	var (
		buf *[chunkSize]byte
		n   int
		err error
	)
	read := func(fd uintptr) (done bool) {
		buf = chunks.Get().(*[chunkSize]byte)
		if n, err, done = readNow(fd, buf[:]); !done {
			chunks.Put(buf)
			buf = nil
		}
		return done
	}
	for {
		if e := c.raw.Read(read); e != nil {
			if c.again(e) {
				continue
			}
			return c.readErr(e)
		}
		if err == nil {
			err = s.feed(buf[:n])
		}
		chunks.Put(buf)
		buf = nil
		if err != nil {
			return err
		}
	}
}

// await waits until there is something to read, and keeps the first bytes.
func (c *sock) await() error {
	var err error
	read := func(fd uintptr) (done bool) {
		c.n, err, done = readNow(fd, c.pre[:])
		return done
	}
	for {
		e := c.raw.Read(read)
		if e == nil {
			return err
		}
		if !c.again(e) {
			return c.readErr(e)
		}
	}
}

// tryRead reads what is there, or gives errAgain.
func (c *sock) tryRead(p []byte) (n int, err error) {
	e := c.raw.Read(func(fd uintptr) bool {
		var done bool
		if n, err, done = readNow(fd, p); !done {
			err = errAgain{}
		}
		return true
	})
	if e != nil {
		// A lazily kept deadline that has passed says nothing about the data:
		// await, which comes next, looks at it.
		if c.again(e) {
			return 0, errAgain{}
		}
		return 0, c.readErr(e)
	}
	return n, err
}
