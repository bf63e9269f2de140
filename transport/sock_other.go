//go:build !unix

package transport

// On systems without a readable-now read, a waiting TCP connection keeps eight
// bytes of its own, and a TLS connection the buffer it was lent.

func (c *tcpChannel) serve(s *stream) error {
	for {
		if err := c.await(); err != nil {
			return err
		}
		if err := s.feed(c.pre[:c.n]); err != nil {
			return err
		}
		c.n = 0
		buf := chunks.Get().(*[chunkSize]byte)
		for s.frame.partial() {
			n, err := c.Read(buf[:])
			if err == nil {
				err = s.feed(buf[:n])
			}
			if err != nil {
				chunks.Put(buf)
				return c.readErr(err)
			}
		}
		chunks.Put(buf)
	}
}

func (c *sock) await() error {
	for {
		n, err := c.TCPConn.Read(c.pre[:])
		if n == 0 && c.again(err) {
			continue
		}
		c.n = n
		if n > 0 {
			return nil
		}
		return c.readErr(err)
	}
}

func (c *sock) tryRead(p []byte) (int, error) {
	for {
		n, err := c.TCPConn.Read(p)
		if n == 0 && c.again(err) {
			continue
		}
		return n, err
	}
}
